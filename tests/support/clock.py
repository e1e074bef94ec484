# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""An event loop whose clock leaps over waits, so that limits of minutes are exact and cost no time."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

__all__ = ["LeapingLoop", "LeapingPolicy", "patience_s"]

# If nothing is planned and nothing happens for so long (seconds), nothing will.
DEADLOCK_S = 20.0


class _LeapingSelector(selectors.SelectSelector):
    """Looks for input and output once; if there is none, the time that was to be waited is over at once."""

    def __init__(self) -> None:
        super().__init__()
        self.leapt_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            events = super().select(DEADLOCK_S)
            if not events:
                raise RuntimeError(f"Nothing is planned, and nothing happened for {DEADLOCK_S:g} s: a deadlock")
            return events
        self.leapt_s += timeout
        return events


class LeapingLoop(asyncio.SelectorEventLoop):
    """A loop for tests that wait for nothing outside of it; a thread would find its limits gone at once."""

    def __init__(self) -> None:
        self._leaping = _LeapingSelector()
        super().__init__(self._leaping)

    def time(self) -> float:
        """Return the time of the loop (seconds), leaps included."""
        return super().time() + self._leaping.leapt_s


class LeapingPolicy(asyncio.DefaultEventLoopPolicy):
    """Makes such loops."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """Return a new loop."""
        return LeapingLoop()


def patience_s() -> float:
    """Return how long a test may wait for what must come (seconds).

    On a leaping clock the end of the longest wait means that nothing else was planned.
    """
    return 1e9 if isinstance(asyncio.get_running_loop(), LeapingLoop) else 20.0
