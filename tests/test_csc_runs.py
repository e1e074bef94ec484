# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A CSC that is stopped in mid-run, and one whose journal fails or belongs to another process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lsst.ts import salobj, utils
from lsst.ts.comcamcalib.csc import ComCamCalibCsc
from lsst.ts.comcamcalib.enums import ErrorCode, RunState, StageState
from lsst.ts.comcamcalib.run.owner import EXPIRY_S
from lsst.ts.comcamcalib.simulation.faults import Fault
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from support.observatory import running_csc, running_csc_process
from support.operator import Operator
from support.run import Site, SiteRun, finish_job, uws_jobs

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

STATES = salobj.State
BIAS = {"script_mode": "BIAS", "n_bias": 2}


@pytest.fixture
def site(observatory: Observatory, operator: Operator) -> Site:
    return Site(observatory, operator)


def hold_job(site: Site) -> None:
    """Make the next job take ten minutes."""
    site.observatory.world.faults.set([Fault("worker", "slow", value=600.0)])


async def start_and_hold(site: Site) -> tuple[SiteRun, str]:
    """Start a run; return it and its job, which is executing and takes ten minutes."""
    hold_job(site)
    run = await site.start(**BIAS)
    job_id = (await run.hear("jobState", phase="executing")).jobId
    return run, job_id


@contextlib.contextmanager
def opened(journal_path: Path) -> Iterator[sqlite3.Connection]:
    """Open the journal as another process would."""
    connection = sqlite3.connect(journal_path, isolation_level=None, timeout=5.0)
    try:
        yield connection
    finally:
        connection.close()


def own(journal_path: Path, seconds: float) -> None:
    """Make the journal belong to a process of another machine, until then."""
    row = ("another", "comcamcalib-7f9c", "elsewhere", 17, utils.current_tai() + seconds)
    with opened(journal_path) as connection:
        connection.execute("INSERT OR REPLACE INTO owner VALUES (1, ?, ?, ?, ?, ?)", row)


def in_journal(journal_path: Path, run_id: str) -> RunState:
    """Return the state of a run, as the journal has it."""
    with opened(journal_path) as connection:
        return RunState(connection.execute("SELECT state FROM runs WHERE run_id = ?", (run_id,)).fetchone()[0])


async def resume(site: Site, run: SiteRun, **fields: Any) -> dict[str, Any]:
    ack = await site.operator.command("resumeCalibrationRun", **fields)
    result: dict[str, Any] = json.loads(ack.result)
    assert result["runId"] == run.run_id
    return result


# Stopped and resumed


async def test_disabled_in_mid_run_it_is_interrupted_and_resumed_with_the_same_job(
    site: Site, enabled_csc: ComCamCalibCsc
) -> None:
    run, job_id = await start_and_hold(site)
    await site.operator.bring(disable=STATES.DISABLED)
    state = await run.hear("runState", state=RunState.INTERRUPTED)
    assert "DISABLED" in state.reason and "resumeCalibrationRun" in state.reason
    assert run.stages["BIAS.GENERATE"] is StageState.PENDING
    alarms = await site.operator.hear("alarms", runId=run.run_id, operatorDecisionNeeded=True)
    assert "resumeCalibrationRun" in alarms.reason and not alarms.runFailed
    (sentence,) = await site.operator.refused("resumeCalibrationRun")
    assert "DISABLED" in sentence
    await site.operator.bring(enable=STATES.ENABLED)
    (sentence,) = await site.operator.refused("startCalibrationRun", config="script_mode: BIAS")
    assert f"Run {run.run_id} is open (INTERRUPTED)" in sentence and "resumeCalibrationRun" in sentence
    result = await resume(site, run, reason="the job is still good")
    assert result["plan"] == (
        "No frame of the plan is taken again; stages to be done: BIAS.GENERATE, BIAS.VERIFY, BIAS.CERTIFY"
    )
    running = await run.hear("runState", state=RunState.RUNNING)
    assert running.reason.startswith("Resumed by ") and running.reason.endswith(": the job is still good")
    assert not (await site.operator.hear("alarms")).operatorDecisionNeeded
    finish_job(site.observatory, job_id)
    await run.ended(RunState.COMPLETED)
    assert {one.jobId for one in run.samples("jobState", stageName="BIAS.GENERATE")} == {job_id}
    assert {one.imageIndex for one in run.samples("imageTaken")} == {1, 2}
    assert len(await run.certified()) == 9


