# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked for, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.enums import RunState, StageState
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.plan.record import Alarms, RunConfiguration, RunStatus
from lsst.ts.comcamcalib.run.journal import JournalError, StoredRun
from lsst.ts.comcamcalib.run.runner import StartRequest, current_day_obs
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
        assert await house.start(**BIAS) == f"{current_day_obs()}-{number:03d}"
        await house.ended()


@pytest.mark.parametrize(
    ("tai", "day_obs"), [(1795953599.0, 20261128), (1795953600.0, 20261129), (1795910400.0, 20261128)]
)
def test_day_of_observation_begins_at_noon_tai(monkeypatch: pytest.MonkeyPatch, tai: float, day_obs: int) -> None:
    monkeypatch.setattr("lsst.ts.utils.current_tai", lambda: tai)
    assert current_day_obs() == day_obs


async def test_all_mistakes_of_the_options_are_told_and_nothing_moves(house: House) -> None:
    text = await refusal(house, exp_ttimes_dark=1, detectors=[9])
    assert "exp_ttimes_dark: no such option; did you mean exp_times_dark?" in text
    assert "detectors" in text
    assert house.told == []
    assert await house.journal.read("") is None


async def test_all_problems_outside_are_told_at_once(house: House) -> None:
    house.observatory.components.sentences = ["CCCamera is in STANDBY: enable it.", "OPCS:2 gives no sign of life."]
    house.observatory.uws.error = "Connection refused"
    text = await refusal(
        house, **BIAS, input_collections_bias="LSSTComCam/none", input_collections_verify_bias="u/nobody"
    )
    assert text.splitlines() == [
        "CCCamera is in STANDBY: enable it.",
        "OPCS:2 gives no sign of life.",
        "The UWS, which runs the jobs, can't be used: Connection refused",
        "There is no collection LSSTComCam/none in /repo/LSSTComCam, an input of BIAS.GENERATE; name one that exists",
        "There is no collection u/nobody in /repo/LSSTComCam, an input of BIAS.VERIFY; name one that exists",
    ]
    assert house.told == []


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
    assert house.told == []


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

    house.on_told = leave
    await house.start(**BIAS)
    await asyncio.gather(*leaving)
    assert house.status.state is RunState.INTERRUPTED
    assert house.observatory.camera.requests == []


async def test_no_run_without_a_connection(house: House) -> None:
    await house.runner.disconnect("The CSC went to DISABLED")
    assert "has to be ENABLED" in await refusal(house, **BIAS)


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
    assert "resume" in text and "abort" in text


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
    assert house.told == []


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
        (type(entry), getattr(entry, "stage_name", ""), getattr(entry, "exposure_id", 0)): entry for entry in house.told
    }
    house.told.clear()
    snapshot = await house.runner.publish_status("")
    assert (snapshot["runId"], snapshot["runState"]) == (run_id, RunState.COMPLETED)
    assert snapshot["imagesTaken"] == snapshot["imagesExpected"] == 2
    assert [stage["state"] for stage in snapshot["stages"]] == [StageState.SUCCEEDED] * 5  # type: ignore[attr-defined]
    assert isinstance(house.told[-1], Alarms)
    again = {(type(entry), getattr(entry, "stage_name", ""), getattr(entry, "exposure_id", 0)) for entry in house.told}
    assert again >= {key for key in newest if key[0] is not Alarms}


async def test_status_of_an_older_run_comes_from_the_journal(house: House) -> None:
    house.observatory.jobs.failing["cpBias"] = "x"
    first = await house.start(**BIAS)
    await house.ended()
    house.observatory.jobs.failing.clear()
    await house.start(**BIAS)
    await house.ended()
    alarms = len(house.of(Alarms))
    assert (await house.runner.publish_status(first))["runState"] == RunState.FAILED
    assert house.of(RunStatus)[-1].run_id == first
    assert len(house.of(Alarms)) == alarms, "alarms are the latest run's"


async def test_status_of_no_run_is_refused(house: House) -> None:
    with pytest.raises(BadInputError, match="There has been no run yet"):
        await house.runner.publish_status("")
    with pytest.raises(BadInputError, match="There is no run 20200101-001"):
        await house.runner.publish_status("20200101-001")


async def test_run_that_got_its_number_and_nothing_else_is_closed_at_the_next_start(tmp_path: Path) -> None:
    house = await House(make_config(), tmp_path / "journal.sqlite").open()
    completed = await house.start(**BIAS)
    await house.ended()
    await house.journal.new_run(current_day_obs())
    await house.close()
    after = await House(house.config, house.path, house.observatory).open()
    assert after.runner.open_log is None
    assert (await after.runner.publish_status(""))["runId"] == completed
    assert await after.start(**BIAS) == f"{current_day_obs()}-003"
    await after.ended()
    await after.close()


async def test_damaged_journal_is_told_in_a_sentence(tmp_path: Path) -> None:
    house = await House(make_config(), tmp_path / "journal.sqlite").open()
    run_id = await house.journal.new_run(20261122)
    await house.journal.write(StoredRun(run_id, RunState.RUNNING, "[{}]"))
    await house.close()
    with pytest.raises(JournalError, match=f"has of run {run_id} can't be understood"):
        await House(house.config, house.path).open()


async def test_a_collection_for_other_things_and_a_filter_that_is_not_there_are_refused_at_once(house: House) -> None:
    house.observatory.repository.obstacles["LSSTComCam/calib"] = "it is a CHAINED collection"
    text = await refusal(house, calib_collection="LSSTComCam/calib", filter="z_99")
    assert text.splitlines() == [
        "calib_collection: it is a CHAINED collection",
        "filter: The camera has no filter z_99.",
    ]
    assert not house.observatory.camera.requests
