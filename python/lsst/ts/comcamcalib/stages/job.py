# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""One job of the plan, done exactly once for the same exposures and inputs."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ..enums import CalibType
from ..errors import NotEnabledError, ServiceError, StageError
from ..marks import JobMark
from ..plan.plan import JobPlan, StagePlan
from ..plan.request import JobRequest, job_request
from ..record.act import intend
from ..record.facts import JobAbsent, JobEnded, JobFound, JobIntended, JobMoved, JobStray
from ..record.things import Job
from ..services.job_status import JobStatus, OnChange
from ..services.uws_job import Phase, UwsJob
from .context import RunContext

__all__ = ["PlannedJob", "late_recorder", "look_for_job", "record_found", "recorder_of", "stop_stray"]

_log = logging.getLogger(__name__)


class PlannedJob:
    """The act of having a pipeline run; see `lsst.ts.comcamcalib.record.act.Act`.

    Parameters
    ----------
    job
        The job's plan.
    stage
        The stage that it belongs to.
    exposures
        Exposures that its data query names.
    inputs
        Ids of the run's own jobs that it builds on, in the order in which their outputs are searched.
    context
        What the stages share.
    """

    def __init__(
        self,
        job: JobPlan,
        stage: StagePlan,
        exposures: tuple[int, ...],
        inputs: tuple[str, ...],
        context: RunContext,
    ) -> None:
        self._job = job
        self._stage = stage
        self._exposures = exposures
        self._inputs = inputs
        self._context = context
        self._intended: JobIntended | None = None
        # Until when the OCPS may be waited for (seconds of the clock).
        self._deadline = context.clock.monotonic() + context.config.limits.ocps_enabled

    @property
    def _stage_attempt(self) -> int:
        return self._context.history.stages[self._stage.name].attempt

    @property
    def _latest(self) -> Job | None:
        return self._context.history.job(self._job.label)

    def known(self) -> Job | None:
        """Return the job if it was done with the same exposures and inputs.

        Raises
        ------
        StageError
            If it failed in this attempt of the stage; another attempt does it again.
        """
        latest = self._latest
        if latest is None or latest.open or latest.running or latest.absent or latest.distrusted:
            return None
        if latest.succeeded and (latest.exposures, latest.inputs) == (self._exposures, self._inputs):
            return latest
        if not latest.succeeded and latest.stage_attempt == self._stage_attempt:
            raise self._failed(latest)
        return None

    @property
    def open(self) -> bool:
        """Whether there may be such a job whose end is not known."""
        return self._latest is not None and (self._latest.open or self._latest.running)

    async def find(self) -> Job | None:
        """Find the job if it was submitted, and follow it to its end; see `Act.find`.

        A job shows at the UWS with its mark. If none has appeared ``job_submission`` after the intent, there is none.
        """
        latest = self._latest
        assert latest is not None, "only an intended job is looked for"
        if latest.open:
            found = await self._search(latest)
            if not found:
                return None
            await record_found(latest, found, self._context)
        latest = self._latest
        assert latest is not None
        attach = self._context.services.jobs.attach
        try:
            await attach(latest.job_id, recorder_of(latest, self._context), latest.submitted_s)
        except ServiceError as error:
            raise StageError(f"The job {self._job.label} ({latest.job_id}) can't be followed: {error}") from error
        return self.known()

    async def intent(self) -> JobIntended:
        """Wait until the OCPS is ENABLED, and return the fact that the job is about to be submitted."""
        await self._wait_for_ocps()
        latest = self._latest
        attempt = latest.attempt + 1 if latest is not None else 1
        try:
            request = await self._request(attempt)
        except ServiceError as error:
            raise StageError(f"The job {self._job.label} could not be submitted: {error}") from error
        self._intended = JobIntended(
            label=self._job.label,
            attempt=attempt,
            stage_name=self._stage.name,
            stage_attempt=self._stage_attempt,
            calib_type=self._stage.calib_type,
            mark=self._mark(attempt),
            exposures=self._exposures,
            inputs=self._inputs,
            pipeline=request.pipeline,
            data_query=request.data_query,
            config=request.config,
            output_dataset_types=request.output_dataset_types,
        )
        return self._intended

    async def act(self) -> Job:
        """Submit the job as intended, and follow it to its end; see `Act.act`."""
        while True:
            latest, intended = self._latest, self._intended
            assert latest is not None and intended is not None, "it has just been intended"
            request = JobRequest(intended.pipeline, intended.data_query, intended.config, intended.output_dataset_types)
            # If the answer does not prove whether there is a job, the search for it may take as long again.
            limit_s = 2 * self._context.config.limits.job_submission
            self._context.record.waiting(self._stage.name, f"the OCPS to accept {self._job.label}", limit_s)
            try:
                await self._context.services.jobs.run(request, recorder_of(latest, self._context))
                break
            except NotEnabledError as error:
                # It left ENABLED a moment ago and did nothing, so the command can be sent again.
                await self._note_absent(latest, str(error))
                if self._context.clock.monotonic() >= self._deadline:
                    raise StageError(f"The job {self._job.label} could not be run: {error}") from error
                _log.warning("Run %s, %s: %s", self._context.run_id, self._stage.name, error)
                await asyncio.sleep(self._context.config.uws_poll_interval_s)
                await intend(self, self._context.record)
            except ServiceError as error:
                raise StageError(f"The job {self._job.label} could not be run: {error}") from error
        job = self.known()
        if job is None:
            raise StageError(f"How the job {self._job.label} ended is not known")
        return job

    async def withdraw(self, reason: str) -> None:
        """Record that the job was not submitted; see `Act.withdraw`."""
        assert self._intended is not None, "only what was intended is withdrawn"
        await self._context.record.note(
            JobAbsent(label=self._intended.label, attempt=self._intended.attempt, reason=reason)
        )

    async def _search(self, job: Job) -> list[UwsJob]:
        """Search for a job until it is certain whether it exists, and record if there is none."""
        limits, clock = self._context.config.limits, self._context.clock
        # The clock may have been set back since the intent.
        limit_s = min(max(job.intended_s + limits.job_submission - clock.tai(), 0.0), limits.job_submission)
        give_up = clock.monotonic() + limit_s + limits.uws_unreachable
        while True:
            what = f"the UWS to show whether {job.label} was submitted before the run was interrupted"
            self._context.record.waiting(self._stage.name, what, limit_s)
            try:
                found = await look_for_job(job, limit_s, self._context)
            except ServiceError as error:
                if clock.monotonic() >= give_up:
                    raise StageError(
                        f"Whether the job {job.label} was submitted before the run was interrupted could not be found "
                        f"out: {error}"
                    ) from error
                await asyncio.sleep(self._context.config.uws_poll_interval_s)
                continue
            if not found:
                await self._note_absent(job, "the UWS has no job with its mark")
            return found

    async def _note_absent(self, job: Job, reason: str) -> None:
        await self._context.record.note(JobAbsent(label=job.label, attempt=job.attempt, reason=reason))

    def _mark(self, attempt: int) -> str:
        return JobMark(self._context.run_id, self._stage.name, self._job.label, attempt).text

    async def _request(self, attempt: int) -> JobRequest:
        """Make the OCPS command of the job."""
        return job_request(
            self._job,
            self._context.plan,
            exposures=self._exposures,
            job_ids=self._inputs,
            collections=await self._context.existing(self._job.collections),
            mark=self._mark(attempt),
        )

    def _failed(self, job: Job) -> StageError:
        return StageError(
            f"The job {job.label} ({job.job_id}) failed with exit code {job.exit_code} in phase {job.phase}: "
            f"{job.message or 'its log does not say why'}"
        )

    async def _wait_for_ocps(self) -> None:
        """Wait until the OCPS is ENABLED and sends heartbeats; show what is being waited for.

        Raises
        ------
        StageError
            If it is not within its limit.
        """
        context, label = self._context, self._job.label
        clock = context.clock.monotonic
        shown = ""
        while problem := _ocps_problem(context):
            if clock() >= self._deadline:
                raise StageError(
                    f"The job {label} could not be run: {problem} The run waited for that for "
                    f"{context.config.limits.ocps_enabled:g} s; the job was not submitted. Then resume the run."
                )
            context.record.waiting(self._stage.name, f"the OCPS, for {label}: {problem}", self._deadline - clock())
            if problem != shown:
                _log.warning("Run %s, %s waits: %s", context.run_id, self._stage.name, problem)
                shown = problem
            await asyncio.sleep(context.config.uws_poll_interval_s)
        if shown:
            _log.info("Run %s, %s: the OCPS is ENABLED again, the run goes on", context.run_id, self._stage.name)


