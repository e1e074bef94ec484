# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of a run: what was intended, what happened, and who decided; a run is nothing but the sequence of them.

Facts are private to this package, and they are stored: a field may be added with a default, but none may be renamed,
removed or given another meaning, so that every release reads the journals of all earlier ones. What other programs see
is made from the history (see `lsst.ts.comcamcalib.record.views`) and may change freely.

Times are TAI unix seconds. When a fact happened is not part of it; it stands beside it in the journal (see `Entry`).
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import pydantic

from ..enums import CalibType, RunState, StageState, Verdict
from ..plan.plan import RunPlan

__all__ = [
    "Certified",
    "CertifiedBefore",
    "CertifyAbsent",
    "CertifyIntended",
    "Dataset",
    "Decision",
    "DetectorVerdict",
    "Entry",
    "Fact",
    "FrameAbsent",
    "FrameGivenUp",
    "FrameIntended",
    "FrameSettled",
    "FrameStray",
    "FrameTaken",
    "FramesBlamed",
    "GainsMeasured",
    "JobAbsent",
    "JobDistrusted",
    "JobEnded",
    "JobFound",
    "JobIntended",
    "JobMoved",
    "JobStray",
    "ProductMade",
    "RunAccepted",
    "RunMoved",
    "StageMoved",
    "VerdictGiven",
    "fact_from_json",
    "fact_to_json",
]


class _Model(pydantic.BaseModel):
    """Closed, frozen, and the same after it was written as JSON and read again (NaN too)."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


# The run


class RunAccepted(_Model):
    """A run was accepted, with the whole plan that it follows to its end, whatever the configuration says later."""

    kind: Literal["run_accepted"] = "run_accepted"
    plan: RunPlan
    day_obs: int
    requested_by: str
    why: str = ""


class RunMoved(_Model):
    """The run went to another state."""

    kind: Literal["run_moved"] = "run_moved"
    state: RunState
    reason: str


class StageMoved(_Model):
    """A stage went to another state, or to another attempt."""

    kind: Literal["stage_moved"] = "stage_moved"
    stage_name: str
    attempt: int
    state: StageState
    reason: str


class Decision(_Model):
    """Somebody decided something about the run."""

    kind: Literal["decision"] = "decision"
    what: Literal["abort", "resume"]
    who: str
    why: str = ""


# Frames; a frame is identified by its type and its position in the sequence


class FrameIntended(_Model):
    """A frame is about to be taken."""

    kind: Literal["frame_intended"] = "frame_intended"
    calib_type: CalibType
    index: int
    """Position in the sequence, from 1; frames that are taken again get the next free one."""
    exposure_time_s: float
    discarded: bool = False
    replaces: int = 0
    """Position of the planned frame instead of which it is taken; 0: it is planned itself."""


class FrameTaken(_Model):
    """A frame was taken and read out."""

    kind: Literal["frame_taken"] = "frame_taken"
    calib_type: CalibType
    index: int
    exposure_id: int
    obs_id: str
    taken_s: float
    """When its integration began."""
    found: bool = False
    """Whether it was found after the process that had it taken ended."""


class FrameAbsent(_Model):
    """An intended frame was looked for, and was not taken."""

    kind: Literal["frame_absent"] = "frame_absent"
    calib_type: CalibType
    index: int
    reason: str


class FrameSettled(_Model):
    """It is known which files of a frame are in the repository."""

    kind: Literal["frame_settled"] = "frame_settled"
    calib_type: CalibType
    index: int
    detectors_ingested: int
    detectors_failed: int
    missing: tuple[int, ...] = ()
    """Detectors whose files are not there."""
    reason: str = ""


class FrameGivenUp(_Model):
    """A frame is not used, and is to be taken again."""

    kind: Literal["frame_given_up"] = "frame_given_up"
    calib_type: CalibType
    index: int
    reason: str


class FrameStray(_Model):
    """An exposure with the run's group id is one too many; it is never used."""

    kind: Literal["frame_stray"] = "frame_stray"
    calib_type: CalibType
    exposure_id: int
    obs_id: str
    reason: str


class FramesBlamed(_Model):
    """No good product can be made from the frames of a type; with an empty reason: that was wrong."""

    kind: Literal["frames_blamed"] = "frames_blamed"
    calib_type: CalibType
    reason: str


# Jobs; a job is identified by its label in the plan and its attempt


class JobIntended(_Model):
    """A job is about to be submitted to the OCPS."""

    kind: Literal["job_intended"] = "job_intended"
    label: str
    attempt: int
    stage_name: str
    stage_attempt: int
    calib_type: CalibType
    mark: str
    """Output glob that matches no dataset, by which the job is found at the UWS."""
    exposures: tuple[int, ...]
    inputs: tuple[str, ...]
    """Ids of the run's own jobs whose outputs it builds on."""
    pipeline: str
    data_query: str
    config: str
    output_dataset_types: str


class JobFound(_Model):
    """The id of an intended job is known."""

    kind: Literal["job_found"] = "job_found"
    label: str
    attempt: int
    job_id: str
    submitted_s: float
    found: bool = False
    """Whether it was found at the UWS by its mark, because the answer to its submission did not arrive."""


class JobMoved(_Model):
    """A job went to another phase (in the UWS's words)."""

    kind: Literal["job_moved"] = "job_moved"
    label: str
    attempt: int
    job_id: str
    phase: str


class JobEnded(_Model):
    """A job has ended, or counts as ended because nothing more is heard of it."""

    kind: Literal["job_ended"] = "job_ended"
    label: str
    attempt: int
    job_id: str
    phase: str
    exit_code: int
    message: str
    ended_s: float


