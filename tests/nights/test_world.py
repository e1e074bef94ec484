# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The night's world by itself, and the product's job service on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from lsst.ts.comcamcalib.butler_data import CertifyRequest
from lsst.ts.comcamcalib.enums import Verdict
from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.plan.request import JobRequest
from lsst.ts.comcamcalib.services.camera import FrameRequest
from lsst.ts.comcamcalib.services.job_status import JobStatus
from lsst.ts.comcamcalib.services.jobs import JobService
from lsst.ts.comcamcalib.services.oods import IngestNotice
from support.plans import RUN_ID, make_config

from .faults import FAULTS, Happening, NightPlan, draw_night
from .listener import Listener
from .virtual_loop import OutsideClock, virtual_process
from .world import NightWorld

MARK = f"{RUN_ID}_BIAS.GENERATE_cpBias_1*"
QUERY = "instrument='LSSTComCam' AND detector IN (0, 1, 4)"
REQUEST = JobRequest(
    "${CP_PIPE_DIR}/pipelines/LSSTComCam/cpBias.yaml", QUERY, "-j 8 -i LSSTComCam/calib", f"bias,{MARK}"
)
FRAME = FrameRequest("DARK", 30.0, f"{RUN_ID}-DARK")
GOOD_JOBS = {
    "answer late",
    "answer lost",
    "called failed",
    "doubled",
    "result lost",
    "result doubled",
    "expired",
    "incomplete",
    "abort unanswered",
}


async def allowed() -> None:
    """The process may do everything."""


def world_with(*happenings: Happening) -> NightWorld:
    return NightWorld(make_config(), NightPlan(1, (), happenings))


def run(world: NightWorld, work: Callable[[Listener], Awaitable[Any]], for_s: float | None = None) -> Any:
    """Run a process to its end, or kill it after some time (seconds)."""
    with virtual_process(world, 1000.0, lambda: 0.01) as loop:
        asyncio._set_running_loop(loop)
        listener = Listener(world, make_config().limits, allowed)
        asyncio._set_running_loop(None)
        world.listeners.append(listener)
        task = loop.create_task(work(listener))
        if for_s is not None:
            world.after(for_s, loop.stop)
            loop.run_forever()
            world.listeners.clear()
            return None
        return loop.run_until_complete(task)


def test_an_exposure_and_its_files_go_on_after_the_death_of_the_process() -> None:
    world = world_with()
    run(world, lambda process: process.camera.take(FRAME), for_s=5.0)
    assert len(world.images) == 1
    assert not world.read_out
    world.pass_time(100.0)
    (exposure_id,) = world.read_out
    assert {detector for one, detector in world.raws if one == exposure_id} == set(range(9))
    found = run(world, lambda process: process.repository.exposures_of_group(FRAME.group_id))
    assert [one.exposure_id for one in found] == [exposure_id]


@pytest.mark.parametrize("what", FAULTS["exposure"])
def test_what_goes_wrong_with_an_exposure_decides_whether_there_is_one(what: str) -> None:
    world = world_with(Happening("exposure", what, 1))

    async def take(process: Listener) -> str:
        try:
            await process.camera.take(FRAME)
        except ServiceError as error:
            return str(error)
        return ""

    answer = run(world, take)
    mine = [one for one in world.read_out if world.images[one].group_id == FRAME.group_id]
    assert len(mine) == (what not in ("refused", "camera in FAULT"))
    if what in ("refused", "camera in FAULT", "end not seen", "failed after readout"):
        assert "was not taken" in answer
    assert world.seen == {f"exposure: {what}": 1}


@pytest.mark.parametrize("what", FAULTS["files"])
def test_what_goes_wrong_with_files(what: str) -> None:
    world = world_with(Happening("files", what, 1))
    notices: list[IngestNotice] = []

    async def take(process: Listener) -> None:
        process.oods.subscribe(notices.append)
        await process.camera.take(FRAME)
        await asyncio.sleep(300.0)

    run(world, take)
    assert len(world.raws) == (8 if what == "one lost" else 9)
    ingested = [one.detector for one in notices if one.succeeded]
    failed = [one for one in notices if not one.succeeded]
    assert len(ingested) == {"silent": 0, "doubled": 18, "one lost": 8}.get(what, 9)
    assert len(failed) == (what in ("failed at first", "unreadable at first"))
    if what == "unreadable at first":
        assert failed[0].exposure_id is None


