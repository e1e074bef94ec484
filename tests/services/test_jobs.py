# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs from submission to their end, with an OCPS and a UWS that the test drives."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts import utils
from lsst.ts.comcamcalib.errors import ServiceError, UnknownJobError
from lsst.ts.comcamcalib.services.job_results import MAX_RESULTS
from lsst.ts.comcamcalib.services.job_status import judge
from lsst.ts.comcamcalib.services.job_stopper import MAX_DOUBTS
from lsst.ts.comcamcalib.services.jobs import JobStatus
from lsst.ts.comcamcalib.services.uws_job import Phase
from support.job_world import BIAS, DOWN, LIMIT_S, NEVER_S, SOON_S, JobWorld, within_limit


async def test_a_job_is_followed_to_its_good_end(world: JobWorld) -> None:
    world.uws.prepare("pending", "queued", "queued", "executing", "completed")
    world.uws.ended_s = ended_s = utils.current_tai() + 60.0
    status = await world.run(world.service())
    assert status.succeeded and status.message == ""
    assert (status.job_id, status.phase, status.exit_code, status.timestamp_ended_s) == (
        "job1",
        "completed",
        0,
        ended_s,
    )
    assert [one.phase for one in world.notified] == ["pending", "queued", "executing", "completed"]
    assert world.notified[0].timestamp_submitted_s > 1.7e9 and not world.notified[2].ended
    assert world.notified[-1] == status
    assert world.backend == []


@pytest.mark.parametrize("word", ["error", "ERROR", "aborted", "archived"])
async def test_every_bad_end_is_a_failure(world: JobWorld, word: str) -> None:
    world.uws.prepare(word)
    status = await world.run(world.service())
    assert status.ended and not status.succeeded and status.phase == word and status.exit_code == 1
    assert "job1" in status.message


async def test_a_failed_job_says_what_its_log_says(world: JobWorld) -> None:
    world.uws.prepare("executing", "error")
    status = await world.run(world.service())
    assert status.message == "Job job1 failed: RuntimeError: too few flats"


@pytest.mark.parametrize("trouble", [DOWN, UnknownJobError("gone"), ServiceError("no log"), RuntimeError("bug")])
async def test_a_log_that_can_not_be_read_does_not_hide_the_failure(world: JobWorld, trouble: Exception) -> None:
    world.uws.prepare("error")
    world.uws.log = trouble
    status = await world.run(world.service())
    assert (status.phase, status.exit_code) == ("error", 1)
    assert status.message == f"Job job1 failed; its log could not be read: {trouble}"


@pytest.mark.parametrize("word", ["held", "suspended", "unknown", "daydreaming"])
async def test_a_strange_phase_is_shown_and_waited_out(world: JobWorld, word: str) -> None:
    world.uws.prepare(word, word, "completed")
    assert (await world.run(world.service())).succeeded
    assert [one.phase for one in world.notified] == ["pending", word, "completed"]


async def test_job_result_is_news_that_ends_the_pause(world: JobWorld) -> None:
    service = world.service(poll_interval_s=NEVER_S)
    world.uws.prepare("executing", "completed")
    world.ocps.answer.set_result("job1")
    following = world.start(service)
    await asyncio.wait_for(world.uws.looked.wait(), LIMIT_S)
    world.ocps.publish_result("another job", 1)
    world.ocps.publish_result("job1", 0)
    assert (await within_limit(following)).succeeded
    assert world.uws.looks == 2


async def test_a_result_that_comes_before_the_id_is_not_lost(world: JobWorld) -> None:
    service = world.service(poll_interval_s=SOON_S)
    world.ocps.publish_result("job1", 0)
    world.uws.prepare(None)  # already deleted at the UWS
    assert (await world.run(service)).succeeded
    assert world.uws.looks == 1


async def test_a_deletion_after_the_end_does_not_hide_the_end(world: JobWorld) -> None:
    service = world.service()
    world.ocps.publish_result("job1", 0)
    world.ocps.publish_result("job1", 255)
    world.uws.prepare(None)
    assert (await world.run(service)).succeeded


