# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""An event loop whose time costs nothing, in which everything happens in the same order each time.

When nothing is ready, the clock leaps to the next timer, or to the next event outside the process, whichever is first.
There are no real threads: the order in which they end would differ from one time to the next, and a night could not be
repeated by its seed. What the product gives to a thread takes some virtual time and is then done within the loop:
`VirtualLoop.run_in_executor` for `asyncio.to_thread`, `VirtualThreads` for the product's own threads. A real thread
that wakes the loop is an error: its work would take no time on this clock, and limits on it would mean nothing.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import contextvars
import heapq
import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.services.worker_threads import WorkerThreads

__all__ = [
    "HangError",
    "Killed",
    "Outside",
    "OutsideClock",
    "VirtualLoop",
    "VirtualThreads",
    "bury",
    "leap",
    "virtual_process",
]

MAX_CALLS = 200_000
"""So many callbacks without any progress of time are an endless loop."""

MIN_CANCELLED = 50
"""So many cancelled timers are left where they are."""

RESOLUTION_S = 1e-9
"""Timers that are less than this in the future are due, because sums of times are not exact (seconds)."""


class HangError(RuntimeError):
    """Nobody is left who could wake anybody, or time does not go on."""


class Killed(SystemExit):
    """The process is gone. asyncio lets a SystemExit out of the loop at once, in mid-air."""


class Outside(Protocol):
    """What goes on outside the process, and its time (seconds)."""

    time_s: float

    @property
    def next_s(self) -> float | None:
        """When something happens next; None: never."""

    def happen(self) -> None:
        """Set the time to that of the next event, and let it happen."""

    def tai(self) -> float:
        """Return the time that a clock shows (TAI unix seconds)."""


class OutsideClock(Clock):
    """The clock of a process on virtual time.

    Parameters
    ----------
    outside
        What goes on outside, and its time.
    """

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    def tai(self) -> float:
        """Return the time that the clock outside shows (TAI unix seconds)."""
        return self._outside.tai()


