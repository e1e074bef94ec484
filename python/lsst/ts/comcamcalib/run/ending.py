# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run that is aborted leaves outside: it is looked for, stopped where that is possible, and named where not.

The process may have been killed after it did something outside and before it recorded that, so every intent without an
outcome is looked for. One look must do, because an operator waits; whatever can't be found out is named as not known.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable
from typing import TypeVar

from ..errors import ServiceError, StageError
from ..record.things import Certification, Job
from ..services.uws_job import Phase, UwsJob
from ..stages.certifying import look_for_certification, record_look
from ..stages.context import RunContext
from ..stages.exposing import look_for_frames
from ..stages.exposing import record_found as record_found_frames
from ..stages.job_records import late_recorder, look_for_job, recorder_of
from ..stages.job_records import record_found as record_found_jobs

__all__ = ["Findings", "stop_and_look"]

# Longest time for each look, and for stopping each job (seconds); they run in parallel. The list of the UWS's jobs has
# the longer limit of its client (uws_list), because the UWS walks through the files of all jobs for it.
LOOK_LIMIT_S = 9.0

T = TypeVar("T")


@dataclasses.dataclass
class Findings:
    """What ending a run has found; each entry is a sentence or a part of one."""

    done: list[str] = dataclasses.field(default_factory=list)
    not_stopped: list[str] = dataclasses.field(default_factory=list)
    unknown: list[str] = dataclasses.field(default_factory=list)

    def add_not_stopped(self, job_id: str, sentence: str) -> None:
        """Add a job that could not be stopped, unless it is named already."""
        if not any(job_id in known for known in self.not_stopped):
            self.not_stopped.append(sentence)

    def __str__(self) -> str:
        parts = [("Found: ", self.done), ("Not stopped: ", self.not_stopped), ("Not known: ", self.unknown)]
        return "".join(f". {title}{'; '.join(lines)}" for title, lines in parts if lines)


async def stop_and_look(context: RunContext, rest: Awaitable[None]) -> Findings:
    """Stop the jobs of a run, and look for what it did without recording it.

    Parameters
    ----------
    context
        What its stages shared.
    rest
        Waits until no task of the run is left in this process.
    """
    findings = Findings()
    try:
        await asyncio.gather(_stop_jobs(context, findings), _look_after_rest(context, findings, rest))
    except Exception as error:
        logging.getLogger(__name__).exception("Bug: what run %s has left could not be checked", context.run_id)
        findings.unknown.append(f"all that the run has left, because of an unforeseen {type(error).__name__}: {error}")
    return findings


async def _within(look: Awaitable[T]) -> T:
    """Await a look outside, within a limit.

    Raises
    ------
    ServiceError
        If it failed or did not end within its limit.
    """
    try:
        async with asyncio.timeout(LOOK_LIMIT_S):
            return await look
    except TimeoutError as error:
        raise ServiceError(f"there was no answer within {LOOK_LIMIT_S:g} s") from error
    except StageError as error:
        raise ServiceError(str(error)) from error


async def _look_after_rest(context: RunContext, findings: Findings, rest: Awaitable[None]) -> None:
    """Look for certifications and frames, as soon as nothing of the run is in progress in this process."""
    going_on = ""
    try:
        await _within(rest)
    except ServiceError:
        going_on = "not yet, but Butler may still be certifying"
    for one in context.history.open_certifications:
        await _look_for_certification(one, going_on, context, findings)
    await _look_for_frame(context, findings)


# Jobs


async def _stop_jobs(context: RunContext, findings: Findings) -> None:
    """Stop the jobs that a run has left; a job that has ended is left alone, with its logs."""
    # Those that this process is just submitting are stopped as soon as their ids are known.
    findings.not_stopped += await context.services.jobs.abort_all(LOOK_LIMIT_S, context.run_id)
    jobs = list(context.history.jobs.values())
    opened = [job for job in jobs if job.open]
    await asyncio.gather(
        *(_stop_job(job, context, findings) for job in jobs if job.running),
        *(_look_for_job(job, context, findings) for job in opened),
    )
    if opened:
        known = {job.job_id for job in context.history.jobs.values() if job.job_id} | set(context.history.stray_jobs)
        context.services.jobs.stop_late(
            context.run_id, context.history.accepted_s, known, lambda seen: late_recorder(seen, context)
        )