async def test_after_standby_the_run_is_resumed_with_the_frame_that_the_camera_was_taking(
    site: Site, csc: ComCamCalibCsc, journal_path: Path
) -> None:
    await site.operator.bring(start=STATES.DISABLED, enable=STATES.ENABLED)
    run = await site.start(script_mode="DARK", n_dark=3, exp_times_dark=100, do_verify=False)
    await run.doing("DARK frame 2 of 3")
    await site.operator.bring(disable=STATES.DISABLED, standby=STATES.STANDBY)
    assert in_journal(journal_path, run.run_id) is RunState.INTERRUPTED
    with opened(journal_path) as connection:
        assert connection.execute("SELECT * FROM owner").fetchall() == [], "another process may use it now"
    await site.operator.bring(start=STATES.DISABLED)
    snapshot = json.loads((await site.operator.command("status")).result)
    assert (snapshot["runId"], snapshot["runState"]) == (run.run_id, RunState.INTERRUPTED)
    await site.operator.bring(enable=STATES.ENABLED)
    await asyncio.wait_for(site.observatory.camera.idle.wait(), 30.0)
    result = await resume(site, run)
    assert result["plan"].startswith("2 frames are still to be taken; ")
    await run.ended(RunState.COMPLETED)
    exposures = {one.exposureId for one in run.samples("imageTaken")}
    assert len(exposures) == 3, "the frame that the camera was taking was found, and not taken twice"


async def test_sigterm_in_mid_run_ends_the_process_in_time_with_the_run_interrupted(
    site: Site, operator: Operator, journal_path: Path, tmp_path: Path
) -> None:
    log = tmp_path / "csc.log"
    async with running_csc_process(log, "--state", "enabled") as process:
        await operator.hear("summaryState", summaryState=STATES.ENABLED)
        run, job_id = await start_and_hold(site)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20.0) == 128 + signal.SIGTERM, (
            "Kubernetes must not take it for done"
        )
        assert time.monotonic() - began < 10.0
    assert in_journal(journal_path, run.run_id) is RunState.INTERRUPTED
    state = await run.hear("runState", state=RunState.INTERRUPTED)
    assert "resumeCalibrationRun" in state.reason
    assert [one["phase"] for one in await uws_jobs(site.observatory) if one["jobId"] == job_id] == ["executing"]
    assert "Traceback" not in log.read_text()


# Refusals of resumeCalibrationRun


async def test_only_a_run_that_stopped_before_its_end_is_resumed(site: Site, enabled_csc: ComCamCalibCsc) -> None:
    completed = await site.complete(**BIAS)
    (sentence,) = await site.operator.refused("resumeCalibrationRun")
    assert sentence == (
        "No run was interrupted or has failed, so there is none to resume. An aborted run must be named."
    )
    (sentence,) = await site.operator.refused("resumeCalibrationRun", runId=completed.run_id)
    assert sentence == f"Run {completed.run_id} is COMPLETED: there is nothing to resume."
    (sentence,) = await site.operator.refused("resumeCalibrationRun", runId="20010101-001")
    assert sentence == (
        f"There is no run 20010101-001; the latest is {completed.run_id}, and `comcamcalib runs` lists all."
    )
    run, _ = await start_and_hold(site)
    for run_id in ("", completed.run_id, run.run_id):
        (sentence,) = await site.operator.refused("resumeCalibrationRun", runId=run_id)
        assert f"Run {run.run_id} is open (RUNNING); there can be only one." in sentence
    await site.operator.command("abort")
    await run.ended(RunState.ABORTED)
    # An aborted run must be named.
    (sentence,) = await site.operator.refused("resumeCalibrationRun")
    assert "An aborted run must be named." in sentence
    result = await resume(site, run, runId=run.run_id)
    assert "of these done again: BIAS.GENERATE" in result["plan"]
    await run.hear("runState", state=RunState.COMPLETED)


