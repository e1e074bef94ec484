# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A runner over the fakes, and the world that hears what it tells."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.enums import RunState, StageState
from lsst.ts.comcamcalib.plan.record import Alarms, Certification, Entry, RunStatus, StageStatus
from lsst.ts.comcamcalib.run.journal import Journal
from lsst.ts.comcamcalib.run.runner import Runner, StartRequest

from support.clock import patience_s
from support.plans import SMALL
from support.services import Observatory
from support.world import World

__all__ = ["House"]

EntryType = TypeVar("EntryType")
DEATH_TURNS = 20
ENDED = (RunState.COMPLETED, RunState.FAILED, RunState.ABORTED, RunState.INTERRUPTED)


class House:
    """One CSC's worth of journal, runner and services; `restart` is the death of the process."""

    def __init__(self, config: CscConfig, path: Path, observatory: Observatory | None = None) -> None:
        self.config = config
        self.path = path
        self.observatory = observatory or Observatory.of(World(config))
        self.told: list[Entry] = []
        self.on_told: Callable[[Entry], None] = lambda entry: None
        self.dead = False
        self._changed = asyncio.Condition()

    async def open(self) -> House:
        """Open the journal, start the runner and connect it."""
        self.journal = Journal(self.path)
        await self.journal.open()
        self.runner = Runner(self.config, self.journal, self.tell)
        await self.runner.start()
        self.runner.connect(self.observatory.services)
        return self

    async def close(self) -> None:
        """Leave ENABLED and close the journal."""
        if self.dead:
            return
        await self.runner.disconnect("The test is over")
        await self.runner.close()
        await self.journal.close()

    async def die(self) -> None:
        """End the process at once: nothing more is written or published, whatever was going on."""
        self.dead = True
        await self.journal.close()
        for _ in range(DEATH_TURNS):
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)

    async def tell(self, entry: Entry) -> None:
        """Hear an entry."""
        if self.dead:
            return
        self.told.append(entry)
        self.on_told(entry)
        async with self._changed:
            self._changed.notify_all()

    async def start(self, **options: Any) -> str:
        """Start a small run with some options changed."""
        text = json.dumps({**SMALL, **options})
        return await self.runner.start_run(StartRequest(text, "", "", "", "op@console"))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds; it is looked at after each entry."""
        async with asyncio.timeout(patience_s()), self._changed:
            await self._changed.wait_for(condition)

    async def ended(self) -> RunStatus:
        """Wait until the run has ended, or was interrupted, and nothing of it goes on."""
        await self.until(lambda: self.status.state in ENDED)
        if self.runner._run is not None:
            await self.runner._run.wait_ended()
        return self.status

    def of(self, entry_type: type[EntryType]) -> list[EntryType]:
        """Return all that was told of a type."""
        return [entry for entry in self.told if isinstance(entry, entry_type)]

    @property
    def status(self) -> RunStatus:
        """What was told last of the run."""
        return self.of(RunStatus)[-1]

    @property
    def alarms(self) -> Alarms:
        """What was told last of the alarms."""
        return self.of(Alarms)[-1]

    @property
    def states(self) -> dict[str, StageState]:
        """What was told last of each stage."""
        return {stage.stage_name: stage.state for stage in self.of(StageStatus)}

    @property
    def reasons(self) -> dict[str, str]:
        """Why each stage is in its state."""
        return {stage.stage_name: stage.reason for stage in self.of(StageStatus)}

    @property
    def certified(self) -> set[str]:
        """Dataset types of which a certification was told."""
        return {one.dataset_type for one in self.of(Certification)}
