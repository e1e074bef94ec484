# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A thread that does one thing after the other, for libraries that block and want to be used by one thread only."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import ServiceError, UnreachableError

__all__ = ["WorkerThread"]

T = TypeVar("T")


class WorkerThread:
    """One thread and its queue.

    The thread is a daemon: what hangs in it does not keep the process from ending, as it would in an executor.

    Parameters
    ----------
    name
        Name of the thread, also for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._log = logging.getLogger(__name__)
        self._queue: queue.SimpleQueue[tuple[str, Callable[[], Any], concurrent.futures.Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None
        self._doing = ""

    @property
    def doing(self) -> str:
        """What the thread is doing; empty if nothing."""
        return self._doing

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        self._thread.start()

    async def do(self, what: str, limit_s: float, function: Callable[[], T]) -> T:
        """Have the thread call a function, and return what it returns.

        Parameters
        ----------
        what
            What the function does, for messages; goes on the sentence "could not".
        limit_s
            Longest wait (seconds), for what the thread is doing already too.
        function
            What to call.

        Raises
        ------
        UnreachableError
            If it was not done within the limit. A call that has begun can't be stopped; it goes on, and the message
            says so. One that has not begun never will.
        ServiceError
            If the thread is not running.
        """
        if self._thread is None:
            raise ServiceError(f"{self._name} could not {what}: it is closed.")
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._queue.put((what, function, future))
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            if not future.cancelled() and not future.running():
                raise  # it is the function's own
            state = (
                f"it still tries to {self._doing}, which can't be stopped"
                if self._doing
                else "the thread did not get to it"
            )
            raise UnreachableError(f"{self._name} could not {what} within {limit_s:g} s: {state}.") from error
        except asyncio.CancelledError:
            if future.running():
                self._log.warning("%s goes on to %s; nobody waits for it any more", self._name, what)
            raise

    async def close(self, limit_s: float) -> None:
        """End the thread; what has not begun never will.

        Parameters
        ----------
        limit_s
            Longest wait for what it is doing (seconds); after that it is left to itself.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        while not self._queue.empty():
            item = self._queue.get()
            if item is not None:
                item[2].cancel()
        self._queue.put(None)
        await asyncio.to_thread(thread.join, limit_s)
        if thread.is_alive():
            self._log.warning("%s is left behind: it still tries to %s", self._name, self._doing)

    def _work(self) -> None:
        """Do what the queue says, until it says None."""
        while (item := self._queue.get()) is not None:
            what, function, future = item
            if not future.set_running_or_notify_cancel():
                continue
            self._doing = what
            try:
                result = function()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            self._doing = ""
