# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the journal of an earlier release lacks is made from its facts when it is opened, however long that takes."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.record.facts import Measured, Measurement
from lsst.ts.comcamcalib.run import journal as journal_module
from lsst.ts.comcamcalib.run import journal_file, measurements
from lsst.ts.comcamcalib.run.journal import Journal
from lsst.ts.comcamcalib.run.owner import JournalError
from support.records import write_run

GAIN = Measured(
    calib_type=CalibType.PTC,
    physical_filter="",
    attempt=1,
    values=(Measurement(detector=0, amplifier="C10", quantity="gain", value=1.7, unit="electron/adu"),),
)


def make_journal(path: Path) -> Journal:
    return Journal(path, Clock(), lambda sentence: None)


@pytest.fixture
async def old(tmp_path: Path) -> Path:
    """A journal with a run that measured something, as a release without tables and index of its own left it."""
    path = tmp_path / "journal.sqlite"
    journal = make_journal(path)
    await journal.open()
    await write_run(journal, GAIN)
    await journal.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for one in ("TABLE measurements", "TABLE judged", "INDEX kinds"):
            connection.execute(f"DROP {one}")
    return path


def names(path: Path) -> set[str]:
    """Return what the file has."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def slow_for(monkeypatch: pytest.MonkeyPatch, released: threading.Event) -> threading.Event:
    """Let the work wait for an event, and writes have little time; return what is set when it has begun."""
    begun, make_table = threading.Event(), measurements.make_table

    def slow(connection: sqlite3.Connection) -> None:
        make_table(connection)
        begun.set()
        assert released.wait(20)

    monkeypatch.setattr(journal_file.measurements, "make_table", slow)
    monkeypatch.setattr(journal_module, "WRITE_LIMIT_S", 0.5)
    return begun


async def test_it_may_take_longer_than_a_write_and_is_done_once(
    old: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    released = threading.Event()
    slow_for(monkeypatch, released)
    journal = make_journal(old)
    asyncio.get_running_loop().call_later(2 * journal_module.WRITE_LIMIT_S, released.set)
    await journal.open()
    assert names(old) >= journal_file.DERIVED
    with contextlib.closing(sqlite3.connect(old)) as connection:
        assert list(measurements.series(connection, CalibType.PTC, "", 10)) == [(0, "C10", "gain")]
    await journal.close()
    monkeypatch.undo()
    again = make_journal(old)
    await again.open()
    await again.close()
    assert caplog.text.count("is being completed for this release") == 1


async def test_a_new_journal_has_all_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    journal = make_journal(tmp_path / "journal.sqlite")
    await journal.open()
    await journal.close()
    assert names(tmp_path / "journal.sqlite") >= journal_file.DERIVED and "completed" not in caplog.text


async def test_what_cannot_be_made_is_a_sentence_and_the_next_process_can_try(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(journal_file.judged, "make_table", full)
    with pytest.raises(JournalError, match=r"Could not complete the journal .*: database or disk is full"):
        await make_journal(old).open()
    assert names(old).isdisjoint(journal_file.DERIVED), "all or nothing"
    monkeypatch.undo()
    journal = make_journal(old)
    await journal.open()
    await journal.close()


async def test_after_a_call_that_was_given_up_the_journal_is_free_and_complete(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    begun = slow_for(monkeypatch, released)
    first = make_journal(old)
    opening = asyncio.create_task(first.open())
    await asyncio.to_thread(begun.wait, 20)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    released.set()
    while first._thread.doing:  # noqa: ASYNC110  another thread wakes nobody
        await asyncio.sleep(0.01)
    second = make_journal(old)
    await second.open()
    await second.close()
    assert first._file.connection is None and names(old) >= journal_file.DERIVED


async def test_nobody_else_takes_it_over_while_it_is_completed(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it takes longer than an owner may be silent."""
    released = threading.Event()
    begun = slow_for(monkeypatch, released)
    first, second = make_journal(old), make_journal(old)
    opening = asyncio.create_task(first.open())
    await asyncio.to_thread(begun.wait, 20)
    with pytest.raises(JournalError, match="database is locked"):
        await second.open()
    released.set()
    await opening
    await first.confirm()
    await first.close()
