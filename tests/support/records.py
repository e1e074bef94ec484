# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A record that keeps what a run tells, and lets tests wait for it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import TypeVar

from lsst.ts.comcamcalib.plan.record import Entry, Intent

from support.clock import patience_s

__all__ = ["FakeRecord", "Waiting"]

EntryType = TypeVar("EntryType")


@dataclasses.dataclass(frozen=True)
class Waiting:
    """What a stage said that it waits for."""

    who: str
    for_what: str
    limit_s: float | None


class FakeRecord:
    """Implements `lsst.ts.comcamcalib.plan.record.Record` in memory."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.intents: list[Intent] = []
        self.waits: list[Waiting] = []
        self._changed = asyncio.Condition()

    async def write(self, entry: Entry) -> None:
        self.entries.append(entry)
        async with self._changed:
            self._changed.notify_all()

    async def intend(self, intent: Intent) -> None:
        self.intents.append(intent)

    def waiting(self, who: str, for_what: str, limit_s: float | None = None) -> None:
        self.waits.append(Waiting(who, for_what, limit_s))

    def of(self, entry_type: type[EntryType]) -> list[EntryType]:
        """Return all entries of a type, in order."""
        return [entry for entry in self.entries if isinstance(entry, entry_type)]

    async def until(self, condition: Callable[[FakeRecord], bool]) -> None:
        """Wait until a condition holds of what was written."""
        async with asyncio.timeout(patience_s()), self._changed:
            await self._changed.wait_for(lambda: condition(self))
