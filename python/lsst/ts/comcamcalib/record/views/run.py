# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run as a whole and its stages, as events."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .. import events, facts
from ..events import Event
from ..history import History
from ..things import Stage
from .dispatch import published

__all__ = ["configuration", "last_job_id", "run_status", "stage_status"]


def run_status(history: History) -> events.RunStatus:
    """Return the event about the run as a whole."""
    plan = history.plan
    return events.RunStatus(
        run_id=history.run_id,
        state=history.state,
        script_mode=plan.options.script_mode.value,
        requested_by=history.accepted.requested_by,
        reason=history.reason,
        calib_collection=plan.options.calib_collection,
        repo=plan.config.repo,
        images_expected=plan.images_expected,
        estimated_duration=plan.estimated_duration_s,
        timestamp_accepted=history.accepted_s,
        timestamp_started=history.started_s,
        timestamp_ended=history.ended_s,
    )


def configuration(history: History) -> events.RunConfiguration:
    """Return the event with the effective options."""
    effective = json.dumps(history.plan.options.effective(), default=str)
    return events.RunConfiguration(run_id=history.run_id, config=effective)


def stage_status(stage: Stage, history: History) -> events.StageStatus:
    """Return the event about a stage."""
    return events.StageStatus(
        run_id=history.run_id,
        stage_name=stage.name,
        calib_type=stage.calib_type or 0,
        stage_kind=stage.kind,
        state=stage.state,
        attempt=stage.attempt,
        job_id=last_job_id(stage, history),
        reason=stage.reason,
        timestamp_started=stage.started_s,
        timestamp_ended=stage.ended_s,
    )


def last_job_id(stage: Stage, history: History) -> str:
    """Return the identifier of a stage's last job, or an empty text if none is known."""
    return next((job.job_id for job in reversed(history.jobs_of(stage.name)) if job.job_id), "")


@published.register
def _(_fact: facts.RunMoved, history: History) -> Iterator[Event]:
    yield run_status(history)


@published.register
def _(fact: facts.StageMoved, history: History) -> Iterator[Event]:
    if fact.stage_name in history.stages:
        yield stage_status(history.stages[fact.stage_name], history)
