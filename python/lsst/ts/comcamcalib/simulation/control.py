# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How another process chooses the scenarios of a running observatory, over HTTP on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aiohttp import web

from .loopback import LoopbackServer

__all__ = ["ControlServer"]

PATH = "/_simulation/scenarios"


class ControlServer:
    """GET returns the scenarios in force, POST replaces them, both as a JSON list of names.

    Parameters
    ----------
    get_scenarios, set_scenarios
        The observatory's own. The latter raises `ValueError` for a name that it does not know.
    """

    def __init__(self, get_scenarios: Callable[[], list[str]], set_scenarios: Callable[[Iterable[str]], None]) -> None:
        self._get_scenarios = get_scenarios
        self._set_scenarios = set_scenarios
        app = web.Application()
        app.add_routes([web.get(PATH, self._get), web.post(PATH, self._post)])
        self._server = LoopbackServer(app)

    @property
    def url(self) -> str:
        """Where to send requests."""
        return self._server.url + PATH

    async def start(self) -> None:
        """Answer requests from now on."""
        await self._server.start()

    async def close(self) -> None:
        """Stop answering."""
        await self._server.close()

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(self._get_scenarios())

    async def _post(self, request: web.Request) -> web.Response:
        try:
            names = await request.json()
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError('The body must be a JSON list of scenarios, such as ["job-errors"].')
            self._set_scenarios(names)
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        return web.json_response(self._get_scenarios())
