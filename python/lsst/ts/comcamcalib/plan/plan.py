# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of a run: frozen data, complete before anything moves."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ..config import CscConfig, Recipe
from ..enums import CalibType, StageKind
from ..options import RunOptions

__all__ = ["Frame", "JobPlan", "RunPlan", "Sequence", "StagePlan"]


@dataclasses.dataclass(frozen=True)
class Frame:
    """One exposure to take."""

    calib_type: CalibType
    index: int
    """Position in the sequence, from 1; frames that are taken again get the next free one."""
    exposure_time_s: float
    discarded: bool = False
    """Taken, but not used for anything."""


@dataclasses.dataclass(frozen=True)
class Sequence:
    """The exposures of one type, in the order in which they are taken."""

    calib_type: CalibType
    group_id: str
    frames: tuple[Frame, ...]
    max_retakes: int
    pause_s: float = 0.0
    """Pause between two exposures."""


@dataclasses.dataclass(frozen=True)
class JobPlan:
    """One job for the OCPS, without the exposure ids and job ids, which are known only during the run."""

    label: str
    pipeline: str
    stage_name: str
    mark: str
    """Output glob that matches no dataset and identifies the job at the UWS."""
    frames: tuple[CalibType, ...]
    """Types whose exposures the data query names."""
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
class StagePlan:
    """One stage: what it waits for, and what it does."""

    name: str
    kind: StageKind
    calib_type: CalibType
    needs: tuple[str, ...] = ()
    """Stages that must have SUCCEEDED."""
    after: tuple[str, ...] = ()
    """Stages that must have ended, successfully or not, because they use the same camera."""
    alongside: str = ""
    """Stage that must have started, because this stage uses what it publishes."""
    jobs: tuple[JobPlan, ...] = ()

    @property
    def waits_for(self) -> tuple[str, ...]:
        """All stages that it waits for in any of these ways."""
        return (*self.needs, *self.after, *((self.alongside,) if self.alongside else ()))


@dataclasses.dataclass(frozen=True)
class RunPlan:
    """Everything that a run will do."""

    run_id: str
    options: RunOptions
    config: CscConfig
    sequences: Mapping[CalibType, Sequence]
    stages: tuple[StagePlan, ...]
    estimated_duration_s: float
    notices: tuple[str, ...] = ()
    """Notices for the operator, a sentence each."""

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
