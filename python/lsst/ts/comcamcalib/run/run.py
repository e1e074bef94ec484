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

# After an abort nothing may move any more after this time (seconds), but for the exposure in progress.
ABORT_LIMIT_S = 9.0

# Longest time for bringing to an end what is in progress when the CSC leaves ENABLED (seconds). Writing that down, and
# closing the ways to the outside, come on top, and all of it has to be done within 10 s.
INTERRUPT_LIMIT_S = 4.0


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

    async def interrupt(self, reason: str, limit_s: float = INTERRUPT_LIMIT_S) -> None:
        """Leave the run as it is, INTERRUPTED: its jobs run on, the exposure in progress is not waited for.

        Parameters
        ----------
        reason
            Why, in a sentence without its full stop.
        limit_s
            Longest wait for an abort that is under way, and for the stages (seconds). What has not ended by then ends
            by itself; what it still finds is written down and published.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + limit_s
        if not self._ending.done():
            # An abort that is under way gets its time, for an aborted run is better than one that must be closed later.
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
        """Wait until nothing of the run goes on any more, however it ends; cancelling this cancels nothing of it."""
        await asyncio.wait([self._task])
        await asyncio.wait([self._ending])

    async def _go(self) -> None:
        unsubscribe = self._services.oods.subscribe(self._context.ledger.notice)
        watching = asyncio.create_task(
            watch_components(self.log, self._services.components), name=f"components for run {self.plan.run_id}"
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
