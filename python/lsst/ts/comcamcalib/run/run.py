# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run: new, resumed or to be aborted, it is the same object, and its record is all that it knows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from lsst.ts import utils

from ..clock import Clock
from ..enums import RunState, StageKind, StageState
from ..record.facts import Decision
from ..record.history import OPEN_RUN_STATES, History
from ..record.things import Job
from ..stages.context import RunContext, Services
from ..stages.job_records import stop_if_it_appears
from .acceptance import AcceptRequest, acceptances, calib_type_of, still_bad
from .closing import how_it_ends, write_report
from .ending import stop_and_look
from .moves import move_run, move_stage
from .recorder import Recorder
from .reopening import reopen, report_anew, take_up
from .scheduler import Scheduler, settle_stages
from .surroundings import watch_components

__all__ = ["INTERRUPT_LIMIT_S", "Run"]

# Longest time for stages to end when the CSC leaves ENABLED (seconds). Writing the journal and closing the connections
# take more time, and all of it must be done within 10 s.
INTERRUPT_LIMIT_S = 4.0

# States from which a run can go on.
RESUMABLE = frozenset({RunState.INTERRUPTED, RunState.FAILED, RunState.ABORTED})


class Run:
    """A run, and the tasks that carry it out in this process.

    Parameters
    ----------
    record
        Its record.
    clock
        The clock.
    """

    def __init__(self, record: Recorder, clock: Clock) -> None:
        self.record = record
        self._clock = clock
        self._scheduler: Scheduler | None = None
        self._context: RunContext | None = None
        # The stages, until the run ends or is stopped by the task below.
        self._task: asyncio.Task[None] = utils.make_done_future()
        # When the run had ended before this process read it; 0 if it had not.
        self._ended_earlier_s = record.history.ended_s
        # Task that aborts the run.
        self._ending: asyncio.Task[None] = utils.make_done_future()
        # Held while a verdict is accepted, so that the run does not end at the same moment.
        self._deciding = asyncio.Lock()

    @property
    def history(self) -> History:
        """What has happened in the run so far."""
        return self.record.history

    @property
    def state(self) -> RunState:
        """State of the run."""
        return self.record.history.state

    @property
    def resumable(self) -> bool:
        """Whether it can go on."""
        return self.state in RESUMABLE

    @property
    def ended_earlier(self) -> bool:
        """Whether it ended in an earlier process, and has not been resumed since."""
        return 0.0 < self.history.ended_s == self._ended_earlier_s

    async def start(self, services: Services, limit_s: float) -> None:
        """Carry out a run that was just accepted; if the journal is slow, return within a limit (seconds)."""
        self._prepare(services)
        await self._begin(lambda: move_run(self.record, RunState.RUNNING, "The run is in progress"), limit_s)

    async def at_rest(self, limit_s: float) -> None:
        """Wait for what an interruption has left in progress, within a limit: a call that Butler has begun."""
        await asyncio.wait([self._task], timeout=min(limit_s, INTERRUPT_LIMIT_S))

    async def resume(self, services: Services, who: str, why: str, limit_s: float) -> None:
        """Go on with a run that was interrupted, failed or was aborted; if the journal is slow, return within a limit.

        What has succeeded stays; what failed, was skipped or aborted is done again with its next attempt.
        """
        self._prepare(services)
        await self._begin(lambda: reopen(self.record, who, why), limit_s)

    async def accept(self, services: Services, request: AcceptRequest) -> str:
        """Accept bad verdicts on a product; if none is left, what was skipped because of them is done.

        Parameters
        ----------
        services
            The connections, if the run is not in progress.
        request
            Who accepts what, and why.

        Returns
        -------
        plan
            What follows from it, in a sentence.

        Raises
        ------
        BadInputError
            If there is nothing to accept, or another verdict stands than the operator has seen.
        """
        async with self._deciding:
            calib_type = calib_type_of(request.calib_type)
            for fact in acceptances(self.history, request):
                logging.getLogger(__name__).warning(
                    "Run %s: %s accepts the verdict on %s: %s",
                    *(self.history.run_id, request.who, calib_type.name, request.reason),
                )
                await self.record.note(fact)
            if bad := still_bad(self.history, calib_type):
                return f"{bad} still; what needs {calib_type.name}.VERIFY is done when that is accepted, too"
            if self.state in RESUMABLE:
                self._prepare(services)
                reason = f"{request.who} accepted the verdict on {calib_type.name}: {request.reason.strip()}"
                await move_run(self.record, RunState.RUNNING, reason)
                taken_up = await take_up(self.record, calib_type)
                if self.state is RunState.RUNNING:
                    self._task = asyncio.create_task(self._go(), name=f"run {self.history.run_id}")
            else:
                taken_up = await take_up(self.record, calib_type)
                if self._scheduler is not None:
                    self._scheduler.wake()
            return f"{calib_type.name}.VERIFY SUCCEEDED; stages to be done: {', '.join(taken_up) or 'none'}"

    def _prepare(self, services: Services) -> None:
        self._context = RunContext(self.record, services, self._clock)
        self._scheduler = Scheduler(self._context)

    async def _begin(self, first: Callable[[], Awaitable[None]], limit_s: float) -> None:
        """Carry out the run in a task; return when it is open, written and published, at the latest after a limit.

        Parameters
        ----------
        first
            Notes what comes first.
        limit_s
            Longest wait for that (seconds); it goes on all the same.
        """
        begun = asyncio.Event()
        self._task = asyncio.create_task(self._carry_out_after(first, begun), name=f"run {self.history.run_id}")
        waiting = asyncio.create_task(begun.wait(), name=f"begin of run {self.history.run_id}")
        try:
            await asyncio.wait([self._task, waiting], timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    async def _carry_out_after(self, first: Callable[[], Awaitable[None]], begun: asyncio.Event) -> None:
        await first()
        begun.set()
        # It may have been aborted or interrupted while that was written.
        if self.state is RunState.RUNNING:
            await self._go()

    async def abort(self, services: Services, who: str, why: str = "") -> None:
        """Stop the run: no further exposure, its jobs aborted, nothing certified from now on.

        Returns as soon as nothing new is started; what is in progress ends in the background.
        """
        begun = asyncio.Event()
        if self._context is None or self.state is RunState.INTERRUPTED:
            # The connections of the time before the interruption are closed.
            self._context = RunContext(self.record, services, self._clock)
        decision = Decision(what="abort", who=who, why=why)
        self._ending = asyncio.create_task(
            self._abort(self._context, decision, begun), name=f"abort {self.history.run_id}"
        )
        await begun.wait()

    async def interrupt(self, reason: str, limit_s: float = INTERRUPT_LIMIT_S) -> None:
        """Interrupt the run: its jobs run on, and nothing waits for the exposure in progress.

        Parameters
        ----------
        reason
            Why, in a sentence without its full stop.
        limit_s
            Longest wait for an abort in progress, and for the stages (seconds). A task that has not ended by then
            ends by itself; its results are still recorded and published.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + limit_s
        if not self._ending.done():
            # Give an abort in progress time to end, because otherwise the operator must abort the run once more.
            await asyncio.wait([self._ending], timeout=limit_s / 2)
        if not self._goes_on:
            return
        self._stop(finish_exposure=False)
        self._ending.cancel()
        await asyncio.wait([self._task, self._ending], timeout=max(deadline - clock(), 0.0))
        # It may have come to its end meanwhile, or have been interrupted by somebody else.
        if self._goes_on:
            await self._settle(StageState.PENDING, f"Interrupted: {reason}")
        if self._goes_on:
            await move_run(self.record, RunState.INTERRUPTED, f"{reason}. {self._ways_out}")

    @property
    def _goes_on(self) -> bool:
        """Whether the run is open and not interrupted."""
        return self.state in OPEN_RUN_STATES and self.state is not RunState.INTERRUPTED

    async def found_open(self) -> None:
        """Mark a run as INTERRUPTED that was open when an earlier process ended."""
        if self.state is RunState.INTERRUPTED:
            return
        for stage in self.history.stages_in(StageState.RUNNING):
            await move_stage(self.record, stage.name, StageState.PENDING, "Interrupted: the service ended")
        await move_run(self.record, RunState.INTERRUPTED, f"The service ended while the run was open. {self._ways_out}")

    @property
    def _ways_out(self) -> str:
        if self.history.abort is not None:
            return (
                "The abort was not finished: abort the run once more, or name it in resumeCalibrationRun if it is to "
                "go on after all"
            )
        return "Go on with resumeCalibrationRun, or end the run with abort"

    def abandon(self, reason: str) -> None:
        """Do nothing more, because another process goes on with the run."""
        self.record.abandon(reason)
        self._stop(finish_exposure=False)
        self._ending.cancel()

    async def wait_ended(self) -> None:
        """Wait until all tasks of the run have ended; cancelling this cancels none of them."""
        await asyncio.wait([self._task])
        await asyncio.wait([self._ending])

    def _stop(self, finish_exposure: bool) -> None:
        if self._context is not None:
            self._context.finish_exposure = finish_exposure
        if self._scheduler is not None:
            self._scheduler.stop()
        self._task.cancel()

    async def _settle(self, unfinished: StageState, reason: str) -> None:
        if self._scheduler is not None:
            await self._scheduler.settle(unfinished, reason)
        elif self._context is not None:
            await settle_stages(self._context, unfinished, reason)

    async def _go(self) -> None:
        assert self._context is not None and self._scheduler is not None
        while True:
            broke_off = await self._carry_out()
            state, reason = how_it_ends(self.history, broke_off)
            await write_report(self._context, state, reason)
            async with self._deciding:
                # A verdict may have been accepted while the last stage ended or the report was written.
                if broke_off or not self._scheduler.woken:
                    await move_run(self.record, state, reason)
                    return
                await report_anew(self.record)

    async def _carry_out(self) -> str:
        """Do all stages that can be done; return why that broke off, "" if it did not."""
        assert self._context is not None and self._scheduler is not None
        services = self._context.services
        unsubscribe = services.oods.subscribe(self._context.ledger.notice)
        watching = asyncio.create_task(
            watch_components(self.record, services.components, self.history.plan.config.instrument),
            name=f"components for run {self.history.run_id}",
        )
        for job in _perhaps_late(self.history, self._clock.tai()):
            stop_if_it_appears(job, self._context)
        broke_off = ""
        try:
            await self._scheduler.run()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            logging.getLogger(__name__).exception("Bug: run %s broke off", self.history.run_id)
            broke_off = f"unforeseen {type(error).__name__}: {error}. The CSC's log has the traceback"
            await self._settle(StageState.ABORTED, "The run broke off")
        finally:
            unsubscribe()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        return broke_off

    async def _abort(self, context: RunContext, decision: Decision, begun: asyncio.Event) -> None:
        interrupted = " after it had been interrupted" if self.state is RunState.INTERRUPTED else ""
        why = f"; {decision.why}" if decision.why else ""
        reason, began_s = f"Aborted by {decision.who}{interrupted}{why}", self._clock.tai()
        # Stop everything first, and only then wait.
        self._stop(finish_exposure=True)
        try:
            # From here on the history says that nothing new may be begun. The two are written together, so that no kill
            # leaves a run that is being aborted, and nobody who wanted that.
            await asyncio.gather(self.record.note(decision), move_run(self.record, RunState.ABORTING, reason))
        finally:
            begun.set()
        try:
            await self._end(context, reason, began_s)
        except Exception as error:
            logging.getLogger(__name__).exception("Bug: the abort of run %s broke off", self.history.run_id)
            why = f"The abort broke off: unforeseen {type(error).__name__}: {error}. Abort the run once more"
            await move_run(self.record, RunState.INTERRUPTED, why)

    async def _end(self, context: RunContext, reason: str, began_s: float) -> None:
        """Look after what the run has left, and end it ABORTED."""
        findings = await stop_and_look(context, self._rest())
        await asyncio.gather(self._task, return_exceptions=True)
        await self._settle(StageState.ABORTED, reason)
        failed = [
            f"{stage.name}: {stage.reason}"
            for stage in self.history.stages_in(StageState.FAILED)
            if stage.kind is StageKind.CERTIFY and stage.ended_s >= began_s
        ]
        findings.not_stopped += failed
        reason = f"{reason}{findings}"
        await write_report(context, RunState.ABORTED, reason)
        await move_run(self.record, RunState.ABORTED, reason)

    async def _rest(self) -> None:
        """Wait until no stage of the run is in progress in this process; cancelling this cancels none."""
        await asyncio.wait([self._task])


def _perhaps_late(history: History, now_s: float) -> list[Job]:
    """Return jobs that were searched for in vain and may run all the same.

    An earlier process may have ended before the job was made, and then nobody has searched for it.
    """
    since_s = now_s - history.plan.config.limits.job
    return [job for job in history.jobs.values() if job.absent and job.intended_s > since_s]
