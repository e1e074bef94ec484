# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts are written in order, then published; what is intended waits for the disk, what has happened does not."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.enums import CalibType, RunState, StageState
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.record.events import Event, ImageTaken, RunStatus, StageStatus
from lsst.ts.comcamcalib.record.facts import Entry, Fact, FrameIntended, FrameTaken, RunAccepted, RunMoved, StageMoved
from lsst.ts.comcamcalib.record.fold import begin, fold
from lsst.ts.comcamcalib.run import recorder as recorder_module
from lsst.ts.comcamcalib.run.journal import Journal
from lsst.ts.comcamcalib.run.owner import JournalError, JournalLostError
from lsst.ts.comcamcalib.run.recorder import Recorder
from support.plans import DAY_OBS, make_config, make_plan

INTENT = FrameIntended(calib_type=CalibType.BIAS, index=1, exposure_time_s=0.0)
TAKEN = FrameTaken(calib_type=CalibType.BIAS, index=1, exposure_id=11, obs_id="CC_11", taken_s=1.0)


class Disk(Journal):
    """A journal whose disk can fail, hang, or be taken away."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, Clock(), lambda sentence: None)
        self.error: JournalError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.reached = asyncio.Event()
        self.batches: list[list[int]] = []

    async def append(self, run_id: str, entries: Sequence[Entry], state: RunState) -> None:
        self.reached.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        await super().append(run_id, entries, state)
        self.batches.append([entry.seq for entry in entries])


class Listener:
    """Hears what is published."""

    def __init__(self) -> None:
        self.heard: list[Event] = []
        self.deaf = False
        self._changed = asyncio.Condition()

    async def hear(self, event: Event) -> None:
        if self.deaf:
            raise RuntimeError("the broker is gone")
        self.heard.append(event)
        async with self._changed:
            self._changed.notify_all()

    async def until(self, kind: type[Event]) -> None:
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: any(isinstance(event, kind) for event in self.heard))


@pytest.fixture
async def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Disk]:
    monkeypatch.setattr(recorder_module, "RETRY_INTERVAL_S", 0.05)
    disk = Disk(tmp_path / "journal.sqlite")
    await disk.open()
    yield disk
    disk.gate.set()
    await disk.close()


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
async def recorder(disk: Disk, listener: Listener) -> AsyncIterator[Recorder]:
    config = make_config(limits={"journal": 0.5})

    def accept(run_id: str) -> RunAccepted:
        return RunAccepted(plan=make_plan(config, run_id), day_obs=DAY_OBS, requested_by="op@console")

    history = begin(await disk.begin(DAY_OBS, 1.8e9, accept))
    recorder = Recorder(history, disk, listener.hear, Clock())
    yield recorder
    disk.gate.set()
    await recorder.close()


def moved(state: StageState, name: str = "BIAS.ACQUIRE") -> Fact:
    return StageMoved(stage_name=name, attempt=1, state=state, reason="")


async def stored(recorder: Recorder, disk: Disk) -> list[str]:
    return [entry.fact.kind for entry in await disk.read(recorder.history.run_id)]


async def until_written(recorder: Recorder) -> None:
    async with asyncio.timeout(20):
        while recorder.unwritten:  # noqa: ASYNC110  the disk wakes nobody
            await asyncio.sleep(0.01)


async def test_fact_is_in_the_history_at_once_then_on_the_disk_then_published(
    recorder: Recorder, disk: Disk, listener: Listener
) -> None:
    disk.gate.clear()
    noting = asyncio.create_task(recorder.note(RunMoved(state=RunState.RUNNING, reason="go")))
    await disk.reached.wait()
    assert recorder.history.state is RunState.RUNNING
    assert listener.heard == []
    disk.gate.set()
    await noting
    assert await stored(recorder, disk) == ["run_accepted", "run_moved"]
    assert [event.state for event in listener.heard if isinstance(event, RunStatus)] == [RunState.RUNNING]
    assert await disk.open_run() == recorder.history.run_id


async def test_facts_are_written_and_published_in_their_order(
    recorder: Recorder, disk: Disk, listener: Listener
) -> None:
    disk.gate.clear()
    names = [stage.name for stage in recorder.history.plan.stages]
    noting = [asyncio.create_task(recorder.note(moved(StageState.RUNNING, name))) for name in names]
    await disk.reached.wait()
    disk.gate.set()
    await asyncio.gather(*noting)
    assert [event.stage_name for event in listener.heard if isinstance(event, StageStatus)] == names
    entries = await disk.read(recorder.history.run_id)
    assert [entry.seq for entry in entries] == list(range(1, len(names) + 2))
    assert fold(entries) == recorder.history
    assert len(disk.batches) < len(names), "what came while the disk was busy is written together"


async def test_intent_is_on_the_disk_before_anything_is_done(recorder: Recorder, disk: Disk) -> None:
    disk.gate.clear()
    intending = asyncio.create_task(recorder.intend(INTENT))
    await disk.reached.wait()
    assert not intending.done()
    disk.gate.set()
    await intending
    assert await stored(recorder, disk) == ["run_accepted", "frame_intended"]


async def test_what_can_not_be_written_down_in_time_must_not_be_done(recorder: Recorder, disk: Disk) -> None:
    disk.error = JournalError("disk full")
    with pytest.raises(StageError, match="could not be written down, so it was not done: disk full"):
        await recorder.intend(INTENT)
    # It may be written later; then it is looked for before it is done.
    assert recorder.history.frames[CalibType.BIAS, 1].open


async def test_intent_waits_for_a_disk_that_fails_for_a_short_time(recorder: Recorder, disk: Disk) -> None:
    disk.error = JournalError("busy")
    intending = asyncio.create_task(recorder.intend(INTENT))
    await disk.reached.wait()
    disk.error = None
    await intending
    assert await stored(recorder, disk) == ["run_accepted", "frame_intended"]


async def test_what_has_happened_is_published_though_the_disk_fails_and_written_when_it_can_be(
    recorder: Recorder, disk: Disk, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    disk.error = JournalError("disk full")
    for fact in (moved(StageState.RUNNING), INTENT, TAKEN):
        await recorder.note(fact)
    assert [type(event) for event in listener.heard] == [StageStatus, ImageTaken]
    assert recorder.journal_problem == "disk full"
    assert caplog.text.count("disk full. What is in progress goes on, nothing new is done") == 1
    disk.error = None
    await until_written(recorder)
    assert recorder.journal_problem == ""
    assert fold(await disk.read(recorder.history.run_id)) == recorder.history
    assert "The journal can be written again" in caplog.text


async def test_what_has_happened_is_written_even_if_nobody_waits_for_it_any_more(
    recorder: Recorder, disk: Disk, listener: Listener
) -> None:
    disk.gate.clear()
    noting = asyncio.create_task(recorder.note(moved(StageState.RUNNING)))
    await disk.reached.wait()
    noting.cancel()
    await asyncio.gather(noting, return_exceptions=True)
    disk.gate.set()
    await listener.until(StageStatus)
    assert await stored(recorder, disk) == ["run_accepted", "stage_moved"]


async def test_broker_that_is_gone_keeps_nothing_from_the_journal(
    recorder: Recorder, disk: Disk, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    listener.deaf = True
    await recorder.note(moved(StageState.RUNNING))
    assert await stored(recorder, disk) == ["run_accepted", "stage_moved"]
    assert "StageStatus could not be published" in caplog.text


async def test_what_could_not_be_published_is_published_when_the_broker_is_back(
    recorder: Recorder, listener: Listener
) -> None:
    listener.deaf = True
    await recorder.note(moved(StageState.RUNNING))
    await recorder.note(moved(StageState.SUCCEEDED))
    listener.deaf = False
    await listener.until(StageStatus)
    last = {event.stage_name: event.state for event in listener.heard if isinstance(event, StageStatus)}
    assert last["BIAS.ACQUIRE"] is StageState.SUCCEEDED


async def test_broker_that_is_gone_at_the_start_of_a_process_keeps_it_from_nothing(
    recorder: Recorder, listener: Listener
) -> None:
    listener.deaf = True
    await recorder.publish_all()
    assert listener.heard == []
    listener.deaf = False
    await listener.until(RunStatus)


async def test_until_is_woken_by_the_fact_that_fulfils_its_condition(recorder: Recorder) -> None:
    waiting = asyncio.create_task(
        recorder.until(lambda history: history.stages["BIAS.ACQUIRE"].state is StageState.RUNNING)
    )
    await recorder.note(moved(StageState.RUNNING, "DARK.ACQUIRE"))
    assert not waiting.done()
    await recorder.note(moved(StageState.RUNNING))
    async with asyncio.timeout(20):
        await waiting


async def test_after_another_process_took_over_nothing_is_written_or_published(
    recorder: Recorder, disk: Disk, listener: Listener
) -> None:
    disk.error = JournalLostError("pod-2 has it")
    await recorder.note(moved(StageState.RUNNING))
    disk.error = None
    await recorder.note(moved(StageState.SUCCEEDED))
    with pytest.raises(StageError, match="pod-2 has it"):
        await recorder.intend(INTENT)
    assert recorder.lost == "pod-2 has it"
    assert listener.heard == []
    assert await stored(recorder, disk) == ["run_accepted"]


async def test_a_process_that_was_stopped_and_replaced_publishes_nothing_more(
    recorder: Recorder, disk: Disk, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped between the write and the event, and meanwhile another process publishes what came later."""
    write = disk.append

    async def append_and_stop(run_id: str, entries: Sequence[Entry], state: RunState) -> None:
        await write(run_id, entries, state)
        with sqlite3.connect(disk.path) as connection:
            connection.execute("UPDATE owner SET token = 'somebody'")
        disk._renewed_s -= 60.0

    monkeypatch.setattr(disk, "append", append_and_stop)
    await recorder.note(moved(StageState.RUNNING))
    assert listener.heard == []
    assert "does not belong to this process any more" in recorder.lost
    assert await stored(recorder, disk) == ["run_accepted", "stage_moved"]


