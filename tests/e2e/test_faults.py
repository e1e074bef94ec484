# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults of the observatory that a run survives, and what is said of those that it does not."""

from __future__ import annotations

import pytest
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.simulation.scenarios import SCENARIOS
from lsst.ts.comcamcalib.simulation.states import bring_from_standby, bring_to_standby
from support.run import Site, SiteRun, uws_jobs

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

OPTIONS = {"script_mode": "BIAS", "n_bias": 3, "oods_timeout": 3, "max_counter_archiver_check": 3}

SURVIVED = (
    *("uws-down", "uws-slow", "uws-500", "uws-html", "uws-truncated", "broker-down", "registry-down"),
    *("ocps-loses-job", "job-result-lost", "job-result-doubled", "job-result-of-a-stranger"),
    *("oods-silent", "oods-stands-still", "file-out-of-order", "files-reported-twice"),
)
RETAKEN = ("ingest-fails", "header-unreadable", "header-lost")


async def in_order(run: SiteRun, frames: int) -> None:
    """Check that each frame was taken and each product certified once, and that each job is one of the run's."""
    taken = [one.exposureId for one in run.samples("imageTaken")]
    assert len(taken) == len(set(taken)) == frames
    certified = await run.certified()
    assert sorted(one.detector for one in certified) == list(range(9))
    assert {one.dataset_type for one in certified} == {"bias"}


@pytest.mark.parametrize("scenario", SURVIVED)
async def test_good_run_survives(site: Site, scenario: str) -> None:
    site.observatory.set_scenarios([scenario])
    # An OODS that stands still longer than this has lost the files, as far as anybody can see.
    run = await site.complete(**OPTIONS | ({"oods_timeout": 30} if scenario == "oods-stands-still" else {}))
    await in_order(run, frames=3)
    followed = {one.jobId for one in run.samples("jobState") if one.jobId}
    assert {one["jobId"] for one in await uws_jobs(site.observatory)} == followed, "no job without an owner"


@pytest.mark.parametrize("scenario", RETAKEN)
async def test_frame_whose_file_does_not_arrive_is_taken_again(site: Site, scenario: str) -> None:
    site.observatory.set_scenarios([scenario])
    run = await site.complete(**OPTIONS)
    await in_order(run, frames=4)


@pytest.mark.parametrize("scenario", ["ocps-fault", "ocps-restarted"])
async def test_run_goes_on_when_the_ocps_is_enabled_again(site: Site, scenario: str) -> None:
    site.observatory.set_scenarios([scenario])
    run = await site.start(**OPTIONS)
    await run.doing("OCPS:2 is in")
    await bring_to_standby(site.observatory.ocps)
    await bring_from_standby(site.observatory.ocps, site.csc.summary_state)  # type: ignore[union-attr]
    await run.ended(RunState.COMPLETED)
    await in_order(run, frames=3)


async def test_run_goes_on_when_the_oods_is_enabled_again(site: Site) -> None:
    site.observatory.set_scenarios(["oods-fault"])
    run = await site.start(**OPTIONS | {"oods_timeout": 30})
    await run.doing("CCOODS is in FAULT")
    await bring_to_standby(site.observatory.oods)
    await bring_from_standby(site.observatory.oods, site.csc.summary_state)  # type: ignore[union-attr]
    await run.ended(RunState.COMPLETED)
    await in_order(run, frames=3)


@pytest.mark.parametrize(
    ("scenario", "said"),
    [
        ("job-reaches-deadline", "failed with exit code"),
        ("job-killed", "failed with exit code"),
        ("job-can-not-start", "failed before it could write a log"),
        ("job-errors", "no usable pixels"),
        ("camera-refuses", "The focal plane is not ready"),
        ("camera-fault", "was not taken"),
    ],
)
async def test_failure_is_named_and_nothing_is_certified(site: Site, scenario: str, said: str) -> None:
    site.observatory.set_scenarios([scenario])
    with_darks = any(dict(fault.match).get("image_type") == "DARK" for fault in SCENARIOS[scenario])
    more = (
        {"script_mode": "BIAS_DARK", "n_dark": 2, "exp_times_dark": 5} if with_darks or scenario == "job-errors" else {}
    )
    run = await site.start(**OPTIONS | more)
    state = await run.ended(RunState.FAILED)
    assert said in state.reason
    assert "dark" not in {one.dataset_type for one in await run.certified()}


async def test_image_of_somebody_else_is_never_used(site: Site) -> None:
    site.observatory.set_scenarios(["somebody-else-exposes"])
    run = await site.complete(**OPTIONS)
    await in_order(run, frames=3)
    first, second, third = (one.exposureId for one in run.samples("imageTaken"))
    assert (second, third) == (first + 2, first + 3), "the image in between is somebody else's"
