# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server that takes its time."""

from __future__ import annotations

import asyncio

from aiohttp import web
from lsst.ts.comcamcalib.simulation.loopback import LoopbackServer

__all__ = ["HeldServer"]


class HeldServer:
    """Answers each request when the test says so; redirects those to /moved and /found."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.arrived = asyncio.Event()
        self.released = asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._server = LoopbackServer(app)

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path} {(await request.text())}".strip())
        self.arrived.set()
        await self.released.wait()
        if request.path in ("/found", "/moved"):
            return web.Response(status=302 if request.path == "/found" else 307, headers={"Location": "/job"})
        return web.json_response({"phase": "pending"})

    async def __aenter__(self) -> HeldServer:
        await self._server.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._server.close()

    @property
    def url(self) -> str:
        return self._server.url
