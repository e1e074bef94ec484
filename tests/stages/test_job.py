# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A job is done exactly once for the same exposures and inputs; its intent is written down before it is submitted."""

from __future__ import annotations

import asyncio
import functools

import pytest
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.errors import StageError, UnreachableError
from lsst.ts.comcamcalib.record.facts import (
    FrameGivenUp,
    JobAbsent,
    JobDistrusted,
    JobFound,
    JobIntended,
)
from lsst.ts.comcamcalib.stages.generate import generate
from support.bias_job import (
    MADE,
    MARK_1,
    MARK_2,
    STAGE,
    kill,
    killed_while_submitting,
    kinds,
    make,
    next_attempt,
    start,
    until_intended,
    with_biases,
)


@pytest.fixture
def bias(make_bench, expose_all):
    """Return what makes a bench whose biases are in the repository, and whose BIAS.GENERATE is RUNNING."""
    return functools.partial(with_biases, make_bench, expose_all)


async def test_the_intent_comes_before_the_submission_and_says_all_of_it(bias) -> None:
    bench = bias()
    gate = bench.observatory.jobs.submitting["cpBias"] = asyncio.Event()
    task = start(bench)
    await until_intended(bench)
    assert bench.observatory.world.jobs == {}
    (intent,) = bench.record.of(JobIntended)
    gate.set()
    assert await bench.done(task) == MADE.format("01")
    request = bench.observatory.world.job("cpBias").request
    assert (intent.label, intent.attempt, intent.stage_name, intent.stage_attempt) == ("cpBias", 1, STAGE, 1)
    assert (intent.pipeline, intent.data_query, intent.config, intent.output_dataset_types) == (
        *(request.pipeline, request.data_query, request.config),
        request.output_dataset_types,
    )
    assert intent.mark == MARK_1 and request.output_dataset_types == f"bias,{MARK_1}"
    assert intent.exposures == bench.context.history.exposure_ids(CalibType.BIAS) and intent.inputs == ()
    assert kinds(bench) == ["JobIntended", "JobFound", "JobMoved", "JobEnded", "ProductMade"]
    assert not bench.record.of(JobFound)[0].found


async def test_nothing_is_submitted_if_the_intent_can_not_be_written_down(bias) -> None:
    bench = bias()
    bench.record.refuses = lambda fact: isinstance(fact, JobIntended)
    with pytest.raises(StageError, match="It could not be written down, so it was not done: disk full"):
        await make(bench)
    assert bench.observatory.world.jobs == {}
    assert kinds(bench) == ["JobIntended", "JobAbsent"], "the intent may reach the journal later, so it is withdrawn"
    bench.record.refuses = lambda fact: False
    next_attempt(bench)
    assert await make(bench) == MADE.format("01")
    assert bench.observatory.jobs.searches == [], "nobody looks for a job that was certainly not submitted"
    assert bench.observatory.world.job("cpBias").request.output_dataset_types == f"bias,{MARK_2}"


async def test_a_job_that_is_done_is_not_done_again(bias) -> None:
    bench = bias()
    await make(bench)
    facts = kinds(bench)
    again = await kill(bench, start(bench))
    assert await make(again) == MADE.format("01")
    assert kinds(again) == facts and again.observatory.jobs.labels == ["cpBias"]


# What is done again, and what is not


async def test_a_failed_job_is_not_repeated_in_the_same_attempt_of_the_stage(bias) -> None:
    bench = bias()
    bench.observatory.jobs.failing["cpBias"] = "no raws"
    for _ in range(2):
        with pytest.raises(StageError, match=r"The job cpBias \(job-01\) failed .*no raws"):
            await make(bench)
    assert bench.observatory.jobs.labels == ["cpBias"]


async def test_a_job_that_failed_in_an_earlier_attempt_of_the_stage_is_done_again(bias) -> None:
    bench = bias()
    bench.observatory.jobs.failing["cpBias"] = "no raws"
    with pytest.raises(StageError):
        await make(bench)
    bench.observatory.jobs.failing.clear()
    next_attempt(bench)
    assert await make(bench) == MADE.format("02")
    assert [(one.attempt, one.stage_attempt) for one in bench.record.of(JobIntended)] == [(1, 1), (2, 2)]
    assert [(one.job_id, one.exit_code) for one in bench.context.history.jobs.values()] == [
        ("job-01", 1),
        ("job-02", 0),
    ]


