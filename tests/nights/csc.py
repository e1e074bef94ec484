# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The CSC of one process, without SAL: its claim on the journal, its runs, connected to the night's world."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

from lsst.ts import utils
from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.record.events import Event
from lsst.ts.comcamcalib.run.claim import Claim
from lsst.ts.comcamcalib.run.owner import JournalError, JournalLostError
from lsst.ts.comcamcalib.run.run import Run
from lsst.ts.comcamcalib.run.runner import Runner
from lsst.ts.comcamcalib.services.jobs import JobService
from lsst.ts.comcamcalib.stages.context import Services
from support.reporter import FakeReporter

from .listener import Listener
from .virtual_loop import OutsideClock
from .world import NightWorld

__all__ = ["Csc"]

REPORT_S = 20.0
"""How long it takes to write a report (seconds)."""

REPAIR_S = 5.0
"""How long it takes somebody to start the CSC again after a FAULT (seconds)."""


class Csc:
    """What the CSC does with runs and journal; see `lsst.ts.comcamcalib.csc.ComCamCalibCsc`.

    Parameters
    ----------
    world
        What is outside.
    config
        The CSC's configuration.
    publish
        Called with each event.
    """

    def __init__(self, world: NightWorld, config: CscConfig, publish: Callable[[Event], None]) -> None:
        self.world = world
        self.config = config
        self._clock = OutsideClock(world)
        self._published = publish
        self.claim = Claim(
            self._publish,
            self._clock,
            on_open=self._on_runner,
            on_unusable=self._on_unusable,
            on_lost=self._on_lost,
        )
        self.opened = asyncio.Event()
        """Set while the journal is open."""
        self.lost = asyncio.Event()
        """Set when another process has taken over the journal."""
        self.fault = ""
        """What is published with the FAULT after that."""
        self.stops = 0
        """How often the process was stopped for a while."""
        self.ears: list[Listener] = []
        self._jobs: JobService | None = None
        self._services: Services | None = None
        # Whether somebody must start the CSC again, and the task in which that is done.
        self._unusable = asyncio.Event()
        self._serving: asyncio.Task[None] = utils.make_done_future()
        self._losing: asyncio.Task[None] = utils.make_done_future()
        self.run: Run | None = None
        """The latest run when the CSC was closed."""

    @property
    def runner(self) -> Runner | None:
        """What carries out the commands; None while the journal is not open."""
        return self.claim.runner

    def running(self) -> Runner:
        """Return what carries out a command.

        Raises
        ------
        BadInputError
            If the journal is not open.
        """
        if self.claim.runner is None:
            raise BadInputError([self.claim.problem or "The journal is not open."])
        return self.claim.runner

    @property
    def state(self) -> RunState | None:
        """State of the latest run; None if there is none."""
        runner = self.claim.runner
        return runner.run.state if runner is not None and runner.run is not None else None

    # Claim

    async def _publish(self, event: Event) -> None:
        await asyncio.sleep(0)
        if "broker down" in self.world.down:
            raise RuntimeError("KafkaError: Local: Message timed out")
        self.world.on_made(f"{type(event).__name__} published")
        self._published(event)

    async def _backend(self, reachable: bool, sentence: str) -> None:
        if self.claim.runner is not None:
            self.claim.runner.backend(reachable, sentence)

    def _on_runner(self, runner: Runner) -> None:
        self.opened.set()
        if self._services is not None:
            runner.connect(self._services)

    async def _on_unusable(self, _sentence: str) -> None:
        self.world.seen["FAULT: journal unusable"] += 1
        await self._leave()
        self._unusable.set()

    def _on_lost(self, sentence: str) -> None:
        self.lost.set()
        self._losing = asyncio.create_task(self._lose(sentence), name="FAULT: journal lost")

    async def _lose(self, sentence: str) -> None:
        self.world.seen["FAULT: journal lost"] += 1
        await self._leave()
        self.fault = sentence

    async def _leave(self) -> None:
        """Go to FAULT or STANDBY."""
        await self.disable()
        self.opened.clear()
        await self.claim.close()

    # States

    def start(self) -> None:
        """Go to ENABLED, and again after each FAULT because of a journal that can't be used at the moment."""
        self._serving = asyncio.create_task(self._serve(), name="states")

    async def _serve(self) -> None:
        while not self.lost.is_set():
            self._unusable.clear()
            await self.claim.open(self.config)
            if not self._unusable.is_set():
                self.enable()
            await self._unusable.wait()
            await asyncio.sleep(REPAIR_S)

    async def refused(self, error: BadInputError | JournalError) -> None:
        """Go to FAULT if a command failed because the journal can't be used."""
        runner = self.claim.runner
        unusable = isinstance(error, JournalError) and not isinstance(error, JournalLostError)
        if unusable and runner is not None and not (runner.open_run or runner.unwritten):
            await self._on_unusable(str(error))

    def enable(self) -> None:
        """Connect to the observatory."""
        if self.ears or self.lost.is_set():
            return
        limits, interval_s = self.config.limits, self.config.uws_poll_interval_s
        one = Listener(self.world, limits, self.claim.confirm)
        self.ears.append(one)
        self.world.listeners.append(one)
        self._jobs = JobService(one.ocps, one.uws, interval_s, limits, self._clock, self._backend, self.config.repo)
        self._services = Services(
            camera=one.camera,
            components=one.components,
            oods=one.oods,
            jobs=self._jobs,
            uws=one.uws,
            repository=one.repository,
            reporter=FakeReporter(REPORT_S),
        )
        if self.claim.runner is not None:
            self.claim.runner.connect(self._services)

    async def disable(self) -> None:
        """Interrupt the open run and disconnect."""
        jobs, self._jobs, self._services = self._jobs, None, None
        # If it is being disabled already, that closes the connections.
        ears = tuple(self.ears) if jobs is not None else ()
        if self.claim.runner is not None:
            await self.claim.runner.disconnect("The CSC went to DISABLED")
        closing = [jobs.close()] if jobs is not None else []
        for one in ears:
            self.ears.remove(one)
            self.world.listeners.remove(one)
            closing.append(one.repository.close())
        await asyncio.gather(*closing)

    async def close(self) -> None:
        """End as the CSC does, also at SIGTERM."""
        self._serving.cancel()
        await asyncio.gather(self._serving, self._losing, return_exceptions=True)
        self.run = self.claim.runner.run if self.claim.runner is not None else None
        await self._leave()

    def die(self) -> None:
        """Leave what a killed process leaves: what is written, and no connection."""
        journal: Any = self.claim._journal
        connection: sqlite3.Connection | None = journal._file.connection if journal is not None else None
        if connection is not None:
            connection.close()
