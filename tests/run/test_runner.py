# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked for, and what is refused."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.enums import RunState, StageState
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.record.events import (
    Alarms,
    ImageIngested,
    ImageTaken,
    JobState,
    RunConfiguration,
    RunStatus,
    StageStatus,
)
from lsst.ts.comcamcalib.run.owner import JournalError
from lsst.ts.comcamcalib.run.runner import StartRequest
from support.house import House
from support.plans import make_config
from support.services import Gate

BIAS = {"script_mode": "BIAS"}


async def refusal(house: House, **options) -> str:
    with pytest.raises(BadInputError) as caught:
        await house.start(**options)
    return str(caught.value)


async def test_run_gets_the_next_id_of_the_day(house: House) -> None:
    for number in (1, 2):
        assert await house.start(**BIAS) == f"{today()}-{number:03d}"
        await house.ended()


@pytest.mark.parametrize(
    ("tai", "day_obs"), [(1795953599.0, 20261128), (1795953600.0, 20261129), (1795910400.0, 20261128)]
)
def test_day_of_observation_begins_at_noon_tai(monkeypatch: pytest.MonkeyPatch, tai: float, day_obs: int) -> None:
    monkeypatch.setattr("lsst.ts.utils.current_tai", lambda: tai)
    assert today() == day_obs


async def test_all_mistakes_of_the_options_are_told_and_nothing_moves(house: House) -> None:
    text = await refusal(house, exp_ttimes_dark=1, detectors=[9])
    assert "exp_ttimes_dark: no such option; did you mean exp_times_dark?" in text
    assert "detectors" in text
    assert house.published == []
    assert await house.journal.read("") is None


async def test_all_problems_outside_are_told_at_once(house: House) -> None:
    house.observatory.components.sentences = [
        "CCCamera is in STANDBY: enable it.",
        "OPCS:2 sends no heartbeat any more.",
    ]
    house.observatory.uws.error = "Connection refused"
    text = await refusal(
        house, **BIAS, input_collections_bias="LSSTComCam/none", input_collections_verify_bias="u/nobody"
    )
    assert text.splitlines() == [
        "CCCamera is in STANDBY: enable it.",
        "OPCS:2 sends no heartbeat any more.",
        "The UWS, which runs the jobs, can't be used: Connection refused",
        "There is no collection LSSTComCam/none in /repo/LSSTComCam, an input of BIAS.GENERATE; name one that exists",
        "There is no collection u/nobody in /repo/LSSTComCam, an input of BIAS.VERIFY; name one that exists",
    ]
    assert house.published == []


async def test_collection_to_certify_in_need_not_exist_but_that_of_the_raws_must(house: House) -> None:
    house.observatory.world.collections.remove("LSSTComCam/raw/all")
    assert "There is no collection LSSTComCam/raw/all" in await refusal(house, calib_collection="LSSTComCam/calib/new")


async def test_check_that_hangs_is_named_after_the_limit(house: House) -> None:
    house.runner.config = make_config(limits={"preflight": 0.05})
    house.observatory.uws.gate = Gate()
    house.observatory.components.sentences = ["CCOODS is in FAULT."]
    text = await refusal(house, **BIAS)
    assert "CCOODS is in FAULT." in text
    assert "The UWS did not answer within 0.05 s; try again" in text
    assert "Butler" not in text


async def test_uws_and_repository_that_hang_together_cost_the_limit_once_and_are_both_named(house: House) -> None:
    house.runner.config = make_config(limits={"preflight": 0.05})
    house.observatory.uws.gate = Gate()
    gate = house.observatory.repository.gates["missing_collections"] = Gate()
    text = await refusal(house, **BIAS)
    assert [line.split(" did not answer within 0.05 s")[0] for line in text.splitlines()] == [
        "The UWS",
        "The Butler repository",
    ]
    gate.open()


def test_checks_leave_room_for_the_answer_within_loves_ten_seconds() -> None:
    assert make_config().limits.preflight == 7
    with pytest.raises(BadInputError, match=r"preflight is 8\.5 s, more than 8 s"):
        make_config(limits={"preflight": 8.5})


