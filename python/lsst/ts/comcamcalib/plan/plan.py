# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of a run: frozen data, complete before anything moves.

It is stored with the acceptance of the run (`lsst.ts.comcamcalib.record.facts`), and a resumed run goes on with it. So
what holds for facts holds here, too: a field may be added with a default, but none may be renamed, removed or given
another meaning.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Literal

import pydantic

from ..config import CscConfig, Recipe
from ..enums import CalibType, StageKind
from ..options import PlannedFrame, RunOptions

__all__ = ["REPORT_STAGE", "JobPlan", "RunPlan", "Sequence", "StagePlan"]

REPORT_STAGE = "REPORT"
"""Name of the last stage, which belongs to no product and which the plan does not list among the others."""


class _Closed:
    """A plan that is read back must have no field that this release does not know."""

    __pydantic_config__: ClassVar[pydantic.ConfigDict] = pydantic.ConfigDict(extra="forbid")


@dataclasses.dataclass(frozen=True)
class Sequence(_Closed):
    """The exposures of one type, in the order in which they are taken."""

    calib_type: CalibType
    group_id: str
    frames: tuple[PlannedFrame, ...]
    max_retakes: int
    pause_s: float = 0.0
    """Pause between two exposures."""


@dataclasses.dataclass(frozen=True)
class JobPlan(_Closed):
    """One job for the OCPS, without the exposure ids and job ids, which are known only during the run."""

    label: str
    pipeline: str
    stage_name: str
    frames: tuple[CalibType, ...]
    """Types whose exposures the data query names."""
    needs: tuple[str, ...]
    """Labels of this run's jobs that must have succeeded first: those whose datasets it uses."""
    needs_stages: tuple[str, ...]
    """Stages that must have SUCCEEDED first: INGEST of its frames and, if the run does not speculate, VERIFY of the
    products that it builds on."""
    inputs: tuple[str, ...]
    """Labels of this run's jobs whose collections come first among the inputs, in order."""
    collections: tuple[str, ...]
    """Input collections that follow, in order; those that do not exist yet are left out."""
    dataset_type: str
    dimensions: str
    """``detector``, ``detector+physical_filter``, ``detector+exposure_pair``, or empty if nothing is counted."""
    uses: Mapping[str, str]
    """Dataset types that must have come from this run, with the label of the job that made each."""
    config_options: str
    n_processes: int


@dataclasses.dataclass(frozen=True)
class StagePlan(_Closed):
    """One stage: what it waits for, and what it does.

    A stage with jobs begins with the first job that may start: each job waits only for its own ``needs`` and
    ``needs_stages``. The stage's ``needs`` name all that it must have before it can succeed.
    """

    name: str
    kind: StageKind
    calib_type: CalibType
    needs: tuple[str, ...] = ()
    """Stages that must have SUCCEEDED."""
    after: tuple[str, ...] = ()
    """Stages that must have ended, successfully or not: before an ACQUIRE begins, because they use the same camera;
    before a VERIFY gives its verdict, because they may find its frames bad (its job does not wait for them)."""
    alongside: str = ""
    """Stage that must have started, because this stage uses what it publishes."""
    trusts: tuple[str, ...] = ()
    """VERIFY stages of all products of this run that it is built on, directly or not. If one of them has a bad verdict,
    the stage's jobs are in vain."""
    jobs: tuple[JobPlan, ...] = ()

    @property
    def waits_for(self) -> tuple[str, ...]:
        """All stages that it waits for before it can succeed. It does not wait for those that it trusts."""
        return (*self.needs, *self.after, *((self.alongside,) if self.alongside else ()))


@dataclasses.dataclass(frozen=True)
class RunPlan(_Closed):
    """Everything that a run will do."""

    run_id: str
    options: RunOptions
    config: CscConfig
    sequences: Mapping[CalibType, Sequence]
    stages: tuple[StagePlan, ...]
    estimated_duration_s: float
    notices: tuple[str, ...] = ()
    """Notices for the operator, a sentence each."""
    version: Literal[1] = 1
    report: bool = False
    """Whether a report is written when all stages have ended."""

    @property
    def images_expected(self) -> int:
        """Number of exposures, the discarded ones included."""
        return sum(len(sequence.frames) for sequence in self.sequences.values())

    @property
    def jobs_expected(self) -> int:
        """Number of OCPS jobs."""
        return sum(len(stage.jobs) for stage in self.stages)

    @property
    def detector_names(self) -> dict[int, str]:
        """Full names of the detectors in use, by id."""
        names = self.config.instrument.detector_names
        return {detector: names[detector] for detector in self.options.detectors}

    @property
    def amplifiers(self) -> dict[int, int]:
        """Numbers of amplifiers of the detectors in use, by id."""
        amplifiers = self.config.instrument.amplifiers
        return {detector: amplifiers[detector] for detector in self.options.detectors}

    def recipe(self, calib_type: CalibType) -> Recipe:
        """Return how a product is made."""
        return self.config.recipes[calib_type.name]

    def stage(self, calib_type: CalibType, kind: StageKind) -> StagePlan | None:
        """Return a stage, or None if the run has none of the kind for this type."""
        name = f"{calib_type.name}.{kind.name}"
        return next((stage for stage in self.stages if stage.name == name), None)
