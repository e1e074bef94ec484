# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Carries out the commands: at most one run is open; the others are known from the journal."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import logging

from lsst.ts import utils

from ..config import CscConfig
from ..enums import RunState
from ..errors import BadInputError
from ..options import parse_options
from ..plan.build import build_plan
from ..plan.record import Alarms, Entry
from ..stages.context import Services
from .closing import close_interrupted, interrupted_by_restart
from .journal import Journal, JournalError, StoredRun
from .log import Publish, RunLog
from .preflight import preflight
from .progress import Progress, alarms_of, progress_of
from .run import INTERRUPT_LIMIT_S, Run
from .start import Start, StartRequest
from .states import OPEN_RUN_STATES

__all__ = ["Runner", "StartRequest"]


class Runner:
    """The runs of this CSC.

    Parameters
    ----------
    config
        The CSC's configuration.
    journal
        The open journal.
    publish
        Publishes an entry.
    """

    def __init__(self, config: CscConfig, journal: Journal, publish: Publish) -> None:
        self.config = config
        self._journal = journal
        self._tell = publish
        self._services: Services | None = None
        # The open run of this process, otherwise its last one.
        self._run: Run | None = None
        # The start that is being checked.
        self._starting: Start | None = None
        # Why the services behind the OCPS count as unreachable; empty if they answer.
        self._backend_problem = ""
        # The record of the latest run of any process; None if there never was one.
        self._latest: RunLog | None = None
        # Records of the runs that earlier processes left open, oldest first.
        self._left: list[RunLog] = []
        self._alarms = Alarms()
        # Whether this process has had a run; alarms of an earlier process are not published again.
        self._own = False
        # Closes an interrupted run on behalf of abort.
        self._closing: asyncio.Task[None] = utils.make_done_future()

    async def start(self) -> None:
        """Read the runs of earlier processes; an open one becomes INTERRUPTED.

        Raises
        ------
        JournalError
            If the journal can't be read.
        """
        for stored in await self._journal.open_runs():
            if stored.entries == "[]":
                # The run was given its identifier, but the process ended before anything else was written.
                await self._journal.write(dataclasses.replace(stored, state=RunState.ABORTED))
            else:
                log = self._log_of(stored)
                await interrupted_by_restart(log)
                self._left.append(log)
        latest = await self._journal.read("")
        if latest is not None:
            same = [log for log in self._left if log.status.run_id == latest.run_id]
            self._latest = same[0] if same else self._log_of(latest)

    async def close(self) -> None:
        """Try to write what is not in the journal yet, because the journal is about to be closed."""
        for log in {id(log): log for log in (*self._left, self._latest) if log is not None}.values():
            await log.close()

    def connect(self, services: Services) -> None:
        """Use these connections from now on."""
        self._services = services

    async def disconnect(self, reason: str, limit_s: float = INTERRUPT_LIMIT_S) -> None:
        """Interrupt the open run, because the connections are about to be closed.

        Parameters
        ----------
        reason
            Why, in a sentence without its full stop.
        limit_s
            Longest wait for what is in progress (seconds).
        """
        self._services = None
        if self._starting is not None:
            self._starting.call_off("The CSC left ENABLED while the checks were going on.")
        if not self._closing.done():
            await asyncio.wait([self._closing], timeout=limit_s)
            self._closing.cancel()
            await asyncio.gather(self._closing, return_exceptions=True)
        elif self._run is not None:
            await self._run.interrupt(reason, limit_s)
        if self._latest is not None:
            await self._latest.flush()
        self._backend_problem = ""

    @property
    def open_log(self) -> RunLog | None:
        """Record of the open run; None if there is none. If there are several: the latest run, then the oldest."""
        logs = [log for log in (self._latest, *self._left) if log is not None]
        return next((log for log in logs if log.status.state in OPEN_RUN_STATES), None)

    @property
    def unwritten(self) -> bool:
        """Whether entries are not in the journal yet; they would be lost if the journal were closed."""
        return any(log.journal_problem for log in (self._latest, *self._left) if log is not None)

    @property
    def _shown(self) -> RunLog | None:
        """Record of the run that telemetry and status show: the open one, otherwise the latest."""
        return self.open_log or self._latest

    async def start_run(self, request: StartRequest) -> str:
        """Check everything, then start a run.

        Parameters
        ----------
        request
            What the operator sent.

        Returns
        -------
        run_id
            Identifier of the run, which is in progress.

        Raises
        ------
        BadInputError
            If it is refused; the message has all reasons.
        JournalError
            If the run can't be written to the journal.
        """
        open_log = self.open_log
        if open_log is not None:
            status = open_log.status
            way_out = "Wait for its end, or stop it with abort."
            if status.state is RunState.INTERRUPTED:
                way_out = "Close it with abort, then start again."
            elif status.state is RunState.ABORTING:
                way_out = "Wait for its end; progress says what it waits for."
            raise BadInputError(
                [f"Run {status.run_id} is open ({status.state.name}); there can be only one. {way_out}"]
            )
        if self._starting is not None:
            raise BadInputError(["Another run is being checked right now; there can be only one."])
        self._starting = start = Start()
        try:
            return await self._start_run(request, self._connected(), start)
        finally:
            self._starting = None

    async def _start_run(self, request: StartRequest, services: Services, start: Start) -> str:
        day_obs = current_day_obs()
        options = parse_options(
            request.config,
            self.config.option_rules(),
            command_reason=request.reason,
            command_program=request.program,
            command_note=request.note,
            now_day_obs=day_obs,
        )
        problems = await start.unless_called_off(preflight(build_plan("", options, self.config), services))
        if problems:
            raise BadInputError(problems)
        if self._latest is not None:
            # Entries of the previous run that are not in the journal yet must be written before this run.
            await self._latest.flush()
            if self._latest.journal_problem:
                raise BadInputError(
                    [
                        f"The end of run {self._latest.status.run_id} is not in the journal yet, so no other run is "
                        f"started. {self._latest.journal_problem}. Repair that; the CSC keeps trying to write it."
                    ]
                )
        run_id = await self._journal.new_run(day_obs)
        if start.called_off:
            await self._journal.write(StoredRun(run_id, RunState.ABORTED, "[]"))
            start.check()
        log = RunLog(self._journal, self._publish)
        run = Run(build_plan(run_id, options, self.config, utils.current_tai()), services, log)
        self._run, self._latest, self._own = run, log, True
        for notice in run.plan.notices:
            logging.getLogger(__name__).warning("Run %s: %s", run_id, notice)
        await run.accept(request.requested_by)
        return run_id

    async def abort(self, requested_by: str) -> None:
        """Stop the open run, which ends ABORTED in the background; or a start that is being checked, which is refused.

        Raises
        ------
        BadInputError
            If there is no open run, or it is being aborted already.
        """
        log = self.open_log
        if log is None and self._starting is not None:
            self._starting.call_off(f"Aborted by {requested_by} while it was being checked; no run was begun.")
            return
        if log is None:
            raise BadInputError(["There is no open run that could be aborted."])
        if log.status.state is RunState.ABORTING:
            raise BadInputError([f"Run {log.status.run_id} is being aborted already."])
        own = self._run if self._run is not None and self._run.log is log else None
        if own is not None and own.state is not RunState.INTERRUPTED:
            await own.abort(requested_by)
        else:
            begun = asyncio.Event()
            rest = own.wait_ended if own is not None else None
            closing = close_interrupted(log, self._connected(), self.config, requested_by, begun, rest)
            self._closing = asyncio.create_task(closing, name=f"abort {log.status.run_id}")
            await begun.wait()

    async def publish_status(self, run_id: str) -> dict[str, object]:
        """Publish all entries of a run again.

        Parameters
        ----------
        run_id
            The run; "" for the open one, otherwise the latest.

        Returns
        -------
        snapshot
            A summary, ready for JSON.

        Raises
        ------
        BadInputError
            If there is no such run.
        """
        shown = self._shown
        log = shown if not run_id else await self._find(run_id)
        if log is None:
            raise BadInputError([f"There is no run {run_id}." if run_id else "There has been no run yet."])
        await log.publish_all()
        if shown is not None and shown is not log:
            # A client that joins late gets the last sample of each topic, which must belong to the current run.
            await shown.publish_all()
        await self._tell(self._alarms)
        return log.snapshot()

    async def _find(self, run_id: str) -> RunLog | None:
        """Return the record of a run, None if there is no such run."""
        for log in (self._latest, *self._left):
            if log is not None and log.status.run_id == run_id:
                return log
        stored = await self._journal.read(run_id)
        if stored is None or stored.entries == "[]":
            return None
        try:
            return self._log_of(stored)
        except JournalError as error:
            # The operator asked for an ended run by its id; that its row is damaged does not affect other runs.
            raise BadInputError([str(error)]) from error

    def progress(self) -> Progress:
        """Return the progress of the open run, otherwise of the latest."""
        log, run = self._shown, self._run
        if log is None:
            return Progress()
        return progress_of(log, run.plan if run is not None and run.log is log else None)

    @property
    def active(self) -> bool:
        """Whether a run is in progress."""
        log = self.open_log
        return log is not None and log.status.state is not RunState.INTERRUPTED

    async def update_alarms(self) -> None:
        """Publish the alarms if they have changed."""
        alarms = alarms_of(self._latest if self._own else None, self._backend_problem)
        if alarms != self._alarms:
            self._alarms = alarms
            await self._tell(alarms)

    def backend(self, reachable: bool, reason: str) -> None:
        """Note whether the services behind the OCPS answer."""
        self._backend_problem = "" if reachable else reason

    def _connected(self) -> Services:
        if self._services is None:
            raise BadInputError(
                [
                    "The CSC is not connected to camera, OCPS and Butler; it must be ENABLED. If it is, "
                    "disable it and enable it again."
                ]
            )
        return self._services

    def _log_of(self, stored: StoredRun) -> RunLog:
        return RunLog.from_stored(stored, self._journal, self._publish)

    async def _publish(self, entry: Entry) -> None:
        await self._tell(entry)
        await self.update_alarms()


def current_day_obs() -> int:
    """Return the day of observation, YYYYMMDD: the date 12 hours ago (TAI), as LSE-400 defines it."""
    now = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=utils.current_tai() - 12 * 3600)
    return int(now.strftime("%Y%m%d"))
