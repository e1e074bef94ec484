# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""One job of the plan, done exactly once for the same exposures and inputs."""

from __future__ import annotations

import asyncio
import logging

from ..errors import NotEnabledError, ServiceError, StageError
from ..marks import JobMark
from ..plan.plan import JobPlan, StagePlan
from ..plan.request import JobRequest, job_request
from ..record.act import intend
from ..record.facts import JobAbsent, JobIntended
from ..record.things import Job
from ..services.uws_job import UwsJob
from .context import RunContext
from .job_records import look_for_job, record_found, recorder_of, stop_if_it_appears

__all__ = ["PlannedJob"]

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
        self._ocps_deadline_s: float | None = None

    @property
    def _stage_attempt(self) -> int:
        return self._context.history.stages[self._stage.name].attempt

    @property
    def _deadline(self) -> float:
        """Until when the OCPS may be waited for (seconds of the clock), counted from when it is first needed."""
        if self._ocps_deadline_s is None:
            self._ocps_deadline_s = self._context.clock.monotonic() + self._context.config.limits.ocps_enabled
        return self._ocps_deadline_s

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
                        f"out: {str(error).removesuffix('.')}. Check the UWS, then resume the run"
                    ) from error
                await asyncio.sleep(self._context.config.uws_poll_interval_s)
                continue
            if not found:
                await self._note_absent(job, "the UWS has no job with its mark")
                stop_if_it_appears(job, self._context)
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
        clock, deadline = context.clock.monotonic, self._deadline
        shown = ""
        while problem := _ocps_problem(context):
            if clock() >= deadline:
                raise StageError(
                    f"The job {label} could not be run: {problem} The run waited for that for "
                    f"{context.config.limits.ocps_enabled:g} s; the job was not submitted. Then resume the run."
                )
            context.record.waiting(self._stage.name, f"the OCPS, for {label}: {problem}", deadline - clock())
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
