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

import pytest
from lsst.ts.comcamcalib.enums import RunState, StageState
from lsst.ts.comcamcalib.plan.record import Alarms, ImageTaken, JobState
from support.house import House
from support.plans import make_config
from support.services import Gate

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

    async def slow(job_id: str) -> None:
        await gate.pass_through()
        await abort(job_id)

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
