# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be resumed, what is refused, and what is done again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from lsst.ts.comcamcalib.enums import RunState, StageState
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.record.events import Event, RunStatus, StageStatus
from lsst.ts.comcamcalib.run import start as start_module
from lsst.ts.comcamcalib.run.journal import WRITE_LIMIT_S
from support.house import House
from support.plans import make_config
from support.services import Gate

pytestmark = pytest.mark.usefixtures("quick_looks")

BIAS = {"script_mode": "BIAS", "oods_timeout": 0.1}


async def refusal(house: House, run_id: str = "") -> str:
    with pytest.raises(BadInputError) as caught:
        await house.runner.resume(run_id, "op@console")
    return str(caught.value)


def attempts(house: House) -> dict[str, int]:
    return {stage.stage_name: stage.attempt for stage in house.of(StageStatus)}


async def failed(house: House, **options: Any) -> str:
    """Let a run fail, because its first job does; return its id."""
    house.observatory.jobs.failing["cpBias"] = "RuntimeError: boom"
    run_id = await house.start(**BIAS, **options)
    assert (await house.ended()).state is RunState.FAILED
    house.observatory.jobs.failing.clear()
    return run_id


async def aborted(house: House) -> str:
    """Abort a run while its first job executes; return its id."""
    jobs = house.observatory.jobs
    jobs.hold("cpBias")
    run_id = await house.start(**BIAS)
    await jobs.until_executing("cpBias")
    await house.runner.abort("op")
    assert (await house.ended()).state is RunState.ABORTED
    jobs.held.clear()
    return run_id


async def test_interrupted_run_goes_on_with_the_job_that_ran_on(house: House) -> None:
    run_id = await house.interrupted()
    result = await house.runner.resume("", "op@console", "the network is back")
    assert result == {
        "runId": run_id,
        "plan": "No frame of the plan is taken again; stages to be done: BIAS.GENERATE, BIAS.VERIFY, BIAS.CERTIFY",
    }
    running = [one.reason for one in house.of(RunStatus) if one.state is RunState.RUNNING]
    assert running == ["The run is in progress", "Resumed by op@console: the network is back"]
    assert (await house.ended()).state is RunState.COMPLETED
    assert house.observatory.jobs.labels == ["cpBias", "verifyBias"]
    assert house.observatory.jobs.aborted == []
    assert set(attempts(house).values()) == {1}
    assert not house.alarms.operator_decision_needed


