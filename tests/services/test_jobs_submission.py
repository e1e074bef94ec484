# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the OCPS's answer to a submission proves: that there is a job, that there is none, or nothing."""

from __future__ import annotations

import asyncio

import pytest
from lsst.ts import utils
from lsst.ts.comcamcalib.errors import NotEnabledError, ServiceError, UnreachableError
from support.job_world import BIAS, DOWN, LIMIT_S, MARK, RUN, JobWorld, uws_job, within_limit

ERROR_500 = UnreachableError("OCPS:2 could not execute: Failed: 500 Server Error: Internal Server Error.")
SILENCE = UnreachableError("OCPS:2 did not answer the command within 120 s.")
NO_ID = UnreachableError("OCPS:2 began to execute but gave no job id ('{}').")


@pytest.mark.parametrize("trouble", [ERROR_500, SILENCE, NO_ID], ids=["500", "silence", "no id"])
async def test_the_job_that_was_made_behind_an_error_is_found_by_its_mark_and_followed(
    world: JobWorld, trouble: ServiceError, caplog: pytest.LogCaptureFixture
) -> None:
    world.ocps.answer.set_exception(trouble)
    world.uws.listing = [
        uws_job("foreign", mark="20261122-001_DARK.GENERATE_cpDark*"),
        uws_job("longer", mark=f"{MARK}x"),
        uws_job("made", "queued"),
    ]
    world.uws.by_id["made"] = ["queued", "executing", "completed"]
    status = await world.run(world.service())
    assert status.succeeded and status.job_id == "made"
    assert [one.phase for one in world.notified] == ["pending", "queued", "executing", "completed"]
    assert "The job exists all the same: it is made" in caplog.text
    assert world.ocps.aborted == []


async def test_a_job_that_appears_late_is_found(world: JobWorld) -> None:
    world.ocps.answer.set_exception(ERROR_500)
    service = world.service()
    running = world.start(service)
    await asyncio.wait_for(world.uws.listed.wait(), LIMIT_S)
    world.uws.by_id["made"] = ["completed"]
    world.uws.listing = [uws_job("made")]
    assert (await within_limit(running)).job_id == "made"


async def test_a_refusal_because_of_the_state_proves_that_there_is_no_job(world: JobWorld) -> None:
    world.ocps.answer.set_exception(NotEnabledError("OCPS:2 refused. It is not ENABLED: enable it."))
    service = world.service()
    with pytest.raises(NotEnabledError, match="enable it"):
        await service.run(BIAS, world.on_change)
    assert world.uws.lists == 0 and service.open_jobs == frozenset()


async def test_a_job_that_is_not_found_in_time_is_named_and_stopped_when_it_appears(world: JobWorld) -> None:
    world.ocps.answer.set_exception(ERROR_500)
    service = world.service(job_submission=0.01)
    with pytest.raises(UnreachableError) as caught:
        await service.run(BIAS, world.on_change)
    assert str(caught.value) == (
        "OCPS:2 could not execute: Failed: 500 Server Error: Internal Server Error. No job with its mark "
        f"{MARK} appeared at the UWS in the 0.01 s after that; one may still appear. The search "
        "goes on, and a job that appears is stopped."
    )
    world.ocps.on_abort = lambda _job_id: world.uws.prepare(None)
    world.uws.listing = [uws_job("late")]
    status = await world.until_concluded("late")
    assert (status.phase, status.exit_code) == ("aborted", 255)
    assert status.message == "Job late appeared after its submission was given up; it was aborted."
    assert world.ocps.aborted == ["late"]


async def test_a_late_job_that_has_completed_meanwhile_is_not_deleted(world: JobWorld) -> None:
    world.ocps.answer.set_exception(SILENCE)
    service = world.service(job_submission=0.01)
    with pytest.raises(UnreachableError):
        await service.run(BIAS, world.on_change)
    world.uws.prepare("completed")
    world.uws.listing = [uws_job("late")]
    assert (await world.until_concluded("late")).phase == "completed"
    assert world.ocps.aborted == []


