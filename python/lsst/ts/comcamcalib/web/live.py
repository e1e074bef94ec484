# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens now, looked at every second, and told to all who watch the page, with its age."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..record.history import History
from ..services.worker_threads import WorkerThreads
from . import data
from .memory import Memory
from .now import Seen, now_document
from .pages import page, parts_of_board, parts_of_now

__all__ = ["STALE_S", "Live", "Reader"]

INTERVAL_S = 1.0
"""Time between two looks (seconds)."""

STALE_S = 15.0
"""What was seen longer ago is out of date (seconds): the page turns red, and the CSC does not count as ready."""

TICK_S = 4.0
"""Longest time in which a reader hears nothing (seconds)."""

AGAIN_S = 10.0
"""Time after which the parts of a run in progress are made again, because durations grow (seconds)."""

RENDER_LIMIT_S = 20.0
"""Longest wait for the thread that makes the page (seconds)."""


class Reader:
    """Somebody who watches the page. What is not sent yet is kept once for each part, however slow the reader is.

    Parameters
    ----------
    parts
        Parts of the page by id, each as JSON, which all readers share.
    age_s
        Returns how long ago what the parts show was seen (seconds).
    """

    def __init__(self, parts: Mapping[str, bytes], age_s: Callable[[], float]) -> None:
        self._pending = dict(parts)
        self._age_s = age_s
        self._news = asyncio.Event()
        if parts:
            self._news.set()
        self._ended = False

    def send(self, parts: Mapping[str, bytes]) -> None:
        """Have some parts sent."""
        self._pending |= parts
        self._news.set()

    def end(self) -> None:
        """Have the stream end."""
        self._ended = True
        self._news.set()

    async def next(self) -> Sequence[bytes]:
        """Wait for what is to be sent next, but not longer than until a sign of life is due; empty: the stream ends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TICK_S):
                await self._news.wait()
        self._news.clear()
        if self._ended:
            return ()
        pending, self._pending = self._pending, {}
        age_s = self._age_s()
        shown = f"{age_s:.1f}" if math.isfinite(age_s) else "null"
        pieces = [f'event: {"parts" if pending else "tick"}\ndata: {{"age_s": {shown}, "parts": {{'.encode()]
        for number, (name, html) in enumerate(pending.items()):
            pieces += [b", " if number else b"", json.dumps(name).encode(), b": ", html]
        return (*pieces, b"}}\n\n")


class Live:
    """What happens now.

    Parameters
    ----------
    look
        Returns what is to be seen of the CSC; called in the event loop.
    board
        Returns the board.
    threads
        In which documents and HTML are made.
    """

    def __init__(self, look: Callable[[], Seen], board: Callable[[], data.Board], threads: WorkerThreads) -> None:
        self._look = look
        self._board = board
        self._threads = threads
        self._log = logging.getLogger(__name__)
        self._history: History | None = None
        self._board_shown: data.Board | None = None
        self._made_at = self._seen_at = float("-inf")
        # Number of looks that have succeeded.
        self._looks = 0
        self._parts: dict[str, bytes] = {}
        self._readers: set[Reader] = set()
        # The whole page, until something has changed or it says a wrong age.
        self._page: Memory[str] = Memory(1, math.inf)
        self._failed = False
        self.seen: Seen | None = None
        """What was seen last; None: nothing yet."""
        self.now: data.Now | None = None
        """What happens now; None: nothing was seen yet."""

    @property
    def readers(self) -> int:
        """Number of those who watch the page."""
        return len(self._readers)

    def age_s(self) -> float:
        """Return how long ago that was seen which is shown now (seconds); infinite: nothing was seen yet."""
        return asyncio.get_running_loop().time() - self._seen_at

    async def run(self) -> None:
        """Look every second, until cancelled; then all streams end."""
        try:
            while True:
                try:
                    await self.refresh()
                    self._failed = False
                except Exception:
                    # Readers hear how old what they see is, so that their page turns red.
                    if not self._failed:
                        self._log.exception("The status page could not be brought up to date; it is tried again")
                    self._failed = True
                await asyncio.sleep(INTERVAL_S)
        finally:
            for reader in self._readers:
                reader.end()

    async def refresh(self) -> None:
        """Look once, and send the readers what has changed."""
        loop_s = asyncio.get_running_loop().time()
        seen = self._look()
        board = self._board()
        going_on = seen.history is not None and seen.history.open
        anew = (
            self.now is None
            or seen.history is not self._history
            or self.seen is None
            or (seen.alarms, seen.state) != (self.seen.alarms, self.seen.state)
            or (going_on and loop_s - self._made_at >= AGAIN_S)
        )
        before = self.now

        def make() -> tuple[data.Now, dict[str, bytes]]:
            now = now_document(seen) if anew or before is None else _brought_up_to_date(before, seen)
            parts = parts_of_now(now, all_of_them=anew)
            if board is not self._board_shown:
                parts |= parts_of_board(board)
            parts["title"] = _title(now)
            return now, {name: json.dumps(html).encode() for name, html in parts.items()}

        now, parts = await self._threads.do("make the status page", RENDER_LIMIT_S, make)
        if anew:
            self._made_at = loop_s
        self.seen, self.now, self._history, self._board_shown = seen, now, seen.history, board
        self._seen_at = loop_s
        self._looks += 1
        changed = {name: html for name, html in parts.items() if self._parts.get(name) != html}
        self._parts |= parts
        if changed:
            for reader in self._readers:
                reader.send(changed)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Reader]:
        """Let somebody watch; the first thing to be sent is everything."""
        reader = Reader(self._parts, self.age_s)
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    async def close(self) -> None:
        """Wait for no page any more."""
        await self._page.close()

    async def html(self) -> str:
        """Return the whole page, which is made once for all who ask while nothing changes; it says how old it is."""
        if self.now is None:
            await self.refresh()
        now, board = self.now, self._board()
        assert now is not None, "Bug: nothing was seen"
        age_s = self.age_s()

        def make() -> str:
            return page("now", now=now, run=now.run, board=board, age_s=age_s, stale_s=STALE_S)

        key = self._looks, math.floor(age_s)
        return await self._page.get(key, lambda: self._threads.do("make the status page", RENDER_LIMIT_S, make))


def _brought_up_to_date(now: data.Now, seen: Seen) -> data.Now:
    """Return the document with what changes every second."""
    fresh = now_document(dataclasses.replace(seen, history=None))
    return fresh.model_copy(update={"run": now.run})


def _title(now: data.Now) -> str:
    return f"{now.run.run_id} {now.run.state}: ComCamCalib" if now.run else "No run: ComCamCalib"
