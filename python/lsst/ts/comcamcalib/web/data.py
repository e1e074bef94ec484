# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the status page shows, as closed models: the page, the JSON for programs and its OpenAPI document agree by them.

Times are ISO 8601, UTC, and empty for what has not happened; a number is null where nothing was measured.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import pydantic

from ..report.data import ExposureRow, JobRow, Model, Number

__all__ = [
    "AlarmRow",
    "Board",
    "BoardCell",
    "BoardOfCollection",
    "BoardRow",
    "CertificationRow",
    "CscSection",
    "DecisionRow",
    "DetectorSquare",
    "Health",
    "Now",
    "Problem",
    "ProgressSection",
    "PromotionList",
    "PromotionRow",
    "Readiness",
    "RunDocument",
    "RunList",
    "RunRow",
    "StageNode",
    "TrendList",
    "TrendPoint",
    "TrendProduct",
    "TrendRow",
    "TrendTable",
    "VerdictRow",
    "WaitRow",
]


class Problem(Model):
    """Why a request could not be answered."""

    error: str


class WaitRow(Model):
    """What a stage is doing or waiting for."""

    stage: str
    what: str
    until: str
    """When it is given up; empty: there is no limit."""


class AlarmRow(Model):
    """An alarm as the event ``alarms`` has it."""

    name: str
    on: bool


class CscSection(Model):
    """The CSC itself."""

    state: str
    version: str
    journal_owned: bool
    connected: bool
    problems: tuple[str, ...]
    """What keeps it from working, a sentence each."""


class ProgressSection(Model):
    """How far the run is; durations in seconds."""

    fraction: float
    elapsed_s: float
    remaining_s: float
    images_taken: int
    images_ingested: int
    images_expected: int
    jobs_running: int
    jobs_completed: int
    jobs_expected: int
    stages_completed: int
    stages_total: int


class DecisionRow(Model):
    """What somebody decided about the run."""

    what: str
    who: str
    why: str


class StageNode(Model):
    """A stage, and what it waits for."""

    name: str
    calib_type: str
    """Empty: it belongs to no product."""
    kind: str
    state: str
    attempt: int
    reason: str
    needs: tuple[str, ...]
    """Stages that it waits for."""
    critical: bool
    """Whether the end of the run depends on it: as estimated before the run, and after it as it was."""
    started: str
    ended: str
    duration_s: Number


class DetectorSquare(Model):
    """A detector's part in a verdict."""

    detector: int
    name: str
    outcome: str
    """As of a verdict."""
    remark: str


class VerdictRow(Model):
    """A verdict, for flats in one filter."""

    calib_type: str
    physical_filter: str
    verdict: str
    reason: str
    attempt: int
    accepted_by: str
    accepted_because: str
    detectors: tuple[DetectorSquare, ...]


class CertificationRow(Model):
    """A certification; validity in ISO 8601 TAI, empty = open."""

    calib_type: str
    dataset_type: str
    collection: str
    outcome: str
    datasets: int
    validity_begin: str
    validity_end: str
    reason: str


class RunDocument(Model):
    """A run."""

    run_id: str
    state: str
    reason: str
    script_mode: str
    requested_by: str
    why: str
    program: str
    test_case: str
    note: str
    instrument: str
    detectors: dict[int, str]
    """Names by id."""
    repo: str
    calib_collection: str
    accepted: str
    started: str
    ended: str
    estimated_duration_s: Number
    notices: tuple[str, ...]
    decisions: tuple[DecisionRow, ...]
    stages: tuple[StageNode, ...]
    critical_path: tuple[str, ...]
    jobs: tuple[JobRow, ...]
    exposures: tuple[ExposureRow, ...]
    verdicts: tuple[VerdictRow, ...]
    certifications: tuple[CertificationRow, ...]
    has_report: bool


class Now(Model):
    """What happens now."""

    written: str
    csc: CscSection
    alarms: tuple[AlarmRow, ...]
    alarm_reason: str
    progress: ProgressSection | None
    waits: tuple[WaitRow, ...]
    unwell: tuple[str, ...]
    """Components that have failed, a sentence each."""
    run: RunDocument | None
    """The open run, otherwise the latest; null: the journal has none, or is not open."""


