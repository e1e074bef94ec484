# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client for notebooks and programs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from lsst.ts import salobj
from lsst.ts.comcamcalib import csc_remote
from lsst.ts.comcamcalib.client import CalibrationClient, RefusedError, clock
from lsst.ts.comcamcalib.csc import ComCamCalibCsc
from lsst.ts.comcamcalib.enums import CalibType, RunState
from lsst.ts.comcamcalib.publisher import EVENTS
from lsst.ts.comcamcalib.simulation.faults import Fault
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from support.observatory import running_csc
from support.run import finish_job

on_the_bus = pytest.mark.observatory

BIAS = "{script_mode: BIAS, n_bias: 1, n_processes: 1}"


def test_time_of_day_is_utc_and_empty_for_not_yet() -> None:
    # TAI is 37 s ahead of UTC.
    assert clock(1_795_336_757.0) == "08:38:40"
    assert clock(0.0) == ""


def test_listeners_hear_every_event_that_is_published_of_a_run() -> None:
    assert set(EVENTS.values()) - {"runConfiguration"} <= set(csc_remote.EVENTS)


@on_the_bus
@pytest.mark.asyncio(loop_scope="session")
async def test_program_of_the_docstring_does_what_it_says(csc: ComCamCalibCsc) -> None:
    heard: list[tuple[str, Any]] = []
    async with CalibrationClient() as client:
        client.listen(lambda name, message: heard.append((name, message)))
        await client.enable()
        assert csc.summary_state is salobj.State.ENABLED
        run_id = await client.start(BIAS, reason="tests", program="BLOCK-1", note="n")
        states = [RunState(state.state) async for state in client.follow(run_id)]
        assert states == [RunState.ACCEPTED, RunState.RUNNING, RunState.COMPLETED]
        summary = await client.status()
        assert (summary["runId"], summary["runState"]) == (run_id, RunState.COMPLETED)
    published = {name for name, message in heard if getattr(message, "runId", run_id) == run_id}
    assert published >= {"runState", "stageState", "imageTaken", "imageIngested", "jobState", "verificationResult"}


@on_the_bus
@pytest.mark.asyncio(loop_scope="session")
async def test_refusals_have_a_line_for_each_reason(enabled_csc: ComCamCalibCsc) -> None:
    async with CalibrationClient() as client:
        with pytest.raises(RefusedError) as caught:
            await client.start("{n_bais: 1, script_mode: FLAT}")
        lines = str(caught.value).splitlines()
        assert len(lines) == 2
        assert lines[0] == "n_bais: no such option; did you mean n_bias?"
        with pytest.raises(RefusedError, match=r"^There is no open run that could be aborted\.$"):
            await client.abort()
        with pytest.raises(RefusedError, match=r"^There has been no run yet\.$"):
            await client.status()
        with pytest.raises(RefusedError, match=r"^No run was interrupted or has failed, so there is none to resume\."):
            await client.resume()
        with pytest.raises(RefusedError, match=r"^There is no run 20261122-001; there has been no run yet\.$"):
            await client.accept("20261122-001", "bias", "it is good enough")
        with pytest.raises(RefusedError, match=r"^reason: decertify needs a reason"):
            await client.decertify("20261122-001", None, "")
        with pytest.raises(RefusedError, match=r"^There is no run 20261122-001; there has been no run yet\.$"):
            await client.decertify("20261122-001", CalibType.FLAT, "it is bad")
        with pytest.raises(RefusedError, match="sky: no such product; there are BIAS, DARK, FLAT"):
            await client.accept("20261122-001", "sky", "it is good enough")


@on_the_bus
@pytest.mark.asyncio(loop_scope="session")
async def test_silence_of_a_csc_that_is_not_there_has_an_end(
    observatory: Observatory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csc_remote, "COMMAND_LIMIT_S", 0.5)
    async with CalibrationClient() as client:
        with pytest.raises(RefusedError, match=r"did not answer abort within 0\.5 s; is it running\?"):
            await client.abort()


