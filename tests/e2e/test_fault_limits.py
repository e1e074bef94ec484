# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults that only a limit ends: what never comes, with a CSC that waits seconds instead of minutes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import yaml
from lsst.ts import salobj
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from support.observatory import running_csc
from support.operator import Operator
from support.run import Site, SiteRun, uws_jobs

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

OPTIONS: dict[str, Any] = {"script_mode": "BIAS", "n_bias": 3, "oods_timeout": 3, "max_counter_archiver_check": 3}
LIMITS_S = {
    "exposure_overhead": 6,
    "readout": 3,
    "job_submission": 6,
    "job": 12,
    "uws_unreachable": 8,
    "uws_forgotten": 3,
}


@pytest_asyncio.fixture(loop_scope="session")
async def impatient(observatory: Observatory, operator: Operator) -> AsyncIterator[Site]:
    """An ENABLED CSC with short limits.

    Each test has a journal of its own, so that its runs are called as those of the test before. An image by hand sees
    to it that the last one of the camera does not have the group id of such a run.
    """
    async with salobj.Remote(operator.remote.salinfo.domain, "CCCamera", include=[]) as camera:
        await camera.cmd_takeImages.set_start(numImages=1, keyValueMap="imageType: BIAS, groupId: by_hand", timeout=30)
    config = observatory.work_directory / "config" / "ocs" / "ComCamCalib" / "v1"
    limits = yaml.safe_load((config / "_init.yaml").read_text())["limits"] | LIMITS_S
    (config / "impatient.yaml").write_text(yaml.safe_dump({"limits": limits}))
    async with running_csc(initial_state=salobj.State.ENABLED, override="impatient.yaml") as csc:
        assert csc.summary_state is salobj.State.ENABLED
        yield Site(observatory, operator, csc)


async def failed(site: Site, scenario: str, **options: Any) -> tuple[SiteRun, str]:
    """Return a run that fails under a scenario, and why it says so."""
    site.observatory.set_scenarios([scenario])
    run = await site.start(**OPTIONS | options)
    state = await run.ended(RunState.FAILED, limit_s=90.0)
    return run, state.reason


async def test_readout_that_never_ends_is_given_up_and_its_frame_is_not_used(impatient: Site) -> None:
    run, reason = await failed(impatient, "readout-never-ends")
    assert "was not taken" in reason
    assert len(run.samples("imageTaken")) == 1
    assert await run.certified() == []


@pytest.mark.parametrize("scenario", ["job-stays-queued", "job-hangs"])
async def test_job_that_does_not_end_is_aborted_at_its_limit(impatient: Site, scenario: str) -> None:
    run, reason = await failed(impatient, scenario)
    assert "which is its limit" in reason
    assert ("had not even begun to execute" in reason) == (scenario == "job-stays-queued")
    assert await uws_jobs(impatient.observatory) == []
    assert await run.certified() == []


async def test_job_that_somebody_deletes_fails_when_the_uws_has_said_so_for_a_while(impatient: Site) -> None:
    run, reason = await failed(impatient, "job-deleted")
    assert "the OCPS has not reported its end" in reason
    assert await run.certified() == []


async def test_job_that_expires_before_anybody_has_seen_its_end_does_not_count_as_good(impatient: Site) -> None:
    run, reason = await failed(impatient, "job-expires")
    assert "the OCPS has not reported its end" in reason
    assert "How it ended is unknown" in reason
    assert await run.certified() == []


async def test_image_of_a_command_that_failed_is_found_and_used_by_the_resumed_run(impatient: Site) -> None:
    run, reason = await failed(impatient, "camera-fails-late")
    assert "The image database did not take CC_O_" in reason
    assert len(run.samples("imageTaken")) == 1
    impatient.observatory.set_scenarios([])
    await impatient.operator.command("resumeCalibrationRun", runId=run.run_id, reason="the database is back")
    await run.hear("runState", state=RunState.COMPLETED)
    first, *others = sorted({one.exposureId for one in run.samples("imageTaken")})
    assert others == [first + 1, first + 2], "the image was not taken again"
    assert len(await run.certified()) == 9


async def test_readout_whose_end_is_not_reported_is_no_frame(impatient: Site) -> None:
    run, reason = await failed(impatient, "end-of-readout-lost")
    assert "no endReadout came within 3 s" in reason
    assert await run.certified() == []


async def test_product_that_was_built_on_an_older_one_is_not_certified(impatient: Site) -> None:
    await impatient.complete(**OPTIONS, calib_collection="LSSTComCam/calib/daily")
    darks = {"script_mode": "BIAS_DARK", "n_dark": 2, "exp_times_dark": 5}
    run, reason = await failed(impatient, "older-product-first", **darks)
    assert "did not use this run's own products only" in reason
    assert await run.certified() == []


async def test_command_to_an_ocps_that_is_being_restarted_is_looked_for_and_not_found(impatient: Site) -> None:
    run, reason = await failed(impatient, "ocps-restarted-between-jobs")
    assert "did not answer the command to" in reason
    assert await run.certified() == []
    assert len(await uws_jobs(impatient.observatory)) == 1, "nothing was submitted twice"