async def test_a_locked_journal_does_not_hold_up_each_event(
    recorder: Recorder, disk: Disk, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program has locked the file for long, so that each question whether it is still ours takes a while."""
    monkeypatch.setattr(recorder_module, "RETRY_INTERVAL_S", 60.0)
    disk.error = JournalError("database is locked")
    asked = 0

    async def confirm() -> None:
        nonlocal asked
        asked += 1
        raise JournalError("database is locked")

    monkeypatch.setattr(disk, "confirm", confirm)
    for state in (StageState.RUNNING, StageState.SUCCEEDED):
        await recorder.note(moved(state))
    await recorder.publish_all()
    assert len(listener.heard) > 2 and asked == 1


async def test_intent_in_progress_ends_at_once_when_the_journal_is_lost(recorder: Recorder, disk: Disk) -> None:
    disk.gate.clear()
    intending = asyncio.create_task(recorder.intend(INTENT))
    await disk.reached.wait()
    recorder.abandon("pod-2 has it")
    with pytest.raises(StageError, match="pod-2 has it"):
        await intending


async def test_closing_writes_what_can_be_written_and_says_what_can_not(
    recorder: Recorder, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    disk.error = JournalError("disk full")
    await recorder.note(moved(StageState.RUNNING))
    await recorder.close()
    assert "1 facts of it are not in the journal yet" in caplog.text
    disk.error = None
    await recorder.close()
    assert await stored(recorder, disk) == ["run_accepted", "stage_moved"]


async def test_waits_are_shown_for_running_stages_only(recorder: Recorder) -> None:
    recorder.waiting("BIAS.ACQUIRE", "frame 1", 60.0)
    recorder.waiting("BIAS.INGEST", "files")
    assert recorder.waits == {}
    await recorder.note(moved(StageState.RUNNING))
    assert {who: wait.for_what for who, wait in recorder.waits.items()} == {"BIAS.ACQUIRE": "frame 1"}
    assert recorder.waits["BIAS.ACQUIRE"].until > 0


async def test_everything_can_be_published_again(recorder: Recorder, listener: Listener) -> None:
    await recorder.note(moved(StageState.RUNNING))
    listener.heard.clear()
    await recorder.publish_all()
    names = [event.stage_name for event in listener.heard if isinstance(event, StageStatus)]
    assert names == [stage.name for stage in recorder.history.plan.stages]
