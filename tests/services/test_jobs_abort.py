# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs that are to be stopped: what has ended keeps its end, what has not is tried until it has."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from lsst.ts.comcamcalib.errors import NotEnabledError, ServiceError, UnreachableError
from support.job_world import BIAS, DOWN, LIMIT_S, MARK, NEVER_S, RUN, JobWorld, uws_job, within_limit


async def test_aborting_all_stops_what_is_followed_and_the_follower_learns_it(world: JobWorld) -> None:
    service = world.service()
    world.ocps.answer.set_result("job1")
    following = world.start(service)
    await asyncio.wait_for(world.uws.looked.wait(), LIMIT_S)

    def abort(job_id: str) -> None:
        world.uws.prepare(None)
        world.ocps.publish_result(job_id, 255)

    world.ocps.on_abort = abort
    assert await service.abort_all(LIMIT_S, RUN) == []
    status = await within_limit(following)
    assert (status.phase, status.exit_code, status.message) == ("aborted", 255, "Job job1 was aborted.")
    assert service.open_jobs == frozenset()
    assert await service.abort_all(LIMIT_S, RUN) == []
    assert world.ocps.aborted == ["job1"]


async def test_a_submission_goes_on_when_its_caller_is_cancelled_and_is_aborted_as_soon_as_its_id_is_known(
    world: JobWorld,
) -> None:
    service = world.service()
    running = world.start(service)
    await asyncio.wait_for(world.ocps.asked.wait(), LIMIT_S)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert service.submissions_in_progress == (BIAS,)
    world.ocps.on_abort = lambda _job_id: world.uws.prepare("aborted")
    aborting = asyncio.create_task(service.abort_all(LIMIT_S, RUN))
    await asyncio.sleep(0)
    world.ocps.answer.set_result("job1")
    assert await within_limit(aborting) == []
    assert world.ocps.aborted == ["job1"]
    shown = [(one.job_id, one.phase, one.exit_code) for one in world.notified]
    assert shown == [("job1", "pending", -1), ("job1", "aborted", 255)]


async def test_the_id_of_a_job_is_published_although_its_caller_was_cancelled_before_it_was_known(
    world: JobWorld,
) -> None:
    service = world.service()
    running = world.start(service)
    await asyncio.wait_for(world.ocps.asked.wait(), LIMIT_S)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    world.ocps.answer.set_result("job1")
    await asyncio.wait_for(world.changed.wait(), LIMIT_S)
    assert [(one.job_id, one.ended) for one in world.notified] == [("job1", False)]
    assert service.open_jobs == {"job1"}


async def test_a_submission_that_got_its_id_after_the_cancel_and_before_the_abort_is_aborted_too(
    world: JobWorld,
) -> None:
    service = world.service()
    running = world.start(service)
    await asyncio.wait_for(world.ocps.asked.wait(), LIMIT_S)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    world.ocps.answer.set_result("job1")
    for _ in range(10):  # turns of the loop, not time
        await asyncio.sleep(0)
    assert service.submissions_in_progress == ()
    world.ocps.on_abort = lambda _job_id: world.uws.prepare(None)
    assert await service.abort_all(LIMIT_S, RUN) == []
    assert world.ocps.aborted == ["job1"]


async def test_a_submission_that_is_late_is_named_and_still_aborted_when_it_comes(world: JobWorld) -> None:
    service = world.service()
    running = world.start(service)
    await asyncio.wait_for(world.ocps.asked.wait(), LIMIT_S)
    running.cancel()
    (problem,) = await service.abort_all(0.01, RUN)
    assert "cpBias.yaml, which is being submitted, was not stopped within 0.01 s" in problem
    stopped = asyncio.Event()

    def abort(_job_id: str) -> None:
        world.uws.prepare("aborted")
        stopped.set()

    world.ocps.on_abort = abort
    world.ocps.answer.set_result("job1")
    await asyncio.wait_for(stopped.wait(), LIMIT_S)
    assert world.ocps.aborted == ["job1"]


async def test_a_submission_that_is_refused_while_it_is_aborted_leaves_nothing_to_stop(world: JobWorld) -> None:
    service = world.service()
    running = world.start(service)
    await asyncio.wait_for(world.ocps.asked.wait(), LIMIT_S)
    aborting = asyncio.create_task(service.abort_all(LIMIT_S, RUN))
    await asyncio.sleep(0)
    world.ocps.answer.set_exception(NotEnabledError("OCPS:2 refused"))
    assert await within_limit(aborting) == []
    with pytest.raises(ServiceError, match="OCPS:2 refused"):
        await running
    assert world.uws.lists == 0


