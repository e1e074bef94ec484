# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Interrupted runs: how a restart marks them, and how abort closes them.

The process may have ended after it did something outside and before it recorded that. So closing first checks the
repository for certified datasets, the UWS for jobs, and the camera for a frame. Whatever can't be checked is named as
not known.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from lsst.ts import utils

from ..config import CscConfig
from ..enums import CertificationState, RunState, StageKind, StageState
from ..errors import ServiceError
from ..plan.record import Certification, CertificationIntent, ImageTaken, JobState, StageStatus
from ..services.butler import Repository
from ..services.camera import Camera
from ..services.job_search import CLOCK_TOLERANCE_S
from ..services.job_status import Jobs, JobStatus, OnChange
from ..services.uws import Phase, UwsJob
from ..stages.context import Services, job_state
from .log import RunLog, move_run

__all__ = ["Rest", "close_interrupted", "interrupted_by_restart"]

# Longest time for each check outside, and for stopping each job (seconds); they run in parallel. The list of the UWS's
# jobs has the longer limit of its client (uws_list), because the UWS walks through the files of all jobs for it.
LOOK_LIMIT_S = 9.0

T = TypeVar("T")

Rest = Callable[[], Awaitable[None]]
"""Waits until no task of a run is left in this process; cancelling the wait cancels no task of the run."""


@dataclasses.dataclass
class Findings:
    """What closing a run has found; each entry is a sentence or a part of one."""

    done: list[str] = dataclasses.field(default_factory=list)
    not_stopped: list[str] = dataclasses.field(default_factory=list)
    unknown: list[str] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        parts = [("Found: ", self.done), ("Not stopped: ", self.not_stopped), ("Not known: ", self.unknown)]
        return "".join(f". {title}{'; '.join(lines)}" for title, lines in parts if lines)


async def interrupted_by_restart(log: RunLog) -> None:
    """Mark a run that was open when an earlier process ended as INTERRUPTED; its running stages become PENDING."""
    if log.status.state is RunState.INTERRUPTED:
        return
    for stage in log.stages_in(StageState.RUNNING):
        reason = "Interrupted: the service ended"
        if stage.stage_kind is StageKind.CERTIFY:
            reason += ", perhaps after it had certified; abort checks that and reports it"
        await log.write(dataclasses.replace(stage, state=StageState.PENDING, reason=reason))
    await move_run(log, RunState.INTERRUPTED, "The service ended while the run was open. Close the run with abort")


async def close_interrupted(
    log: RunLog,
    services: Services,
    config: CscConfig,
    requested_by: str,
    begun: asyncio.Event,
    rest: Rest | None = None,
) -> None:
    """Close an interrupted run: check what it has left, stop its jobs, and name what can't be checked.

    Parameters
    ----------
    log
        Its record; the run is INTERRUPTED, and is so again if this is cancelled.
    services
        The services for its jobs, products and frames.
    config
        The CSC's configuration.
    requested_by
        Who sent the command.
    begun
        Set as soon as the run is ABORTING.
    rest
        Waits for tasks that had not ended when this process interrupted the run; None for a run of an earlier process.
    """
    reason = f"Aborted by {requested_by} after it had been interrupted"
    try:
        limit_s = config.limits.uws_list
        now = f"{reason}; what it has left is looked for, and the UWS may take {limit_s:g} s to list its jobs"
        await move_run(log, RunState.ABORTING, now)
    finally:
        begun.set()
    try:
        findings = await _look_and_stop(log, services, config, rest)
        for stage in log.stages_in(StageState.PENDING, StageState.RUNNING):
            now = utils.current_tai()
            await log.write(dataclasses.replace(stage, state=StageState.ABORTED, reason=reason, timestamp_ended=now))
        await move_run(log, RunState.ABORTED, f"{reason}{findings}")
    except asyncio.CancelledError:
        if log.status.state is RunState.ABORTING:
            again = f"{reason}, but that was not finished. Close it with abort once more"
            await move_run(log, RunState.INTERRUPTED, again)
        raise


async def _look_and_stop(log: RunLog, services: Services, config: CscConfig, rest: Rest | None) -> Findings:
    findings = Findings()
    try:
        await asyncio.gather(
            _stop_jobs(log, services, config, findings),
            _look_for_certifications(log, services.repository, findings, rest),
        )
        _look_for_frame(log, services.camera, findings)
    except Exception as error:
        logging.getLogger(__name__).exception("Bug: what run %s has left could not be checked", log.status.run_id)
        findings.unknown.append(f"all that the run has left, because of an unforeseen {type(error).__name__}: {error}")
    return findings


