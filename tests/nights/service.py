# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one process of a night does: the CSC, and the operator who commands it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.record.events import Event

from .csc import Csc
from .operating import Operator, Outcome
from .world import NightWorld

__all__ = ["Service"]


class Service(Csc):
    """The CSC in a process of its own, from its start to the end of the run, or to SIGTERM.

    Parameters
    ----------
    world, config, publish
        See `Csc`.
    outcome
        What goes on from process to process.
    """

    def __init__(
        self, world: NightWorld, config: CscConfig, publish: Callable[[Event], None], outcome: Outcome
    ) -> None:
        super().__init__(world, config, publish)
        self._outcome = outcome
        self._ending = asyncio.Event()
        self.over = False
        """Whether the run is over."""

    @property
    def owns(self) -> bool:
        """Whether it has the journal, as far as it knows."""
        return self.claim.runner is not None and not self.lost.is_set()

    def terminate(self) -> None:
        """End in order, as at SIGTERM."""
        self._ending.set()

    async def work(self) -> None:
        """Do it, to the end; a process that has lost its journal stays in FAULT until somebody ends it."""
        self.start()
        operator = asyncio.create_task(Operator(self, self._outcome).work(), name="operator")
        ends = [asyncio.create_task(one.wait(), name="end") for one in (self._ending, self.lost)]
        await asyncio.wait([operator, *ends], return_when=asyncio.FIRST_COMPLETED)
        if operator.done():
            operator.result()
            self.over = True
        operator.cancel()
        if self.lost.is_set():
            await self._ending.wait()
        for one in ends:
            one.cancel()
        await self.close()
