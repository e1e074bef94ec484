# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The connections of the page: few, and none of them idle for long."""

from __future__ import annotations

import asyncio

from aiohttp import web

__all__ = ["MAX_CONNECTIONS", "Connections"]

MAX_CONNECTIONS = 128
"""Connections at the same time: a browser makes up to six, of which only those with a request count as readers."""

FIRST_REQUEST_S = 15.0
"""How long a new connection may be without a request (seconds)."""

SWEEP_S = 3.0
"""Time between two looks for such connections (seconds)."""

REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 60\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s"
)
SENTENCE = b'{"error":"There are too many connections to the status page. Try again in a minute."}'


class Connections:
    """Accepts connections for a server, and ends those that are never used."""

    def __init__(self) -> None:
        self._server: web.Server | None = None
        # Connections without a request so far, with the time of the loop at which they were made.
        self._new: dict[asyncio.BaseProtocol, float] = {}

    def serve(self, server: web.Server) -> None:
        """Accept connections for aiohttp's server from now on."""
        self._server = server

    def accept(self) -> asyncio.BaseProtocol:
        """Return the protocol of a new connection."""
        assert self._server is not None, "Bug: there is no server"
        if len(self._server.connections) >= MAX_CONNECTIONS or len(self._new) >= 2 * MAX_CONNECTIONS:
            return _Refusal()
        protocol = self._server()
        self._new[protocol] = asyncio.get_running_loop().time()
        return protocol

    def used(self, request: web.Request) -> None:
        """Note that there is a request on a connection; from then on aiohttp limits how long it is idle."""
        self._new.pop(request.protocol, None)

    async def run(self) -> None:
        """End connections that are idle from the beginning, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.sweep(FIRST_REQUEST_S)

    def sweep(self, limit_s: float) -> None:
        """End connections that have been without a request for longer than a limit (seconds)."""
        now_s = asyncio.get_running_loop().time()
        for protocol, begun_s in list(self._new.items()):
            transport = getattr(protocol, "transport", None)
            if transport is None and now_s > begun_s:  # it has ended by itself
                del self._new[protocol]
            elif now_s - begun_s >= limit_s:
                del self._new[protocol]
                if isinstance(transport, asyncio.Transport):
                    transport.abort()


class _Refusal(asyncio.Protocol):
    """Answers a connection that is one too many, whatever it asks."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(REFUSAL % (len(SENTENCE), SENTENCE))
        transport.close()
