# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Leaving ENABLED interrupts a run; its jobs run on."""

from __future__ import annotations

import asyncio

from lsst.ts.comcamcalib.enums import RunState, StageState
from lsst.ts.comcamcalib.record.events import ImageTaken, JobState, RunStatus
from support.house import House
from support.services import Gate

BIAS = {"script_mode": "BIAS"}


async def test_leaving_enabled_interrupts_and_lets_the_jobs_run_on(house: House) -> None:
    jobs = house.observatory.jobs
    jobs.hold("cpBias")
    await house.start(**BIAS)
    await jobs.until_executing("cpBias")
    await house.runner.disconnect("The CSC went to DISABLED")
    status = house.status
    assert status.state is RunState.INTERRUPTED
    assert status.reason == "The CSC went to DISABLED. Go on with resumeCalibrationRun, or end the run with abort"
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


async def test_two_interruptions_at_once_are_one(house: House) -> None:
    house.observatory.jobs.hold("cpBias")
    await house.start(**BIAS)
    await house.observatory.jobs.until_executing("cpBias")
    run = house.runner.run
    assert run is not None
    await asyncio.gather(run.interrupt("The CSC went to DISABLED"), run.interrupt("The CSC was closed"))
    assert [status.state for status in house.of(RunStatus)].count(RunState.INTERRUPTED) == 1


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
