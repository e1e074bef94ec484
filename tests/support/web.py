# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A status page as a test looks at it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import types
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
from lsst.ts.comcamcalib.web.look import look_at
from lsst.ts.comcamcalib.web.now import Seen
from lsst.ts.comcamcalib.web.server import StatusPage

from support.house import House
from support.plans import make_config

__all__ = ["ADDRESS", "Answer", "Events", "Site", "opened"]

ADDRESS = "127.0.0.1"
LIMIT_S = 30.0
LINE_LIMIT = 2**20
"""Longest line of the stream (bytes); aiohttp's own limit is 128 kB, or more in newer versions."""


@dataclasses.dataclass
class Answer:
    """An answer of the page."""

    status: int
    headers: Any
    text: str

    @property
    def json(self) -> Any:
        """What it says to programs."""
        return json.loads(self.text)


class Events:
    """The stream of what happens, as a browser reads it."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.parts: dict[str, str] = {}
        """Each part of the page as it was heard last."""
        self.age_s: float | None = None
        """How old what the parts show was then (seconds); None: nothing was seen yet."""

    async def next(self) -> tuple[str, Any]:
        """Return the next event and its data."""
        lines = []
        async with asyncio.timeout(LIMIT_S):
            while line := (await self.response.content.readline()).decode().rstrip("\n"):
                lines.append(line)
        if not lines:
            raise EOFError
        fields = dict(line.split(":", 1) for line in lines)
        said = json.loads(fields["data"])
        self.age_s = said["age_s"]
        self.parts |= said["parts"]
        return fields["event"].strip(), said["parts"]

    async def until(self, part: str, words: str) -> str:
        """Wait until a part has some words; return it."""
        async with asyncio.timeout(LIMIT_S):
            while words not in self.parts.get(part, ""):
                await self.next()
        return self.parts[part]


class Site:
    """The page, the house whose runs it shows, and a reader."""

    def __init__(self, house: House, session: aiohttp.ClientSession, folder: Path) -> None:
        self.house = house
        self.folder = folder
        self.state = "ENABLED"
        self.session = session
        self.shown: dict[str, Any] = {}
        """What is shown instead of what is to be seen of the house, by field of Seen."""
        self.page = StatusPage(self._look, lambda: house.observatory.repository, house.clock)

    def _look(self) -> Seen:
        claim: Any = types.SimpleNamespace(runner=self.house.runner, problem="")
        seen = look_at(self.state, claim, self.house.clock)
        return dataclasses.replace(seen, **self.shown)

    @property
    def url(self) -> str:
        """Where the page is, without a slash at its end."""
        assert self.page.address is not None
        return f"http://{ADDRESS}:{self.page.address[1]}"

    async def ask(self, path: str, method: str = "GET", **keywords: Any) -> Answer:
        """Ask for a path."""
        async with self.session.request(method, self.url + path, allow_redirects=False, **keywords) as response:
            return Answer(response.status, response.headers, await response.text())

    async def see(self, path: str) -> Answer:
        """Ask as a browser does."""
        return await self.ask(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})

    @contextlib.asynccontextmanager
    async def events(self) -> AsyncIterator[Events]:
        """Watch the page."""
        async with self.session.get(f"{self.url}/events") as response:
            assert response.status == 200
            yield Events(response)


@contextlib.asynccontextmanager
async def opened(folder: Path, instrument: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[Site]:
    """Open a page over a new house whose journal is in a folder; settings are those of the page."""
    path = folder / "journal.sqlite"
    config = make_config(
        **({} if instrument is None else {"instrument": instrument}),
        journal_path=str(path),
        page={"address": ADDRESS, "port": 0, "frame_ancestors": (), **settings},
        report={"directory": str(folder / "reports"), "s3_instance": ""},
    )
    house = await House(config, path).open()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=True, read_bufsize=LINE_LIMIT) as session:
        site = Site(house, session, folder)
        await site.page.open(config)
        try:
            with no_error_of_the_server():
                yield site
        finally:
            await site.page.close()
            await house.close()


@contextlib.contextmanager
def no_error_of_the_server() -> Iterator[None]:
    """Fail if an answer ended in an error that only aiohttp's log tells."""
    log, records = logging.getLogger("aiohttp.server"), list[logging.LogRecord]()
    handler = logging.Handler(logging.ERROR)
    handler.emit = records.append  # type: ignore[method-assign]
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
    assert not records, [(one.getMessage(), one.exc_info) for one in records]
