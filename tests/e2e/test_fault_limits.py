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
LIMITS_S = {"exposure_overhead": 6, "readout": 3, "job_submission": 6, "job": 12, "uws_unreachable": 8}


@pytest_asyncio.fixture(loop_scope="session")
async def impatient(observatory: Observatory, operator: Operator) -> AsyncIterator[Site]:
    """An ENABLED CSC with short limits."""
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


async def test_job_that_expires_at_its_end_is_known_from_the_ocps_or_fails(impatient: Site) -> None:
    """The OCPS may have seen the end, or it is as blind as everybody else; only an end that was seen is one."""
    impatient.observatory.set_scenarios(["job-expires"])
    run = await impatient.start(**OPTIONS)
    state = await impatient.operator.until_ended(run.run_id, 90.0)
    if state.state == RunState.FAILED:
        assert "the OCPS has not reported its end" in state.reason
        assert await run.certified() == []
    else:
        assert state.state == RunState.COMPLETED, state.reason
        assert len(await run.certified()) == 9


async def test_frame_whose_command_failed_late_is_not_taken_for_another(impatient: Site) -> None:
    """The image exists, and is either found and used as itself, or not used at all."""
    impatient.observatory.set_scenarios(["camera-fails-late"])
    run = await impatient.start(**OPTIONS)
    state = await impatient.operator.until_ended(run.run_id, 90.0)
    taken = [one.exposureId for one in run.samples("imageTaken")]
    assert len(taken) == len(set(taken))
    if state.state == RunState.FAILED:
        assert "was not taken" in state.reason
        assert await run.certified() == []
    else:
        assert state.state == RunState.COMPLETED and len(taken) == 3


async def test_command_to_an_ocps_that_is_being_restarted_is_looked_for_and_not_found(impatient: Site) -> None:
    run, reason = await failed(impatient, "ocps-restarted-between-jobs")
    assert "did not answer the command to" in reason
    assert await run.certified() == []
    assert len(await uws_jobs(impatient.observatory)) == 1, "nothing was submitted twice"
