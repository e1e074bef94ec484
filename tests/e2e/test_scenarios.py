# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run makes of what goes wrong around it. (Noisy detectors are in test_noise.py, with real pipelines.)"""

from __future__ import annotations

import pytest
from lsst.ts import salobj
from lsst.ts.comcamcalib.csc import ComCamCalibCsc
from lsst.ts.comcamcalib.enums import CalibType, RunState, StageState, Verdict
from lsst.ts.comcamcalib.simulation.faults import Fault
from lsst.ts.comcamcalib.simulation.states import bring_from_standby, bring_to_standby
from lsst.ts.comcamcalib.simulation.worker_faults import DEFAULT_ERROR
from support.run import Site

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

# Long enough for a file that does come, on a busy machine too.
PATIENCE = {"oods_timeout": 2, "max_counter_archiver_check": 3}


# image-lost


async def test_lost_image_is_published_and_taken_again(site: Site) -> None:
    site.observatory.set_scenarios(["image-lost"])
    run = await site.complete(script_mode="BIAS", n_bias=4, **PATIENCE)
    images = run.samples("imageTaken")
    assert [one.imageIndex for one in images] == [1, 2, 3, 4, 5]
    lost = images[2]
    published = run.samples("imageIngested", exposureId=lost.exposureId)[-1]
    assert (published.detectorsExpected, published.detectorsIngested, published.detectorsFailed) == (9, 8, 0)
    assert (published.missing, published.obsId) == ("R22_S11", lost.obsId)
    assert "no event" in published.reason and "Butler does not have" in published.reason
    used = [str(one.exposureId) for one in images if one is not lost]
    assert f"exposure IN ({', '.join(used)})" in (await run.job("BIAS.GENERATE"))["DATA_QUERY"]
    assert "1 of them taken again" in run.samples("stageState", stageName="BIAS.INGEST")[-1].reason
    progress = await run.hear("progress", state=RunState.COMPLETED)
    assert (progress.imagesTaken, progress.imagesIngested) == (5, 4)


async def test_lost_image_that_may_not_be_taken_again_fails_the_run(site: Site) -> None:
    site.observatory.set_scenarios(["image-lost"])
    run = await site.start(script_mode="BIAS", n_bias=3, max_retakes=0, **PATIENCE)
    state = await run.ended(RunState.FAILED)
    assert "R22_S11" in state.reason and "max_retakes 0" in state.reason
    assert run.in_state(StageState.FAILED) == {"BIAS.INGEST"}
    assert run.in_state(StageState.SKIPPED) == {"BIAS.GENERATE", "BIAS.VERIFY", "BIAS.CERTIFY"}
    assert await run.certified() == []


async def test_detector_that_never_delivers_is_recognised_and_costs_no_retakes(site: Site) -> None:
    site.observatory.world.faults.set([Fault("oods", "lose", match={"detector": 4}, times=None)])
    run = await site.start(script_mode="BIAS", n_bias=3, **PATIENCE)
    state = await run.ended(RunState.FAILED)
    assert "no file of R22_S11 has arrived for the last" in state.reason
    assert "detectors: [0, 1, 2, 3, 5, 6, 7, 8]" in state.reason
    assert len(run.samples("imageTaken")) <= 4
    # What is proposed is a run that works.
    await site.complete(script_mode="BIAS", n_bias=3, detectors=[0, 1, 2, 3, 5, 6, 7, 8], **PATIENCE)


async def test_image_that_no_event_announced_is_found_in_butler(site: Site) -> None:
    site.observatory.world.faults.set([Fault("oods", "silent", match={"detector": 2}, times=None)])
    run = await site.complete(script_mode="BIAS", n_bias=2, **PATIENCE)
    assert len(run.samples("imageTaken")) == 2
    assert [one.detectorsIngested for one in run.samples("imageIngested")] == [9, 9]


