# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run's record in memory."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping
from typing import TypeVar

from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.enums import CalibType, RunState, StageState
from lsst.ts.comcamcalib.errors import ServiceError, StageError
from lsst.ts.comcamcalib.measurements import Trend
from lsst.ts.comcamcalib.plan.plan import RunPlan
from lsst.ts.comcamcalib.record.events import Event
from lsst.ts.comcamcalib.record.facts import Entry, Fact, RunAccepted, RunMoved, StageMoved
from lsst.ts.comcamcalib.record.fold import apply, begin
from lsst.ts.comcamcalib.record.history import History
from lsst.ts.comcamcalib.record.views import events_after
from lsst.ts.comcamcalib.run.journal import Journal

from support.clock import patience_s
from support.plans import DAY_OBS, make_plan

__all__ = ["MemoryRecord", "Waiting", "accepted", "write_run"]

FactType = TypeVar("FactType")
EventType = TypeVar("EventType")


def accepted(plan: RunPlan, at: float = 1.8e9) -> Entry:
    """Return the acceptance of a run with a plan."""
    return Entry(1, at, RunAccepted(plan=plan, day_obs=DAY_OBS, requested_by="op@console", why="the test"))


async def write_run(journal: Journal, *facts: Fact) -> str:
    """Write a run with some facts to a journal, one by one, end it, and return its identifier."""
    entry = await journal.begin(DAY_OBS, 1.0, lambda run_id: accepted(make_plan(run_id=run_id)).fact)
    run_id: str = entry.fact.plan.run_id
    for number, fact in enumerate(facts, start=2):
        await journal.append(run_id, [Entry(number, float(number), fact)], RunState.COMPLETED)
    return run_id


@dataclasses.dataclass(frozen=True)
class Waiting:
    """What a stage says that it waits for."""

    who: str
    for_what: str
    limit_s: float | None


class MemoryRecord:
    """Implements `lsst.ts.comcamcalib.record.record.Record` in memory; the run is RUNNING."""

    def __init__(self, plan: RunPlan, clock: Clock | None = None, entries: list[Entry] | None = None) -> None:
        self.clock = clock or Clock()
        self.entries: list[Entry] = []
        self.events: list[Event] = []
        self.waits: list[Waiting] = []
        self.doubts: dict[str, str] = {}
        self.refuses: Callable[[Fact], bool] = lambda fact: False
        """Intents that can't be written down."""
        self.past: Mapping[tuple[int, str, str], Trend] | str = {}
        """What earlier runs measured, or why that can't be read."""
        self._changed = asyncio.Condition()
        first, *rest = entries or [accepted(plan)]
        self._history = begin(first)
        self.entries.append(first)
        for entry in rest:
            self._history = apply(self._history, entry)
            self.entries.append(entry)
        if self._history.state is not RunState.RUNNING:
            self.put(RunMoved(state=RunState.RUNNING, reason="The run is in progress"))

    @property
    def history(self) -> History:
        return self._history

    def put(self, fact: Fact) -> None:
        """Add a fact without waking anybody, to prepare a test."""
        entry = Entry(self._history.seq + 1, self.clock.tai(), fact)
        self._history = apply(self._history, entry)
        self.entries.append(entry)
        self.events += events_after(fact, self._history)

    def move(self, name: str, state: StageState) -> None:
        """Put a stage into a state, to prepare a test."""
        self.put(StageMoved(stage_name=name, attempt=self._history.stages[name].attempt, state=state, reason=""))

    async def intend(self, fact: Fact) -> None:
        await self.note(fact)  # as the real one, which goes on trying to write it
        if self.refuses(fact):
            raise StageError("It could not be written down, so it was not done: disk full")

    async def note(self, fact: Fact) -> None:
        self.put(fact)
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[History], bool]) -> None:
        async with asyncio.timeout(patience_s()), self._changed:
            await self._changed.wait_for(lambda: condition(self._history))

    async def trends(
        self, calib_type: CalibType, physical_filter: str, runs: int, depths: Mapping[int, Mapping[str, float]]
    ) -> Mapping[tuple[int, str, str], Trend]:
        if isinstance(self.past, str):
            raise ServiceError(self.past)
        return self.past

    def waiting(self, who: str, for_what: str, limit_s: float | None = None) -> None:
        self.waits.append(Waiting(who, for_what, limit_s))

    def not_known(self, who: str, problem: str) -> None:
        self.doubts[who] = problem

    def of(self, fact_type: type[FactType]) -> list[FactType]:
        """Return all facts of a type, in order."""
        return [entry.fact for entry in self.entries if isinstance(entry.fact, fact_type)]

    def published(self, event_type: type[EventType]) -> list[EventType]:
        """Return all events of a type, in order."""
        return [event for event in self.events if isinstance(event, event_type)]
