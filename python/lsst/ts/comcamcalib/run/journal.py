# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal: the facts of all runs on disk, append only, and the one process that may write them.

SQLite with a write-ahead log and full synchronisation, so that everything written survives a power cut. One thread owns
the connection, because the event loop must not wait for a disk. Each write also checks, in the same transaction, that
this process still owns the journal (see `lsst.ts.comcamcalib.run.owner`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

from lsst.ts import utils

from ..clock import Clock
from ..enums import CalibType, RunState
from ..errors import ServiceError, UnreachableError
from ..measurements import Trend
from ..record.facts import Entry, RunAccepted, fact_from_json, fact_to_json
from ..record.history import OPEN_RUN_STATES
from ..services.worker_threads import WorkerThreads
from . import measurements
from .owner import RENEW_INTERVAL_S, JournalError, JournalLostError, Owner

__all__ = ["SCHEMA_VERSION", "Journal", "read_facts"]

SCHEMA_VERSION = 2

# One write takes a few milliseconds. A disk that takes longer than this counts as broken for the moment; the record of
# the run tries again later. Leaving ENABLED, and a command that begins a run, may have to wait for one such write, and
# have 10 s for everything.
WRITE_LIMIT_S = 2.5

# After this time without a renewal it is confirmed before anything is done outside (seconds). It is shorter than the
# expiry by more than it takes to do that.
CONFIRM_AFTER_S = 2 * RENEW_INTERVAL_S

TABLES = """
CREATE TABLE IF NOT EXISTS runs (number INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, state INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS facts (
    run_id TEXT NOT NULL, seq INTEGER NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS withdrawals ON facts (run_id, kind) WHERE kind LIKE 'decertif%';
CREATE INDEX IF NOT EXISTS certifications ON facts (run_id) WHERE kind = 'certify_intended';
"""

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
        self._owner = Owner(path, clock)
        self._thread = WorkerThreads("journal")
        self._hangs = False
        self._lost = ""
        # When the latest renewal that has succeeded was asked for (seconds of the clock).
        self._renewed_s = 0.0
        self._connection: sqlite3.Connection | None = None
        self._renewing: asyncio.Task[None] = utils.make_done_future()

    async def open(self) -> None:
        """Open the file, create its tables if it is new, and become its owner.

        Raises
        ------
        JournalOwnedError
            If another process owns it; try again later.
        JournalError
            If it can't be opened, or was written by another version of this package.
        """
        self._thread.start()
        given_up = threading.Event()
        try:
            opening = functools.partial(self._open, self._clock.monotonic(), given_up)
            await self._do("open", opening, renews=True)
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
            await self._do("renew the ownership of", self._renew_once, renews=True)

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
            if self._connection is not None:
                await self._do("close", self._close)
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
        return await self._do("begin a run in", functools.partial(self._begin, day_obs, at, accept), renews=True)

    async def append(self, run_id: str, entries: Sequence[Entry], state: RunState) -> None:
        """Append facts of a run, whose state they lead to; all or none. Facts that are there already are left alone.

        Raises
        ------
        JournalLostError
            If another process owns the journal.
        JournalError
            If it can't be written.
        """
        appending = functools.partial(self._append, run_id, entries, state)
        await self._do(f"write run {run_id} to", appending, renews=True)

    async def read(self, run_id: str) -> list[Entry]:
        """Return the facts of a run in order; empty if there is no such run.

        Raises
        ------
        JournalError
            If they can't be read, or one of them can't be understood.
        """
        return await self._do("read", functools.partial(self._read, run_id))

    async def latest(self, states: Collection[RunState] = tuple(RunState)) -> str:
        """Return the identifier of the latest run that is in one of some states; "" if there is none."""
        return await self._do("read", functools.partial(self._latest, tuple(states)))

    async def unfinished_withdrawals(self) -> list[str]:
        """Return the runs with a withdrawal of which it is not recorded what became of it."""
        return await self._do("read", self._unfinished_withdrawals)

    async def run_that_certified(self, run_collection: str) -> str:
        """Return the run that certified datasets of a RUN collection; "" if the journal does not know it."""
        return await self._do("read", functools.partial(self._run_that_certified, run_collection))

    async def open_run(self) -> str:
        """Return the identifier of the run that has not ended; "" if there is none.

        Raises
        ------
        JournalError
            If the state of any run makes no sense, because that run may be open.
        """
        return await self._do("read the open run of", self._open_run)

    async def trends(
        self, calib_type: CalibType, physical_filter: str, runs: int, without: str = ""
    ) -> dict[measurements.Place, Trend]:
        """Return median and spread of what the latest runs measured in a product.

        Parameters
        ----------
        calib_type, physical_filter
            The product; the filter is "" for all but flats.
        runs
            Largest number of runs.
        without
            A run that does not count.
        """

        def read() -> dict[measurements.Place, Trend]:
            return measurements.trends(self._opened(), calib_type, physical_filter, runs, without)

        return await self._do("read the measurements of", read)

    async def _do(self, what: str, function: Callable[[], Result], renews: bool = False) -> Result:
        """Have the journal's thread do something, within a limit; it may renew the ownership.

        While an earlier call hangs, this does not wait: a run writes often, and each write would take the whole limit.
        """
        asked_s = self._clock.monotonic()
        hung_on = self._thread.doing if self._hangs else ""
        try:
            result = await self._thread.do(what, 0.0 if hung_on else WRITE_LIMIT_S, function)
        except UnreachableError as error:
            self._hangs = True
            cause = f"an earlier call, to {hung_on} it, hangs" if hung_on else f"no answer within {WRITE_LIMIT_S:g} s"
            raise JournalError(f"Could not {what} the journal {self.path}: {cause}") from error
        except ServiceError as error:
            raise JournalError(f"Could not {what} the journal {self.path}: it is not open") from error
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"Could not {what} the journal {self.path}: {error}") from error
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
                await self._do("renew the ownership of", self._renew_once, renews=True)
            except JournalLostError:
                return
            except JournalError as error:
                log.warning("%s. If that lasts, another process may take the journal over", error)

    # In the journal's thread

    def _open(self, now_s: float, given_up: threading.Event) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self.path, timeout=WRITE_LIMIT_S / 2, check_same_thread=False, isolation_level=None
        )
        try:
            self._prepare(connection, now_s, given_up)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        if given_up.is_set():
            self._close()

    def _prepare(self, connection: sqlite3.Connection, now_s: float, given_up: threading.Event) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 1:
            raise JournalError(
                f"The journal {self.path} was written by a release before runs could be resumed, and can't be read by "
                "this one. Move the file away, and keep it: the earlier release can still show its runs. A new one is "
                "made"
            )
        if version > SCHEMA_VERSION:
            raise JournalError(
                f"The journal {self.path} is of version {version}, this program knows {SCHEMA_VERSION}: "
                "it was written by a newer release; run that one, or configure another journal_path"
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        with _transaction(connection):
            if given_up.is_set():
                raise JournalError(f"Nothing waits any more for the journal {self.path} to be opened")
            self._owner.claim(connection, now_s)
            for statement in (*TABLES.split(";"), f"PRAGMA user_version = {SCHEMA_VERSION}"):
                connection.execute(statement)
            measurements.make_table(connection)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                with _transaction(connection):
                    self._owner.release(connection)
            finally:
                connection.close()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise JournalError(f"The journal {self.path} is not open")
        return self._connection

    def _renew_once(self) -> None:
        with _transaction(self._opened()) as connection:
            self._owner.renew(connection)

    def _begin(self, day_obs: int, at: float, accept: Callable[[str], RunAccepted]) -> Entry:
        with _transaction(self._opened()) as connection:
            self._owner.renew(connection)
            if run_id := self._open_run():
                raise JournalError(f"The journal {self.path} has run {run_id}, which is still open")
            number = "max(CAST(substr(run_id, 10) AS INTEGER))"
            query = f"SELECT {number} FROM runs WHERE run_id LIKE ?"
            latest = connection.execute(query, (f"{day_obs}-%",)).fetchone()[0]
            run_id = f"{day_obs}-{(latest or 0) + 1:03d}"
            entry = Entry(1, at, accept(run_id))
            connection.execute("INSERT INTO runs (run_id, state) VALUES (?, ?)", (run_id, RunState.ACCEPTED))
            _insert(connection, run_id, [entry])
        return entry

    def _append(self, run_id: str, entries: Sequence[Entry], state: RunState) -> None:
        with _transaction(self._opened()) as connection:
            self._owner.renew(connection)
            _insert(connection, run_id, entries)
            measurements.insert_measurements(connection, run_id, entries)
            cursor = connection.execute("UPDATE runs SET state = ? WHERE run_id = ?", (state, run_id))
            if cursor.rowcount != 1:
                raise sqlite3.IntegrityError(f"it has no run {run_id}")

    def _read(self, run_id: str) -> list[Entry]:
        return read_facts(self._opened(), self.path, run_id)

    def _latest(self, states: Collection[RunState]) -> str:
        marks = ", ".join("?" * len(states))
        query = f"SELECT run_id FROM runs WHERE state IN ({marks}) ORDER BY number DESC LIMIT 1"
        row = self._opened().execute(query, [int(state) for state in states]).fetchone()
        return str(row[0]) if row else ""

    def _unfinished_withdrawals(self) -> list[str]:
        # Each withdrawal has one intent, and later one outcome.
        query = (
            "SELECT run_id FROM facts WHERE kind LIKE 'decertif%' GROUP BY run_id "
            "HAVING sum(kind = 'decertify_intended') > sum(kind != 'decertify_intended') ORDER BY run_id"
        )
        return [str(row[0]) for row in self._opened().execute(query)]

    def _run_that_certified(self, run_collection: str) -> str:
        query = (
            "SELECT run_id FROM facts WHERE kind = 'certify_intended' AND instr(body, ?) ORDER BY run_id DESC LIMIT 1"
        )
        row = self._opened().execute(query, (f'"output_collection":"{run_collection}"',)).fetchone()
        return str(row[0]) if row else ""

    def _open_run(self) -> str:
        known = {int(state): state for state in RunState}
        open_runs = []
        for run_id, state in self._opened().execute("SELECT run_id, state FROM runs ORDER BY number"):
            if state not in known:
                raise _damaged(self.path, f"run {run_id} in a state that does not exist ({state!r})")
            if known[state] in OPEN_RUN_STATES:
                open_runs.append(str(run_id))
        if len(open_runs) > 1:
            raise _damaged(self.path, f"more than one open run ({', '.join(open_runs)})")
        return open_runs[0] if open_runs else ""


def read_facts(connection: sqlite3.Connection, path: Path, run_id: str) -> list[Entry]:
    """Return the facts of a run in order; none if there is no such run.

    Raises
    ------
    JournalError
        If one of them can't be understood, or is missing.
    """
    query = "SELECT seq, at, body FROM facts WHERE run_id = ? ORDER BY seq"
    entries = []
    for seq, at, body in connection.execute(query, (run_id,)):
        try:
            entries.append(Entry(seq, float(at), fact_from_json(body)))
        except (ValueError, TypeError) as error:
            raise _damaged(path, f"run {run_id} with a fact (number {seq}) that can't be understood") from error
    if entries and [entry.seq for entry in entries] != list(range(1, len(entries) + 1)):
        raise _damaged(path, f"run {run_id} with facts missing between the first and the last")
    return entries


def _damaged(path: Path, what: str) -> JournalError:
    return JournalError(
        f"The journal {path} has {what}: it is damaged. Move the file away and keep it for the developers; a "
        "new one is made"
    )


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection):  # type: ignore[no-untyped-def]
    """Do everything within this, or nothing; nobody else writes meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _insert(connection: sqlite3.Connection, run_id: str, entries: Sequence[Entry]) -> None:
    # A write that took too long may have succeeded all the same, and is then repeated.
    connection.executemany(
        "INSERT OR IGNORE INTO facts VALUES (?, ?, ?, ?, ?)",
        [(run_id, entry.seq, entry.at, entry.fact.kind, fact_to_json(entry.fact)) for entry in entries],
    )