async def test_camera_that_is_at_work_refuses_the_run_and_says_until_when(house: House) -> None:
    busy = "CCCamera is taking an image: CC_O_20261122_000007 of 600 s, until 12:10:30 TAI at the latest. Wait."
    house.observatory.camera.busy = busy
    assert await refusal(house, **BIAS) == busy
    assert house.observatory.camera.requests == []


async def test_butler_that_can_not_be_used_refuses_the_run(house: House) -> None:
    house.observatory.repository.errors["missing_collections"] = "no such file"
    assert await refusal(house, **BIAS) == "The repository /repo/LSSTComCam can't be used: no such file"


async def test_check_with_a_bug_leaves_no_task_behind(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[str]:
        raise ZeroDivisionError

    monkeypatch.setattr(house.observatory.components, "problems", broken)
    house.observatory.uws.gate = Gate()
    house.runner.config = make_config(limits={"preflight": 0.05})
    with pytest.raises(ZeroDivisionError):
        await house.start(**BIAS)


async def test_leaving_enabled_during_the_checks_refuses_the_run(house: House) -> None:
    gate = house.observatory.uws.gate = Gate()
    starting = asyncio.create_task(house.start(**BIAS))
    await gate.until_reached()
    await house.runner.disconnect("The CSC went to DISABLED")
    gate.open()
    with pytest.raises(BadInputError, match="The CSC left ENABLED while the checks were going on"):
        await starting
    assert house.published == []


async def test_leaving_enabled_while_the_run_gets_its_number_refuses_it(house: House) -> None:
    new_run, gate = house.journal.new_run, Gate()

    async def slow(day_obs: int) -> str:
        await gate.pass_through()
        return await new_run(day_obs)

    house.journal.new_run = slow  # type: ignore[method-assign]
    starting = asyncio.create_task(house.start(**BIAS))
    await gate.until_reached()
    await house.runner.disconnect("The CSC went to DISABLED")
    gate.open()
    with pytest.raises(BadInputError, match="left ENABLED"):
        await starting
    assert await house.journal.open_runs() == []


async def test_leaving_enabled_while_the_run_is_being_accepted_interrupts_it(house: House) -> None:
    leaving: list[asyncio.Task[None]] = []

    def leave(entry: object) -> None:
        if isinstance(entry, RunConfiguration):
            leaving.append(asyncio.create_task(house.runner.disconnect("The CSC went to DISABLED")))

    house.on_published = leave
    await house.start(**BIAS)
    await asyncio.gather(*leaving)
    assert house.status.state is RunState.INTERRUPTED
    assert house.observatory.camera.requests == []


async def test_no_run_without_a_connection(house: House) -> None:
    await house.runner.disconnect("The CSC went to DISABLED")
    assert "it must be ENABLED" in await refusal(house, **BIAS)


@pytest.mark.parametrize("interrupted", [False, True])
async def test_second_start_is_refused_and_the_ways_out_are_named(house: House, interrupted: bool) -> None:
    house.observatory.jobs.hold("cpBias")
    run_id = await house.start(**BIAS)
    await house.observatory.jobs.until_executing("cpBias")
    if interrupted:
        await house.runner.disconnect("The CSC went to DISABLED")
        house.runner.connect(house.observatory.services)
    text = await refusal(house, **BIAS)
    assert f"Run {run_id} is open ({'INTERRUPTED' if interrupted else 'RUNNING'})" in text
    assert "abort" in text
    assert "resume" not in text, "resume is refused, so nobody may be sent there"


async def test_abort_while_the_start_is_being_checked_calls_it_off_at_once(house: House) -> None:
    gate = house.observatory.uws.gate = Gate()
    starting = asyncio.create_task(house.start(**BIAS))
    await gate.until_reached()
    await house.runner.abort("op2@console")
    # The check that hangs is not waited for.
    with pytest.raises(BadInputError, match="Aborted by op2@console while it was being checked; no run was begun"):
        await asyncio.wait_for(starting, 5)
    assert house.published == []
    assert house.observatory.camera.requests == []
    assert house.runner.open_run is None
    # And nothing of it stands in the way of the next one.
    house.observatory.uws.gate = None
    await house.start(**BIAS)
    assert (await house.ended()).state is RunState.COMPLETED


async def test_abort_while_the_run_gets_its_number_calls_it_off(house: House) -> None:
    new_run, gate = house.journal.new_run, Gate()

    async def slow(day_obs: int) -> str:
        await gate.pass_through()
        return await new_run(day_obs)

    house.journal.new_run = slow  # type: ignore[method-assign]
    starting = asyncio.create_task(house.start(**BIAS))
    await gate.until_reached()
    await house.runner.abort("op")
    gate.open()
    with pytest.raises(BadInputError, match="Aborted by op while it was being checked"):
        await starting
    assert await house.journal.open_runs() == []
    assert house.published == []


async def test_two_starts_at_the_same_time_make_one_run(house: House) -> None:
    results = await asyncio.gather(house.start(**BIAS), house.start(**BIAS), return_exceptions=True)
    assert [type(result) for result in results] == [str, BadInputError]
    assert "Another run is being checked right now" in str(results[1])
    await house.ended()
    # And a refused or failed start does not stand in the way of the next one.
    await refusal(house, nonsense=1)
    await house.start(**BIAS)


async def test_journal_that_can_not_be_written_refuses_the_run(house: House) -> None:
    await house.journal.close()
    with pytest.raises(JournalError, match="Could not give the next run id"):
        await house.start(**BIAS)
    assert house.observatory.camera.requests == []
    assert house.published == []


async def test_abort_without_an_open_run_is_refused(house: House) -> None:
    with pytest.raises(BadInputError, match="There is no open run that could be aborted"):
        await house.runner.abort("op")


async def test_second_abort_is_refused(house: House) -> None:
    gate = house.observatory.camera.gates["BIAS", 1] = Gate()
    run_id = await house.start(**BIAS)
    await gate.until_reached()
    await house.runner.abort("op")
    with pytest.raises(BadInputError, match=f"Run {run_id} is being aborted already"):
        await house.runner.abort("op")
    assert (await refusal(house, **BIAS)).endswith("Wait for its end; progress says what it waits for.")
    activity = house.runner.progress().activity
    assert activity.startswith("Aborted by op; BIAS.ACQUIRE: BIAS frame 1 of ") and "at the latest" in activity
    gate.open()
    await house.ended()


async def test_command_fields_reach_the_frames(house: House) -> None:
    request = StartRequest('{"script_mode": "BIAS", "program": "P2"}', "REASON", "P1", "a note", "love@host")
    await house.runner.start_run(request)
    await house.ended()
    frame = house.observatory.camera.requests[0]
    assert (frame.reason, frame.program, frame.note) == ("REASON", "P2", "a note")
    assert house.status.requested_by == "love@host"


async def test_notices_of_the_options_are_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    await house.start(**BIAS, certify_calib_begin_date="2020-01-01", certify_calib_end_date="2020-01-02")
    await house.ended()
    assert "covers nothing of day_obs" in caplog.text


# Status


async def test_status_tells_everything_again(house: House) -> None:
    run_id = await house.start(**BIAS)
    await house.ended()
    newest = {
        (type(entry), getattr(entry, "stage_name", ""), getattr(entry, "exposure_id", 0)): entry
        for entry in house.published
    }
    house.published.clear()
    snapshot = await house.runner.publish_status("")
    assert (snapshot["runId"], snapshot["runState"]) == (run_id, RunState.COMPLETED)
    assert snapshot["imagesTaken"] == snapshot["imagesExpected"] == 2
    assert [stage["state"] for stage in snapshot["stages"]] == [StageState.SUCCEEDED] * 5  # type: ignore[attr-defined]
    assert isinstance(house.published[-1], Alarms)
    again = {
        (type(entry), getattr(entry, "stage_name", ""), getattr(entry, "exposure_id", 0)) for entry in house.published
    }
    assert again >= {key for key in newest if key[0] is not Alarms}


async def two_runs(house: House) -> tuple[str, str]:
    """Let a run fail and another one wait for its job; return their ids."""
    house.observatory.jobs.failing["cpBias"] = "x"
    first = await house.start(**BIAS)
    await house.ended()
    house.observatory.jobs.failing.clear()
    house.observatory.jobs.hold("cpBias")
    second = await house.start(**BIAS)
    await house.observatory.jobs.until_executing("cpBias")
    return first, second


async def test_status_of_an_older_run_comes_from_the_journal(house: House) -> None:
    first, _ = await two_runs(house)
    house.published.clear()
    snapshot = await house.runner.publish_status(first)
    assert (snapshot["runId"], snapshot["runState"]) == (first, RunState.FAILED)
    assert house.of(RunStatus)[0].run_id == first


async def test_status_of_an_older_run_leaves_the_open_one_as_the_last_word_on_each_topic(house: House) -> None:
    """Whoever joins late gets only the last sample of each topic, and must not take the old run for the open one."""
    first, second = await two_runs(house)
    alarms = house.alarms
    house.published.clear()
    await house.runner.publish_status(first)
    last = {type(entry): entry for entry in house.published}
    assert {RunStatus, RunConfiguration, StageStatus, ImageTaken, ImageIngested, JobState, Alarms} <= last.keys()
    assert {getattr(entry, "run_id", second) for entry in last.values()} == {second}
    assert last[Alarms] == alarms
    assert {entry.run_id for entry in house.of(RunStatus)} == {first, second}
    # What of the open run changes meanwhile comes after all of it, too.
    assert house.runner.progress().run_id == second


async def test_status_of_no_run_is_refused(house: House) -> None:
    with pytest.raises(BadInputError, match="There has been no run yet"):
        await house.runner.publish_status("")
    with pytest.raises(BadInputError, match="There is no run 20200101-001"):
        await house.runner.publish_status("20200101-001")


async def test_run_that_got_its_number_and_nothing_else_is_closed_at_the_next_start(tmp_path: Path) -> None:
    house = await House(make_config(), tmp_path / "journal.sqlite").open()
    completed = await house.start(**BIAS)
    await house.ended()
    await house.journal.new_run(today())
    await house.close()
    after = await House(house.config, house.path, house.observatory).open()
    assert after.runner.open_run is None
    assert (await after.runner.publish_status(""))["runId"] == completed
    assert await after.start(**BIAS) == f"{today()}-003"
    await after.ended()
    await after.close()


async def spoilt_house(tmp_path: Path, statement: str) -> House:
    """Complete two runs, end the process, and change the journal by a statement; the first run is 001."""
    house = await House(make_config(), tmp_path / "journal.sqlite").open()
    for _ in range(2):
        await house.start(**BIAS)
        await house.ended()
    await house.close()
    with sqlite3.connect(house.path) as connection:
        connection.execute(statement)
    return House(house.config, house.path, house.observatory)


LATEST = "run_id LIKE '%-002'"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("state = 99", r"make no sense \(state 99\)"),
        ("state = 'RUNNING'", r"make no sense \(state 'RUNNING'\)"),
        ("state = 2, entries = '[{}]'", "can't be understood"),
        ("state = 2, entries = '[ ]'", "can't be understood"),
        ("state = 4, entries = '{'", "can't be understood"),
        ("state = 2", "can't be understood"),
        ("state = 2, entries = x'5b5d'", r"make no sense \(no text\)"),
    ],
)
async def test_damaged_journal_is_told_in_a_sentence(tmp_path: Path, change: str, words: str) -> None:
    house = await spoilt_house(tmp_path, f"UPDATE runs SET {change} WHERE {LATEST}")
    with pytest.raises(JournalError, match=words) as caught:
        await house.open()
    assert f"{today()}-002" in str(caught.value) and "ove the file away" in str(caught.value)
    await house.journal.close()


