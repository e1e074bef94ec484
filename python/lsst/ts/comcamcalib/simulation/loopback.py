# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""An HTTP server on loopback, as the simulators need it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Coroutine

from aiohttp import web

from .faults import Fault, Faults

__all__ = ["LOOPBACK", "SERVER", "LoopbackServer", "LoopbackThread"]

LOOPBACK = "127.0.0.1"
SERVER: web.AppKey[LoopbackServer] = web.AppKey("loopback_server")
"""Where an application finds the server that serves it."""


class LoopbackServer:
    """Serves an aiohttp application on 127.0.0.1 between `start` and `close`.

    Parameters
    ----------
    app
        What to serve.
    port
        Where; 0 lets the system choose a free port.
    tls
        The server's certificate, for HTTPS. None: HTTP.
    """

    def __init__(self, app: web.Application, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        # A request is carried out even if the client does not wait for the answer. When the server closes, requests
        # that it still serves are cancelled after a second.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=False)
        self._wanted_port = port
        self._tls = tls
        self._port = 0
        self._site: web.SockSite | None = None
        self._outage: asyncio.Task[None] | None = None
        app[SERVER] = self

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before `start`."""
        return self._port

    @property
    def url(self) -> str:
        """The address for clients, without a slash at the end."""
        return f"{'http' if self._tls is None else 'https'}://{LOOPBACK}:{self._port}"

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
        await self._listen(listener)

    async def close(self) -> None:
        """Stop listening and end all connections; harmless if it was not started."""
        if self._outage is not None:
            self._outage.cancel()
            await asyncio.gather(self._outage, return_exceptions=True)
        await self._runner.cleanup()

    def go_down(self, faults: Faults, fault: Fault) -> None:
        """Refuse connections as a machine does on which nobody listens, and end those that there are.

        That lasts ``fault.value`` seconds (0: without limit), and no longer than the fault is in force.
        """
        if self._outage is None or self._outage.done():
            self._outage = asyncio.get_running_loop().create_task(self._be_down(faults, fault), name="server is down")

    async def _be_down(self, faults: Faults, fault: Fault) -> None:
        if self._site is not None:
            await self._site.stop()
        for connection in self._runner.server.connections if self._runner.server is not None else ():
            connection.force_close()
        await faults.until_over(fault, fault.value)
        await self._listen(socket.create_server((LOOPBACK, self._port)))

    async def _listen(self, listener: socket.socket) -> None:
        self._site = web.SockSite(self._runner, listener, ssl_context=self._tls)
        await self._site.start()


class LoopbackThread:
    """Serves as `LoopbackServer` does, in a thread with an event loop of its own.

    For clients that block the event loop while they wait for the answer, as salobj's do: they would wait for ever for a
    server in the same loop.

    Parameters
    ----------
    app
        What to serve. Its handlers run in the thread, and nobody else may touch what they change.
    port
        Where; 0 lets the system choose a free port.
    name
        Name of the thread.
    """

    def __init__(self, app: web.Application, port: int = 0, name: str = "loopback server") -> None:
        self._server = LoopbackServer(app, port)
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The address for clients, without a slash at the end."""
        return self._server.url

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        OSError
            If the port is taken.
        """
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=self._name, daemon=True)
        self._thread.start()
        try:
            await self._in_thread(self._server.start())
        except BaseException:
            await self._end_thread()
            raise

    async def close(self) -> None:
        """Stop listening and end all connections; harmless if it was not started."""
        if self._loop is None:
            return
        try:
            await self._in_thread(self._server.close())
        finally:
            await self._end_thread()

    async def _in_thread(self, coroutine: Coroutine[None, None, None]) -> None:
        assert self._loop is not None, "Bug: there is no thread"
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    async def _end_thread(self) -> None:
        loop, self._loop = self._loop, None
        thread, self._thread = self._thread, None
        assert loop is not None and thread is not None, "Bug: there is no thread"
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join)
        loop.close()