async def test_a_submission_of_which_nobody_knows_is_named_by_the_abort(world: JobWorld) -> None:
    service = world.service(job_submission=0.01)
    running = world.start(service)
    await asyncio.wait_for(world.ocps.asked.wait(), LIMIT_S)
    aborting = asyncio.create_task(service.abort_all(LIMIT_S, RUN))
    await asyncio.sleep(0)
    world.ocps.answer.set_exception(UnreachableError("OCPS:2 did not answer."))
    (problem,) = await within_limit(aborting)
    assert problem.startswith(f"OCPS:2 did not answer. No job with its mark {MARK} appeared at the UWS")
    with pytest.raises(UnreachableError, match="one may still appear"):
        await running


async def test_what_can_not_be_stopped_is_named_with_what_the_uws_says(world: JobWorld) -> None:
    service = world.service(job_abort=0.01)
    world.ocps.answer.set_result("job1")
    following = world.start(service)
    await asyncio.wait_for(world.uws.looked.wait(), LIMIT_S)
    (problem,) = await service.abort_all(LIMIT_S, RUN)  # the OCPS says yes, the UWS goes on
    assert problem == (
        "Job job1 was not stopped: the OCPS says that it was aborted. At the UWS: its phase is executing. The CSC "
        "tries again until the job has ended or the CSC leaves ENABLED; jobState shows its end."
    )
    world.ocps.refusal = ServiceError("OCPS:2 is not connected.")
    world.uws.prepare(DOWN)
    (problem,) = await service.abort_all(LIMIT_S, RUN)
    assert problem.startswith(
        "Job job1 was not stopped: OCPS:2 is not connected. At the UWS: The UWS did not answer. The CSC tries again"
    )
    with pytest.raises(ServiceError, match="Job job1 was not stopped"):
        await service.abort("job1")
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_job_that_ended_by_itself_needs_no_abort(world: JobWorld) -> None:
    service = world.service()
    world.ocps.refusal = ServiceError("OCPS:2 could not abort job job1: 404.")
    for answer in ("completed", "error", None):
        world.uws.prepare(answer)
        await service.abort("job1")


async def test_one_answer_that_there_is_no_such_job_does_not_mean_that_a_refused_abort_worked(world: JobWorld) -> None:
    service = world.service()
    world.ocps.refusal = ServiceError("OCPS:2 is in FAULT.")
    world.uws.prepare(None, "executing")
    with pytest.raises(ServiceError, match=r"OCPS:2 is in FAULT\. At the UWS: its phase is executing"):
        await service.abort("job1")


async def test_single_answers_that_there_is_no_such_job_do_not_add_up(world: JobWorld) -> None:
    world.uws.prepare(None, "executing", None, "executing", None, "executing", "completed")
    assert (await world.run(world.service())).succeeded


async def test_of_a_uws_that_comes_back_the_csc_is_notified_though_no_job_is_followed_any_more(world: JobWorld) -> None:
    service = world.service(uws_unreachable=0.01)
    world.uws.prepare("executing", DOWN)
    assert (await world.run(service)).phase == "unknown"
    assert world.backend == [(False, str(DOWN))]
    world.uws.prepare("executing")
    async with asyncio.timeout(LIMIT_S):
        await service._uws.waiting
    assert world.backend[-1] == (True, "")
    assert world.uws.pings >= 1


async def test_closing_ends_a_submission_and_says_so(world: JobWorld, caplog: pytest.LogCaptureFixture) -> None:
    service = world.service()
    running = world.start(service)
    await asyncio.wait_for(world.ocps.asked.wait(), LIMIT_S)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await service.close()
    world.services.clear()
    assert "Closed while ${CP_PIPE_DIR}/pipelines/LSSTComCam/cpBias.yaml was being submitted" in caplog.text


# What has ended keeps its end and its logs