async def test_old_run_of_an_unknown_state_may_be_an_open_one(tmp_path: Path) -> None:
    house = await spoilt_house(tmp_path, f"UPDATE runs SET state = 99 WHERE NOT {LATEST}")
    with pytest.raises(JournalError, match=r"has run .*-001 with a state .* make no sense \(state 99\)"):
        await house.open()
    await house.journal.close()


async def test_old_run_that_ended_and_is_damaged_is_refused_and_stops_nobody(tmp_path: Path) -> None:
    house = await spoilt_house(tmp_path, f"UPDATE runs SET entries = '[{{}}]' WHERE NOT {LATEST}")
    await house.open()
    with pytest.raises(BadInputError, match=r"has of run .*-001 can't be understood"):
        await house.runner.publish_status(f"{today()}-001")
    await house.start(**BIAS)
    assert (await house.ended()).state is RunState.COMPLETED
    await house.close()


async def test_run_whose_end_is_not_in_the_journal_can_be_closed_though_others_came_after_it(tmp_path: Path) -> None:
    """What came of a disk that was full for a while: an open run that is not the latest."""
    house = await spoilt_house(tmp_path, "SELECT 1")
    with sqlite3.connect(house.path) as connection:
        (entries,) = connection.execute(f"SELECT entries FROM runs WHERE NOT {LATEST}").fetchone()
        changed = json.loads(entries)
        changed[0]["state"] = int(RunState.RUNNING)
        connection.execute(f"UPDATE runs SET state = 2, entries = ? WHERE NOT {LATEST}", (json.dumps(changed),))
    await house.open()
    first = f"{today()}-001"
    assert (house.status.run_id, house.status.state) == (first, RunState.INTERRUPTED)
    assert f"Run {first} is open (INTERRUPTED)" in await refusal(house, **BIAS)
    assert (await house.runner.publish_status(""))["runId"] == first
    assert house.runner.progress().run_id == first
    await house.runner.abort("op")
    await house.until(lambda: house.status.state is RunState.ABORTED)
    assert house.status.run_id == first
    await house.start(**BIAS)
    assert (await house.ended()).state is RunState.COMPLETED
    await house.close()