class JobAbsent(_Model):
    """An intended job was looked for, and there is none."""

    kind: Literal["job_absent"] = "job_absent"
    label: str
    attempt: int
    reason: str


class JobDistrusted(_Model):
    """A job completed, but its output can't be used, so that it must be done again."""

    kind: Literal["job_distrusted"] = "job_distrusted"
    label: str
    attempt: int
    reason: str


class JobStray(_Model):
    """A job with a mark of the run is one too many; it is aborted and never used. Its latest state."""

    kind: Literal["job_stray"] = "job_stray"
    job_id: str
    stage_name: str
    calib_type: CalibType
    phase: str
    exit_code: int
    message: str
    submitted_s: float
    ended_s: float


# Products and verdicts


class Dataset(_Model):
    """A dataset of a product: its UUID, and its data id with None for dimensions that its type does not have."""

    dataset_id: str
    detector: int | None = None
    physical_filter: str | None = None
    exposure: int | None = None


class ProductMade(_Model):
    """The datasets that a job made are complete, and it used the run's own products only."""

    kind: Literal["product_made"] = "product_made"
    label: str
    attempt: int
    job_id: str
    calib_type: CalibType
    dataset_type: str
    run_collection: str
    datasets: tuple[Dataset, ...]


class GainsMeasured(_Model):
    """Gains (electron/adu) and noises (electron) of a detector's amplifiers from one flat pair, in readout order."""

    kind: Literal["gains_measured"] = "gains_measured"
    exposure_id: int
    detector: int
    gain: tuple[float, ...]
    noise: tuple[float, ...]


class DetectorVerdict(_Model):
    """A verdict's counts for one detector; signal and noise in electron, NaN = not known."""

    detector: int
    detector_name: str
    tests_failed: int
    exposures_failed: int
    amplifiers_failed: int
    failures_by_test: dict[str, int]
    signal: float
    noise: float


class VerdictGiven(_Model):
    """A product was judged, for flats in one filter."""

    kind: Literal["verdict_given"] = "verdict_given"
    calib_type: CalibType
    physical_filter: str
    attempt: int
    verdict: Verdict
    job_id: str
    reason: str
    exposures_expected: int = 0
    exposures_verified: int = 0
    detectors_expected: int = 0
    detectors_verified: int = 0
    tests_failed: int = 0
    exposures_failed: int = 0
    exposures_failed_threshold: int = 0
    tests_failed_threshold: int = 0
    failures_by_test: dict[str, int] = pydantic.Field(default_factory=dict)
    detectors: tuple[DetectorVerdict, ...] = ()


# Certifications; each has a number within the run, from 1


class CertifiedBefore(_Model):
    """A dataset that was certified before for a range that a certification takes over (ISO 8601 TAI, "" = open)."""

    dataset_id: str
    detector: int | None
    physical_filter: str | None
    validity_begin: str
    validity_end: str


class CertifyIntended(_Model):
    """Datasets are about to be certified; validity in ISO 8601 TAI, "" = unbounded."""

    kind: Literal["certify_intended"] = "certify_intended"
    number: int
    stage_name: str
    """The stage that certifies; that of another product if this one is certified once more, for its later frames."""
    calib_type: CalibType
    verdict: Verdict | None
    """The good verdict; None: nobody verified it, and the option certify_unverified asks for it all the same."""
    dataset_type: str
    collection: str
    output_collection: str
    validity_begin: str
    validity_end: str
    dataset_ids: tuple[str, ...]
    replaces: tuple[CertifiedBefore, ...] = ()
    remarks: tuple[str, ...] = ()


class Certified(_Model):
    """A certification was done; the reason says what it replaces, and what was not found when it was read back."""

    kind: Literal["certified"] = "certified"
    number: int
    dataset_count: int
    reason: str
    lost: tuple[str, ...] = ()
    """What was not found as it should be when it was read back, a sentence each; then it must be done again."""
    found: bool = False
    """Whether it was found after the process that had it done ended, or after an answer that did not come."""


class CertifyAbsent(_Model):
    """An intended certification was looked for, and nothing of it is in the collection."""

    kind: Literal["certify_absent"] = "certify_absent"
    number: int
    reason: str


Fact = (
    RunAccepted
    | RunMoved
    | StageMoved
    | Decision
    | FrameIntended
    | FrameTaken
    | FrameAbsent
    | FrameSettled
    | FrameGivenUp
    | FrameStray
    | FramesBlamed
    | JobIntended
    | JobFound
    | JobMoved
    | JobEnded
    | JobAbsent
    | JobDistrusted
    | JobStray
    | ProductMade
    | GainsMeasured
    | VerdictGiven
    | CertifyIntended
    | Certified
    | CertifyAbsent
)

_ADAPTER: pydantic.TypeAdapter[Fact] = pydantic.TypeAdapter(Annotated[Fact, pydantic.Field(discriminator="kind")])


@dataclasses.dataclass(frozen=True)
class Entry:
    """A fact in its place: its number in the run, from 1, and when it was recorded (TAI unix seconds)."""

    seq: int
    at: float
    fact: Fact


def fact_to_json(fact: Fact) -> str:
    """Return a fact as JSON."""
    return fact.model_dump_json()


def fact_from_json(text: str) -> Fact:
    """Return the fact that JSON text stands for.

    Raises
    ------
    ValueError
        If it is no fact of this release or an earlier one.
    """
    return _ADAPTER.validate_json(text)
