# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report's JSON file: closed models, with a version.

Programs read these files years later. So a field may be added, but none may be renamed, removed or given another
meaning without another version. Times are ISO 8601, UTC, and empty for what has not happened; a number is null where
nothing was measured.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import pydantic

__all__ = [
    "AmplifierMap",
    "Certification",
    "Curve",
    "DatasetRow",
    "DecisionRow",
    "DetectorRow",
    "Document",
    "DriftRow",
    "ExposureRow",
    "FindingRow",
    "JobRow",
    "Measurements",
    "Model",
    "OutlierRow",
    "ProductSection",
    "RangeRow",
    "RunSection",
    "StageRow",
    "StatisticsTable",
    "VerdictSection",
]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, pydantic.BeforeValidator(_finite)]
"""A number, or null: JSON has no NaN."""


class Model(pydantic.BaseModel):
    """Closed and frozen."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class DecisionRow(Model):
    """What somebody decided."""

    at: str
    what: str
    who: str
    why: str


class RunSection(Model):
    """The run as a whole; durations in seconds."""

    run_id: str
    state: str
    reason: str
    day_obs: int
    script_mode: str
    instrument: str
    detectors: dict[int, str]
    """Names by id."""
    requested_by: str
    why: str
    program: str
    test_case: str
    note: str
    accepted: str
    started: str
    ended: str
    duration_s: Number
    estimated_duration_s: Number
    repo: str
    calib_collection: str
    notices: tuple[str, ...]
    decisions: tuple[DecisionRow, ...]


class StageRow(Model):
    """A stage; begin and end in seconds from the beginning of the run."""

    name: str
    kind: str
    state: str
    attempt: int
    reason: str
    begin_s: Number
    end_s: Number
    critical: bool
    """Whether the run would have ended earlier if it, or one of its jobs, had."""


class JobRow(Model):
    """An attempt at a job; begin and end in seconds from the beginning of the run."""

    label: str
    attempt: int
    stage_name: str
    job_id: str
    phase: str
    exit_code: int
    message: str
    """The line of its log that says why it failed."""
    problem: str
    """Why there is no such job, or why its output was not used; empty if neither holds."""
    submitted: str
    begin_s: Number
    end_s: Number
    critical: bool
    exposures: tuple[int, ...]
    output_collection: str
    results_url: str
    log_path: str


class ExposureRow(Model):
    """A frame, and what became of it."""

    calib_type: str
    index: int
    exposure_id: int | None
    obs_id: str
    exposure_time_s: Number
    taken: str
    fate: Literal["used", "discarded", "given up", "not taken", "unknown", "one too many"]
    reason: str
    files: int | None
    files_expected: int
    missing: tuple[str, ...]


class FindingRow(Model):
    """A finding of a verification; detector and amplifier are empty where it concerns all or none."""

    rule: str
    outcome: str
    quantity: str
    detector: str
    amplifier: str
    exposure: int | None
    value: Number
    limit: Number
    unit: str
    detail: str
    kind: str = ""
    """Which of the faults that the rule knows, such as ``SATURATED``; empty if it knows only one."""


class DetectorRow(Model):
    """A verdict's counts for one detector; signal and noise in electron."""

    detector: int
    name: str
    tests_failed: int
    exposures_failed: int
    amplifiers_failed: int
    failures_by_test: dict[str, int]
    signal: Number
    noise: Number
    left_out: bool


class VerdictSection(Model):
    """A verdict, for flats in one filter."""

    physical_filter: str
    attempt: int
    verdict: str
    reason: str
    job_id: str
    accepted_by: str
    accepted_because: str
    exposures_expected: int
    exposures_verified: int
    detectors_expected: int
    detectors_verified: int
    tests_failed: int
    failures_by_test: dict[str, int]
    detectors: tuple[DetectorRow, ...]
    left_out: tuple[str, ...]
    findings: tuple[FindingRow, ...]
    findings_dropped: int


class DatasetRow(Model):
    """A dataset of a product."""

    dataset_id: str
    detector: int | None
    physical_filter: str | None
    exposure: int | None


class RangeRow(Model):
    """A certification that was replaced; validity in ISO 8601 TAI, empty = open."""

    dataset_id: str
    run_collection: str
    """Where it is; empty: not known."""
    detector: int | None
    physical_filter: str | None
    validity_begin: str
    validity_end: str


