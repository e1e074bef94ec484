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

from .config import CscConfig
from .errors import ServiceError
from .services.butler import ButlerService
from .services.camera import ComCamCamera
from .services.components import ComponentWatch
from .services.jobs import JobService
from .services.ocps import SalOcps
from .services.oods import CcOods
from .services.uws import UwsClient
from .stages.context import Services

__all__ = ["Connection"]


class Connection:
    """The ways to camera, OODS, OCPS, UWS and Butler, from `start` to `close`.

    Parameters
    ----------
    domain
        The CSC's domain.
    config
        The CSC's configuration.
    on_backend
        Called when the services behind the OCPS stop answering, and when they answer again.
    """

    def __init__(
        self, domain: salobj.Domain, config: CscConfig, on_backend: Callable[[bool, str], Awaitable[None]]
    ) -> None:
        limits = config.limits
        self._log = logging.getLogger(__name__)
        self._ocps = SalOcps(domain, config.ocps_index, limits)
        self._uws = UwsClient(config.uws_url, limits)
        self._jobs = JobService(self._ocps, self._uws, config.uws_poll_interval_s, limits, on_backend, config.repo)
        self._camera = ComCamCamera(domain, limits)
        self._oods = CcOods(domain, config.instrument, config.detectors)
        names = ["CCCamera", "CCHeaderService", "CCOODS", f"OCPS:{config.ocps_index}"]
        self._components = ComponentWatch(domain, names, limits)
        self._butler = ButlerService(config.repo, config.instrument, config.raw_collection, limits)
        # Loads Butler and opens the repository, so that the first question to it is answered fast.
        self._warming_up: asyncio.Task[None] = utils.make_done_future()
        self.services = Services(
            camera=self._camera,
            components=self._components,
            oods=self._oods,
            jobs=self._jobs,
            uws=self._uws,
            repository=self._butler,
        )

    async def start(self) -> None:
        """Connect, side by side."""
        parts = (self._ocps, self._uws, self._camera, self._oods, self._components, self._butler)
        await asyncio.gather(*(part.start() for part in parts))
        self._warming_up = asyncio.create_task(self._warm_up(), name="load Butler")

    async def close(self) -> None:
        """Disconnect; what can't be closed is logged, the rest is closed all the same."""
        self._warming_up.cancel()
        parts = (self._jobs, self._ocps, self._uws, self._camera, self._oods, self._components, self._butler)
        results = await asyncio.gather(*(part.close() for part in parts), self._warming_up, return_exceptions=True)
        for part, result in zip(parts, results, strict=False):
            if isinstance(result, BaseException):
                self._log.warning("%s could not be closed properly: %r", type(part).__name__, result)

    async def _warm_up(self) -> None:
        try:
            await self._butler.missing_collections([])
        except ServiceError as error:
            self._log.warning("The Butler repository can't be used: %s. Every run will be refused until it can", error)
