# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run in the simulated observatory, as a test looks at it."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import TYPE_CHECKING, Any

import aiohttp
from lsst.ts.comcamcalib.enums import RunState, StageState
from lsst.ts.comcamcalib.simulation.replay import ReplayWorker

from .operator import Operator
from .repository import Certified, certified

if TYPE_CHECKING:
    from lsst.ts.comcamcalib.csc import ComCamCalibCsc
    from lsst.ts.comcamcalib.simulation.observatory import Observatory

__all__ = ["Site", "SiteRun", "finish_job", "options_of", "until_no_job_is_left", "uws_jobs"]

# Each run certifies in a collection of its own.
NUMBERS = itertools.count(1)


class Site:
    """An observatory, its operator, and the CSC if it is in this process."""

    def __init__(self, observatory: Observatory, operator: Operator, csc: ComCamCalibCsc | None = None) -> None:
        self.observatory = observatory
        self.operator = operator
        self.csc = csc

    async def start(self, **options: Any) -> SiteRun:
        """Start a run."""
        collection = options.setdefault("calib_collection", f"LSSTComCam/calib/u/tests/{next(NUMBERS)}")
        options.setdefault("n_processes", 1)
        return SiteRun(self, await self.operator.start_run(**options), collection)

    async def complete(self, **options: Any) -> SiteRun:
        """Start a run, and wait until it is COMPLETED and all of it is published."""
        run = await self.start(**options)
        await run.ended(RunState.COMPLETED)
        assert set(run.stages.values()) == {StageState.SUCCEEDED}
        return run


class SiteRun:
    """A run and what is published of it."""

    def __init__(self, site: Site, run_id: str, collection: str) -> None:
        self._site = site
        self.run_id = run_id
        self.collection = collection

    def samples(self, topic: str, **fields: object) -> list[Any]:
        return self._site.operator.samples(topic, runId=self.run_id, **fields)

    async def hear(self, topic: str, limit_s: float = 60.0, **fields: object) -> Any:
        """Wait for a sample of a topic with these values; return the last one."""
        return await self._site.operator.hear(topic, limit_s, runId=self.run_id, **fields)

    async def doing(self, words: str) -> None:
        """Wait until the telemetry says that this is being done or waited for."""
        await self._site.operator.wait_for(
            f"activity {words!r}", lambda: any(words in one.activity for one in self.samples("progress"))
        )

    async def ended(self, expected: RunState, limit_s: float = 60.0) -> Any:
        """Wait for the end, and until everything of it is published; return the last runState."""
        state = await self._site.operator.until_ended(self.run_id, limit_s)
        assert state.state == expected, state.reason
        open_states = {StageState.PENDING, StageState.RUNNING}
        await self._site.operator.wait_for(
            f"end of all stages of {self.run_id}", lambda: not open_states & set(self.stages.values()), limit_s=10.0
        )
        if self._site.csc is not None:
            await self._site.operator.hear_all(self._site.csc)
        return state

    @property
    def stages(self) -> dict[str, StageState]:
        """Last state of each stage."""
        return self._site.operator.stages(self.run_id)

    def in_state(self, state: StageState) -> set[str]:
        """Names of the stages in a state."""
        return {name for name, one in self.stages.items() if one is state}

    async def certified(self) -> list[Certified]:
        """Return what is in the collection in which the run certifies."""
        return await asyncio.to_thread(certified, self._site.observatory.repo, self.collection)

    async def job(self, stage_name: str) -> dict[str, str]:
        """Return the environment of a stage's only job, as the UWS has it."""
        (job_id,) = {one.jobId for one in self.samples("jobState", stageName=stage_name)}
        (job,) = [one for one in await uws_jobs(self._site.observatory) if one["jobId"] == job_id]
        return {item["name"]: item["value"] for item in job["parameters"]["environment"]}


def finish_job(observatory: Observatory, job_id: str) -> None:
    """Let a job of the replaying worker end now, however long it should take."""
    worker = observatory._worker
    assert isinstance(worker, ReplayWorker)
    worker.finish(job_id)


async def uws_jobs(observatory: Observatory) -> list[dict[str, Any]]:
    """Return the jobs that the UWS has."""
    async with aiohttp.ClientSession() as session, session.get(f"{observatory.uws.url}/job") as reply:
        jobs: list[dict[str, Any]] = await reply.json()
    return jobs


async def until_no_job_is_left(observatory: Observatory, limit_s: float) -> None:
    """Wait until the UWS has no job any more."""
    async with asyncio.timeout(limit_s):
        while await uws_jobs(observatory):  # noqa: ASYNC110  # the UWS tells nothing by itself
            await asyncio.sleep(0.2)


def options_of(environment: dict[str, str], letter: str) -> list[str]:
    """Return the values of an option, such as -i, among the options of a job."""
    return re.findall(rf"(?:^| )-{letter} (\S+)", environment["RUN_OPTIONS"])
