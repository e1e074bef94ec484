# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run's context over the fakes, on a clock that leaps."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.enums import CalibType, StageKind, StageState
from lsst.ts.comcamcalib.plan.plan import StagePlan
from lsst.ts.comcamcalib.record.facts import FrameIntended, FrameTaken
from lsst.ts.comcamcalib.stages.context import RunContext
from lsst.ts.comcamcalib.stages.generate import generate
from support.clock import LeapingPolicy, patience_s
from support.plans import make_config, make_plan
from support.records import MemoryRecord
from support.services import Observatory
from support.world import World

NIGHT_S = 1795384800.0
"""2026-11-22T22:00:00 TAI."""


@pytest.fixture(scope="session")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    return LeapingPolicy()


class NightClock(Clock):
    """A clock that shows the night of the frames and goes with the loop's time."""

    def __init__(self) -> None:
        self._begin_s = asyncio.get_running_loop().time()

    def tai(self) -> float:
        return NIGHT_S + self.monotonic() - self._begin_s


@dataclasses.dataclass
class Bench:
    """One run's context, and the fakes behind it."""

    observatory: Observatory
    context: RunContext
    record: MemoryRecord
    tasks: list[asyncio.Task[str]] = dataclasses.field(default_factory=list)

    def stage(self, name: str) -> StagePlan:
        """Return the plan of a stage."""
        calib_type, kind = name.split(".")
        stage = self.context.plan.stage(CalibType[calib_type], StageKind[kind])
        assert stage is not None, f"the plan has no {name}"
        return stage

    async def generate(self, name: str) -> str:
        """Make a product as the scheduler has it made, to its end; return what is said of it."""
        stage = self.stage(f"{name}.GENERATE")
        reason = await generate(stage, self.context)
        self.record.move(stage.name, StageState.SUCCEEDED)
        return reason

    def start(self, work: Coroutine[Any, Any, str]) -> asyncio.Task[str]:
        """Start a stage; it is cancelled at the end of the test if it is still at work."""
        self.tasks.append(asyncio.create_task(work))
        return self.tasks[-1]

    async def done(self, task: asyncio.Task[str]) -> str:
        """Wait until a stage has ended."""
        async with asyncio.timeout(patience_s()):
            return await task


MakeBench = Callable[..., Bench]


@pytest.fixture
async def make_bench() -> AsyncIterator[MakeBench]:
    """Return what makes a bench from options; ``config`` is the changes of the configuration.

    It certifies in the night of its frames, 2026-11-22T22:00:00 TAI.
    """
    benches: list[Bench] = []

    def make(config: dict[str, Any] | None = None, **options: Any) -> Bench:
        settings: CscConfig = make_config(**(config or {}))
        observatory, clock = Observatory.of(World(settings)), NightClock()
        record = MemoryRecord(make_plan(settings, **options), clock)
        context = RunContext(record, observatory.services, clock)
        observatory.oods.subscribe(context.ledger.notice)
        benches.append(Bench(observatory, context, record))
        return benches[-1]

    yield make
    for bench in benches:
        for task in bench.tasks:
            task.cancel()
        await asyncio.gather(*bench.tasks, return_exceptions=True)


@pytest.fixture
def expose_all() -> Callable[[Bench], None]:
    """Return what gives a bench all its frames, taken and in the repository."""

    def expose(bench: Bench) -> None:
        for calib_type, sequence in bench.context.plan.sequences.items():
            for frame in sequence.frames:
                exposure = bench.observatory.world.expose(calib_type.name, frame.exposure_time_s, sequence.group_id)
                bench.record.put(
                    FrameIntended(
                        calib_type=calib_type,
                        index=frame.index,
                        exposure_time_s=frame.exposure_time_s,
                        discarded=frame.discarded,
                    )
                )
                bench.record.put(
                    FrameTaken(
                        calib_type=calib_type,
                        index=frame.index,
                        exposure_id=exposure.exposure_id,
                        obs_id=exposure.obs_id,
                        taken_s=1.8e9,
                    )
                )

    return expose
