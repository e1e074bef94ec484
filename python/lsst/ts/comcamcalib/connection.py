# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one place where the real services are put together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from lsst.ts import salobj, utils

from .clock import Clock
from .config import CscConfig
from .errors import ServiceError
from .services.butler import ButlerService
from .services.camera import ComCamCamera
from .services.components import ComponentWatch
from .services.jobs import JobService
from .services.ocps import SalOcps
from .services.oods import SalOods
from .services.permission import Permission
from .services.reporter import ProgramReporter
from .services.uws import UwsClient
from .stages.context import Services

__all__ = ["Connection"]


class Connection:
    """The connections to camera, OODS, OCPS, UWS and Butler, from `start` to `close`.

    Parameters
    ----------
    domain
        The CSC's domain.
    config
        The CSC's configuration.
    clock
        The clock.
    on_backend
        Called when the services behind the OCPS stop answering, and when they answer again.
    permission
        Whether this process may do anything outside.
    """

    def __init__(
        self,
        domain: salobj.Domain,
        config: CscConfig,
        clock: Clock,
        on_backend: Callable[[bool, str], Awaitable[None]],
        permission: Permission,
    ) -> None:
        limits = config.limits
        self._log = logging.getLogger(__name__)
        self._ocps = SalOcps(domain, config.instrument.ocps_index, limits, permission)
        self._uws = UwsClient(config.uws_url, limits, config.uws_access)
        self._jobs = JobService(
            self._ocps, self._uws, config.uws_poll_interval_s, limits, clock, on_backend, config.repo
        )
        self._camera = ComCamCamera(domain, config.instrument, limits, clock, permission)
        self._oods = SalOods(domain, config.instrument)
        self._components = ComponentWatch(domain, config.instrument.components, limits, clock)
        self._butler = ButlerService(config.repo, config.instrument.name, config.raw_collection, limits, permission)
        # Loads Butler and opens the repository, so that the first look-up is fast.
        self._warming_up: asyncio.Task[None] = utils.make_done_future()
        # Tasks that close the connections; each runs until its connection is closed.
        self._closing: list[asyncio.Task[None]] = []
        self.services = Services(
            camera=self._camera,
            components=self._components,
            oods=self._oods,
            jobs=self._jobs,
            uws=self._uws,
            repository=self._butler,
            reporter=ProgramReporter(config.journal_path, config.report, limits),
        )

    async def start(self) -> None:
        """Connect to all services in parallel."""
        parts = (self._ocps, self._uws, self._camera, self._oods, self._components, self._butler)
        await asyncio.gather(*(part.start() for part in parts))
        self._warming_up = asyncio.create_task(self._warm_up(), name="load Butler")

    async def close(self, limit_s: float) -> None:
        """Disconnect in parallel; a connection that can't be closed is logged, the others are closed all the same.

        Parameters
        ----------
        limit_s
            Longest wait (seconds). A connection that is not closed by then goes on closing, within its own limit.
        """
        self._warming_up.cancel()
        parts = (self._jobs, self._ocps, self._uws, self._camera, self._oods, self._components, self._butler)
        self._closing = [asyncio.create_task(part.close(), name=type(part).__name__) for part in parts]
        for task in self._closing:
            task.add_done_callback(self._look_at_end)
        await asyncio.wait([*self._closing, self._warming_up], timeout=limit_s)
        for task in self._closing:
            if not task.done():
                self._log.warning(
                    "%s is not closed after %.1f s; it is left to close by itself", task.get_name(), limit_s
                )

    @property
    def closed(self) -> bool:
        """Whether all connections are closed."""
        return bool(self._closing) and all(task.done() for task in self._closing)

    def _look_at_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.warning("%s could not be closed properly: %r", task.get_name(), error)

    async def _warm_up(self) -> None:
        try:
            await self._butler.missing_collections([])
        except ServiceError as error:
            self._log.warning("The Butler repository can't be used: %s. Every run will be refused until it can", error)
