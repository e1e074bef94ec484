# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whenever the process is killed, the job is found again, and done only if it is certain that there is none."""

from __future__ import annotations

import asyncio
import functools

import pytest
from lsst.ts.comcamcalib.errors import ServiceError, StageError
from lsst.ts.comcamcalib.record.events import JobState
from lsst.ts.comcamcalib.record.facts import (
    JobAbsent,
    JobEnded,
    JobFound,
    JobIntended,
    JobStray,
    ProductMade,
)
from lsst.ts.comcamcalib.services.job_status import JobStatus
from support.bias_job import (
    MADE,
    MARK_1,
    MARK_2,
    kill,
    killed_while_submitting,
    kinds,
    make,
    next_attempt,
    start,
    turn,
    with_biases,
)
from support.services import Gate


@pytest.fixture
def bias(make_bench, expose_all):
    """Return what makes a bench whose biases are in the repository, and whose BIAS.GENERATE is RUNNING."""
    return functools.partial(with_biases, make_bench, expose_all)


# Killed between intent and outcome


async def test_a_job_that_was_submitted_before_the_kill_is_found_by_its_mark_and_followed(bias) -> None:
    bench = await killed_while_submitting(bias(), arrives=True)
    assert kinds(bench) == ["JobIntended"]
    assert await make(bench) == MADE.format("01")
    assert bench.observatory.jobs.labels == ["cpBias"], "it is not submitted a second time"
    assert kinds(bench) == ["JobIntended", "JobFound", "JobMoved", "JobEnded", "ProductMade"]
    (found,) = bench.record.of(JobFound)
    assert (found.job_id, found.found, found.attempt) == ("job-01", True, 1)
    assert [one.phase for one in bench.record.published(JobState)] == ["pending", "executing", "completed"]
    assert [mark for mark, _ in bench.observatory.jobs.searches] == [MARK_1]


async def test_a_job_that_ended_while_nobody_looked_counts_as_it_ended(bias) -> None:
    bench = await killed_while_submitting(bias(), arrives=True)
    bench.observatory.jobs.end("cpBias")
    assert await make(bench) == MADE.format("01")
    (ended,) = bench.record.of(JobEnded)
    assert (ended.job_id, ended.exit_code) == ("job-01", 0)
    assert bench.observatory.jobs.labels == ["cpBias"]


async def test_a_job_that_failed_while_nobody_looked_fails_the_stage(bias) -> None:
    bench = await killed_while_submitting(bias(), arrives=True)
    bench.observatory.jobs.failing["cpBias"] = "RuntimeError: no raws"
    bench.observatory.jobs.end("cpBias")
    with pytest.raises(StageError, match=r"The job cpBias \(job-01\) failed with exit code 1 .*RuntimeError: no raws"):
        await make(bench)
    assert bench.observatory.jobs.labels == ["cpBias"]


async def test_of_two_jobs_with_the_mark_the_older_is_kept_and_the_other_aborted(bias) -> None:
    bench = await killed_while_submitting(bias(), arrives=True)
    world = bench.observatory.world
    world.submit(world.job("cpBias").request)
    assert await make(bench) == MADE.format("01")
    assert bench.observatory.jobs.aborted == ["job-02"]
    strays = bench.record.of(JobStray)
    assert [(one.job_id, one.phase) for one in strays] == [("job-02", "pending"), ("job-02", "aborted")]
    assert strays[0].message == "Job job-02 has the same mark as job job-01, and is one too many"
    assert strays[-1].ended_s > 0
    assert set(bench.context.history.stray_jobs) == {"job-02"}
    assert {one.job_id for one in bench.context.history.jobs.values()} == {"job-01"}
    assert "job-02" in {one.job_id for one in bench.record.published(JobState)}


async def test_a_second_job_that_has_ended_already_is_not_aborted_and_not_used(bias) -> None:
    bench = await killed_while_submitting(bias(), arrives=True)
    world = bench.observatory.world
    world.submit(world.job("cpBias").request)
    bench.observatory.jobs.end("cpBias")
    assert await make(bench) == MADE.format("01")
    assert bench.observatory.jobs.aborted == []
    assert [one.job_id for one in bench.record.of(JobStray)] == ["job-02"]


