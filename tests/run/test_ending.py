# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""An abort of a run whose process has died: what it did is found, and what can't be known is named."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from lsst.ts.comcamcalib.butler_data import CertifyOutcome
from lsst.ts.comcamcalib.enums import CalibType, CertificationState, RunState, StageState
from lsst.ts.comcamcalib.record.events import Certification, ImageTaken
from lsst.ts.comcamcalib.run.ending import LOOK_LIMIT_S
from lsst.ts.comcamcalib.services.camera import TakenFrame
from lsst.ts.comcamcalib.services.job_status import JobStatus, OnChange
from support.house import House
from support.services import FakeRepository, Gate

BIAS = {"script_mode": "BIAS"}


def test_all_that_an_abort_waits_for_is_less_than_the_promised_ten_seconds() -> None:
    assert LOOK_LIMIT_S < 10


async def test_run_that_was_open_when_the_process_died_is_interrupted(stored_house: House) -> None:
    jobs = stored_house.observatory.jobs
    jobs.hold("cpBias")
    run_id = await stored_house.start(**BIAS)
    await jobs.until_executing("cpBias")
    after = await stored_house.reborn()
    assert after.status.state is RunState.INTERRUPTED
    assert after.status.run_id == run_id
    assert after.states["BIAS.GENERATE"] is StageState.PENDING
    assert "Go on with resumeCalibrationRun, or end the run with abort" in after.status.reason
    assert after.alarms.operator_decision_needed and after.alarms.reason == after.status.reason
    await after.runner.abort("op")
    await after.until(lambda: after.status.state is RunState.ABORTED)
    assert jobs.aborted == ["job-01"]
    assert after.runner.open_run is None
    await after.runner.update_alarms()
    assert not after.alarms.operator_decision_needed
    await after.close()
    # And that is known after one more restart.
    last = await House(after.config, after.path, after.observatory).open()
    assert last.runner.open_run is None
    assert (await last.runner.publish_status(""))["runState"] == RunState.ABORTED
    assert (last.status.run_id, last.status.state) == (run_id, RunState.ABORTED)
    await last.close()


async def test_closing_an_interrupted_run_names_the_job_that_does_not_stop(stored_house: House) -> None:
    jobs = stored_house.observatory.jobs
    jobs.hold("cpBias")
    jobs.unstoppable.add("cpBias")
    await stored_house.start(**BIAS)
    await jobs.until_executing("cpBias")
    after = await stored_house.reborn()
    await after.runner.abort("op")
    await after.until(lambda: after.status.state is RunState.ABORTED)
    assert after.status.reason.endswith("Not stopped: job job-01 (job job-01 can't be stopped)")
    await after.close()


async def test_closing_that_is_interrupted_can_be_asked_for_again(stored_house: House) -> None:
    """Otherwise the run would be ABORTING for ever, and no other could start."""
    jobs = stored_house.observatory.jobs
    jobs.hold("cpBias")
    await stored_house.start(**BIAS)
    await jobs.until_executing("cpBias")
    after = await stored_house.reborn()
    abort, gate = jobs.abort, Gate()

    async def slow(job_id: str, on_change: OnChange) -> JobStatus:
        await gate.pass_through()
        return await abort(job_id, on_change)

    jobs.abort = slow  # type: ignore[method-assign]
    await after.runner.abort("op")
    await gate.until_reached()
    await after.runner.disconnect("The CSC went to DISABLED", limit_s=0.1)
    assert after.status.state is RunState.INTERRUPTED
    gate.open()
    after.runner.connect(after.observatory.services)
    await after.runner.abort("op")
    await after.until(lambda: after.status.state is RunState.ABORTED)
    await after.close()


# Done, but not written down


async def killed_after_commit(house: House) -> House:
    """Let Butler certify the biases, and end the process before anybody could take note of it; come back."""
    certify, gate = house.observatory.repository.certify, Gate()

    async def then_die(*args: Any) -> CertifyOutcome:
        outcome = await certify(*args)
        await gate.pass_through()
        return outcome

    house.observatory.repository.certify = then_die  # type: ignore[method-assign]
    await house.start(**BIAS)
    await gate.until_reached()
    await house.die()
    house.observatory.repository.certify = certify  # type: ignore[method-assign]
    return await House(house.config, house.path, house.observatory).open()


