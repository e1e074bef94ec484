# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers that are lost or wrong on the way, an OCPS that leaves ENABLED, a detector that never delivers."""

from __future__ import annotations

import pytest
from lsst.ts import salobj
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.simulation.states import bring_from_standby
from support.run import Site, uws_jobs

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]


async def test_job_behind_an_error_of_the_uws_is_followed_to_its_end(site: Site) -> None:
    site.observatory.set_scenarios(["ocps-500-job-exists"])
    run = await site.complete(script_mode="BIAS", n_bias=2)
    followed = {one.jobId for one in run.samples("jobState") if one.jobId}
    assert followed == {job["jobId"] for job in await uws_jobs(site.observatory)}, "no job without an owner"
    assert {one.dataset_type for one in await run.certified()} == {"bias"}


async def test_ingress_that_answers_for_the_uws_does_not_fail_a_good_run(site: Site) -> None:
    site.observatory.set_scenarios(["ingress-404"])
    run = await site.complete(script_mode="BIAS", n_bias=2)
    assert {one.dataset_type for one in await run.certified()} == {"bias"}


async def test_run_goes_on_when_the_ocps_is_enabled_again(site: Site) -> None:
    site.observatory.set_scenarios(["ocps-standby"])
    run = await site.start(script_mode="BIAS", n_bias=2)
    await run.doing("STANDBY")
    ocps = site.observatory.ocps
    await bring_from_standby(ocps, salobj.State.ENABLED)
    await run.ended(RunState.COMPLETED)
    assert {one.dataset_type for one in await run.certified()} == {"bias"}


async def test_detector_that_never_delivers_is_named_with_what_to_do(site: Site) -> None:
    site.observatory.set_scenarios(["detector-never-delivers"])
    run = await site.start(script_mode="BIAS", n_bias=2, oods_timeout=2, max_counter_archiver_check=3)
    state = await run.ended(RunState.FAILED)
    assert "R22_S11" in state.reason
    assert "detectors: [0, 1, 2, 3, 5, 6, 7, 8]" in state.reason
    # Every frame lacked the same detector, so further retakes were in vain.
    assert len(run.samples("imageTaken")) <= 4
