# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an error of the registry's database means: whether another try may help, and what to do.

Butler hands on the errors of SQLAlchemy, and these have those of the driver. They are recognized by the code that the
database gives (SQLSTATE, or SQLite's name of the error), so that neither SQLAlchemy nor a driver is imported here.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Iterator

from .server_text import shorten_middle

__all__ = ["DatabaseTrouble", "Trouble", "database_trouble"]

MAX_WORDS = 300
"""Longest text of a database in a sentence (characters)."""


class Trouble(enum.Enum):
    """Kinds of errors, by what another try may do."""

    LOST = enum.auto()
    """The connection broke, or none could be made. What the last statement did is not known."""
    BUSY = enum.auto()
    """The database did nothing, because somebody else was in the way for a moment."""
    CONFLICT = enum.auto()
    """The database did nothing, because somebody else has just written the same."""
    REFUSED = enum.auto()
    """The database will refuse it again, until a person changes something."""


@dataclasses.dataclass(frozen=True)
class DatabaseTrouble:
    """What an error means.

    Parameters
    ----------
    kind
        Whether another try may help.
    sentence
        What happened, in the database's words, and what to do; it follows "could not …: ", and has no full stop.
    """

    kind: Trouble
    sentence: str


@dataclasses.dataclass(frozen=True)
class _Meaning:
    kind: Trouble
    what: str
    remedy: str


_LOST = _Meaning(
    Trouble.LOST,
    "the connection to the registry's database is lost",
    "The CSC connects again by itself. If this goes on, check that the database server is up and can be reached",
)
_BUSY = _Meaning(
    Trouble.BUSY,
    "the registry's database was in use by somebody else",
    "Find out who holds the database, then try again",
)
_CONFLICT = _Meaning(
    Trouble.CONFLICT,
    "somebody else wrote the same into the registry's database at the same time",
    "Nothing was changed. Find out who else certifies there, then try again",
)
_FULL = _Meaning(
    Trouble.REFUSED, "there is no room for the registry's database", "Make room on the disk of the database"
)
_READ_ONLY = _Meaning(
    Trouble.REFUSED,
    "the registry's database can only be read",
    "Check that the repository's address names the primary server, and that its disk can be written to",
)
_LOGIN = _Meaning(
    Trouble.REFUSED,
    "the registry's database refused the login",
    "Check the host, the database and the user in the repository's butler.yaml and PGUSER, and the password in the "
    "file that PGPASSFILE or LSST_DB_AUTH names; that file must be readable by its owner alone",
)
_RIGHTS = _Meaning(
    Trouble.REFUSED,
    "the CSC's user has not the right to do that in the registry's database",
    "Have the right granted, or set PGUSER to a user that has it",
)
_LIMIT = _Meaning(
    Trouble.REFUSED,
    "the registry's database gave up because of a time limit of its own",
    "Find out what makes it slow, or have its statement_timeout raised",
)

# SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html; two characters stand for a whole class.
_BY_SQLSTATE = {
    "08": _LOST,
    "57P01": _LOST,  # admin_shutdown, also pg_terminate_backend
    "57P02": _LOST,  # crash_shutdown
    "57P03": _LOST,  # cannot_connect_now: it starts, or shuts down
    "57P05": _LOST,  # idle_session_timeout
    "25P03": _LOST,  # idle_in_transaction_session_timeout
    "53300": _LOST,  # too_many_connections
    "40": _BUSY,  # serialization_failure, deadlock_detected
    "55P03": _BUSY,  # lock_not_available
    "23505": _CONFLICT,  # unique_violation
    "23P01": _CONFLICT,  # exclusion_violation: overlapping validity ranges
    "53100": _FULL,
    "25006": _READ_ONLY,
    "28": _LOGIN,
    "3D000": _LOGIN,  # no such database
    "42501": _RIGHTS,
    "57014": _LIMIT,  # query_canceled
}

# https://www.sqlite.org/rescode.html; extended codes begin with the name of the primary one.
_BY_SQLITE = {
    "SQLITE_BUSY": _BUSY,
    "SQLITE_LOCKED": _BUSY,
    "SQLITE_CANTOPEN": _LOST,
    "SQLITE_PROTOCOL": _BUSY,
    "SQLITE_FULL": _FULL,
    "SQLITE_READONLY": _READ_ONLY,
}

# psycopg2 gives no code for what happens while a connection is made, only the text.
_LOGIN_REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|role \".*\" does not exist"
    r"|database \".*\" does not exist|is not permitted to log in"
    r"|could not translate host name \".*\" to address: (?!Temporary)"
)
_CONNECTION_CLASSES = ("OperationalError", "InterfaceError")


def database_trouble(error: BaseException | None) -> DatabaseTrouble | None:
    """Return what an error of Butler means; None if it does not come from the database.

    Parameters
    ----------
    error
        What Butler raised; its causes are looked at, too.
    """
    for one in _causes(error):
        if (meaning := _meaning(one)) is not None:
            words = shorten_middle(str(one).strip(), MAX_WORDS).rstrip(".")
            return DatabaseTrouble(meaning.kind, f"{meaning.what} ({words}). {meaning.remedy}")
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the errors behind an error, the driver's first, because it has the code."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        driver = getattr(error, "orig", None)  # what SQLAlchemy keeps the driver's error in
        error = driver if isinstance(driver, BaseException) else error.__cause__
    yield from reversed(chain)


def _meaning(error: BaseException) -> _Meaning | None:
    if isinstance(error, ConnectionError):
        return _LOST
    if type(error).__name__ == "ConflictingDefinitionError":  # Butler's own, where it looks before it writes
        return _CONFLICT
    module = type(error).__module__.partition(".")[0]
    if module == "sqlite3":
        name = getattr(error, "sqlite_errorname", "")
        return next((meaning for code, meaning in _BY_SQLITE.items() if name.startswith(code)), None)
    if module in ("psycopg2", "psycopg"):
        # The first is psycopg2's name of it, the second psycopg's.
        code = getattr(error, "pgcode", None) or getattr(error, "sqlstate", None) or ""
        if code:
            return _BY_SQLSTATE.get(code) or _BY_SQLSTATE.get(code[:2])
        if _LOGIN_REFUSED.search(str(error)):
            return _LOGIN
        return _LOST if _is_of_connection(error) else None
    if module == "sqlalchemy":
        # Its own errors, without one of the driver: a pool that had no connection in time, or had only dead ones.
        return _LOST if type(error).__name__ in ("DisconnectionError", "TimeoutError") else None
    return None


def _is_of_connection(error: BaseException) -> bool:
    return any(base.__name__ in _CONNECTION_CLASSES for base in type(error).__mro__)
