# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Turn run options into the plan of a run; pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from ..config import CscConfig
from ..enums import CalibType, StageKind
from ..options import RunOptions
from .estimate import schedule
from .plan import JobPlan, RunPlan, Sequence, StagePlan
from .validity import noon_notice

__all__ = ["FRAME_TYPES", "build_plan"]

FRAME_TYPES = (CalibType.BIAS, CalibType.DARK, CalibType.FLAT)
"""Products that are made of frames of their own, and verified by these."""


def build_plan(run_id: str, options: RunOptions, config: CscConfig, now_tai_s: float | None = None) -> RunPlan:
    """Plan a run completely.

    Parameters
    ----------
    run_id
        Identifier of the run.
    options
        Checked options.
    config
        The CSC's configuration, with the recipes of the products.
    now_tai_s
        Time at which the run begins (TAI unix seconds), for the notices; None: the notices are not needed.

    Returns
    -------
    plan
        What the run will do; each stage comes after the stages that it needs.
    """
    plan = _Builder(run_id, options, config).build()
    if now_tai_s is None:
        return plan
    notice = noon_notice(options, now_tai_s, plan.estimated_duration_s)
    return dataclasses.replace(plan, notices=(*plan.notices, *([notice] if notice else [])))


class _Builder:
    """The options and the values derived from them, while a plan is being made."""

    def __init__(self, run_id: str, options: RunOptions, config: CscConfig) -> None:
        self.run_id = run_id
        self.options = options
        self.config = config
        self.taken = [calib_type for calib_type in FRAME_TYPES if options.frames(calib_type)]
        self.generated = list(self.taken) if options.generate_calibrations else []
        self.generated += [CalibType.DEFECTS] if options.do_defects else []
        self.generated += [CalibType.PTC] if options.do_ptc else []
        self.generated += [CalibType.GAIN] if options.do_gain_from_flat_pairs else []

    def build(self) -> RunPlan:
        sequences = {calib_type: self._sequence(calib_type) for calib_type in self.taken}
        plan = RunPlan(
            run_id=self.run_id,
            options=self.options,
            config=self.config,
            sequences=sequences,
            stages=tuple(_in_order(self._stages())),
            estimated_duration_s=0.0,
            notices=self.options.notices,
            report=bool(self.config.report.directory),
        )
        return dataclasses.replace(plan, estimated_duration_s=schedule(plan).makespan_s)

    def _sequence(self, calib_type: CalibType) -> Sequence:
        return Sequence(
            calib_type,
            f"{self.run_id}-{calib_type.name}",
            self.options.frames(calib_type),
            max_retakes=self.options.max_retakes,
            pause_s=self.options.wait_between_exposures,
        )

    def _stages(self) -> Iterator[StagePlan]:
        previous: tuple[str, ...] = ()
        for calib_type in self.taken:
            acquire = f"{calib_type.name}.ACQUIRE"
            yield StagePlan(acquire, StageKind.ACQUIRE, calib_type, after=previous)
            yield StagePlan(f"{calib_type.name}.INGEST", StageKind.INGEST, calib_type, alongside=acquire)
            previous = (acquire,)
        for calib_type in dict.fromkeys([*self.taken, *self.generated]):
            if calib_type in self.generated:
                yield self._generate(calib_type)
            if self.options.do_verify:
                yield self._verify(calib_type)
            if self._certifies(calib_type):
                needs = (self._judged(calib_type), *self._trusts(calib_type))
                yield StagePlan(f"{calib_type.name}.CERTIFY", StageKind.CERTIFY, calib_type, needs=needs)

    def _certifies(self, calib_type: CalibType) -> bool:
        """Whether a product is certified: this run makes it, and verifies it or need not.

        Gains from flat pairs are a report, not a calibration. A run that only verifies certifies nothing: the products
        of its flats depend on a bias and a dark that it has not made.
        """
        if calib_type is CalibType.GAIN or not self.options.generate_calibrations:
            return False
        return self.options.do_verify or self.options.certify_unverified

    def _builds_on(self, calib_type: CalibType) -> list[CalibType]:
        """Types of this run's products that a product is made from; the others come from the input collections."""
        names = self.config.recipes[calib_type.name].builds_on
        return [other for other in self.generated if other.name in names]

    def _judged(self, calib_type: CalibType) -> str:
        """Name the stage after which a product counts as good."""
        return f"{calib_type.name}.{'VERIFY' if self.options.do_verify else 'GENERATE'}"

    def _trusts(self, calib_type: CalibType) -> tuple[str, ...]:
        """Name the verifications of all products that a product is made from, and that those are made from."""
        if not self.options.do_verify:
            return ()
        found = {base for other in self._builds_on(calib_type) for base in (other, *self._all_bases(other))}
        return tuple(f"{base.name}.VERIFY" for base in self.generated if base in found)

    def _all_bases(self, calib_type: CalibType) -> set[CalibType]:
        """Types of this run's products that a product is made from, and that those are made from."""
        bases = self._builds_on(calib_type)
        return set(bases).union(*(self._all_bases(base) for base in bases))

    def _generate(self, calib_type: CalibType) -> StagePlan:
        recipe = self.config.recipes[calib_type.name]
        name = f"{calib_type.name}.GENERATE"
        ready = [self._buildable(other) for other in self._builds_on(calib_type)]
        needs = (*self._ingests(CalibType[frames] for frames in recipe.frames), *ready)
        collections = (self.options.calib_collection, *self.options.input_collections(calib_type))
        dataset_types = {job.label: job.dataset_type for job in recipe.jobs}
        jobs = tuple(
            self._job(
                name,
                job.label,
                job.pipeline,
                frames=tuple(CalibType[one] for one in job.frames),
                bases=self._builds_on(calib_type),
                uses=self._uses(calib_type) | {dataset_types[label]: label for label in job.uses},
                collections=collections,
                dataset_type=job.dataset_type,
                dimensions=job.dimensions,
                config_options=self.options.config_options(CalibType[job.options.upper()]) if job.options else "",
            )
            for job in recipe.jobs
        )
        return StagePlan(name, StageKind.GENERATE, calib_type, needs=needs, trusts=self._trusts(calib_type), jobs=jobs)

    def _ingests(self, frame_types: Iterable[CalibType]) -> tuple[str, ...]:
        return tuple(f"{one.name}.INGEST" for one in frame_types if one in self.taken)

    def _buildable(self, calib_type: CalibType) -> str:
        """Name the stage after which others may be built on a product."""
        return f"{calib_type.name}.GENERATE" if self.options.speculate else self._judged(calib_type)

    def _job(
        self,
        stage_name: str,
        label: str,
        pipeline: str,
        *,
        frames: tuple[CalibType, ...],
        bases: Iterable[CalibType],
        uses: dict[str, str],
        collections: tuple[str, ...],
        dataset_type: str,
        dimensions: str = "",
        config_options: str = "",
    ) -> JobPlan:
        gates = [self._buildable(base) for base in bases]
        return JobPlan(
            label=label,
            pipeline=pipeline,
            stage_name=stage_name,
            frames=frames,
            needs=tuple(uses.values()),
            # A product's GENERATE stage has its last job, which `needs` names.
            needs_stages=(*self._ingests(frames), *(gate for gate in gates if gate.endswith(".VERIFY"))),
            inputs=tuple(reversed(uses.values())),
            collections=tuple(dict.fromkeys(collections)),
            dataset_type=dataset_type,
            dimensions=dimensions,
            uses=uses,
            config_options=config_options,
            n_processes=self.options.n_processes,
        )

    def _uses(self, calib_type: CalibType) -> dict[str, str]:
        """Dataset types of the products that a product is made from, with the labels of the jobs that made them."""
        recipes = [self.config.recipes[other.name] for other in self._builds_on(calib_type)]
        return {recipe.dataset_type: recipe.jobs[-1].label for recipe in recipes}

    def _verify(self, calib_type: CalibType) -> StagePlan:
        name = f"{calib_type.name}.VERIFY"
        recipe = self.config.recipes[calib_type.name]
        made = calib_type in self.generated
        needs = (f"{calib_type.name}.{'GENERATE' if made else 'INGEST'}",)
        after = tuple(self._heard_before(calib_type))
        trusts = self._trusts(calib_type)
        if recipe.verification is None:
            return StagePlan(name, StageKind.VERIFY, calib_type, needs=needs, after=after, trusts=trusts)
        # The photon transfer curves themselves are tested; the frames only name them.
        of_frames = calib_type in FRAME_TYPES
        uses = self._uses(calib_type) if of_frames else {}
        # Verification without generation judges only the calibrations in the input collections.
        collections = self.options.input_collections_verify(calib_type)
        if made:
            uses[recipe.dataset_type] = recipe.jobs[-1].label
            collections = (self.options.calib_collection, *collections)
        job = self._job(
            name,
            recipe.verification.label,
            recipe.verification.pipeline,
            frames=(calib_type,) if of_frames else tuple(CalibType[one] for one in recipe.frames),
            bases=(),
            uses=uses,
            collections=collections,
            dataset_type=recipe.verification.run_statistics,
        )
        return StagePlan(name, StageKind.VERIFY, calib_type, needs=needs, after=after, trusts=trusts, jobs=(job,))

    def _heard_before(self, calib_type: CalibType) -> Iterator[str]:
        """Name the stages that may find the frames of a product bad, and must end before it is judged.

        Frames are judged by the verification of their own type. Implausible gains count against the flats with which
        they were measured, so gains are made before the flats are judged.

        Curves of flats that the lamp, the shutter or a filter has spoilt may be plausible, and nothing in them shows
        that: so the verdict on PTC, and on DEFECTS and GAIN, waits for those on the frames, whose fate it shares. The
        jobs do not wait.
        """
        if calib_type is CalibType.FLAT:
            yield from (
                f"{other.name}.GENERATE"
                for other in (CalibType.PTC, CalibType.GAIN)
                if other in self.generated and not self._waits_for_flats(other)
            )
        elif calib_type not in FRAME_TYPES:
            frames = [CalibType[name] for name in self.config.recipes[calib_type.name].frames]
            yield from (f"{other.name}.VERIFY" for other in frames if other in self.taken)

    def _waits_for_flats(self, calib_type: CalibType) -> bool:
        """Whether a product can't be made before the flats are judged, which then must not wait for it.

        Products that are no frames are judged after the flats, so all that is built on their verdicts is, too.
        """
        if self.options.speculate or not self.options.do_verify:
            return False
        return any(base not in (CalibType.BIAS, CalibType.DARK) for base in self._all_bases(calib_type))


def _in_order(stages: Iterable[StagePlan]) -> Iterator[StagePlan]:
    """Sort stages so that each comes after all that it waits for; otherwise their order is kept.

    Raises
    ------
    RuntimeError
        If stages wait for each other in a circle: that is a bug in this module.
    """
    left = list(stages)
    names: set[str] = set()
    while left:
        following = next((one for one in left if names.issuperset(one.waits_for)), None)
        if following is None:
            raise RuntimeError(f"Bug: {', '.join(one.name for one in left)} wait for each other")
        left.remove(following)
        names.add(following.name)
        yield following