@pytest.mark.parametrize(
    ("word", "exit_code", "message"),
    [("completed", 0, ""), ("error", 1, "Job job1 failed: RuntimeError: too few flats")],
)
async def test_a_job_that_has_ended_is_not_deleted_by_an_abort(
    world: JobWorld, word: str, exit_code: int, message: str
) -> None:
    service = world.service()
    following = await world.following(service)
    following.cancel()  # as the run's abort does, a moment before the follower would have seen the end
    await asyncio.gather(following, return_exceptions=True)
    world.uws.prepare(word)
    assert await service.abort_all(LIMIT_S, RUN) == []
    status = await world.until_concluded("job1")
    assert (status.phase, status.exit_code, status.message) == (word, exit_code, message)
    assert world.ocps.aborted == []
    assert service.open_jobs == frozenset()


async def test_a_job_of_an_earlier_process_that_has_completed_is_not_deleted(world: JobWorld) -> None:
    world.uws.prepare("completed")
    status = await world.service().abort("old", world.on_change)
    assert (status.phase, status.exit_code) == ("completed", 0)
    assert world.ocps.aborted == [] and world.notified == [status]


async def test_a_job_that_the_uws_does_not_know_any_more_was_not_aborted(world: JobWorld) -> None:
    world.uws.prepare(None)
    status = await world.service().abort("old", world.on_change)
    assert (status.phase, status.exit_code) == ("unknown", 1)
    assert "How it ended is unknown" in status.message and "aborted" not in status.message
    assert world.ocps.aborted == []


async def test_a_job_that_completed_and_expired_has_completed_as_the_ocps_reported(world: JobWorld) -> None:
    service = world.service()
    world.ocps.publish_result("old", 0)
    world.uws.prepare(None)
    status = await service.abort("old", world.on_change)
    assert (status.phase, status.exit_code) == ("completed", 0)


async def test_a_job_that_completed_before_its_deletion_has_completed(world: JobWorld) -> None:
    """Kubernetes shows a job for a moment after it was told to delete it."""
    service = world.service()

    def delete(job_id: str) -> None:
        world.uws.prepare("completed", None)
        world.ocps.publish_result(job_id, 255)

    world.ocps.on_abort = delete
    status = await service.abort("old", world.on_change)
    assert (status.phase, status.exit_code) == ("completed", 0)


async def test_a_deletion_that_was_not_confirmed_is_not_called_an_abort(world: JobWorld) -> None:
    """The server deletes the job, fails at its files and answers 500."""
    service = world.service()
    world.ocps.refusal = UnreachableError("OCPS:2 could not abort job old: Failed: 500 Server Error.")
    world.uws.prepare("executing", None)
    status = await service.abort("old", world.on_change)
    assert status.phase == "unknown"
    assert "The CSC tried to abort it; the answer was: OCPS:2 could not abort job old: Failed: 500" in status.message


# What has not ended is tried until it has


async def test_a_job_that_could_not_be_stopped_is_stopped_when_the_ocps_is_back_and_its_end_is_published(
    world: JobWorld, caplog: pytest.LogCaptureFixture
) -> None:
    service = world.service(job_abort=0.01)
    following = await world.following(service)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    world.ocps.refusal = NotEnabledError("OCPS:2 refused to abort job job1. It is not ENABLED: enable it.")
    (problem,) = await service.abort_all(LIMIT_S, RUN)
    assert "enable it. At the UWS: its phase is executing. The CSC tries again until the job has ended" in problem
    assert not any(one.ended for one in world.notified) and service.open_jobs == {"job1"}
    world.ocps.on_abort = lambda _job_id: world.uws.prepare(None)
    world.ocps.refusal = None
    status = await world.until_concluded("job1")
    assert (status.phase, status.exit_code, status.message) == ("aborted", 255, "Job job1 was aborted.")
    assert service.open_jobs == frozenset()
    assert "Job job1, which could not be stopped at first, has ended: aborted" in caplog.text


async def test_a_job_that_ends_by_itself_while_it_can_not_be_stopped_has_its_own_end(world: JobWorld) -> None:
    service = world.service(job_abort=NEVER_S)
    world.ocps.refusal = ServiceError("OCPS:2 is dead.")
    with pytest.raises(ServiceError, match="Job old was not stopped"):
        await service.abort("old", world.on_change)
    world.uws.prepare("completed")
    status = await world.until_concluded("old")
    assert (status.phase, status.exit_code) == ("completed", 0)


