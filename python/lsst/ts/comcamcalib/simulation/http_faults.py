# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults between an HTTP server and its clients, as aiohttp's middleware."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from .faults import Fault, Faults, Place
from .loopback import SERVER

__all__ = ["fault_middleware"]

_GARBAGE = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


def fault_middleware(faults: Faults, place: Place = "http") -> Middleware:
    """Return a middleware that lets the faults of a place strike.

    The occasion is ``method``, ``path``, ``resource``, the name of the route (such as ``submit`` or ``job``; "" if
    there is none), and ``client``, what the asking program calls itself: ``python-requests`` is the OCPS. The effects:

    ============ =================================================================================
    status       answers with status ``value`` and the body ``text``; the request is not looked at
    status_reply does what was asked, then answers with status ``value`` and the body ``text``
    redirect     answers 302 with the address ``text``; the request is not looked at
    drop         ends the connection without an answer; the request is not looked at
    drop_reply   does what was asked, then ends the connection without an answer
    garbage      does what was asked, then answers 200 with ``text`` or a page of HTML
    truncate     does what was asked, then answers with the first half of the body, as a whole answer
    down         ends all connections and refuses new ones for ``value`` seconds (0: as long as it is in force)
    delay        waits ``value`` seconds, then does what was asked
    ============ =================================================================================
    """

    @web.middleware
    async def strike(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        resource = request.match_info.route.name or ""
        client = request.headers.get("User-Agent", "").partition("/")[0]
        fault = faults.strike(place, method=request.method, path=request.path, resource=resource, client=client)
        return await handler(request) if fault is None else await answer(fault, request, handler)

    async def answer(
        fault: Fault, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        match fault.effect:
            case "status":
                return web.Response(status=int(fault.value), text=fault.text)
            case "status_reply":
                await handler(request)
                return web.Response(status=int(fault.value), text=fault.text, content_type="text/html")
            case "redirect":
                return web.Response(status=302, headers={"Location": fault.text})
            case "drop":
                return _drop(request)
            case "drop_reply":
                await handler(request)
                return _drop(request)
            case "garbage":
                await handler(request)
                return web.Response(text=fault.text or _GARBAGE, content_type="text/html")
            case "truncate":
                return _halve(await handler(request))
            case "down":
                request.app[SERVER].go_down(faults, fault)
                return _drop(request)
            case "delay":
                await request.read()  # so that the request is complete even if the client goes away during the delay
                await asyncio.sleep(fault.value)
                return await handler(request)
        raise ValueError(
            f"There is no fault {fault.effect!r} of HTTP; use status, status_reply, redirect, drop, drop_reply, "
            "garbage, truncate, down or delay."
        )

    return strike


def _halve(reply: web.StreamResponse) -> web.StreamResponse:
    """Return the first half of an answer: all that a proxy passed on before it lost the server."""
    if not isinstance(reply, web.Response) or not isinstance(reply.body, bytes):
        return reply
    return web.Response(body=reply.body[: len(reply.body) // 2], status=reply.status, content_type=reply.content_type)


def _drop(request: web.Request) -> web.Response:
    """End the connection; the response goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
