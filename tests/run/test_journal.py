# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal keeps the facts that it was given, counts runs, and says in a sentence what is wrong with it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.record.facts import Decision, Entry, RunAccepted
from lsst.ts.comcamcalib.run import journal as journal_module
from lsst.ts.comcamcalib.run import journal_file
from lsst.ts.comcamcalib.run.journal import Journal
from lsst.ts.comcamcalib.run.journal_file import JournalFile
from lsst.ts.comcamcalib.run.owner import JournalError
from support.plans import make_plan

DAY = 20261122
SOMEBODY = Decision(what="resume", who="op@console", why="é")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "journal.sqlite"


@pytest.fixture
def foreign_file(path: Path) -> Path:
    """A file that is no journal, at the journal's place."""
    path.parent.mkdir()
    path.write_text("This is a letter to my aunt. " * 100)
    return path


def make_journal(path: Path) -> Journal:
    return Journal(path, Clock(), lambda sentence: None)


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[Journal]:
    journal = make_journal(path)
    await journal.open()
    yield journal
    await journal.close()


def accept(run_id: str) -> RunAccepted:
    return RunAccepted(plan=make_plan(run_id=run_id), day_obs=DAY, requested_by="op@console")


async def new_run(journal: Journal, day_obs: int = DAY, state: RunState = RunState.COMPLETED) -> str:
    """Begin a run and bring it to a state."""
    entry = await journal.begin(day_obs, 1.8e9, accept)
    assert isinstance(entry.fact, RunAccepted)
    run_id = entry.fact.plan.run_id
    await journal.append(run_id, [Entry(2, 1.8e9 + 1, SOMEBODY)], state)
    return run_id


def pragma(journal: Journal, name: str) -> object:
    assert journal._file.connection is not None
    return journal._file.connection.execute(f"PRAGMA {name}").fetchone()[0]


async def test_every_write_is_on_the_disk_before_it_is_done(journal: Journal) -> None:
    assert pragma(journal, "journal_mode") == "wal"
    assert pragma(journal, "synchronous") == 2  # FULL


async def test_runs_are_counted_from_001_each_day(journal: Journal) -> None:
    assert [await new_run(journal) for _ in range(3)] == ["20261122-001", "20261122-002", "20261122-003"]
    assert await new_run(journal, DAY + 1) == "20261123-001"
    assert await new_run(journal) == "20261122-004"


async def test_counter_goes_on_after_999(journal: Journal) -> None:
    assert journal._file.connection is not None
    journal._file.connection.execute("INSERT INTO runs (run_id, state) VALUES ('20261122-999', 4)")
    assert [await new_run(journal) for _ in range(3)] == ["20261122-1000", "20261122-1001", "20261122-1002"]


async def test_run_is_read_as_it_was_written_also_after_reopening(journal: Journal, path: Path) -> None:
    run_id = await new_run(journal)
    written = await journal.read(run_id)
    await journal.close()
    again = make_journal(path)
    await again.open()
    assert await again.read(run_id) == written
    assert [entry.seq for entry in written] == [1, 2]
    assert written[1] == Entry(2, 1.8e9 + 1, SOMEBODY)
    assert await again.read("20261122-002") == []
    await again.close()


async def test_fact_that_is_there_already_is_left_alone(journal: Journal) -> None:
    """A write that took too long may have succeeded, and is repeated."""
    run_id = await new_run(journal)
    before = await journal.read(run_id)
    more = Entry(3, 1.8e9 + 2, Decision(what="abort", who="op@console"))
    await journal.append(run_id, [*before, more], RunState.ABORTED)
    assert await journal.read(run_id) == [*before, more]


