# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What errors of databases mean; those of PostgreSQL that need a server are in test_butler_on_postgresql."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.services.database_errors import MAX_WORDS, Trouble, database_trouble
from sqlalchemy import exc


def driver_error(name: str, base: str = "OperationalError", **codes: str) -> Exception:
    """Return an error as a driver of PostgreSQL makes it: psycopg2 has ``pgcode``, psycopg has ``sqlstate``."""
    bases = type(base, (Exception,), {"__module__": "psycopg2"})
    return type("Error", (bases,), {"__module__": "psycopg2.errors", **codes})(name)


def from_sqlite(cause: Callable[[Path], None], path: Path) -> Exception:
    """Return SQLAlchemy's error for what SQLite raises."""
    with pytest.raises(sqlite3.Error) as caught:
        cause(path)
    return exc.OperationalError("INSERT INTO t VALUES (:secret)", {"secret": "s3cr3t"}, caught.value)


def write_into_read_only(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (x)")
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.execute("INSERT INTO t VALUES (1)")


def write_beyond_the_end(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA max_page_count = 2")
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES (zeroblob(100000))")


def open_what_is_not_there(path: Path) -> None:
    sqlite3.connect(path / "none" / "gen3.sqlite3")


def write_beside_another(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as one, contextlib.closing(sqlite3.connect(path, timeout=0)) as two:
        one.execute("CREATE TABLE t (x)")
        one.execute("BEGIN EXCLUSIVE")
        two.execute("INSERT INTO t VALUES (1)")


@pytest.mark.parametrize(
    ("cause", "kind", "words"),
    [
        (write_into_read_only, Trouble.REFUSED, "can only be read (attempt to write a readonly database)"),
        (write_beyond_the_end, Trouble.REFUSED, "no room for the registry's database (database or disk is full)"),
        (open_what_is_not_there, Trouble.LOST, "is lost (unable to open database file)"),
        (write_beside_another, Trouble.BUSY, "in use by somebody else (database is locked)"),
    ],
)
def test_errors_of_sqlite(tmp_path: Path, cause: Callable[[Path], None], kind: Trouble, words: str) -> None:
    trouble = database_trouble(from_sqlite(cause, tmp_path / "gen3.sqlite3"))
    assert trouble is not None and trouble.kind is kind
    assert words in trouble.sentence
    assert "s3cr3t" not in trouble.sentence and "INSERT" not in trouble.sentence


@pytest.mark.parametrize("attribute", ["pgcode", "sqlstate"])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("57P01", Trouble.LOST),
        ("08006", Trouble.LOST),
        ("53300", Trouble.LOST),
        ("40001", Trouble.BUSY),
        ("40P01", Trouble.BUSY),
        ("55P03", Trouble.BUSY),
        ("23P01", Trouble.CONFLICT),
        ("28P01", Trouble.REFUSED),
        ("53100", Trouble.REFUSED),
        ("57014", Trouble.REFUSED),
    ],
)
def test_codes_of_postgresql(attribute: str, code: str, kind: Trouble) -> None:
    error = exc.DBAPIError("SELECT 1", {}, driver_error("as it says", **{attribute: code}))
    trouble = database_trouble(error)
    assert trouble is not None and trouble.kind is kind and "(as it says)" in trouble.sentence


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('connection to server at "db" (10.0.0.1), port 5432 failed: Connection refused', Trouble.LOST),
        ("server closed the connection unexpectedly", Trouble.LOST),
        ('connection to server at "db" failed: FATAL:  the database system is starting up', Trouble.LOST),
        ('connection to server at "db" failed: FATAL:  password authentication failed for user "o"', Trouble.REFUSED),
        ('connection to server at "db" failed: fe_sendauth: no password supplied', Trouble.REFUSED),
        ('connection to server at "db" failed: FATAL:  no pg_hba.conf entry for host "10.0.0.2"', Trouble.REFUSED),
        ('could not translate host name "db" to address: Temporary failure in name resolution', Trouble.LOST),
        ('could not translate host name "usdf-butler" to address: Name or service not known', Trouble.REFUSED),
    ],
)
def test_a_connection_that_can_not_be_made_has_no_code(text: str, kind: Trouble) -> None:
    trouble = database_trouble(driver_error(text))
    assert trouble is not None and trouble.kind is kind


def test_the_cause_behind_butlers_own_error_counts() -> None:
    conflict = type("ConflictingDefinitionError", (Exception,), {})("Validity range conflict")
    trouble = database_trouble(conflict)
    assert trouble is not None and trouble.kind is Trouble.CONFLICT
    failed = RuntimeError("Butler failed")
    failed.__cause__ = exc.InternalError("SELECT 1", {}, driver_error("as it says", "InternalError", pgcode="25006"))
    trouble = database_trouble(failed)
    assert trouble is not None and trouble.kind is Trouble.REFUSED and "can only be read" in trouble.sentence


@pytest.mark.parametrize(
    "error",
    [
        None,
        ValueError("no such dimension"),
        sqlite3.ProgrammingError("Cannot operate on a closed database."),
        driver_error("syntax error", "ProgrammingError", pgcode="42601"),
        exc.ArgumentError("no such thing"),
    ],
)
def test_what_is_not_the_databases_fault_is_left_alone(error: Exception | None) -> None:
    assert database_trouble(error) is None


def test_a_chain_that_bites_its_tail_has_an_end() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert database_trouble(one) is None


@given(st.text(), st.text(alphabet="0123456789ABCP", max_size=6))
def test_any_text_and_code_give_one_short_line(text: str, code: str) -> None:
    trouble = database_trouble(driver_error(text, pgcode=code))
    if trouble is not None:
        assert len(trouble.sentence) < MAX_WORDS + 400 and len(trouble.sentence.splitlines()) == 1
