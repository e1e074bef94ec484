# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run, from its acceptance to its end."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging

from lsst.ts import utils

from ..enums import RunState, StageKind, StageState
from ..errors import ServiceError, UnknownJobError
from ..plan.plan import RunPlan
from ..plan.record import JobState, RunConfiguration, RunStatus
from ..services.job_status import ABORTED_EXIT_CODE, Jobs
from ..services.uws import Phase, Uws
from ..stages.context import RunContext, Services
from .log import RunLog
from .scheduler import Scheduler
from .states import OPEN_RUN_STATES, RUN_MOVES, check_move

__all__ = ["Run", "close_interrupted", "interrupted_by_restart", "move_run"]

# After an abort nothing may move any more after this time (seconds), but for the exposure in progress.
ABORT_LIMIT_S = 9.0


class Run:
    """A run and the task that does it.

    Parameters
    ----------
    plan
        What it is going to do.
    services
        The ways to the outside.
    log
        Its record.
    """

    def __init__(self, plan: RunPlan, services: Services, log: RunLog) -> None:
        self.plan = plan
        self.log = log
        self._services = services
        self._context = RunContext(plan, services, log)
        self._scheduler = Scheduler(self._context)
        # The run itself, until it ends or is cancelled by the task below.
        self._task: asyncio.Task[None] = utils.make_done_future()
        # Abort or interruption, to its end.
        self._ending: asyncio.Task[None] = utils.make_done_future()

    @property
    def state(self) -> RunState:
        """State of the run."""
        return self.log.status.state

    async def accept(self, requested_by: str) -> None:
        """Write down that there is this run, then let it go."""
        options = self.plan.options
        status = RunStatus(
            run_id=self.plan.run_id,
            state=RunState.ACCEPTED,
            script_mode=options.script_mode.value,
            requested_by=requested_by,
            reason=". ".join(["The run was accepted", *(notice.rstrip(".") for notice in self.plan.notices)]),
            calib_collection=options.calib_collection,
            repo=self.plan.config.repo,
            images_expected=self.plan.images_expected,
            estimated_duration=self.plan.estimated_duration_s,
            timestamp_accepted=utils.current_tai(),
        )
        await self.log.write(status)
        effective = json.dumps(options.effective(), default=str)
        await self.log.write(RunConfiguration(run_id=self.plan.run_id, config=effective))
        await self._scheduler.announce()
        # Writing takes a moment, in which the run may have been aborted or interrupted already.
        if self.state is RunState.ACCEPTED:
            self._task = asyncio.create_task(self._go(), name=f"run {self.plan.run_id}")

    async def abort(self, requested_by: str) -> None:
        """Stop the run: no further exposure, its jobs aborted, nothing certified from now on.

        Returns as soon as nothing new is begun; what is going on is brought to its end in the background.
        """
        begun = asyncio.Event()
        self._ending = asyncio.create_task(self._abort(requested_by, begun), name=f"abort {self.plan.run_id}")
        await begun.wait()

    async def interrupt(self, reason: str) -> None:
        """Leave the run as it is, to be resumed later: its jobs run on, the exposure in progress is not waited for."""
        if not self._ending.done():
            # An abort that is under way gets its time, for an aborted run is better than one that must be closed later.
            await asyncio.wait([self._ending], timeout=ABORT_LIMIT_S)
        if self.state not in OPEN_RUN_STATES or self.state is RunState.INTERRUPTED:
            await self.wait_ended()
            return
        self._ending.cancel()
        self._context.finish_exposure = False
        self._context.no_more_exposures = "the run was interrupted"
        self._scheduler.stop()
        self._task.cancel()
        await asyncio.gather(self._task, self._ending, return_exceptions=True)
        await self._scheduler.settle(StageState.PENDING, f"Interrupted: {reason}")
        await move_run(self.log, RunState.INTERRUPTED, f"{reason}. Resume the run, or close it with abort")

    async def wait_ended(self) -> None:
        """Wait until the run has ended, however it ends."""
        await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(self._ending, return_exceptions=True)

    async def _go(self) -> None:
        unsubscribe = self._services.oods.subscribe(self._context.ledger.notice)
        try:
            await move_run(self.log, RunState.RUNNING, "The run is in progress")
            failures = await self._scheduler.run()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            logging.getLogger(__name__).exception("Bug: run %s broke off", self.plan.run_id)
            failures = [f"unforeseen {type(error).__name__}: {error}. The CSC's log has the traceback"]
            await self._scheduler.settle(StageState.ABORTED, "The run broke off")
        finally:
            unsubscribe()
        if failures:
            skipped = len(self.log.stages_in(StageState.SKIPPED))
            rest = f" ({skipped} stages that need them were skipped)" if skipped else ""
            await move_run(self.log, RunState.FAILED, f"Failed{rest}: {'; '.join(failures)}")
        else:
            await move_run(self.log, RunState.COMPLETED, self._praise())

    def _praise(self) -> str:
        certified = [
            stage.stage_name.split(".")[0]
            for stage in self.log.stages_in(StageState.SUCCEEDED)
            if stage.stage_kind is StageKind.CERTIFY
        ]
        where = f"certified in {self.plan.options.calib_collection}: {', '.join(certified)}"
        return f"All stages succeeded; {where if certified else 'nothing was to be certified'}"

    async def _abort(self, requested_by: str, begun: asyncio.Event) -> None:
        # Nothing is waited for before everything is told to stop.
        self._context.no_more_exposures = "the run is being aborted"
        self._scheduler.stop()
        self._task.cancel()
        reason = f"Aborted by {requested_by}"
        try:
            await move_run(self.log, RunState.ABORTING, reason)
        finally:
            begun.set()
        try:
            problems = await self._services.jobs.abort_all(ABORT_LIMIT_S)
        except Exception as error:
            logging.getLogger(__name__).exception("Bug: the jobs of run %s could not be aborted", self.plan.run_id)
            problems = [f"its jobs, because of an unforeseen {type(error).__name__}: {error}"]
        await asyncio.gather(self._task, return_exceptions=True)
        await _tell_stopped(self.log, self._services.uws)
        await self._scheduler.settle(StageState.ABORTED, reason)
        problems += [
            f"{stage.stage_name}: {stage.reason}"
            for stage in self.log.stages_in(StageState.FAILED)
            if stage.stage_kind is StageKind.CERTIFY and stage.timestamp_ended >= self.log.status.timestamp_started
        ]
        if problems:
            reason = f"{reason}. Not stopped: {'; '.join(problems)}"
        await move_run(self.log, RunState.ABORTED, reason)


