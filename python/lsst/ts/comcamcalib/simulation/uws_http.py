# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the UWS server reads requests and writes answers: as tornado, on which the real one is built.

What the real server answers was seen by running it (tornado 6.3.3, its debug mode on, as it is at the observatory).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import yaml
from aiohttp import web
from aiohttp.typedefs import Middleware

__all__ = ["add_cors", "json_reply", "paste_environment", "read_arguments", "text_reply", "tornado_middleware"]

_JSON_TYPES = ("application/json", "application/javascript")
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Origin, X-Requested-With, Content-Type, Accept, Authorization",
    "Access-Control-Allow-Methods": " POST, PUT, DELETE, OPTIONS, GET",
}


def tornado_middleware() -> Middleware:
    """Return a middleware that handles one request after the other, and answers errors as tornado does.

    Nothing in the real server is asynchronous: a request that takes long, such as a list of many jobs, delays the
    others. An unknown path, a method that a path does not have, and an error of the server are answered with a
    traceback in plain text.
    """
    one_at_a_time = asyncio.Lock()

    @web.middleware
    async def handle(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            async with one_at_a_time:
                return await handler(request)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
            return _traceback(f"tornado.web.HTTPError: HTTP {error.status}: {error.reason}", error.status)
        except Exception as error:
            return _traceback(f"{type(error).__name__}: {error}", 500)

    return handle


def _traceback(last_line: str, status: int) -> web.Response:
    lines = ["Traceback (most recent call last):", '  File "tornado/web.py", line 1784, in _execute', last_line]
    body = ("\n".join(lines) + "\n").encode()
    return web.Response(body=body, status=status, headers={"Content-Type": "text/plain"})


async def add_cors(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers that every handler of the real server sets; an unknown path has no handler."""
    if not isinstance(request.match_info.http_exception, web.HTTPNotFound):
        response.headers.update(_CORS)


async def read_arguments(request: web.Request) -> dict[str, Any]:
    """Return what a request asks for: its JSON body if the content type is exactly right, otherwise query and form.

    Raises
    ------
    ValueError
        If the body is not a JSON object.
    """
    if request.headers.get("Content-Type") in _JSON_TYPES:
        arguments = json.loads(await request.read())
        if not isinstance(arguments, dict):
            raise ValueError("the body is not a JSON object")
        return arguments
    arguments = {**request.query, **(await request.post())}
    if request.method == "PUT" and "command" not in arguments:
        raise ValueError("HTTP 400: Bad Request (Missing argument command)")
    return arguments


def paste_environment(environment: list[dict[str, str]]) -> dict[str, str]:
    """Return names and values as they come out of the YAML template that the real server pastes them into.

    The template has them between double quotes and escapes nothing: a quote ends the value, a backslash begins an
    escape.

    Raises
    ------
    yaml.YAMLError, TypeError, KeyError
        If what comes out is no YAML, or the environment is not a list of names and values.
    """
    pasted = "".join(f'- name: "{item["name"]}"\n  value: "{item["value"]}"\n' for item in environment)
    return {item["name"]: item["value"] for item in yaml.safe_load(pasted) or []}


def json_reply(value: object, status: int = 200) -> web.Response:
    """Return an answer in JSON."""
    return web.json_response(value, status=status, dumps=lambda data: json.dumps(data, indent=2))


def text_reply(text: str, status: int) -> web.Response:
    """Return an answer that is not JSON; tornado calls it HTML, whatever it is."""
    return web.Response(text=text, status=status, content_type="text/html")