async def _within(look: Awaitable[T]) -> T:
    """Await a check outside, within a limit.

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


# Jobs


async def _stop_jobs(log: RunLog, services: Services, config: CscConfig, findings: Findings) -> None:
    """Stop the jobs that a run has left; a job that has ended is left alone, with its logs."""
    recorded = [job for job in log.of(JobState) if not job.timestamp_ended]
    submitting = [stage for stage in log.of(StageStatus) if _may_have_been_submitting(stage, log)]
    await asyncio.gather(
        *(_stop_job(log, job, services.jobs, findings) for job in recorded),
        _stop_unrecorded(log, submitting, services, config, findings),
    )


async def _stop_job(log: RunLog, job: JobState, jobs: Jobs, findings: Findings) -> None:
    async def record(status: JobStatus) -> None:
        """Record how a job ended; this may happen after the end of the run."""
        await log.write(
            dataclasses.replace(
                job,
                phase=str(status.phase),
                exit_code=status.exit_code,
                message=status.message,
                timestamp_ended=status.timestamp_ended_s,
            )
        )

    try:
        status = await _within(jobs.abort(job.job_id, record))
    except ServiceError as error:
        findings.not_stopped.append(f"job {job.job_id} ({error})")
        return
    if Phase.of(status.phase) is Phase.UNKNOWN:
        findings.unknown.append(f"how job {job.job_id} of {job.stage_name} ended, which the UWS does not know any more")


async def _stop_unrecorded(
    log: RunLog, submitting: list[StageStatus], services: Services, config: CscConfig, findings: Findings
) -> None:
    """Stop jobs of a run whose ids arrived too late for its record, or never, also if they appear later.

    After a loss of the journal an earlier run had the same id; its jobs are older than this run.
    """
    status = log.status
    known = {job.job_id for job in log.of(JobState)}
    oldest_s = status.timestamp_accepted - CLOCK_TOLERANCE_S
    later = f"one that appears is stopped, until {config.limits.uws_unreachable:g} s of a UWS that answers are over"
    try:
        found = [
            job
            for job in await services.uws.jobs()
            if job.belongs_to_run(status.run_id)
            and job.job_id not in known
            and (not job.timestamp_created_s or job.timestamp_created_s >= oldest_s)
        ]
    except ServiceError as error:
        findings.unknown.append(
            f"whether jobs that were being submitted exist: the UWS can't be asked ({error}); {later}. Look there for "
            f"jobs whose OUTPUT_GLOB has {status.run_id}_ in it, and delete them"
        )
    else:
        await asyncio.gather(*(_stop_found(log, job, services.jobs, config, findings) for job in found))
        known |= {job.job_id for job in found}
        made = {_stage_of(job, log).stage_name for job in found}
        names = ", ".join(stage.stage_name for stage in submitting if stage.stage_name not in made)
        if not names:
            return
        findings.unknown.append(
            f"whether the OCPS still makes a job for {names}, which may have been asked for; {later}"
        )
    services.jobs.stop_late(
        status.run_id, status.timestamp_accepted, known, lambda job: _recorder(log, job, _stage_of(job, log), config)
    )


def _may_have_been_submitting(stage: StageStatus, log: RunLog) -> bool:
    """Return whether a stage was interrupted when it may have been submitting a job."""
    if stage.timestamp_started <= 0 or stage.state not in (StageState.PENDING, StageState.RUNNING):
        return False
    jobs = [job for job in log.of(JobState) if job.stage_name == stage.stage_name]
    if stage.stage_kind is StageKind.GENERATE:
        return all(job.timestamp_ended for job in jobs)
    return stage.stage_kind is StageKind.VERIFY and not jobs


def _stage_of(job: UwsJob, log: RunLog) -> StageStatus:
    """Return the stage to which a job belongs by its mark (see `lsst.ts.comcamcalib.plan.plan.JobPlan`)."""
    stages = log.of(StageStatus)
    run_id = log.status.run_id
    return next((one for one in stages if f"{run_id}_{one.stage_name}_" in job.output_glob), stages[-1])


def _recorder(log: RunLog, job: UwsJob, stage: StageStatus, config: CscConfig) -> OnChange:
    """Return a callback that records the states of a job that is not in the run's record, even after the run's end."""

    async def record(status: JobStatus) -> None:
        status = dataclasses.replace(status, timestamp_submitted_s=job.timestamp_created_s)
        await log.write(job_state(status, log.status.run_id, stage.stage_name, stage.calib_type, config))

    return record


async def _stop_found(log: RunLog, job: UwsJob, jobs: Jobs, config: CscConfig, findings: Findings) -> None:
    """Stop a job that is not in the run's record, and enter it there."""
    if job.phase.ended:
        findings.done.append(f"job {job.job_id}, which is not in the run's record, is {job.phase_word} at the UWS")
        return
    record = _recorder(log, job, _stage_of(job, log), config)
    await record(JobStatus(job.job_id, job.phase_word))
    try:
        ended = await _within(jobs.abort(job.job_id, record))
    except ServiceError as error:
        findings.not_stopped.append(f"job {job.job_id}, which is not in the run's record ({error})")
    else:
        findings.done.append(f"job {job.job_id}, which was not in the run's record, is {ended.phase}")


