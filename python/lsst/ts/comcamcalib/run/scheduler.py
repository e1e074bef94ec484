# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts each stage as soon as it may, and skips those that can't be done any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from ..enums import StageKind, StageState
from ..errors import ServiceError, StageError
from ..plan.plan import StagePlan
from ..record.history import STAGE_ENDED
from ..stages import acquire, certify, generate, ingest, verify
from ..stages.context import RunContext
from ..stages.fate import judged_meanwhile
from ..stages.job_records import recorder_of, settle_open
from .moves import move_stage

__all__ = ["STAGES", "Scheduler", "settle_stages"]

StageFunction = Callable[[StagePlan, RunContext], Awaitable[str]]

STAGES: Mapping[StageKind, StageFunction] = {
    StageKind.ACQUIRE: acquire.acquire,
    StageKind.INGEST: ingest.ingest,
    StageKind.GENERATE: generate.generate,
    StageKind.VERIFY: verify.verify,
    StageKind.CERTIFY: certify.certify,
}

# Stages that need or trust a stage in one of these states are in vain.
_GOOD_FOR_NOTHING = STAGE_ENDED - {StageState.SUCCEEDED}


class Scheduler:
    """The tasks that carry out the stages of one run; the states of the stages are in the run's history.

    Parameters
    ----------
    context
        What the stages share.
    stages
        The function for each kind of stage.
    """

    def __init__(self, context: RunContext, stages: Mapping[StageKind, StageFunction] = STAGES) -> None:
        self._context = context
        self._record = context.record
        self._stages = stages
        self._log = logging.getLogger(__name__)
        self._plans = {stage.name: stage for stage in context.plan.stages}
        self._tasks: dict[asyncio.Task[str], str] = {}
        # Why running stages are in vain and were stopped.
        self._dropped: dict[str, str] = {}
        # Tasks that stop the jobs of stages that are in vain, with the stages.
        self._stopping: dict[asyncio.Task[None], str] = {}
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """Look again which stages can be run, because somebody else has changed the states of some."""
        self._awake.set()

    @property
    def woken(self) -> bool:
        """Whether it was not looked since then."""
        return self._awake.is_set()

    async def run(self) -> None:
        """Run all stages that can be run.

        Cancelling this cancels the running stages and waits until they have ended; `settle` sets their states.
        """
        try:
            while await self._start_what_can():
                waking = asyncio.create_task(self._awake.wait(), name=f"wake the stages of {self._context.run_id}")
                try:
                    await asyncio.wait([*self._tasks, *self._stopping, waking], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    waking.cancel()
                for task in [task for task in self._tasks if task.done()]:
                    await self._conclude(task)
                self._stopping = {task: name for task, name in self._stopping.items() if not task.done()}
        finally:
            self.stop()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop(self) -> None:
        """Cancel the running stages, each only once: a second cancellation would interrupt their clean-up."""
        for task in (*self._tasks, *self._stopping):
            if not task.cancelling():
                task.cancel()

    async def settle(self, unfinished: StageState, reason: str) -> None:
        """Set the states of the stages after `run` was cancelled.

        Parameters
        ----------
        unfinished
            State of the stages that have not ended: ABORTED, or PENDING if they go on later.
        reason
            Why, in a sentence.
        """
        for task, name in list(self._tasks.items()):
            if not task.done():
                self._log.warning(
                    "Run %s, %s has not stopped yet; it is left to end by itself", self._context.run_id, name
                )
            elif not task.cancelled() and self._state(name) is StageState.RUNNING:
                # Otherwise it ended after an interruption; what it did is recorded, and it goes on from there.
                await self._conclude(task)
        await settle_stages(self._context, unfinished, reason)

    def _state(self, name: str) -> StageState:
        return self._context.history.stages[name].state

    async def _start_what_can(self) -> bool:
        """Start, stop and skip stages until nothing changes; return whether anything is in progress."""
        self._awake.clear()
        changed = True
        while changed:
            changed = False
            for name, stage in self._plans.items():
                if self._state(name) is StageState.RUNNING:
                    self._drop_if_in_vain(stage)
                elif self._state(name) is StageState.PENDING:
                    changed |= await self._start_or_skip(stage)
        return bool(self._tasks or self._stopping)

    async def _start_or_skip(self, stage: StagePlan) -> bool:
        """Start or skip a stage, if that is due; return whether it was."""
        if obstacle := self._obstacle(stage):
            await move_stage(self._record, stage.name, StageState.SKIPPED, obstacle)
        elif self._may_start(stage):
            await move_stage(self._record, stage.name, StageState.RUNNING, "")
            task = asyncio.create_task(self._do(stage), name=f"{self._context.run_id} {stage.name}")
            self._tasks[task] = stage.name
        else:
            return False
        return True

    async def _do(self, stage: StagePlan) -> str:
        return await self._stages[stage.kind](stage, self._context)

    def _obstacle(self, stage: StagePlan) -> str:
        """Return why a stage can't be done any more; empty if it may still be."""
        if in_vain := self._in_vain(stage):
            return in_vain
        if stage.alongside and self._state(stage.alongside) in _GOOD_FOR_NOTHING:
            return f"{stage.alongside}, which it needs, is {self._state(stage.alongside).name}"
        if stage.kind is StageKind.ACQUIRE and (why := self._context.history.no_more_exposures):
            return f"No further exposure is taken, because {why}"
        return ""

    def _in_vain(self, stage: StagePlan) -> str:
        """Return why nothing good can come of a stage; empty if it may."""
        for names, how in ((stage.needs, "needs"), (stage.trusts, "is built on")):
            for name in names:
                if self._state(name) in _GOOD_FOR_NOTHING:
                    return f"{name}, which it {how}, is {self._state(name).name}"
        return ""

    def _may_start(self, stage: StagePlan) -> bool:
        if stage.name in self._stopping.values():
            return False  # its jobs of the attempt before are still being stopped
        if stage.jobs:
            return any(generate.may_begin(job, self._context.history) for job in stage.jobs)
        return (
            all(self._state(name) is StageState.SUCCEEDED for name in stage.needs)
            and all(self._state(name) in STAGE_ENDED for name in stage.after)
            and (not stage.alongside or self._state(stage.alongside) is not StageState.PENDING)
        )

    def _drop_if_in_vain(self, stage: StagePlan) -> None:
        """Stop a running stage of whose jobs nothing good can come, and these jobs."""
        in_vain = self._in_vain(stage) if stage.jobs else ""
        if not in_vain or stage.name in self._dropped:
            return
        self._log.warning("Run %s, %s is stopped: %s", self._context.run_id, stage.name, in_vain)
        self._dropped[stage.name] = in_vain
        for task, name in self._tasks.items():
            if name == stage.name:
                task.cancel()
        stopping = asyncio.create_task(self._stop_jobs(stage.name), name=f"stop the jobs of {stage.name}")
        self._stopping[stopping] = stage.name

    async def _stop_jobs(self, name: str) -> None:
        """Abort the jobs of a stage, also one of which the id is not known yet."""
        for job in [job for job in self._context.history.jobs_of(name) if job.open]:
            await settle_open(job, self._context)
        for job in self._context.history.jobs_of(name):
            if job.running:
                try:
                    await self._context.services.jobs.abort(job.job_id, recorder_of(job, self._context))
                except ServiceError as error:
                    self._log.warning("Run %s, %s: %s", self._context.run_id, name, error)

    async def _conclude(self, task: asyncio.Task[str]) -> None:
        """Record how a stage's task ended."""
        name = self._tasks.pop(task)
        try:
            reason = task.result()
        except asyncio.CancelledError:
            if name in self._dropped:
                await move_stage(self._record, name, StageState.SKIPPED, self._dropped.pop(name))
                if self._state(name) is StageState.SKIPPED and not self._in_vain(self._plans[name]):
                    # A verdict was accepted while the stage was being stopped.
                    await move_stage(self._record, name, StageState.PENDING, "What it is built on was accepted")
                return
            self._log.warning("Run %s, %s was cancelled, but not by the run", self._context.run_id, name)
            await move_stage(
                self._record, name, StageState.FAILED, "A connection that it needs was closed; look at the CSC's log"
            )
        except StageError as error:
            self._log.warning("Run %s, %s failed: %s", self._context.run_id, name, error)
            await move_stage(self._record, name, StageState.FAILED, str(error))
            if self._state(name) is StageState.FAILED and name in judged_meanwhile(self._context.history):
                # A verdict on its frames was accepted while it was judged.
                await move_stage(self._record, name, StageState.PENDING, "What it is made from was accepted")
        except Exception as error:
            self._log.exception("Bug: run %s, %s failed in an unforeseen way", self._context.run_id, name)
            await move_stage(
                self._record,
                name,
                StageState.FAILED,
                f"Unforeseen {type(error).__name__}: {error}. The CSC's log has the traceback",
            )
        else:
            await move_stage(self._record, name, StageState.SUCCEEDED, reason)


async def settle_stages(context: RunContext, unfinished: StageState, reason: str) -> None:
    """Put all stages that have not ended into a state: ABORTED, or PENDING if they go on later.

    The report is PENDING in any case, because an aborted run has one, too.
    """
    for stage in context.history.stages.values():
        state = StageState.PENDING if stage.kind is StageKind.REPORT else unfinished
        if stage.state not in STAGE_ENDED and stage.state is not state:
            await move_stage(context.record, stage.name, state, reason)