async def close(house: House) -> str:
    """Close the interrupted run; return the reason of its end."""
    await house.runner.abort("op")
    await house.until(lambda: house.status.state is RunState.ABORTED)
    return house.status.reason


async def test_what_was_certified_just_before_the_process_died_is_found_and_published(stored_house: House) -> None:
    after = await killed_after_commit(stored_house)
    assert after.certified == set()
    assert after.reasons["BIAS.CERTIFY"] == "Interrupted: the service ended"
    reason = await close(after)
    assert reason == (
        "Aborted by op after it had been interrupted. Found: bias of u/ocps/job-01/run was certified: 3 datasets of "
        "type bias are in LSSTComCam/calib/daily"
    )
    (published,) = after.of(Certification)
    assert (published.state, published.dataset_type, published.dataset_count) == (
        CertificationState.CERTIFIED,
        "bias",
        3,
    )
    assert (published.collection, published.output_collection) == ("LSSTComCam/calib/daily", "u/ocps/job-01/run")
    assert published.validity_begin and published.validity_end
    assert after.states["BIAS.CERTIFY"] is StageState.ABORTED, "it did not get to look after what it had certified"
    await after.close()
    # And it stays known.
    last = await House(after.config, after.path, after.observatory).open()
    assert [one.dataset_count for one in last.of(Certification)] == [3]
    await last.close()


async def test_certification_that_did_not_come_to_be_is_not_claimed(stored_house: House) -> None:
    gate = stored_house.observatory.repository.gates["certify"] = Gate()
    await stored_house.start(**BIAS)
    await gate.until_reached()
    await stored_house.die()
    # The database dropped what the dead process had begun.
    stored_house.observatory.repository.gates.clear()
    stored_house.observatory.repository = FakeRepository(stored_house.observatory.world)
    after = await House(stored_house.config, stored_house.path, stored_house.observatory).open()
    assert await close(after) == "Aborted by op after it had been interrupted"
    assert after.of(Certification) == []
    assert after.states["BIAS.CERTIFY"] is StageState.ABORTED
    gate.open()
    await after.close()


