# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of a run: written down, then told; and read back as it was."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.enums import CalibType, RunState, StageKind, StageState
from lsst.ts.comcamcalib.plan.record import (
    Alarms,
    CertificationIntent,
    DetectorVerification,
    Entry,
    GainEstimate,
    ImageTaken,
    JobState,
    RunStatus,
    StageStatus,
    VerificationResult,
)
from lsst.ts.comcamcalib.run.journal import Journal, JournalError, StoredRun
from lsst.ts.comcamcalib.run.log import RunLog, _from_json, move_run
from lsst.ts.comcamcalib.run.states import STAGE_MOVES
from support.entries import one_of_each, run_status
from support.plans import RUN_ID

DAY = 20261122


class World:
    """Hears what is published."""

    def __init__(self) -> None:
        self.heard: list[Entry] = []
        self.deaf = False
        self.slow: asyncio.Event | None = None

    async def hear(self, entry: Entry) -> None:
        if self.slow is not None:
            await self.slow.wait()
        if self.deaf:
            raise RuntimeError("the broker is gone")
        self.heard.append(entry)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal(tmp_path / "journal.sqlite")
    await journal.open()
    await journal.new_run(DAY)
    yield journal
    await journal.close()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def log(journal: Journal, world: World) -> AsyncIterator[RunLog]:
    log = RunLog(journal, world.hear)
    await log.write(run_status())
    yield log
    await log.close()


def stage(name: str, state: StageState, **fields: object) -> StageStatus:
    entry = next(entry for entry in one_of_each() if isinstance(entry, StageStatus))
    return dataclasses.replace(entry, stage_name=name, state=state, **fields)  # type: ignore[arg-type]


def same(one: Entry, other: Entry) -> bool:
    """Compare entries in which NaN is equal to NaN."""
    return repr(one) == repr(other)


def test_there_is_an_entry_of_each_kind_to_test_with() -> None:
    assert {type(entry) for entry in one_of_each()} == set(get_args(Entry))


async def test_every_kind_of_entry_comes_back_as_it_was_after_a_restart(
    journal: Journal, log: RunLog, world: World
) -> None:
    for entry in one_of_each():
        await log.write(entry)
    again = Journal(journal.path)
    await again.open()
    stored = await again.read(RUN_ID)
    assert stored is not None
    assert stored.state is RunState.RUNNING
    restored = RunLog.from_stored(stored, again, world.hear)
    await again.close()
    for entry in one_of_each():
        (found,) = restored.of(type(entry))
        assert same(found, entry)
        for field in dataclasses.fields(entry):
            assert type(getattr(found, field.name)) is type(getattr(entry, field.name)), field.name
    (gains,) = restored.of(GainEstimate)
    assert math.isnan(gains.gain[0]) and math.isnan(gains.noise[15])


@given(st.floats(), st.text(), st.integers(0, 2**60))
def test_any_number_and_any_text_comes_back(number: float, text: str, exposure_id: int) -> None:
    image = next(entry for entry in one_of_each() if isinstance(entry, ImageTaken))
    image = dataclasses.replace(image, exposure_id=exposure_id, obs_id=text, exposure_time=number)
    assert same(_from_json(ImageTaken, json.loads(json.dumps(dataclasses.asdict(image)))), image)


async def test_entry_is_in_the_journal_before_it_is_told(journal: Journal) -> None:
    told: list[bool] = []

    async def hear(entry: Entry) -> None:
        stored = await journal.read(RUN_ID)
        assert stored is not None
        told.append(type(entry).__name__ in stored.entries)

    log = RunLog(journal, hear)
    for entry in one_of_each():
        await log.write(entry)
    assert told == [True] * len(one_of_each())


