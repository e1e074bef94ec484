# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Abort at every kind of moment, and what becomes of a run whose CSC leaves ENABLED or dies."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from lsst.ts import salobj
from lsst.ts.comcamcalib.csc import ComCamCalibCsc
from lsst.ts.comcamcalib.enums import RunState, StageState
from lsst.ts.comcamcalib.simulation.camera_events import CommandState
from lsst.ts.comcamcalib.simulation.faults import Fault
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from lsst.ts.comcamcalib.simulation.world import Image
from support.observatory import running_csc, running_csc_process
from support.operator import Operator
from support.run import Site, SiteRun, until_no_job_is_left, uws_jobs

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

# INTERFACE: nothing moves any more after 10 s, the exposure in progress apart. That the limits of all waits keep this
# is tested in tests/run/test_ending.py; a busy machine adds to it.
ABORT_LIMIT_S = 15.0

BIAS = {"script_mode": "BIAS", "n_bias": 1}


@pytest_asyncio.fixture(loop_scope="session")
async def images(observatory: Observatory) -> AsyncIterator[list[Image]]:
    """Return every image that the camera has taken since the test began."""
    images: list[Image] = []
    listening = True

    def listen(image: Image) -> None:
        if listening:
            images.append(image)

    observatory.world.add_listener(listen)
    yield images
    listening = False


async def abort(site: Site, run: SiteRun, exposure_s: float = 0.0) -> Any:
    """Abort a run; return its last runState, which comes in time."""
    began = time.monotonic()
    await site.operator.command("abort")
    answered = time.monotonic() - began
    state = await run.ended(RunState.ABORTED, limit_s=ABORT_LIMIT_S + exposure_s)
    assert answered < ABORT_LIMIT_S
    assert time.monotonic() - began < ABORT_LIMIT_S + exposure_s
    assert [one.state for one in run.samples("runState")][-2:] == [RunState.ABORTING, RunState.ABORTED]
    assert site.operator.remote.salinfo.domain.user_host in state.reason
    assert not run.in_state(StageState.FAILED)
    assert await run.certified() == []
    assert not run.samples("certification")
    assert not (await site.operator.hear("alarms")).runFailed
    return state


def hold(site: Site, pipeline: str) -> None:
    """Make the job of a pipeline take ten minutes."""
    site.observatory.world.faults.set([Fault("worker", "slow", match={"pipeline": pipeline}, value=600.0)])


# Moments


async def test_abort_in_mid_exposure_takes_that_one_to_its_end_and_no_other(site: Site, images: list[Image]) -> None:
    run = await site.start(script_mode="DARK", n_dark=3, exp_times_dark=150)
    await run.doing("DARK frame 1 of 3")
    await abort(site, run, exposure_s=3.0)
    assert len(images) == 1
    # The run knows what it took.
    (taken,) = run.samples("imageTaken")
    assert taken.exposureId == images[0].exposure_id
    assert run.in_state(StageState.ABORTED) == set(run.stages)
    # The camera does what the next run asks for, and nothing that was left over.
    await site.complete(**BIAS)
    assert len(images) == 2


async def test_abort_while_files_are_waited_for(site: Site, images: list[Image]) -> None:
    site.observatory.world.faults.set([Fault("oods", "lose", match={"detector": 4}, times=None)])
    run = await site.start(**BIAS)
    await run.hear("stageState", stageName="BIAS.ACQUIRE", state=StageState.SUCCEEDED)
    await run.doing("files of CC_O_")
    await abort(site, run)
    assert run.stages["BIAS.INGEST"] is StageState.ABORTED
    assert len(images) == 1


