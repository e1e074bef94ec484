# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""With auto_resume, an interrupted run goes on by itself."""

from __future__ import annotations

import asyncio

import pytest
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.record.events import RunStatus
from lsst.ts.comcamcalib.record.facts import Entry
from lsst.ts.comcamcalib.run.runner import Runner
from support.house import House
from support.plans import make_config
from support.services import Gate

pytestmark = pytest.mark.usefixtures("quick_looks")


async def aborting(house: House) -> str:
    """Abort a run whose first exposure has begun and does not end; return the run's id."""
    gate = house.observatory.camera.gates["BIAS", 1] = Gate()
    run_id = await house.start(script_mode="BIAS", oods_timeout=0.1)
    await gate.until_reached()
    await house.runner.abort("op")
    assert house.status.state is RunState.ABORTING
    return run_id


async def test_auto_resume_goes_on_without_anybody(stored_house: House, caplog: pytest.LogCaptureFixture) -> None:
    await stored_house.interrupted()
    after = await stored_house.reborn(make_config(auto_resume=True))
    await after.until(lambda: after.status.state is RunState.COMPLETED)
    running = [one.reason for one in after.of(RunStatus) if one.state is RunState.RUNNING]
    assert running == ["Resumed by the CSC itself (auto_resume)"]
    assert "was resumed by itself: No frame of the plan is taken again" in caplog.text
    await after.close()


async def test_auto_resume_waits_until_all_that_it_needs_is_there(
    stored_house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.run.auto_resume.AUTO_RESUME_INTERVAL_S", 0.01)
    await stored_house.interrupted()
    uws, pings = stored_house.observatory.uws, 0
    original = uws.ping

    async def ping() -> None:
        nonlocal pings
        pings += 1
        uws.error = "Connection refused" if pings < 4 else ""
        await original()

    monkeypatch.setattr(uws, "ping", ping)
    after = await stored_house.reborn(make_config(auto_resume=True))
    await after.until(lambda: after.status.state is RunState.COMPLETED)
    assert pings == 4
    assert caplog.text.count("can't be resumed yet, and is tried again: The UWS, which runs the jobs") == 1
    await after.close()


async def test_failed_run_does_not_go_on_by_itself(stored_house: House) -> None:
    stored_house.observatory.jobs.failing["cpBias"] = "RuntimeError: boom"
    await stored_house.start(script_mode="BIAS")
    assert (await stored_house.ended()).state is RunState.FAILED
    after = await stored_house.reborn(make_config(auto_resume=True))
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("auto_resume")]
    assert (await after.runner.publish_status(""))["runState"] == RunState.FAILED
    await after.close()


