# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each job of a stage begins as soon as it may; if one fails, those that run are followed, and no other begins."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from lsst.ts.comcamcalib.enums import CalibType, StageKind, StageState
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.plan.plan import StagePlan
from lsst.ts.comcamcalib.record.facts import JobEnded, JobIntended, ProductMade, StageMoved
from lsst.ts.comcamcalib.stages.generate import generate, may_begin
from support.bias_job import turn

BOOTSTRAPS = ["cpBiasBootstrap", "cpDarkBootstrap", "cpFlatBootstrap"]
STAGE = "DEFECTS.GENERATE"


@pytest.fixture
def defects(make_bench, expose_all):
    """Return what makes a bench whose DEFECTS.GENERATE is RUNNING; the frames of some types are in the repository."""

    def make(ingested=("BIAS", "DARK", "FLAT"), **config):
        bench = make_bench(config=config, do_defects=True)
        expose_all(bench)
        for name in ingested:
            bench.record.move(f"{name}.INGEST", StageState.SUCCEEDED)
        bench.record.move(STAGE, StageState.RUNNING)
        return bench

    return make


def start(bench, stage: StagePlan | None = None) -> asyncio.Task[str]:
    return bench.start(generate(stage or bench.stage(STAGE), bench.context))


def independent(bench) -> StagePlan:
    """Return the stage of a recipe whose bootstraps do not build on each other."""
    stage = bench.stage(STAGE)
    jobs = [
        dataclasses.replace(job, needs=(), inputs=(), uses={}) if job.label in BOOTSTRAPS else job for job in stage.jobs
    ]
    return dataclasses.replace(stage, jobs=tuple(jobs))


async def ingested(bench, name: str) -> None:
    await bench.record.note(
        StageMoved(stage_name=f"{name}.INGEST", attempt=1, state=StageState.SUCCEEDED, reason="all files are there")
    )
    await turn()


def intended(bench) -> list[str]:
    return [one.label for one in bench.record.of(JobIntended)]


async def test_jobs_that_do_not_need_each_other_run_side_by_side_and_the_last_after_them(defects) -> None:
    bench = defects()
    jobs = bench.observatory.jobs
    holds = [jobs.hold(label) for label in BOOTSTRAPS]
    making = start(bench, independent(bench))
    for label in BOOTSTRAPS:
        await jobs.until_executing(label)
    assert sorted(jobs.labels) == BOOTSTRAPS
    holds[0].set()
    holds[1].set()
    await turn()
    assert "cpDefects" not in jobs.labels, "one of those that it builds on still runs"
    holds[2].set()
    assert await bench.done(making) == "3 datasets of type defects are in u/ocps/job-04/run"
    world = bench.observatory.world
    last = world.job("cpDefects")
    assert last.inputs[:3] == [f"u/ocps/{world.job(label).job_id}" for label in reversed(BOOTSTRAPS)]
    assert "exposure" not in last.request.data_query
    assert bench.context.history.product(CalibType.DEFECTS).job_id == "job-04"
    assert [one.label for one in bench.record.of(ProductMade)][-1] == "cpDefects"
    assert set(bench.context.history.made) == {*BOOTSTRAPS, "cpDefects"}


async def test_a_bootstrap_begins_when_its_own_frames_are_there(defects) -> None:
    bench = defects(ingested=["BIAS"])
    making = start(bench)
    await turn()
    assert intended(bench) == ["cpBiasBootstrap"]
    assert set(bench.context.history.made) == {"cpBiasBootstrap"}, "the darks may still be taken meanwhile"
    await ingested(bench, "FLAT")
    assert intended(bench) == ["cpBiasBootstrap"], "the flats' bootstrap builds on that of the darks"
    await ingested(bench, "DARK")
    assert await bench.done(making) == "3 datasets of type defects are in u/ocps/job-04/run"
    assert intended(bench) == [*BOOTSTRAPS, "cpDefects"]
    world = bench.observatory.world
    assert world.job("cpDefects").inputs[:3] == ["u/ocps/job-03", "u/ocps/job-02", "u/ocps/job-01"]


async def test_no_more_jobs_run_at_once_than_max_jobs(defects) -> None:
    bench = defects(max_jobs=2)
    jobs = bench.observatory.jobs
    holds = {label: jobs.hold(label) for label in BOOTSTRAPS}
    making = start(bench, independent(bench))
    await turn()
    assert len(jobs.labels) == 2
    (late,) = set(BOOTSTRAPS) - set(jobs.labels)
    assert bench.record.waits[-1].who == STAGE
    assert f"a place at the UWS for {late}, where as many jobs as allowed (max_jobs, 2) run" in [
        wait.for_what for wait in bench.record.waits
    ]
    assert late not in intended(bench), "it is not about to be submitted"
    first = jobs.labels[0]
    holds[first].set()
    await jobs.until_executing(late)
    for hold in holds.values():
        hold.set()
    await bench.done(making)


async def test_the_most_urgent_job_gets_the_place(defects) -> None:
    bench = defects(max_jobs=1)
    urgency = bench.context.urgency
    bench.context.urgency = {**urgency, "cpDarkBootstrap": 1e6, "cpFlatBootstrap": 1e5, "cpBiasBootstrap": 1e4}
    async with bench.context.places.place(0.0):
        making = start(bench, independent(bench))
        await turn()
        assert bench.observatory.jobs.labels == []
    await bench.done(making)
    assert bench.observatory.jobs.labels == ["cpDarkBootstrap", "cpFlatBootstrap", "cpBiasBootstrap", "cpDefects"]