async def test_newest_entry_of_each_thing_is_kept(log: RunLog) -> None:
    entries = {type(entry): entry for entry in one_of_each()}
    variants: list[Entry] = [
        stage("BIAS.VERIFY", StageState.RUNNING),
        stage("BIAS.VERIFY", StageState.FAILED),
        stage("BIAS.CERTIFY", StageState.SKIPPED),
        dataclasses.replace(entries[ImageTaken], exposure_id=1),  # type: ignore[type-var]
        dataclasses.replace(entries[ImageTaken], exposure_id=2),  # type: ignore[type-var]
        dataclasses.replace(entries[JobState], phase="executing"),  # type: ignore[type-var]
        dataclasses.replace(entries[JobState], phase="completed"),  # type: ignore[type-var]
        dataclasses.replace(entries[JobState], job_id="job-09"),  # type: ignore[type-var]
        dataclasses.replace(entries[VerificationResult], physical_filter="g_01"),  # type: ignore[type-var]
        dataclasses.replace(entries[VerificationResult], physical_filter="r_03"),  # type: ignore[type-var]
        dataclasses.replace(entries[DetectorVerification], detector=0),  # type: ignore[type-var]
        dataclasses.replace(entries[DetectorVerification], detector=1),  # type: ignore[type-var]
        dataclasses.replace(entries[GainEstimate], exposure_id=1),  # type: ignore[type-var]
        dataclasses.replace(entries[GainEstimate], detector=1),  # type: ignore[type-var]
    ]
    for entry in variants:
        await log.write(entry)
    assert [(one.stage_name, one.state) for one in log.of(StageStatus)] == [
        ("BIAS.VERIFY", StageState.FAILED),
        ("BIAS.CERTIFY", StageState.SKIPPED),
    ]
    assert [image.exposure_id for image in log.of(ImageTaken)] == [1, 2]
    assert [(job.job_id, job.phase) for job in log.of(JobState)] == [("job-01", "completed"), ("job-09", "error")]
    assert [one.physical_filter for one in log.of(VerificationResult)] == ["g_01", "r_03"]
    assert len(log.of(DetectorVerification)) == len(log.of(GainEstimate)) == 2


def fill(journal: Journal) -> None:
    """Make the disk full, as SQLite sees it."""
    assert journal._connection is not None
    pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")


def make_room(journal: Journal) -> None:
    assert journal._connection is not None
    journal._connection.execute("PRAGMA max_page_count = 1000000")


async def until_well(log: RunLog) -> None:
    async with asyncio.timeout(20):
        while log.journal_problem:  # noqa: ASYNC110  whoever asks is told by a property
            await asyncio.sleep(0.01)


