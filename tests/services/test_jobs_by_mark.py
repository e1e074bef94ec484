# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs that an earlier process submitted are found by their mark, and only a UWS that answers proves there is none."""

from __future__ import annotations

import asyncio

import pytest
from lsst.ts import utils
from lsst.ts.comcamcalib.errors import UnreachableError
from lsst.ts.comcamcalib.services.uws_job import UwsJob
from support.clock import LeapingPolicy
from support.job_world import DOWN, MARK, RUN, JobWorld, uws_job

POLL_S = 2.0


@pytest.fixture(scope="session")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return LeapingPolicy()


class Lists:
    """What the UWS answers to one request for all jobs after the other; the last for ever."""

    def __init__(self, world: JobWorld, *answers: list[UwsJob] | Exception) -> None:
        self._answers = list(answers)
        self._jobs = world.uws.jobs
        self._world = world
        world.uws.jobs = self.next

    async def next(self) -> list[UwsJob]:
        self._world.uws.listing = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return await self._jobs()


async def find(world: JobWorld, limit_s: float = 60.0, intended_s: float | None = None) -> list[str]:
    service = world.service(poll_interval_s=POLL_S)
    intended_s = utils.current_tai() if intended_s is None else intended_s
    return [job.job_id for job in await service.find(MARK, intended_s, limit_s)]


async def test_all_jobs_with_the_mark_are_found_the_oldest_first_whatever_became_of_them(world: JobWorld) -> None:
    now = utils.current_tai()
    world.uws.listing = [
        uws_job("second", "error", timestamp_created_s=now + 5),
        uws_job("first", "completed", timestamp_created_s=now + 1),
        uws_job("next attempt", mark=f"{RUN}_BIAS.GENERATE_cpBias_2*", timestamp_created_s=now + 2),
        uws_job("third", "executing", timestamp_created_s=now + 9),
    ]
    assert await find(world) == ["first", "second", "third"]
    assert world.uws.lists == 1
    assert world.ocps.aborted == [], "who asks decides what becomes of them"


async def test_a_job_that_appears_within_the_limit_is_found(world: JobWorld) -> None:
    Lists(world, [], [], [uws_job("made")])
    assert await find(world) == ["made"]


async def test_that_there_is_none_is_known_when_the_limit_is_over_and_not_before(world: JobWorld) -> None:
    clock = asyncio.get_running_loop().time
    began = clock()
    assert await find(world, limit_s=60.0) == []
    assert 60.0 <= clock() - began < 60.0 + 2 * POLL_S


async def test_a_job_of_an_earlier_run_of_the_same_name_is_not_it(
    world: JobWorld, caplog: pytest.LogCaptureFixture
) -> None:
    """The journal was lost, so the counter of the day's runs began anew."""
    world.uws.listing = [uws_job("old", "completed", timestamp_created_s=utils.current_tai() - 3600)]
    assert await find(world, limit_s=10.0) == []
    assert "it belongs to an earlier run of the same name" in caplog.text


async def test_clocks_that_differ_a_little_hide_no_job(world: JobWorld) -> None:
    world.uws.listing = [uws_job("made", timestamp_created_s=utils.current_tai() - 30)]
    assert await find(world, limit_s=10.0) == ["made"]


async def test_a_uws_that_does_not_answer_the_last_request_proves_nothing(world: JobWorld) -> None:
    Lists(world, [], DOWN)
    with pytest.raises(UnreachableError) as caught:
        await find(world, limit_s=10.0)
    assert str(caught.value) == (f"The UWS can't be asked for a job with the mark {MARK}: The UWS did not answer.")


async def test_a_uws_that_answers_the_last_request_has_shown_that_there_is_none(world: JobWorld) -> None:
    Lists(world, DOWN, DOWN, [])
    assert await find(world, limit_s=60.0) == []
    assert [reachable for reachable, _ in world.backend] == [False, True]


async def test_a_job_that_this_service_submitted_itself_is_found_too(world: JobWorld) -> None:
    """The answer was lost on the way from the service to the journal, not from the OCPS to the service."""
    service = world.service()
    world.uws.answers = ["completed"]
    world.uws.listing = [uws_job("job1", "completed")]
    assert (await world.run(service)).succeeded
    assert [job.job_id for job in await service.find(MARK, utils.current_tai(), 10.0)] == ["job1"]