async def test_abort_in_the_middle_of_a_job_ends_the_job(site: Site) -> None:
    hold(site, "cpBias")
    run = await site.start(**BIAS)
    job_id = (await run.hear("jobState", phase="executing")).jobId
    assert [one["jobId"] for one in await uws_jobs(site.observatory)] == [job_id]
    state = await abort(site, run)
    assert "Not stopped" not in state.reason
    assert await uws_jobs(site.observatory) == []
    assert run.in_state(StageState.ABORTED) == {"BIAS.GENERATE", "BIAS.VERIFY", "BIAS.CERTIFY"}
    snapshot = json.loads((await site.operator.command("status", runId=run.run_id)).result)
    assert snapshot["runState"] == RunState.ABORTED


async def test_abort_in_the_middle_of_a_verification_certifies_nothing(site: Site) -> None:
    hold(site, "verifyBias")
    run = await site.start(**BIAS)
    await run.hear("jobState", stageName="BIAS.VERIFY", phase="executing")
    await abort(site, run)
    assert [one["phase"] for one in await uws_jobs(site.observatory)] == ["completed"]
    assert run.in_state(StageState.ABORTED) == {"BIAS.VERIFY", "BIAS.CERTIFY"}
    assert not run.samples("verificationResult")


async def test_abort_while_a_job_is_being_submitted_ends_it_as_soon_as_its_id_is_known(site: Site) -> None:
    site.observatory.world.faults.set([Fault("http", "delay", match={"resource": "submit"}, value=4.0)])
    run = await site.start(**BIAS)
    await run.doing("the OCPS to accept cpBias")
    state = await abort(site, run)
    assert "Not stopped" not in state.reason
    assert await uws_jobs(site.observatory) == []


