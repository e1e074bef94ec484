# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The time of a night, what happens in it, and who listens to it."""

from __future__ import annotations

import collections
import functools
import heapq
import itertools
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from lsst.ts.comcamcalib.services.oods import IngestNotice

from .faults import NightPlan

if TYPE_CHECKING:
    from .camera_world import Image

__all__ = ["Audience", "Timeline"]

EPOCH_S = 1_795_000_000.0
"""About when a night begins (TAI unix seconds): 2026-11-18."""

DAY_S = 86400.0


class Audience(Protocol):
    """A process that listens."""

    def hear(self, send: Callable[[Audience], None]) -> None:
        """Get something that was published, now or when the process goes on."""

    def on_start(self, image: Image) -> None:
        """An image began."""

    def on_end(self, image: Image) -> None:
        """An image was read out."""

    def on_notice(self, notice: IngestNotice) -> None:
        """A file was ingested, or was not."""

    def on_result(self, job_id: str, exit_code: int) -> None:
        """A job ended."""

    def on_taken(self, error: str) -> None:
        """The camera's command is over; with an error if the text is not empty."""

    def on_camera_fault(self) -> None:
        """The camera went to FAULT."""

    def on_answer(self, number: int, result: str, error: str) -> None:
        """The OCPS has answered a command: with a result such as the id of a job, or an error."""


class Timeline:
    """What happens when; it goes on whatever becomes of the process.

    What is published while nobody listens is lost, as on the bus.

    Parameters
    ----------
    plan
        What goes wrong.
    """

    def __init__(self, plan: NightPlan) -> None:
        self.plan = plan
        self.time_s = 0.0
        self.listeners: list[Audience] = []
        """The processes that are connected."""
        self.seen: collections.Counter[str] = collections.Counter()
        """How often each fault happened."""
        self.down: dict[str, float] = {}
        """Periods that are going on, and until when (seconds of the night)."""
        self.on_act: Callable[[str], None] = lambda _what: None
        """Called after each change that a process has caused outside."""
        self.on_made: Callable[[str], None] = lambda _what: None
        """Called by a process that changes something outside, at the moment from which it can't be stopped."""
        self.on_stop: Callable[[float], None] = lambda _seconds: None
        """Called to stop a process for some time (seconds), as with SIGSTOP."""
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._counts: collections.Counter[str] = collections.Counter()
        self._streams: dict[str, random.Random] = {}
        # Some nights go over noon TAI, where the day of observation changes.
        dice = self.dice("epoch")
        noon_s = (EPOCH_S // DAY_S + 0.5) * DAY_S
        self.epoch_s = EPOCH_S if dice.random() < 0.8 else noon_s - dice.uniform(1.0, 900.0)
        self.set_back_s = 0.0
        for one in (*plan.of("period"), *plan.of("later period"), *plan.of("instant")):
            self.at(one.at_s, lambda one=one: self._begin(one.what, one.seconds))  # type: ignore[misc]

    @property
    def next_s(self) -> float | None:
        """When something happens next (seconds of the night)."""
        return self._events[0][0] if self._events else None

    def happen(self) -> None:
        """Let the next event happen."""
        time_s, _, event = heapq.heappop(self._events)
        self.time_s = max(self.time_s, time_s)
        event()

    def at(self, time_s: float, event: Callable[[], None]) -> None:
        """Let something happen at a time (seconds of the night)."""
        heapq.heappush(self._events, (time_s, next(self._order), event))

    def after(self, delay_s: float, event: Callable[[], None]) -> None:
        """Let something happen after some time (seconds)."""
        self.at(self.time_s + delay_s, event)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in which there is no process, or none that does anything."""
        until_s = self.time_s + seconds
        while self._events and self._events[0][0] <= until_s:
            self.happen()
        self.time_s = max(self.time_s, until_s)

    @property
    def true_tai_s(self) -> float:
        """The time (TAI unix seconds)."""
        return self.epoch_s + self.time_s

    def tai(self) -> float:
        """Return what the clock of the process's machine shows (TAI unix seconds)."""
        return self.true_tai_s - self.set_back_s

    def dice(self, name: str) -> random.Random:
        """Return the dice of one thing, which do not depend on those of others."""
        if name not in self._streams:
            self._streams[name] = random.Random(f"{self.plan.seed} {name}")
        return self._streams[name]

    def faults_of_next(self, where: str) -> frozenset[str]:
        """Count one more of its kind; return what goes wrong with it."""
        self._counts[where] += 1
        faults = frozenset(one.what for one in self.plan.of(where) if one.number == self._counts[where])
        self.seen.update(f"{where}: {what}" for what in faults)
        return faults

    def _begin(self, what: str, seconds: float) -> None:
        self.seen[what] += 1
        if what == "clock set back":
            self.set_back_s += self.dice("clock").uniform(1.0, 900.0)
        elif what == "stopped":
            self.on_stop(seconds)
        elif seconds:
            until_s = self.time_s + seconds
            self.down[what] = max(until_s, self.down.get(what, 0.0))
            self.at(until_s, lambda: self.down.pop(what) if self.down.get(what) == until_s else None)
        else:
            self.strike(what)

    def strike(self, what: str) -> None:
        """Let something else happen that is no period."""
        raise NotImplementedError(what)

    def publish(self, delay_s: float, send: Callable[[Audience], None]) -> None:
        """Send something to all who listen now, and still do when it arrives; the bus keeps it while it is down."""
        for one in self.listeners:
            self.after(delay_s + self.bus_delay_s, functools.partial(self._deliver, one, send))

    def _deliver(self, audience: Audience, send: Callable[[Audience], None]) -> None:
        if audience in self.listeners:
            audience.hear(send)

    @property
    def bus_delay_s(self) -> float:
        """How long everything on the bus is kept at least (seconds)."""
        return max(self.down.get("broker down", 0.0) - self.time_s, 0.0)