async def test_nothing_is_sent_for_a_job_of_an_earlier_process_as_long_as_the_uws_is_silent(world: JobWorld) -> None:
    """It may have completed, and an abort would delete its logs."""
    service = world.service()
    world.uws.prepare(DOWN)
    with pytest.raises(ServiceError, match="nothing was sent, because it may have completed"):
        await service.abort("old", world.on_change)
    assert world.ocps.aborted == []
    world.ocps.on_abort = lambda _job_id: world.uws.prepare(None)
    world.uws.prepare("executing")
    assert (await world.until_concluded("old")).phase == "aborted"
    assert world.ocps.aborted == ["old"]


async def test_a_job_of_which_nothing_was_heard_is_stopped_when_the_uws_answers_and_its_end_is_published(
    world: JobWorld,
) -> None:
    service = world.service(uws_unreachable=0.01)
    world.uws.prepare("executing", DOWN)
    status = await world.run(service)
    assert status.phase == "unknown" and "aborted if it still runs" in status.message
    world.notified.clear()
    world.ocps.on_abort = lambda _job_id: world.uws.prepare(None)
    world.uws.prepare("executing")
    status = await world.until_concluded("job1")
    assert (status.phase, status.exit_code) == ("aborted", 255)
    assert status.message == "There had been no news of job job1 for 0.01 s; it was aborted."


async def test_closing_says_which_jobs_nobody_stops_any_more(world: JobWorld, caplog: pytest.LogCaptureFixture) -> None:
    service = world.service()
    world.ocps.refusal = ServiceError("OCPS:2 is dead.")
    with pytest.raises(ServiceError):
        await service.abort("old", world.on_change)
    await service.close()
    world.services.clear()
    assert (
        "Job old was not stopped: OCPS:2 is dead. At the UWS: its phase is executing. The CSC has left" in caplog.text
    )
    assert not world.notified[-1].ended and "does not try any more" in world.notified[-1].message


# Runs


async def test_an_abort_stops_the_jobs_of_its_own_run_only(world: JobWorld) -> None:
    service = world.service()
    earlier = await world.following(service)
    world.ocps.answer = asyncio.get_running_loop().create_future()
    world.ocps.answer.set_result("job2")
    world.uws.by_id["job2"] = [uws_job("job2", mark="20261122-002_BIAS.GENERATE_cpBias*")]
    request = dataclasses.replace(BIAS, output_dataset_types="bias,20261122-002_BIAS.GENERATE_cpBias*")
    later = world.start(service, request)
    async with asyncio.timeout(LIMIT_S):
        while service.open_jobs != {"job1", "job2"}:  # noqa: ASYNC110, a turn of the loop is all that is slept
            await asyncio.sleep(0)
    world.ocps.on_abort = lambda job_id: world.uws.by_id.update({job_id: [None]})
    assert await service.abort_all(LIMIT_S, "20261122-002") == []
    assert world.ocps.aborted == ["job2"]
    assert (await within_limit(later)).phase == "aborted"
    assert service.open_jobs == {"job1"} and not earlier.done()
    assert await service.abort_all(LIMIT_S, "20261122-00") == [], "the beginning of a run's name is no run"
    earlier.cancel()
    await asyncio.gather(earlier, return_exceptions=True)


async def test_a_job_that_somebody_else_has_aborted_is_said_to_be_that(world: JobWorld) -> None:
    service = world.service()
    world.uws.prepare("executing", None)
    world.ocps.publish_result("job1", 255)
    status = await world.run(service)
    assert (status.phase, status.exit_code) == ("aborted", 255)
    assert status.message == "Job job1 was aborted. This CSC did not abort it."


async def test_an_abort_that_the_ocps_has_not_answered_when_the_csc_leaves_enabled_says_so(world: JobWorld) -> None:
    service = world.service()
    running = asyncio.create_task(service.run(BIAS, world.on_change))
    world.ocps.answer.set_result("job1")
    await asyncio.wait_for(world.uws.looked.wait(), LIMIT_S)
    asked = asyncio.Event()

    async def stands_still(_job_id: str) -> None:
        asked.set()
        await asyncio.Event().wait()

    world.ocps.abort_job = stands_still  # type: ignore[method-assign]
    aborting = asyncio.create_task(service.abort_all(LIMIT_S, RUN))
    await asyncio.wait_for(asked.wait(), LIMIT_S)
    await service._stopper.close()
    assert world.notified[-1].message.startswith(
        "Job job1 was not stopped: the OCPS has been asked to abort it, and has not answered yet. The CSC has left "
        "ENABLED and does not try any more."
    )
    for task in (running, aborting):
        task.cancel()
    await asyncio.gather(running, aborting, return_exceptions=True)
