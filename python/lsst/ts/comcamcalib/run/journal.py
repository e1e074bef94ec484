# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal: a record on disk of every accepted run.

SQLite with a write-ahead log and full synchronisation, so that everything written survives a power cut. One thread owns
the connection, because the event loop must not wait for a disk.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..enums import RunState
from ..errors import ComCamCalibError, ServiceError, UnreachableError
from ..services.worker_threads import WorkerThreads
from .states import OPEN_RUN_STATES

__all__ = ["Journal", "JournalError", "StoredRun"]

SCHEMA_VERSION = 1

# One write takes a few milliseconds. A disk that takes longer than this counts as broken for the moment; the record of
# the run tries again later. Leaving ENABLED may have to wait for one such write, and has 10 s for everything.
WRITE_LIMIT_S = 3.0

Result = TypeVar("Result")


class JournalError(ComCamCalibError):
    """The journal can't be read or written."""


@dataclasses.dataclass(frozen=True)
class StoredRun:
    """A run as the journal has it."""

    run_id: str
    state: RunState
    entries: str
    """All entries of the run's record, as JSON (see `lsst.ts.comcamcalib.run.log`)."""


class Journal:
    """The table of runs.

    Parameters
    ----------
    path
        The SQLite file; it and its folder are created if they do not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._thread = WorkerThreads("journal")
        self._hangs = False
        self._connection: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file, and create its table if the file is new.

        Raises
        ------
        JournalError
            If it can't be opened, or was written by a newer version of this package.
        """
        self._thread.start()
        await self._do("open", self._open)

    async def close(self) -> None:
        """Close the file; it may be closed twice."""
        try:
            if self._connection is not None:
                await self._do("close", self._close)
        except JournalError as error:
            # Everything written is already on the disk, so nothing depends on closing.
            logging.getLogger(__name__).warning("%s", error)
        finally:
            await self._thread.close(0.0 if self._hangs else WRITE_LIMIT_S)

    async def new_run(self, day_obs: int) -> str:
        """Return the identifier of the next run of a day, and reserve it in the journal.

        Parameters
        ----------
        day_obs
            Day of observation, YYYYMMDD.

        Returns
        -------
        run_id
            YYYYMMDD-NNN, counting from 001 each day.
        """
        return await self._do("give the next run id in", functools.partial(self._new_run, day_obs))

    async def write(self, run: StoredRun) -> None:
        """Store a run as it is now."""
        await self._do(f"write run {run.run_id} to", functools.partial(self._write, run))

    async def read(self, run_id: str) -> StoredRun | None:
        """Return a run, or None if there is none with this id; "" is the latest run that has entries."""
        return await self._do("read", functools.partial(self._read, run_id))

    async def open_runs(self) -> list[StoredRun]:
        """Return the runs that have not ended, oldest first.

        Raises
        ------
        JournalError
            If the state of any run is invalid, because that run may be open.
        """
        return await self._do("read the open runs of", self._open_runs)

    async def _do(self, what: str, function: Callable[[], Result]) -> Result:
        """Have the journal's thread do something, within a limit.

        While an earlier call hangs, this does not wait: a run writes often, and each write would take the whole limit.
        """
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
        self._hangs = False
        return result

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=WRITE_LIMIT_S / 2, check_same_thread=False)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise JournalError(
                f"The journal {self.path} is of version {version}, this program knows {SCHEMA_VERSION}: "
                "it was written by a newer release; run that one, or configure another journal_path"
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS runs "
                "(run_id TEXT PRIMARY KEY, state INTEGER NOT NULL, entries TEXT NOT NULL)"
            )
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise JournalError(f"The journal {self.path} is not open")
        return self._connection

    def _new_run(self, day_obs: int) -> str:
        with self._opened() as connection:
            # A process that does the same at this moment must not get the same number.
            connection.execute("BEGIN IMMEDIATE")
            latest = connection.execute(
                "SELECT max(CAST(substr(run_id, 10) AS INTEGER)) FROM runs WHERE run_id LIKE ?", (f"{day_obs}-%",)
            ).fetchone()[0]
            run_id = f"{day_obs}-{(latest or 0) + 1:03d}"
            connection.execute("INSERT INTO runs VALUES (?, ?, ?)", (run_id, RunState.ACCEPTED, json.dumps([])))
        return run_id

    def _write(self, run: StoredRun) -> None:
        with self._opened() as connection:
            cursor = connection.execute(
                "UPDATE runs SET state = ?, entries = ? WHERE run_id = ?", (run.state, run.entries, run.run_id)
            )
            if cursor.rowcount != 1:
                raise sqlite3.IntegrityError(f"it has no run {run.run_id}")

    def _read(self, run_id: str) -> StoredRun | None:
        # rowid is the order of acceptance.
        where, values = ("run_id = ?", (run_id,)) if run_id else ("entries != '[]' ORDER BY rowid DESC LIMIT 1", ())
        rows = self._opened().execute(f"SELECT run_id, state, entries FROM runs WHERE {where}", values).fetchall()
        return self._stored(*rows[0]) if rows else None

    def _open_runs(self) -> list[StoredRun]:
        ended = ", ".join(str(int(state)) for state in RunState if state not in OPEN_RUN_STATES)
        query = f"SELECT run_id, state, entries FROM runs WHERE state NOT IN ({ended}) ORDER BY rowid"
        return [self._stored(*row) for row in self._opened().execute(query).fetchall()]

    def _stored(self, run_id: object, state: object, entries: object) -> StoredRun:
        """Make a run from a row, with checks, because SQLite stores any value whatever the column's type."""
        known = isinstance(state, int) and state in {int(one) for one in RunState}
        if not known or not isinstance(state, int) or not isinstance(run_id, str) or not isinstance(entries, str):
            wrong = f"state {state!r}" if not known else "no text"
            raise JournalError(
                f"The journal {self.path} has run {run_id} with a state or entries that make no sense ({wrong}): it is "
                "damaged. Move the file away and keep it for the developers; a new one is made"
            )
        return StoredRun(run_id, RunState(state), entries)
