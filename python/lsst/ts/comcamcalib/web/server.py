# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The status page as a service of the CSC: opened and closed with the configuration, at most once at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from aiohttp import web
from lsst.ts import utils

from ..clock import Clock
from ..config import CscConfig
from ..services.butler import ButlerService
from ..services.worker_threads import WorkerThreads
from .app import Parts, make_app
from .board import BoardKeeper
from .bodies import Bodies
from .connections import Connections
from .guard import Guard
from .health import LoopWatch
from .live import Live
from .metrics import Measured, Metrics
from .now import Seen
from .past import REMEMBERED_S, Past

__all__ = ["StatusPage"]

CLOSE_LIMIT_S = 2.0
"""Longest wait for what is in progress when the page is closed (seconds); STANDBY must not take long."""

RETRY_S = 30.0
"""Time between two attempts to listen, if the port is taken (seconds)."""


class StatusPage:
    """Serves the status page from `open` to `close`.

    Parameters
    ----------
    look
        Returns what is to be seen of the CSC.
    repository
        Returns the Butler repository; None while the CSC is not connected.
    clock
        The clock.
    """

    def __init__(self, look: Callable[[], Seen], repository: Callable[[], ButlerService | None], clock: Clock) -> None:
        self._look = look
        self._repository = repository
        self._clock = clock
        self._log = logging.getLogger(__name__)
        self._config: CscConfig | None = None
        self._runner: web.AppRunner | None = None
        self._parts: Parts | None = None
        self._threads: list[WorkerThreads] = []
        # What goes on while the page is open; each of them ends in close.
        self._tasks: list[asyncio.Task[None]] = []
        self._listening: asyncio.Task[None] = utils.make_done_future()
        self._server: asyncio.Server | None = None
        self.address: tuple[str, int] | None = None
        """Where it is served; None: it is not."""

    @property
    def parts(self) -> Parts:
        """What the pages are made from, while the page is open."""
        assert self._parts is not None, "Bug: the page is not open"
        return self._parts

    async def open(self, config: CscConfig) -> None:
        """Serve the page where the configuration says, unless that is done already or there is to be none."""
        if self._config is not None or not config.page.address:
            return
        self._config = config
        making, reading = WorkerThreads("status page"), WorkerThreads("history for the status page", 2)
        self._threads = [making, reading]
        for threads in self._threads:
            threads.start()
        measured, loop_watch = Measured(), LoopWatch()
        past = Past(config, self._clock, reading)
        board = BoardKeeper(config, self._clock, self._repository, self._certified, past.certified_lately)
        live = Live(self._look, lambda: board.board, making)
        metrics = Metrics(
            lambda: live.now, lambda: board.board, measured, lambda: live.readers, live.age_s, loop_watch.worst_s
        )
        connections = Connections()
        guard = Guard(config.page.frame_ancestors, measured, connections.used)
        bodies, tables = Bodies(8, REMEMBERED_S), Bodies(3, REMEMBERED_S)
        self._parts = Parts(config, live, past, board, loop_watch, metrics, guard, reading, bodies, tables)
        self._runner = web.AppRunner(
            make_app(self._parts),
            access_log=None,
            handle_signals=False,
            keepalive_timeout=15.0,
            lingering_time=1.0,
            shutdown_timeout=CLOSE_LIMIT_S,
            max_line_size=2048,
            max_field_size=8190,
        )
        await self._runner.setup()
        assert self._runner.server is not None, "Bug: the server is not set up"
        connections.serve(self._runner.server)
        self._tasks = [
            asyncio.create_task(work, name=f"status page: {name}")
            for name, work in (
                ("look", live.run()),
                ("board", board.run()),
                ("event loop", loop_watch.run()),
                ("idle connections", connections.run()),
            )
        ]
        if not await self._listen(connections, config):
            self._listening = asyncio.create_task(self._keep_trying(connections, config), name="status page: listen")

    async def close(self) -> None:
        """Serve the page no longer; it may be closed twice."""
        if self._config is None:
            return
        self._config = None
        self.address = None
        self._listening.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(self._listening, *self._tasks, return_exceptions=True)
        self._tasks = []
        server, self._server = self._server, None
        if server is not None:
            server.close()
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        parts, self._parts = self._parts, None
        if parts is not None:
            await parts.close()
        await asyncio.gather(*(threads.close(CLOSE_LIMIT_S) for threads in self._threads))

    async def _listen(self, connections: Connections, config: CscConfig) -> bool:
        settings = config.page
        try:
            self._server = await asyncio.get_running_loop().create_server(
                connections.accept, settings.address, settings.port, backlog=32
            )
        except OSError as error:
            self._log.warning(
                "The status page can't be served on %s port %d (%s). Runs are not affected; it is tried again every "
                "%g s. Find out what uses the port, or change page in the CSC's configuration.",
                *(settings.address, settings.port, error.strerror or error, RETRY_S),
            )
            return False
        host, port, *_ = self._server.sockets[0].getsockname()
        self.address = host, port
        self._log.info("The status page is at http://%s:%d/", host, port)
        return True

    async def _keep_trying(self, connections: Connections, config: CscConfig) -> None:
        while True:
            await asyncio.sleep(RETRY_S)
            if await self._listen(connections, config):
                return

    def _certified(self) -> Any:
        """Return something that is another one after each certification and withdrawal."""
        history = self._look().history
        if history is None:
            return None
        done = sum(1 for one in history.certifications.values() if one.done)
        return history.run_id, done, sum(1 for one in history.withdrawals.values() if one.outcome is not None)
