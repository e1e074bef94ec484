# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stage with one job, BIAS.GENERATE, and the process that does it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

from lsst.ts.comcamcalib.enums import StageKind, StageState
from lsst.ts.comcamcalib.record.facts import (
    JobAbsent,
    JobDistrusted,
    JobEnded,
    JobFound,
    JobIntended,
    JobMoved,
    JobStray,
    ProductMade,
    StageMoved,
)
from lsst.ts.comcamcalib.stages.context import RunContext
from lsst.ts.comcamcalib.stages.generate import generate

from support.records import MemoryRecord

__all__ = [
    "MADE",
    "MARK_1",
    "MARK_2",
    "STAGE",
    "kill",
    "killed_while_submitting",
    "kinds",
    "make",
    "next_attempt",
    "start",
    "turn",
    "until_intended",
    "with_biases",
]

STAGE = "BIAS.GENERATE"
MARK_1, MARK_2 = f"20261122-001_{STAGE}_cpBias_1*", f"20261122-001_{STAGE}_cpBias_2*"
MADE = "3 datasets of type bias are in u/ocps/job-{}/run"


def with_biases(make_bench: Callable[..., Any], expose_all: Callable[[Any], None], **options: Any) -> Any:
    """Return a bench whose frames are all in the repository, and whose BIAS.GENERATE is RUNNING."""
    bench = make_bench(**{"script_mode": "BIAS", **options})
    expose_all(bench)
    for stage in bench.context.plan.stages:
        if stage.kind is StageKind.INGEST:
            bench.record.move(stage.name, StageState.SUCCEEDED)
    bench.record.move(STAGE, StageState.RUNNING)
    return bench


def start(bench: Any) -> asyncio.Task[str]:
    """Start BIAS.GENERATE."""
    return bench.start(generate(bench.stage(STAGE), bench.context))


async def make(bench: Any) -> str:
    """Do BIAS.GENERATE."""
    return await bench.done(start(bench))


async def until_intended(bench: Any, number: int = 1) -> None:
    """Wait until a job is intended; by then it is being submitted."""
    await bench.record.until(lambda history: len(history.jobs) >= number)
    await turn()


async def turn() -> None:
    """Let everything that can be done now be done."""
    for _ in range(20):
        await asyncio.sleep(0)


async def kill(bench: Any, task: asyncio.Task[str]) -> Any:
    """End the process; return the bench of the one that goes on with what was recorded."""
    entries = list(bench.record.entries)
    task.cancel()
    await asyncio.wait([task])
    record = MemoryRecord(bench.context.plan, bench.record.clock, entries)
    context = RunContext(record, bench.observatory.services, bench.record.clock)
    return dataclasses.replace(bench, context=context, record=record)


async def killed_while_submitting(bench: Any, arrives: bool) -> Any:
    """Kill the process between intent and answer; the command has arrived at the OCPS or not."""
    gate = bench.observatory.jobs.submitting["cpBias"] = asyncio.Event()
    task = start(bench)
    await until_intended(bench)
    bench = await kill(bench, task)
    if not arrives:
        bench.observatory.jobs.lose_commands()
    gate.set()
    await turn()
    bench.observatory.jobs.submitting.clear()
    return bench


def next_attempt(bench: Any, attempt: int = 2) -> None:
    """Fail the stage, and begin its next attempt."""
    bench.record.move(STAGE, StageState.FAILED)
    for state in (StageState.PENDING, StageState.RUNNING):
        bench.record.put(StageMoved(stage_name=STAGE, attempt=attempt, state=state, reason=""))


def kinds(bench: Any) -> list[str]:
    """Return what was recorded of jobs, in order."""
    wanted = (JobIntended, JobFound, JobMoved, JobEnded, JobAbsent, JobDistrusted, JobStray, ProductMade)
    return [type(entry.fact).__name__ for entry in bench.record.entries if isinstance(entry.fact, wanted)]
