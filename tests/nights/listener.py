# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A process as the world sees it: who listens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.services.oods import IngestNotice
from lsst.ts.comcamcalib.services.permission import Permission

from .camera_world import Image
from .clients import NightCamera, NightComponents, NightOcps, NightOods, NightUws
from .repository import NightRepository
from .timeline import Audience
from .world import NightWorld

__all__ = ["Listener"]


class Listener:
    """All clients of one process.

    Parameters
    ----------
    world
        What is outside.
    limits
        The product's limits of time.
    permission
        Whether the process may do anything outside.
    """

    def __init__(self, world: NightWorld, limits: Limits, permission: Permission) -> None:
        self._loop = asyncio.get_running_loop()
        self.held: list[Callable[[Audience], None]] | None = None
        """What was published while the process was stopped; None if it is not."""
        self.camera = NightCamera(world, limits, permission)
        self.oods = NightOods()
        self.components = NightComponents(world)
        self.ocps = NightOcps(world, limits, permission)
        self.uws = NightUws(world, limits)
        self.repository = NightRepository(world, limits, permission)

    def hear(self, send: Callable[[Audience], None]) -> None:
        """Get something that was published, now or when the process goes on."""
        if self.held is not None:
            self.held.append(send)
        else:
            self._loop.call_soon(send, self)

    def on_start(self, image: Image) -> None:
        """An image began."""
        self.camera.on_start(image)

    def on_end(self, image: Image) -> None:
        """An image was read out."""
        self.camera.on_end(image)

    def on_taken(self, error: str) -> None:
        """The camera's command is over."""
        self.camera.on_taken(error)

    def on_camera_fault(self) -> None:
        """The camera went to FAULT."""
        self.camera.on_camera_fault()

    def on_notice(self, notice: IngestNotice) -> None:
        """A file was ingested, or was not."""
        self.oods.on_notice(notice)

    def on_answer(self, number: int, result: str, error: str) -> None:
        """The OCPS has answered a command."""
        self.ocps.on_answer(number, result, error)

    def on_result(self, job_id: str, exit_code: int) -> None:
        """A job ended."""
        self.ocps.on_job_result(job_id, exit_code)