@on_the_bus
@pytest.mark.asyncio(loop_scope="session")
async def test_following_a_run_ends_when_it_is_interrupted(observatory: Observatory) -> None:
    observatory.world.faults.set([Fault("worker", "slow", value=600.0)])
    async with CalibrationClient() as client:
        async with running_csc(initial_state=salobj.State.ENABLED):
            run_id = await client.start(BIAS)
        states = [state.state async for state in client.follow(run_id)]
        assert states[-1] == RunState.INTERRUPTED


@on_the_bus
@pytest.mark.asyncio(loop_scope="session")
async def test_failed_run_is_resumed_and_followed_to_its_end(
    enabled_csc: ComCamCalibCsc, observatory: Observatory
) -> None:
    observatory.world.faults.set([Fault("worker", "error", match={"pipeline": "cpBias"}, text="no usable pixels")])
    async with CalibrationClient() as client:
        images: list[Any] = []
        client.listen(lambda name, message: images.append(message) if name == "imageTaken" else None)
        run_id = await client.start(BIAS)
        reasons = [state.reason async for state in client.follow(run_id)]
        assert "no usable pixels" in reasons[-1]
        resumed, plan = await client.resume(reason="the disk was full")
        assert resumed == run_id
        assert plan == (
            "No frame of the plan is taken again; stages to be done: BIAS.GENERATE, BIAS.VERIFY, BIAS.CERTIFY; "
            "of these done again: BIAS.GENERATE"
        )
        states = [(state.state, state.reason) async for state in client.follow(run_id)]
        assert states[0][0] == RunState.RUNNING and states[0][1].endswith(": the disk was full")
        assert states[-1][0] == RunState.COMPLETED
        assert len(images) == 1, "the frame was good"
        with pytest.raises(RefusedError, match=f"^Run {run_id} is COMPLETED: there is nothing to resume"):
            await client.resume(run_id)


@on_the_bus
@pytest.mark.asyncio(loop_scope="session")
async def test_interrupted_run_is_resumed_by_another_client_with_the_job_that_runs_on(observatory: Observatory) -> None:
    observatory.world.faults.set([Fault("worker", "slow", value=600.0)])
    jobs: list[str] = []

    def note_job(name: str, message: Any) -> None:
        if name == "jobState" and message.phase == "executing" and message.jobId not in jobs:
            jobs.append(message.jobId)

    async with CalibrationClient() as client:
        client.listen(note_job)
        async with running_csc(initial_state=salobj.State.ENABLED):
            run_id = await client.start(BIAS)
            async with asyncio.timeout(30.0):
                while not jobs:  # noqa: ASYNC110  nothing wakes whoever waits for a job
                    await asyncio.sleep(0.01)
    async with running_csc(initial_state=salobj.State.ENABLED), CalibrationClient() as client:
        client.listen(note_job)
        with pytest.raises(RefusedError, match=f"Run {run_id} is open .INTERRUPTED.; .* resumeCalibrationRun"):
            await client.start(BIAS)
        assert (await client.resume())[0] == run_id
        finish_job(observatory, jobs[0])
        states = [state.state async for state in client.follow(run_id)]
        assert states[-1] == RunState.COMPLETED
    assert len(jobs) == 2, "one was resumed, and one verified its product"


@on_the_bus
@pytest.mark.asyncio(loop_scope="session")
async def test_following_a_run_ends_when_the_csc_dies(
    observatory: Observatory, csc_process: asyncio.subprocess.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csc_remote, "SILENCE_LIMIT_S", 3.0)
    observatory.world.faults.set([Fault("worker", "slow", value=600.0)])
    async with CalibrationClient() as client:
        run_id = await client.start(BIAS)
        following = client.follow(run_id)
        assert (await anext(following)).state == RunState.ACCEPTED
        csc_process.kill()

        async def follow_on() -> None:
            async for _ in following:
                pass

        with pytest.raises(RuntimeError, match=f"no heartbeat for 3 s; the state of run {run_id}"):
            await follow_on()
