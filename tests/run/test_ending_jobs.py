# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an abort finds out about the jobs of a run whose process has died."""

from __future__ import annotations

import asyncio

import pytest
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.record.events import JobState
from lsst.ts.comcamcalib.services.job_status import JobStatus, OnChange
from support.house import House
from support.job_world import uws_job
from support.services import Gate

BIAS = {"script_mode": "BIAS"}


async def close(house: House) -> str:
    """Close the interrupted run; return the reason of its end."""
    await house.runner.abort("op")
    await house.until(lambda: house.status.state is RunState.ABORTED)
    return house.status.reason


async def test_job_that_has_completed_meanwhile_keeps_its_end_and_is_not_aborted(stored_house: House) -> None:
    jobs = stored_house.observatory.jobs
    jobs.hold("cpBias")
    await stored_house.start(**BIAS)
    await jobs.until_executing("cpBias")
    after = await stored_house.reborn()
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
    after = await stored_house.reborn()
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
    after, run_id = await killed_while_a_job_was_being_submitted(stored_house)
    jobs = after.observatory.jobs
    jobs.unreachable = "Connection refused"
    reason = await close(after)
    assert (
        "Not known: whether there is a job cpBias of BIAS.GENERATE, which was being submitted: the UWS can't be asked "
        "(Connection refused); one that appears is stopped"
    ) in reason
    assert f"whose OUTPUT_GLOB has {run_id}_BIAS.GENERATE_cpBias_1 in it, and delete it" in reason
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
    monkeypatch.setattr("lsst.ts.comcamcalib.run.ending.LOOK_LIMIT_S", 0.01)
    after, _ = await killed_while_a_job_was_being_submitted(stored_house)
    gate = after.observatory.jobs.finding = Gate()
    await after.runner.abort("op")
    await gate.until_reached()
    await asyncio.sleep(0.05)  # longer than the limit of the other looks
    assert after.status.state is RunState.ABORTING
    monkeypatch.setattr("lsst.ts.comcamcalib.run.ending.LOOK_LIMIT_S", 9.0)
    gate.open()
    await after.until(lambda: after.status.state is RunState.ABORTED)
    assert after.observatory.jobs.aborted == ["job-01"]
    assert "job job-01, which was not in the run's record, is aborted" in after.status.reason
    await after.close()


async def test_leaving_enabled_does_not_wait_for_the_list_of_jobs(stored_house: House) -> None:
    after, _ = await killed_while_a_job_was_being_submitted(stored_house)
    gate = after.observatory.jobs.finding = Gate()
    await after.runner.abort("op")
    await gate.until_reached()
    await asyncio.wait_for(after.runner.disconnect("The CSC went to DISABLED", limit_s=0.1), 5)
    assert after.status.state is RunState.INTERRUPTED
    assert "The abort was not finished: abort the run once more" in after.status.reason
    gate.open()
    await after.close()


async def test_job_that_is_not_in_the_record_gets_its_events_also_when_it_stops_late(stored_house: House) -> None:
    after, run_id = await killed_while_a_job_was_being_submitted(stored_house)
    later: list[OnChange] = []

    async def abort(job_id: str, on_change: OnChange) -> JobStatus:
        later.append(on_change)
        raise ServiceError(f"Job {job_id} was not stopped; jobState shows its end")

    after.observatory.jobs.abort = abort  # type: ignore[assignment,method-assign]
    reason = await close(after)
    assert "Not stopped: job job-01, which was not in the run's record (Job job-01 was not stopped" in reason
    (seen,) = after.of(JobState)
    assert (seen.run_id, seen.stage_name, seen.job_id, seen.phase) == (run_id, "BIAS.GENERATE", "job-01", "pending")
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
    after = await stored_house.reborn()
    reason = await close(after)
    assert (
        "Not known: whether the OCPS still makes a job cpBias for BIAS.GENERATE, which may have been asked for"
        in reason
    )
    known, on_found = jobs.late[run_id]
    assert known == set()
    appeared = uws_job("late", mark=f"{run_id}_BIAS.GENERATE_cpBias_1*")
    await on_found(appeared)(JobStatus("late", "aborted", 255, "It was aborted.", 0.0, 1_800_000_900.0))
    last = after.of(JobState)[-1]
    assert (last.run_id, last.stage_name, last.job_id, last.phase) == (run_id, "BIAS.GENERATE", "late", "aborted")
    await after.close()


async def test_no_job_is_still_to_come_when_the_stage_had_its_job(stored_house: House) -> None:
    jobs = stored_house.observatory.jobs
    jobs.hold("cpBias")
    run_id = await stored_house.start(**BIAS)
    await jobs.until_executing("cpBias")
    after = await stored_house.reborn()
    assert "still makes a job" not in await close(after)
    assert run_id not in jobs.late
    await after.close()


async def test_job_that_was_submitted_twice_is_stopped_twice(stored_house: House) -> None:
    after, _ = await killed_while_a_job_was_being_submitted(stored_house)
    world = after.observatory.world
    world.submit(world.jobs["job-01"].request).phase = "executing"
    await close(after)
    assert sorted(after.observatory.jobs.aborted) == ["job-01", "job-02"]
    assert {one.job_id: one.phase for one in after.of(JobState)} == {"job-01": "aborted", "job-02": "aborted"}
    await after.close()
