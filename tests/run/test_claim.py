# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The claim on the journal: it is opened, waited for, given up."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.record.events import Event
from lsst.ts.comcamcalib.run.claim import Claim
from lsst.ts.comcamcalib.run.owner import JournalBusyError, JournalError
from lsst.ts.comcamcalib.run.runner import Runner
from support.clock import patience_s
from support.plans import make_config


class Place:
    """A claim, and what it reports."""

    def __init__(self, path: Path) -> None:
        self.config = make_config().model_copy(update={"journal_path": str(path)})
        self.opened: list[Runner] = []
        self.unusable: list[str] = []
        self.lost: list[str] = []
        self.news = asyncio.Event()
        self.claim = Claim(
            self._publish,
            Clock(),
            on_open=self._on_open,
            on_unusable=self._on_unusable,
            on_lost=self.lost.append,
        )

    async def _publish(self, _event: Event) -> None:
        """Nobody listens."""

    def _on_open(self, runner: Runner) -> None:
        self.opened.append(runner)
        self.news.set()

    async def _on_unusable(self, sentence: str) -> None:
        self.unusable.append(sentence)
        await self.claim.close()  # as the CSC does when it goes to FAULT
        self.news.set()

    async def open(self) -> None:
        await self.claim.open(self.config)


@pytest.fixture(autouse=True)
def short_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.run.claim.CLAIM_INTERVAL_S", 0.01)


@pytest.fixture(autouse=True)
def owners_live(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both claims are of this process, which the owner's row would take for dead."""
    monkeypatch.setattr("lsst.ts.comcamcalib.run.owner._has_ended", lambda row: False)


async def test_journal_of_another_is_waited_for_and_taken_over_when_it_is_free(path: Path) -> None:
    first, second = Place(path), Place(path)
    await first.open()
    assert first.opened == [first.claim.runner] and first.claim.problem == ""
    await second.open()
    assert second.claim.runner is None and "There can be only one ComCamCalib" in second.claim.problem
    await second.open()  # it waits already
    await first.claim.close()
    async with asyncio.timeout(patience_s()):
        await second.news.wait()
    assert second.claim.runner is not None and second.claim.problem == ""
    assert second.opened == [second.claim.runner] and second.unusable == []
    await second.claim.close()
    assert second.claim.runner is None


async def test_who_waits_can_be_closed(path: Path) -> None:
    first, second = Place(path), Place(path)
    await first.open()
    await second.open()
    await second.claim.close()
    assert second.claim.problem == "" and second.claim.runner is None
    await first.claim.close()
    await second.open()
    assert second.claim.runner is not None, "nothing of the wait is left"
    await second.claim.close()


async def test_journal_that_somebody_has_locked_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.run.journal.WRITE_LIMIT_S", 0.2)
    first, place = Place(path), Place(path)
    await first.open()
    await first.claim.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await place.open()
        assert place.claim.runner is None and place.unusable == []
        assert "database is locked" in place.claim.problem and "end it" in place.claim.problem
        other.execute("ROLLBACK")
    async with asyncio.timeout(patience_s()):
        await place.news.wait()
    assert place.claim.runner is not None and place.claim.problem == "" and place.unusable == []
    await place.claim.close()


async def test_who_waits_for_the_owner_does_not_give_up_when_the_owner_is_writing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.run.journal.WRITE_LIMIT_S", 0.2)
    locked = asyncio.Event()

    def tell(error: JournalError) -> str:
        if isinstance(error, JournalBusyError):
            locked.set()
        return str(error)

    monkeypatch.setattr("lsst.ts.comcamcalib.run.claim._why_it_waits", tell)
    first, second = Place(path), Place(path)
    await first.open()
    await second.open()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writing:
        writing.execute("BEGIN IMMEDIATE")
        await asyncio.wait_for(locked.wait(), patience_s())
        writing.execute("ROLLBACK")
    await first.claim.close()
    async with asyncio.timeout(patience_s()):
        await second.news.wait()
    assert second.claim.runner is not None and second.unusable == []
    await second.claim.close()


async def test_file_that_is_no_journal_is_reported(path: Path) -> None:
    path.write_text("this is no database, and is long enough not to look like the beginning of one" * 20)
    place = Place(path)
    await place.open()
    assert place.claim.runner is None and place.opened == []
    (sentence,) = place.unusable
    assert str(path) in sentence


async def test_journal_that_is_damaged_when_it_is_taken_over_is_reported_and_left_to_others(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Place(path), Place(path)
    await first.open()
    await second.open()

    async def start(_runner: Runner) -> None:
        raise JournalError("The journal is damaged")

    monkeypatch.setattr(Runner, "start", start)
    await first.claim.close()
    async with asyncio.timeout(patience_s()):
        await second.news.wait()
    assert second.unusable == ["The journal is damaged"] and second.claim.runner is None
    monkeypatch.undo()
    await first.open()
    assert first.claim.runner is not None
    await first.claim.close()


async def test_while_it_is_not_known_who_has_the_journal_nothing_is_done_outside(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.run.journal.WRITE_LIMIT_S", 0.1)
    place = Place(path)
    await place.open()
    assert place.claim._journal is not None
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        place.claim._journal._renewed_s -= 60.0
        with pytest.raises(ServiceError, match=r"Nothing was done: Could not renew the ownership of the journal .*"):
            await place.claim.confirm()
        other.execute("ROLLBACK")
    async with asyncio.timeout(patience_s()):
        while True:
            with contextlib.suppress(ServiceError):
                await place.claim.confirm()
                break
            await asyncio.sleep(0.01)
    assert place.lost == []
    await place.claim.close()


async def test_only_who_has_the_journal_may_do_anything_outside(path: Path) -> None:
    first, second = Place(path), Place(path)
    with pytest.raises(ServiceError, match="the journal is not open"):
        await first.claim.confirm()
    await first.open()
    await second.open()
    await first.claim.confirm()
    with pytest.raises(ServiceError, match=r"Nothing is done, because .* There can be only one ComCamCalib"):
        await second.claim.confirm()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE owner SET token = 'somebody'")
    assert first.claim._journal is not None
    first.claim._journal._renewed_s -= 60.0  # as if this process had been stopped for a minute
    with pytest.raises(ServiceError, match=r"Nothing was done: .* does not belong to this process any more"):
        await first.claim.confirm()
    assert len(first.lost) == 1
    for one in (first, second):
        await one.claim.close()