async def test_disk_that_was_full_at_the_end_of_a_run_and_is_free_again_leaves_no_open_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.run.log.RETRY_INTERVAL_S", 0.02)
    house = await House(make_config(), tmp_path / "journal.sqlite").open()
    gate = house.observatory.camera.gates["BIAS", 1] = Gate()
    run_id = await house.start(**BIAS)
    await gate.until_reached()
    fill(house)
    gate.open()
    assert (await house.ended()).state is RunState.COMPLETED
    assert house.runner._latest is not None and house.runner._latest.journal_problem
    # No other run is begun while this one's end is not written: the journal would have two open ones.
    text = await refusal(house, **BIAS)
    assert text.startswith(f"The end of run {run_id} is not in the journal yet, so no other run is started.")
    assert "database or disk is full" in text
    assert house.runner.unwritten, "so a fault, which closes the journal, would lose it"
    make_room(house)
    async with asyncio.timeout(20):
        while house.runner._latest.journal_problem:  # noqa: ASYNC110  whoever asks is told by a property
            await asyncio.sleep(0.01)
    await house.runner.update_alarms()
    assert not house.alarms.journal_degraded
    await house.die()
    after = await House(house.config, house.path, house.observatory).open()
    assert after.runner.open_run is None
    assert after.of(RunStatus) == [], "nothing is announced as INTERRUPTED"
    snapshot = await after.runner.publish_status("")
    assert (snapshot["runId"], snapshot["runState"]) == (run_id, RunState.COMPLETED)
    await after.close()


def fill(house: House) -> None:
    """Make the disk full, as SQLite sees it."""
    connection = house.journal._connection
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")


def make_room(house: House) -> None:
    assert house.journal._connection is not None
    house.journal._connection.execute("PRAGMA max_page_count = 1000000")


async def test_a_collection_for_other_things_and_a_filter_that_is_not_there_are_refused_at_once(house: House) -> None:
    house.observatory.repository.obstacles["LSSTComCam/calib"] = "it is a CHAINED collection"
    text = await refusal(house, calib_collection="LSSTComCam/calib", filter="z_99")
    assert text.splitlines() == [
        "calib_collection: it is a CHAINED collection",
        "filter: The camera has no filter z_99.",
    ]
    assert not house.observatory.camera.requests
