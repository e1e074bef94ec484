# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a run will take: the length of the critical path of its stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..config import CscConfig
from ..enums import CalibType, StageKind
from .plan import Sequence, StagePlan

__all__ = ["critical_path", "stage_durations"]

# Duration of a stage without jobs, which reads or certifies some datasets in the repository (seconds). It is not zero,
# because a run is not complete before its last certification.
WITHOUT_JOBS_S = 1.0


def stage_durations(
    stages: Iterable[StagePlan], sequences: Mapping[CalibType, Sequence], config: CscConfig
) -> dict[str, float]:
    """Estimate each stage's own duration.

    Parameters
    ----------
    stages, sequences
        Of the plan.
    config
        The CSC's configuration; its ``estimates`` are used.

    Returns
    -------
    durations
        Seconds, by stage name. An ingest stage counts only what it needs after the last exposure.
    """
    estimates = config.estimates

    def duration(stage: StagePlan) -> float:
        if stage.kind is StageKind.ACQUIRE:
            sequence = sequences[stage.calib_type]
            exposures = sum(frame.exposure_time_s + estimates.readout_s for frame in sequence.frames)
            return exposures + sequence.pause_s * (len(sequence.frames) - 1)
        if stage.kind is StageKind.INGEST:
            return estimates.ingest_s
        return estimates.job_s * len(stage.jobs) or WITHOUT_JOBS_S

    return {stage.name: duration(stage) for stage in stages}


def critical_path(stages: Iterable[StagePlan], durations: Mapping[str, float]) -> float:
    """Return the length of the longest chain of stages that wait for each other.

    Parameters
    ----------
    stages
        Of a plan, each after what it waits for.
    durations
        Seconds, by stage name.

    Returns
    -------
    duration
        Seconds until the last stage ends, if each stage starts as soon as it may.
    """
    ends: dict[str, float] = {}
    for stage in stages:
        ends[stage.name] = max((ends[name] for name in stage.waits_for), default=0.0) + durations[stage.name]
    return max(ends.values(), default=0.0)