async def test_disk_that_is_full_for_a_while_does_not_stop_the_run_and_misses_nothing(
    journal: Journal,
    log: RunLog,
    world: World,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.run.log.RETRY_INTERVAL_S", 0.02)
    fill(journal)
    entry = run_status(reason="x" * 100_000)
    await log.write(entry)
    assert world.heard[-1] is entry
    assert "database or disk is full" in log.journal_problem
    assert "The run goes on, and the CSC tries to write the journal again" in caplog.text
    # What happens while it is full, the end of the run too, is published at once and written later.
    await log.write(stage("BIAS.VERIFY", StageState.SUCCEEDED))
    await move_run(log, RunState.COMPLETED, "All stages succeeded")
    assert world.heard[-1].state is RunState.COMPLETED  # type: ignore[union-attr]
    make_room(journal)
    await until_well(log)
    stored = await journal.read(RUN_ID)
    assert stored is not None and stored.state is RunState.COMPLETED
    again = RunLog.from_stored(stored, journal, world.hear)
    assert again.stage("BIAS.VERIFY").state is StageState.SUCCEEDED
    assert again.status.reason == "All stages succeeded"
    assert caplog.text.count("database or disk is full") == 1, "it is said once, not at each attempt"
    assert "The journal can be written again" in caplog.text


async def test_journal_that_fails_holds_nobody_up(
    journal: Journal, log: RunLog, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first write waits for it; the run and its end must not."""
    tried: list[str] = []

    async def write(run: StoredRun) -> None:
        tried.append(run.run_id)
        raise JournalError("Could not write it: database is locked")

    monkeypatch.setattr(journal, "write", write)
    for number in range(20):
        await log.write(stage(f"{number}.INGEST", StageState.RUNNING))
    assert len(tried) == 1
    assert len(world.heard) == 21


async def test_what_the_journal_did_not_take_is_tried_a_last_time_and_named_when_it_fails(
    journal: Journal, log: RunLog, caplog: pytest.LogCaptureFixture
) -> None:
    fill(journal)
    await log.write(run_status(RunState.COMPLETED, reason="x" * 100_000))
    await log.close()
    assert f"Run {RUN_ID} is COMPLETED, but that is not in the journal" in caplog.text
    make_room(journal)
    await log.close()
    stored = await journal.read(RUN_ID)
    assert stored is not None and stored.state is RunState.COMPLETED


async def test_intent_is_on_the_disk_before_the_act_and_nobody_hears_of_it(
    journal: Journal, log: RunLog, world: World
) -> None:
    intent = CertificationIntent(
        run_id=RUN_ID,
        calib_type=CalibType.BIAS,
        dataset_type="bias",
        collection="LSSTComCam/calib/daily",
        output_collection="u/ocps/job-01/run",
        validity_begin="2026-11-22T12:00:00",
        validity_end="",
        dataset_ids=("one", "two"),
    )
    heard = len(world.heard)
    await log.intend(intent)
    stored = await journal.read(RUN_ID)
    assert stored is not None
    again = RunLog.from_stored(stored, journal, world.hear)
    assert again.of(CertificationIntent) == [intent]
    await again.publish_all()
    assert [type(entry) for entry in world.heard[heard:]] == [RunStatus]


async def test_journal_that_is_gone_does_not_stop_the_run(journal: Journal, log: RunLog, world: World) -> None:
    await journal.close()
    await log.write(stage("BIAS.VERIFY", StageState.RUNNING))
    assert world.heard[-1] == stage("BIAS.VERIFY", StageState.RUNNING)
    assert "Could not write run 20261122-001 to the journal" in log.journal_problem


async def test_what_can_not_be_told_is_written_down_all_the_same(
    journal: Journal, log: RunLog, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.deaf = True
    await log.write(stage("BIAS.VERIFY", StageState.SUCCEEDED))
    stored = await journal.read(RUN_ID)
    assert stored is not None and "BIAS.VERIFY" in stored.entries
    assert "StageStatus could not be published" in caplog.text


async def test_entry_of_a_task_that_is_cancelled_is_told_all_the_same(log: RunLog, world: World) -> None:
    """Else the world would believe for ever that a stage runs that has SUCCEEDED."""
    world.slow = asyncio.Event()
    writing = asyncio.create_task(log.write(stage("BIAS.CERTIFY", StageState.SUCCEEDED)))
    await asyncio.sleep(0)
    writing.cancel()
    world.slow.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert world.heard[-1] == stage("BIAS.CERTIFY", StageState.SUCCEEDED)


async def test_entries_of_many_tasks_are_told_in_their_order(log: RunLog, world: World) -> None:
    entries = [stage(f"{number}.INGEST", StageState.RUNNING) for number in range(20)]
    await asyncio.gather(*(log.write(entry) for entry in entries))
    assert world.heard[-20:] == entries


async def test_everything_is_told_again_and_always_the_newest(log: RunLog, world: World) -> None:
    await log.write(stage("BIAS.INGEST", StageState.RUNNING))
    await log.write(stage("BIAS.VERIFY", StageState.RUNNING))
    world.heard.clear()
    world.slow = asyncio.Event()
    telling = asyncio.create_task(log.publish_all())
    await asyncio.sleep(0)
    writing = asyncio.create_task(log.write(stage("BIAS.VERIFY", StageState.SUCCEEDED)))
    await asyncio.sleep(0)
    world.slow.set()
    await asyncio.gather(telling, writing)
    told = [
        entry.state for entry in world.heard if isinstance(entry, StageStatus) and entry.stage_name == "BIAS.VERIFY"
    ]
    assert told == [StageState.SUCCEEDED] * 2
    assert isinstance(world.heard[0], RunStatus)


async def test_only_stages_that_run_wait_for_something(log: RunLog) -> None:
    await log.write(stage("BIAS.ACQUIRE", StageState.RUNNING))
    await log.write(stage("BIAS.VERIFY", StageState.FAILED))
    log.waiting("BIAS.ACQUIRE", "frame 1", 30.0)
    log.waiting("BIAS.VERIFY", "a job")
    assert [(who, wait.for_what, wait.until > 0) for who, wait in log.waits.items()] == [
        ("BIAS.ACQUIRE", "frame 1", True)
    ]


async def test_snapshot_is_what_status_answers(log: RunLog) -> None:
    for entry in one_of_each():
        await log.write(entry)
    assert log.snapshot() == {
        "runId": RUN_ID,
        "runState": 2,
        "reason": "The run is in progress",
        "stages": [{"stageName": "BIAS.VERIFY", "state": 4, "jobId": "job-02", "reason": "BIAS is FAILED: …"}],
        "imagesTaken": 1,
        "imagesExpected": 2,
    }


def stored_status(**fields: object) -> str:
    """Return the entries of a run of which nothing but its state is known, with some fields spoilt."""
    return json.dumps([{"entry": "RunStatus", **dataclasses.asdict(run_status()), **fields}])


async def test_entries_that_are_spoilt_below_are_good_before(journal: Journal, world: World) -> None:
    stored = StoredRun(RUN_ID, RunState.RUNNING, stored_status())
    assert RunLog.from_stored(stored, journal, world.hear).status == run_status()


@pytest.mark.parametrize(
    "entries",
    [
        "",
        "{",
        "null",
        "[1]",
        '{"entry": "RunStatus"}',
        '[{"entry": "Nonsense"}]',
        '[{"entry": "RunConfiguration", "run_id": "x"}]',
        '[{"entry": 3}]',
        "[" * 100_000,
        # No word of the run's own state, or two.
        "[ ]",
        f'[{{"entry": "RunConfiguration", "run_id": "{RUN_ID}", "config": ""}}]',
        stored_status()[:-1] + ", " + stored_status()[1:],
        # Of another run, in another state than the row says, in none that there is, or with values of other types.
        stored_status(run_id="20261122-002"),
        stored_status(state=4),
        stored_status(state=99),
        stored_status(state=None),
        stored_status(state="2"),
        stored_status(state=True),
        stored_status(reason=None),
        stored_status(images_expected="2"),
        stored_status(images_expected=2.5),
        stored_status(timestamp_accepted="now"),
    ],
)
async def test_entries_that_make_no_sense_are_told_in_a_sentence(journal: Journal, world: World, entries: str) -> None:
    with pytest.raises(JournalError, match=rf"has of run {RUN_ID} can't be understood"):
        RunLog.from_stored(StoredRun(RUN_ID, RunState.RUNNING, entries), journal, world.hear)


async def test_entry_of_an_alarm_has_no_thing_of_its_own(log: RunLog) -> None:
    await log.write(Alarms(run_failed=True))
    await log.write(Alarms())
    assert log.of(Alarms) == [Alarms()]


async def test_stages_are_found_by_name_and_by_state(log: RunLog) -> None:
    for state in STAGE_MOVES:
        await log.write(stage(f"{state.name}.INGEST", state, stage_kind=StageKind.INGEST))
    assert log.stage("FAILED.INGEST").state is StageState.FAILED
    assert [one.stage_name for one in log.stages_in(StageState.FAILED, StageState.PENDING)] == [
        "PENDING.INGEST",
        "FAILED.INGEST",
    ]
