# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Something that happens again and again, with any number of tasks that wait for the next time."""

from __future__ import annotations

import asyncio

__all__ = ["News"]


class News:
    """A counter that can be waited for.

    Unlike an event that each reader clears, no reader can take the news away from another.
    """

    def __init__(self) -> None:
        self.count = 0
        self._next = asyncio.Event()

    def tell(self) -> None:
        """Wake everybody who waits."""
        self.count += 1
        self._next.set()
        self._next = asyncio.Event()

    async def since(self, count: int) -> None:
        """Wait until there is more than was known at some count."""
        while self.count == count:
            await self._next.wait()
