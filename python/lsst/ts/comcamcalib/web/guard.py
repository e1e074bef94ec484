# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every request: it only reads, it is one of few, it is answered with a sentence, and it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Middleware

from ..errors import ServiceError
from . import data
from .metrics import Measured
from .pages import page
from .past import NotFoundError

__all__ = ["MAX_CLIENTS", "STREAM", "Guard"]

MAX_CLIENTS = 50
"""Requests that are answered at the same time; each page that is watched is one."""

SEND_LIMIT_S = 60.0
"""Longest time for making and sending an answer that is no stream (seconds)."""

STREAM = "/events"
"""The stream of what happens, which may last for ever."""

NOT_COUNTED = ("/healthz", "/readyz", "/metrics")
"""What monitoring asks for must be answered also when there are too many readers."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Guard:
    """Stands before each request; see `middleware`.

    Parameters
    ----------
    frame_ancestors
        Sites that may show the page in a frame.
    measured
        Where is counted.
    used
        Called with each request.
    """

    def __init__(self, frame_ancestors: Sequence[str], measured: Measured, used: Callable[[web.Request], None]) -> None:
        self._measured = measured
        self._used = used
        self._clients = 0
        self._log = logging.getLogger(__name__)
        sources = ["'self'" if one == "self" else one for one in frame_ancestors] or ["'none'"]
        self._ancestors = f"frame-ancestors {' '.join(sources)}"

    @property
    def headers(self) -> Mapping[str, str]:
        """What every answer has: nothing may be loaded from elsewhere, and nothing is kept."""
        policy = (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
            f"base-uri 'none'; form-action 'none'; {self._ancestors}"
        )
        return {
            "Content-Security-Policy": policy,
            "Server": "ComCamCalib",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }

    @property
    def report_policy(self) -> str:
        """The policy for reports, which have their style and pictures in them and no script."""
        return (
            "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
            f"{self._ancestors}"
        )

    def middleware(self) -> Middleware:
        """Return the middleware of aiohttp."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._used(request)
            counted = request.path not in NOT_COUNTED
            if counted and self._clients >= MAX_CLIENTS:
                self._measured.refused += 1
                sentence = (
                    f"There are {MAX_CLIENTS} readers already, and no more are served so that the runs are not "
                    "disturbed. Try again in a minute, or close pages that nobody looks at."
                )
                return await self._send(request, problem(request, 503, sentence, {"Retry-After": "60"}))
            self._clients += counted
            try:
                return await self._answer(request, handler)
            finally:
                self._clients -= counted

        return cast(Middleware, guard)

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            sentence = f"{request.method[:20]} is not possible: this page can only be read. Use GET or HEAD."
            return await self._send(request, problem(request, 405, sentence, {"Allow": "GET, HEAD"}))
        if request.path == STREAM:
            return await handler(request)
        return await self._send(request, await self._made(request, handler))

    async def _made(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Return the answer of a handler, or a sentence that says why there is none."""
        try:
            async with asyncio.timeout(SEND_LIMIT_S):
                return await handler(request)
        except NotFoundError as error:
            return problem(request, 404, str(error))
        except web.HTTPNotFound:
            return problem(request, 404, "There is no such page. Begin with the page Now.")
        except web.HTTPException as error:
            return problem(request, error.status, f"{error.reason}.")
        except (ServiceError, TimeoutError) as error:
            sentence = str(error) or f"it took more than {SEND_LIMIT_S:g} s"
            return problem(request, 503, f"This can't be shown now: {sentence.rstrip('.')}. Try again in a minute.")
        except Exception:
            self._log.exception("Bug: the page %s could not be made", request.path[:200])
            return problem(request, 500, "This page could not be made. The CSC's log says why; runs are not affected.")

    async def _send(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        """Send an answer here and not later, so that a slow reader can be dropped."""
        for name, value in self.headers.items():
            response.headers.setdefault(name, value)
        self._measured.requests += 1
        try:
            async with asyncio.timeout(SEND_LIMIT_S):
                await response.prepare(request)
                await response.write_eof()
        except TimeoutError:
            self.drop(request)
        except ConnectionError:
            self._log.debug("A reader has gone before it had all of %s", request.path[:200])
        return response

    def drop(self, request: web.Request) -> None:
        """End the connection of a reader that is too slow."""
        self._measured.dropped += 1
        if request.transport is not None:
            request.transport.abort()


def problem(
    request: web.Request, status: int, sentence: str, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """Return an answer that says what is wrong: for people as a page, for programs as JSON."""
    if "text/html" in request.headers.get("Accept", "") and not request.path.startswith("/api/"):
        root = "../" * (request.path.count("/") - 1)
        text = page("problem", root, title=f"{status}", sentence=sentence)
        return web.Response(status=status, text=text, content_type="text/html", headers=headers)
    text = data.Problem(error=sentence).model_dump_json()
    return web.Response(status=status, text=text, content_type="application/json", headers=headers)
