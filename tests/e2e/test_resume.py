# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A CSC in a process of its own is killed or terminated in mid-run; the resumed run ends as an undisturbed one.

The moments are chosen here, such that nothing has just been intended and not yet sent: then the resumed run has to
wait for minutes until it is certain that there is nothing. ``tests/crash`` kills at random moments.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from lsst.ts import salobj
from lsst.ts.comcamcalib.enums import RunState, StageState
from lsst.ts.comcamcalib.simulation.faults import Fault
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from support.observatory import CSC_PROGRAM, running_csc, running_csc_process
from support.operator import Operator
from support.repository import certified, count_raws
from support.run import Site, SiteRun, finish_job, uws_jobs

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

# The recorded dark fits short darks; long ones, which leave time to kill in mid-exposure, have more noise than it says.
OPTIONS = {
    "script_mode": "BIAS_DARK",
    "n_bias": 2,
    "n_dark": 3,
    "exp_times_dark": 60,
    "number_verification_tests_threshold_dark": 15,
}

# From the command to the run in progress (seconds).
RESUME_LIMIT_S = 5.0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What is left of a run, without what differs from run to run."""

    stages: dict[str, StageState]
    images: dict[tuple[int, int], float]
    """Exposure time by type and index."""
    raws: int
    jobs: Counter[str]
    """How many jobs each stage has had at the UWS."""
    certified: Counter[tuple[str, int]]


async def outcome(run: SiteRun, observatory: Observatory) -> Outcome:
    """Look at what was published of a run and at what is outside."""
    there = await asyncio.to_thread(certified, observatory.repo, run.collection)
    jobs = await uws_jobs(observatory)
    globs = [one["value"] for job in jobs for one in job["parameters"]["environment"] if one["name"] == "OUTPUT_GLOB"]
    marks = [glob.rpartition(",")[2] for glob in globs]
    return Outcome(
        run.stages,
        {(one.imageType, one.imageIndex): one.exposureTime for one in run.samples("imageTaken")},
        await asyncio.to_thread(count_raws, observatory.repo),
        Counter(mark.removeprefix(f"{run.run_id}_").split("_")[0] for mark in marks if mark.startswith(run.run_id)),
        Counter((one.dataset_type, one.detector) for one in there),
    )


@pytest.fixture
def site(observatory: Observatory, operator: Operator) -> Site:
    return Site(observatory, operator)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def undisturbed(session_observatory: Observatory) -> Outcome:
    """What is left of a run that nobody disturbed."""
    async with salobj.Domain() as domain, Operator(domain) as operator:
        async with running_csc(initial_state=salobj.State.ENABLED) as csc:
            run = await Site(session_observatory, operator, csc).complete(**OPTIONS)
        found = await outcome(run, session_observatory)
    await session_observatory.reset()
    assert found.raws == 5 * 9
    assert set(found.jobs.values()) == {1} and len(found.jobs) == 4
    assert len(found.certified) == 2 * 9
    return found


@contextlib.asynccontextmanager
async def enabled_process(
    site: Site, log: Path, program: str = CSC_PROGRAM
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a CSC in a process of its own; wait until it is ENABLED."""
    before = len(site.operator.samples("summaryState", summaryState=salobj.State.ENABLED))
    async with running_csc_process(log, "--state", "enabled", program=program) as process:
        await site.operator.wait_for(
            "an ENABLED CSC",
            lambda: len(site.operator.samples("summaryState", summaryState=salobj.State.ENABLED)) > before,
        )
        yield process


