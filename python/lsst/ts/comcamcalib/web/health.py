# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the event loop of the process keeps time."""

from __future__ import annotations

import asyncio
import collections

from . import data

__all__ = ["LoopWatch"]

BEAT_S = 0.5
"""Time between two beats (seconds)."""

MEMORY_S = 60.0
"""For how long a delay is remembered (seconds)."""

STALLED_S = 5.0
"""A loop that stood still for longer is not healthy: the CSC's heartbeat has a second (seconds)."""


class LoopWatch:
    """Measures how late the event loop is."""

    def __init__(self) -> None:
        # Time of the loop and delay of each beat.
        self._delays: collections.deque[tuple[float, float]] = collections.deque(maxlen=int(MEMORY_S / BEAT_S))

    async def run(self) -> None:
        """Measure until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            begin_s = clock()
            await asyncio.sleep(BEAT_S)
            self._delays.append((clock(), clock() - begin_s - BEAT_S))

    def worst_s(self) -> float:
        """Return the longest delay within the last minute (seconds)."""
        since_s = asyncio.get_running_loop().time() - MEMORY_S
        return max((delay_s for at_s, delay_s in self._delays if at_s >= since_s), default=0.0)

    def health(self) -> data.Health:
        """Return whether the loop keeps time."""
        worst_s = max(self.worst_s(), 0.0)
        return data.Health(healthy=worst_s < STALLED_S, loop_delay_s=round(worst_s, 3))
