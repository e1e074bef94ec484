# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What happens now, looked at every second, and told to all who watch the page."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
from collections.abc import Callable, Iterator

from ..record.history import History
from ..services.worker_threads import WorkerThreads
from . import data
from .now import Seen, now_document
from .pages import page, parts_of_board, parts_of_now

__all__ = ["Live", "Reader"]

INTERVAL_S = 1.0
"""Time between two looks (seconds)."""

TICK_S = 4.0
"""Longest time in which a reader hears nothing (seconds); the page turns red after 15."""

AGAIN_S = 10.0
"""Time after which the parts of a run in progress are made again, because durations grow (seconds)."""

RENDER_LIMIT_S = 20.0
"""Longest wait for the thread that makes the page (seconds)."""


class Reader:
    """Somebody who watches the page. What is not sent yet is kept once for each part, however slow the reader is."""

    def __init__(self, parts: dict[str, str]) -> None:
        self._pending = dict(parts)
        self._news = asyncio.Event()
        if parts:
            self._news.set()
        self._ended = False

    def send(self, parts: dict[str, str]) -> None:
        """Have some parts sent, or just a sign of life."""
        self._pending |= parts
        self._news.set()

    def end(self) -> None:
        """Have the stream end."""
        self._ended = True
        self._news.set()

    async def next(self) -> bytes:
        """Wait for what is to be sent next; empty: the stream ends."""
        await self._news.wait()
        self._news.clear()
        if self._ended:
            return b""
        pending, self._pending = self._pending, {}
        if not pending:
            return b"event: tick\ndata:\n\n"
        return f"event: parts\ndata: {json.dumps(pending)}\n\n".encode()


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
        self._made_at = self._notified_at = float("-inf")
        self._parts: dict[str, str] = {}
        self._readers: set[Reader] = set()
        # The whole page, until something has changed.
        self._page: tuple[data.Now, str] | None = None
        self._failed = False
        self.seen: Seen | None = None
        """What was seen last; None: nothing yet."""
        self.now: data.Now | None = None
        """What happens now; None: nothing was seen yet."""

    @property
    def readers(self) -> int:
        """Number of those who watch the page."""
        return len(self._readers)

    async def run(self) -> None:
        """Look every second, until cancelled; then all streams end."""
        try:
            while True:
                try:
                    await self.refresh()
                    self._failed = False
                except Exception:
                    # Readers hear nothing more, so that their page turns red.
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

        def make() -> tuple[data.Now, dict[str, str]]:
            now = now_document(seen) if anew or before is None else _brought_up_to_date(before, seen)
            parts = parts_of_now(now, all_of_them=anew)
            if board is not self._board_shown:
                parts |= parts_of_board(board)
            parts["title"] = _title(now)
            return now, parts

        now, parts = await self._threads.do("make the status page", RENDER_LIMIT_S, make)
        if anew:
            self._made_at = loop_s
        self.seen, self.now, self._history, self._board_shown = seen, now, seen.history, board
        self._notify({name: html for name, html in parts.items() if self._parts.get(name) != html}, loop_s)
        self._parts |= parts

    def _notify(self, changed: dict[str, str], loop_s: float) -> None:
        if changed or loop_s - self._notified_at >= TICK_S:
            self._notified_at = loop_s
            for reader in self._readers:
                reader.send(changed)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Reader]:
        """Let somebody watch; the first thing to be sent is everything."""
        reader = Reader(self._parts)
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    async def html(self) -> str:
        """Return the whole page, which is made once for all who ask while nothing changes."""
        if self.now is None:
            await self.refresh()
        now, board = self.now, self._board()
        assert now is not None, "Bug: nothing was seen"
        if self._page is None or self._page[0] is not now:
            text = await self._threads.do(
                "make the status page", RENDER_LIMIT_S, lambda: page("now", now=now, run=now.run, board=board)
            )
            self._page = now, text
        return self._page[1]


def _brought_up_to_date(now: data.Now, seen: Seen) -> data.Now:
    """Return the document with what changes every second."""
    fresh = now_document(dataclasses.replace(seen, history=None))
    return fresh.model_copy(update={"run": now.run})


def _title(now: data.Now) -> str:
    return f"{now.run.run_id} {now.run.state}: ComCamCalib" if now.run else "No run: ComCamCalib"