async def test_only_so_many_results_are_remembered(world: JobWorld) -> None:
    service = world.service()
    world.ocps.publish_result("job1", 0)
    for i in range(MAX_RESULTS):
        world.ocps.publish_result(f"other{i}", 1)
    world.uws.prepare("executing", None)
    assert not (await world.run(service)).succeeded


async def test_completed_at_the_uws_is_not_good_when_the_ocps_denies_it(world: JobWorld) -> None:
    world.uws.prepare("completed")
    service = world.service()
    world.ocps.publish_result("job1", 1)
    status = await world.run(service)
    assert (status.phase, status.exit_code, status.succeeded) == ("completed", 1, False)
    assert "the OCPS reported exit code 1" in status.message
    assert world.uws.looks == 1 + MAX_DOUBTS


async def test_error_at_the_uws_wins_over_exit_code_zero_but_only_when_asked_again(world: JobWorld) -> None:
    service = world.service()
    world.ocps.publish_result("job1", 0)
    world.uws.prepare("error")
    status = await world.run(service)
    assert (status.phase, status.exit_code, status.succeeded) == ("error", 1, False)
    assert world.uws.looks == 1 + MAX_DOUBTS


async def test_the_uws_that_corrects_itself_is_believed(world: JobWorld) -> None:
    service = world.service()
    world.ocps.publish_result("job1", 0)
    world.uws.prepare("executing", "error", "completed")
    assert (await world.run(service)).succeeded
    assert world.uws.looks == 3


async def test_a_uws_that_has_forgotten_a_job_only_for_a_while_fails_no_run(world: JobWorld) -> None:
    """It was restarted, and had not its disk yet."""
    world.uws.prepare("executing", *[None] * (5 * MAX_DOUBTS), "executing", None, "completed")
    service = world.service(uws_forgotten=NEVER_S)
    following = await world.following(service)
    assert (await within_limit(following)).succeeded
    assert "unknown" not in {one.phase for one in world.notified}


async def test_a_job_of_an_earlier_process_is_waited_for_in_the_same_way(world: JobWorld) -> None:
    world.uws.prepare(*[None] * (5 * MAX_DOUBTS), "completed")
    service = world.service(uws_forgotten=NEVER_S)
    assert (await within_limit(asyncio.create_task(service.attach("job1", world.on_change)))).succeeded


async def test_a_job_that_the_uws_has_forgotten_fails_unless_the_ocps_publishes_its_end_meanwhile(
    world: JobWorld,
) -> None:
    world.uws.prepare("executing", None)
    status = await world.run(world.service())
    assert status.phase == "unknown" and not status.succeeded and status.exit_code == 1
    assert "deleted, or its time at the UWS is over" in status.message
    assert world.uws.looks == 2 + MAX_DOUBTS

    service = world.service(poll_interval_s=NEVER_S)
    world.uws.looked.clear()
    world.uws.prepare(None)
    following = world.start(service)
    await asyncio.wait_for(world.uws.looked.wait(), LIMIT_S)
    world.ocps.publish_result("job1", 0)
    assert (await within_limit(following)).succeeded


@pytest.mark.parametrize(("exit_code", "phase"), [(255, "aborted"), (1, "error")])
async def test_a_deleted_job_has_the_end_that_the_ocps_published(world: JobWorld, exit_code: int, phase: str) -> None:
    service = world.service()
    world.ocps.publish_result("job1", exit_code)
    world.uws.prepare(None)
    status = await world.run(service)
    assert (status.phase, status.exit_code) == (phase, exit_code)
    assert ("was aborted" in status.message) == (exit_code == 255)


async def test_of_an_unreachable_uws_the_csc_is_notified_once_and_it_is_tried_on(world: JobWorld) -> None:
    world.uws.prepare("executing", DOWN, DOWN, DOWN, "executing", DOWN, "completed")
    assert (await world.run(world.service())).succeeded
    assert world.backend == [(False, str(DOWN)), (True, ""), (False, str(DOWN)), (True, "")]


async def test_a_uws_that_stays_away_ends_the_following_but_not_the_job(world: JobWorld) -> None:
    service = world.service(uws_unreachable=0.01)
    world.uws.prepare("executing", DOWN)
    status = await world.run(service)
    assert (status.phase, status.exit_code, status.succeeded, status.ended) == ("unknown", 1, False, True)
    assert "it may still run" in status.message and str(DOWN) in status.message
    assert service.open_jobs == {"job1"} and world.ocps.aborted == []