async def test_failed_ingest_is_published_with_what_the_oods_said_and_taken_again(site: Site) -> None:
    fault = Fault("oods", "fail", match={"detector": 7}, text="the disk is full")
    site.observatory.world.faults.set([fault])
    run = await site.complete(script_mode="BIAS", n_bias=2, **PATIENCE)
    assert len(run.samples("imageTaken")) == 3
    (published,) = [one for one in run.samples("imageIngested") if one.missing]
    assert (published.missing, published.detectorsFailed) == ("R22_S21", 1)
    assert "the disk is full" in published.reason


# job-errors


async def test_failed_job_is_explained_and_the_rest_goes_on(site: Site, enabled_csc: ComCamCalibCsc) -> None:
    site.observatory.set_scenarios(["job-errors"])
    options = {"n_bias": 2, "n_dark": 2, "exp_times_dark": 3, "n_flat": 4, "exp_times_flat": [1, 1, 2, 2]}
    run = await site.start(script_mode="BIAS_DARK_FLAT", do_defects=True, do_ptc=True, **options)
    state = await run.ended(RunState.FAILED)
    (job,) = run.samples("jobState", phase="error")
    assert (job.stageName, job.exitCode) == ("DARK.GENERATE", 1)
    assert DEFAULT_ERROR in job.message
    assert job.timestampEnded >= job.timestampSubmitted > 0
    assert run.in_state(StageState.FAILED) == {"DARK.GENERATE", "DEFECTS.VERIFY"}
    assert run.in_state(StageState.SKIPPED) == {
        *("DARK.VERIFY", "DARK.CERTIFY", "FLAT.GENERATE", "FLAT.VERIFY", "FLAT.CERTIFY", "DEFECTS.CERTIFY"),
        *("PTC.GENERATE", "PTC.VERIFY", "PTC.CERTIFY"),
    }
    for name in run.in_state(StageState.SKIPPED):
        assert "which it needs" in run.samples("stageState", stageName=name)[-1].reason
    # What does not build on the dark went on; but nobody has verified the darks and flats that the defects are made of.
    assert {one.dataset_type for one in await run.certified()} == {"bias"}
    (defects,) = run.samples("verificationResult", calibType=CalibType.DEFECTS)
    assert defects.verdict == Verdict.UNKNOWN and "Nobody knows whether the DARK frames" in defects.reason
    assert len(run.samples("imageTaken", imageType=CalibType.FLAT)) == 4
    assert "DARK.GENERATE" in state.reason and DEFAULT_ERROR in state.reason
    alarms = await run.hear("alarms", runFailed=True)
    assert alarms.verificationFailed and not (alarms.certificationFailed or alarms.backendUnreachable)
    assert DEFAULT_ERROR in alarms.reason
    # A failed run is not a fault of the CSC, and its alarms end with the next run.
    assert enabled_csc.summary_state is salobj.State.ENABLED
    following = await site.complete(script_mode="BIAS", n_bias=1)
    alarms = await following.hear("alarms")
    assert not alarms.runFailed and alarms.reason == ""


async def test_no_further_exposure_when_a_failure_is_to_stop_the_run(site: Site) -> None:
    site.observatory.world.faults.set([Fault("worker", "error", match={"pipeline": "cpBias"})])
    options = {"n_bias": 1, "n_dark": 8, "exp_times_dark": 100, "n_flat": 2, "exp_times_flat": 1}
    run = await site.start(script_mode="BIAS_DARK_FLAT", on_failure="stop", **options)
    state = await run.ended(RunState.FAILED)
    assert "BIAS.GENERATE" in state.reason
    assert 0 < len(run.samples("imageTaken")) < 9
    assert not run.samples("imageTaken", imageType=CalibType.FLAT)
    dark = run.samples("stageState", stageName="DARK.ACQUIRE")[-1]
    assert dark.state == StageState.FAILED and "on_failure is stop" in dark.reason
    assert run.stages["FLAT.ACQUIRE"] is StageState.SKIPPED


async def test_job_that_does_not_make_all_of_its_datasets_is_not_believed(site: Site) -> None:
    """One quantum fails: the job of the real pipetask is in error then, and so is this one."""
    site.observatory.world.faults.set([Fault("worker", "fail_quantum", match={"pipeline": "cpBias"}, value=3)])
    run = await site.start(script_mode="BIAS", n_bias=1)
    state = await run.ended(RunState.FAILED)
    assert "cpBias" in state.reason
    assert await run.certified() == []


