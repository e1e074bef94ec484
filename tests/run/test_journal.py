# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal keeps what it was given, counts runs, and says in a sentence what is wrong with it."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.run import journal as journal_module
from lsst.ts.comcamcalib.run.journal import Journal, JournalError, StoredRun

DAY = 20261122


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "journal.sqlite"


@pytest.fixture
def foreign_file(path: Path) -> Path:
    """A file that is no journal, at the journal's place."""
    path.parent.mkdir()
    path.write_text("This is a letter to my aunt. " * 100)
    return path


@pytest.fixture
def newer_journal(path: Path) -> Path:
    """A journal that a newer release has written."""
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    return path


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[Journal]:
    journal = Journal(path)
    await journal.open()
    yield journal
    await journal.close()


def pragma(journal: Journal, name: str) -> object:
    assert journal._connection is not None
    return journal._connection.execute(f"PRAGMA {name}").fetchone()[0]


async def test_every_write_is_on_the_disk_before_it_is_done(journal: Journal) -> None:
    assert pragma(journal, "journal_mode") == "wal"
    assert pragma(journal, "synchronous") == 2  # FULL


async def test_runs_are_counted_from_001_each_day(journal: Journal) -> None:
    assert [await journal.new_run(DAY) for _ in range(3)] == ["20261122-001", "20261122-002", "20261122-003"]
    assert await journal.new_run(DAY + 1) == "20261123-001"
    assert await journal.new_run(DAY) == "20261122-004"


async def test_counter_goes_on_after_999(journal: Journal) -> None:
    assert journal._connection is not None
    with journal._connection as connection:
        connection.execute("INSERT INTO runs VALUES ('20261122-999', 4, '[]')")
    assert [await journal.new_run(DAY) for _ in range(3)] == ["20261122-1000", "20261122-1001", "20261122-1002"]


async def test_another_process_gets_other_numbers(journal: Journal, path: Path) -> None:
    """Both count as fast as they can, on the same file."""
    script = (
        "import asyncio, sys; from pathlib import Path; from lsst.ts.comcamcalib.run.journal import Journal\n"
        "async def count():\n"
        "    journal = Journal(Path(sys.argv[1])); await journal.open()\n"
        "    print(*[await journal.new_run(20261122) for _ in range(20)])\n"
        "    await journal.close()\n"
        "asyncio.run(count())\n"
    )
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(path), stdout=subprocess.PIPE)
    reading = asyncio.create_task(other.communicate())
    own = []
    while not reading.done():
        own.append(await journal.new_run(DAY))
        # SQLite's locks are not fair: whoever never rests keeps the other out.
        await asyncio.wait([reading], timeout=0.02)
    theirs = (await reading)[0].decode().split()
    assert len(theirs) == 20
    assert sorted([*own, *theirs]) == [f"20261122-{number:03d}" for number in range(1, len(own) + 21)]


async def test_two_that_look_at_the_same_time_do_not_get_the_same_number(journal: Journal, path: Path) -> None:
    """The other one has looked, and has not written yet: ours must wait for it."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    waiting = asyncio.create_task(journal.new_run(DAY))
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done
    other.execute("INSERT INTO runs VALUES ('20261122-001', 1, '[]')")
    other.execute("COMMIT")
    other.close()
    assert await waiting == "20261122-002"


async def test_run_is_read_as_it_was_written_also_after_reopening(journal: Journal, path: Path) -> None:
    run_id = await journal.new_run(DAY)
    await journal.write(StoredRun(run_id, RunState.RUNNING, '[{"entry": "Alarms"}]'))
    stored = StoredRun(run_id, RunState.FAILED, '[{"entry": "é"}]')
    await journal.write(stored)
    again = Journal(path)
    await again.open()
    assert await again.read(run_id) == stored == await again.read("")
    assert await again.read("20261122-002") is None
    await again.close()


async def test_latest_run_is_the_last_one_of_which_anything_is_known(journal: Journal) -> None:
    assert await journal.read("") is None
    first, second = await journal.new_run(DAY + 1), await journal.new_run(DAY)
    for run_id in (second, first):
        await journal.write(StoredRun(run_id, RunState.FAILED, "[{}]"))
    await journal.new_run(DAY + 2)  # and then the process died
    latest = await journal.read("")
    assert latest is not None
    assert latest.run_id == second


async def test_open_runs_are_those_that_have_not_ended_oldest_first(journal: Journal) -> None:
    runs = {await journal.new_run(DAY): state for state in RunState}
    for run_id, state in runs.items():
        await journal.write(StoredRun(run_id, state, "[{}]"))
    assert [run.state.name for run in await journal.open_runs()] == ["ACCEPTED", "RUNNING", "ABORTING", "INTERRUPTED"]


async def test_run_that_was_never_begun_can_not_be_written(journal: Journal) -> None:
    with pytest.raises(JournalError, match=r"Could not write run 20261122-007 to the journal .*: it has no run"):
        await journal.write(StoredRun("20261122-007", RunState.RUNNING, "[]"))


async def test_journal_of_a_newer_release_is_refused_and_left_as_it_is(newer_journal: Path) -> None:
    journal = Journal(newer_journal)
    with pytest.raises(JournalError, match=r"is of version 99, this program knows 1: .*newer release"):
        await journal.open()
    await journal.close()
    with sqlite3.connect(newer_journal) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (99,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("SELECT * FROM sqlite_master").fetchall() == []


async def test_file_that_is_no_journal_is_refused(foreign_file: Path) -> None:
    journal = Journal(foreign_file)
    with pytest.raises(JournalError, match=r"Could not open the journal .*journal.sqlite: file is not a database"):
        await journal.open()
    await journal.close()


async def test_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = Journal(tmp_path / "file" / "journal.sqlite")
    with pytest.raises(JournalError, match="Could not open the journal"):
        await journal.open()
    await journal.close()


async def test_folder_that_can_not_be_written_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root may write everywhere, SQLite is made to open the file for reading only."""
    path.parent.mkdir()
    sqlite3.connect(path).execute("CREATE TABLE other (x)").connection.close()

    def connect(name: Path, **options: object) -> sqlite3.Connection:
        return sqlite3.Connection(f"file:{name}?mode=ro", uri=True)

    monkeypatch.setattr(journal_module.sqlite3, "connect", connect)
    journal = Journal(path)
    with pytest.raises(JournalError, match="attempt to write a readonly database"):
        await journal.open()
    await journal.close()


