# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""An HTTP server on loopback, as the simulators need it."""

from __future__ import annotations

import socket

from aiohttp import web

__all__ = ["LOOPBACK", "LoopbackServer"]

LOOPBACK = "127.0.0.1"


class LoopbackServer:
    """Serves an aiohttp application on 127.0.0.1 between `start` and `close`.

    Parameters
    ----------
    app
        What to serve.
    port
        Where; 0 lets the system choose a free port.
    """

    def __init__(self, app: web.Application, port: int = 0) -> None:
        # What a client has asked for is done even if it does not wait for the answer; requests that are still being
        # served at the end are cancelled after a second.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=False)
        self._wanted_port = port
        self._port = 0

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before `start`."""
        return self._port

    @property
    def url(self) -> str:
        """The address for clients, without a slash at the end."""
        return f"http://{LOOPBACK}:{self._port}"

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        OSError
            If the port is taken.
        """
        listener = socket.create_server((LOOPBACK, self._wanted_port))
        self._port = listener.getsockname()[1]
        await self._runner.setup()
        await web.SockSite(self._runner, listener).start()

    async def close(self) -> None:
        """Stop listening and end all connections; harmless if it was not started."""
        await self._runner.cleanup()
