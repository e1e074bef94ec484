# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from the facts about jobs."""

from __future__ import annotations

import dataclasses

from .. import facts
from ..history import History
from ..things import Job
from .dispatch import after, with_item


def _job(history: History, label: str, attempt: int, **changes: object) -> History:
    key = (label, attempt)
    old = history.jobs.get(key, Job(label, attempt))
    new = dataclasses.replace(old, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(history, jobs=with_item(history.jobs, key, new))


@after.register
def _(fact: facts.JobIntended, history: History, at: float) -> History:
    return _job(
        history,
        fact.label,
        fact.attempt,
        stage_name=fact.stage_name,
        stage_attempt=fact.stage_attempt,
        calib_type=fact.calib_type,
        mark=fact.mark,
        exposures=fact.exposures,
        inputs=fact.inputs,
        intended_s=at,
    )


@after.register
def _(fact: facts.JobFound, history: History, _at: float) -> History:
    # It may be another job than was believed at first, so what was known of that one counts no more.
    return _job(
        history,
        fact.label,
        fact.attempt,
        job_id=fact.job_id,
        submitted_s=fact.submitted_s,
        phase="pending",
        exit_code=-1,
        message="",
        ended_s=0.0,
        absent="",
    )


@after.register
def _(fact: facts.JobMoved, history: History, _at: float) -> History:
    return _job(history, fact.label, fact.attempt, job_id=fact.job_id, phase=fact.phase)


@after.register
def _(fact: facts.JobEnded, history: History, _at: float) -> History:
    return _job(
        history,
        fact.label,
        fact.attempt,
        job_id=fact.job_id,
        phase=fact.phase,
        exit_code=fact.exit_code,
        message=fact.message,
        ended_s=fact.ended_s,
    )


@after.register
def _(fact: facts.JobAbsent, history: History, _at: float) -> History:
    return _job(history, fact.label, fact.attempt, absent=fact.reason or "there is none")


@after.register
def _(fact: facts.JobDistrusted, history: History, _at: float) -> History:
    return _job(history, fact.label, fact.attempt, distrusted=fact.reason or "its output can't be used")


@after.register
def _(fact: facts.JobStray, history: History, _at: float) -> History:
    return dataclasses.replace(history, stray_jobs=with_item(history.stray_jobs, fact.job_id, fact))