async def test_while_one_job_fails_the_others_that_run_are_followed_to_their_ends(defects) -> None:
    bench = defects()
    jobs = bench.observatory.jobs
    hold = jobs.hold("cpFlatBootstrap")
    jobs.failing["cpDarkBootstrap"] = "no darks"
    making = start(bench, independent(bench))
    await jobs.until_executing("cpFlatBootstrap")
    await turn()
    assert not making.done()
    hold.set()
    with pytest.raises(StageError, match=r"^The job cpDarkBootstrap \(job-02\) failed .*no darks$"):
        await bench.done(making)
    assert {one.label: one.exit_code for one in bench.record.of(JobEnded)} == {
        **{"cpBiasBootstrap": 0, "cpDarkBootstrap": 1, "cpFlatBootstrap": 0}
    }
    assert "cpDefects" not in jobs.labels
    assert set(bench.context.history.made) == {"cpBiasBootstrap", "cpFlatBootstrap"}, "the next attempt needs these"


async def test_once_one_has_failed_no_job_that_waits_for_its_frames_begins(defects) -> None:
    bench = defects(ingested=["BIAS"])
    bench.observatory.jobs.failing["cpBiasBootstrap"] = "no biases"
    with pytest.raises(StageError, match="cpBiasBootstrap"):
        await bench.done(start(bench))
    await ingested(bench, "DARK")
    assert bench.observatory.jobs.labels == ["cpBiasBootstrap"]


async def test_once_one_has_failed_no_job_that_waits_for_a_place_begins(defects) -> None:
    bench = defects(max_jobs=1)
    jobs = bench.observatory.jobs
    for label in BOOTSTRAPS:
        jobs.failing[label] = "out of memory"
    with pytest.raises(StageError, match="out of memory"):
        await bench.done(start(bench, independent(bench)))
    assert len(jobs.labels) == 1
    assert not bench.context.places.full


async def test_once_one_has_failed_no_job_that_waits_for_the_ocps_begins(defects) -> None:
    bench = defects()
    jobs = bench.observatory.jobs
    hold = jobs.hold("cpBiasBootstrap")
    jobs.failing["cpBiasBootstrap"] = "no biases"
    jobs.not_enabled |= {"cpDarkBootstrap": 1, "cpFlatBootstrap": 1}
    making = start(bench, independent(bench))
    await jobs.until_executing("cpBiasBootstrap")
    await turn()
    hold.set()
    with pytest.raises(StageError, match="no biases"):
        await bench.done(making)
    assert jobs.labels == ["cpBiasBootstrap"]


async def test_jobs_that_succeeded_are_not_done_again_by_the_next_attempt(defects) -> None:
    bench = defects()
    jobs = bench.observatory.jobs
    jobs.failing["cpDarkBootstrap"] = "no darks"
    with pytest.raises(StageError):
        await bench.done(start(bench, independent(bench)))
    jobs.failing.clear()
    bench.record.move(STAGE, StageState.FAILED)
    bench.record.put(StageMoved(stage_name=STAGE, attempt=2, state=StageState.RUNNING, reason=""))
    assert sorted(jobs.labels) == BOOTSTRAPS
    await bench.done(start(bench, independent(bench)))
    assert jobs.labels[3:] == ["cpDarkBootstrap", "cpDefects"]


async def test_a_stage_that_is_cancelled_leaves_its_jobs_at_the_uws_and_no_task(defects) -> None:
    bench = defects(ingested=["BIAS", "DARK"], max_jobs=1)
    jobs = bench.observatory.jobs
    jobs.hold("cpBiasBootstrap")
    jobs.hold("cpDarkBootstrap")
    making = start(bench, independent(bench))
    await turn()
    making.cancel()
    await asyncio.wait([making])
    assert jobs.aborted == [] and len(jobs.labels) == 1
    assert not bench.context.places.full
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith(STAGE)] == []


async def test_a_job_may_begin_when_its_stages_and_jobs_have_succeeded(make_bench) -> None:
    bench = make_bench(do_defects=True, speculate=False)
    dark = bench.stage("DARK.GENERATE").jobs[0]
    assert not may_begin(dark, bench.context.history)
    for stage in bench.context.plan.stages:
        if stage.kind in (StageKind.INGEST, StageKind.VERIFY):
            bench.record.move(stage.name, StageState.SUCCEEDED)
    assert not may_begin(dark, bench.context.history), "there is no bias yet"
    bench.record.put(
        ProductMade(
            label="cpBias",
            attempt=1,
            job_id="job-01",
            calib_type=CalibType.BIAS,
            dataset_type="bias",
            run_collection="u/ocps/job-01/run",
            datasets=(),
        )
    )
    assert not may_begin(dark, bench.context.history), "BIAS.GENERATE has still to say what it has made"
    bench.record.move("BIAS.GENERATE", StageState.SUCCEEDED)
    assert may_begin(dark, bench.context.history)
    bench.record.put(StageMoved(stage_name="BIAS.GENERATE", attempt=2, state=StageState.PENDING, reason=""))
    assert not may_begin(dark, bench.context.history), "it is made again"
    bench.record.put(StageMoved(stage_name="BIAS.GENERATE", attempt=2, state=StageState.SUCCEEDED, reason=""))
    assert may_begin(dark, bench.context.history)
    bench.record.put(StageMoved(stage_name="BIAS.VERIFY", attempt=2, state=StageState.PENDING, reason=""))
    assert not may_begin(dark, bench.context.history), "without speculation the bias must be verified"
