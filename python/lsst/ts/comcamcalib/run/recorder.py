# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of one run: its facts go to the journal, and what follows from them is published."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Mapping

from lsst.ts import utils

from ..clock import Clock
from ..enums import CalibType, StageState
from ..errors import ServiceError, StageError
from ..measurements import Trend
from ..record.events import Event
from ..record.facts import Entry, Fact
from ..record.fold import apply
from ..record.history import History
from ..record.views import all_events, events_after
from ..services.components import Unwell
from .journal import Journal
from .owner import JournalError, JournalLostError

__all__ = ["Publish", "Recorder", "Wait"]

Publish = Callable[[Event], Awaitable[None]]
"""Publishes an event."""

# Time between two attempts to write to the journal after a failure (seconds).
RETRY_INTERVAL_S = 1.0

# Longest time between two attempts to publish what could not be published (seconds); it may be that it never can.
MAX_PUBLISH_PAUSE_S = 60.0


@dataclasses.dataclass(frozen=True)
class Wait:
    """What a stage is waiting for, and until when at the latest (TAI unix seconds, 0: no limit)."""

    for_what: str
    until: float


@dataclasses.dataclass(eq=False)
class _Pending:
    """A fact on its way, and who waits for it."""

    entry: Entry
    history: History
    seen: asyncio.Future[None]
    """Done when the fact was written, or could not be written at the first attempt, and was published."""
    durable: asyncio.Future[None]
    """Done when the fact was written."""


