# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs that are interrupted, by leaving ENABLED or by the death of the process, and how they are closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from lsst.ts import utils
from lsst.ts.comcamcalib.enums import CertificationState, RunState, StageState
from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.plan.record import Alarms, Certification, ImageTaken, JobState
from lsst.ts.comcamcalib.services.butler import CertifyOutcome
from lsst.ts.comcamcalib.services.job_status import JobStatus, OnChange
from support.house import House
from support.job_world import uws_job
from support.plans import make_config
from support.services import FakeRepository, Gate

BIAS = {"script_mode": "BIAS"}


@pytest.fixture
async def stored_house(tmp_path: Path) -> AsyncIterator[House]:
    """A runner with its journal on disk."""
    house = await House(make_config(), tmp_path / "journal.sqlite").open()
    yield house
    await house.close()


async def test_leaving_enabled_interrupts_and_lets_the_jobs_run_on(house: House) -> None:
    jobs = house.observatory.jobs
    jobs.hold("cpBias")
    await house.start(**BIAS)
    await jobs.until_executing("cpBias")
    await house.runner.disconnect("The CSC went to DISABLED")
    status = house.status
    assert status.state is RunState.INTERRUPTED
    assert status.reason == "The CSC went to DISABLED. Close the run with abort"
    assert jobs.aborted == []
    assert house.states["BIAS.ACQUIRE"] is StageState.SUCCEEDED
    assert house.states["BIAS.GENERATE"] is house.states["BIAS.VERIFY"] is StageState.PENDING
    assert house.reasons["BIAS.GENERATE"] == "Interrupted: The CSC went to DISABLED"


async def test_interruption_does_not_wait_for_the_exposure_in_progress(house: House) -> None:
    gate = house.observatory.camera.gates["BIAS", 2] = Gate()
    await house.start(**BIAS)
    await gate.until_reached()
    await asyncio.wait_for(house.runner.disconnect("The CSC was closed"), 5)
    assert house.status.state is RunState.INTERRUPTED
    assert len(house.of(ImageTaken)) == 1


async def test_interruption_during_an_abort_lets_the_abort_end(house: House) -> None:
    gate = house.observatory.camera.gates["BIAS", 2] = Gate()
    await house.start(**BIAS)
    await gate.until_reached()
    await house.runner.abort("op")
    leaving = asyncio.create_task(house.runner.disconnect("The CSC was closed"))
    await asyncio.sleep(0)
    gate.open()
    await leaving
    assert house.status.state is RunState.ABORTED


async def test_abort_that_does_not_end_in_time_becomes_an_interruption(house: House) -> None:
    gate = house.observatory.camera.gates["BIAS", 2] = Gate()
    await house.start(**BIAS)
    await gate.until_reached()
    await house.runner.abort("op")
    await asyncio.wait_for(house.runner.disconnect("The CSC was closed", limit_s=0.1), 5)
    assert house.status.state is RunState.INTERRUPTED
    assert StageState.RUNNING not in house.states.values()


async def test_interrupted_run_is_closed_by_abort_in_the_same_process(house: House) -> None:
    jobs = house.observatory.jobs
    jobs.hold("cpBias")
    await house.start(**BIAS)
    await jobs.until_executing("cpBias")
    await house.runner.disconnect("The CSC went to DISABLED")
    house.runner.connect(house.observatory.services)
    await house.runner.abort("op")
    assert house.status.state is RunState.ABORTING
    await house.until(lambda: house.status.state is RunState.ABORTED)
    assert house.status.reason == "Aborted by op after it had been interrupted"
    assert jobs.aborted == ["job-01"]
    assert house.of(JobState)[-1].phase == "aborted"
    assert house.states["BIAS.GENERATE"] is house.states["BIAS.CERTIFY"] is StageState.ABORTED
    assert house.states["BIAS.ACQUIRE"] is StageState.SUCCEEDED


