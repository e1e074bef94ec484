# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A reverse proxy that does with requests what an Ingress says, as ingress-nginx does it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
from aiohttp import web

__all__ = ["behind", "proxied", "served"]

# What a proxy does not hand on, because it is of one connection only.
OF_CONNECTION = ("connection", "keep-alive", "transfer-encoding", "host", "content-length")
REWRITE = "nginx.ingress.kubernetes.io/rewrite-target"


def behind(ingress: Mapping[str, Any], path: str) -> str | None:
    """Return the path that the page is asked for instead of one; None: that is not for the page."""
    (rule,) = ingress["template"]["spec"]["rules"]
    (one,) = rule["http"]["paths"]
    found = re.match(one["path"], path, re.IGNORECASE)
    target: str = ingress["template"]["metadata"]["annotations"][REWRITE]
    return None if found is None else re.sub(r"\$(\d)", lambda group: found[int(group[1])], target)


@contextlib.asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[int]:
    """Serve an application on this machine; return its port."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def proxied(ingress: Mapping[str, Any], url: str) -> AsyncIterator[str]:
    """Put an ingress before the page at a URL; return the URL of the host, without a slash at its end.

    As at a site, everything else on that host belongs to others, and is not found here.
    """
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def hand_on(request: web.Request) -> web.StreamResponse:
            path = behind(ingress, request.rel_url.raw_path)
            if path is None:
                raise web.HTTPNotFound(text="of another application")
            headers = {name: value for name, value in request.headers.items() if name.lower() not in OF_CONNECTION}
            async with session.request(request.method, url + path, headers=headers, allow_redirects=False) as answer:
                response = web.StreamResponse(status=answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in OF_CONNECTION:
                        response.headers[name] = value
                await response.prepare(request)
                with contextlib.suppress(ConnectionError):
                    async for chunk in answer.content.iter_any():
                        await response.write(chunk)
                return response

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", hand_on)
        async with served(app) as port:
            yield f"http://127.0.0.1:{port}"
