# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""An operator accepts a verdict: what goes on, what is refused, and what is left after a kill."""

from __future__ import annotations

from typing import Any

import pytest
from lsst.ts.comcamcalib.enums import CalibType, RunState, StageKind, StageState, Verdict
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.record.events import Certification, StageStatus, VerificationResult
from lsst.ts.comcamcalib.record.facts import RunMoved, VerdictAccepted, VerdictGiven
from lsst.ts.comcamcalib.run.acceptance import AcceptRequest, kinds_after
from support.gate import Gate
from support.house import House
from support.plans import make_plan
from support.records import MemoryRecord

pytestmark = pytest.mark.usefixtures("quick_looks")

BIAS, DARK, FLAT = CalibType.BIAS, CalibType.DARK, CalibType.FLAT
BAD = 12
OPTIONS: dict[str, Any] = {"oods_timeout": 0.1}


async def accept(
    house: House, run_id: str, calib_type: int = BIAS, physical_filter: str = "", attempt: int = 0, why: str = "good"
) -> str:
    request = AcceptRequest(run_id, calib_type, physical_filter, attempt, why, "op@console")
    return (await house.runner.decisions.accept(request))["plan"]


async def refusal(house: House, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(BadInputError) as caught:
        await accept(house, *args, **kwargs)
    return str(caught.value)


async def failed(house: House, product: str = "BIAS", **options: Any) -> str:
    """Have a run fail because of a noisy detector; return its id."""
    house.observatory.world.bad_amplifiers[product, 0] = BAD
    run_id = await house.start(**{"script_mode": "BIAS", **OPTIONS, **options})
    assert (await house.ended()).state is RunState.FAILED
    return run_id


def attempts(house: House) -> dict[str, int]:
    return {stage.stage_name: stage.attempt for stage in house.of(StageStatus)}


def verdict(house: House, calib_type: CalibType = BIAS) -> VerificationResult:
    return [one for one in house.of(VerificationResult) if one.calib_type is calib_type][-1]


async def test_a_failed_run_goes_on_and_certifies_what_was_accepted(house: House) -> None:
    run_id = await failed(house)
    assert house.alarms.verification_failed and house.alarms.operator_decision_needed
    plan = await accept(house, run_id, why="one noisy detector is known")
    assert plan == "BIAS.VERIFY SUCCEEDED; stages to be done: BIAS.CERTIFY"
    status = await house.ended()
    assert status.state is RunState.COMPLETED, status.reason
    running = [one.reason for one in house.published if getattr(one, "state", None) is RunState.RUNNING]
    assert running[-1] == "op@console accepted the verdict on BIAS: one noisy detector is known"
    assert attempts(house)["BIAS.VERIFY"] == 1 and attempts(house)["BIAS.CERTIFY"] == 2
    # Nothing was made or taken again.
    assert house.observatory.jobs.labels == ["cpBias", "verifyBias"]
    assert len(house.observatory.camera.requests) == 2
    published = verdict(house)
    assert published.verdict is Verdict.ACCEPTED_BY_OPERATOR
    assert published.reason.startswith("Accepted by op@console: one noisy detector is known. It was FAILED: ")
    (certification,) = house.of(Certification)
    assert "accepted by op@console: one noisy detector is known" in certification.reason
    assert not house.alarms.verification_failed and not house.alarms.operator_decision_needed


async def test_what_was_built_on_it_and_stopped_comes_back(house: House) -> None:
    """DARK was being made from the bias before its verdict came; that job was aborted."""
    jobs = house.observatory.jobs
    jobs.hold("cpDark")
    run_id = await failed(house, script_mode="BIAS_DARK")
    assert [house.observatory.world.job("cpDark").phase] == ["aborted"]
    jobs.held.clear()
    plan = await accept(house, run_id)
    assert plan.endswith("stages to be done: BIAS.CERTIFY, DARK.GENERATE, DARK.VERIFY, DARK.CERTIFY")
    assert (await house.ended()).state is RunState.COMPLETED
    assert house.certified == {"bias", "dark"}
    assert len(house.observatory.camera.requests) == 4, "no frame is taken again"
    assert next(one.reason for one in house.of(Certification) if one.dataset_type == "dark").startswith(
        "built on BIAS, which was accepted by op@console: good"
    )


async def test_accepted_while_the_run_is_in_progress(house: House) -> None:
    """The darks are still being taken; what was skipped is done beside them."""
    gate = house.observatory.camera.gates["DARK", 1] = Gate()
    house.observatory.world.bad_amplifiers["BIAS", 0] = BAD
    run_id = await house.start(script_mode="BIAS_DARK", **OPTIONS)
    await house.until(lambda: house.states["BIAS.CERTIFY"] is StageState.SKIPPED)
    assert house.status.state is RunState.RUNNING
    await accept(house, run_id)
    await house.until(lambda: house.states["BIAS.CERTIFY"] is StageState.SUCCEEDED)
    gate.open()
    assert (await house.ended()).state is RunState.COMPLETED
    assert house.certified == {"bias", "dark"} and set(house.states.values()) == {StageState.SUCCEEDED}


async def test_a_run_that_has_other_failures_fails_again_for_these(house: House) -> None:
    house.observatory.world.bad_amplifiers["DARK", 4] = BAD
    run_id = await failed(house, script_mode="BIAS_DARK")
    await accept(house, run_id)
    status = await house.ended()
    assert status.state is RunState.FAILED and "DARK is FAILED" in status.reason
    assert house.certified == {"bias"}
    await accept(house, run_id, DARK)
    assert (await house.ended()).state is RunState.COMPLETED
    assert house.certified == {"bias", "dark"}


async def test_an_aborted_run_certifies_what_was_accepted_and_takes_no_further_frame(house: House) -> None:
    gate = house.observatory.camera.gates["DARK", 1] = Gate()
    house.observatory.world.bad_amplifiers["BIAS", 0] = BAD
    run_id = await house.start(script_mode="BIAS_DARK", **OPTIONS)
    await house.until(lambda: house.states["BIAS.CERTIFY"] is StageState.SKIPPED)
    await house.runner.abort("op")
    gate.open()
    assert (await house.ended()).state is RunState.ABORTED
    taken = len(house.observatory.camera.requests)
    await accept(house, run_id)
    status = await house.ended()
    assert status.state is RunState.FAILED and "DARK.ACQUIRE is ABORTED" in status.reason
    assert house.certified == {"bias"} and len(house.observatory.camera.requests) == taken
    await house.runner.resume(run_id, "op")
    assert (await house.ended()).state is RunState.COMPLETED


async def test_a_run_that_was_interrupted_while_it_was_aborted_does_not_go_on(house: House) -> None:
    gate = house.observatory.camera.gates["DARK", 1] = Gate()
    house.observatory.world.bad_amplifiers["BIAS", 0] = BAD
    run_id = await house.start(script_mode="BIAS_DARK", **OPTIONS)
    await house.until(lambda: house.states["BIAS.CERTIFY"] is StageState.SKIPPED)
    await house.runner.abort("op")
    await house.runner.disconnect("The CSC went to DISABLED", limit_s=0.0)
    gate.open()
    assert house.status.state is RunState.INTERRUPTED
    house.runner.connect(house.observatory.services)
    taken = len(house.observatory.camera.requests)
    assert await refusal(house, run_id) == (
        f"Run {run_id} was aborted, and then interrupted. End it with abort, or go on with resumeCalibrationRun, and "
        "then accept the verdict."
    )
    assert house.status.state is RunState.INTERRUPTED and len(house.observatory.camera.requests) == taken
    await house.runner.abort("op")
    assert (await house.ended()).state is RunState.ABORTED
    await accept(house, run_id)
    await house.ended()
    assert house.certified == {"bias"}


async def test_stop_on_failure_takes_the_remaining_frames_after_all(house: House) -> None:
    run_id = await failed(house, script_mode="BIAS_DARK", on_failure="stop", speculate=False)
    await accept(house, run_id)
    assert (await house.ended()).state is RunState.COMPLETED
    assert house.observatory.camera.taken("DARK") == 2


async def test_what_takes_frames_after_an_acceptance_is_checked_before_it() -> None:
    """With on_failure: stop, the failure that is accepted does not stop the exposures that follow the acceptance."""
    plan = make_plan(script_mode="BIAS_DARK", on_failure="stop")
    record = MemoryRecord(plan)
    for stage in plan.stages:
        done = stage.calib_type is BIAS and stage.kind not in (StageKind.VERIFY, StageKind.CERTIFY)
        record.move(stage.name, StageState.SUCCEEDED if done else StageState.SKIPPED)
    record.move("BIAS.VERIFY", StageState.FAILED)
    record.put(RunMoved(state=RunState.FAILED, reason="BIAS.VERIFY failed"))
    request = AcceptRequest(plan.run_id, BIAS, "", 0, "good", "op")
    assert StageKind.ACQUIRE in kinds_after(record.history, request), "camera, filter and OODS must be ready"
    record.move("BIAS.GENERATE", StageState.FAILED)
    assert StageKind.ACQUIRE not in kinds_after(record.history, request), "another failure does"


# After the end of the process


async def test_accepted_by_another_process_than_that_which_ran_it(stored_house: House) -> None:
    run_id = await failed(stored_house)
    after = await stored_house.reborn()
    await accept(after, run_id)
    assert (await after.ended()).state is RunState.COMPLETED
    await after.close()


@pytest.mark.parametrize("again", ["accept", "resume"])
async def test_killed_after_the_acceptance_was_written_it_still_counts(stored_house: House, again: str) -> None:
    run_id = await failed(stored_house)
    run = stored_house.runner.run
    assert run is not None
    given = next(iter(run.history.verdicts.values()))
    fact = VerdictAccepted(calib_type=BIAS, physical_filter="", attempt=given.attempt, who="op", why="good")
    await run.record.note(fact)
    after = await stored_house.reborn()
    if again == "accept":
        await accept(after, run_id, why="once more")
    else:
        await after.runner.resume(run_id, "op")
    assert (await after.ended()).state is RunState.COMPLETED
    assert after.observatory.jobs.labels == ["cpBias", "verifyBias"], "it is not verified again"
    assert after.runner.run is not None
    assert [one.why for one in after.runner.run.history.accepted_verdicts.values()] == ["good"]
    await after.close()


async def test_a_later_attempt_is_another_verdict_and_an_old_one_can_not_be_accepted(house: House) -> None:
    run_id = await failed(house)
    await house.runner.resume(run_id, "op")
    assert (await house.ended()).state is RunState.FAILED
    text = await refusal(house, run_id, attempt=1)
    assert text.startswith("The verdict on BIAS that stands is that of attempt 2 (FAILED: ")
    assert text.endswith("not that of attempt 1. Look at it, and accept it if it is good enough.")
    await accept(house, run_id, attempt=2)
    assert (await house.ended()).state is RunState.COMPLETED


async def test_another_verdict_of_the_same_attempt_does_not_undo_an_acceptance(house: House) -> None:
    run_id = await failed(house)
    await accept(house, run_id)
    await house.ended()
    run = house.runner.run
    assert run is not None
    given = run.history.verdicts[BIAS, ""]
    late = VerdictGiven(
        calib_type=BIAS, physical_filter="", attempt=given.attempt, verdict=Verdict.FAILED, job_id="x", reason="late"
    )
    await run.record.note(late)
    assert verdict(house).verdict is Verdict.ACCEPTED_BY_OPERATOR
    assert verdict(house).reason == "Accepted by op@console: good. It was FAILED: late"


# Refusals


async def test_what_can_not_be_accepted_is_refused_with_the_reason(house: House) -> None:
    run_id = await failed(house)
    facts = house.runner.run.history.seq if house.runner.run is not None else 0
    assert await refusal(house, "20200101-001") == (
        f"There is no run 20200101-001; the latest is {run_id}, and `comcamcalib runs` lists all."
    )
    assert await refusal(house, "") == "runId: name the run, such as 20261122-001."
    assert await refusal(house, run_id, why="  ") == (
        "reason: acceptVerification needs a reason; say why, because it is recorded with your name."
    )
    assert await refusal(house, run_id, 9) == (
        "calibType: there is no type 9; the types are 1 BIAS, 2 DARK, 3 FLAT, 4 DEFECTS, 5 PTC, 6 GAIN."
    )
    assert await refusal(house, run_id, DARK) == f"Run {run_id} has no verdict on DARK; it has verdicts on BIAS."
    assert await refusal(house, run_id, physical_filter="r_03") == (
        "physicalFilter: BIAS has no verdict in r_03; it has one for all; leave physicalFilter empty."
    )
    assert house.runner.run is not None and house.runner.run.history.seq == facts


async def test_nothing_is_accepted_if_the_run_can_not_go_on(house: House) -> None:
    run_id = await failed(house, script_mode="BIAS_DARK")
    assert house.runner.run is not None
    facts = house.runner.run.history.seq
    house.observatory.uws.error = "Connection refused"
    assert "The UWS, which runs the jobs, can't be used" in await refusal(house, run_id)
    house.observatory.components.sentences = ["OCPS:2 is in STANDBY: enable it."]
    assert "OCPS:2 is in STANDBY" in await refusal(house, run_id)
    assert house.runner.run.history.seq == facts
    assert house.status.state is RunState.FAILED


async def test_to_certify_neither_camera_nor_jobs_are_needed(house: House) -> None:
    """The next morning, when the camera is OFFLINE and nobody has enabled the OCPS."""
    run_id = await failed(house)
    house.observatory.uws.error = "Connection refused"
    house.observatory.components.sentences = ["CCCamera is in OFFLINE: enable it.", "OCPS:2 is in STANDBY: enable it."]
    assert await accept(house, run_id) == "BIAS.VERIFY SUCCEEDED; stages to be done: BIAS.CERTIFY"
    assert (await house.ended()).state is RunState.COMPLETED
    assert house.certified == {"bias"}


async def test_for_jobs_the_camera_is_not_needed(house: House) -> None:
    jobs = house.observatory.jobs
    jobs.hold("cpDark")
    run_id = await failed(house, script_mode="BIAS_DARK")
    jobs.held.clear()
    house.observatory.components.sentences = ["CCCamera is in OFFLINE: enable it."]
    await accept(house, run_id)
    assert (await house.ended()).state is RunState.COMPLETED
    assert house.certified == {"bias", "dark"}


async def test_a_good_verdict_needs_no_acceptance(house: House) -> None:
    run_id = await house.start(script_mode="BIAS", **OPTIONS)
    await house.ended()
    assert await refusal(house, run_id) == "BIAS is PASSED already, so there is nothing to accept."


async def test_while_another_run_is_open_nothing_is_accepted(house: House) -> None:
    older = await failed(house)
    house.observatory.world.bad_amplifiers.clear()
    run_id = await house.interrupted()
    assert f"Run {run_id} is open (INTERRUPTED); there can be only one." in await refusal(house, older)


async def test_while_it_is_verified_again_the_old_verdict_can_not_be_accepted(house: House) -> None:
    run_id = await failed(house)
    house.observatory.world.bad_amplifiers.clear()
    jobs = house.observatory.jobs
    assert house.runner.run is not None
    gate = house.observatory.repository.gates["statistics"] = Gate()
    await house.runner.resume(run_id, "op")
    await gate.until_reached()
    assert await refusal(house, run_id) == (
        "BIAS.VERIFY is RUNNING: the verdict that stands is not its own. Wait for its verdict, and accept the verdict "
        "that it gives then."
    )
    gate.open()
    assert (await house.ended()).state is RunState.COMPLETED
    assert jobs.labels[-1] == "verifyBias"


async def test_flats_are_accepted_filter_by_filter(house: House) -> None:
    """Only when all are good, the verification succeeds."""
    run_id = await failed(house, "FLAT", script_mode="BIAS_DARK_FLAT")
    run = house.runner.run
    assert run is not None
    given = run.history.verdicts[FLAT, "r_03"]
    other = given.model_copy(update={"physical_filter": "i_06"})
    await run.record.note(other)
    assert await refusal(house, run_id, FLAT, "g_01") == (
        "physicalFilter: FLAT has no verdict in g_01; it has one in i_06, r_03."
    )
    plan = await accept(house, run_id, FLAT, "r_03")
    assert plan == "FLAT in i_06 is FAILED still; what needs FLAT.VERIFY is done when that is accepted, too"
    assert house.status.state is RunState.FAILED and house.states["FLAT.VERIFY"] is StageState.FAILED
    assert await refusal(house, run_id, FLAT, "r_03") == (
        "FLAT in r_03 is ACCEPTED_BY_OPERATOR already, so there is nothing to accept. FLAT in i_06 is FAILED."
    )
    await accept(house, run_id, FLAT)
    assert (await house.ended()).state is RunState.COMPLETED
