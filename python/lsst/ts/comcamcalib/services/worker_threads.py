# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Threads that share a queue, for libraries that block."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import ServiceError, UnreachableError

__all__ = ["WorkerThreads"]

T = TypeVar("T")


@dataclasses.dataclass(eq=False)
class _Call:
    """A call for a thread, and its state."""

    what: str
    function: Callable[[], Any]
    begun: concurrent.futures.Future[None] = dataclasses.field(default_factory=concurrent.futures.Future)
    outcome: concurrent.futures.Future[Any] = dataclasses.field(default_factory=concurrent.futures.Future)


class WorkerThreads:
    """Threads that take calls from one queue, each thread one call after the other.

    The threads are daemons, so a call that hangs does not keep the process from ending, as it would in an executor.

    Parameters
    ----------
    name
        Name of the threads, also for messages.
    count
        Number of calls that can run in parallel.
    at_end
        Called by each thread before it ends.
    """

    def __init__(self, name: str, count: int = 1, at_end: Callable[[], None] = lambda: None) -> None:
        self._name = name
        self._count = count
        self._at_end = at_end
        self._log = logging.getLogger(__name__)
        self._queue: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._doing: dict[str, str] = {}

    @property
    def doing(self) -> str:
        """The calls in progress; empty if there are none."""
        return ", ".join(list(self._doing.values()))

    def start(self) -> None:
        """Start the threads."""
        self._threads = [
            threading.Thread(target=self._work, name=f"{self._name} {number}", daemon=True)
            for number in range(self._count)
        ]
        for thread in self._threads:
            thread.start()

    async def do(self, what: str, limit_s: float, function: Callable[[], T], queue_limit_s: float = 0.0) -> T:
        """Have a thread call a function, and return what it returns.

        Parameters
        ----------
        what
            What the function does, for messages; continues the sentence "could not".
        limit_s
            Longest wait for the function, from its own beginning (seconds).
        function
            The function.
        queue_limit_s
            Longest wait for a thread that is free to begin it (seconds), at least ``limit_s``.

        Raises
        ------
        UnreachableError
            If a limit is over. A call that has begun can't be stopped; it goes on, and the message says so. A call
            that has not begun never will.
        ServiceError
            If the threads are not running, or are ended before one of them has begun the call.
        """
        if not self._threads:
            raise ServiceError(f"{self._name} could not {what}: it is closed.")
        call = _Call(what, function)
        begun, ended = asyncio.wrap_future(call.begun), asyncio.wrap_future(call.outcome)
        # If nothing waits for it any more when it fails, asyncio would report an exception that was never retrieved.
        ended.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._queue.put(call)
        try:
            wait_s = max(limit_s, queue_limit_s)
            await asyncio.wait([begun, ended], timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            if not begun.done() and call.outcome.cancel():
                raise self._never_begun(what, wait_s)
            await asyncio.wait([ended], timeout=limit_s)
        except asyncio.CancelledError:
            if not call.outcome.cancel() and not call.outcome.done():
                self._log.warning("%s still tries to %s, although nothing waits for it any more", self._name, what)
            raise
        if not ended.done():
            raise UnreachableError(
                f"{self._name} could not {what} within {limit_s:g} s: the call goes on and can't be stopped."
            )
        result: T = ended.result()
        return result

    def _never_begun(self, what: str, wait_s: float) -> ServiceError:
        if not self._threads:
            return ServiceError(f"{self._name} could not {what}: it was closed before it began.")
        return UnreachableError(
            f"{self._name} could not {what}: it was busy for {wait_s:g} s, and still tries to {self.doing}, "
            "which can't be stopped."
        )

    async def close(self, limit_s: float) -> None:
        """End the threads; calls that have not begun never will.

        Parameters
        ----------
        limit_s
            Longest wait for calls in progress (seconds); after that the threads are left running.
        """
        threads, self._threads = self._threads, []
        while not self._queue.empty():
            call = self._queue.get()
            if call is not None:
                call.outcome.cancel()
        for _ in threads:
            self._queue.put(None)
        await asyncio.to_thread(_join, threads, limit_s)
        if any(thread.is_alive() for thread in threads):
            self._log.warning("%s is left behind: it still tries to %s", self._name, self.doing or "close")

    def _work(self) -> None:
        """Do the calls in the queue until it has None."""
        name = threading.current_thread().name
        while (call := self._queue.get()) is not None:
            if not call.outcome.set_running_or_notify_cancel():
                continue
            self._doing[name] = call.what
            call.begun.set_result(None)
            try:
                result = call.function()
            except BaseException as error:
                del self._doing[name]
                call.outcome.set_exception(error)
            else:
                del self._doing[name]
                call.outcome.set_result(result)
        self._at_end()


def _join(threads: list[threading.Thread], limit_s: float) -> None:
    """Wait until all threads have ended, but not longer than the limit (seconds)."""
    until = time.monotonic() + limit_s
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
