# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked for, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from lsst.ts import utils
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.plan.validity import day_obs_of
from lsst.ts.comcamcalib.record.events import (
    RunConfiguration,
)
from lsst.ts.comcamcalib.record.facts import Entry, RunAccepted
from lsst.ts.comcamcalib.run.owner import JournalError
from lsst.ts.comcamcalib.run.runner import StartRequest
from support.house import House
from support.plans import make_config
from support.services import Gate

BIAS = {"script_mode": "BIAS", "oods_timeout": 0.2}


def today() -> int:
    return day_obs_of(utils.current_tai())


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
def test_day_of_observation_begins_at_noon_tai(tai: float, day_obs: int) -> None:
    assert day_obs_of(tai) == day_obs


async def test_all_mistakes_of_the_options_are_told_and_nothing_moves(house: House) -> None:
    text = await refusal(house, exp_ttimes_dark=1, detectors=[9])
    assert "exp_ttimes_dark: no such option; did you mean exp_times_dark?" in text
    assert "detectors" in text
    assert house.published == []
    assert await house.journal.latest() == ""


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
        "There is no collection LSSTComCam/none in LSSTComCam, an input of BIAS.GENERATE; name one that exists",
        "There is no collection u/nobody in LSSTComCam, an input of BIAS.VERIFY; name one that exists",
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
    assert await refusal(house, **BIAS) == "The repository LSSTComCam can't be used: no such file"


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


async def test_leaving_enabled_while_the_run_gets_its_number_interrupts_it(house: House) -> None:
    begin, gate = house.journal.begin, Gate()

    async def slow(day_obs: int, at: float, accept: Callable[[str], RunAccepted]) -> Entry:
        await gate.pass_through()
        return await begin(day_obs, at, accept)

    house.journal.begin = slow  # type: ignore[method-assign]
    starting = asyncio.create_task(house.start(**BIAS))
    await gate.until_reached()
    await house.runner.disconnect("The CSC went to DISABLED")
    gate.open()
    with pytest.raises(BadInputError, match="is INTERRUPTED already: The CSC left ENABLED while the run was being"):
        await starting
    assert house.status.state is RunState.INTERRUPTED
    assert house.observatory.camera.requests == []


async def test_leaving_enabled_while_the_run_is_being_accepted_interrupts_it(house: House) -> None:
    leaving: list[asyncio.Task[None]] = []

    def leave(entry: object) -> None:
        if isinstance(entry, RunConfiguration):
            leaving.append(asyncio.create_task(house.runner.disconnect("The CSC went to DISABLED")))

    house.on_published = leave
    text = await refusal(house, **BIAS)
    assert "was accepted, but it is INTERRUPTED already: The CSC went to DISABLED. Go on with resume" in text
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
    assert ("resumeCalibrationRun" in text) == interrupted


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


async def test_abort_while_the_run_gets_its_number_ends_it(house: House) -> None:
    """Nobody can say whether it is in the journal already, so it ends like any other that is."""
    begin, gate = house.journal.begin, Gate()

    async def slow(day_obs: int, at: float, accept: Callable[[str], RunAccepted]) -> Entry:
        entry = await begin(day_obs, at, accept)
        await gate.pass_through()
        return entry

    house.journal.begin = slow  # type: ignore[method-assign]
    starting = asyncio.create_task(house.start(**BIAS))
    await gate.until_reached()
    await house.runner.abort("op")
    gate.open()
    with pytest.raises(BadInputError, match="was accepted, but it is ABORTING already: Aborted by op"):
        await starting
    assert (await house.ended()).state is RunState.ABORTED
    assert house.observatory.camera.requests == []


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
    with pytest.raises(JournalError, match="Could not begin a run in the journal"):
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


async def test_a_collection_for_other_things_and_a_filter_that_is_not_there_are_refused_at_once(house: House) -> None:
    house.observatory.repository.obstacles["LSSTComCam/calib"] = "it is a CHAINED collection"
    text = await refusal(house, calib_collection="LSSTComCam/calib", filter="z_99")
    assert text.splitlines() == [
        "calib_collection: it is a CHAINED collection",
        "filter: The camera has no filter z_99.",
    ]
    assert not house.observatory.camera.requests
