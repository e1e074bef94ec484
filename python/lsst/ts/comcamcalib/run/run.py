# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run, from its acceptance to its end."""

from __future__ import annotations

import asyncio
import json
import logging

from lsst.ts import utils

from ..enums import RunState, StageKind, StageState
from ..plan.plan import RunPlan
from ..plan.record import RunConfiguration, RunStatus
from ..stages.context import RunContext, Services
from .log import RunLog, move_run
from .scheduler import Scheduler
from .states import OPEN_RUN_STATES
from .surroundings import watch_components

__all__ = ["INTERRUPT_LIMIT_S", "Run"]

# An abort must have stopped everything but the exposure in progress within this time (seconds).
ABORT_LIMIT_S = 9.0

# Longest time for stages to end when the CSC leaves ENABLED (seconds). Writing the journal and closing the connections
# take more time, and all of it must be done within 10 s.
INTERRUPT_LIMIT_S = 4.0


class Run:
    """A run and the task that carries it out.

    Parameters
    ----------
    plan
        What it will do.
    services
        The connections to the outside.
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
        # Task that aborts or interrupts the run.
        self._ending: asyncio.Task[None] = utils.make_done_future()

    @property
    def state(self) -> RunState:
        """State of the run."""
        return self.log.status.state

    async def accept(self, requested_by: str) -> None:
        """Record that the run was accepted, then start it."""
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
        # The run may have been aborted or interrupted while this was written.
        if self.state is RunState.ACCEPTED:
            self._task = asyncio.create_task(self._go(), name=f"run {self.plan.run_id}")

    async def abort(self, requested_by: str) -> None:
        """Stop the run: no further exposure, its jobs aborted, nothing certified from now on.

        Returns as soon as nothing new is started; what is in progress ends in the background.
        """
        begun = asyncio.Event()
        self._ending = asyncio.create_task(self._abort(requested_by, begun), name=f"abort {self.plan.run_id}")
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
            # Give an abort in progress time to end, because otherwise the operator must close the run later.
            await asyncio.wait([self._ending], timeout=limit_s / 2)
        if self.state not in OPEN_RUN_STATES or self.state is RunState.INTERRUPTED:
            return
        self._ending.cancel()
        self._context.finish_exposure = False
        self._context.no_more_exposures = "the run was interrupted"
        self._scheduler.stop()
        self._task.cancel()
        await asyncio.wait([self._task, self._ending], timeout=max(deadline - clock(), 0.0))
        await self._scheduler.settle(StageState.PENDING, f"Interrupted: {reason}")
        await move_run(self.log, RunState.INTERRUPTED, f"{reason}. Close the run with abort")

    async def wait_ended(self) -> None:
        """Wait until all tasks of the run have ended; cancelling this cancels none of them."""
        await asyncio.wait([self._task])
        await asyncio.wait([self._ending])

    async def _go(self) -> None:
        unsubscribe = self._services.oods.subscribe(self._context.ledger.notice)
        watching = asyncio.create_task(
            watch_components(self.log, self._services.components, self.plan.config.instrument),
            name=f"components for run {self.plan.run_id}",
        )
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
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
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
        # Stop everything first, and only then wait.
        self._context.no_more_exposures = "the run is being aborted"
        self._scheduler.stop()
        self._task.cancel()
        reason = f"Aborted by {requested_by}"
        try:
            await move_run(self.log, RunState.ABORTING, reason)
        finally:
            begun.set()
        try:
            problems = await self._services.jobs.abort_all(ABORT_LIMIT_S, self.plan.run_id)
        except Exception as error:
            logging.getLogger(__name__).exception("Bug: the jobs of run %s could not be aborted", self.plan.run_id)
            problems = [f"its jobs, because of an unforeseen {type(error).__name__}: {error}"]
        await asyncio.gather(self._task, return_exceptions=True)
        await self._scheduler.settle(StageState.ABORTED, reason)
        problems += [
            f"{stage.stage_name}: {stage.reason}"
            for stage in self.log.stages_in(StageState.FAILED)
            if stage.stage_kind is StageKind.CERTIFY and stage.timestamp_ended >= self.log.status.timestamp_started
        ]
        if problems:
            reason = f"{reason}. Not stopped: {'; '.join(problems)}"
        await move_run(self.log, RunState.ABORTED, reason)
