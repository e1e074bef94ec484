# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may write a journal: one process at a time, which must say again and again that it is alive."""

from __future__ import annotations

import dataclasses
import os
import socket
import sqlite3
import uuid
from pathlib import Path

from ..clock import Clock
from ..errors import ComCamCalibError

__all__ = [
    "EXPIRY_S",
    "RENEW_INTERVAL_S",
    "JournalBusyError",
    "JournalError",
    "JournalLostError",
    "JournalOwnedError",
    "Owner",
]

EXPIRY_S = 15.0
"""An owner that has not renewed its row for so long is dead (seconds)."""

CLOCKS_DIFFER_S = 60.0
"""The clocks of two machines differ by less than this (seconds)."""

RENEW_INTERVAL_S = 5.0
"""Time between two renewals (seconds)."""

TABLE = """
CREATE TABLE IF NOT EXISTS owner (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    token TEXT NOT NULL, host TEXT NOT NULL, place TEXT NOT NULL, pid INTEGER NOT NULL, until REAL NOT NULL
)
"""


class JournalError(ComCamCalibError):
    """The journal can't be read or written."""


class JournalBusyError(JournalError):
    """Another connection has the journal's file locked, which should last for a moment only."""


class JournalOwnedError(JournalError):
    """Another process owns the journal; it can be taken over when that process does not renew its row any more."""


class JournalLostError(JournalError):
    """Another process has taken over the journal, so this one must do nothing more."""


@dataclasses.dataclass(frozen=True)
class _Row:
    """Who owns a journal, and until when (TAI unix seconds)."""

    token: str
    host: str
    place: str
    pid: int
    until: float


class Owner:
    """The ownership of a journal by this process; its methods run in the journal's thread, within a transaction.

    Parameters
    ----------
    path
        The journal, for messages.
    clock
        The clock.

    Notes
    -----
    Clocks of two machines differ, and a clock may be set back, so that a row may seem to be valid for hours, or to have
    expired although it was just renewed. So a row counts as expired if it was not renewed while this process watched it
    for `EXPIRY_S`. That need not be watched of a row that expired longer ago than clocks differ, nor of a process that
    is not among those of this machine any more.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._token = uuid.uuid4().hex
        # The last row of another process that this one has seen, and since when (seconds of `Clock.monotonic`).
        self._seen: tuple[_Row, float] | None = None

    def claim(self, connection: sqlite3.Connection, now_s: float) -> None:
        """Become the owner.

        Parameters
        ----------
        connection
            The open journal.
        now_s
            When that was asked for (seconds of `Clock.monotonic`, which is the event loop's and not known here).

        Raises
        ------
        JournalOwnedError
            If another process is.
        """
        connection.execute(TABLE)
        row = _read(connection)
        if row is not None and row.token != self._token and not self._is_dead(row, now_s):
            assert self._seen is not None
            left_s = self._seen[1] + EXPIRY_S - now_s
            raise JournalOwnedError(
                f"The journal {self._path} belongs to process {row.pid} on {row.host}, which has renewed that within "
                f"the last {EXPIRY_S:g} s. There can be only one ComCamCalib: stop that one, or use another "
                f"journal_path. If it is dead, this one takes over in {left_s:.0f} s"
            )
        until = self._clock.tai() + EXPIRY_S
        connection.execute(
            "INSERT OR REPLACE INTO owner VALUES (1, ?, ?, ?, ?, ?)",
            (self._token, socket.gethostname(), _place(), os.getpid(), until),
        )

    def renew(self, connection: sqlite3.Connection) -> None:
        """Stay the owner.

        Raises
        ------
        JournalLostError
            If another process has become it.
        """
        until = self._clock.tai() + EXPIRY_S
        cursor = connection.execute("UPDATE owner SET until = ? WHERE token = ?", (until, self._token))
        if cursor.rowcount != 1:
            row = _read(connection)
            who = f"process {row.pid} on {row.host} has taken it over" if row else "its owner was removed"
            raise JournalLostError(
                f"The journal {self._path} does not belong to this process any more: {who}, because this one did not "
                f"renew its row for {EXPIRY_S:g} s. This process does nothing more; stop it"
            )

    def release(self, connection: sqlite3.Connection) -> None:
        """Leave the journal to whoever wants it next."""
        connection.execute("DELETE FROM owner WHERE token = ?", (self._token,))

    def _is_dead(self, row: _Row, now_s: float) -> bool:
        if self._seen is None or self._seen[0] != row:
            self._seen = (row, now_s)
        long_ago = row.until + CLOCKS_DIFFER_S <= self._clock.tai()
        return long_ago or now_s - self._seen[1] >= EXPIRY_S or _has_ended(row)


def _read(connection: sqlite3.Connection) -> _Row | None:
    row = connection.execute("SELECT token, host, place, pid, until FROM owner").fetchone()
    return _Row(*row) if row else None


def _place() -> str:
    """Return what tells apart processes with the same number: boot and PID namespace (a container); "" if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _has_ended(row: _Row) -> bool:
    """Return whether it is certain that a process has ended, because it is not among those of this very place."""
    if not row.place or row.place != _place():
        return False
    if row.pid == os.getpid():
        return True  # this process has its number now
    try:
        os.kill(row.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
