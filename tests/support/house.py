# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A runner over the fakes, and the world that hears what it publishes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.enums import RunState, StageState
from lsst.ts.comcamcalib.record.events import Alarms, Certification, Event, RunStatus, StageStatus
from lsst.ts.comcamcalib.run.journal import Journal
from lsst.ts.comcamcalib.run.runner import Runner, StartRequest

from support.clock import patience_s
from support.plans import SMALL
from support.services import Observatory
from support.world import World

__all__ = ["House"]

EventType = TypeVar("EventType")
DEATH_TURNS = 20
ENDED = (RunState.COMPLETED, RunState.FAILED, RunState.ABORTED, RunState.INTERRUPTED)


class House:
    """One CSC's worth of journal, runner and services; `restart` is the death of the process."""

    def __init__(self, config: CscConfig, path: Path, observatory: Observatory | None = None) -> None:
        self.config = config
        self.path = path
        self.observatory = observatory or Observatory.of(World(config))
        self.published: list[Event] = []
        self.on_published: Callable[[Event], None] = lambda event: None
        self.dead = False
        self.clock = Clock()
        self.lost: list[str] = []
        """Why the journal was lost to another process."""
        self._changed = asyncio.Condition()

    async def open(self) -> House:
        """Open the journal, start the runner and connect it."""
        self.journal = Journal(self.path, self.clock, self.lost.append)
        await self.journal.open()
        self.runner = Runner(self.config, self.journal, self.publish, self.clock)
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
        self.observatory.jobs.forget()
        self.observatory.oods.subscribers.clear()

    async def reborn(self, config: CscConfig | None = None) -> House:
        """End the process at once, and start another on the same journal and observatory."""
        await self.die()
        return await House(config or self.config, self.path, self.observatory).open()

    def make_read_only(self) -> None:
        """Let nothing be written to the journal from now on, as on a disk that went read-only."""
        assert self.journal._file.connection is not None
        self.journal._file.connection.execute("PRAGMA query_only = ON")

    def make_writable(self) -> None:
        """Let the journal be written again."""
        assert self.journal._file.connection is not None
        self.journal._file.connection.execute("PRAGMA query_only = OFF")

    async def publish(self, event: Event) -> None:
        """Hear an event."""
        if self.dead:
            return
        self.published.append(event)
        self.on_published(event)
        await asyncio.sleep(0)  # a broker is not as fast as that, so others have their turn meanwhile
        async with self._changed:
            self._changed.notify_all()

    async def start(self, **options: Any) -> str:
        """Start a small run with some options changed."""
        text = json.dumps({**SMALL, **options})
        return await self.runner.start_run(StartRequest(text, "", "", "", "op@console"))

    async def interrupted(self) -> str:
        """Start a run of biases, leave ENABLED while its first job executes, and come back; return the run's id."""
        jobs = self.observatory.jobs
        jobs.hold("cpBias")
        run_id = await self.start(script_mode="BIAS", oods_timeout=0.1)
        await jobs.until_executing("cpBias")
        await self.runner.disconnect("The CSC went to DISABLED")
        assert self.status.state is RunState.INTERRUPTED
        jobs.held.clear()
        self.runner.connect(self.observatory.services)
        return run_id

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds; it is looked at after each event."""
        async with asyncio.timeout(patience_s()), self._changed:
            await self._changed.wait_for(condition)

    async def ended(self) -> RunStatus:
        """Wait until the run has ended, or was interrupted, and nothing of it goes on."""
        await self.until(lambda: self.status.state in ENDED)
        if self.runner.run is not None:
            await self.runner.run.wait_ended()
        return self.status

    def of(self, event_type: type[EventType]) -> list[EventType]:
        """Return all that was published of a type."""
        return [event for event in self.published if isinstance(event, event_type)]

    @property
    def status(self) -> RunStatus:
        """What was published last of the run."""
        return self.of(RunStatus)[-1]

    @property
    def alarms(self) -> Alarms:
        """What was published last of the alarms."""
        return self.of(Alarms)[-1]

    @property
    def states(self) -> dict[str, StageState]:
        """What was published last of each stage."""
        return {stage.stage_name: stage.state for stage in self.of(StageStatus)}

    @property
    def reasons(self) -> dict[str, str]:
        """Why each stage is in its state."""
        return {stage.stage_name: stage.reason for stage in self.of(StageStatus)}

    @property
    def certified(self) -> set[str]:
        """Dataset types of which a certification was published."""
        return {one.dataset_type for one in self.of(Certification)}
