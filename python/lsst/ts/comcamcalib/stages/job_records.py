# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is recorded of jobs: their states, which of several is the one, and what becomes of those that are too many."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ..enums import CalibType
from ..errors import ServiceError
from ..marks import JobMark
from ..record.facts import JobEnded, JobFound, JobMoved, JobStray
from ..record.things import Job
from ..services.job_status import JobStatus, OnChange
from ..services.uws_job import Phase, UwsJob
from .context import RunContext

__all__ = [
    "late_recorder",
    "look_for_job",
    "record_found",
    "recorder_of",
    "settle_open",
    "stop_if_it_appears",
    "stop_stray",
]

_log = logging.getLogger(__name__)


def recorder_of(job: Job, context: RunContext) -> OnChange:
    """Return a callback that records the states of a job, even after the end of its stage.

    If the service has found several jobs with its mark, the callback hears of all of them; the first is the one.
    """
    key, record = (job.label, job.attempt), context.record

    async def record_status(status: JobStatus) -> None:
        known = context.history.jobs[key]
        disowned = known.ended_s and Phase.of(known.phase) is Phase.UNKNOWN
        if known.job_id and known.job_id != status.job_id and not disowned:
            reason = f"It has the same mark as job {known.job_id}, and is one too many"
            await _stray_recorder(job.stage_name, job.calib_type, reason, context)(status)
            return
        same: dict[str, Any] = {"label": job.label, "attempt": job.attempt, "job_id": status.job_id}
        if not status.ended:
            what = f"the job {job.label} ({status.job_id}), {status.phase}"
            record.waiting(job.stage_name, what, context.config.limits.job)
        if status.job_id != context.history.jobs[key].job_id:
            await record.note(JobFound(**same, submitted_s=status.timestamp_submitted_s))
        if status.ended:
            await record.note(
                JobEnded(
                    **same,
                    phase=str(status.phase),
                    exit_code=status.exit_code,
                    message=status.message,
                    ended_s=status.timestamp_ended_s,
                )
            )
        elif str(status.phase) != context.history.jobs[key].phase:
            await record.note(JobMoved(**same, phase=str(status.phase)))

    return record_status


async def look_for_job(job: Job, limit_s: float, context: RunContext) -> list[UwsJob]:
    """Search the UWS for the jobs of an intent that are not known yet, the oldest first.

    Raises
    ------
    ServiceError
        If the UWS can't be asked.
    """
    known = {one.job_id for one in context.history.jobs.values()} | set(context.history.stray_jobs)
    found = await context.services.jobs.find(job.mark, job.intended_s, limit_s)
    return [one for one in found if one.job_id not in known]


async def settle_open(job: Job, context: RunContext) -> None:
    """Find out the id of a job that was intended and that nothing waits for any more, or stop it when it appears.

    One that this process is submitting gets its id in any case. One of an earlier process is searched for.
    """
    limits, key = context.config.limits, (job.label, job.attempt)
    if context.services.jobs.is_submitting(job.mark):
        try:
            async with asyncio.timeout(2 * limits.job_submission):
                await context.record.until(lambda history: not history.jobs[key].open)
        except TimeoutError:
            _log.warning("Run %s: the id of the job %s is still not known", context.run_id, job.label)
        return
    limit_s = min(max(job.intended_s + limits.job_submission - context.clock.tai(), 0.0), limits.job_submission)
    try:
        found = await look_for_job(job, limit_s, context)
    except ServiceError as error:
        _log.warning("Run %s: the job %s is searched for later: %s", context.run_id, job.label, error)
        found = []
    if found:
        await record_found(job, found, context)
    else:
        stop_if_it_appears(job, context)


async def record_found(job: Job, found: list[UwsJob], context: RunContext) -> None:
    """Record the jobs that were found for an intent: the first is the one, the others are one too many, and stopped."""
    first, *others = found
    _log.warning(
        "Run %s: the job %s was submitted before the run was interrupted: it is %s, by its mark %s",
        *(context.run_id, job.label, first.job_id, job.mark),
    )
    await context.record.note(
        JobFound(
            label=job.label,
            attempt=job.attempt,
            job_id=first.job_id,
            submitted_s=first.timestamp_created_s or job.intended_s,
            found=True,
        )
    )
    for other in others:
        reason = f"Job {other.job_id} has the same mark as job {first.job_id}, and is one too many"
        await stop_stray(other, job, reason, context)


async def stop_stray(seen: UwsJob, job: Job, reason: str, context: RunContext) -> None:
    """Record a job that is one too many, and stop it; the service goes on trying until it has ended."""
    _log.warning("Run %s: %s; it is aborted", context.run_id, reason)
    record = _stray_recorder(job.stage_name, job.calib_type, reason, context, seen.timestamp_created_s)
    await record(JobStatus(seen.job_id, seen.phase_word))
    if not seen.phase.ended:
        try:
            await context.services.jobs.abort(seen.job_id, record)
        except ServiceError as error:
            _log.warning("Run %s: %s", context.run_id, error)


def late_recorder(seen: UwsJob, context: RunContext) -> OnChange:
    """Return a callback that records the states of a job that appears after the end of its run."""
    marked = [job for job in context.history.jobs.values() if seen.has_mark(job.mark)]
    if marked and marked[0].open:
        return recorder_of(marked[0], context)
    mark = JobMark.read(seen.output_glob)
    named = [stage for stage in context.plan.stages if mark is not None and stage.name == mark.stage_name]
    stage = (*named, context.plan.stages[0])[0]
    reason = "It appeared after its run was closed"
    return _stray_recorder(stage.name, stage.calib_type, reason, context, seen.timestamp_created_s)


def stop_if_it_appears(job: Job, context: RunContext) -> None:
    """Stop a job that was searched for in vain, if it appears all the same; nothing of it is used."""
    reason = "It appeared after it had been searched for in vain"
    record = _stray_recorder(job.stage_name, job.calib_type, reason, context)
    context.services.jobs.stop_late_job(job.mark, job.intended_s, record)


def _stray_recorder(
    stage_name: str, calib_type: CalibType, reason: str, context: RunContext, created_s: float = 0.0
) -> OnChange:
    async def record(status: JobStatus) -> None:
        await context.record.note(
            JobStray(
                job_id=status.job_id,
                stage_name=stage_name,
                calib_type=calib_type,
                phase=str(status.phase),
                exit_code=status.exit_code,
                message=status.message or reason,
                submitted_s=status.timestamp_submitted_s or created_s,
                ended_s=status.timestamp_ended_s,
            )
        )

    return record