@pytest.mark.parametrize("hangs", [False, True])
async def test_repository_that_can_not_be_asked_leaves_it_open_what_is_certified_but_not_the_run(
    stored_house: House, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.run.ending.LOOK_LIMIT_S", 0.1)
    after = await killed_after_commit(stored_house)
    repository, gate = after.observatory.repository, Gate()
    if hangs:
        repository.gates["certified_ranges"] = gate
    else:
        repository.errors["certified_ranges"] = "the database is down"
    cause = "there was no answer within 0.1 s" if hangs else "the database is down"
    assert await close(after) == (
        "Aborted by op after it had been interrupted. Not known: whether bias of u/ocps/job-01/run was certified in "
        f"LSSTComCam/calib/daily ({cause}). Look there before you use the collection"
    )
    assert after.of(Certification) == []
    gate.open()
    await after.close()


async def test_certification_of_which_a_part_is_found_names_what_is_missing(stored_house: House) -> None:
    after = await killed_after_commit(stored_house)
    lost = after.observatory.world.certificates.pop().dataset.dataset_id
    assert f"2 datasets of type bias are in LSSTComCam/calib/daily, but not all: {lost} are not" in await close(after)
    assert [one.dataset_count for one in after.of(Certification)] == [2]
    assert after.states["BIAS.CERTIFY"] is StageState.ABORTED
    await after.close()


async def test_certification_that_butler_ends_only_after_the_interruption_is_published_all_the_same(
    house: House,
) -> None:
    """Leaving ENABLED does not wait for Butler for long; what comes of it is looked for by abort."""
    repository = house.observatory.repository
    gate = repository.gates["certify"] = Gate()
    await house.start(**BIAS)
    await gate.until_reached()
    await asyncio.wait_for(house.runner.disconnect("The CSC went to DISABLED", limit_s=0.1), 5)
    assert house.status.state is RunState.INTERRUPTED
    assert house.of(Certification) == []
    gate.open()
    house.runner.connect(house.observatory.services)
    await close(house)
    assert [one.dataset_count for one in house.of(Certification)] == [3]


async def killed_in_mid_exposure(house: House) -> House:
    """End the process while the second bias is being taken; come back."""
    gate = house.observatory.camera.gates["BIAS", 2] = Gate()
    await house.start(**BIAS)
    await gate.until_reached()
    return await house.reborn()


def second_bias(house: House, number: int = 2) -> TakenFrame:
    return TakenFrame(2026112200000 + number, f"CC_O_20261122_{number:06d}", 1.8e9)


async def test_frame_that_the_camera_took_though_nobody_recorded_it_is_found(stored_house: House) -> None:
    after = await killed_in_mid_exposure(stored_house)
    after.observatory.camera.read_out = [(f"{after.status.run_id}-BIAS", second_bias(after))]
    assert await close(after) == (
        "Aborted by op after it had been interrupted. Found: the camera took CC_O_20261122_000002 for the run, which "
        "was not in its record; its files may be in the repository"
    )
    assert [one.obs_id for one in after.of(ImageTaken)][-1] == "CC_O_20261122_000002"
    assert after.states["BIAS.ACQUIRE"] is StageState.ABORTED
    await after.close()


async def test_frame_whose_files_only_are_there_is_found_and_one_too_many_is_named(stored_house: House) -> None:
    after = await killed_in_mid_exposure(stored_house)
    world, oods = after.observatory.world, after.observatory.oods
    for _ in range(2):
        oods.ingest(world.expose("BIAS", 0.0, f"{after.status.run_id}-BIAS").exposure_id, range(9), silently=True)
    reason = await close(after)
    assert "Found: the camera took CC_O_20261122_000002, CC_O_20261122_000003 for the run" in reason
    assert after.runner.run is not None
    assert [one.obs_id for one in after.runner.run.history.stray_frames] == ["CC_O_20261122_000003"]
    await after.close()


@pytest.mark.parametrize("others", [False, True])
async def test_frame_of_which_nothing_is_seen_is_not_claimed_either_way(stored_house: House, others: bool) -> None:
    after = await killed_in_mid_exposure(stored_house)
    after.observatory.camera.read_out = [("other", second_bias(after, 9))] if others else []
    assert await close(after) == (
        "Aborted by op after it had been interrupted. Not known: whether the camera took BIAS frame 2, which had been "
        "commanded: neither the camera nor the repository shows it yet"
    )
    assert len(after.runner.run.history.taken(CalibType.BIAS)) == 1  # type: ignore[union-attr]
    await after.close()


async def test_repository_that_can_not_be_asked_leaves_it_open_whether_a_frame_was_taken(stored_house: House) -> None:
    after = await killed_in_mid_exposure(stored_house)
    after.observatory.repository.errors["exposures_of_group"] = "the database is down"
    reason = await close(after)
    assert "Not known: whether the camera took BIAS frame 2: " in reason
    assert reason.endswith("could not be found out: the database is down")
    await after.close()


async def test_abort_that_breaks_off_can_be_asked_for_again(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    await house.interrupted()
    with monkeypatch.context() as patch:
        patch.setattr("lsst.ts.comcamcalib.run.run.settle_stages", broken)
        patch.setattr("lsst.ts.comcamcalib.run.scheduler.Scheduler.settle", broken)
        await house.runner.abort("op")
        await house.until(lambda: house.status.state is RunState.INTERRUPTED)
    assert house.status.reason == ("The abort broke off: unforeseen ZeroDivisionError: a bug. Abort the run once more")
    assert "Bug: the abort of run" in caplog.text
    assert (await close(house)).startswith("Aborted by op after it had been interrupted")
