# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests of the simulated observatory share: an ear for events, a worker without a will of its own, look-ups."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from lsst.daf.butler import Butler
from lsst.ts import salobj, utils
from lsst.ts.comcamcalib.simulation.worker import Job, WorkerPhase
from lsst.ts.observatory.control.maintel.comcam import ComCam

__all__ = ["Ear", "HandWorker", "count_raws", "take_bias"]

LIMIT_S = 30.0


class Ear:
    """Hears all samples of some events of a remote that are sent from now on, in the order in which they were sent."""

    def __init__(self, remote: salobj.Remote, *names: str) -> None:
        self._events = [getattr(remote, f"evt_{name}") for name in names]
        self._heard: list[tuple[float, str, Any]] = []
        self._changed = asyncio.Event()
        self._begin_tai = 0.0

    def __enter__(self) -> Self:
        self._begin_tai = utils.current_tai()
        for event in self._events:
            event.callback = self._make_callback(event.attr_name.removeprefix("evt_"))
        return self

    def __exit__(self, *exception: object) -> None:
        for event in self._events:
            event.callback = None

    def _make_callback(self, name: str) -> Callable[[Any], Any]:
        async def hear(sample: Any) -> None:
            if sample.private_sndStamp >= self._begin_tai:
                self._heard.append((sample.private_sndStamp, name, sample))
                self._changed.set()

        return hear

    @property
    def names(self) -> list[str]:
        return [name for _, name, _ in sorted(self._heard, key=lambda heard: heard[0])]

    def samples(self, name: str) -> list[Any]:
        return [sample for _, event, sample in sorted(self._heard, key=lambda heard: heard[0]) if event == name]

    async def wait_for(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class HandWorker:
    """A worker that does nothing but what the test says."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self._notify: Callable[[str, WorkerPhase], None] | None = None
        self._changed = asyncio.Event()

    async def start(self, notify: Callable[[str, WorkerPhase], None]) -> None:
        self._notify = notify

    async def submit(self, job: Job) -> None:
        self.jobs[job.job_id] = job
        self._changed.set()

    async def abort(self, job_id: str) -> None:
        del self.jobs[job_id]

    async def close(self) -> None:
        self.jobs.clear()

    def move(self, job_id: str, phase: WorkerPhase) -> None:
        assert self._notify is not None
        self._notify(job_id, phase)

    async def wait_for_jobs(self, count: int) -> list[str]:
        async with asyncio.timeout(LIMIT_S):
            while len(self.jobs) < count:
                self._changed.clear()
                await self._changed.wait()
        return list(self.jobs)


def count_raws(repo: Path) -> int:
    """Return the number of raw files that a repository has."""
    butler = Butler.from_config(str(repo))
    try:
        refs = butler.query_datasets("raw", collections="LSSTComCam/raw/all", explain=False, limit=None)
        return len(refs)
    finally:
        butler.close()


async def take_bias(comcam: ComCam, count: int, files: int) -> list[int]:
    """Take biases and wait for the events of so many files."""
    event = comcam.rem.ccoods.evt_imageInOODS
    event.flush()
    ids = await comcam.take_bias(count)
    for _ in range(files):
        assert (await event.next(flush=False, timeout=LIMIT_S)).statusCode == 0
    return ids
