# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal: the facts of all runs on disk, append only, and the one process that may write them.

SQLite with a write-ahead log and full synchronisation, so that everything written survives a power cut. One thread owns
the file (`lsst.ts.comcamcalib.run.journal_file`), because the event loop must not wait for a disk.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import sqlite3
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from lsst.ts import utils

from ..clock import Clock
from ..enums import CalibType, RunState
from ..errors import ServiceError, UnreachableError
from ..measurements import Trend
from ..record.facts import Entry, RunAccepted
from ..services.worker_threads import WorkerThreads
from . import measurements
from .journal_file import JournalFile
from .owner import RENEW_INTERVAL_S, JournalBusyError, JournalError, JournalLostError

__all__ = ["Journal"]

# One write takes a few milliseconds. A disk that takes longer than this counts as broken for the moment; the record of
# the run tries again later. Leaving ENABLED, and a command that begins a run, may have to wait for one such write, and
# have 10 s for everything.
WRITE_LIMIT_S = 2.5

COMPLETE_LIMIT_S = 300.0
"""Longest time to make from the facts what the journal of an earlier release lacks (seconds): 25 MB take one second."""

# After this time without a renewal it is confirmed before anything is done outside (seconds). It is shorter than the
# expiry by more than it takes to do that.
CONFIRM_AFTER_S = 2 * RENEW_INTERVAL_S

BUSY_CODES = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

Result = TypeVar("Result")