async def test_job_whose_id_came_too_late_for_the_run_is_found_by_its_mark_and_aborted(house: House) -> None:
    jobs = house.observatory.jobs
    answer = jobs.submitting["cpBias"] = asyncio.Event()
    jobs.hold("cpBias")
    await house.start(**BIAS)
    async with asyncio.timeout(5):
        while not jobs._submissions:  # noqa: ASYNC110, a turn of the loop is all that is slept
            await asyncio.sleep(0)
    await house.runner.disconnect("The CSC went to DISABLED")
    answer.set()
    async with asyncio.timeout(5):
        while not house.observatory.world.jobs:  # noqa: ASYNC110, as above
            await asyncio.sleep(0)
    assert house.of(JobState) == []
    house.runner.connect(house.observatory.services)
    await house.runner.abort("op")
    await house.until(lambda: house.status.state is RunState.ABORTED)
    assert jobs.aborted == ["job-01"]


async def die_and_come_back(house: House) -> House:
    """End the process at once, and start another on the same journal."""
    await house.die()
    return await House(house.config, house.path, house.observatory).open()


async def test_run_that_was_open_when_the_process_died_is_interrupted(stored_house: House) -> None:
    jobs = stored_house.observatory.jobs
    jobs.hold("cpBias")
    run_id = await stored_house.start(**BIAS)
    await jobs.until_executing("cpBias")
    after = await die_and_come_back(stored_house)
    assert after.status.state is RunState.INTERRUPTED
    assert after.status.run_id == run_id
    assert after.states["BIAS.GENERATE"] is StageState.PENDING
    assert after.of(Alarms) == [], "a dead process must leave no alarm standing"
    await after.runner.abort("op")
    await after.until(lambda: after.status.state is RunState.ABORTED)
    assert jobs.aborted == ["job-01"]
    assert set(after.runner.open_log or []) == set()
    await after.close()
    # And that is known after one more restart.
    last = await House(after.config, after.path, after.observatory).open()
    assert last.runner.open_log is None
    assert (await last.runner.publish_status(""))["runState"] == RunState.ABORTED
    assert (last.status.run_id, last.status.state) == (run_id, RunState.ABORTED)
    await last.close()


async def test_closing_an_interrupted_run_names_the_job_that_does_not_stop(stored_house: House) -> None:
    jobs = stored_house.observatory.jobs
    jobs.hold("cpBias")
    jobs.unstoppable.add("cpBias")
    await stored_house.start(**BIAS)
    await jobs.until_executing("cpBias")
    after = await die_and_come_back(stored_house)
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
    after = await die_and_come_back(stored_house)
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
    assert after.reasons["BIAS.CERTIFY"] == (
        "Interrupted: the service ended, perhaps after it had certified; abort checks that and reports it"
    )
    reason = await close(after)
    assert reason == (
        "Aborted by op after it had been interrupted. Found: bias of u/ocps/job-01/run was certified: 3 datasets of "
        "type bias are in LSSTComCam/calib/daily"
    )
    (told,) = after.of(Certification)
    assert (told.state, told.dataset_type, told.dataset_count) == (CertificationState.CERTIFIED, "bias", 3)
    assert (told.collection, told.output_collection) == ("LSSTComCam/calib/daily", "u/ocps/job-01/run")
    assert told.validity_begin and told.validity_end
    assert after.states["BIAS.CERTIFY"] is StageState.SUCCEEDED
    await after.close()
    # And it stays known.
    last = await House(after.config, after.path, after.observatory).open()
    await last.runner.publish_status("")
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
    monkeypatch.setattr("lsst.ts.comcamcalib.run.closing.LOOK_LIMIT_S", 0.1)
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


async def test_job_that_has_completed_meanwhile_keeps_its_end_and_is_not_aborted(stored_house: House) -> None:
    jobs = stored_house.observatory.jobs
    jobs.hold("cpBias")
    await stored_house.start(**BIAS)
    await jobs.until_executing("cpBias")
    after = await die_and_come_back(stored_house)
    job = after.observatory.world.job("cpBias")
    job.phase, job.ended = "completed", True
    assert await close(after) == "Aborted by op after it had been interrupted"
    assert jobs.aborted == []
    last = after.of(JobState)[-1]
    assert (last.phase, last.exit_code) == ("completed", 0)
    await after.close()


async def test_job_that_has_expired_at_the_uws_is_not_called_aborted(stored_house: House) -> None:
    jobs = stored_house.observatory.jobs
    jobs.hold("cpBias")
    await stored_house.start(**BIAS)
    await jobs.until_executing("cpBias")
    after = await die_and_come_back(stored_house)
    del after.observatory.world.jobs["job-01"]
    assert (await close(after)).endswith(
        "Not known: how job job-01 of BIAS.GENERATE ended, which the UWS does not know any more"
    )
    assert jobs.aborted == []
    last = after.of(JobState)[-1]
    assert (last.phase, last.exit_code) == ("unknown", 1)
    assert last.message == "How job-01 ended is not known."
    await after.close()