# Certifications


async def _look_for_certifications(log: RunLog, repository: Repository, findings: Findings, rest: Rest | None) -> None:
    """Find certifications that were begun and done but not recorded, and publish them."""
    going_on = ""
    if rest is not None:
        try:
            await _within(rest())
        except ServiceError:
            going_on = "not yet, but Butler may still be certifying"
    recorded = log.of(Certification)
    for intent in log.of(CertificationIntent):
        same = [one for one in recorded if _product(one) == _product(intent)]
        validity = intent.validity_begin, intent.validity_end
        if validity not in [(one.validity_begin, one.validity_end) for one in same]:
            await _look_for_certification(log, intent, repository, findings, going_on, again=bool(same))


def _product(one: Certification | CertificationIntent) -> tuple[str, str]:
    return one.output_collection, one.dataset_type


async def _look_for_certification(
    log: RunLog,
    intent: CertificationIntent,
    repository: Repository,
    findings: Findings,
    going_on: str,
    again: bool,
) -> None:
    """Check whether an intended certification was done.

    Parameters
    ----------
    log, intent, repository, findings
        The run's record, what was intended, where to look, and where to enter the findings.
    going_on
        Sentence for the case that it is not there yet but may still be done; "" if it can't.
    again
        Whether the same datasets were certified before for another range; then only the intended range counts.
    """
    what = f"{intent.dataset_type} of {intent.output_collection}"
    problem, ranges = going_on, []
    try:
        ranges = await _within(repository.certified_ranges(intent.dataset_type, intent.collection, intent.dataset_ids))
    except ServiceError as error:
        problem = str(error)
    wanted = intent.validity_begin, intent.validity_end
    found = {one.dataset_id: (one.begin_iso_tai, one.end_iso_tai) for one in ranges}
    found |= {one.dataset_id: wanted for one in ranges if (one.begin_iso_tai, one.end_iso_tai) == wanted}
    if again:
        found = {dataset_id: validity for dataset_id, validity in found.items() if validity == wanted}
    if not found and problem:
        findings.unknown.append(
            f"whether {what} was certified in {intent.collection} ({problem}). Look there before you use the collection"
        )
    if not found:
        return
    missing = [dataset_id for dataset_id in intent.dataset_ids if dataset_id not in found]
    begin, end = next(iter(found.values())) if len(set(found.values())) == 1 else wanted
    sentence = f"{len(found)} datasets of type {intent.dataset_type} are in {intent.collection}"
    but = f", but not all: {', '.join(missing)} are not" if missing else ""
    await log.write(
        Certification(
            run_id=intent.run_id,
            calib_type=intent.calib_type,
            state=CertificationState.CERTIFIED,
            dataset_type=intent.dataset_type,
            collection=intent.collection,
            output_collection=intent.output_collection,
            validity_begin=begin,
            validity_end=end,
            dataset_count=len(found),
            reason=f"found when the interrupted run was closed{but}; it is not known what this replaces",
        )
    )
    findings.done.append(f"{what} was certified: {sentence}{but}")
    for stage in log.stages_in(StageState.PENDING, StageState.RUNNING):
        if stage.calib_type is intent.calib_type and stage.stage_kind is StageKind.CERTIFY and not missing:
            now = utils.current_tai()
            reason = f"{sentence}; found when the interrupted run was closed"
            await log.write(dataclasses.replace(stage, state=StageState.SUCCEEDED, reason=reason, timestamp_ended=now))


# Frames


def _look_for_frame(log: RunLog, camera: Camera, findings: Findings) -> None:
    """Find out whether the camera took a last frame that the run could not record; there can be only one."""
    if not any(_was_taking_frames(stage) for stage in log.of(StageStatus)):
        return
    recorded = {image.obs_id for image in log.of(ImageTaken)}
    images = camera.images_begun()
    last = list(images)[-1] if images else ""
    if last in recorded:
        return
    own = [name for name, group in images.items() if (group or "").startswith(f"{log.status.run_id}-")]
    missing = [name for name in own if name not in recorded]
    if missing:
        findings.done.append(
            f"the camera began {', '.join(missing)} for the run, which is not in its record; its files may be in the "
            "repository, and nothing uses them"
        )
    elif not own:
        since = f"its last image is {last}, of another group" if last else "it has reported no image"
        findings.unknown.append(f"whether the camera took one more frame for the run: {since}")


def _was_taking_frames(stage: StageStatus) -> bool:
    """Whether a stage that takes frames had begun and not ended; INGEST takes lost frames again."""
    return (
        stage.stage_kind in (StageKind.ACQUIRE, StageKind.INGEST)
        and stage.timestamp_started > 0
        and stage.state in (StageState.PENDING, StageState.RUNNING)
    )
