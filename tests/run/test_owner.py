# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""A journal belongs to one process at a time: it is taken over from a dead one, and never from a living one."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.record.facts import Decision, Entry
from lsst.ts.comcamcalib.run import owner as owner_module
from lsst.ts.comcamcalib.run.journal import Journal
from lsst.ts.comcamcalib.run.owner import JournalError, JournalLostError, JournalOwnedError

PROGRAM = """
import asyncio, sys
from pathlib import Path
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.run import journal as journal_module, owner
from lsst.ts.comcamcalib.run.journal import Journal

owner.EXPIRY_S, journal_module.RENEW_INTERVAL_S = 1.0, 0.2

async def main():
    lost = asyncio.get_running_loop().create_future()
    journal = Journal(Path(sys.argv[1]), Clock(), lambda sentence: lost.set_result(sentence))
    await journal.open()
    print("open", flush=True)
    print(await lost, flush=True)
    try:
        await journal.append("20261122-001", [], 2)
    except owner.JournalLostError as error:
        print("refused", flush=True)

asyncio.run(main())
"""


@pytest.fixture
def short_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_module, "EXPIRY_S", 1.0)


@pytest.fixture
async def other(path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that owns the journal, and renews that five times a second."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert await next_line(process) == "open"
    yield process
    if process.returncode is None:
        process.send_signal(signal.SIGCONT)
        process.kill()
        await process.wait()


async def next_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode().strip()


def make_journal(path: Path, clock: Clock | None = None, on_lost: Callable[[str], None] = lambda _: None) -> Journal:
    return Journal(path, clock or Clock(), on_lost)


async def open_when_free(journal: Journal) -> list[str]:
    """Try until the journal can be opened; return the sentences until then."""
    sentences = []
    async with asyncio.timeout(30):
        while True:
            try:
                await journal.open()
            except JournalOwnedError as error:
                sentences.append(str(error))
                await asyncio.sleep(0.1)
            else:
                return sentences


async def test_second_process_hears_who_owns_the_journal(
    path: Path, other: asyncio.subprocess.Process, short_expiry: None
) -> None:
    for _ in range(20):  # longer than the row is valid: the other process renews it
        with pytest.raises(JournalOwnedError, match=rf"belongs to process {other.pid} on .*There can be only one"):
            await make_journal(path).open()
        await asyncio.sleep(0.1)
    assert other.returncode is None


async def test_killed_owner_on_this_machine_is_replaced_at_once(path: Path, other: asyncio.subprocess.Process) -> None:
    other.kill()
    await other.wait()
    journal = make_journal(path)
    await journal.open()  # although the row of the other is still valid
    await journal.close()


async def test_owner_elsewhere_is_replaced_when_its_row_has_expired_and_not_before(
    path: Path, other: asyncio.subprocess.Process, short_expiry: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the process is gone can't be seen from another machine or container."""
    monkeypatch.setattr(owner_module, "_place", lambda: "another container")
    other.kill()
    await other.wait()
    journal = make_journal(path)
    sentences = await open_when_free(journal)
    assert sentences, "the row was valid for a while"
    assert "If it is dead, this one takes over in" in sentences[0]
    await journal.close()


async def test_paused_owner_that_was_replaced_says_so_and_writes_nothing_more(
    path: Path, other: asyncio.subprocess.Process, short_expiry: None
) -> None:
    other.send_signal(signal.SIGSTOP)
    journal = make_journal(path)
    assert await open_when_free(journal), "the stopped process is not dead, so its row must expire first"
    other.send_signal(signal.SIGCONT)
    assert f"process {os.getpid()} on" in await next_line(other)
    assert await next_line(other) == "refused"
    await journal.close()


async def test_paused_owner_that_nobody_replaced_goes_on(path: Path, other: asyncio.subprocess.Process) -> None:
    other.send_signal(signal.SIGSTOP)
    with sqlite3.connect(path, timeout=20) as connection:
        connection.execute("UPDATE owner SET until = 0")
    other.send_signal(signal.SIGCONT)
    async with asyncio.timeout(30):
        while sqlite3.connect(path).execute("SELECT until FROM owner").fetchone() == (0.0,):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert other.returncode is None


class Backwards(Clock):
    """A clock that was set back by an hour."""

    def tai(self) -> float:
        return super().tai() - 3600


async def test_clock_that_was_set_back_does_not_lock_the_journal_for_hours(
    path: Path, other: asyncio.subprocess.Process, short_expiry: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner_module, "_place", lambda: "another container")
    other.kill()
    await other.wait()
    journal = make_journal(path, Backwards())
    sentences = await open_when_free(journal)
    assert sentences, "the row had to be watched for a while"
    await journal.close()


class Ahead(Clock):
    """A clock that is ahead by half a minute."""

    def tai(self) -> float:
        return super().tai() + 30


async def test_machine_whose_clock_is_ahead_does_not_take_the_journal_from_a_living_process(
    path: Path, other: asyncio.subprocess.Process, short_expiry: None
) -> None:
    journal = make_journal(path, Ahead())
    for _ in range(20):  # longer than the row is valid
        with pytest.raises(JournalOwnedError):
            await journal.open()
        await asyncio.sleep(0.1)
    other.kill()
    await other.wait()
    await open_when_free(journal)
    await journal.close()


async def test_row_that_expired_long_ago_need_not_be_watched(
    path: Path, other: asyncio.subprocess.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner_module, "_place", lambda: "another container")
    other.kill()
    await other.wait()
    with sqlite3.connect(path, timeout=20) as connection:
        connection.execute("UPDATE owner SET until = until - 3600")
    journal = make_journal(path)
    await journal.open()
    await journal.close()


async def test_journal_is_free_as_soon_as_it_is_closed(path: Path) -> None:
    for _ in range(2):
        journal = make_journal(path)
        await journal.open()
        await journal.close()
    assert sqlite3.connect(path).execute("SELECT count(*) FROM owner").fetchone() == (0,)


async def test_every_write_checks_the_owner_and_the_journal_notifies_of_the_loss_once(path: Path) -> None:
    lost: list[str] = []
    journal = make_journal(path, on_lost=lost.append)
    await journal.open()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE owner SET token = 'somebody', host = 'pod-2', pid = 1")
    for _ in range(2):
        with pytest.raises(JournalLostError, match="process 1 on pod-2 has taken it over"):
            await journal.append("20261122-001", [Entry(1, 1.0, Decision(what="abort", who="x"))], RunState.ABORTED)
    assert len(lost) == 1
    assert sqlite3.connect(path).execute("SELECT count(*) FROM facts").fetchone() == (0,)
    await journal.close()
    assert sqlite3.connect(path).execute("SELECT token FROM owner").fetchone() == ("somebody",), "it is not ours"


class Stopwatch(Clock):
    """A clock whose monotonic time is set by hand, as if the process had been stopped meanwhile."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


async def test_a_process_that_was_stopped_confirms_that_the_journal_is_still_its_own(path: Path) -> None:
    clock = Stopwatch()
    journal = make_journal(path, clock)
    await journal.open()
    with sqlite3.connect(path) as connection:
        (until,) = connection.execute("SELECT until FROM owner").fetchone()
    await journal.confirm()
    assert sqlite3.connect(path).execute("SELECT until FROM owner").fetchone() == (until,), "it was just renewed"
    clock.ahead_s = 60.0
    await journal.confirm()
    (renewed,) = sqlite3.connect(path).execute("SELECT until FROM owner").fetchone()
    assert renewed > until
    await journal.close()


async def test_a_process_that_was_stopped_and_replaced_hears_of_it_before_it_does_anything(path: Path) -> None:
    clock, lost = Stopwatch(), []
    journal = make_journal(path, clock, lost.append)
    await journal.open()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE owner SET token = 'somebody', pid = 1, host = 'pod-2'")
    clock.ahead_s = 20.0
    for _ in range(2):
        with pytest.raises(JournalLostError, match="process 1 on pod-2 has taken it over"):
            await journal.confirm()
    assert len(lost) == 1
    await journal.close()


async def test_nothing_may_be_done_while_it_is_not_known_who_owns_the_journal(path: Path) -> None:
    clock, lost = Stopwatch(), []
    journal = make_journal(path, clock, lost.append)
    await journal.open()
    clock.ahead_s = 20.0
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match="database is locked"):
            await journal.confirm()
        other.execute("ROLLBACK")
    await journal.confirm()
    assert lost == []
    await journal.close()
