# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run the stages of a plan, each as soon as the stages that it waits for allow."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Mapping

from lsst.ts import utils

from ..enums import StageKind, StageState
from ..errors import StageError
from ..plan.plan import StagePlan
from ..plan.record import StageStatus
from ..stages import acquire, certify, generate, ingest, verify
from ..stages.context import RunContext
from .states import STAGE_ENDED, STAGE_MOVES, check_move

__all__ = ["STAGES", "Scheduler"]

StageFunction = Callable[[StagePlan, RunContext], Awaitable[str]]

STAGES: Mapping[StageKind, StageFunction] = {
    StageKind.ACQUIRE: acquire.acquire,
    StageKind.INGEST: ingest.ingest,
    StageKind.GENERATE: generate.generate,
    StageKind.VERIFY: verify.verify,
    StageKind.CERTIFY: certify.certify,
}

# Stages that need a stage in one of these states can't run.
_GOOD_FOR_NOTHING = STAGE_ENDED - {StageState.SUCCEEDED}


class Scheduler:
    """The stages of one run, and the tasks that carry them out.

    Parameters
    ----------
    context
        What the stages share; each move is written to its record.
    stages
        The function for each kind of stage.
    """

    def __init__(self, context: RunContext, stages: Mapping[StageKind, StageFunction] = STAGES) -> None:
        self.context = context
        self._stages = stages
        self._log = logging.getLogger(__name__)
        self._plans = {stage.name: stage for stage in context.plan.stages}
        self._status = {
            stage.name: StageStatus(
                run_id=context.run_id,
                stage_name=stage.name,
                calib_type=stage.calib_type,
                stage_kind=stage.kind,
                state=StageState.PENDING,
            )
            for stage in context.plan.stages
        }
        self._tasks: dict[asyncio.Task[str], str] = {}

    def state(self, name: str) -> StageState:
        """Return the state of a stage."""
        return self._status[name].state

    async def announce(self) -> None:
        """Publish that all stages are PENDING."""
        for status in self._status.values():
            await self.context.record.write(status)

    async def run(self) -> list[str]:
        """Run all stages that can be run.

        Cancelling this cancels the running stages and waits until they have ended; `settle` sets their states.

        Returns
        -------
        failures
            A sentence for each stage that failed; empty if every stage SUCCEEDED.
        """
        try:
            while await self._start_what_can():
                done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    await self._conclude(task)
        finally:
            self.stop()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        failures = [
            f"{name}: {status.reason}" for name, status in self._status.items() if status.state is StageState.FAILED
        ]
        left = [name for name, status in self._status.items() if status.state is not StageState.SUCCEEDED]
        # A stage that did not succeed needs one that failed; if there is none, the run must still not look successful.
        return failures or [f"{name} is {self.state(name).name}" for name in left]

    def stop(self) -> None:
        """Cancel the running stages, each only once: a second cancellation would interrupt their clean-up."""
        for task in self._tasks:
            if not task.cancelling():
                task.cancel()

    async def settle(self, unfinished: StageState, reason: str) -> None:
        """Set and publish the states of the stages after `run` was cancelled.

        Parameters
        ----------
        unfinished
            State of the stages that have not ended: ABORTED, or PENDING if they can be done later.
        reason
            Why, in a sentence.
        """
        for task, name in list(self._tasks.items()):
            if not task.done():
                self._log.warning(
                    "Run %s, %s has not stopped yet; it is left to end by itself", self.context.run_id, name
                )
            elif not task.cancelled():
                await self._conclude(task)
        for name, status in self._status.items():
            if status.state not in STAGE_ENDED and status.state is not unfinished:
                await self._move(name, unfinished, reason)

    async def _start_what_can(self) -> bool:
        """Start and skip stages until nothing changes; return whether any is running."""
        changed = True
        while changed:
            changed = False
            for name, stage in self._plans.items():
                if self.state(name) is not StageState.PENDING:
                    continue
                obstacle = self._obstacle(stage)
                if obstacle:
                    await self._move(name, StageState.SKIPPED, obstacle)
                    changed = True
                elif self._may_start(stage):
                    await self._move(name, StageState.RUNNING, "")
                    task = asyncio.create_task(self._do(stage), name=f"{self.context.run_id} {name}")
                    self._tasks[task] = name
                    changed = True
        return bool(self._tasks)

    async def _do(self, stage: StagePlan) -> str:
        return await self._stages[stage.kind](stage, self.context)

    def _obstacle(self, stage: StagePlan) -> str:
        """Return why a stage can't be done any more; empty if it may still be."""
        for name in (*stage.needs, *((stage.alongside,) if stage.alongside else ())):
            if self.state(name) in _GOOD_FOR_NOTHING:
                return f"{name}, which it needs, is {self.state(name).name}"
        if stage.kind is StageKind.ACQUIRE and self.context.no_more_exposures:
            return f"No further exposure is taken, because {self.context.no_more_exposures}"
        return ""

    def _may_start(self, stage: StagePlan) -> bool:
        return (
            all(self.state(name) is StageState.SUCCEEDED for name in stage.needs)
            and all(self.state(name) in STAGE_ENDED for name in stage.after)
            and (not stage.alongside or self.state(stage.alongside) is not StageState.PENDING)
        )

    async def _conclude(self, task: asyncio.Task[str]) -> None:
        """Enter how a stage's task ended."""
        name = self._tasks.pop(task)
        try:
            reason = task.result()
        except asyncio.CancelledError:
            self._log.warning("Run %s, %s was cancelled, but not by the run", self.context.run_id, name)
            await self._fail(name, "A connection that it needs was closed; look at the CSC's log")
        except StageError as error:
            self._log.warning("Run %s, %s failed: %s", self.context.run_id, name, error)
            await self._fail(name, str(error))
        except Exception as error:
            self._log.exception("Bug: run %s, %s failed in an unforeseen way", self.context.run_id, name)
            await self._fail(name, f"Unforeseen {type(error).__name__}: {error}. The CSC's log has the traceback")
        else:
            await self._move(name, StageState.SUCCEEDED, reason)

    async def _fail(self, name: str, reason: str) -> None:
        await self._move(name, StageState.FAILED, reason)
        if self.context.plan.options.on_failure == "stop" and not self.context.no_more_exposures:
            self.context.no_more_exposures = f"{name} failed and on_failure is stop"

    async def _move(self, name: str, state: StageState, reason: str) -> None:
        """Put a stage into a state, and publish that; no other code does."""
        old = self._status[name]
        check_move(STAGE_MOVES, f"stage {name}", old.state, state)
        now = utils.current_tai()
        status = dataclasses.replace(
            old,
            state=state,
            reason=reason,
            job_id=self._job_id(name),
            timestamp_started=now if state is StageState.RUNNING else old.timestamp_started,
            timestamp_ended=now if state in STAGE_ENDED else 0.0,
        )
        self._status[name] = status
        await self.context.record.write(status)

    def _job_id(self, name: str) -> str:
        """Return the id of the last job of a stage, or ""."""
        return next((job for stage, job in reversed(self.context.submitted_jobs) if stage == name), "")
