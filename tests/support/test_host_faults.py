# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The faults of the host do what they say to an SQLite database that is used as the journal is."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .host_faults import (
    CSC_WITH_A_CLOCK,
    damage,
    file_size_limit,
    fill,
    locked,
    paused,
    process_state,
    read_only,
    small_disk,
)

PAYLOAD = "x" * 4000


@contextlib.contextmanager
def database(path: Path, mode: str = "WAL") -> Iterator[sqlite3.Connection]:
    """A database with one row, open."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0.1)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS facts (body TEXT)")
        connection.execute("INSERT INTO facts VALUES (?)", [PAYLOAD])
        yield connection


def write(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO facts VALUES (?)", [PAYLOAD])


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT COUNT(*) FROM facts").fetchone()[0])


def write_until_refused(connection: sqlite3.Connection) -> str:
    for _ in range(10_000):
        try:
            write(connection)
        except sqlite3.OperationalError as error:
            return str(error)
    raise AssertionError("nothing refused it")


def test_full_disk_refuses_and_takes_writes_again_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1 << 20) as disk, database(disk / "journal") as connection:
        filling = fill(disk)
        assert write_until_refused(connection) == "database or disk is full"
        before = count(connection)
        filling.unlink()
        write(connection)
        assert count(connection) == before + 1
    assert list((tmp_path / "disk").iterdir()) == [], "the disk is gone"


def test_limit_of_file_sizes_refuses_and_ends(tmp_path: Path) -> None:
    with database(tmp_path / "journal") as connection:
        with file_size_limit(200_000):
            assert "disk" in write_until_refused(connection)
        before = count(connection)
        write(connection)
        assert count(connection) == before + 1


def test_read_only_folder_refuses_whoever_opens_a_database_there(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    folder.mkdir()
    with database(folder / "journal", "DELETE"):
        pass
    with read_only(folder):
        with contextlib.closing(sqlite3.connect(folder / "journal", isolation_level=None)) as connection:
            assert count(connection) == 1
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                write(connection)
        with pytest.raises(OSError, match=r"Read-only|Permission"):
            (folder / "other").touch()
    (folder / "other").touch()


@pytest.mark.parametrize(("mode", "can_read"), [("WAL", True), ("DELETE", False)])
def test_locked_database_refuses_writes_until_the_lock_is_gone(tmp_path: Path, mode: str, can_read: bool) -> None:
    with database(tmp_path / "journal", mode) as connection:
        with locked(tmp_path / "journal"):
            for act in (write,) if can_read else (write, count):
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    act(connection)
            if can_read:
                assert count(connection) == 1
        write(connection)
        assert count(connection) == 2


def test_damaged_database_is_recognised(tmp_path: Path) -> None:
    with database(tmp_path / "journal"):
        pass
    damage(tmp_path / "journal")
    with contextlib.closing(sqlite3.connect(tmp_path / "journal")) as connection, pytest.raises(sqlite3.DatabaseError):
        count(connection)


@pytest.fixture
def run_python() -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start programs, and end them after the test."""
    with contextlib.ExitStack() as stack:

        def start(program: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-u", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


def ask(process: subprocess.Popen[str]) -> str:
    """Let an echoing program do its next step."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_paused_process_does_nothing_and_goes_on(run_python: Callable[[str], subprocess.Popen[str]]) -> None:
    process = run_python("import sys\nfor line in sys.stdin: print('here')")
    assert ask(process) == "here"
    assert process.stdin is not None and process.stdout is not None
    with paused(process.pid):
        assert process_state(process.pid) == "T"
        process.stdin.write("\n")
        process.stdin.flush()
        assert select.select([process.stdout], [], [], 0.3) == ([], [], [])
    assert process.stdout.readline().strip() == "here"


def test_clock_goes_back_by_two_hours_at_a_signal(run_python: Callable[[str], subprocess.Popen[str]]) -> None:
    program = CSC_WITH_A_CLOCK.split("from lsst", maxsplit=1)[0]
    process = run_python(program + "import sys\nfor line in sys.stdin: print(time.time(), time.monotonic())")
    before, before_monotonic = map(float, ask(process).split())
    os.kill(process.pid, signal.SIGUSR1)
    after, after_monotonic = map(float, ask(process).split())
    assert -7200 <= after - before < -7100
    assert 0 <= after_monotonic - before_monotonic < 100
