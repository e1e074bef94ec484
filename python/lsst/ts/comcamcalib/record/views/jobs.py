# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs, as events."""

from __future__ import annotations

from collections.abc import Iterator

from ...plan.request import job_collection
from .. import events, facts
from ..events import Event
from ..history import History
from ..things import Job
from .dispatch import published
from .run import stage_status

__all__ = ["job_state", "stray_job"]


def job_state(job: Job, history: History) -> events.JobState:
    """Return the event about a job whose id is known."""
    config = history.plan.config
    return events.JobState(
        run_id=history.run_id,
        stage_name=job.stage_name,
        calib_type=job.calib_type,
        job_id=job.job_id,
        phase=job.phase,
        exit_code=job.exit_code,
        output_collection=job_collection(job.job_id),
        log_url=f"{config.uws_url.rstrip('/')}/job/{job.job_id}/results",
        log_path=config.log_path_pattern.format(job_id=job.job_id),
        message=job.message,
        timestamp_submitted=job.submitted_s,
        timestamp_ended=job.ended_s,
    )


def stray_job(stray: facts.JobStray, history: History) -> events.JobState:
    """Return the event about a job that was submitted once too often."""
    job = Job(
        label="",
        attempt=0,
        stage_name=stray.stage_name,
        calib_type=stray.calib_type,
        job_id=stray.job_id,
        phase=stray.phase,
        exit_code=stray.exit_code,
        message=stray.message,
        submitted_s=stray.submitted_s,
        ended_s=stray.ended_s,
    )
    return job_state(job, history)


@published.register
def _(fact: facts.JobFound, history: History) -> Iterator[Event]:
    job = history.jobs[fact.label, fact.attempt]
    yield job_state(job, history)
    stage = history.stages.get(job.stage_name)
    if stage is not None:
        yield stage_status(stage, history)  # it names its last job


@published.register
def _(fact: facts.JobMoved, history: History) -> Iterator[Event]:
    yield job_state(history.jobs[fact.label, fact.attempt], history)


@published.register
def _(fact: facts.JobEnded, history: History) -> Iterator[Event]:
    yield job_state(history.jobs[fact.label, fact.attempt], history)


@published.register
def _(fact: facts.JobStray, history: History) -> Iterator[Event]:
    yield stray_job(fact, history)