async def test_uws_that_can_not_be_asked_leaves_nothing_unsaid(stored_house: House) -> None:
    jobs = stored_house.observatory.jobs
    jobs.hold("cpBias")
    jobs.unstoppable.add("cpBias")
    run_id = await stored_house.start(**BIAS)
    await jobs.until_executing("cpBias")
    after = await die_and_come_back(stored_house)
    after.observatory.uws.error = "Connection refused"
    reason = await close(after)
    assert "Not stopped: job job-01 (job job-01 can't be stopped)" in reason
    assert (
        "Not known: whether jobs that were being submitted exist: the UWS can't be asked (Connection refused)" in reason
    )
    assert f"OUTPUT_GLOB has {run_id}_ in it" in reason
    assert run_id in jobs.late, "what is there when it answers again has an owner"
    assert after.of(JobState) == [], "no end is recorded that nobody has seen"
    await after.close()


async def killed_while_a_job_was_being_submitted(house: House) -> tuple[House, str]:
    """End the process before the OCPS has answered; come back when the job exists. Return the run's id, too."""
    jobs = house.observatory.jobs
    answer = jobs.submitting["cpBias"] = asyncio.Event()
    run_id = await house.start(**BIAS)
    async with asyncio.timeout(5):
        while not jobs._submissions:  # noqa: ASYNC110, a turn of the loop is all that is slept
            await asyncio.sleep(0)
    (submission,) = jobs._submissions
    request = submission.get_coro().cr_frame.f_locals["request"]  # type: ignore[union-attr]
    await house.die()
    answer.set()
    house.observatory.world.submit(request).phase = "executing"
    return await House(house.config, house.path, house.observatory).open(), run_id