async def test_submission_that_outlasts_the_abort_is_named_and_its_job_ended_later(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    late = Fault("http", "delay", match={"resource": "submit"}, value=13.0)
    site.observatory.world.faults.set([late, Fault("worker", "slow", value=600.0)])
    run = await site.start(**BIAS)
    await run.doing("the OCPS to accept cpBias")
    state = await abort(site, run)
    assert "Not stopped: The job for" in state.reason and "cpBias.yaml" in state.reason
    # In the end the worker gets the job, the OCPS tells its id, and the CSC has it aborted all the same.
    with caplog.at_level(logging.INFO, logger="lsst.ts.comcamcalib.simulation.faults"):
        await site.operator.wait_for("job", lambda: "strikes at worker: slow" in caplog.text, limit_s=20.0)
    await until_no_job_is_left(site.observatory, limit_s=10.0)


async def test_abort_with_the_uws_down_names_what_could_not_be_stopped(site: Site) -> None:
    hold(site, "cpBias")
    run = await site.start(**BIAS)
    job_id = (await run.hear("jobState", phase="executing")).jobId
    site.observatory.world.faults.set([Fault("http", "status", times=None, value=503, text="down")])
    state = await abort(site, run)
    assert "Not stopped" in state.reason and job_id in state.reason
    site.observatory.world.faults.set([])
    assert [one["phase"] for one in await uws_jobs(site.observatory)] == ["executing"]


async def test_abort_while_a_start_is_being_checked_calls_it_off(site: Site, enabled_csc: ComCamCalibCsc) -> None:
    site.observatory.world.faults.set([Fault("http", "delay", times=None, value=60.0)])
    starting = asyncio.create_task(site.operator.refused("startCalibrationRun", config="script_mode: BIAS"))
    async with asyncio.timeout(10.0):
        while enabled_csc._claim.runner is None or enabled_csc._claim.runner._checking is None:  # noqa: ASYNC110  nothing is published of a start that is being checked
            await asyncio.sleep(0.01)
    await site.operator.command("abort")
    (sentence,) = await starting
    assert sentence.startswith("Aborted by ") and sentence.endswith("while it was being checked; no run was begun.")
    assert not site.operator.samples("runState")
    site.observatory.world.faults.set([])
    await site.complete(**BIAS)


async def test_second_abort_is_refused(site: Site) -> None:
    run = await site.start(script_mode="DARK", n_dark=1, exp_times_dark=100)
    await run.doing("DARK frame 1 of 1")
    await site.operator.command("abort")
    (sentence,) = await site.operator.refused("abort")
    assert run.run_id in sentence and "being aborted already" in sentence
    (sentence,) = await site.operator.refused("startCalibrationRun", config="script_mode: BIAS")
    assert f"{run.run_id} is open (ABORTING)" in sentence
    await run.ended(RunState.ABORTED)


# Leaving ENABLED


async def test_leaving_enabled_interrupts_the_run_and_its_jobs_run_on(site: Site, enabled_csc: ComCamCalibCsc) -> None:
    hold(site, "cpBias")
    run = await site.start(**BIAS)
    job_id = (await run.hear("jobState", phase="executing")).jobId
    await site.operator.bring(disable=salobj.State.DISABLED)
    state = await run.hear("runState", state=RunState.INTERRUPTED)
    assert "DISABLED" in state.reason and "resumeCalibrationRun" in state.reason and "abort" in state.reason
    assert run.stages["BIAS.GENERATE"] is StageState.PENDING
    assert [one["phase"] for one in await uws_jobs(site.observatory)] == ["executing"]
    snapshot = json.loads((await site.operator.command("status")).result)
    assert snapshot["runState"] == RunState.INTERRUPTED
    await site.operator.bring(enable=salobj.State.ENABLED)
    (sentence,) = await site.operator.refused("startCalibrationRun", config="script_mode: BIAS")
    assert f"Run {run.run_id} is open (INTERRUPTED)" in sentence and "or end it with abort" in sentence
    await abort(site, run)
    assert await uws_jobs(site.observatory) == []
    assert run.samples("jobState", jobId=job_id)
    await site.complete(**BIAS)


async def test_run_is_not_accepted_while_the_camera_still_exposes_for_the_one_before(site: Site) -> None:
    run = await site.start(script_mode="DARK", n_dark=1, exp_times_dark=600)
    await run.doing("DARK frame 1 of 1")
    integrating = CommandState.BUSY
    await site.operator.wait_for(
        "exposure", lambda: site.observatory.camera.evt_ccsCommandState.data.substate == integrating
    )
    await site.operator.bring(disable=salobj.State.DISABLED, enable=salobj.State.ENABLED)
    state = await abort(site, run)
    # Nobody knows yet what becomes of the exposure, because the camera is still at it.
    assert "Not known: whether the camera took DARK frame 1, which had been commanded" in state.reason
    (sentence,) = await site.operator.refused("startCalibrationRun", config="script_mode: BIAS")
    assert re.search(r"CCCamera is taking an image: CC_O_\d+_\d+ of 600 s", sentence)
    await asyncio.wait_for(site.observatory.camera.idle.wait(), 20.0)
    await site.complete(**BIAS)


async def test_disabling_in_mid_exposure_is_quick_and_ends_the_acquisition(site: Site, images: list[Image]) -> None:
    run = await site.start(script_mode="DARK", n_dark=3, exp_times_dark=200)
    await run.doing("DARK frame 1 of 3")
    began = time.monotonic()
    await site.operator.bring(disable=salobj.State.DISABLED)
    assert time.monotonic() - began < 3.0
    await run.hear("runState", state=RunState.INTERRUPTED)
    await asyncio.wait_for(site.observatory.camera.idle.wait(), 10.0)
    assert len(images) == 1


async def test_disable_is_answered_in_time_while_the_repository_is_locked(
    site: Site, enabled_csc: ComCamCalibCsc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operator's limit for each command is the ten seconds that the guide promises."""
    assert enabled_csc._connection is not None
    butler, locked = enabled_csc._connection._butler, asyncio.Event()
    certify = butler.certify
    blocker = sqlite3.connect(site.observatory.repo / "gen3.sqlite3", isolation_level=None)

    async def certify_when_locked(*args: Any) -> Any:
        blocker.execute("BEGIN EXCLUSIVE")
        locked.set()
        return await certify(*args)

    monkeypatch.setattr(butler, "certify", certify_when_locked)
    try:
        run = await site.start(**BIAS)
        await asyncio.wait_for(locked.wait(), 60.0)
        await run.doing("Butler to certify")
        await site.operator.bring(disable=salobj.State.DISABLED)
        await run.hear("runState", state=RunState.INTERRUPTED)
    finally:
        blocker.close()
    # What the left-behind thread did after that is found, if it did anything.
    await site.operator.bring(enable=salobj.State.ENABLED)
    await site.operator.command("abort")
    await run.ended(RunState.ABORTED)
    assert len(run.samples("certification")) == bool(await run.certified())


# Death

# Kills itself as soon as Butler has certified something, before anybody is notified of it.
CSC_THAT_DIES_AFTER_BUTLERS_COMMIT = """
import os, signal
from lsst.ts.comcamcalib.csc import run_comcamcalib
from lsst.ts.comcamcalib.services.butler import ButlerService

certify = ButlerService.certify

async def certify_and_die(*args, **keywords):
    await certify(*args, **keywords)
    os.kill(os.getpid(), signal.SIGKILL)

ButlerService.certify = certify_and_die
run_comcamcalib()
"""


async def test_what_butler_committed_when_the_process_was_killed_is_found_and_published(
    observatory: Observatory, operator: Operator, tmp_path: Path
) -> None:
    site = Site(observatory, operator)
    program = CSC_THAT_DIES_AFTER_BUTLERS_COMMIT
    async with running_csc_process(tmp_path / "csc.log", "--state", "enabled", program=program) as process:
        await operator.hear("summaryState", summaryState=salobj.State.ENABLED)
        run = await site.start(**BIAS)
        await asyncio.wait_for(process.wait(), 60.0)
    assert process.returncode == -signal.SIGKILL
    assert len(await run.certified()) == 9
    assert not run.samples("certification")
    async with running_csc(initial_state=salobj.State.ENABLED):
        await operator.command("abort")
        state = await run.ended(RunState.ABORTED)
        published = await run.hear("certification")
    assert "bias of u/ocps/" in state.reason and "was certified: 9 datasets of type bias are in" in state.reason
    assert (published.datasetCount, published.datasetType, published.collection) == (9, "bias", run.collection)
    assert {(one.begin, one.end) for one in await run.certified()} == {(published.validityBegin, published.validityEnd)}


async def test_run_of_a_killed_process_is_interrupted_and_can_be_aborted(
    observatory: Observatory, operator: Operator, tmp_path: Path
) -> None:
    site = Site(observatory, operator)
    hold(site, "cpBias")
    log = tmp_path / "csc.log"
    async with running_csc_process(log, "--state", "enabled") as process:
        await operator.hear("summaryState", summaryState=salobj.State.ENABLED)
        run = await site.start(**BIAS)
        job_id = (await run.hear("jobState", phase="executing")).jobId
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
    operator.forget()
    async with running_csc(initial_state=salobj.State.ENABLED):
        alarms = await operator.hear("alarms", operatorDecisionNeeded=True)
        assert "The service ended while the run was open" in alarms.reason
        assert not alarms.runFailed, "nothing is known to have failed"
        snapshot = json.loads((await operator.command("status")).result)
        assert (snapshot["runId"], snapshot["runState"]) == (run.run_id, RunState.INTERRUPTED)
        assert (snapshot["imagesTaken"], snapshot["imagesExpected"]) == (1, 1)
        assert {one["stageName"]: one["jobId"] for one in snapshot["stages"]}["BIAS.GENERATE"] == job_id
        assert (await run.hear("jobState", jobId=job_id)).phase == "executing"
        (sentence,) = await operator.refused("startCalibrationRun", config="script_mode: BIAS")
        assert run.run_id in sentence
        await abort(site, run)
        assert await uws_jobs(observatory) == []
        ended = run.samples("jobState", jobId=job_id)[-1]
        assert ended.timestampEnded == 0 or ended.phase == "aborted"
        (sentence,) = await operator.refused("abort")
        assert "no open run" in sentence
        following = await site.complete(**BIAS)
        assert following.run_id > run.run_id
