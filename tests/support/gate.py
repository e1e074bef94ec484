# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a fake waits for the test."""

from __future__ import annotations

import asyncio

from support.clock import patience_s

__all__ = ["Gate"]


class Gate:
    """A place where a fake stops until the test lets it go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def pass_through(self) -> None:
        """Tell that somebody is here, and wait until the gate is open."""
        self.reached.set()
        await self.opened.wait()

    async def until_reached(self) -> None:
        """Wait until somebody stands at the gate."""
        async with asyncio.timeout(patience_s()):
            await self.reached.wait()

    def open(self) -> None:
        """Let everybody through."""
        self.opened.set()
