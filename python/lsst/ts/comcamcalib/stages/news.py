# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A recurring event for which any number of tasks can wait."""

from __future__ import annotations

import asyncio

__all__ = ["News"]


class News:
    """A counter that can be waited for.

    Unlike an event that readers clear, one reader can't hide the news from another.
    """

    def __init__(self) -> None:
        self.count = 0
        self._next = asyncio.Event()

    def wake(self) -> None:
        """Wake all tasks that wait."""
        self.count += 1
        self._next.set()
        self._next = asyncio.Event()

    async def since(self, count: int) -> None:
        """Wait until the counter is above a given count."""
        while self.count == count:
            await self._next.wait()