async def test_verification_that_fails_to_run_is_unknown_and_unknown_never_passes(site: Site) -> None:
    site.observatory.world.faults.set([Fault("worker", "error", match={"pipeline": "verifyBias"})])
    run = await site.start(script_mode="BIAS", n_bias=1)
    await run.ended(RunState.FAILED)
    result = run.samples("verificationResult")[-1]
    assert result.verdict == Verdict.UNKNOWN
    assert DEFAULT_ERROR in result.reason
    assert run.in_state(StageState.SKIPPED) == {"BIAS.CERTIFY"}
    assert await run.certified() == []
    alarms = await run.hear("alarms", runFailed=True)
    assert alarms.verificationFailed and alarms.operatorDecisionNeeded


# What is around


async def test_camera_that_breaks_down_in_mid_exposure_fails_what_needs_it(
    site: Site, enabled_csc: ComCamCalibCsc
) -> None:
    site.observatory.world.faults.set([Fault("camera", "fault", match={"image_type": "DARK"}, text="REB lost power")])
    run = await site.start(script_mode="BIAS_DARK", n_bias=1, n_dark=2, exp_times_dark=10)
    try:
        state = await run.ended(RunState.FAILED)
        assert "DARK frame 1 of 2 was not taken" in state.reason
        # Which of the two the CSC hears first is chance.
        assert "CCCamera went to FAULT" in state.reason or "REB lost power" in state.reason
        assert {one.dataset_type for one in await run.certified()} == {"bias"}
        assert enabled_csc.summary_state is salobj.State.ENABLED
        sentences = await site.operator.refused("startCalibrationRun", config="script_mode: BIAS")
        assert sentences == ["CCCamera is in FAULT: look at its errorCode, send it to STANDBY, enable it."]
    finally:
        await _repair(site)
    await site.complete(script_mode="BIAS", n_bias=1)


async def test_oods_that_breaks_down_while_files_are_waited_for_is_named_until_it_is_back(site: Site) -> None:
    site.observatory.world.faults.set([Fault("oods", "lose", match={"detector": 4})])
    run = await site.start(script_mode="BIAS", n_bias=1, oods_timeout=600)
    await run.doing("files of CC_O_")
    oods = site.observatory.oods
    await oods.fault(2, "Butler is gone")
    await run.doing("CCOODS is in FAULT: look at its errorCode")
    await run.hear("alarms", reason="CCOODS is in FAULT: look at its errorCode, send it to STANDBY, enable it.")
    await bring_to_standby(oods)
    await bring_from_standby(oods, salobj.State.ENABLED)
    await run.hear("alarms", reason="")
    assert run.samples("runState")[-1].state == RunState.RUNNING
    await site.operator.command("abort")
    await run.ended(RunState.ABORTED)


async def _repair(site: Site) -> None:
    """Enable the camera again, and take an image by hand: ComCam waits without end for the one that broke off."""
    camera = site.observatory.camera
    await bring_to_standby(camera)
    await bring_from_standby(camera, salobj.State.ENABLED)
    async with salobj.Remote(site.operator.remote.salinfo.domain, "CCCamera", include=[]) as remote:
        await remote.cmd_takeImages.set_start(numImages=1, expTime=0, keyValueMap="imageType: BIAS", timeout=10)


async def test_uws_that_is_away_for_a_while_alarms_and_the_run_survives(site: Site) -> None:
    faults = [Fault("worker", "slow", match={"pipeline": "cpBias"}, value=4.0)]
    site.observatory.world.faults.set(faults)
    run = await site.start(script_mode="BIAS", n_bias=1)
    await run.hear("jobState", phase="executing")
    down = Fault("http", "status", match={"method": "GET"}, times=None, value=503, text="down")
    site.observatory.world.faults.set([*faults, down])
    alarms = await run.hear("alarms", backendUnreachable=True)
    assert "503" in alarms.reason
    site.observatory.world.faults.set([])
    await run.hear("alarms", backendUnreachable=False)
    await run.ended(RunState.COMPLETED)
