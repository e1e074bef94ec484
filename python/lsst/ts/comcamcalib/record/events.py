# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The SAL events of a run: a frozen class for each, with the fields of the topic (INTERFACE) in Python's spelling."""

from __future__ import annotations

import dataclasses

from ..enums import CalibType, CertificationState, RunState, StageKind, StageState, Verdict

__all__ = [
    "GAIN_ESTIMATE_AMPLIFIERS",
    "Alarms",
    "Certification",
    "DetectorMeasurement",
    "DetectorVerification",
    "Event",
    "GainEstimate",
    "ImageIngested",
    "ImageTaken",
    "JobState",
    "LargeFile",
    "RunConfiguration",
    "RunStatus",
    "StageStatus",
    "VerificationResult",
]

GAIN_ESTIMATE_AMPLIFIERS = 16
"""Length of the arrays in the SAL event gainEstimate; the rest stays NaN for a detector with fewer amplifiers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunStatus:
    """State of the run as a whole. Times are TAI unix seconds, 0 = not yet."""

    run_id: str
    state: RunState
    script_mode: str
    requested_by: str
    reason: str
    calib_collection: str
    repo: str
    images_expected: int
    estimated_duration: float
    timestamp_accepted: float
    timestamp_started: float = 0.0
    timestamp_ended: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfiguration:
    """Every option of the run with its effective value, as JSON."""

    run_id: str
    config: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageStatus:
    """State of one stage. Times are TAI unix seconds, 0 = not yet."""

    run_id: str
    stage_name: str
    calib_type: int
    """A CalibType; 0: it belongs to no product."""
    stage_kind: StageKind
    state: StageState
    attempt: int = 1
    job_id: str = ""
    reason: str = ""
    timestamp_started: float = 0.0
    timestamp_ended: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageTaken:
    """An exposure was taken. Exposure time in seconds, time stamp TAI unix seconds."""

    run_id: str
    image_type: CalibType
    exposure_id: int
    obs_id: str
    exposure_time: float
    image_index: int
    images_in_sequence: int
    discarded: bool
    timestamp_taken: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageIngested:
    """What became of an exposure's files in the Butler repository."""

    run_id: str
    exposure_id: int
    obs_id: str
    detectors_expected: int
    detectors_ingested: int
    detectors_failed: int
    missing: str
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobState:
    """State of an OCPS job. Times are TAI unix seconds, 0 = not yet; exit code -1 = not known yet."""

    run_id: str
    stage_name: str
    calib_type: CalibType
    job_id: str
    phase: str
    exit_code: int
    output_collection: str
    log_url: str
    log_path: str
    message: str
    timestamp_submitted: float
    timestamp_ended: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerificationResult:
    """The verdict on a product, with the counts that it is based on."""

    run_id: str
    calib_type: CalibType
    physical_filter: str
    attempt: int
    verdict: Verdict
    job_id: str
    output_collection: str
    exposures_expected: int
    exposures_verified: int
    detectors_expected: int
    detectors_verified: int
    tests_failed: int
    exposures_failed: int
    exposures_failed_threshold: int
    tests_failed_threshold: int
    failures_by_test: str
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectorVerification:
    """The verification's outcome for one detector; signal and noise in electron, NaN = not known."""

    run_id: str
    calib_type: CalibType
    physical_filter: str
    detector: int
    detector_name: str
    tests_failed: int
    exposures_failed: int
    amplifiers_failed: int
    failures_by_test: str
    signal: float
    noise: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectorMeasurement:
    """Values of one detector's product, medians over the amplifiers; NaN = not measured.

    Level, noise and turn-off in electron, dark rate in electron/second, gain in electron/adu; the drift is the largest
    change against what was certified, in units of its limit, NaN = no predecessor.
    """

    run_id: str
    calib_type: CalibType
    physical_filter: str
    detector: int
    detector_name: str
    level: float
    noise: float
    dark_rate: float
    gain: float
    turnoff: float
    defect_fraction: float
    drift: float
    compared_with: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class GainEstimate:
    """Gains (electron/adu) and noises (electron) of a detector's amplifiers from one flat pair.

    Amplifiers stand in readout order; NaN = not measured.
    """

    run_id: str
    exposure_id: int
    detector: int
    detector_name: str
    gain: tuple[float, ...]
    noise: tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certification:
    """Datasets put into a calibration collection, or withdrawn from it. Validity is ISO 8601 TAI, "" = unbounded."""

    run_id: str
    calib_type: CalibType
    state: CertificationState
    dataset_type: str
    collection: str
    output_collection: str
    validity_begin: str
    validity_end: str
    dataset_count: int
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class LargeFile:
    """A file of the report can be fetched; the fields are those of the generic topic largeFileObjectAvailable."""

    url: str
    generator: str
    version: float
    byte_size: int
    check_sum: str
    mime_type: str
    id: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Alarms:
    """Conditions that need an operator's attention."""

    run_id: str = ""
    run_failed: bool = False
    verification_failed: bool = False
    certification_failed: bool = False
    backend_unreachable: bool = False
    operator_decision_needed: bool = False
    journal_degraded: bool = False
    reason: str = ""


Event = (
    RunStatus
    | RunConfiguration
    | StageStatus
    | ImageTaken
    | ImageIngested
    | JobState
    | VerificationResult
    | DetectorVerification
    | DetectorMeasurement
    | GainEstimate
    | Certification
    | LargeFile
    | Alarms
)