async def test_answer_does_not_wait_for_a_journal_that_is_slow(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is due within 10 s, and the checks may have taken most of them."""
    await house.interrupted()
    slow, append = asyncio.Event(), house.journal.append

    async def append_later(*arguments: Any) -> None:
        await slow.wait()
        await append(*arguments)

    monkeypatch.setattr(house.journal, "append", append_later)
    monkeypatch.setattr(start_module, "ANSWER_LIMIT_S", 1.0)
    async with asyncio.timeout(5.0):
        await house.runner.resume("", "op@console")
    assert house.runner.run is not None
    assert house.runner.run.state is RunState.RUNNING
    slow.set()
    assert (await house.ended()).state is RunState.COMPLETED


@pytest.mark.parametrize(("answer_s", "check_s"), [(9.5, 7.0), (6.5, 4.0), (1.0, 0.5)])
async def test_checks_have_what_the_journal_has_left_of_the_time(
    answer_s: float, check_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start_module, "ANSWER_LIMIT_S", answer_s)
    assert start_module.Checking().check_limit_s(make_config().limits) == check_s


async def test_checks_and_journal_together_are_within_the_limit_of_love() -> None:
    assert make_config().limits.preflight + WRITE_LIMIT_S <= start_module.ANSWER_LIMIT_S < 10.0


async def test_failed_run_takes_no_good_frame_again_and_does_again_what_failed(house: House) -> None:
    run_id = await failed(house)
    assert house.alarms.run_failed
    result = await house.runner.resume("", "op@console")
    assert result["runId"] == run_id
    assert result["plan"] == (
        "No frame of the plan is taken again; stages to be done: BIAS.GENERATE, BIAS.VERIFY, BIAS.CERTIFY; of these "
        "done again: BIAS.GENERATE"
    )
    status = await house.ended()
    assert status.state is RunState.COMPLETED, status.reason
    assert len(house.observatory.camera.requests) == 2
    assert house.observatory.jobs.labels == ["cpBias", "cpBias", "verifyBias"]
    assert attempts(house) == {
        "BIAS.ACQUIRE": 1,
        "BIAS.INGEST": 1,
        "BIAS.GENERATE": 2,
        "BIAS.VERIFY": 2,
        "BIAS.CERTIFY": 2,
    }
    assert len(house.observatory.world.certificates) == 3
    assert not house.alarms.run_failed


async def test_failed_acquisition_takes_only_the_frames_that_are_missing(house: House) -> None:
    house.observatory.camera.errors["BIAS", 2] = "the shutter is stuck"
    await house.start(**BIAS)
    assert (await house.ended()).state is RunState.FAILED
    result = await house.runner.resume("", "op")
    assert result["plan"].startswith("1 frames are still to be taken; stages to be done: BIAS.ACQUIRE, ")
    assert (await house.ended()).state is RunState.COMPLETED
    assert [one.kind for one in house.observatory.world.exposures.values()] == ["BIAS", "BIAS"]
    assert attempts(house)["BIAS.ACQUIRE"] == attempts(house)["BIAS.INGEST"] == 2


async def test_run_that_fails_again_can_be_resumed_again(house: House) -> None:
    run_id = await failed(house)
    house.observatory.jobs.failing["cpBias"] = "RuntimeError: boom again"
    await house.runner.resume("", "op")
    status = await house.ended()
    assert status.state is RunState.FAILED and "boom again" in status.reason
    assert attempts(house)["BIAS.GENERATE"] == 2
    house.observatory.jobs.failing.clear()
    await house.runner.resume(run_id, "op")
    assert (await house.ended()).state is RunState.COMPLETED
    assert attempts(house)["BIAS.GENERATE"] == 3


async def test_aborted_run_goes_on_only_if_it_is_named(house: House) -> None:
    run_id = await aborted(house)
    assert await refusal(house) == (
        "No run was interrupted or has failed, so there is none to resume. An aborted run must be named."
    )
    await house.runner.resume(run_id, "op")
    assert (await house.ended()).state is RunState.COMPLETED
    assert len(house.observatory.camera.requests) == 2
    # The job that was aborted is done again.
    assert house.observatory.jobs.labels == ["cpBias", "cpBias", "verifyBias"]


async def test_completed_unknown_and_missing_runs_are_refused(house: House) -> None:
    assert "there is none to resume" in await refusal(house)
    run_id = await house.start(**BIAS)
    await house.ended()
    published = len(house.published)
    assert await refusal(house, run_id) == f"Run {run_id} is COMPLETED: there is nothing to resume."
    assert await refusal(house, "20200101-001") == (
        f"There is no run 20200101-001; the latest is {run_id}, and `comcamcalib runs` lists all."
    )
    assert "there is none to resume" in await refusal(house)
    assert len(house.published) == published


@pytest.mark.parametrize("state", ["RUNNING", "INTERRUPTED"])
async def test_older_run_is_refused_while_another_is_open(house: House, state: str) -> None:
    older = await failed(house)
    if state == "INTERRUPTED":
        run_id = await house.interrupted()
    else:
        house.observatory.jobs.hold("cpBias")
        run_id = await house.start(**BIAS)
        await house.observatory.jobs.until_executing("cpBias")
        assert f"Run {run_id} is open (RUNNING)" in await refusal(house, run_id)
    assert f"Run {run_id} is open ({state}); there can be only one." in await refusal(house, older)
    assert house.status.run_id == run_id


async def test_older_run_goes_on_when_none_is_open(house: House) -> None:
    older = await failed(house)
    await house.start(**BIAS)
    newer = (await house.ended()).run_id
    result = await house.runner.resume("", "op")
    assert result["runId"] == older != newer
    assert (await house.ended()).state is RunState.COMPLETED
    assert house.status.run_id == older
    assert (await house.runner.publish_status(""))["runId"] == older


async def test_components_that_are_missing_refuse_it_and_it_stays_as_it_was(house: House) -> None:
    await house.interrupted()
    house.observatory.uws.error = "Connection refused"
    house.observatory.components.sentences = ["CCCamera is in STANDBY: enable it."]
    assert (await refusal(house)).splitlines() == [
        "CCCamera is in STANDBY: enable it.",
        "The UWS, which runs the jobs, can't be used: Connection refused",
    ]
    assert house.status.state is RunState.INTERRUPTED
    assert set(attempts(house).values()) == {1}
    house.observatory.uws.error, house.observatory.components.sentences = "", []
    await house.runner.resume("", "op")
    assert (await house.ended()).state is RunState.COMPLETED


async def test_no_resumption_without_a_connection(house: House) -> None:
    await house.interrupted()
    await house.runner.disconnect("The CSC went to DISABLED")
    assert "it must be ENABLED" in await refusal(house)


@pytest.mark.parametrize(
    ("name", "value"), [("repo", "/repo/main"), ("uws_url", "http://elsewhere:8080"), ("raw_collection", "u/raw")]
)
async def test_configuration_that_differs_where_it_must_not_refuses_it(
    stored_house: House, name: str, value: str
) -> None:
    run_id = await stored_house.interrupted()
    after = await stored_house.reborn(make_config(**{name: value}))
    text = await refusal(after)
    assert text.startswith(f"Run {run_id} was begun with {name} {getattr(stored_house.config, name)}, but the CSC is ")
    remedy = "list {} in repo_names; otherwise configure it again." if name == "repo" else "or start another run."
    assert f"configured for {value}. " in text and text.endswith(remedy.format(stored_house.config.repo))
    assert after.status.state is RunState.INTERRUPTED
    await after.close()


async def test_another_name_of_the_same_repository_is_no_difference(stored_house: House) -> None:
    """A site now names it by its alias; runs from before have its path."""
    before = stored_house.config.repo
    await stored_house.interrupted()
    after = await stored_house.reborn(make_config(repo="LSSTComCam", repo_names=(f"{before}/",)))
    await after.runner.resume("", "op")
    assert (await after.ended()).state is RunState.COMPLETED
    await after.close()


async def test_run_goes_on_with_the_plan_that_it_was_accepted_with(stored_house: House) -> None:
    await stored_house.interrupted()
    after = await stored_house.reborn(make_config(max_jobs=1, limits={"journal": 7}))
    await after.runner.resume("", "op")
    assert (await after.ended()).state is RunState.COMPLETED
    assert after.runner.run is not None
    assert after.runner.run.history.plan.config == stored_house.config
    await after.close()


# Aborted or left meanwhile


def once_resumed(house: House, do: Any) -> list[asyncio.Task[None]]:
    """Do something when the resumption is published."""
    tasks: list[asyncio.Task[None]] = []

    def look(event: Event) -> None:
        if isinstance(event, RunStatus) and event.reason.startswith("Resumed by") and not tasks:
            tasks.append(asyncio.create_task(do()))

    house.on_published = look
    return tasks


@pytest.mark.parametrize("prepare", [House.interrupted, failed, aborted])
@pytest.mark.parametrize("leave", [False, True], ids=["abort", "leave"])
async def test_abort_and_leaving_enabled_while_it_is_being_resumed_count(
    house: House, prepare: Any, leave: bool, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = await prepare(house)
    jobs = len(house.observatory.world.jobs)

    async def stop() -> None:
        if leave:
            await house.runner.disconnect("The CSC went to DISABLED")
        else:
            await house.runner.abort("op2")

    tasks = once_resumed(house, stop)
    await house.runner.resume(run_id, "op")
    await asyncio.gather(*tasks)
    expected = RunState.INTERRUPTED if leave else RunState.ABORTED
    await house.until(lambda: house.status.state is expected)
    assert StageState.RUNNING not in house.states.values()
    assert len(house.observatory.world.jobs) == jobs, "nothing new was begun"
    assert "Bug" not in caplog.text
    if leave:
        house.runner.connect(house.observatory.services)
        await house.runner.resume("", "op")
        assert (await house.ended()).state is RunState.COMPLETED


@pytest.mark.parametrize("prepare", [House.interrupted, failed])
async def test_abort_while_a_resumption_is_being_checked_calls_it_off(house: House, prepare: Any) -> None:
    run_id = await prepare(house)
    gate = house.observatory.uws.gate = Gate()
    resuming = asyncio.create_task(house.runner.resume(run_id, "op"))
    await gate.until_reached()
    assert "Another run is being checked right now" in await refusal(house, run_id)
    await house.runner.abort("op2")
    with pytest.raises(BadInputError, match="Aborted by op2 while it was being checked"):
        await resuming
    # An interrupted run is closed by it; a failed one stays as it is.
    expected = RunState.ABORTED if prepare is House.interrupted else RunState.FAILED
    await house.until(lambda: house.status.state is expected)
    assert [one.reason for one in house.of(RunStatus) if one.reason.startswith("Resumed")] == []


async def test_leaving_enabled_while_a_resumption_is_being_checked_refuses_it(house: House) -> None:
    await house.interrupted()
    gate = house.observatory.uws.gate = Gate()
    resuming = asyncio.create_task(house.runner.resume("", "op"))
    await gate.until_reached()
    await house.runner.disconnect("The CSC went to DISABLED")
    with pytest.raises(BadInputError, match="The CSC left ENABLED while the checks were going on"):
        await resuming
    assert house.status.state is RunState.INTERRUPTED


async def test_run_is_resumed_while_butler_still_certifies_and_certifies_once(house: House) -> None:
    """Leaving ENABLED does not wait for Butler for long."""
    repository = house.observatory.repository
    gate = repository.gates["certify"] = Gate()
    await house.start(**BIAS)
    await gate.until_reached()
    await house.runner.disconnect("The CSC went to DISABLED", limit_s=0.05)
    assert house.status.state is RunState.INTERRUPTED
    house.runner.connect(house.observatory.services)
    resuming = asyncio.create_task(house.runner.resume("", "op"))
    await house.until(lambda: repository.asked.count("missing_collections") > 1)
    gate.open()
    await resuming
    assert (await house.ended()).state is RunState.COMPLETED
    assert repository.asked.count("certify") == 1
    assert len(house.observatory.world.certificates) == 3
    assert house.certified == {"bias"}