async def test_full_disk_is_told_and_what_was_written_before_stays(journal: Journal) -> None:
    run_id = await journal.new_run(DAY)
    stored = StoredRun(run_id, RunState.RUNNING, "[{}]")
    await journal.write(stored)
    assert journal._connection is not None
    journal._connection.execute(f"PRAGMA max_page_count = {pragma(journal, 'page_count')}")
    with pytest.raises(JournalError, match="database or disk is full"):
        await journal.write(StoredRun(run_id, RunState.RUNNING, "x" * 100_000))
    assert await journal.read(run_id) == stored


@pytest.fixture
async def hanging_disk(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[threading.Event]:
    """A disk on which looking for open runs hangs until the event is set."""
    released = threading.Event()
    monkeypatch.setattr(journal_module, "WRITE_LIMIT_S", 0.2)
    monkeypatch.setattr(journal, "_open_runs", lambda: released.wait(20) and [])
    yield released
    released.set()


async def test_disk_that_hangs_is_given_up_after_a_limit(journal: Journal, hanging_disk: threading.Event) -> None:
    with pytest.raises(JournalError, match=r"Could not read the open runs of the journal .*: no answer within 0.2 s"):
        await journal.open_runs()


async def test_while_it_hangs_nothing_else_waits_and_afterwards_all_is_well(
    journal: Journal, hanging_disk: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(JournalError):
        await journal.open_runs()
    monkeypatch.setattr(journal_module, "WRITE_LIMIT_S", 20.0)
    async with asyncio.timeout(10):
        for _ in range(3):
            with pytest.raises(
                JournalError, match=r"the journal .*: an earlier call, to read the open runs of it, hangs"
            ):
                await journal.new_run(DAY)
        hanging_disk.set()
        while journal._thread.doing:  # noqa: ASYNC110  another thread tells nobody
            await asyncio.sleep(0.01)
        assert await journal.new_run(DAY) == "20261122-001", "what was given up before it began is not done later"


async def test_a_hanging_disk_does_not_hold_up_closing(
    journal: Journal, hanging_disk: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(JournalError):
        await journal.open_runs()
    monkeypatch.setattr(journal_module, "WRITE_LIMIT_S", 20.0)
    async with asyncio.timeout(10):
        await journal.close()
    assert "Could not close the journal" in caplog.text


async def test_nothing_is_written_after_closing(path: Path) -> None:
    journal = Journal(path)
    await journal.open()
    await journal.close()
    with pytest.raises(JournalError, match="Could not give the next run id in the journal"):
        await journal.new_run(DAY)


async def test_journal_that_was_not_opened_says_so(path: Path) -> None:
    journal = Journal(path)
    with pytest.raises(JournalError, match="is not open"):
        await journal.new_run(DAY)
    await journal.close()


async def test_journal_in_memory_works_too() -> None:
    journal = Journal(Path(":memory:"))
    await journal.open()
    assert await journal.new_run(DAY) == "20261122-001"
    await journal.close()
