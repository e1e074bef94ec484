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

from lsst.ts.comcamcalib.butler_data import DatasetFound
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.enums import CalibType, StageKind, StageState, Verdict
from lsst.ts.comcamcalib.record.facts import (
    Dataset,
    Fact,
    FrameIntended,
    FrameTaken,
    ProductMade,
    VerdictGiven,
)
from lsst.ts.comcamcalib.record.things import GOOD_VERDICTS
from lsst.ts.comcamcalib.services.butler import ButlerService
from lsst.ts.comcamcalib.stages.certify import certify
from lsst.ts.comcamcalib.stages.context import RunContext
from lsst.ts.comcamcalib.stages.generate import generate

from support.records import MemoryRecord
from support.services import Observatory
from support.world import Certificate, World

__all__ = [
    "DAILY",
    "IN_DAILY",
    "NIGHT",
    "ShownTime",
    "certified_ids",
    "certify_bias",
    "certify_older",
    "expose",
    "in_repository",
    "judge",
    "killed_after",
    "make",
    "own_ids",
    "put_frame",
    "put_product",
    "settle",
    "verdict_of",
]

DAILY = "LSSTComCam/calib/daily"
NIGHT = ("2026-11-22T12:00:00", "2026-11-23T12:00:00")
"""Validity of what is made from the frames of 2026-11-22."""
IN_DAILY = "3 datasets of type bias are in LSSTComCam/calib/daily"


async def certify_bias(bench: Any) -> str:
    """Certify the bias of a bench's run."""
    return await certify(bench.stage("BIAS.CERTIFY"), bench.context)


def certified_ids(bench: Any) -> list[str]:
    """Return the biases that are certified, in whatever collection."""
    return sorted(one.dataset_id for one in bench.observatory.world.certified("bias"))


def own_ids(bench: Any) -> list[str]:
    """Return the biases that a bench's run has made."""
    return sorted(bench.context.history.product(CalibType.BIAS).ids)


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


def put_frame(
    record: MemoryRecord, calib_type: CalibType, index: int, exposure_id: int, discarded: bool = False
) -> None:
    """Record that a frame was intended and taken."""
    record.put(FrameIntended(calib_type=calib_type, index=index, exposure_time_s=0.0, discarded=discarded))
    record.put(
        FrameTaken(calib_type=calib_type, index=index, exposure_id=exposure_id, obs_id="", taken_s=record.clock.tai())
    )


def expose(bench: Any, calib_type: CalibType, begin: datetime.datetime) -> None:
    """Take all frames of a type from a moment on (TAI)."""
    world, sequence = bench.observatory.world, bench.context.plan.sequences[calib_type]
    world.now = begin
    for frame in sequence.frames:
        one = world.expose(calib_type.name, frame.exposure_time_s, sequence.group_id)
        put_frame(bench.record, calib_type, frame.index, one.exposure_id, frame.discarded)


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


# With a real repository


class ShownTime(Clock):
    """A clock that always shows the same time (TAI)."""

    def __init__(self, moment: datetime.datetime) -> None:
        self._tai_s = (moment - datetime.datetime(1970, 1, 1)).total_seconds()

    def tai(self) -> float:
        return self._tai_s


def in_repository(service: ButlerService, record: MemoryRecord) -> RunContext:
    """Return a run's context over the fakes, but with a real repository."""
    fakes = Observatory.of(World(record.history.plan.config)).services
    return RunContext(record, dataclasses.replace(fakes, repository=service), record.clock)


async def put_product(record: MemoryRecord, service: ButlerService, calib_type: CalibType, job_id: str) -> None:
    """Record that a job has made a product, as it is in the repository, and that it is good."""
    recipe = record.history.plan.recipe(calib_type).jobs[-1]
    found = await service.datasets(f"u/ocps/{job_id}/run", recipe.dataset_type)
    record.put(
        ProductMade(
            label=recipe.label,
            attempt=1,
            job_id=job_id,
            calib_type=calib_type,
            dataset_type=recipe.dataset_type,
            run_collection=f"u/ocps/{job_id}/run",
            datasets=tuple(
                Dataset(dataset_id=one.dataset_id, detector=one.detector, physical_filter=one.physical_filter)
                for one in found
            ),
        )
    )
    judge(record, calib_type)
