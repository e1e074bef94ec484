# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of the journal: tables, and what is read and written in them; blocks, for the journal's thread.

Each write checks, in the same transaction, that this process still owns the journal (see
`lsst.ts.comcamcalib.run.owner`).
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from ..clock import Clock
from ..enums import RunState
from ..record.facts import Entry, RunAccepted, fact_from_json, fact_to_json
from ..record.history import OPEN_RUN_STATES
from . import judged, measurements
from .owner import JournalError, Owner

__all__ = ["SCHEMA_VERSION", "JournalFile", "no_such_run", "read_facts"]

SCHEMA_VERSION = 2

TABLES = """
CREATE TABLE IF NOT EXISTS runs (number INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, state INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS facts (
    run_id TEXT NOT NULL, seq INTEGER NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (run_id, seq)
);
"""
# A body can have a megabyte of measurements. So facts are found in indexes without reading others: by run and number,
# and by kind. (Without rowid, SQLite would compare whole facts to find one; journals that have it are only slower.)
INDEX = "CREATE INDEX IF NOT EXISTS kinds ON facts (kind, run_id)"

DERIVED = frozenset({"kinds", "measurements", "judged"})
"""What is made from the facts if it is not there."""

WITHDRAWING = "('decertify_intended', 'decertified', 'decertify_absent')"


