# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run makes of an OCPS and a UWS that are not what they should be."""

from __future__ import annotations

import pytest
from lsst.ts import salobj
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.simulation.faults import Fault
from support.run import Site, uws_jobs

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

BIAS = {"script_mode": "BIAS", "n_bias": 1}


async def test_job_that_was_made_behind_an_error_is_followed(site: Site) -> None:
    site.observatory.set_scenarios(["ocps-500-job-exists"])
    run = await site.complete(**BIAS)
    assert {one["jobId"] for one in await uws_jobs(site.observatory)} == {one.jobId for one in run.samples("jobState")}
    assert len(await run.certified()) == 9


async def test_404_of_an_ingress_does_not_fail_a_good_run(site: Site) -> None:
    site.observatory.set_scenarios(["ingress-404"])
    run = await site.complete(**BIAS)
    assert len(await run.certified()) == 9


async def test_ocps_that_goes_to_standby_between_two_jobs_is_waited_for(site: Site) -> None:
    site.observatory.set_scenarios(["ocps-standby"])
    run = await site.start(**BIAS)
    await run.doing("the OCPS")
    await run.doing("OCPS:2 is in STANDBY: enable it.")
    async with salobj.Remote(site.operator.remote.salinfo.domain, "OCPS", 2, include=["summaryState"]) as remote:
        await salobj.set_summary_state(remote, salobj.State.ENABLED)
    await run.ended(RunState.COMPLETED)
    assert len(await run.certified()) == 9


async def test_job_that_can_not_be_stopped_is_stopped_later_and_that_is_published(site: Site) -> None:
    """The run has ended ABORTED by then."""
    site.observatory.world.faults.set([Fault("worker", "slow", match={"pipeline": "cpBias"}, value=600.0)])
    run = await site.start(**BIAS)
    job_id = (await run.hear("jobState", phase="executing")).jobId
    async with salobj.Remote(site.operator.remote.salinfo.domain, "OCPS", 2, include=["summaryState"]) as remote:
        await salobj.set_summary_state(remote, salobj.State.DISABLED)
        await site.operator.command("abort")
        state = await run.ended(RunState.ABORTED)
        assert f"Job {job_id} was not stopped: OCPS:2 refused to abort job {job_id}" in state.reason
        assert "It is not ENABLED: enable it." in state.reason
        assert run.samples("jobState")[-1].timestampEnded == 0
        await salobj.set_summary_state(remote, salobj.State.ENABLED)
    published = await run.hear("jobState", phase="aborted")
    assert (published.jobId, published.exitCode) == (job_id, 255)
    assert await uws_jobs(site.observatory) == []


async def test_job_that_the_ocps_makes_when_its_run_is_aborted_already_is_stopped(site: Site) -> None:
    """The UWS let the OCPS wait; meanwhile the CSC was disabled, enabled, and sent an abort."""
    late = Fault("http", "delay", match={"resource": "submit"}, value=9.0)
    site.observatory.world.faults.set([late, Fault("worker", "slow", value=600.0)])
    run = await site.start(**BIAS)
    await run.doing("the OCPS to accept cpBias")
    await site.operator.bring(disable=salobj.State.DISABLED, enable=salobj.State.ENABLED)
    await site.operator.command("abort")
    state = await run.ended(RunState.ABORTED)
    assert "whether the OCPS still makes a job cpBias for BIAS.GENERATE" in state.reason
    published = await run.hear("jobState", phase="aborted")
    assert published.exitCode == 255 and "appeared after its run was closed" in published.message
    assert await uws_jobs(site.observatory) == []


async def test_ocps_that_works_with_another_repository_is_found_out_at_the_first_job(site: Site) -> None:
    ocps = site.observatory.ocps
    assert ocps is not None
    right = ocps._config.butler
    ocps._config.butler = "/repo/LATISS"
    try:
        run = await site.start(**BIAS)
        state = await run.ended(RunState.FAILED)
    finally:
        ocps._config.butler = right
    assert f"works on the repository /repo/LATISS, but this CSC is configured for {right}" in state.reason


async def test_uws_url_without_its_base_path_is_found_out_before_the_run(site: Site) -> None:
    connection = site.csc._connection  # type: ignore[union-attr]
    assert connection is not None
    connection._uws.url = connection._uws.url.removesuffix("/api/v1")
    (sentence,) = await site.operator.refused("startCalibrationRun", config="script_mode: BIAS")
    assert "status 404" in sentence and "Check uws_url, its path included (such as /api/v1)" in sentence