class Journal:
    """The facts of all runs.

    Parameters
    ----------
    path
        The SQLite file; it and its folder are created if they do not exist.
    clock
        The clock.
    on_lost
        Called once with a sentence when another process has taken over the journal; then nothing can be written.
    """

    def __init__(self, path: Path, clock: Clock, on_lost: Callable[[str], None]) -> None:
        self.path = path
        self._on_lost = on_lost
        self._clock = clock
        self._file = JournalFile(path, clock)
        self._thread = WorkerThreads("journal")
        self._hangs = False
        self._lost = ""
        # When the latest renewal that has succeeded was asked for (seconds of the clock).
        self._renewed_s = 0.0
        self._renewing: asyncio.Task[None] = utils.make_done_future()
        self.problem = ""
        """Why the ownership could not be renewed when that was last due; empty if it could."""

    async def open(self) -> None:
        """Open the file, create its tables if it is new, and become its owner.

        Raises
        ------
        JournalOwnedError
            If another process owns it; try again later.
        JournalBusyError
            If another connection has it locked; try again later.
        JournalError
            If it can't be opened, or was written by another version of this package.
        """
        self._thread.start()
        given_up = threading.Event()
        try:
            opening = functools.partial(self._file.open, self._clock.monotonic(), WRITE_LIMIT_S / 2, given_up)
            await self._do("open", opening, renews=True)
            if not self._file.complete:
                log = logging.getLogger(__name__)
                log.info("The journal %s is being completed for this release; that is done once", self.path)
                completing = functools.partial(self._file.make_complete, given_up)
                await self._do("complete", completing, renews=True, limit_s=COMPLETE_LIMIT_S)
        except BaseException:
            # The call may hang, and go on later: then it must not take the journal from whoever has it by then.
            given_up.set()
            await self._thread.close(0.0 if self._hangs else WRITE_LIMIT_S)
            raise
        self._renewing = asyncio.create_task(self._renew(), name="renew the ownership of the journal")

    async def confirm(self) -> None:
        """See that this process still owns the journal; call it right before anything is done outside.

        A process that was paused does not know yet whether another has taken over meanwhile.

        Raises
        ------
        JournalLostError
            If another process owns the journal.
        JournalError
            If that can't be found out.
        """
        if self._lost:
            raise JournalLostError(self._lost)
        if self._clock.monotonic() - self._renewed_s >= CONFIRM_AFTER_S:
            await self._do("renew the ownership of", self._file.renew, renews=True)

    async def loss(self) -> str:
        """Return a sentence if another process owns the journal; "" if that is not so, or can't be found out."""
        try:
            await self.confirm()
        except JournalLostError as error:
            return str(error)
        except JournalError:
            return ""
        return ""

    async def close(self) -> None:
        """Give up the ownership and close the file; it may be closed twice."""
        self._renewing.cancel()
        await asyncio.gather(self._renewing, return_exceptions=True)
        try:
            if self._file.connection is not None:
                await self._do("close", self._file.close)
        except JournalError as error:
            # Everything written is already on the disk, so nothing depends on closing.
            logging.getLogger(__name__).warning("%s", error)
        finally:
            await self._thread.close(0.0 if self._hangs else WRITE_LIMIT_S)

    async def begin(self, day_obs: int, at: float, accept: Callable[[str], RunAccepted]) -> Entry:
        """Give a new run the next identifier of its day, and record its acceptance.

        Parameters
        ----------
        day_obs
            Day of observation, YYYYMMDD.
        at
            The time (TAI unix seconds).
        accept
            Called with the identifier, YYYYMMDD-NNN, counting from 001 each day; returns the acceptance. It must be
            pure, because it runs in the journal's thread.

        Returns
        -------
        entry
            The acceptance, as recorded.
        """
        return await self._do("begin a run in", functools.partial(self._file.begin, day_obs, at, accept), renews=True)

    async def append(self, run_id: str, entries: Sequence[Entry], state: RunState) -> None:
        """Append facts of a run, whose state they lead to; all or none. Facts that are there already are left alone.

        Raises
        ------
        JournalLostError
            If another process owns the journal.
        JournalError
            If it can't be written.
        """
        appending = functools.partial(self._file.append, run_id, entries, state)
        await self._do(f"write run {run_id} to", appending, renews=True)

    async def read(self, run_id: str) -> list[Entry]:
        """Return the facts of a run in order; empty if there is no such run.

        Raises
        ------
        JournalError
            If they can't be read, or one of them can't be understood.
        """
        return await self._do("read", functools.partial(self._file.read, run_id))

    async def latest(self, states: Collection[RunState] = tuple(RunState)) -> str:
        """Return the identifier of the latest run that is in one of some states; "" if there is none."""
        return await self._do("read", functools.partial(self._file.latest, tuple(states)))

    async def unfinished_withdrawals(self) -> list[str]:
        """Return the runs with a withdrawal of which it is not recorded what became of it."""
        return await self._do("read", self._file.unfinished_withdrawals)

    async def decided_since_report(self) -> list[str]:
        """Return the runs with a verdict accepted, or something withdrawn, after their latest report or without one."""
        return await self._do("read", self._file.decided_since_report)

    async def run_that_certified(self, run_collection: str) -> str:
        """Return the run that certified datasets of a RUN collection; "" if the journal does not know it."""
        return await self._do("read", functools.partial(self._file.run_that_certified, run_collection))

    async def open_run(self) -> str:
        """Return the identifier of the run that has not ended; "" if there is none.

        Raises
        ------
        JournalError
            If the state of any run makes no sense, because that run may be open.
        """
        return await self._do("read the open run of", self._file.open_run)

    async def trends(
        self,
        calib_type: CalibType,
        physical_filter: str,
        runs: int,
        without: str = "",
        depths: Mapping[int, Mapping[str, float]] | None = None,
    ) -> dict[measurements.Place, Trend]:
        """Return median and spread of what the latest runs with a good product measured in it.

        Parameters
        ----------
        calib_type, physical_filter
            The product; the filter is "" for all but flats.
        runs
            Largest number of runs.
        without
            A run that does not count.
        depths
            What the frames of the present product are made of; see `measurements.trends`.
        """

        def read() -> dict[measurements.Place, Trend]:
            return measurements.trends(self._file.opened(), calib_type, physical_filter, runs, without, depths)

        return await self._do("read the measurements of", read)

    async def _do(
        self, what: str, function: Callable[[], Result], renews: bool = False, limit_s: float | None = None
    ) -> Result:
        """Have the journal's thread do something, within a limit; it may renew the ownership.

        The limit is that of a write (None), or another one (seconds).
        While an earlier call hangs, this does not wait: a run writes often, and each write would take the whole limit.
        """
        asked_s, limit_s = self._clock.monotonic(), WRITE_LIMIT_S if limit_s is None else limit_s
        hung_on = self._thread.doing if self._hangs else ""
        try:
            result = await self._thread.do(what, 0.0 if hung_on else limit_s, function)
        except UnreachableError as error:
            self._hangs = True
            cause = f"an earlier call, to {hung_on} it, hangs" if hung_on else f"no answer within {limit_s:g} s"
            raise JournalError(f"Could not {what} the journal {self.path}: {cause}") from error
        except ServiceError as error:
            raise JournalError(f"Could not {what} the journal {self.path}: it is not open") from error
        except (sqlite3.Error, OSError) as error:
            kind = JournalBusyError if _is_busy(error) else JournalError
            raise kind(f"Could not {what} the journal {self.path}: {error}") from error
        except JournalLostError as error:
            if not self._lost:
                self._lost = str(error)
                self._on_lost(self._lost)
            raise
        self._hangs = False
        if renews:
            self._renewed_s = asked_s
        return result

    async def _renew(self) -> None:
        """Renew the ownership until this is cancelled or another process has taken over."""
        log = logging.getLogger(__name__)
        while True:
            await asyncio.sleep(RENEW_INTERVAL_S)
            try:
                await self._do("renew the ownership of", self._file.renew, renews=True)
                self.problem = ""
            except JournalLostError:
                return
            except JournalError as error:
                self.problem = str(error)
                log.warning("%s. If that lasts, another process may take the journal over", error)


def _is_busy(error: sqlite3.Error | OSError) -> bool:
    """Whether another connection had the file locked for as long as this one waits; extended codes have more bits."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in BUSY_CODES