async def _stop_job(job: Job, context: RunContext, findings: Findings) -> None:
    try:
        status = await _within(context.services.jobs.abort(job.job_id, recorder_of(job, context)))
    except ServiceError as error:
        findings.add_not_stopped(job.job_id, f"job {job.job_id} ({error})")
        return
    if Phase.of(status.phase) is Phase.UNKNOWN:
        findings.unknown.append(f"how job {job.job_id} of {job.stage_name} ended, which the UWS does not know any more")


async def _look_for_job(job: Job, context: RunContext, findings: Findings) -> None:
    """Stop the job of an intent that has no outcome; it may also appear later."""
    later = (
        f"one that appears is stopped, until {context.config.limits.uws_unreachable:g} s of a UWS that answers are over"
    )
    try:
        found = await look_for_job(job, 0.0, context)
    except ServiceError as error:
        findings.unknown.append(
            f"whether there is a job {job.label} of {job.stage_name}, which was being submitted: the UWS can't be "
            f"asked ({error}); {later}. Look there for a job whose OUTPUT_GLOB has "
            f"{job.mark.removesuffix('*')} in it, and delete it"
        )
        return
    if not found:
        findings.unknown.append(
            f"whether the OCPS still makes a job {job.label} for {job.stage_name}, which may have been asked for; "
            f"{later}"
        )
        return
    await record_found_jobs(job, found, context)
    await _stop_found(job, found[0], context, findings)


async def _stop_found(job: Job, seen: UwsJob, context: RunContext, findings: Findings) -> None:
    if seen.phase.ended:
        findings.done.append(f"job {seen.job_id}, which was not in the run's record, is {seen.phase_word} at the UWS")
        return
    try:
        ended = await _within(context.services.jobs.abort(seen.job_id, recorder_of(job, context)))
    except ServiceError as error:
        findings.add_not_stopped(seen.job_id, f"job {seen.job_id}, which was not in the run's record ({error})")
    else:
        findings.done.append(f"job {seen.job_id}, which was not in the run's record, is {ended.phase}")


# Certifications


async def _look_for_certification(one: Certification, going_on: str, context: RunContext, findings: Findings) -> None:
    """Find out whether a certification was done that was begun and not recorded."""
    intent = one.intent
    what = f"{intent.dataset_type} of {intent.output_collection}"
    problem, there = going_on, set[str]()
    try:
        there = await _within(look_for_certification(one, context))
    except ServiceError as error:
        problem = str(error)
    if problem and not there:
        findings.unknown.append(
            f"whether {what} was certified in {intent.collection} ({problem}). Look there before you use the collection"
        )
        return
    await record_look(one, there, (), context)
    if there:
        missing = sorted(set(intent.dataset_ids) - there)
        rest = f", but not all: {', '.join(missing)} are not" if missing else ""
        findings.done.append(
            f"{what} was certified: {len(there)} datasets of type {intent.dataset_type} are in "
            f"{intent.collection}{rest}"
        )


# Frames


async def _look_for_frame(context: RunContext, findings: Findings) -> None:
    """Find out whether the camera took a frame that the run could not record; there can be only one."""
    for frame in [one for one in context.history.frames.values() if one.open]:
        name = f"{frame.calib_type.name} frame {frame.index}"
        try:
            found = await _within(look_for_frames(frame, context))
        except ServiceError as error:
            findings.unknown.append(f"whether the camera took {name}: {error}")
            continue
        if not found:
            findings.unknown.append(
                f"whether the camera took {name}, which had been commanded: neither the camera nor the repository "
                "shows it yet"
            )
            continue
        await record_found_frames(frame, found, context)
        names = ", ".join(one.obs_id for one in found)
        findings.done.append(
            f"the camera took {names} for the run, which was not in its record; its files may be in the repository"
        )
