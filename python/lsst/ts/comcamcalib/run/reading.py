# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a journal without owning it: also while the CSC writes it, and from a copy of the file."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ..enums import RunState
from ..record.facts import Entry
from .journal import SCHEMA_VERSION, read_facts
from .owner import JournalError

__all__ = ["RunFound", "list_runs", "read_entries"]

BUSY_LIMIT_S = 10.0
"""Longest wait for a writer (seconds)."""


@dataclasses.dataclass(frozen=True)
class RunFound:
    """A run that a journal lists; the state is None if it makes no sense."""

    run_id: str
    state: RunState | None


def list_runs(path: Path) -> list[RunFound]:
    """Return all runs of a journal, the latest first.

    Raises
    ------
    JournalError
        If there is no such journal, or it can't be read.
    """
    known = {int(state): state for state in RunState}
    with _opened(path) as connection:
        rows = connection.execute("SELECT run_id, state FROM runs ORDER BY number DESC").fetchall()
    return [RunFound(str(run_id), known.get(state)) for run_id, state in rows]


def read_entries(path: Path, run_id: str) -> list[Entry]:
    """Return the facts of a run in order.

    Raises
    ------
    JournalError
        If there is no such journal or run, or it can't be read.
    """
    with _opened(path) as connection:
        entries = read_facts(connection, path, run_id)
        if entries:
            return entries
        last = connection.execute("SELECT run_id FROM runs ORDER BY number DESC LIMIT 1").fetchone()
    latest = f"its latest is {last[0]}" if last else "it has none"
    raise JournalError(f"The journal {path} has no run {run_id}; {latest}")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise JournalError(f"There is no journal {path}")
    try:
        # A journal on a disk that is read-only can't have the file by which readers and writers find each other.
        connection = _connect(path, "mode=ro") or _connect(path, "mode=ro&immutable=1")
        if connection is None:
            raise JournalError(f"The journal {path} can't be opened; look at its permissions")
        with contextlib.closing(connection):
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != SCHEMA_VERSION:
                raise JournalError(
                    f"The journal {path} is of version {version}, this program knows {SCHEMA_VERSION}: it is one of "
                    "another release, or no journal"
                )
            yield connection
    except sqlite3.Error as error:
        raise JournalError(f"The journal {path} can't be read: {error}") from error


def _connect(path: Path, how: str) -> sqlite3.Connection | None:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=BUSY_LIMIT_S)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        return None
    return connection