class Certification(Model):
    """A certification; validity in ISO 8601 TAI, empty = open."""

    number: int
    stage_name: str
    outcome: Literal["certified", "not certified", "unknown", "withdrawn"]
    verdict: str
    dataset_type: str
    collection: str
    output_collection: str
    validity_begin: str
    validity_end: str
    dataset_ids: tuple[str, ...]
    replaces: tuple[RangeRow, ...]
    remarks: tuple[str, ...]
    reason: str
    withdrawn: str
    """Who has withdrawn it, and why; empty if it stands."""


class ProductSection(Model):
    """A type of calibration in this run."""

    calib_type: str
    dataset_type: str
    made: bool
    """Whether all its datasets were made."""
    job_id: str
    run_collection: str
    datasets: tuple[DatasetRow, ...]
    verdicts: tuple[VerdictSection, ...]
    certifications: tuple[Certification, ...]
    fetch: tuple[str, ...]
    """Lines of Python that read its first dataset, with a Butler of the repository."""
    undo: str
    """Command that withdraws what is certified; empty if nothing is."""


class StatisticsTable(Model):
    """All that cp_verify measured and tested for one product and filter, in columns of equal length.

    A row is an exposure, a detector and an amplifier; the amplifier is empty for what concerns the whole detector, and
    the exposure null where the product itself was tested. In the tests, true is passed, false is failed, and null was
    not tested.
    """

    calib_type: str
    physical_filter: str
    collection: str
    exposure: tuple[int | None, ...]
    detector: tuple[int, ...]
    amplifier: tuple[str, ...]
    statistics: dict[str, tuple[Number, ...]]
    tests: dict[str, tuple[bool | None, ...]]
    problems: tuple[str, ...]


class Measurements(Model):
    """What was measured in the products, in columns of equal length; the amplifier is empty for a whole detector."""

    calib_type: tuple[str, ...] = ()
    physical_filter: tuple[str, ...] = ()
    detector: tuple[int, ...] = ()
    amplifier: tuple[str, ...] = ()
    quantity: tuple[str, ...] = ()
    value: tuple[Number, ...] = ()
    unit: tuple[str, ...] = ()


class DriftRow(Model):
    """How a detector's product differs from the one that was certified before."""

    calib_type: str
    physical_filter: str
    detector: int
    name: str
    drift: Number
    """Largest change in units of its limit; null: nothing to compare with."""
    compared_with: str


class Curve(Model):
    """A detector's photon transfer curves; all dictionaries are by amplifier, their lists by pair of flats."""

    detector: int
    name: str
    fit_type: str
    means: dict[str, tuple[Number, ...]]
    """adu"""
    variances: dict[str, tuple[Number, ...]]
    """adu**2"""
    model: dict[str, tuple[Number, ...]]
    """What the fit expects, adu**2; empty lists where there is no fit."""
    used: dict[str, tuple[bool, ...]]
    gain: dict[str, Number]
    """electron/adu"""
    noise: dict[str, Number]
    """electron"""
    turnoff: dict[str, Number]
    """electron"""


class AmplifierMap(Model):
    """One quantity over the focal plane."""

    key: str
    title: str
    unit: str
    source: str
    """Where the values come from; if there are none: why."""
    values: dict[int, dict[str, Number]]
    """By detector and amplifier; null: not measured."""
    evaluated: int
    expected: int
    median: Number


class OutlierRow(Model):
    """An amplifier that stands out among all others."""

    quantity: str
    unit: str
    detector: str
    amplifier: str
    value: Number
    median: Number
    deviation: Number
    """From the median, in robust standard deviations."""


class Document(Model):
    """The report of a run."""

    format: Literal["ComCamCalib report"] = "ComCamCalib report"
    version: Literal[1] = 1
    written: str
    attempt: int
    problems: tuple[str, ...]
    """What could not be read for the report, a sentence each."""
    run: RunSection
    products: tuple[ProductSection, ...]
    stages: tuple[StageRow, ...]
    critical_path: tuple[str, ...]
    """Stages of which each delayed the next, to the one that ended last; which of their jobs did is with the jobs."""
    jobs: tuple[JobRow, ...]
    exposures: tuple[ExposureRow, ...]
    statistics: tuple[StatisticsTable, ...]
    measurements: Measurements
    drifts: tuple[DriftRow, ...]
    curves: tuple[Curve, ...]
    maps: tuple[AmplifierMap, ...]
    outliers: tuple[OutlierRow, ...]
    options: dict[str, Any]
    """Effective run options."""
    configuration: dict[str, Any]
    """The CSC's configuration with which the run was accepted."""
    software: dict[str, str]
    """Versions of packages."""