async def test_resume_checks_what_a_start_checks_and_names_every_obstacle(
    site: Site, enabled_csc: ComCamCalibCsc
) -> None:
    fault = Fault("worker", "error", match={"pipeline": "cpBias"}, text="no usable pixels")
    site.observatory.world.faults.set([fault])
    run = await site.start(**BIAS)
    await run.ended(RunState.FAILED)
    site.observatory.world.faults.set([Fault("http", "status", times=None, value=503, text="down")])
    await site.observatory.ocps.fault(2, "Butler is gone")
    sentences = await site.operator.refused("resumeCalibrationRun")
    assert any("OCPS" in one for one in sentences) and any("UWS" in one for one in sentences)
    assert (await run.hear("runState")).state == RunState.FAILED


# A journal of another process


async def test_csc_waits_for_the_journal_of_another_process_and_says_whose_it_is(
    site: Site, csc: ComCamCalibCsc, journal_path: Path
) -> None:
    await site.operator.bring(start=STATES.DISABLED, standby=STATES.STANDBY)
    own(journal_path, 600.0)
    await site.operator.bring(start=STATES.DISABLED, enable=STATES.ENABLED)
    expected = f"The journal {journal_path} belongs to process 17 on comcamcalib-7f9c"
    for command in ("startCalibrationRun", "resumeCalibrationRun", "abort", "status"):
        (sentence,) = await site.operator.refused(command)
        assert sentence.startswith(expected) and "There can be only one ComCamCalib" in sentence
    assert not [one for one in site.operator.samples("errorCode") if one.errorCode]
    with opened(journal_path) as connection:
        connection.execute("DELETE FROM owner")
    await site.operator.wait_for("journal", lambda: warned(site, "was taken over from a process that is gone"))
    await site.complete(**BIAS)


async def test_run_of_a_dead_pod_is_taken_over_when_its_row_has_expired(
    site: Site, operator: Operator, journal_path: Path, tmp_path: Path
) -> None:
    async with running_csc_process(tmp_path / "csc.log", "--state", "enabled") as process:
        await operator.hear("summaryState", summaryState=STATES.ENABLED)
        run, job_id = await start_and_hold(site)
        process.kill()
        await process.wait()
    # As of a pod on another machine, of which nobody here can know that it has ended.
    with opened(journal_path) as connection:
        row = ("comcamcalib-7f9c", "elsewhere", utils.current_tai() + 3.0)
        connection.execute("UPDATE owner SET host = ?, place = ?, until = ?", row)
    operator.forget()
    async with running_csc(initial_state=STATES.ENABLED):
        (sentence,) = await operator.refused("resumeCalibrationRun")
        assert f"belongs to process {process.pid} on comcamcalib-7f9c" in sentence
        await operator.wait_for("journal", lambda: warned(site, "was taken over from a process that is gone"), EXPIRY_S)
        state = await run.hear("runState", state=RunState.INTERRUPTED)
        assert state.reason.startswith("The service ended while the run was open. Go on with resumeCalibrationRun")
        assert in_journal(journal_path, run.run_id) is RunState.INTERRUPTED
        await resume(site, run)
        finish_job(site.observatory, job_id)
        await run.ended(RunState.COMPLETED)