async def move_run(log: RunLog, state: RunState, reason: str) -> None:
    """Put a run into a state, and tell; the only place that does."""
    old = log.status
    check_move(RUN_MOVES, f"run {old.run_id}", old.state, state)
    now = utils.current_tai()
    ended = state not in OPEN_RUN_STATES
    await log.write(
        dataclasses.replace(
            old,
            state=state,
            reason=reason,
            timestamp_started=now if state is RunState.RUNNING else old.timestamp_started,
            timestamp_ended=now if ended else 0.0,
        )
    )
    level = logging.WARNING if state in (RunState.FAILED, RunState.ABORTED, RunState.INTERRUPTED) else logging.INFO
    logging.getLogger(__name__).log(level, "Run %s is %s. %s", old.run_id, state.name, reason)


async def _tell_stopped(log: RunLog, uws: Uws) -> None:
    """Tell how the jobs have ended that nobody follows any more, as far as the UWS knows it."""

    async def tell(job: JobState) -> None:
        phase, ended = str(Phase.ABORTED), utils.current_tai()
        try:
            async with asyncio.timeout(ABORT_LIMIT_S):
                seen = await uws.job(job.job_id)
        except UnknownJobError:
            pass  # The UWS deletes what is aborted.
        except (ServiceError, TimeoutError) as error:
            logging.getLogger(__name__).warning(
                "How job %s has ended is not known: %s", job.job_id, error or "no answer"
            )
            return
        else:
            if not seen.phase.ended:
                return
            phase, ended = seen.phase_word, seen.timestamp_ended_s or ended
        exit_code = {Phase.COMPLETED: 0, Phase.ABORTED: ABORTED_EXIT_CODE}.get(Phase.of(phase), 1)
        await log.write(dataclasses.replace(job, phase=phase, exit_code=exit_code, timestamp_ended=ended))

    await asyncio.gather(*(tell(job) for job in log.of(JobState) if not job.timestamp_ended))