async def test_state_and_facts_are_written_together_or_not_at_all(journal: Journal) -> None:
    run_id = await new_run(journal, state=RunState.RUNNING)
    assert journal._file.connection is not None
    journal._file.connection.execute("CREATE TRIGGER no BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(JournalError, match="no"):
        await journal.append(run_id, [Entry(3, 2.0, SOMEBODY)], RunState.FAILED)
    assert len(await journal.read(run_id)) == 2
    assert await journal.open_run() == run_id


async def test_latest_run_is_by_the_order_of_acceptance(journal: Journal) -> None:
    assert await journal.latest() == ""
    first = await new_run(journal, DAY + 1, RunState.FAILED)
    second = await new_run(journal, DAY, RunState.ABORTED)
    assert await journal.latest() == second
    assert await journal.latest([RunState.FAILED, RunState.INTERRUPTED]) == first
    assert await journal.latest([RunState.COMPLETED]) == ""


@pytest.mark.parametrize("state", RunState)
async def test_open_run_is_the_one_that_has_not_ended(journal: Journal, state: RunState) -> None:
    run_id = await new_run(journal, state=state)
    is_open = state in (RunState.ACCEPTED, RunState.RUNNING, RunState.ABORTING, RunState.INTERRUPTED)
    assert await journal.open_run() == (run_id if is_open else "")


async def test_there_is_never_a_second_open_run(journal: Journal) -> None:
    run_id = await new_run(journal, state=RunState.INTERRUPTED)
    with pytest.raises(JournalError, match=f"has run {run_id}, which is still open"):
        await journal.begin(DAY, 1.8e9, accept)
    assert await journal.latest() == run_id


async def test_acceptance_that_fails_leaves_nothing(journal: Journal) -> None:
    def fail(run_id: str) -> RunAccepted:
        raise ValueError(run_id)

    with pytest.raises(ValueError, match="20261122-001"):
        await journal.begin(DAY, 1.8e9, fail)
    assert await journal.latest() == ""
    assert await new_run(journal) == "20261122-001"


async def test_run_that_was_never_begun_can_not_be_written(journal: Journal) -> None:
    with pytest.raises(JournalError, match=r"Could not write run 20261122-007 to the journal .*: it has no run"):
        await journal.append("20261122-007", [Entry(1, 1.0, SOMEBODY)], RunState.RUNNING)


async def test_ten_thousandth_fact_costs_what_the_first_did(journal: Journal, path: Path) -> None:
    """Measured in bytes that are written, because time proves nothing on a busy machine."""
    run_id = await new_run(journal, state=RunState.RUNNING)
    wal = path.with_name("journal.sqlite-wal")

    def written() -> int:
        assert journal._file.connection is not None
        journal._file.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return wal.stat().st_size

    async def bytes_for(seq: int) -> int:
        assert written() == 0
        await journal.append(run_id, [Entry(seq, 2.0, SOMEBODY)], RunState.RUNNING)
        return wal.stat().st_size

    first = await bytes_for(3)
    await journal.append(run_id, [Entry(seq, 2.0, SOMEBODY) for seq in range(4, 10_000)], RunState.RUNNING)
    assert await bytes_for(10_000) <= 2 * first, "a page or two more, when the tree of the table has grown"


# Files that are no journal of this release


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (1, r"before runs could be resumed.*Move the file away"),
        (99, r"is of version 99, this program knows 2: .*newer"),
    ],
)
async def test_journal_of_another_format_is_refused_and_left_as_it_is(path: Path, version: int, words: str) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    journal = make_journal(path)
    with pytest.raises(JournalError, match=words):
        await journal.open()
    await journal.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("SELECT * FROM sqlite_master").fetchall() == []


async def test_file_that_is_no_journal_is_refused(foreign_file: Path) -> None:
    journal = make_journal(foreign_file)
    with pytest.raises(JournalError, match=r"Could not open the journal .*journal.sqlite: file is not a database"):
        await journal.open()
    await journal.close()


async def test_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = make_journal(tmp_path / "file" / "journal.sqlite")
    with pytest.raises(JournalError, match="Could not open the journal"):
        await journal.open()
    await journal.close()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ('UPDATE facts SET body = \'{"kind": "run_dreamt"}\' WHERE seq = 2', r"a fact \(number 2\) that can't be"),
        ("UPDATE facts SET body = x'00ff' WHERE seq = 1", r"a fact \(number 1\) that can't be understood"),
        ("UPDATE facts SET at = 'noon' WHERE seq = 2", r"a fact \(number 2\) that can't be understood"),
        ("DELETE FROM facts WHERE seq = 1", r"facts missing between the first and the last"),
    ],
)
async def test_damaged_facts_are_not_half_understood(journal: Journal, damage: str, words: str) -> None:
    run_id = await new_run(journal)
    assert journal._file.connection is not None
    journal._file.connection.execute(damage)
    with pytest.raises(JournalError, match=f"has run {run_id} with {words}.*it is damaged. Move the file away"):
        await journal.read(run_id)


@pytest.mark.parametrize("state", ["'RUNNING'", "99", "2.5", "x'01'"])
async def test_state_that_does_not_exist_may_be_an_open_run(journal: Journal, state: str) -> None:
    run_id = await new_run(journal)
    assert journal._file.connection is not None
    journal._file.connection.execute(f"UPDATE runs SET state = {state}")
    with pytest.raises(JournalError, match=f"has run {run_id} in a state that does not exist"):
        await journal.open_run()