async def test_run_that_waits_to_be_resumed_by_itself_can_be_aborted(
    stored_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.run.auto_resume.AUTO_RESUME_INTERVAL_S", 0.01)
    await stored_house.interrupted()
    stored_house.observatory.components.sentences = ["CCCamera is in STANDBY: enable it."]
    after = await stored_house.reborn(make_config(auto_resume=True))
    await after.runner.abort("op")
    await after.until(lambda: after.status.state is RunState.ABORTED)
    await after.close()


async def is_aborted_by_itself(after: House) -> None:
    """See that a run whose abort was not finished ends ABORTED, and that nothing of it has gone on."""
    await after.until(lambda: after.status.state in (RunState.ABORTED, RunState.COMPLETED))
    assert after.status.state is RunState.ABORTED
    assert after.status.reason.startswith(
        "Aborted by op after it had been interrupted; the CSC itself (auto_resume) finishes that"
    )
    states = [one.state for one in after.of(RunStatus)]
    assert RunState.RUNNING not in states[states.index(RunState.INTERRUPTED) :]
    assert not after.certified
    assert after.runner.open_run is None


async def test_abort_of_a_process_that_died_is_finished_and_not_resumed(
    stored_house: House, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = await aborting(stored_house)
    after = await stored_house.reborn(make_config(auto_resume=True))
    await is_aborted_by_itself(after)
    assert f"Run {run_id}: its abort is finished by the CSC itself (auto_resume)." in caplog.text
    await after.close()


async def test_abort_that_cannot_be_finished_yet_is_named_as_that_and_tried_again(
    stored_house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.run.auto_resume.AUTO_RESUME_INTERVAL_S", 0.01)
    run_id = await aborting(stored_house)
    abort, refused = Runner.abort, 0

    async def refuse_at_first(runner: Runner, *args: str) -> None:
        nonlocal refused
        refused += 1
        if refused < 3:
            raise BadInputError(["Another run is being checked right now."])
        await abort(runner, *args)

    monkeypatch.setattr(Runner, "abort", refuse_at_first)
    after = await stored_house.reborn(make_config(auto_resume=True))
    await is_aborted_by_itself(after)
    said = f"Run {run_id} can't end its abort yet, and is tried again: Another run is being checked right now."
    assert caplog.text.count(said) == 1 and "can't be resumed" not in caplog.text
    await after.close()


async def test_abort_that_was_interrupted_by_disable_is_finished_and_not_resumed(stored_house: House) -> None:
    await stored_house.close()
    house = await House(make_config(auto_resume=True), stored_house.path).open()
    await aborting(house)
    await house.runner.disconnect("The CSC went to DISABLED", limit_s=0.0)
    assert house.status.state is RunState.INTERRUPTED
    house.observatory.camera.gates.clear()
    house.runner.connect(house.observatory.services)
    await is_aborted_by_itself(house)
    await house.close()


async def test_abort_that_nobody_finishes_asks_the_operator_and_is_resumed_only_by_name(stored_house: House) -> None:
    run_id = await aborting(stored_house)
    after = await stored_house.reborn()
    after.observatory.camera.gates.clear()
    assert after.status.state is RunState.INTERRUPTED
    assert after.status.reason == (
        "The service ended while the run was open. The abort was not finished: abort the run once more, or name it in "
        "resumeCalibrationRun if it is to go on after all"
    )
    assert after.alarms.operator_decision_needed and after.alarms.reason == after.status.reason
    with pytest.raises(BadInputError) as refusal:
        await after.runner.resume("", "op")
    assert str(refusal.value) == (
        f"Run {run_id} is open (INTERRUPTED); there can be only one. Its abort was not finished: abort it once more, "
        "or name it in resumeCalibrationRun if it is to go on after all."
    )
    assert after.status.state is RunState.INTERRUPTED
    await after.runner.resume(run_id, "op")
    assert (await after.ended()).state is RunState.COMPLETED
    await after.close()


async def test_run_that_was_resumed_by_name_after_an_abort_goes_on_by_itself(stored_house: House) -> None:
    run_id = await aborting(stored_house)
    house = await stored_house.reborn()
    house.observatory.camera.gates.clear()
    jobs = house.observatory.jobs
    jobs.hold("cpBias")
    await house.runner.resume(run_id, "op")
    await jobs.until_executing("cpBias")
    jobs.held.clear()
    after = await house.reborn(make_config(auto_resume=True))
    await after.until(lambda: after.status.state in (RunState.ABORTED, RunState.COMPLETED))
    assert after.status.state is RunState.COMPLETED
    await after.close()


async def test_no_kill_can_part_an_abort_from_who_wanted_it(stored_house: House) -> None:
    """What says that the run is being aborted is written together with the decision."""
    written: list[list[str]] = []
    journal, original = stored_house.journal, stored_house.journal.append

    async def append(run_id: str, entries: list[Entry], state: RunState) -> None:
        written.append([entry.fact.kind for entry in entries])
        await original(run_id, entries, state)

    journal.append = append  # type: ignore[assignment,method-assign]
    await aborting(stored_house)
    (kinds,) = [kinds for kinds in written if "decision" in kinds]
    assert kinds[kinds.index("decision") :] == ["decision", "run_moved"]
    stored_house.observatory.camera.gates["BIAS", 1].open()
    assert (await stored_house.ended()).state is RunState.ABORTED