async def kill(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.wait()
    assert process.returncode == -signal.SIGKILL


async def resume(site: Site, run: SiteRun, reason: str = "after kill -9") -> str:
    """Resume an interrupted run, which must be in progress soon; return what it says that it will do."""
    state = await run.hear("runState", state=RunState.INTERRUPTED)
    assert "Go on with resumeCalibrationRun, or end the run with abort" in state.reason
    await site.operator.hear("alarms", runId=run.run_id, operatorDecisionNeeded=True)
    before = len(run.samples("runState", state=RunState.RUNNING))
    began = time.monotonic()
    ack = await site.operator.command("resumeCalibrationRun", reason=reason)
    await site.operator.wait_for("resumed run", lambda: len(run.samples("runState", state=RunState.RUNNING)) > before)
    assert time.monotonic() - began < RESUME_LIMIT_S
    assert run.samples("runState")[-1].reason.endswith(f": {reason}")
    result: dict[str, Any] = json.loads(ack.result)
    assert result["runId"] == run.run_id
    return str(result["plan"])


# Killed


async def test_killed_in_mid_exposure_the_camera_takes_no_frame_twice(
    site: Site, undisturbed: Outcome, tmp_path: Path
) -> None:
    log = tmp_path / "csc.log"
    async with enabled_process(site, log) as process:
        run = await site.start(**OPTIONS)
        await run.doing("DARK frame 2 of 3")
        await kill(process)
    # The camera knows nothing of it, and completes the exposure.
    await asyncio.wait_for(site.observatory.camera.idle.wait(), 30.0)
    async with enabled_process(site, log):
        plan = await resume(site, run)
        assert plan.startswith("2 frames are still to be taken; stages to be done: ")
        await run.ended(RunState.COMPLETED)
        assert await outcome(run, site.observatory) == undisturbed
        reason = run.samples("stageState", stageName="DARK.ACQUIRE")[-1].reason
        assert reason == "3 frames were taken, 1 of them before the run was interrupted"


async def test_killed_between_two_exposures_it_goes_on_with_the_next(
    site: Site, undisturbed: Outcome, tmp_path: Path
) -> None:
    log = tmp_path / "csc.log"
    options = {**OPTIONS, "wait_between_exposures": 4, "oods_timeout": 2, "max_counter_archiver_check": 3}
    async with enabled_process(site, log) as process:
        run = await site.start(**options)
        await run.doing("the pause between exposures")
        await kill(process)
    async with enabled_process(site, log):
        await resume(site, run)
        await run.ended(RunState.COMPLETED)
        assert await outcome(run, site.observatory) == undisturbed


async def test_killed_in_mid_job_that_job_is_followed_on(site: Site, undisturbed: Outcome, tmp_path: Path) -> None:
    log = tmp_path / "csc.log"
    site.observatory.world.faults.set([Fault("worker", "slow", match={"pipeline": "cpDark"}, value=600.0)])
    async with enabled_process(site, log) as process:
        run = await site.start(**OPTIONS)
        job_id = (await run.hear("jobState", stageName="DARK.GENERATE", phase="executing")).jobId
        await run.hear("certification")
        await kill(process)
    async with enabled_process(site, log):
        plan = await resume(site, run)
        assert (
            plan == "No frame of the plan is taken again; stages to be done: DARK.GENERATE, DARK.VERIFY, DARK.CERTIFY"
        )
        finish_job(site.observatory, job_id)
        await run.ended(RunState.COMPLETED)
        assert await outcome(run, site.observatory) == undisturbed
        assert {one.jobId for one in run.samples("jobState", stageName="DARK.GENERATE")} == {job_id}


async def test_job_that_was_being_submitted_when_the_process_was_killed_is_found_by_its_mark(
    site: Site, undisturbed: Outcome, tmp_path: Path
) -> None:
    log = tmp_path / "csc.log"
    site.observatory.world.faults.set([Fault("http", "delay", match={"resource": "submit"}, value=3.0)])
    async with enabled_process(site, log) as process:
        run = await site.start(**OPTIONS)
        await run.doing("the OCPS to accept cpBias")
        await kill(process)
    async with enabled_process(site, log):
        await resume(site, run)
        await run.ended(RunState.COMPLETED)
        assert await outcome(run, site.observatory) == undisturbed
    words = "the job cpBias was submitted before the run was interrupted: it is"
    assert any(words in one.message for one in site.operator.samples("logMessage"))


# Kills itself as soon as Butler has certified something, before that is recorded.
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


async def test_killed_between_certifying_and_its_record_nothing_is_certified_twice(
    site: Site, undisturbed: Outcome, tmp_path: Path
) -> None:
    log = tmp_path / "csc.log"
    async with enabled_process(site, log, CSC_THAT_DIES_AFTER_BUTLERS_COMMIT) as process:
        run = await site.start(**OPTIONS)
        await asyncio.wait_for(process.wait(), 60.0)
    there = {one.dataset_id for one in await run.certified()}
    assert there and not run.samples("certification")
    async with enabled_process(site, log):
        await resume(site, run)
        await run.ended(RunState.COMPLETED)
        assert await outcome(run, site.observatory) == undisturbed
    found = [one for one in run.samples("certification") if "found in the collection afterwards" in one.reason]
    assert [one.datasetCount for one in found] == [9]
    assert {one.datasetType for one in run.samples("certification")} == {"bias", "dark"}
    assert there <= {one.dataset_id for one in await run.certified()}


async def test_killed_twice_the_run_is_resumed_twice(site: Site, undisturbed: Outcome, tmp_path: Path) -> None:
    log = tmp_path / "csc.log"
    async with enabled_process(site, log) as process:
        run = await site.start(**OPTIONS)
        await run.doing("DARK frame 2 of 3")
        await kill(process)
    site.observatory.world.faults.set([Fault("worker", "slow", match={"pipeline": "cpDark"}, value=600.0)])
    async with enabled_process(site, log) as process:
        await resume(site, run, "first")
        job_id = (await run.hear("jobState", stageName="DARK.GENERATE", phase="executing")).jobId
        await run.hear("certification")
        await kill(process)
    site.operator.heard = [one for one in site.operator.heard if one[0] not in ("runState", "alarms")]
    async with enabled_process(site, log):
        await resume(site, run, "second")
        finish_job(site.observatory, job_id)
        await run.ended(RunState.COMPLETED)
        assert await outcome(run, site.observatory) == undisturbed
    assert not [one for one in site.operator.samples("logMessage") if one.traceback or one.level >= 40]
    assert "Traceback" not in log.read_text()


# Terminated


@pytest.mark.parametrize("moment", ["exposure", "job"])
async def test_terminated_in_mid_run_it_ends_in_time_and_is_resumed(
    site: Site, undisturbed: Outcome, tmp_path: Path, moment: str
) -> None:
    log = tmp_path / "csc.log"
    async with enabled_process(site, log) as process:
        run = await site.start(**OPTIONS)
        if moment == "exposure":
            await run.doing("DARK frame 2 of 3")
        else:
            await run.hear("jobState", stageName="BIAS.GENERATE")
        began = time.monotonic()
        process.terminate()
        await asyncio.wait_for(process.wait(), 20.0)
        assert time.monotonic() - began < 10.0
    state = await run.hear("runState", state=RunState.INTERRUPTED)
    assert state.reason.startswith("The CSC was closed. Go on with resumeCalibrationRun")
    assert not run.in_state(StageState.RUNNING)
    async with enabled_process(site, log):
        await resume(site, run, "the new pod")
        await run.ended(RunState.COMPLETED)
        assert await outcome(run, site.observatory) == undisturbed
    assert not [one for one in site.operator.samples("logMessage") if one.traceback or one.level >= 40]
    assert "Traceback" not in log.read_text()


# By itself


async def test_with_auto_resume_an_interrupted_run_goes_on_by_itself(
    site: Site, undisturbed: Outcome, tmp_path: Path
) -> None:
    folder = Path(site.observatory.environment["TS_CONFIG_OCS_DIR"]) / "ComCamCalib" / "v1"
    (folder / "auto.yaml").write_text(yaml.safe_dump({"auto_resume": True}))
    async with enabled_process(site, tmp_path / "csc.log") as process:
        run = await site.start(**OPTIONS)
        await run.doing("DARK frame 2 of 3")
        await kill(process)
    async with running_csc(initial_state=salobj.State.ENABLED, override="auto.yaml") as csc:
        site.csc = csc
        running = await run.hear("runState", state=RunState.RUNNING)
        await site.operator.wait_for(
            "resumption", lambda: "auto_resume" in run.samples("runState", state=RunState.RUNNING)[-1].reason
        )
        assert running.runId == run.run_id
        await run.ended(RunState.COMPLETED)
        assert await outcome(run, site.observatory) == undisturbed