class JournalFile:
    """The SQLite file with the facts of all runs, and its owner, this process.

    Every method may also raise ``sqlite3.Error`` and ``OSError``.

    Parameters
    ----------
    path
        The file; it and its folder are created if they do not exist.
    clock
        The clock.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._owner = Owner(path, clock)
        self.connection: sqlite3.Connection | None = None
        """The open file; None: it is not open."""
        self.complete = True
        """Whether the open file has all that is made from the facts; that of an earlier release may lack some of it."""

    def open(self, now_s: float, busy_limit_s: float, given_up: threading.Event) -> None:
        """Open the file, create its tables if it is new, and become its owner.

        Parameters
        ----------
        now_s
            When that was asked for (seconds of `Clock.monotonic`).
        busy_limit_s
            Longest wait for another writer (seconds), from now on.
        given_up
            Set when nothing waits for this any more; then the file is not taken, or given back.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self._path, timeout=busy_limit_s, check_same_thread=False, isolation_level=None)
        try:
            self._prepare(connection, now_s, given_up)
        except BaseException:
            connection.close()
            raise
        self.connection = connection
        if given_up.is_set():
            self.close()

    def _prepare(self, connection: sqlite3.Connection, now_s: float, given_up: threading.Event) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 1:
            raise JournalError(
                f"The journal {self._path} was written by a release before runs could be resumed, and can't be read by "
                "this one. Move the file away, and keep it: the earlier release can still show its runs. A new one is "
                "made"
            )
        if version > SCHEMA_VERSION:
            raise JournalError(
                f"The journal {self._path} is of version {version}, this program knows {SCHEMA_VERSION}: "
                "it was written by a newer release; run that one, or configure another journal_path"
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        with _transaction(connection):
            if given_up.is_set():
                raise JournalError(f"Nothing waits any more for the journal {self._path} to be opened")
            self._owner.claim(connection, now_s)
            for statement in (*TABLES.split(";"), f"PRAGMA user_version = {SCHEMA_VERSION}"):
                connection.execute(statement)
            if version == 0:  # a new file
                _derive(connection)
            self.complete = {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master")} >= DERIVED

    def make_complete(self, given_up: threading.Event) -> None:
        """Make from the facts what is lacking, all or nothing; if that fails the file is given back.

        Parameters
        ----------
        given_up
            Set when nothing waits for this any more; then the file is given back, too.
        """
        try:
            with _transaction(self.opened()) as connection:
                self._owner.renew(connection)
                _derive(connection)
                self._owner.renew(connection)  # nobody else could write meanwhile, however long it took
            self.complete = True
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self.close()
            raise
        if given_up.is_set():
            self.close()

    def close(self) -> None:
        """Give up the ownership and close the file, unless that is done."""
        connection, self.connection = self.connection, None
        if connection is not None:
            try:
                with _transaction(connection):
                    self._owner.release(connection)
            finally:
                connection.close()

    def opened(self) -> sqlite3.Connection:
        """Return the connection; an error if the file is not open."""
        if self.connection is None:
            raise JournalError(f"The journal {self._path} is not open")
        return self.connection

    def renew(self) -> None:
        """Stay the owner."""
        with _transaction(self.opened()) as connection:
            self._owner.renew(connection)

    def begin(self, day_obs: int, at: float, accept: Callable[[str], RunAccepted]) -> Entry:
        """Give a new run the next identifier of its day; see `Journal.begin`."""
        with _transaction(self.opened()) as connection:
            self._owner.renew(connection)
            if run_id := self.open_run():
                raise JournalError(f"The journal {self._path} has run {run_id}, which is still open")
            number = "max(CAST(substr(run_id, 10) AS INTEGER))"
            query = f"SELECT {number} FROM runs WHERE run_id LIKE ?"
            latest = connection.execute(query, (f"{day_obs}-%",)).fetchone()[0]
            run_id = f"{day_obs}-{(latest or 0) + 1:03d}"
            entry = Entry(1, at, accept(run_id))
            connection.execute("INSERT INTO runs (run_id, state) VALUES (?, ?)", (run_id, RunState.ACCEPTED))
            _insert(connection, run_id, [entry])
        return entry

    def append(self, run_id: str, entries: Sequence[Entry], state: RunState) -> None:
        """Append facts of a run; see `Journal.append`."""
        with _transaction(self.opened()) as connection:
            self._owner.renew(connection)
            _insert(connection, run_id, entries)
            measurements.insert_measurements(connection, run_id, entries)
            judged.note_judgements(connection, run_id, entries)
            cursor = connection.execute("UPDATE runs SET state = ? WHERE run_id = ?", (state, run_id))
            if cursor.rowcount != 1:
                raise sqlite3.IntegrityError(f"it has no run {run_id}")

    def read(self, run_id: str) -> list[Entry]:
        """Return the facts of a run in order; see `Journal.read`."""
        return read_facts(self.opened(), self._path, run_id)

    def latest(self, states: Collection[RunState]) -> str:
        """Return the latest run that is in one of some states; see `Journal.latest`."""
        marks = ", ".join("?" * len(states))
        query = f"SELECT run_id FROM runs WHERE state IN ({marks}) ORDER BY number DESC LIMIT 1"
        row = self.opened().execute(query, [int(state) for state in states]).fetchone()
        return str(row[0]) if row else ""

    def unfinished_withdrawals(self) -> list[str]:
        """Return the runs with an unfinished withdrawal; see `Journal.unfinished_withdrawals`."""
        # Each withdrawal has one intent, and later one outcome.
        query = (
            f"SELECT run_id FROM facts WHERE kind IN {WITHDRAWING} GROUP BY run_id "
            "HAVING sum(kind = 'decertify_intended') > sum(kind != 'decertify_intended') ORDER BY run_id"
        )
        return [str(row[0]) for row in self.opened().execute(query)]

    def decided_since_report(self) -> list[str]:
        """Return the runs with a verdict accepted, or something withdrawn, after their latest report or without one."""
        query = (
            "SELECT DISTINCT run_id FROM facts AS done WHERE kind IN ('decertified', 'verdict_accepted') AND NOT "
            "EXISTS (SELECT 1 FROM facts AS later WHERE later.run_id = done.run_id AND later.seq > done.seq "
            "AND later.kind = 'report_written')"
        )
        return [str(row[0]) for row in self.opened().execute(query)]

    def run_that_certified(self, run_collection: str) -> str:
        """Return the run that certified datasets; see `Journal.run_that_certified`."""
        query = (
            "SELECT run_id FROM facts WHERE kind = 'certify_intended' AND instr(body, ?) ORDER BY run_id DESC LIMIT 1"
        )
        row = self.opened().execute(query, (f'"output_collection":"{run_collection}"',)).fetchone()
        return str(row[0]) if row else ""

    def open_run(self) -> str:
        """Return the run that has not ended; see `Journal.open_run`."""
        known = {int(state): state for state in RunState}
        open_runs = []
        for run_id, state in self.opened().execute("SELECT run_id, state FROM runs ORDER BY number"):
            if state not in known:
                raise _damaged(self._path, f"run {run_id} in a state that does not exist ({state!r})")
            if known[state] in OPEN_RUN_STATES:
                open_runs.append(str(run_id))
        if len(open_runs) > 1:
            raise _damaged(self._path, f"more than one open run ({', '.join(open_runs)})")
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


def no_such_run(run_id: str, latest: str, where: str = "") -> str:
    """Return the sentence about a run that is not in the journal, without its full stop.

    Parameters
    ----------
    run_id
        The run that somebody named.
    latest
        The latest run that there is; "" if there is none.
    where
        Words about the journal, such as " in the journal /j"; "" where there is only one.
    """
    others = f"the latest is {latest}, and `comcamcalib runs` lists all" if latest else "there has been no run yet"
    return f"There is no run {run_id}{where}; {others}"


def _damaged(path: Path, what: str) -> JournalError:
    return JournalError(
        f"The journal {path} has {what}: it is damaged. Move the file away and keep it for the developers; a "
        "new one is made"
    )


def _derive(connection: sqlite3.Connection) -> None:
    """Make from the facts what is not there; see `DERIVED`."""
    connection.execute(INDEX)
    measurements.make_table(connection)
    judged.make_table(connection)


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