class RunRow(Model):
    """A run of the journal in a few words."""

    run_id: str
    state: str
    reason: str
    script_mode: str
    requested_by: str
    why: str
    calib_collection: str
    accepted: str
    last: str
    """When its last fact was recorded."""
    has_report: bool
    withdrawn: bool
    """Whether something that it had certified was decertified."""


class RunList(Model):
    """The latest runs, the latest first."""

    written: str
    runs: tuple[RunRow, ...]
    total: int
    problem: str
    """Why they can't be read; empty if they can."""


class PromotionRow(Model):
    """A copy of what a run certified into another collection; whether it is still there is not known."""

    at: str
    """ISO 8601 TAI."""
    run_id: str
    dataset_types: dict[str, int]
    """How many datasets of each type."""
    source: str
    collection: str
    who: str
    why: str


class PromotionList(Model):
    """The latest promotions that were written down beside the journal, the latest first."""

    written: str
    promotions: tuple[PromotionRow, ...]
    problem: str
    """Why some or all of them can't be read; empty if they can."""


class TrendProduct(Model):
    """A product that runs have measured."""

    calib_type: str
    physical_filter: str
    latest_run: str
    runs: int
    quantities: tuple[str, ...]


class TrendList(Model):
    """What there are trends of."""

    written: str
    products: tuple[TrendProduct, ...]
    problem: str


@dataclasses.dataclass(frozen=True, slots=True)
class TrendPoint:
    """A value in a run."""

    # No model: those of a whole LSSTCam, fifty thousand, would take 20 MB and keep the garbage collector busy.
    __pydantic_config__: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(extra="forbid")

    run_id: str
    value: Number


class TrendRow(Model):
    """The values of a quantity of a detector, or of one of its amplifiers; the latest first."""

    quantity: str
    of: str
    unit: str
    median: Number
    spread: Number
    """Robust standard deviation."""
    latest: Number
    points: tuple[TrendPoint, ...]


class TrendTable(Model):
    """The trends of a product: of all detectors, or of the amplifiers of one."""

    written: str
    calib_type: str
    physical_filter: str
    detector: str
    """Empty: all, each with the median over its amplifiers."""
    rows: tuple[TrendRow, ...]
    not_counting: dict[str, str]
    """Runs that median and spread leave out, because the product was not good or is decertified, with the reason."""


class BoardCell(Model):
    """Whether there is a valid calibration of a detector; times are ISO 8601 TAI, empty = open."""

    detector: int
    name: str
    status: str
    """OK, EXPIRING, EXPIRED, MISSING or UNKNOWN: not valid, but whether it has ended lately could not be looked up."""
    begin: str
    end: str
    age_days: Number
    """Time since the validity began (days)."""
    run: str
    """RUN collection that the dataset was written to."""
    run_id: str = ""
    """The run that certified it; empty: none that the journal knows of."""
    verdict: str = ""
    """With which that run certified it: a verdict, or NOT_VERIFIED; empty: not known."""
    left_out_of: str = ""
    """The latest run that certified the others of this row and left this detector out; empty: none did."""


class BoardRow(Model):
    """A type of calibration, for flats in one filter."""

    calib_type: str
    physical_filter: str
    status: str
    """The worst of its detectors."""
    advice: str
    """What to do; empty if nothing is to be done."""
    cells: tuple[BoardCell, ...]


class BoardOfCollection(Model):
    """What another collection than that of the board has; of what it has nothing of there is no row."""

    collection: str
    rows: tuple[BoardRow, ...]


class Board(Model):
    """Whether the calibrations that are needed are there."""

    looked: str
    """When the repository was asked; empty: it has not answered yet."""
    collection: str
    """The one that runs certify into if nothing else is said."""
    rows: tuple[BoardRow, ...]
    """What it has."""
    others: tuple[BoardOfCollection, ...] = ()
    """Others that the configuration names or that runs have certified into lately, if they have anything."""
    not_shown: tuple[str, ...] = ()
    """Further ones, which are not looked at because there are too many."""
    not_known: tuple[str, ...] = ()
    """What could not be looked up, a sentence for each collection."""
    problem: str
    """Why it could not be asked again since; empty if it could."""


class Health(Model):
    """Whether the event loop of the process keeps time."""

    healthy: bool
    loop_delay_s: float
    """Longest delay within the last minute."""


class Readiness(Model):
    """Whether the CSC can begin a run."""

    ready: bool
    reason: str
