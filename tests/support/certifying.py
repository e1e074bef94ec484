# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of certification share: good products, what was certified before, and a process that was killed."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import uuid
from typing import Any

from lsst.ts.comcamcalib.enums import CalibType, StageKind, StageState, Verdict
from lsst.ts.comcamcalib.record.facts import Fact, FrameIntended, FrameTaken, VerdictGiven
from lsst.ts.comcamcalib.record.things import GOOD_VERDICTS
from lsst.ts.comcamcalib.services.butler_data import DatasetFound
from lsst.ts.comcamcalib.stages.context import RunContext
from lsst.ts.comcamcalib.stages.generate import generate

from support.records import MemoryRecord
from support.world import Certificate

__all__ = ["DAILY", "NIGHT", "certify_older", "expose", "judge", "killed_after", "make", "settle", "verdict_of"]

DAILY = "LSSTComCam/calib/daily"
NIGHT = ("2026-11-22T12:00:00", "2026-11-23T12:00:00")
"""Validity of what is made from the frames of 2026-11-22."""


def verdict_of(
    calib_type: CalibType, verdict: Verdict = Verdict.PASSED, physical_filter: str = "", attempt: int = 1
) -> VerdictGiven:
    """Return the verdict of a verification."""
    return VerdictGiven(
        calib_type=calib_type,
        physical_filter=physical_filter,
        attempt=attempt,
        verdict=verdict,
        job_id="job-99",
        reason="the test says so",
    )


def judge(record: MemoryRecord, calib_type: CalibType, verdict: Verdict = Verdict.PASSED) -> None:
    """Give a verdict on a product, and end its VERIFY stage accordingly."""
    record.put(verdict_of(calib_type, verdict))
    good = verdict in GOOD_VERDICTS
    record.move(f"{calib_type.name}.VERIFY", StageState.SUCCEEDED if good else StageState.FAILED)


async def make(bench: Any, calib_type: CalibType, verdict: Verdict | None = Verdict.PASSED) -> None:
    """Have a product made from frames that are all there, and judge it unless the verdict is None."""
    for one in bench.context.plan.recipe(calib_type).frames:
        if f"{one}.INGEST" in bench.record.history.stages:
            bench.record.move(f"{one}.INGEST", StageState.SUCCEEDED)
    await generate(bench.stage(f"{calib_type.name}.{StageKind.GENERATE.name}"), bench.context)
    bench.record.move(f"{calib_type.name}.{StageKind.GENERATE.name}", StageState.SUCCEEDED)
    if verdict is not None:
        judge(bench.record, calib_type, verdict)


def expose(bench: Any, calib_type: CalibType, begin: datetime.datetime) -> None:
    """Take all frames of a type from a moment on (TAI)."""
    world, sequence = bench.observatory.world, bench.context.plan.sequences[calib_type]
    world.now = begin
    for frame in sequence.frames:
        one = world.expose(calib_type.name, frame.exposure_time_s, sequence.group_id)
        position = {"calib_type": calib_type, "index": frame.index}
        bench.record.put(FrameIntended(**position, exposure_time_s=frame.exposure_time_s, discarded=frame.discarded))
        bench.record.put(
            FrameTaken(**position, exposure_id=one.exposure_id, obs_id=one.obs_id, taken_s=bench.record.clock.tai())
        )


def certify_older(bench: Any, dataset_type: str, validity: tuple[str, str] = NIGHT) -> list[str]:
    """Have older datasets of all detectors of the run be certified already; return their UUIDs."""
    older = [
        DatasetFound(str(uuid.uuid4()), detector, None, None, "u/ocps/job-old/run")
        for detector in bench.context.plan.options.detectors
    ]
    bench.observatory.world.certificates += [Certificate(DAILY, dataset_type, validity, one) for one in older]
    return [one.dataset_id for one in older]


def killed_after(bench: Any, last: int | type[Fact]) -> Any:
    """Return the bench of a new process; the journal has the facts up to a number, or the last one of a kind."""
    entries = list(bench.record.entries)
    if not isinstance(last, int):
        last = max(entry.seq for entry in entries if isinstance(entry.fact, last))
    clock = bench.record.clock
    record = MemoryRecord(bench.context.plan, clock, [entry for entry in entries if entry.seq <= last])
    context = RunContext(record, bench.observatory.services, clock)
    return dataclasses.replace(bench, record=record, context=context)


async def settle() -> None:
    """Let all tasks go as far as they can without time passing."""
    for _ in range(20):
        await asyncio.sleep(0)