def _ocps_problem(context: RunContext) -> str:
    """Return what is wrong with the OCPS, "" if nothing is."""
    name = f"{context.config.instrument.ocps} "
    return next((problem for problem in context.services.components.problems() if problem.startswith(name)), "")


def recorder_of(job: Job, context: RunContext) -> OnChange:
    """Return a callback that records the states of a job, even after the end of its stage.

    If the service has found several jobs with its mark, the callback hears of all of them; the first is the one.
    """
    key, record = (job.label, job.attempt), context.record

    async def record_status(status: JobStatus) -> None:
        known = context.history.jobs[key]
        disowned = known.ended_s and Phase.of(known.phase) is Phase.UNKNOWN
        if known.job_id and known.job_id != status.job_id and not disowned:
            await record.note(
                JobStray(
                    job_id=status.job_id,
                    stage_name=job.stage_name,
                    calib_type=job.calib_type,
                    phase=str(status.phase),
                    exit_code=status.exit_code,
                    message=status.message or f"It has the same mark as job {known.job_id}, and is one too many",
                    submitted_s=status.timestamp_submitted_s,
                    ended_s=status.timestamp_ended_s,
                )
            )
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
    record = _stray_recorder(seen, job.stage_name, job.calib_type, reason, context)
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
    known = mark is not None and mark.stage_name in context.history.stages
    stage = context.history.stages[mark.stage_name if mark is not None and known else context.plan.stages[0].name]
    return _stray_recorder(seen, stage.name, stage.calib_type, "It appeared after its run was closed", context)


def _stray_recorder(seen: UwsJob, stage_name: str, calib_type: CalibType, reason: str, context: RunContext) -> OnChange:
    async def record(status: JobStatus) -> None:
        await context.record.note(
            JobStray(
                job_id=seen.job_id,
                stage_name=stage_name,
                calib_type=calib_type,
                phase=str(status.phase),
                exit_code=status.exit_code,
                message=status.message or reason,
                submitted_s=seen.timestamp_created_s,
                ended_s=status.timestamp_ended_s,
            )
        )

    return record