async def test_the_search_for_a_job_that_never_comes_has_an_end(
    world: JobWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world.ocps.answer.set_exception(ERROR_500)
    service = world.service(job_submission=0.01, uws_unreachable=0.02)
    with pytest.raises(UnreachableError):
        await service.run(BIAS, world.on_change)
    async with asyncio.timeout(LIMIT_S):
        await asyncio.gather(*service._submissions._late)
    assert f"No job with the mark {MARK} has appeared at the UWS; the search is over" in caplog.text


async def test_a_uws_that_can_not_be_asked_leaves_it_unknown(world: JobWorld) -> None:
    world.ocps.answer.set_exception(SILENCE)
    world.uws.listing = DOWN
    service = world.service(job_submission=0.01, uws_unreachable=0.01)
    with pytest.raises(UnreachableError, match="is not known, because the UWS can't be asked: The UWS did not answer"):
        await service.run(BIAS, world.on_change)
    assert world.backend[0] == (False, str(DOWN))
    world.ocps.on_abort = lambda _job_id: world.uws.prepare(None)
    world.uws.listing = [uws_job("late")]
    assert (await world.until_concluded("late")).phase == "aborted", "silence is no answer: the search went on"


async def test_of_several_jobs_with_one_mark_the_first_is_kept(
    world: JobWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world.ocps.answer.set_exception(ERROR_500)
    now = utils.current_tai()
    world.uws.listing = [
        uws_job("second", timestamp_created_s=now + 5),
        uws_job("first", timestamp_created_s=now + 1),
        uws_job("third", timestamp_created_s=now + 9),
    ]
    world.uws.by_id = {"first": ["executing", "completed"], "second": ["executing"], "third": ["executing"]}
    world.ocps.on_abort = lambda job_id: world.uws.by_id.update({job_id: [None]})
    status = await world.run(world.service())
    assert status.succeeded and status.job_id == "first"
    for other in ("second", "third"):
        assert (await world.until_concluded(other)).message == (
            f"Job {other} has the same mark as job first, and is one too many; it was aborted."
        )
    assert sorted(world.ocps.aborted) == ["second", "third"]
    assert "it is one too many" in caplog.text


async def test_a_job_of_an_earlier_life_of_the_journal_is_not_taken_for_the_new_one(
    world: JobWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """A journal that was moved away counts its runs from 1 again."""
    world.ocps.answer.set_exception(ERROR_500)
    world.uws.listing = [uws_job("ancient", timestamp_created_s=utils.current_tai() - 3600)]
    service = world.service(job_submission=0.01)
    with pytest.raises(UnreachableError, match="No job with its mark"):
        await service.run(BIAS, world.on_change)
    assert "Job ancient has the mark" in caplog.text and "belongs to an earlier run of the same name" in caplog.text


async def test_an_abort_during_the_search_stops_what_is_found(world: JobWorld) -> None:
    world.ocps.answer.set_exception(ERROR_500)
    service = world.service()
    running = world.start(service)
    await asyncio.wait_for(world.uws.listed.wait(), LIMIT_S)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    aborting = asyncio.create_task(service.abort_all(LIMIT_S, RUN))
    await asyncio.sleep(0)
    world.ocps.on_abort = lambda _job_id: world.uws.prepare(None)
    world.uws.listing = [uws_job("made")]
    assert await within_limit(aborting) == []
    assert world.ocps.aborted == ["made"]
    assert (await world.until_concluded("made")).exit_code == 255


# Whose job it is


async def test_the_id_of_another_job_is_not_followed_and_the_right_one_is_found(world: JobWorld) -> None:
    world.uws.by_id["wrong"] = [uws_job("wrong", "completed", mark="somebody-else*")]
    world.uws.by_id["right"] = ["executing", "completed"]
    world.uws.listing = [uws_job("wrong", mark="somebody-else*"), uws_job("right")]
    world.ocps.answer.set_result("wrong")
    status = await world.run(world.service())
    assert status.succeeded and status.job_id == "right"
    (wrong,) = [one for one in world.notified if one.job_id == "wrong" and one.ended]
    assert "is another job, with the outputs bias,somebody-else*" in wrong.message and wrong.exit_code == 1
    assert world.ocps.aborted == [], "what is somebody else's is left alone"


async def test_an_id_that_is_none_is_not_asked_for(world: JobWorld) -> None:
    world.uws.by_id["right"] = ["completed"]
    world.uws.listing = [uws_job("right")]
    world.ocps.answer.set_result("../job")
    assert (await world.run(world.service())).job_id == "right"
    assert world.uws.looks == 1


async def test_a_job_that_the_uws_never_knew_runs_at_another_uws(world: JobWorld) -> None:
    world.uws.prepare(None)
    status = await world.run(world.service())
    assert (status.succeeded, status.phase, status.exit_code) == (False, "aborted", 255)
    assert status.message == (
        f"The UWS does not know job job1, which the OCPS has just submitted, nor a job with its mark {MARK}. The OCPS "
        "probably uses a UWS other than uws_url of this CSC: compare them; it was aborted."
    )
    assert world.ocps.aborted == ["job1"]
    assert world.notified[-1] == status


async def test_an_id_that_the_uws_never_knew_leads_to_the_job_with_the_mark(world: JobWorld) -> None:
    """A proxy or cache may answer the submission with another id."""
    now = utils.current_tai()
    world.uws.by_id |= {"wrong": [None], "right": ["executing", "completed"], "twin": ["executing", None]}
    world.uws.listing = [uws_job("right", timestamp_created_s=now), uws_job("twin", timestamp_created_s=now + 1)]
    world.ocps.answer.set_result("wrong")
    status = await world.run(world.service())
    assert status.succeeded and status.job_id == "right"
    assert (await world.until_concluded("twin")).message.startswith("Job twin has the same mark as job right")
    (wrong,) = [one for one in world.notified if one.job_id == "wrong" and one.ended]
    assert wrong.message.endswith("which the OCPS has just submitted; the job with its mark is right.")
    assert "wrong" not in world.ocps.aborted


async def test_the_job_with_the_mark_may_have_completed_meanwhile(world: JobWorld) -> None:
    world.uws.by_id |= {"wrong": [None], "right": ["completed"]}
    world.uws.listing = [uws_job("right", "completed", timestamp_created_s=utils.current_tai())]
    world.ocps.answer.set_result("wrong")
    status = await world.run(world.service())
    assert status.succeeded and status.job_id == "right"


async def test_a_job_at_another_uws_that_can_not_be_aborted_is_explained_once(world: JobWorld) -> None:
    world.uws.prepare(None)
    world.ocps.refusal = UnreachableError("OCPS:2 could not abort job job1: 404 Client Error.")
    status = await world.run(world.service())
    assert status.message.count("The UWS does not know job job1") == 1
    assert status.message.endswith(
        "compare them. How the job ended is unknown. The CSC tried to abort it; the answer was: OCPS:2 could not abort "
        "job job1: 404 Client Error."
    )


async def test_without_the_list_it_is_not_known_whether_there_is_a_job_with_the_mark(world: JobWorld) -> None:
    world.uws.prepare(None)
    world.uws.listing = DOWN
    status = await world.run(world.service())
    assert f"; it is not known whether there is a job with its mark {MARK} (The UWS did not answer.)" in status.message
    assert f"nor a job with its mark {MARK}" not in status.message


async def test_a_job_on_another_repository_is_aborted_with_both_names(world: JobWorld) -> None:
    world.uws.prepare(uws_job("job1", butler_repo="/repo/LATISS"))
    world.ocps.on_abort = lambda _job_id: world.uws.prepare(None)
    with pytest.raises(
        ServiceError,
        match="Job job1 works on the repository /repo/LATISS, but this CSC is configured for /repo/LSSTComCam",
    ):
        await world.run(world.service(repo="/repo/LSSTComCam"))
    assert world.ocps.aborted == ["job1"]


async def test_a_job_on_another_repository_is_not_good_though_it_has_completed(world: JobWorld) -> None:
    world.uws.prepare(uws_job("job1", "completed", butler_repo="/repo/LATISS"))
    with pytest.raises(ServiceError, match="/repo/LATISS"):
        await world.run(world.service(repo="/repo/LSSTComCam"))
    assert world.ocps.aborted == []


@pytest.mark.parametrize("name", ["/repo/LSSTComCam", "/repo/LSSTComCam/", "file:///repo/LSSTComCam/butler.yaml"])
async def test_another_form_of_the_same_name_is_the_same_repository(world: JobWorld, name: str) -> None:
    world.uws.prepare(uws_job("job1", "completed", butler_repo=name))
    assert (await world.run(world.service(repo="/repo/LSSTComCam"))).succeeded


# Jobs that appear after they were searched for in vain


async def test_a_job_that_appears_after_it_was_searched_for_in_vain_is_stopped_and_published(world: JobWorld) -> None:
    service = world.service()
    now = utils.current_tai()
    world.uws.by_id["late"] = ["executing"]
    world.uws.listing = [uws_job("ancient", timestamp_created_s=now - 3600), uws_job("other", mark="another*")]
    service.stop_late_job(MARK, now, world.on_change)
    await asyncio.wait_for(world.uws.listed.wait(), LIMIT_S)
    world.ocps.on_abort = lambda job_id: world.uws.by_id.update({job_id: [None]})
    world.uws.listing = [uws_job("late", timestamp_created_s=now + 1)]
    status = await world.until_concluded("late")
    assert (status.phase, status.exit_code) == ("aborted", 255)
    assert status.message == "Job late appeared after its submission was given up; it was aborted."
    assert world.ocps.aborted == ["late"]


# Jobs of a run that is closed


async def test_a_job_that_appears_when_its_run_is_closed_is_stopped_and_the_run_is_notified(world: JobWorld) -> None:
    service = world.service()
    now = utils.current_tai()
    world.uws.by_id["late"] = ["executing"]
    world.uws.listing = DOWN
    service.stop_late(RUN, now, {"known"}, lambda _job: world.on_change)
    await asyncio.wait_for(world.uws.listed.wait(), LIMIT_S)
    world.ocps.on_abort = lambda job_id: world.uws.by_id.update({job_id: [None]})
    world.uws.listing = [
        uws_job("known", timestamp_created_s=now),
        uws_job("over", "completed", timestamp_created_s=now),
        uws_job("ancient", timestamp_created_s=now - 3600),
        uws_job("other", mark="20261122-002_BIAS.GENERATE_cpBias*", timestamp_created_s=now),
        uws_job("late", timestamp_created_s=now + 1),
    ]
    status = await world.until_concluded("late")
    assert (status.phase, status.exit_code) == ("aborted", 255)
    assert status.message == "Job late appeared after its run was closed; it was aborted."
    assert world.ocps.aborted == ["late"]


async def test_leaving_enabled_ends_the_search_for_a_run_s_jobs_and_says_so(
    world: JobWorld, caplog: pytest.LogCaptureFixture
) -> None:
    service = world.service()
    world.uws.listing = DOWN
    service.stop_late(RUN, utils.current_tai(), (), lambda _job: world.on_change)
    await asyncio.wait_for(world.uws.listed.wait(), LIMIT_S)
    await service._submissions.close()
    assert f"Closed during the search for jobs of run {RUN}; look for it at the UWS" in caplog.text
