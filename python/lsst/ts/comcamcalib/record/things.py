# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The things that a run's history is about: stages, frames, jobs, products, verdicts and certifications."""

from __future__ import annotations

import dataclasses

from ..enums import CalibType, StageKind, StageState, Verdict
from .facts import (
    Certified,
    CertifyAbsent,
    CertifyIntended,
    Dataset,
    Decertified,
    DecertifyAbsent,
    DecertifyIntended,
    FrameIntended,
    FrameSettled,
)

__all__ = [
    "GOOD_VERDICTS",
    "Certification",
    "Frame",
    "GoodProduct",
    "Job",
    "Product",
    "Stage",
    "Stray",
    "Withdrawal",
]

GOOD_VERDICTS = frozenset({Verdict.PASSED, Verdict.PASSED_WITH_FAILURES, Verdict.ACCEPTED_BY_OPERATOR})


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage and its latest attempt; times are TAI unix seconds, 0 = not yet."""

    name: str
    calib_type: CalibType | None
    """None: it belongs to no product."""
    kind: StageKind
    state: StageState = StageState.PENDING
    attempt: int = 1
    reason: str = ""
    started_s: float = 0.0
    ended_s: float = 0.0


@dataclasses.dataclass(frozen=True)
class Frame:
    """A frame that was intended, and what became of it."""

    intent: FrameIntended
    intended_s: float = 0.0
    exposure_id: int = 0
    """0: no exposure is known."""
    obs_id: str = ""
    taken_s: float = 0.0
    absent: str = ""
    """Why it is certain that it was not taken; empty if that is not certain."""
    found: bool = False
    """Whether it was found outside afterwards, so that its files may have been announced when nobody listened."""
    settled: FrameSettled | None = None
    given_up: str = ""
    """Why it is not used; empty if it is."""
    given_up_in: int = 0
    """Attempt of the INGEST stage that gave it up."""

    @property
    def calib_type(self) -> CalibType:
        """Its type."""
        return self.intent.calib_type

    @property
    def index(self) -> int:
        """Its position in the sequence of its type."""
        return self.intent.index

    @property
    def exposure_time_s(self) -> float:
        """Its exposure time (seconds)."""
        return self.intent.exposure_time_s

    @property
    def discarded(self) -> bool:
        """Whether it is not used for anything, as planned."""
        return self.intent.discarded

    @property
    def replaces(self) -> int:
        """Position of the planned frame instead of which it is taken; 0: it is planned itself."""
        return self.intent.replaces

    @property
    def open(self) -> bool:
        """Whether it is not known if it was taken."""
        return not self.exposure_id and not self.absent

    @property
    def used(self) -> bool:
        """Whether it counts: taken, neither discarded nor given up."""
        return bool(self.exposure_id) and not self.discarded and not self.given_up

    @property
    def complete(self) -> bool:
        """Whether it is known that all its files are in the repository."""
        return self.settled is not None and not self.settled.missing


@dataclasses.dataclass(frozen=True)
class Job:
    """One attempt at a job of the plan, and what became of it; times are TAI unix seconds, 0 = not yet."""

    label: str
    attempt: int
    stage_name: str = ""
    stage_attempt: int = 1
    calib_type: CalibType = CalibType.BIAS
    mark: str = ""
    exposures: tuple[int, ...] = ()
    inputs: tuple[str, ...] = ()
    intended_s: float = 0.0
    job_id: str = ""
    """Empty: no job is known."""
    phase: str = ""
    exit_code: int = -1
    """-1: not known yet."""
    message: str = ""
    submitted_s: float = 0.0
    ended_s: float = 0.0
    absent: str = ""
    """Why it is certain that there is no such job; empty if that is not certain."""
    distrusted: str = ""
    """Why its output can't be used although it completed; empty if it can."""

    @property
    def open(self) -> bool:
        """Whether it is not known if there is such a job."""
        return not self.job_id and not self.absent

    @property
    def running(self) -> bool:
        """Whether it may still run at the UWS."""
        return bool(self.job_id) and not self.ended_s

    @property
    def succeeded(self) -> bool:
        """Whether it ended well and its output may be used."""
        return self.ended_s > 0 and self.exit_code == 0 and not self.distrusted


@dataclasses.dataclass(frozen=True)
class Stray:
    """An exposure of the run that is one too many."""

    calib_type: CalibType
    exposure_id: int
    obs_id: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Product:
    """The datasets that a job made, complete and made from the run's own products."""

    label: str
    calib_type: CalibType
    dataset_type: str
    job_id: str
    run_collection: str
    datasets: tuple[Dataset, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """UUIDs of the datasets."""
        return tuple(dataset.dataset_id for dataset in self.datasets)


@dataclasses.dataclass(frozen=True)
class GoodProduct:
    """A product that may be certified; only `lsst.ts.comcamcalib.record.history.History.good_product` makes one."""

    product: Product
    """With the datasets that may be certified only."""
    verdict: Verdict | None
    """The worst of its good verdicts; None: certify_unverified asks for it without one."""
    left_out: tuple[int, ...]
    """Detectors of which nothing was made, or not all that was made may be certified."""


@dataclasses.dataclass(frozen=True)
class Certification:
    """A certification that was intended, and what became of it."""

    intent: CertifyIntended
    intended_s: float
    outcome: Certified | CertifyAbsent | None = None
    withdrawn: Withdrawal | None = None
    """The withdrawal that has undone it, because an operator wanted that; None: it stands."""

    @property
    def done(self) -> bool:
        """Whether it is known that the datasets were certified."""
        return isinstance(self.outcome, Certified)

    @property
    def sound(self) -> bool:
        """Whether the datasets are certified and were found again as they should be."""
        return isinstance(self.outcome, Certified) and not self.outcome.lost and self.withdrawn is None


@dataclasses.dataclass(frozen=True)
class Withdrawal:
    """A withdrawal of certifications that was intended, and what became of it."""

    intent: DecertifyIntended
    intended_s: float
    outcome: Decertified | DecertifyAbsent | None = None

    @property
    def words(self) -> str:
        """Who wanted it, and why."""
        return f"withdrawn by {self.intent.who}: {self.intent.why}"