async def test_a_second_job_that_can_not_be_stopped_does_not_stop_the_run(
    bias, caplog: pytest.LogCaptureFixture
) -> None:
    bench = await killed_while_submitting(bias(), arrives=True)
    world = bench.observatory.world
    world.submit(world.job("cpBias").request)
    bench.observatory.jobs.unstoppable.add("cpBias")
    assert await make(bench) == MADE.format("01")
    assert "job job-02 can't be stopped" in caplog.text


async def test_a_job_that_never_arrived_is_absent_and_submitted_with_another_mark(bias) -> None:
    bench = await killed_while_submitting(bias(), arrives=False)
    assert await make(bench) == MADE.format("01")
    (absent,) = bench.record.of(JobAbsent)
    assert (absent.label, absent.attempt, absent.reason) == ("cpBias", 1, "the UWS has no job with its mark")
    assert [(one.attempt, one.mark) for one in bench.record.of(JobIntended)] == [(1, MARK_1), (2, MARK_2)]
    assert bench.observatory.world.job("cpBias").request.output_dataset_types == f"bias,{MARK_2}"
    assert kinds(bench)[:3] == ["JobIntended", "JobAbsent", "JobIntended"]


async def test_the_search_takes_what_is_left_of_the_time_in_which_a_job_appears(bias) -> None:
    bench = await killed_while_submitting(bias(), arrives=False)
    limit_s = bench.context.config.limits.job_submission
    await asyncio.sleep(limit_s / 4)
    await make(bench)
    ((_, searched_s),) = bench.observatory.jobs.searches
    assert searched_s == pytest.approx(limit_s * 3 / 4, abs=1)
    assert bench.record.waits[0].for_what == (
        "the UWS to show whether cpBias was submitted before the run was interrupted"
    )


@pytest.mark.parametrize(("elapsed_s", "fraction"), [(1e6, 0.0), (-1e6, 1.0)], ids=["long ago", "clock set back"])
async def test_the_search_is_neither_shorter_than_nothing_nor_longer_than_its_limit(
    bias, elapsed_s: float, fraction: float
) -> None:
    bench = await killed_while_submitting(bias(), arrives=True)
    clock = bench.record.clock
    now = clock.tai
    clock.tai = lambda: now() + elapsed_s
    assert await make(bench) == MADE.format("01")
    ((_, searched_s),) = bench.observatory.jobs.searches
    assert searched_s == pytest.approx(fraction * bench.context.config.limits.job_submission, abs=1)


async def test_a_uws_that_can_not_be_asked_for_a_while_is_waited_for(bias) -> None:
    bench = await killed_while_submitting(bias(), arrives=True)
    jobs = bench.observatory.jobs
    jobs.unreachable = "The UWS did not answer."
    asyncio.get_running_loop().call_later(60, setattr, jobs, "unreachable", "")
    assert await make(bench) == MADE.format("01")
    assert len(jobs.searches) > 2 and jobs.labels == ["cpBias"]


async def test_while_the_uws_can_not_be_asked_nothing_is_submitted_and_in_the_end_the_stage_fails(bias) -> None:
    bench = await killed_while_submitting(bias(), arrives=False)
    limits, loop = bench.context.config.limits, asyncio.get_running_loop()
    bench.observatory.jobs.unreachable = "The UWS did not answer."
    began = loop.time()
    with pytest.raises(StageError) as caught:
        await make(bench)
    assert str(caught.value) == (
        "Whether the job cpBias was submitted before the run was interrupted could not be found out: "
        "The UWS did not answer. Check the UWS, then resume the run"
    )
    assert limits.uws_unreachable <= loop.time() - began < limits.uws_unreachable + limits.job_submission + 60
    assert bench.observatory.world.jobs == {} and kinds(bench) == ["JobIntended"]
    bench.observatory.jobs.unreachable = ""
    next_attempt(bench)
    assert await make(bench) == MADE.format("01")
    assert [one.attempt for one in bench.record.of(JobIntended)] == [1, 2]


async def test_a_process_that_is_killed_again_while_it_searches_changes_nothing(bias) -> None:
    bench = await killed_while_submitting(bias(), arrives=True)
    bench.observatory.jobs.unreachable = "The UWS did not answer."
    task = start(bench)
    await turn()
    bench = await kill(bench, task)
    bench.observatory.jobs.unreachable = ""
    assert await make(bench) == MADE.format("01")
    assert bench.observatory.jobs.labels == ["cpBias"]


# Killed while the job runs, and afterwards