@pytest.mark.parametrize("what", ["", *FAULTS["job"]])
def test_the_job_service_ends_each_job_and_leaves_none_running(what: str) -> None:
    world = world_with(*([Happening("job", what, 1)] if what else []))
    shown: list[JobStatus] = []

    async def on_change(status: JobStatus) -> None:
        shown.append(status)

    async def work(process: Listener) -> JobStatus | ServiceError:
        async def backend(_reachable: bool, _sentence: str) -> None:
            """Nobody looks."""

        limits = make_config().limits
        service = JobService(process.ocps, process.uws, 2.0, limits, OutsideClock(world), backend)
        try:
            return await service.run(REQUEST, on_change)
        except ServiceError as error:
            return error
        finally:
            await asyncio.sleep(1000.0)  # what goes on in the background gets its time
            await service.close()

    outcome = run(world, work)
    assert not [job for job in world.all_jobs if job.running]
    if what in GOOD_JOBS or not what:
        assert isinstance(outcome, JobStatus) and outcome.succeeded
        assert world.jobs[outcome.job_id].phase == "completed"
    elif what == "refused":
        assert isinstance(outcome, ServiceError)
    elif what == "made late":  # found by the first search, or by the later one that stops it
        assert isinstance(outcome, ServiceError) or outcome.succeeded
    else:
        assert isinstance(outcome, JobStatus) and not outcome.succeeded
    known = {one.job_id for one in shown}
    assert {job.job_id for job in world.all_jobs} <= known, "somebody was told of each job"


async def _submit(process: Listener) -> str:
    return await process.ocps.submit(REQUEST)


def test_a_job_runs_on_after_the_death_of_the_process_and_is_found_by_its_mark() -> None:
    world = world_with()
    run(world, _submit, for_s=0.4)
    assert not world.all_jobs, "the OCPS has the command, but no job is made yet"
    world.pass_time(300.0)
    (job,) = world.all_jobs
    assert job.phase == "completed"
    shown = run(world, lambda process: process.uws.jobs())
    assert [one.job_id for one in shown if one.has_mark(MARK)] == [job.job_id]


def test_the_same_seed_draws_the_same_night() -> None:
    nights = [draw_night(seed) for seed in range(300)]
    assert nights == [draw_night(seed) for seed in range(300)]
    drawn = {(one.where, one.what) for night in nights for one in night.happenings}
    missing = {(where, what) for where, all_of_it in FAULTS.items() for what in all_of_it} - drawn
    assert not missing, "300 nights have a bit of everything"


def certify(world: NightWorld, job_id: str, begin: str, end: str) -> None:
    ids = tuple(one.dataset_id for one in world.datasets[f"u/ocps/{job_id}/run", "bias"])
    world.certify_for(CertifyRequest(f"u/ocps/{job_id}/run", "bias", ids, "calib", begin, end, Verdict.PASSED))


def test_a_certification_splits_an_older_one_and_repeating_it_changes_nothing() -> None:
    world = world_with()
    for run_name in ("old", "new"):
        job = world._make_job(REQUEST, frozenset())
        job.job_id = run_name
        world.complete(job)
    old, new = ([one.dataset_id for one in world.datasets[f"u/ocps/{name}/run", "bias"]] for name in ("old", "new"))
    certify(world, "old", "2026-11-20T12:00:00", "")
    for _ in range(2):
        certify(world, "new", "2026-11-22T12:00:00", "2026-11-23T12:00:00")
    ranges = {(one.begin, one.end, one.dataset.dataset_id in new) for one in world.validities}
    assert ranges == {
        ("2026-11-20T12:00:00", "2026-11-22T12:00:00", False),
        ("2026-11-22T12:00:00", "2026-11-23T12:00:00", True),
        ("2026-11-23T12:00:00", "", False),
    }
    assert len(world.certified_log) == len(old) + len(new)
