# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Something is done outside once, whatever is known of it."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.record.act import once
from lsst.ts.comcamcalib.record.facts import Fact, FrameIntended
from support.plans import make_plan
from support.records import MemoryRecord

INTENT = FrameIntended(calib_type=CalibType.BIAS, index=1, exposure_time_s=0.0)


@dataclasses.dataclass
class FakeAct:
    """An act, and what was done about it."""

    record: MemoryRecord
    outcome: str | None = None
    open: bool = False
    there: str | None = None
    refusal: str = ""
    steps: list[str] = dataclasses.field(default_factory=list)

    def known(self) -> str | None:
        return self.outcome

    async def find(self) -> str | None:
        self.steps.append("find")
        return self.there

    async def intent(self) -> Fact:
        if self.refusal:
            raise StageError(self.refusal)
        self.steps.append("intent")
        return INTENT

    async def act(self) -> str:
        assert self.record.of(FrameIntended) == [INTENT], "it is written down before it is done"
        self.steps.append("act")
        return "done"

    async def withdraw(self, reason: str) -> None:
        self.steps.append(f"withdraw: {reason}")


@pytest.fixture
async def record() -> MemoryRecord:
    return MemoryRecord(make_plan())


async def test_what_was_never_intended_is_written_down_and_done(record: MemoryRecord) -> None:
    act = FakeAct(record)
    assert await once(act, record) == "done"
    assert act.steps == ["intent", "act"]


async def test_known_outcome_is_returned_and_nothing_is_done(record: MemoryRecord) -> None:
    act = FakeAct(record, outcome="done before", open=True)
    assert await once(act, record) == "done before"
    assert act.steps == []
    assert record.of(FrameIntended) == []


async def test_what_may_have_been_done_is_looked_for_first(record: MemoryRecord) -> None:
    act = FakeAct(record, open=True, there="found")
    assert await once(act, record) == "found"
    assert act.steps == ["find"]


async def test_what_is_certainly_not_there_is_done(record: MemoryRecord) -> None:
    act = FakeAct(record, open=True)
    assert await once(act, record) == "done"
    assert act.steps == ["find", "intent", "act"]


async def test_what_can_not_be_written_down_is_not_done(record: MemoryRecord) -> None:
    record.refuses = lambda fact: True
    act = FakeAct(record)
    with pytest.raises(StageError, match="could not be written down"):
        await once(act, record)
    assert act.steps == ["intent", "withdraw: It could not be written down, so it was not done: disk full"]


async def test_what_is_stopped_while_it_is_being_written_down_is_not_done_and_nobody_looks_for_it(
    record: MemoryRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = asyncio.Event()

    async def hang(fact: Fact) -> None:
        writing.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(record, "intend", hang)
    act = FakeAct(record)
    task = asyncio.create_task(once(act, record))
    await writing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert act.steps == ["intent", "withdraw: it was stopped before it was begun"]


async def test_what_may_not_be_done_is_not_written_down_either(record: MemoryRecord) -> None:
    act = FakeAct(record, refusal="the run is ABORTING")
    with pytest.raises(StageError, match="the run is ABORTING"):
        await once(act, record)
    assert record.of(FrameIntended) == []