async def test_a_running_job_is_attached_without_a_search(bias) -> None:
    bench = bias()
    going_on = bench.observatory.jobs.hold("cpBias")
    task = start(bench)
    await bench.observatory.jobs.until_executing("cpBias")
    bench = await kill(bench, task)
    going_on.set()
    assert await make(bench) == MADE.format("01")
    assert bench.observatory.jobs.searches == [] and bench.observatory.jobs.labels == ["cpBias"]
    assert len(bench.record.of(JobFound)) == 1


async def test_a_job_that_can_not_be_followed_fails_the_stage_and_is_followed_by_the_next_attempt(
    bias, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = bias()
    going_on = bench.observatory.jobs.hold("cpBias")
    task = start(bench)
    await bench.observatory.jobs.until_executing("cpBias")
    bench = await kill(bench, task)
    going_on.set()

    async def broken(*_args) -> None:
        raise ServiceError("Job job-01 uses another repository.")

    with monkeypatch.context() as patch:
        patch.setattr(bench.observatory.jobs, "attach", broken)
        with pytest.raises(
            StageError, match=r"^The job cpBias \(job-01\) can't be followed: Job job-01 uses another repository\.$"
        ):
            await make(bench)
    next_attempt(bench)
    assert await make(bench) == MADE.format("01")


async def test_a_job_that_the_uws_has_forgotten_is_not_good_and_the_next_attempt_does_it_again(bias) -> None:
    bench = bias()
    bench.observatory.jobs.hold("cpBias")
    task = start(bench)
    await bench.observatory.jobs.until_executing("cpBias")
    bench = await kill(bench, task)
    bench.observatory.jobs.held.clear()
    bench.observatory.world.jobs["job-01"].phase, bench.observatory.world.jobs["job-01"].ended = "aborted", True
    with pytest.raises(StageError, match=r"job-01\) failed with exit code 1 in phase unknown: How job-01 ended is not"):
        await make(bench)
    next_attempt(bench)
    assert await make(bench) == MADE.format("02")


async def test_a_job_that_was_checked_is_not_looked_at_again_after_a_kill(bias) -> None:
    bench = bias()
    gate = bench.observatory.repository.gates["datasets"] = Gate()
    task = start(bench)
    await gate.until_reached()
    bench = await kill(bench, task)
    gate.open()
    assert kinds(bench)[-1] == "JobEnded", "it was killed before the product was recorded"
    assert await make(bench) == MADE.format("01")
    asked = len(bench.observatory.repository.asked)
    assert await make(bench) == MADE.format("01")
    assert len(bench.observatory.repository.asked) == asked and len(bench.record.of(ProductMade)) == 1


async def test_a_job_whose_output_was_distrusted_just_before_the_kill_is_done_again(bias) -> None:
    bench = bias()
    bench.observatory.world.missing.add(("cpBias", 4))
    task = start(bench)
    with pytest.raises(StageError, match="R22_S11 is missing"):
        await bench.done(task)
    bench = await kill(bench, task)
    bench.observatory.world.missing.clear()
    assert await make(bench) == MADE.format("02")
    assert [(one.attempt, one.stage_attempt) for one in bench.record.of(JobIntended)] == [(1, 1), (2, 1)]


async def test_a_job_that_appears_after_it_was_searched_for_in_vain_is_a_stray(bias) -> None:
    """The OCPS was so slow that it submitted the job only after the search for it."""
    bench = await killed_while_submitting(bias(), arrives=False)
    first = bench.record.of(JobIntended)[0]
    assert await make(bench) == MADE.format("01")
    on_change = bench.observatory.jobs.late_jobs[first.mark]
    await on_change(JobStatus("job-09", "aborted", 255, "", seen_s := 1.8e9, seen_s + 60))
    (stray,) = bench.record.of(JobStray)
    assert (stray.job_id, stray.phase, stray.stage_name, stray.submitted_s) == (
        "job-09",
        "aborted",
        "BIAS.GENERATE",
        seen_s,
    )
    assert stray.message == "It appeared after it had been searched for in vain"
    assert {one.job_id for one in bench.context.history.jobs.values()} == {"", "job-01"}, "it is never used"


async def test_a_job_that_was_found_is_not_stopped_as_a_late_one(bias) -> None:
    bench = await killed_while_submitting(bias(), arrives=True)
    await make(bench)
    assert bench.observatory.jobs.late_jobs == {}