async def test_a_job_of_an_earlier_attempt_that_turns_out_to_have_failed_is_done_again_at_once(bias) -> None:
    bench = await killed_while_submitting(bias(), arrives=True)
    bench.observatory.jobs.failing["cpBias"] = "no raws"
    bench.observatory.jobs.end("cpBias")
    next_attempt(bench)
    ended = bench.observatory.world.jobs["job-01"]
    assert ended.phase == "error"
    again = start(bench)
    await bench.record.until(lambda history: any(job.ended_s for job in history.jobs.values()))
    bench.observatory.jobs.failing.clear()
    assert await bench.done(again) == MADE.format("02")


async def test_a_succeeded_job_with_other_exposures_is_done_again(bias) -> None:
    bench = bias(n_bias=3)
    await make(bench)
    bench.record.put(FrameGivenUp(calib_type=CalibType.BIAS, index=3, reason="it was lost after all"))
    next_attempt(bench)
    assert await make(bench) == MADE.format("02")
    first, second = bench.record.of(JobIntended)
    assert second.exposures == first.exposures[:2]
    assert bench.context.history.product(CalibType.BIAS).job_id == "job-02"


async def test_a_succeeded_job_that_built_on_another_job_is_done_again(bias) -> None:
    bench = bias(script_mode="BIAS_DARK")
    dark = bench.stage("DARK.GENERATE")
    await bench.generate("BIAS")
    await generate(dark, bench.context)
    bench.record.put(JobDistrusted(label="cpBias", attempt=1, reason="it used an older defects"))
    next_attempt(bench)
    await bench.generate("BIAS")
    assert await generate(dark, bench.context) == "3 datasets of type dark are in u/ocps/job-04/run"
    assert [one.inputs for one in bench.record.of(JobIntended) if one.label == "cpDark"] == [("job-01",), ("job-03",)]
    assert bench.observatory.world.jobs["job-04"].inputs[0] == "u/ocps/job-03"


async def test_a_job_whose_output_can_not_be_trusted_is_done_again_and_not_used(bias) -> None:
    bench = bias()
    bench.observatory.world.missing.add(("cpBias", 4))
    with pytest.raises(StageError, match="R22_S11 is missing"):
        await make(bench)
    (distrusted,) = bench.record.of(JobDistrusted)
    assert (distrusted.label, distrusted.attempt) == ("cpBias", 1) and "R22_S11 is missing" in distrusted.reason
    bench.observatory.world.missing.clear()
    next_attempt(bench)
    assert await make(bench) == MADE.format("02")
    assert bench.context.history.product(CalibType.BIAS).job_id == "job-02"


async def test_a_submission_without_a_good_answer_stays_open_and_the_next_attempt_searches_first(
    bias, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The OCPS said that it failed, and the job appeared only after the stage had given it up."""
    bench = bias()
    jobs = bench.observatory.jobs

    async def no_good_answer(request, on_change) -> None:
        bench.observatory.world.submit(request)
        raise UnreachableError("OCPS:2 did not answer the command within 120 s. No job appeared.")

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "run", no_good_answer)
        with pytest.raises(StageError, match="The job cpBias could not be run: OCPS:2 did not answer"):
            await make(bench)
    assert bench.context.history.job("cpBias").open
    next_attempt(bench)
    assert await make(bench) == MADE.format("01")
    assert jobs.labels == ["cpBias"]


async def test_each_refusal_because_of_the_state_is_recorded_as_no_job(bias) -> None:
    bench = bias()
    bench.observatory.jobs.not_enabled["cpBias"] = 2
    assert await make(bench) == MADE.format("01")
    assert [one.attempt for one in bench.record.of(JobAbsent)] == [1, 2]
    assert "It is not ENABLED" in bench.record.of(JobAbsent)[0].reason
    assert [one.mark for one in bench.record.of(JobIntended)] == [MARK_1, MARK_2, MARK_2.replace("_2*", "_3*")]
    assert bench.context.history.job("cpBias").succeeded and bench.observatory.jobs.searches == []


async def test_the_ocps_is_waited_for_from_when_it_is_needed(bias) -> None:
    """An hour of waiting for a place at the UWS is no hour of waiting for the OCPS."""
    bench = bias(config={"max_jobs": 1})
    components = bench.observatory.components
    async with bench.context.places.place(0.0):
        task = start(bench)
        await asyncio.sleep(6 * bench.context.config.limits.ocps_enabled)
        components.sentences = ["OCPS:2 is in STANDBY: enable it."]
        asyncio.get_running_loop().call_later(30, components.sentences.clear)
    assert await bench.done(task) == MADE.format("01")
    assert bench.record.waits[0].for_what == (
        "a place at the UWS for cpBias, where as many jobs as allowed (max_jobs, 1) run"
    )
