# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers as bytes: made once for all who ask for the same, sent in slices, and never too many of them."""

from __future__ import annotations

import weakref
from collections.abc import Awaitable, Callable, Hashable, Iterator

from aiohttp import web

from ..errors import ServiceError
from ..report.data import Model
from .memory import Memory

__all__ = ["Bodies", "Body", "SharedResponse", "json_of", "slices"]

SLICE = 2**16
"""What is handed to a connection at a time (bytes), so that a slow reader holds no copy of the rest."""

MAX_BYTES = 100 * 2**20
"""Size of the answers that are remembered or being sent, each counted once however many read it (bytes)."""


class Body:
    """An answer, which all who read it share."""

    def __init__(self, content: bytes) -> None:
        self.content = content


class Bodies:
    """Remembers answers.

    Parameters
    ----------
    size
        Largest number of answers that are remembered.
    age_s
        How long (seconds).
    """

    def __init__(self, size: int, age_s: float) -> None:
        # With each answer what it was made of, so that its id belongs to nothing else meanwhile.
        self._remembered: Memory[tuple[object, Body]] = Memory(size, age_s)
        # Those that somebody still reads count, too.
        self._alive: weakref.WeakSet[Body] = weakref.WeakSet()

    @property
    def total(self) -> int:
        """Size of all answers that are remembered or being sent (bytes)."""
        return sum(len(one.content) for one in self._alive)

    async def get(self, key: Hashable, make: Callable[[], Awaitable[bytes]], *of: object) -> Body:
        """Return an answer, which is made if it is not known.

        Parameters
        ----------
        key
            What it is.
        make
            Makes it.
        of
            What it is made of: if one of these is another thing, so is the answer.

        Raises
        ------
        ServiceError
            If slow readers hold too many others.
        """

        async def made() -> tuple[object, Body]:
            if self.total >= MAX_BYTES:
                self.forget()
            if self.total >= MAX_BYTES:
                raise ServiceError("slow readers have not taken earlier answers yet, which are too large together")
            body = Body(await make())
            self._alive.add(body)
            return of, body

        _, body = await self._remembered.get((key, *map(id, of)), made)
        return body

    def forget(self) -> None:
        """Make everything again."""
        self._remembered.forget()

    async def close(self) -> None:
        """Wait for what is being made no longer."""
        await self._remembered.close()


class SharedResponse(web.StreamResponse):
    """Sends an answer that others may read at the same time.

    Parameters
    ----------
    request
        What is answered.
    body
        The answer.
    content_type
        Its type.
    """

    def __init__(self, request: web.Request, body: Body, content_type: str) -> None:
        super().__init__(headers={"Content-Type": f"{content_type}; charset=utf-8"})
        self.content_length = len(body.content)
        self._to_send = body if request.method != "HEAD" else None

    async def write_eof(self, data: bytes = b"") -> None:
        """Send the answer, as fast as it is read."""
        body, self._to_send = self._to_send, None
        if body is not None:
            for one in slices(body.content):
                await self.write(one)
        await super().write_eof(data)


def slices(content: bytes) -> Iterator[bytes]:
    """Yield what is to be sent, in slices."""
    for begin in range(0, len(content), SLICE):
        yield content[begin : begin + SLICE]


def json_of(model: Model) -> bytes:
    """Return a document as JSON.

    It is made row by row: one call for a large table would hold the interpreter, and the event loop would stand still,
    although this is called in a thread.
    """
    return b"{%s}" % b",".join(_field(model, name) for name in type(model).model_fields)


def _field(model: Model, name: str) -> bytes:
    value = getattr(model, name)
    if isinstance(value, Model):
        return b'"%s":%s' % (name.encode(), json_of(value))
    if isinstance(value, tuple) and value and isinstance(value[0], Model):
        return b'"%s":[%s]' % (name.encode(), b",".join(one.model_dump_json().encode() for one in value))
    return model.model_dump_json(include={name}).encode()[1:-1]