class Recorder:
    """The record of one run; implements `lsst.ts.comcamcalib.record.record.Record`.

    One task writes and publishes the facts in their order. While the journal can't be written, what has happened is
    published all the same and kept to be written; what is about to be done waits, and is not done.

    Parameters
    ----------
    history
        What follows from the facts that the journal has.
    journal
        Where facts are written.
    publish
        Publishes an event.
    clock
        The clock.
    """

    def __init__(self, history: History, journal: Journal, publish: Publish, clock: Clock) -> None:
        self._history = history
        self._journal = journal
        self._publish = publish
        self._clock = clock
        self._log = logging.getLogger(__name__)
        self.journal_problem = ""
        """Why the latest facts are not in the journal; empty if they are."""
        self.lost = ""
        """Why this process may not write the journal any more; empty if it may."""
        self.unwell: tuple[Unwell, ...] = ()
        """Other components that the run needs and that are not ENABLED or send no heartbeat."""
        self._waits: dict[str, Wait] = {}
        self._not_known: dict[str, str] = {}
        self._changed = asyncio.Event()  # set, and replaced, when the history has changed
        self._unpublished: list[_Pending] = []
        self._unwritten: list[_Pending] = []
        # Whether an event could not be published, so that the latest of each thing must be published again.
        self._stale = False
        # Until when the journal, which did not answer, is not asked again who owns it (seconds of the clock).
        self._ask_again_s = 0.0
        self._wake = asyncio.Event()
        self._closed = False
        self._task: asyncio.Task[None] = utils.make_done_future()

    # Record

    @property
    def history(self) -> History:
        """What follows from the facts so far."""
        return self._history

    async def intend(self, fact: Fact) -> None:
        """Record what is about to be done outside; see `Record.intend`."""
        limit_s = self._history.plan.config.limits.journal
        if self.lost:
            raise StageError(f"It was not done: {self.lost}")
        pending = self._add(fact)
        await asyncio.wait([pending.durable], timeout=limit_s)
        if self.lost or not pending.durable.done() or pending.durable.cancelled():
            raise StageError(
                "It could not be written down, so it was not done: "
                f"{self.lost or self.journal_problem or f'the journal did not answer within {limit_s:g} s'}"
            )

    async def note(self, fact: Fact) -> None:
        """Record what has happened; see `Record.note`."""
        # The task that writes goes on if this is cancelled.
        await asyncio.wait([self._add(fact).seen])

    async def until(self, condition: Callable[[History], bool]) -> None:
        """Wait until the history fulfils a condition."""
        while not condition(self._history):
            await self._changed.wait()

    async def trends(
        self, calib_type: CalibType, physical_filter: str, runs: int, depths: Mapping[int, Mapping[str, float]]
    ) -> Mapping[tuple[int, str, str], Trend]:
        """Return what the latest earlier runs measured in a product; see `Record.trends`."""
        try:
            return await self._journal.trends(calib_type, physical_filter, runs, self._history.run_id, depths)
        except JournalError as error:
            raise ServiceError(str(error)) from error

    def waiting(self, who: str, for_what: str, limit_s: float | None = None) -> None:
        """Show in the telemetry what a stage is doing or waiting for; see `Record.waiting`."""
        self._waits[who] = Wait(for_what, self._clock.tai() + limit_s if limit_s is not None else 0.0)

    def not_known(self, who: str, problem: str) -> None:
        """Raise an alarm because a stage can't find out what it has done; see `Record.not_known`."""
        self._not_known[who] = problem

    # For the run and the commands

    @property
    def waits(self) -> dict[str, Wait]:
        """What each RUNNING stage is waiting for."""
        running = self._running
        return {who: wait for who, wait in self._waits.items() if who in running}

    @property
    def doubts(self) -> list[str]:
        """What RUNNING stages can't find out, a sentence each."""
        running = self._running
        return [f"{who}: {problem}" for who, problem in self._not_known.items() if problem and who in running]

    @property
    def _running(self) -> set[str]:
        return {stage.name for stage in self._history.stages_in(StageState.RUNNING)}

    @property
    def unwritten(self) -> bool:
        """Whether facts are not in the journal yet; they would be lost with the process."""
        return bool(self._unwritten)

    async def publish_all(self) -> None:
        """Publish the latest event of each thing again, one after the other; what fails is tried again later."""
        if not all([await self._has_published(event) for event in all_events(self._history)]):
            self._begin_task()

    async def flush(self) -> None:
        """Try at once to write what is not in the journal yet; `journal_problem` shows whether that succeeded."""
        if self._unwritten and not self.lost:
            await self._write()
            self._wake.set()  # the task that tries again need not wait for that any more

    def abandon(self, reason: str) -> None:
        """Neither write nor publish any more, because another process does."""
        self.lost = self.lost or reason
        for pending in self._unwritten:
            pending.durable.cancel()
        self._wake.set()

    async def close(self) -> None:
        """Write what is not in the journal yet, if that is possible, and end."""
        self._closed = True
        self._wake.set()
        await asyncio.wait([self._task])
        await self.flush()
        if self._unwritten:
            self._log.error(
                "Run %s is %s, but %d facts of it are not in the journal yet: after a restart the run is shown as it "
                "was earlier, and what it did since is looked for when it is resumed or aborted. %s",
                *(self._history.run_id, self._history.state.name, len(self._unwritten)),
                self.lost or self.journal_problem,
            )
        for pending in self._unwritten:
            pending.durable.cancel()

    # The task that writes and publishes

    def _add(self, fact: Fact) -> _Pending:
        entry = Entry(self._history.seq + 1, self._clock.tai(), fact)
        self._history = apply(self._history, entry)
        loop = asyncio.get_running_loop()
        pending = _Pending(entry, self._history, loop.create_future(), loop.create_future())
        self._unpublished.append(pending)
        self._unwritten.append(pending)
        self._wake.set()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        self._begin_task()
        return pending

    def _begin_task(self) -> None:
        if self._task.done():
            name = f"record of run {self._history.run_id}"
            self._task = asyncio.create_task(self._write_and_publish(), name=name)

    async def _write_and_publish(self) -> None:
        """Write and publish what is there; what fails is tried again until it succeeds."""
        write_at = publish_at = 0.0
        pause_s = RETRY_INTERVAL_S
        while self._unpublished or ((self._unwritten or self._stale) and not (self._closed or self.lost)):
            self._wake.clear()
            now = self._clock.monotonic()
            if self._unwritten and not self.lost and (not self.journal_problem or now >= write_at):
                await self._write()
                write_at = self._clock.monotonic() + RETRY_INTERVAL_S
            while self._unpublished:
                await self._publish_next()
            if self._stale and not self.lost and self._clock.monotonic() >= publish_at:
                await self._publish_again()
                publish_at = self._clock.monotonic() + pause_s
                pause_s = min(2 * pause_s, MAX_PUBLISH_PAUSE_S)
            if not self.lost and not self._closed:
                await self._pause(write_at, publish_at)

    async def _pause(self, write_at: float, publish_at: float) -> None:
        """Wait until there are new facts or it is time to try again, if anything has failed."""
        retries = [write_at] * bool(self._unwritten and self.journal_problem) + [publish_at] * self._stale
        if not retries:
            return
        try:
            async with asyncio.timeout(max(min(retries) - self._clock.monotonic(), 0.0)):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _write(self) -> None:
        batch = list(self._unwritten)
        try:
            await self._journal.append(
                self._history.run_id, [pending.entry for pending in batch], batch[-1].history.state
            )
        except JournalLostError as error:
            self.abandon(str(error))
        except JournalError as error:
            if str(error) != self.journal_problem:
                self._log.error(
                    "%s. What is in progress goes on, nothing new is done, and the CSC tries to write the journal "
                    "again every %g s.",
                    error,
                    RETRY_INTERVAL_S,
                )
            self.journal_problem = str(error)
        else:
            if self.journal_problem:
                self._log.warning("The journal can be written again: it has run %s as it is now.", self._history.run_id)
            self.journal_problem = ""
            # Another call may have written the same facts meanwhile.
            self._unwritten = [pending for pending in self._unwritten if pending not in batch]
            for pending in batch:
                if not pending.durable.done():
                    pending.durable.set_result(None)

    async def _publish_next(self) -> None:
        pending = self._unpublished[0]
        for event in events_after(pending.entry.fact, pending.history):
            await self._has_published(event)
        del self._unpublished[0]
        if not pending.seen.done():
            pending.seen.set_result(None)

    async def _has_published(self, event: Event) -> bool:
        """Publish an event; return whether that was possible. Otherwise the latest of each thing is published later.

        A failure must not keep a run from its end. If publishing keeps failing, the telemetry sends the CSC to FAULT.
        """
        await self._look_whether_lost()
        if self.lost:
            return False
        try:
            await self._publish(event)
        except Exception:
            if not self._stale:
                run_id, name = self._history.run_id, type(event).__name__
                self._log.exception("Run %s: %s could not be published, and is tried again", run_id, name)
            self._stale = True
            return False
        return True

    async def _look_whether_lost(self) -> None:
        """See whether another process has gone on with the run while this one was stopped, and has published more."""
        if self.lost or self._clock.monotonic() < self._ask_again_s:
            return
        try:
            await self._journal.confirm()
        except JournalLostError as error:
            self.abandon(str(error))
        except JournalError:
            # What has happened is published all the same, and not after one wait for the journal for each event.
            self._ask_again_s = self._clock.monotonic() + RETRY_INTERVAL_S

    async def _publish_again(self) -> None:
        """Publish the latest of each thing after a failure, so that nobody is left with what was before."""
        if all([await self._has_published(event) for event in all_events(self._history)]):
            self._stale = False
            self._log.warning("Run %s: events can be published again.", self._history.run_id)