class _Handle(asyncio.Handle):
    """A callback that costs less, because there is no debugging in a night."""

    __slots__ = ()

    def __init__(self, callback: Any, args: Any, loop: Any, context: Any) -> None:
        self._context = contextvars.copy_context() if context is None else context
        self._loop, self._callback, self._args = loop, callback, args
        self._cancelled, self._repr = False, None


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop on the time of what is outside.

    Parameters
    ----------
    outside
        What happens outside the process.
    started_s
        What the monotonic clock shows at the beginning (seconds); it differs from process to process.
    thread_s
        Called for the time that a call takes in a thread (seconds).
    """

    def __init__(self, outside: Outside, started_s: float, thread_s: Callable[[], float]) -> None:
        super().__init__()
        self.set_exception_handler(lambda *_: None)  # a killed process says nothing
        self.outside = outside
        self.thread_s = thread_s
        self._ahead_s = started_s - outside.time_s
        self._owner = threading.get_ident()
        # Beside the handle its time and a number, because handles are slow to compare and equal times have no order.
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self._cancelled = 0
        self._ready: collections.deque[asyncio.Handle] = collections.deque()

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        """Call back soon."""
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        """Call back at a time of the loop (seconds)."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def _timer_handle_cancelled(self, _handle: asyncio.TimerHandle) -> None:
        """Throw the cancelled timers away when they are the most."""
        self._cancelled += 1
        if self._cancelled > MIN_CANCELLED and self._cancelled > len(self._timers) // 2:
            self._timers[:] = [one for one in self._timers if not one[2]._cancelled]  # type: ignore[attr-defined]
            heapq.heapify(self._timers)
            self._cancelled = 0

    @property
    def next_s(self) -> float | None:
        """When the next timer is due (seconds of what is outside); None: there is none."""
        timers = self._timers
        while timers and timers[0][2]._cancelled:  # type: ignore[attr-defined]
            heapq.heappop(timers)
        return timers[0][0] - self._ahead_s if timers else None

    def due(self) -> bool:
        """Return whether something can be called back now."""
        timers, ready = self._timers, self._ready
        if timers:
            now_s = self.outside.time_s + self._ahead_s + RESOLUTION_S
            while timers and timers[0][0] < now_s:
                ready.append(heapq.heappop(timers)[2])
        return bool(ready)

    def turn(self) -> None:
        """Call back all that is ready, and all that this makes ready, in the order of asyncio's own loop."""
        ready, left = self._ready, MAX_CALLS
        while ready and left:
            try:
                while ready and left:
                    left -= 1
                    handle: Any = ready.popleft()
                    if not handle._cancelled:
                        # As its `_run`, of which the call would cost as much again.
                        handle._context.run(handle._callback, *handle._args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self.call_exception_handler({"message": "A callback failed", "exception": error})
        if not left:
            raise HangError(f"{MAX_CALLS} callbacks were called, but time does not go on: {self._doing()}")

    def _run_once(self) -> None:
        """Let time leap if nothing is ready, otherwise turn; only if this is the only loop."""
        if self.due() or self._stopping:  # type: ignore[attr-defined]
            self.turn()
        else:
            leap(self.outside, self.next_s)

    def _doing(self) -> str:
        """Return the names of the tasks that can go on, and where they are."""
        found = []
        for task in asyncio.all_tasks(self):
            waiter = task._fut_waiter  # type: ignore[attr-defined]
            if waiter is None or waiter.done():
                frames = [f"{frame.f_code.co_qualname}:{frame.f_lineno}" for frame in task.get_stack()]
                found.append(f"{task.get_name()} ({' > '.join(frames)})")
        return ", ".join(found)

    def time(self) -> float:
        """Return the time of the loop (seconds)."""
        return self.outside.time_s + self._ahead_s

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        """Call back soon; only from the loop's own thread."""
        if threading.get_ident() != self._owner:
            raise RuntimeError(f"The thread {threading.current_thread().name} is not on the virtual clock.")
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        """Do a call after the time that it would take; if nobody waits any more, it is done all the same."""
        future = self.create_future()

        def finish() -> None:
            try:
                result = func(*args)
            except Exception as error:
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(result)

        self.call_later(self.thread_s(), finish)
        return future


def leap(outside: Outside, timer_s: float | None) -> None:
    """Go to the time of the next timer, or let the next event outside happen, whichever is first."""
    event_s = outside.next_s
    if event_s is not None and (timer_s is None or event_s <= timer_s):
        outside.happen()
    elif timer_s is not None:
        outside.time_s = max(timer_s, outside.time_s)
    else:
        raise HangError("Every task waits, and nothing is planned that could wake one.")


class _NoThread:
    """Stands for a thread that does its calls within the loop."""

    def join(self, _limit_s: float) -> None:
        """Nothing to wait for."""

    def is_alive(self) -> bool:
        return False


class _Queue:
    """The queue between a `WorkerThreads` and its threads, of which the loop does the work."""

    def __init__(self, begin: Callable[[], None]) -> None:
        self._begin = begin
        self._calls: collections.deque[Any] = collections.deque()

    def put(self, call: Any) -> None:
        self._calls.append(call)
        self._begin()

    def get(self) -> Any:
        return self._calls.popleft()

    def empty(self) -> bool:
        return not self._calls


class VirtualThreads(WorkerThreads):
    """The product's threads without threads; limits, order and cancelling are the product's own code.

    Attributes
    ----------
    around
        Does a call, and may do something before and after it; set by a test.
    """

    loop: VirtualLoop
    """The process's loop, from `start` on."""

    around: Callable[[str, Callable[[], Any]], Any] = staticmethod(lambda _what, function: function())
    seconds: Callable[[str], float | None] = staticmethod(lambda _what: None)
    """How long a call takes (seconds); None: as usual."""

    def start(self) -> None:
        """Be ready for calls."""
        self._queue = _Queue(self._begin)  # type: ignore[assignment]
        self._threads = [_NoThread() for _ in range(self._count)]  # type: ignore[misc]
        self._free = self._count
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop), "virtual threads need the virtual loop"
        self.loop = loop

    def _begin(self) -> None:
        while self._free and not self._queue.empty():
            call = self._queue.get()
            if call is None:
                self._at_end()
            elif call.outcome.set_running_or_notify_cancel():
                self._free -= 1
                self._doing[f"call {id(call)}"] = call.what
                call.begun.set_result(None)
                seconds = self.seconds(call.what)
                self.begun(call.what)
                self.loop.call_later(self.loop.thread_s() if seconds is None else seconds, self._finish, call)

    def begun(self, what: str) -> None:
        """A thread has begun a call."""

    def _finish(self, call: Any) -> None:
        try:
            result = self.around(call.what, call.function)
        except Exception as error:
            call.outcome.set_exception(error)
        else:
            call.outcome.set_result(result)
        finally:
            self._free += 1
            del self._doing[f"call {id(call)}"]
        self._begin()


@contextlib.contextmanager
def virtual_process(outside: Outside, started_s: float, thread_s: Callable[[], float]) -> Iterator[VirtualLoop]:
    """Be a process on virtual time, and the only one. Its time of day is an `OutsideClock`.

    What still waits at the end is thrown away, as if the process had been killed: no task goes on.

    Parameters
    ----------
    outside, started_s, thread_s
        See `VirtualLoop`.
    """
    loop = VirtualLoop(outside, started_s, thread_s)
    try:
        yield loop
    finally:
        bury(loop)


def bury(loop: VirtualLoop) -> None:
    """End what is left of a process.

    Left to the garbage collection, its coroutines would be closed at any time, perhaps within the loop of another
    process, in which their clean-up could begin new tasks.
    """
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)  # the dead say nothing
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        coroutine = task.get_coro()
        # Clean-up that waits for something ends with an error, because there is no loop any more.
        with contextlib.suppress(BaseException):
            coroutine.close()  # type: ignore[union-attr]
    logging.disable(disabled)
    loop.close()