async def test_list_of_jobs_that_takes_long_is_waited_for_though_the_command_is_answered_at_once(
    stored_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The UWS walks through the files of all jobs for it; the other looks have a shorter limit."""
    monkeypatch.setattr("lsst.ts.comcamcalib.run.closing.LOOK_LIMIT_S", 0.01)
    after, _ = await killed_while_a_job_was_being_submitted(stored_house)
    gate = after.observatory.uws.listing = Gate()
    await after.runner.abort("op")
    await gate.until_reached()
    await asyncio.sleep(0.05)  # longer than the limit of the other looks
    assert after.status.state is RunState.ABORTING
    gate.open()
    await after.until(lambda: after.status.state is RunState.ABORTED)
    assert after.observatory.jobs.aborted == ["job-01"]
    assert "job job-01, which was not in the run's record, is aborted" in after.status.reason
    await after.close()


async def test_leaving_enabled_does_not_wait_for_the_list_of_jobs(stored_house: House) -> None:
    after, _ = await killed_while_a_job_was_being_submitted(stored_house)
    gate = after.observatory.uws.listing = Gate()
    await after.runner.abort("op")
    await gate.until_reached()
    await asyncio.wait_for(after.runner.disconnect("The CSC went to DISABLED", limit_s=0.1), 5)
    assert after.status.state is RunState.INTERRUPTED
    assert after.status.reason.endswith("but that was not finished. Close it with abort once more")
    await after.close()


async def test_job_that_is_not_in_the_record_gets_its_events_also_when_it_stops_late(stored_house: House) -> None:
    after, run_id = await killed_while_a_job_was_being_submitted(stored_house)
    later: list[OnChange] = []

    async def abort(job_id: str, on_change: OnChange) -> JobStatus:
        later.append(on_change)
        raise ServiceError(f"Job {job_id} was not stopped; jobState shows its end")

    after.observatory.jobs.abort = abort  # type: ignore[assignment,method-assign]
    reason = await close(after)
    assert "Not stopped: job job-01, which is not in the run's record (Job job-01 was not stopped" in reason
    (seen,) = after.of(JobState)
    assert (seen.run_id, seen.stage_name, seen.job_id, seen.phase) == (run_id, "BIAS.GENERATE", "job-01", "executing")
    assert seen.log_url.endswith("/job/job-01/results")
    await later[0](JobStatus("job-01", "aborted", 255, "", 0.0, 1_800_000_900.0))
    last = after.of(JobState)[-1]
    assert (last.phase, last.exit_code, last.timestamp_ended) == ("aborted", 255, 1_800_000_900.0)
    await after.close()


async def test_job_that_comes_to_be_only_after_the_closing_has_an_owner_and_its_events(stored_house: House) -> None:
    """The OCPS was still at it when the run was closed, as when the UWS lets it wait."""
    jobs = stored_house.observatory.jobs
    jobs.submitting["cpBias"] = asyncio.Event()
    run_id = await stored_house.start(**BIAS)
    async with asyncio.timeout(5):
        while not jobs._submissions:  # noqa: ASYNC110, a turn of the loop is all that is slept
            await asyncio.sleep(0)
    after = await die_and_come_back(stored_house)
    reason = await close(after)
    assert "Not known: whether the OCPS still makes a job for BIAS.GENERATE, which may have been asked for" in reason
    known, on_found = jobs.late[run_id]
    assert known == set()
    appeared = uws_job("late", mark=f"{run_id}_BIAS.GENERATE_cpBias*")
    await on_found(appeared)(JobStatus("late", "aborted", 255, "It was aborted.", 0.0, 1_800_000_900.0))
    last = after.of(JobState)[-1]
    assert (last.run_id, last.stage_name, last.job_id, last.phase) == (run_id, "BIAS.GENERATE", "late", "aborted")
    await after.close()


async def test_no_job_is_still_to_come_when_the_stage_had_its_job(stored_house: House) -> None:
    jobs = stored_house.observatory.jobs
    jobs.hold("cpBias")
    run_id = await stored_house.start(**BIAS)
    await jobs.until_executing("cpBias")
    after = await die_and_come_back(stored_house)
    assert "still makes a job" not in await close(after)
    assert run_id not in jobs.late
    await after.close()


async def test_job_of_an_earlier_run_that_had_the_same_id_is_left_alone(stored_house: House) -> None:
    """After the loss of a journal the runs of a day are counted from 001 again."""
    after, _ = await killed_while_a_job_was_being_submitted(stored_house)
    after.observatory.uws.created_s = utils.current_tai() - 3600
    reason = await close(after)
    assert after.observatory.jobs.aborted == []
    assert "job-01" not in reason
    await after.close()


async def killed_in_mid_exposure(house: House) -> House:
    """End the process while the second bias is being taken; come back."""
    gate = house.observatory.camera.gates["BIAS", 2] = Gate()
    await house.start(**BIAS)
    await gate.until_reached()
    return await die_and_come_back(house)


async def test_frame_that_the_camera_took_though_nobody_recorded_it_is_named(stored_house: House) -> None:
    after = await killed_in_mid_exposure(stored_house)
    run_id = after.status.run_id
    after.observatory.camera.begun["CC_O_20261122_000002"] = f"{run_id}-BIAS"
    assert await close(after) == (
        "Aborted by op after it had been interrupted. Found: the camera began CC_O_20261122_000002 for the run, which "
        "is not in its record; its files may be in the repository, and nothing uses them"
    )
    await after.close()


@pytest.mark.parametrize(
    ("begun", "words"),
    [
        ({}, "whether the camera took one more frame for the run: it has reported no image"),
        ({"CC_O_20261122_000009": "other"}, "its last image is CC_O_20261122_000009, of another group"),
        ({"CC_O_20261122_000009": None}, "its last image is CC_O_20261122_000009, of another group"),
    ],
)
async def test_camera_that_remembers_others_images_only_proves_nothing(
    stored_house: House, begun: dict[str, str | None], words: str
) -> None:
    after = await killed_in_mid_exposure(stored_house)
    after.observatory.camera.begun = begun
    assert words in (await close(after)).split("Not known: ")[1]
    await after.close()


async def test_frame_that_is_the_last_and_recorded_proves_that_none_is_missing(stored_house: House) -> None:
    after = await killed_in_mid_exposure(stored_house)
    assert list(after.observatory.camera.begun) == ["CC_O_20261122_000001"]
    assert await close(after) == "Aborted by op after it had been interrupted"
    await after.close()
