# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How often the UWS is asked for all of its jobs, on a clock that leaps over the waits."""

from __future__ import annotations

import asyncio

import pytest
from lsst.ts import utils
from lsst.ts.comcamcalib.services.job_search import JobSearch
from lsst.ts.comcamcalib.services.uws_job import UwsJob
from lsst.ts.comcamcalib.services.uws_watch import UwsWatch
from support.clock import LeapingPolicy
from support.job_world import MARK, RUN, FakeUws, uws_job
from support.plans import make_config

LIST_S = 16.0


@pytest.fixture
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return LeapingPolicy()


class SlowUws(FakeUws):
    """Takes as long for a list as the real server with 300 jobs of 500 files."""

    async def jobs(self) -> list[UwsJob]:
        await asyncio.sleep(LIST_S)
        return await super().jobs()


async def ignore(_reachable: bool, _sentence: str) -> None:
    """Nobody wants to know."""


def search(uws: SlowUws, **changes: bool) -> JobSearch:
    limits = make_config().limits.model_copy(update={"job_submission": 160.0, "uws_unreachable": 800.0})
    mark = RUN if changes.get("of_run") else MARK
    return JobSearch(mark, utils.current_tai(), UwsWatch(uws, 2.0, ignore), 2.0, limits, (), **changes)


async def test_a_search_leaves_the_uws_time_for_others_and_later_still_more() -> None:
    uws = SlowUws()
    looking = search(uws)
    assert await looking.find(160.0) == []
    assert 5 <= uws.lists <= 7  # 16 s for the list, 16 s for others
    uws.lists = 0
    assert await looking.find_late() == []
    assert 5 <= uws.lists <= 7  # 16 s for the list, 144 s for others


async def test_a_search_for_a_run_finds_the_jobs_of_all_of_its_stages_and_of_no_other_run() -> None:
    uws = SlowUws()
    uws.listing = [
        uws_job("bias"),
        uws_job("flat", mark=f"{RUN}_FLAT.VERIFY_verifyFlat*"),
        uws_job("next", mark=f"{RUN}0_BIAS.GENERATE_cpBias*"),
        uws_job("within", mark=f"x{RUN}_BIAS.GENERATE_cpBias*"),
    ]
    assert {job.job_id for job in await search(uws, of_run=True).look()} == {"bias", "flat"}


class LateUws(SlowUws):
    """Shows a job from its third list on."""

    async def jobs(self) -> list[UwsJob]:
        if self.lists >= 2:
            self.listing = [uws_job("late")]
        return await super().jobs()


async def test_a_search_ends_with_the_first_list_that_shows_the_job() -> None:
    uws = LateUws()
    assert [job.job_id for job in await search(uws).find(160.0)] == ["late"]
    assert uws.lists == 3


async def test_a_search_that_has_no_time_left_looks_all_the_same() -> None:
    uws = SlowUws()
    uws.listing = [uws_job("there")]
    assert [job.job_id for job in await search(uws).find(0.0)] == ["there"]
    uws.listing = []
    uws.lists = 0
    assert await search(uws).find(0.0) == []
    assert uws.lists == 1
