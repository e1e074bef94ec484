# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Silence of a simulated CSC: its heartbeat stops, as when its process is gone or stands still."""

from __future__ import annotations

import asyncio
from typing import Any

from lsst.ts import salobj

from .faults import Fault, Faults

__all__ = ["Silence"]


class Silence:
    """Stops the heartbeat of a CSC while `last` is awaited.

    What the CSC does with commands meanwhile is its own affair.

    Parameters
    ----------
    csc
        The CSC, which has not begun to send heartbeats yet.
    """

    def __init__(self, csc: salobj.BaseCsc) -> None:
        self._depth = 0
        self._over = asyncio.Event()
        self._over.set()
        self._write = csc.evt_heartbeat.write
        csc.evt_heartbeat.write = self._write_unless_silent

    async def last(self, faults: Faults, fault: Fault) -> None:
        """Be silent for ``fault.value`` seconds of the clock (0: without limit), while the fault is in force."""
        self._depth += 1
        self._over.clear()
        try:
            await faults.until_over(fault, fault.value)
        finally:
            self._depth -= 1
            if not self._depth:
                self._over.set()

    @property
    def is_on(self) -> bool:
        """Whether the CSC is silent."""
        return bool(self._depth)

    async def over(self) -> None:
        """Wait until the CSC is not silent."""
        await self._over.wait()

    async def _write_unless_silent(self) -> Any:
        return None if self._depth else await self._write()
