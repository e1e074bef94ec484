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

from .faults import Faults

__all__ = ["fault_middleware"]

_GARBAGE = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


def fault_middleware(faults: Faults) -> Middleware:
    """Return a middleware that lets the faults of the place "http" strike.

    The occasion is ``method``, ``path`` and ``resource``, the name of the route (such as ``submit`` or ``job``; "" if
    there is none). The effects:

    ============ =================================================================================
    status       answers with status ``value`` and the body ``text``; the request is not looked at
    status_reply does what was asked, then answers with status ``value`` and the body ``text``
    redirect     answers 302 with the address ``text``; the request is not looked at
    drop         ends the connection without an answer; the request is not looked at
    drop_reply   does what was asked, then ends the connection without an answer
    garbage      does what was asked, then answers 200 with ``text`` or a page of HTML
    delay        waits ``value`` seconds, then does what was asked
    ============ =================================================================================
    """

    @web.middleware
    async def strike(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        resource = request.match_info.route.name or ""
        fault = faults.strike("http", method=request.method, path=request.path, resource=resource)
        if fault is None:
            return await handler(request)
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
            case "delay":
                await request.read()  # so that the request is complete even if the client goes away during the delay
                await asyncio.sleep(fault.value)
                return await handler(request)
        raise ValueError(
            f"There is no fault {fault.effect!r} of HTTP; use status, status_reply, redirect, drop, drop_reply, "
            "garbage or delay."
        )

    return strike


def _drop(request: web.Request) -> web.Response:
    """End the connection; the response goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
