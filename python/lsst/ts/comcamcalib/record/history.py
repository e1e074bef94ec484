# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of a run: what follows from its facts. It is the only state of a run; nothing keeps a second copy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ..enums import CalibType, RunState, StageKind, StageState, Verdict
from ..plan.plan import RunPlan
from . import facts
from .things import GOOD_VERDICTS, Certification, Frame, GoodProduct, Job, Product, Stage, Stray, Withdrawal

__all__ = ["OPEN_RUN_STATES", "STAGE_ENDED", "History"]

OPEN_RUN_STATES = frozenset({RunState.ACCEPTED, RunState.RUNNING, RunState.ABORTING, RunState.INTERRUPTED})
"""States in which no other run may start."""

STAGE_ENDED = frozenset({StageState.SUCCEEDED, StageState.FAILED, StageState.SKIPPED, StageState.ABORTED})


@dataclasses.dataclass(frozen=True)
class History:
    """A run as it follows from its facts so far; times are TAI unix seconds, 0 = not yet."""

    accepted: facts.RunAccepted
    accepted_s: float
    seq: int
    """Number of the last fact."""
    state: RunState = RunState.ACCEPTED
    reason: str = ""
    started_s: float = 0.0
    ended_s: float = 0.0
    decisions: tuple[facts.Decision, ...] = ()
    abort: facts.Decision | None = None
    """Who aborted the run; None: nobody did, or the run went on since because somebody wanted that."""
    stages: Mapping[str, Stage] = dataclasses.field(default_factory=dict)
    frames: Mapping[tuple[CalibType, int], Frame] = dataclasses.field(default_factory=dict)
    """By type and position, in the order in which they were intended."""
    stray_frames: tuple[Stray, ...] = ()
    blamed: Mapping[CalibType, str] = dataclasses.field(default_factory=dict)
    """Why no good product can be made from the frames of a type; only types whose frames are bad."""
    jobs: Mapping[tuple[str, int], Job] = dataclasses.field(default_factory=dict)
    """By label and attempt, in the order in which they were intended."""
    stray_jobs: Mapping[str, facts.JobStray] = dataclasses.field(default_factory=dict)
    """By job id."""
    made: Mapping[str, Product] = dataclasses.field(default_factory=dict)
    """By label of the job."""
    gains: Mapping[tuple[int, int], facts.GainsMeasured] = dataclasses.field(default_factory=dict)
    """By exposure and detector."""
    verdicts: Mapping[tuple[CalibType, str], facts.VerdictGiven] = dataclasses.field(default_factory=dict)
    """The verdict that stands, by type and filter; one that somebody accepted is ACCEPTED_BY_OPERATOR."""
    accepted_verdicts: Mapping[tuple[CalibType, str], facts.VerdictAccepted] = dataclasses.field(default_factory=dict)
    """Who accepted a verdict that stands, and why; by type and filter."""
    measured: Mapping[tuple[CalibType, str], facts.Measured] = dataclasses.field(default_factory=dict)
    """The latest values of a product, by type and filter."""
    certifications: Mapping[int, Certification] = dataclasses.field(default_factory=dict)
    """By number."""
    withdrawals: Mapping[int, Withdrawal] = dataclasses.field(default_factory=dict)
    """By number."""
    report: facts.ReportWritten | None = None
    """The latest report; None if none is written yet."""
    report_outdated: bool = False
    """Whether somebody has accepted a verdict or withdrawn something since the latest report."""

    @property
    def plan(self) -> RunPlan:
        """What the run does."""
        return self.accepted.plan

    @property
    def run_id(self) -> str:
        """Identifier of the run."""
        return self.plan.run_id

    @property
    def open(self) -> bool:
        """Whether no other run may start."""
        return self.state in OPEN_RUN_STATES

    def stages_in(self, *states: StageState) -> list[Stage]:
        """Return the stages that are in one of some states."""
        return [stage for stage in self.stages.values() if stage.state in states]

    def stage(self, calib_type: CalibType, kind: StageKind) -> Stage | None:
        """Return a stage, or None if the run has none of the kind for this type."""
        return self.stages.get(f"{calib_type.name}.{kind.name}")

    # Frames

    def frames_of(self, calib_type: CalibType) -> list[Frame]:
        """Return the frames of a type in the order in which they were intended."""
        return [frame for frame in self.frames.values() if frame.calib_type is calib_type]

    def taken(self, calib_type: CalibType) -> list[Frame]:
        """Return the frames of a type that were taken, in the order of their exposures."""
        taken = [frame for frame in self.frames_of(calib_type) if frame.exposure_id]
        return sorted(taken, key=lambda frame: frame.exposure_id)

    def used(self, calib_type: CalibType) -> list[Frame]:
        """Return the frames of a type that count: neither discarded nor given up."""
        return [frame for frame in self.taken(calib_type) if frame.used]

    def exposure_ids(self, calib_type: CalibType) -> tuple[int, ...]:
        """Return the exposures of a type that count, in order."""
        return tuple(frame.exposure_id for frame in self.used(calib_type))

    @property
    def known_exposures(self) -> frozenset[int]:
        """All exposures of the run that are known, used or not."""
        own = (frame.exposure_id for frame in self.frames.values() if frame.exposure_id)
        return frozenset((*own, *(stray.exposure_id for stray in self.stray_frames)))

    @property
    def no_more_exposures(self) -> str:
        """Why no further exposure may be taken; empty if it may."""
        if self.state is not RunState.RUNNING:
            return f"the run is {self.state.name}"
        if self.plan.options.on_failure != "stop":
            return ""
        failed = next((stage.name for stage in self.stages_in(StageState.FAILED)), "")
        return f"{failed} failed and on_failure is stop" if failed else ""

    # Jobs and products

    def job(self, label: str) -> Job | None:
        """Return the latest attempt at a job of the plan, None if there is none."""
        attempts = [job for job in self.jobs.values() if job.label == label]
        return max(attempts, key=lambda job: job.attempt, default=None)

    def jobs_of(self, stage_name: str) -> list[Job]:
        """Return all attempts at the jobs of a stage."""
        return [job for job in self.jobs.values() if job.stage_name == stage_name]

    def product(self, calib_type: CalibType) -> Product | None:
        """Return the product of a type, None if it is not made yet."""
        return self.made.get(self.plan.recipe(calib_type).jobs[-1].label)

    def verdicts_of(self, calib_type: CalibType) -> list[facts.VerdictGiven]:
        """Return the verdicts that stand for a product, one for each filter."""
        return [verdict for (one, _), verdict in self.verdicts.items() if one is calib_type]

    def not_made(self, calib_type: CalibType) -> dict[int, str]:
        """Return the detectors that a product of this run lacks, because nothing was made for them; with the reason."""
        product = self.product(calib_type)
        if product is None:
            return {}
        made = {one.detector for one in product.datasets}
        return {one: f"no {product.dataset_type} was made" for one in self.plan.detector_names if one not in made}

    def left_out_before(self, calib_type: CalibType) -> dict[int, str]:
        """Return the detectors that can't be in a good product, each with the reason.

        That is: those for which nothing was made, and those that are left out of the products of this run that it is
        built on, and of those that judge the frames it is made from.
        """
        recipe = self.plan.recipe(calib_type)
        left_out: dict[int, str] = {}
        for name in dict.fromkeys((*recipe.builds_on, *recipe.frames)):
            base = CalibType[name]
            if base < calib_type and self.product(base) is not None:
                left_out = {
                    **dict.fromkeys(sorted(self._left_out(base)), f"left out of {name}"),
                    **self.left_out_before(base),
                    **left_out,
                }
        return {**self.not_made(calib_type), **left_out}

    def _left_out(self, calib_type: CalibType) -> set[int]:
        return {one for verdict in self.verdicts_of(calib_type) for one in verdict.left_out}

    def _without_left_out(self, product: Product) -> Product:
        """Return a product without the datasets of detectors that a verdict on it, or on its bases, leaves out.

        Raises
        ------
        ValueError
            If nothing is left.
        """
        before = set(self.left_out_before(product.calib_type))
        by_filter = {one.physical_filter: before | set(one.left_out) for one in self.verdicts_of(product.calib_type)}
        everywhere = by_filter.get("", before)
        datasets = tuple(
            one
            for one in product.datasets
            if one.detector not in by_filter.get(one.physical_filter or "", everywhere) | everywhere
        )
        if not datasets:
            raise ValueError(f"no detector of {product.calib_type.name} is good")
        return dataclasses.replace(product, datasets=datasets)

    def good_product(self, calib_type: CalibType) -> GoodProduct:
        """Return a product that may be certified, without the detectors that are left out.

        Raises
        ------
        ValueError
            If there is none, or its verdict is not good; the message says which it is.
        """
        product = self.product(calib_type)
        if product is None:
            raise ValueError(f"{calib_type.name} is not made")
        for one in (calib_type, *self.bases_of(calib_type)):
            if (withdrawal := self.withdrawn(one)) is not None:
                raise ValueError(f"{one.name} was {withdrawal.words}")
        verdicts, lacking = self.verdicts_of(calib_type), self.not_made(calib_type)
        if not self.plan.options.do_verify and self.plan.options.certify_unverified and not verdicts:
            return GoodProduct(product, None, tuple(lacking))
        bad = [one for one in verdicts if one.verdict not in GOOD_VERDICTS]
        if bad or not verdicts:
            raise ValueError(f"{calib_type.name} is {bad[0].verdict.name if bad else 'not verified'}")
        judged = {one.physical_filter for one in verdicts}
        filters = {one.physical_filter for one in product.datasets if one.physical_filter}
        if "" not in judged and (left_out := sorted(filters - judged)):
            raise ValueError(f"{calib_type.name} is not verified in {', '.join(left_out)}")
        stage = self.stage(calib_type, StageKind.VERIFY)
        if stage is None or stage.state is not StageState.SUCCEEDED:
            raise ValueError(f"the verification of {calib_type.name} has not succeeded")
        good = self._without_left_out(product)
        lost = {one.detector for one in product.datasets if one not in good.datasets and one.detector is not None}
        lost.update(lacking)
        return GoodProduct(good, max((one.verdict for one in verdicts), key=_by_trust), tuple(sorted(lost)))

    def bases_of(self, calib_type: CalibType) -> list[CalibType]:
        """Return the products of this run that a product is built on, directly or not."""
        found: list[CalibType] = []
        for name in self.plan.recipe(calib_type).builds_on:
            base = CalibType[name]
            if self.plan.stage(base, StageKind.GENERATE) is not None and base not in found:
                found += [base, *(one for one in self.bases_of(base) if one not in found)]
        return list(dict.fromkeys(found))

    def withdrawn(self, calib_type: CalibType) -> Withdrawal | None:
        """Return the withdrawal of a product that is made now; None if nobody has withdrawn it."""
        product = self.product(calib_type)
        return next(
            (
                one.withdrawn
                for one in self.certifications.values()
                if product is not None and one.withdrawn is not None and set(one.intent.dataset_ids) & set(product.ids)
            ),
            None,
        )

    @property
    def open_withdrawals(self) -> list[Withdrawal]:
        """Withdrawals of which it is not known whether they were done."""
        return [one for one in self.withdrawals.values() if one.outcome is None]

    @property
    def open_certifications(self) -> list[Certification]:
        """Certifications of which it is not known whether they were done."""
        return [one for one in self.certifications.values() if one.outcome is None]


def _by_trust(verdict: Verdict) -> int:
    return (Verdict.PASSED, Verdict.PASSED_WITH_FAILURES, Verdict.ACCEPTED_BY_OPERATOR).index(verdict)