async def interrupted_by_restart(log: RunLog) -> None:
    """Tell that a run was open when an earlier process ended; its stages that were in progress are to be done again."""
    if log.status.state is RunState.INTERRUPTED:
        return
    for stage in log.stages_in(StageState.RUNNING):
        reason = "Interrupted: the service ended"
        await log.write(dataclasses.replace(stage, state=StageState.PENDING, reason=reason))
    reason = "The service ended while the run was open. Resume the run, or close it with abort"
    await move_run(log, RunState.INTERRUPTED, reason)


async def close_interrupted(log: RunLog, services: Services, requested_by: str, begun: asyncio.Event) -> None:
    """Close an interrupted run: abort the jobs that it left, and tell what can't be stopped.

    Parameters
    ----------
    log
        Its record; the run is INTERRUPTED. If this is cancelled, it is so again.
    services
        The ways to its jobs.
    requested_by
        Who wants it.
    begun
        Set as soon as the run is ABORTING.
    """
    reason = f"Aborted by {requested_by} after it had been interrupted"
    try:
        await move_run(log, RunState.ABORTING, reason)
    finally:
        begun.set()
    try:
        problems = await _abort_left(log, services.jobs, services.uws)
        await _tell_stopped(log, services.uws)
    except asyncio.CancelledError:
        await move_run(log, RunState.INTERRUPTED, f"{reason}, but that was not finished. Close it with abort once more")
        raise
    for stage in log.stages_in(StageState.PENDING, StageState.RUNNING):
        now = utils.current_tai()
        await log.write(dataclasses.replace(stage, state=StageState.ABORTED, reason=reason, timestamp_ended=now))
    await move_run(log, RunState.ABORTED, f"{reason}. Not stopped: {'; '.join(problems)}" if problems else reason)


async def _abort_left(log: RunLog, jobs: Jobs, uws: Uws) -> list[str]:
    """Abort the jobs that a run has left; return a sentence for each that could not be stopped."""

    async def abort(job_id: str) -> None:
        async with asyncio.timeout(ABORT_LIMIT_S):
            await jobs.abort(job_id)

    left = [job.job_id for job in log.of(JobState) if not job.timestamp_ended]
    problems = []
    try:
        async with asyncio.timeout(ABORT_LIMIT_S):
            left += await _unknown_jobs(log, uws)
    except (ServiceError, TimeoutError) as error:
        problems.append(f"jobs that were being submitted, if any: the UWS can't be asked ({str(error) or 'no answer'})")
    results = await asyncio.gather(*(abort(job_id) for job_id in left), return_exceptions=True)
    return problems + [
        f"job {job_id} ({str(result) or 'no answer in time'})"
        for job_id, result in zip(left, results, strict=True)
        if isinstance(result, BaseException)
    ]


async def _unknown_jobs(log: RunLog, uws: Uws) -> list[str]:
    """Find jobs of a run that it did not live to know: submitted, but interrupted before the id came.

    The mark among their output globs begins with the run's id (see `lsst.ts.comcamcalib.plan.plan.JobPlan`).
    """
    known = {job.job_id for job in log.of(JobState)}
    return [
        job.job_id
        for job in await uws.jobs()
        if f"{log.status.run_id}_" in job.output_glob and job.job_id not in known and not job.phase.ended
    ]
