# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may stand in front of the UWS: TLS, a prefix before its paths, and a guard that asks for credentials.

At the summit an nginx does that for clients outside the UWS's namespace; the OCPS, which is inside, reaches the server
directly.

Known limitations: replies are passed on whole, not as they come; nothing is limited in size or rate.
"""

from __future__ import annotations

import ssl
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

from .loopback import LoopbackServer

__all__ = ["Ingress"]

_HOP_BY_HOP = ("authorization", "connection", "content-encoding", "content-length", "host", "transfer-encoding")
_PAGE = "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n</body>\r\n</html>\r\n"


class Ingress:
    """Passes on requests for a server, from an address of its own; use it as an async context manager.

    Parameters
    ----------
    target
        Address of the server, without a path.
    prefix
        What the paths begin with here, such as ``/uws``; it is taken away before a request is passed on.
    authorization
        The header Authorization that requests must have. "": none.
    tls
        The certificate. None: HTTP.

    Attributes
    ----------
    authorization : str
        As above; may be changed at any time.
    forbidden : bool
        Whether requests with the right header are refused, too, because they lack a right.
    refused, passed : int
        Number of requests that were refused, and passed on.
    """

    def __init__(
        self, target: str, prefix: str = "", authorization: str = "", tls: ssl.SSLContext | None = None
    ) -> None:
        self.authorization = authorization
        self.forbidden = False
        self.refused = 0
        self.passed = 0
        self._target = target
        self._prefix = prefix
        app = web.Application()
        app.router.add_route("*", prefix + "/{path:.*}", self._pass_on)
        self._server = LoopbackServer(app, tls=tls)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        try:
            await self._server.start()
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.close()
        if self._session is not None:
            await self._session.close()

    @property
    def url(self) -> str:
        """The address that stands for the server's, without a slash at the end."""
        return self._server.url + self._prefix

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        if self.authorization and request.headers.get("Authorization", "") != self.authorization:
            self.refused += 1
            scheme = self.authorization.partition(" ")[0]
            return _page("401 Authorization Required", 401, {"WWW-Authenticate": f'{scheme} realm="uws"'})
        if self.forbidden:
            self.refused += 1
            return _page("403 Forbidden", 403, {})
        self.passed += 1
        assert self._session is not None, "Bug: requests are served only while it is entered"
        async with self._session.request(
            request.method,
            f"{self._target}/{request.match_info['path']}",
            params=request.query,
            headers={name: value for name, value in request.headers.items() if name.lower() not in _HOP_BY_HOP},
            data=await request.read(),
        ) as reply:
            headers = [(name, value) for name, value in reply.headers.items() if name.lower() not in _HOP_BY_HOP]
            response = web.Response(body=await reply.read(), status=reply.status)
            for name, value in headers:
                response.headers.add(name, value)
            return response


def _page(title: str, status: int, headers: dict[str, str]) -> web.Response:
    return web.Response(text=_PAGE.format(title), status=status, content_type="text/html", headers=headers)