async def test_while_the_uws_is_away_the_ocps_is_believed(world: JobWorld) -> None:
    service = world.service()
    world.ocps.publish_result("job1", 0)
    world.uws.prepare(DOWN)
    assert (await world.run(service)).succeeded
    world.ocps.publish_result("job1", 1)
    status = await world.run(service)
    assert (status.phase, status.exit_code) == ("error", 1)


async def test_a_job_that_takes_too_long_is_aborted(world: JobWorld) -> None:
    service = world.service(job=0.01)
    world.ocps.on_abort = lambda _job_id: world.uws.prepare(None)
    status = await world.run(service)
    assert world.ocps.aborted == ["job1"]
    assert (status.phase, status.exit_code, status.succeeded) == ("aborted", 255, False)
    assert "had not ended 0.01 s after its submission" in status.message and "it was aborted" in status.message
    assert service.open_jobs == frozenset()


@pytest.mark.parametrize(("phase", "begun"), [("pending", False), ("queued", False), ("executing", True)])
async def test_a_job_that_never_began_says_where_to_look(world: JobWorld, phase: str, begun: bool) -> None:
    service = world.service(job=0.01)
    world.uws.prepare(phase)
    world.ocps.on_abort = lambda _job_id: world.uws.prepare(None)
    status = await world.run(service)
    assert ("had not even begun to execute (look with kubectl at the pods" in status.message) is not begun
    assert status.message.endswith("; it was aborted.")


async def test_a_job_that_takes_too_long_and_can_not_be_aborted_stays_open(world: JobWorld) -> None:
    service = world.service(job=0.01)
    world.ocps.refusal = ServiceError("OCPS:2 could not abort job job1: it is tired.")
    status = await world.run(service)
    assert status.phase == "executing" and "was not stopped: OCPS:2 could not abort" in status.message
    assert service.open_jobs == {"job1"}


async def test_a_submission_that_fails_is_an_error(world: JobWorld) -> None:
    world.ocps.answer.set_exception(ServiceError("OCPS:2 refused."))
    service = world.service()
    with pytest.raises(ServiceError, match=r"OCPS:2 refused\."):
        await service.run(BIAS, world.on_change)
    assert world.notified == [] and service.open_jobs == frozenset() and service.submissions_in_progress == ()


async def test_an_attached_job_is_followed_and_its_age_counts(world: JobWorld) -> None:
    service = world.service()
    world.uws.prepare("executing", "completed")
    submitted_s = utils.current_tai() - 5
    status = await service.attach("old", world.on_change, submitted_s)
    assert status.succeeded and (status.job_id, status.timestamp_submitted_s) == ("old", submitted_s)
    assert world.ocps.submitted == []
    world.uws.prepare("executing")
    world.ocps.on_abort = lambda _job_id: world.uws.prepare("aborted")
    status = await service.attach("ancient", world.on_change, 1000.0)
    assert status.phase == "aborted" and world.ocps.aborted == ["ancient"]


async def test_a_journal_that_fails_stops_the_following(world: JobWorld) -> None:
    async def fail(_status: JobStatus) -> None:
        raise OSError("disk full")

    service = world.service()
    world.ocps.answer.set_result("job1")
    with pytest.raises(OSError, match="disk full"):
        await service.run(BIAS, fail)
    assert service.open_jobs == {"job1"}  # abort_all still reaches it


# Judging


@given(st.sampled_from([None, *Phase]), st.none() | st.integers(-1000, 1000))
def test_good_is_only_what_one_calls_good_and_the_other_has_the_last_word_on(
    phase: Phase | None, reported: int | None
) -> None:
    end = judge(phase, reported)
    if end is None:
        assert phase is not None and not phase.ended
    elif end.exit_code == 0:
        assert phase is Phase.COMPLETED or (phase is None and reported == 0)
        assert end.phase is Phase.COMPLETED
    else:
        assert phase is not Phase.COMPLETED or reported not in (None, 0)
    if end is not None and phase is not None and reported is not None:
        assert end.certain == ((phase is Phase.COMPLETED) == (reported == 0))
