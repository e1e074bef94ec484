# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an error reply from the address of the UWS means: the UWS's own answers, and those of servers in front of it."""

from __future__ import annotations

import http
import re

import aiohttp

from ..errors import ServiceError, UnreachableError
from .server_text import explain_server_text
from .uws_access import Entrance

__all__ = ["ForeignAnswerError", "NotFoundError", "OddStatusError", "refusal_of"]

MAX_REFUSAL_BYTES = 16 * 1024
"""How much of an error reply is read: the cause of a Kubernetes exception comes after all of its headers."""

_RESULT_PATH = re.compile(r"/job/result/[^/]+/\d{1,9}$")


class NotFoundError(ServiceError):
    """The UWS itself answered that it does not have the requested thing."""


class ForeignAnswerError(UnreachableError):
    """Something answered that is not the UWS: an ingress without a backend, or another server."""


class OddStatusError(ServiceError):
    """The UWS never answers these requests with this status; a retry would not change it."""


async def refusal_of(
    url: str, response: aiohttp.ClientResponse, entrance: Entrance, sent: dict[str, str]
) -> ServiceError:
    """Return the exception for a status that is not 200.

    Parameters
    ----------
    url, response
        What was asked for, and the answer.
    entrance, sent
        How the CSC gets in at the UWS, and the headers that were sent for that.
    """
    words = entrance.hide(await _beginning(response), sent)
    explained = explain_server_text(words) or "no text"
    sentence = f"The UWS answered GET {url} with status {response.status}: {explained.removesuffix('.')}."
    status = response.status
    if status == http.HTTPStatus.NOT_FOUND:
        if _is_own_not_found(url, words, response.content_type):
            return NotFoundError(sentence)
        return ForeignAnswerError(
            f"GET {url} was answered with status 404 ({explained.removesuffix('.')}), but not by the UWS, whose 404 is "
            'the JSON text "": an ingress or another server answers at this address.'
        )
    if status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        return entrance.refused(status, response.headers.get("WWW-Authenticate", ""), sent, sentence)
    if status >= 500 or status in (http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_MANY_REQUESTS):
        return UnreachableError(sentence)
    return OddStatusError(sentence)


def _is_own_not_found(url: str, words: str, content_type: str) -> bool:
    """Return whether a 404 is the UWS's own: the JSON text ``""`` for a job, a plain sentence for a job's file."""
    if content_type == "application/json":
        return words.strip() == '""'
    return bool(_RESULT_PATH.search(url)) and words.strip() == "Result file not found."


async def _beginning(response: aiohttp.ClientResponse) -> str:
    """Return the text of an error reply, up to a limit."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(2**12):
        body += chunk
        if len(body) >= MAX_REFUSAL_BYTES:
            break
    return body[:MAX_REFUSAL_BYTES].decode(errors="replace")
