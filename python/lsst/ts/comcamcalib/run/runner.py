# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the commands ask for: at most one open run, and what is known of the others."""

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
from .journal import Journal, StoredRun
from .log import Publish, RunLog
from .preflight import preflight
from .progress import Progress, alarms_of, progress_of
from .run import Run, close_interrupted, interrupted_by_restart
from .states import OPEN_RUN_STATES

__all__ = ["Runner", "StartRequest"]


@dataclasses.dataclass(frozen=True)
class StartRequest:
    """What an operator asks for with startCalibrationRun."""

    config: str
    reason: str
    program: str
    note: str
    requested_by: str


class Runner:
    """The runs of this CSC.

    Parameters
    ----------
    config
        The CSC's configuration.
    journal
        The open journal.
    publish
        Tells the world about an entry.
    """

    def __init__(self, config: CscConfig, journal: Journal, publish: Publish) -> None:
        self.config = config
        self._journal = journal
        self._tell = publish
        self._services: Services | None = None
        # The run of this process that is open, or was last.
        self._run: Run | None = None
        # Whether a run is being checked and accepted.
        self._starting = False
        # Why the services behind the OCPS count as unreachable; empty if they answer.
        self._backend_problem = ""
        # The record of the latest run, of whatever process; None if there never was one.
        self._latest: RunLog | None = None
        self._alarms = Alarms()
        # Whether this process has had a run: alarms of an earlier process do not stand any more.
        self._own = False
        # Closes an interrupted run on behalf of abort.
        self._closing: asyncio.Task[None] = utils.make_done_future()

    async def start(self) -> None:
        """Find out what earlier processes have left; an open run becomes INTERRUPTED.

        Raises
        ------
        JournalError
            If the journal can't be read.
        """
        for stored in await self._journal.open_runs():
            if stored.entries == "[]":
                # Given its number, but the process ended before anything else was written.
                await self._journal.write(dataclasses.replace(stored, state=RunState.ABORTED))
            else:
                await interrupted_by_restart(self._log_of(stored))
        latest = await self._journal.read("")
        self._latest = self._log_of(latest) if latest is not None else None

    def connect(self, services: Services) -> None:
        """Use these ways to the outside from now on."""
        self._services = services

    async def disconnect(self, reason: str) -> None:
        """Interrupt the open run, for the ways to the outside are about to be closed."""
        self._services = None
        if self._run is not None:
            await self._run.interrupt(reason)
        if not self._closing.done():
            await asyncio.wait([self._closing], timeout=self.config.limits.job_abort)
            self._closing.cancel()
            await asyncio.gather(self._closing, return_exceptions=True)
        self._backend_problem = ""

    @property
    def open_log(self) -> RunLog | None:
        """Record of the open run; None if there is none."""
        if self._latest is not None and self._latest.status.state in OPEN_RUN_STATES:
            return self._latest
        return None

    async def start_run(self, request: StartRequest) -> str:
        """Check everything, then start a run.

        Parameters
        ----------
        request
            What is asked for.

        Returns
        -------
        run_id
            Identifier of the run, which is in progress.

        Raises
        ------
        BadInputError
            If anything stands against it: every reason at once.
        JournalError
            If the run can't be written down.
        """
        open_log = self.open_log
        if open_log is not None:
            status = open_log.status
            raise BadInputError(
                [
                    f"Run {status.run_id} is open ({status.state.name}); there can be only one. Wait for its end, "
                    "resume it if it was interrupted, or close it with abort."
                ]
            )
        if self._starting:
            raise BadInputError(["Another run is being checked right now; there can be only one."])
        self._starting = True
        try:
            return await self._start_run(request, self._connected())
        finally:
            self._starting = False

    async def _start_run(self, request: StartRequest, services: Services) -> str:
        day_obs = current_day_obs()
        options = parse_options(
            request.config,
            self.config,
            command_reason=request.reason,
            command_program=request.program,
            command_note=request.note,
            now_day_obs=day_obs,
        )
        problems = await preflight(build_plan("", options, self.config), services)
        problems += self._gone(services)
        if problems:
            raise BadInputError(problems)
        run_id = await self._journal.new_run(day_obs)
        if gone := self._gone(services):
            await self._journal.write(StoredRun(run_id, RunState.ABORTED, "[]"))
            raise BadInputError(gone)
        log = RunLog(self._journal, self._publish)
        run = Run(build_plan(run_id, options, self.config, utils.current_tai()), services, log)
        self._run, self._latest, self._own = run, log, True
        for notice in run.plan.notices:
            logging.getLogger(__name__).warning("Run %s: %s", run_id, notice)
        await run.accept(request.requested_by)
        return run_id

    async def abort(self, requested_by: str) -> None:
        """Stop the open run; it ends ABORTED in the background.

        Raises
        ------
        BadInputError
            If there is no open run, or it is being aborted already.
        """
        log = self.open_log
        if log is None:
            raise BadInputError(["There is no open run that could be aborted."])
        if log.status.state is RunState.ABORTING:
            raise BadInputError([f"Run {log.status.run_id} is being aborted already."])
        if self._run is not None and self._run.log is log and self._run.state is not RunState.INTERRUPTED:
            await self._run.abort(requested_by)
        else:
            begun = asyncio.Event()
            closing = close_interrupted(log, self._connected(), requested_by, begun)
            self._closing = asyncio.create_task(closing, name=f"abort {log.status.run_id}")
            await begun.wait()

    async def publish_status(self, run_id: str) -> dict[str, object]:
        """Publish everything that is known of a run again.

        Parameters
        ----------
        run_id
            The run; "" for the open one, or else the latest.

        Returns
        -------
        snapshot
            A summary, ready for JSON.

        Raises
        ------
        BadInputError
            If there is no such run.
        """
        log = self._latest
        if run_id and (log is None or log.status.run_id != run_id):
            stored = await self._journal.read(run_id)
            log = self._log_of(stored) if stored and stored.entries != "[]" else None
        if log is None:
            raise BadInputError([f"There is no run {run_id}." if run_id else "There has been no run yet."])
        await log.publish_all()
        if log is self._latest:
            await self._tell(self._alarms)
        return log.snapshot()

    def progress(self) -> Progress:
        """Return the progress of the latest run."""
        if self._latest is None:
            return Progress()
        run = self._run
        plan = run.plan if run is not None and run.log is self._latest else None
        return progress_of(self._latest, plan)

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
        """Take note of whether the services behind the OCPS answer."""
        self._backend_problem = "" if reachable else reason

    def _gone(self, services: Services) -> list[str]:
        return [] if self._services is services else ["The CSC left ENABLED while the checks were going on."]

    def _connected(self) -> Services:
        if self._services is None:
            raise BadInputError(["The CSC is not connected to camera, OCPS and Butler; it has to be ENABLED."])
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
