# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""A record whose process is killed at a chosen fact, and the process that comes after it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

from lsst.ts.comcamcalib.enums import StageState
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.plan.plan import StagePlan
from lsst.ts.comcamcalib.record.facts import Fact
from lsst.ts.comcamcalib.run.moves import move_stage
from lsst.ts.comcamcalib.stages.acquire import acquire
from lsst.ts.comcamcalib.stages.context import RunContext
from lsst.ts.comcamcalib.stages.ingest import ingest

from support.clock import patience_s
from support.records import MemoryRecord

__all__ = ["MortalRecord", "both", "kill", "live", "next_process", "work"]

WORK = {"ACQUIRE": acquire, "INGEST": ingest}


class MortalRecord(MemoryRecord):
    """The record of a process that is killed: from then on nothing is recorded, and who tries to waits for ever."""

    dies_before: Callable[[Fact], bool] = staticmethod(lambda fact: False)
    """Whether the process is killed when this was done, and before it is recorded."""
    dies_after: Callable[[Fact], bool] = staticmethod(lambda fact: False)
    """Whether the process is killed as soon as this is recorded."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.died = asyncio.Event()

    async def note(self, fact: Fact) -> None:
        if self.died.is_set() or self.dies_before(fact):
            await self._die()
        await super().note(fact)
        if self.dies_after(fact):
            await self._die()

    async def _die(self) -> None:
        self.died.set()
        await asyncio.Event().wait()


def next_process(bench: Any) -> Any:
    """Return a bench over the same observatory whose run goes on with the facts that were recorded so far.

    Stages that were in progress are PENDING again, with the same attempt.
    """
    bench.observatory.oods.subscribers.clear()
    record = MortalRecord(bench.context.plan, bench.record.clock, list(bench.record.entries))
    for stage in record.history.stages_in(StageState.RUNNING):
        record.move(stage.name, StageState.PENDING)
    context = RunContext(record, bench.observatory.services, bench.record.clock)
    bench.observatory.oods.subscribe(context.ledger.notice)
    return dataclasses.replace(bench, context=context, record=record, tasks=bench.tasks)


async def work(bench: Any, name: str) -> str:
    """Do a stage as the scheduler does it, with its states; one that has SUCCEEDED is not done again."""
    if bench.record.history.stages[name].state is StageState.SUCCEEDED:
        return str(bench.record.history.stages[name].reason)
    if bench.record.history.stages[name].ended_s:
        await move_stage(bench.record, name, StageState.PENDING, "The run is resumed")
    await move_stage(bench.record, name, StageState.RUNNING, "")
    plan: StagePlan = bench.stage(name)
    try:
        reason = await WORK[plan.kind.name](plan, bench.context)
    except StageError as error:
        await move_stage(bench.record, name, StageState.FAILED, str(error))
        raise
    await move_stage(bench.record, name, StageState.SUCCEEDED, reason)
    return reason


async def both(bench: Any, calib_type: str) -> list[str | BaseException]:
    """Take the frames of a type and account for their files, side by side; return how each stage has ended."""
    names = [f"{calib_type}.ACQUIRE", f"{calib_type}.INGEST"]
    tasks = [bench.start(work(bench, name)) for name in names]
    async with asyncio.timeout(patience_s()):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def live(bench: Any, calib_type: str) -> bool:
    """Do what is left of both stages of a type; return whether the process was killed meanwhile."""
    tasks = [bench.start(work(bench, name)) for name in (f"{calib_type}.ACQUIRE", f"{calib_type}.INGEST")]
    death = asyncio.create_task(bench.record.died.wait(), name="death")
    ended = asyncio.gather(*tasks)
    try:
        async with asyncio.timeout(patience_s()):
            await asyncio.wait([ended, death], return_when=asyncio.FIRST_COMPLETED)
        if not bench.record.died.is_set():
            await ended
        return bench.record.died.is_set()
    finally:
        death.cancel()
        await kill(bench, *tasks)
        await asyncio.gather(death, ended, return_exceptions=True)


async def kill(bench: Any, *tasks: asyncio.Task[str]) -> None:
    """End tasks of a process that was killed, whatever they would still like to record."""
    bench.context.finish_exposure = False
    while not all(task.done() for task in tasks):
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