# Disks


async def test_folder_that_can_not_be_written_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root may write everywhere, SQLite is made to open the file for reading only."""
    path.parent.mkdir()
    sqlite3.connect(path).execute("CREATE TABLE other (x)").connection.close()

    def connect(name: Path, **options: object) -> sqlite3.Connection:
        return sqlite3.Connection(f"file:{name}?mode=ro", uri=True, isolation_level=None)

    monkeypatch.setattr(journal_file.sqlite3, "connect", connect)
    journal = make_journal(path)
    with pytest.raises(JournalError, match="attempt to write a readonly database"):
        await journal.open()
    await journal.close()


async def test_full_disk_is_named_and_what_was_written_before_stays(journal: Journal) -> None:
    run_id = await new_run(journal, state=RunState.RUNNING)
    before = await journal.read(run_id)
    assert journal._file.connection is not None
    journal._file.connection.execute(f"PRAGMA max_page_count = {pragma(journal, 'page_count')}")
    long = Decision(what="abort", who="x" * 100_000)
    with pytest.raises(JournalError, match="database or disk is full"):
        await journal.append(run_id, [Entry(3, 2.0, long)], RunState.ABORTED)
    assert await journal.read(run_id) == before
    assert await journal.open_run() == run_id


@pytest.fixture
async def hanging_disk(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[threading.Event]:
    """A disk on which looking for the open run hangs until the event is set."""
    released = threading.Event()
    monkeypatch.setattr(journal_module, "WRITE_LIMIT_S", 0.2)
    monkeypatch.setattr(journal._file, "open_run", lambda: released.wait(20) and "")
    yield released
    released.set()


async def test_disk_that_hangs_is_given_up_after_a_limit(journal: Journal, hanging_disk: threading.Event) -> None:
    with pytest.raises(JournalError, match=r"Could not read the open run of the journal .*: no answer within 0.2 s"):
        await journal.open_run()


async def test_while_it_hangs_nothing_else_waits_and_afterwards_all_is_well(
    journal: Journal, hanging_disk: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(JournalError):
        await journal.open_run()
    monkeypatch.setattr(journal_module, "WRITE_LIMIT_S", 20.0)
    async with asyncio.timeout(10):
        for _ in range(3):
            with pytest.raises(JournalError, match=r"an earlier call, to read the open run of it, hangs"):
                await journal.latest()
        hanging_disk.set()
        while journal._thread.doing:  # noqa: ASYNC110  another thread wakes nobody
            await asyncio.sleep(0.01)
        assert await journal.latest() == ""


async def test_a_hanging_disk_does_not_hold_up_closing(
    journal: Journal, hanging_disk: threading.Event, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(JournalError):
        await journal.open_run()
    monkeypatch.setattr(journal_module, "WRITE_LIMIT_S", 20.0)
    async with asyncio.timeout(10):
        await journal.close()
    assert "Could not close the journal" in caplog.text


async def test_an_opening_that_hung_and_was_given_up_takes_the_journal_from_nobody(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released, prepare = threading.Event(), JournalFile._prepare
    first, second = make_journal(path), make_journal(path)

    def hang_first(file: JournalFile, *arguments: Any) -> None:
        assert file is second._file or released.wait(20)
        prepare(file, *arguments)

    monkeypatch.setattr(JournalFile, "_prepare", hang_first)
    monkeypatch.setattr(journal_module, "WRITE_LIMIT_S", 0.1)
    with pytest.raises(JournalError, match=r"Could not open the journal .*: no answer within 0.1 s"):
        await first.open()
    monkeypatch.setattr(journal_module, "WRITE_LIMIT_S", 20.0)
    await second.open()
    released.set()
    while first._thread.doing:  # noqa: ASYNC110  another thread wakes nobody
        await asyncio.sleep(0.01)
    await second.begin(DAY, 1.8e9, accept)
    await second.close()


async def test_nothing_is_written_after_closing_nor_before_opening(path: Path) -> None:
    journal = make_journal(path)
    with pytest.raises(JournalError, match="is not open"):
        await journal.begin(DAY, 1.8e9, accept)
    await journal.open()
    await journal.close()
    with pytest.raises(JournalError, match="Could not begin a run in the journal"):
        await journal.begin(DAY, 1.8e9, accept)


async def test_journal_in_memory_works_too() -> None:
    journal = make_journal(Path(":memory:"))
    await journal.open()
    assert await new_run(journal) == "20261122-001"
    await journal.close()