async def test_journal_that_turns_out_to_be_damaged_when_it_is_taken_over_is_a_fault(
    site: Site, csc: ComCamCalibCsc, journal_path: Path
) -> None:
    await site.operator.bring(start=STATES.DISABLED, standby=STATES.STANDBY)
    own(journal_path, 600.0)
    await site.operator.bring(start=STATES.DISABLED)
    with opened(journal_path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO runs (run_id, state) VALUES ('20261122-001', 99)")
        connection.execute("DELETE FROM owner")
        connection.execute("COMMIT")
    await site.operator.hear("summaryState", summaryState=STATES.FAULT)
    error_code = await site.operator.hear("errorCode", errorCode=ErrorCode.JOURNAL_UNUSABLE)
    assert "run 20261122-001 in a state that does not exist (99)" in error_code.errorReport
    assert not warned(site, "was taken over")
    await site.operator.bring(standby=STATES.STANDBY)


async def test_process_that_lost_its_journal_in_mid_run_does_nothing_more(
    site: Site, csc: ComCamCalibCsc, journal_path: Path
) -> None:
    await site.operator.bring(start=STATES.DISABLED, enable=STATES.ENABLED)
    run, job_id = await start_and_hold(site)
    own(journal_path, 600.0)
    error_code = await site.operator.hear("errorCode", errorCode=ErrorCode.JOURNAL_LOST)
    assert "process 17 on comcamcalib-7f9c has taken it over" in error_code.errorReport
    assert "This process does nothing more" in error_code.errorReport
    await site.operator.hear("summaryState", summaryState=STATES.FAULT)
    last = {topic: len(run.samples(topic)) for topic in ("runState", "stageState", "jobState", "verificationResult")}
    # The job belongs to the process that has the journal now.
    finish_job(site.observatory, job_id)
    for command in ("startCalibrationRun", "resumeCalibrationRun", "abort"):
        (sentence,) = await site.operator.refused(command)
        assert "FAULT" in sentence.upper()
    await site.operator.bring(standby=STATES.STANDBY, start=STATES.DISABLED)
    (sentence,) = await site.operator.refused("status")
    assert "belongs to process 17 on comcamcalib-7f9c" in sentence
    await site.operator.hear_all(csc)
    assert {topic: len(run.samples(topic)) for topic in last} == last
    assert in_journal(journal_path, run.run_id) is RunState.RUNNING
    assert len(await uws_jobs(site.observatory)) == 1
    assert await run.certified() == []


async def test_idle_process_that_lost_its_journal_says_so_and_nothing_else(
    site: Site, enabled_csc: ComCamCalibCsc, journal_path: Path
) -> None:
    own(journal_path, 600.0)
    sentences = await site.operator.refused("startCalibrationRun", config="script_mode: BIAS")
    assert any("has taken it over" in one for one in sentences)
    await site.operator.hear("summaryState", summaryState=STATES.FAULT)
    codes = {one.errorCode for one in site.operator.samples("errorCode")} - {0}
    assert codes == {ErrorCode.JOURNAL_LOST}
    assert not site.operator.samples("runState")


def warned(site: Site, words: str) -> bool:
    """Whether the CSC has logged a warning with these words."""
    return any(one.level >= 30 and words in one.message for one in site.operator.samples("logMessage"))


# A journal that fails in the middle of a run


async def test_run_goes_on_without_a_journal_and_an_alarm_says_so(
    observatory: Observatory, operator: Operator, journal_path: Path
) -> None:
    async with running_csc(initial_state=STATES.ENABLED):
        run_id = await operator.start_run(script_mode="BIAS", n_bias=2, n_processes=1)
        await operator.hear("imageTaken", runId=run_id)
        blocker = sqlite3.connect(journal_path, isolation_level=None)
        try:
            blocker.execute("BEGIN EXCLUSIVE")
            alarms = await operator.hear("alarms", runId=run_id, journalDegraded=True)
            assert str(journal_path) in alarms.reason
        finally:
            blocker.close()
        state = await operator.until_ended(run_id)
        assert state.state == RunState.COMPLETED, state.reason
        alarms = (await operator.wait_for("end of the alarm", lambda: _quiet(operator)))[-1]
        assert alarms.reason == ""
        snapshot = json.loads((await operator.command("status")).result)
        assert snapshot["runState"] == RunState.COMPLETED


def _quiet(operator: Operator) -> list[Any]:
    alarms = operator.samples("alarms")
    return alarms if alarms and not alarms[-1].journalDegraded else []
