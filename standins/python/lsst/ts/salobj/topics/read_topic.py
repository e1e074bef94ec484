# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A topic that is read."""

from __future__ import annotations

import asyncio
import collections
import inspect
import warnings
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from .base_topic import BaseTopic
from .queue_capacity_checker import QueueCapacityChecker

if TYPE_CHECKING:
    from ..sal_info import SalInfo

__all__ = ["DEFAULT_QUEUE_LEN", "MIN_QUEUE_LEN", "CallbackType", "ReadTopic"]

DEFAULT_QUEUE_LEN = 100
MIN_QUEUE_LEN = 10

CallbackType = Callable[[Any], Awaitable[Any]]


class ReadTopic(BaseTopic):
    """Samples of a topic, by waiting for them or by a callback.

    Parameters
    ----------
    salinfo : `SalInfo`
        The component.
    attr_name : `str`
        Name of the topic as an attribute, such as evt_summaryState.
    max_history : `int`
        How many samples to read that are older than the reader; 0 for none.
    queue_len : `int`
        How many samples the queue holds; then the oldest is dropped.

    Attributes
    ----------
    allow_multiple_callbacks : `bool`
        May the callback be called again while it runs? False: one sample after the other.

    Raises
    ------
    RuntimeError
        If there is no such topic, or the SalInfo has been started.
    ValueError
        If ``max_history`` is negative, or larger than 1 for all indices of an indexed component, or does not fit in the
        queue, or the queue is not longer than 10, or the SalInfo reads the topic already.
    """

    def __init__(
        self, *, salinfo: SalInfo, attr_name: str, max_history: int, queue_len: int = DEFAULT_QUEUE_LEN
    ) -> None:
        super().__init__(salinfo=salinfo, attr_name=attr_name)
        if max_history < 0:
            raise ValueError(f"max_history={max_history} must be >= 0")
        if queue_len <= MIN_QUEUE_LEN:
            raise ValueError(f"queue_len={queue_len} must be > {MIN_QUEUE_LEN}")
        if max_history > queue_len:
            raise ValueError(f"max_history={max_history} must be <= queue_len={queue_len}")
        if max_history > 1 and salinfo.indexed and salinfo.index == 0:
            raise ValueError(f"max_history={max_history} must be 0 or 1 for a reader of all indices of {salinfo.name}")
        self.allow_multiple_callbacks = False
        self._max_history = max_history
        self._newest: Any = None
        self._queue: collections.deque[Any] = collections.deque(maxlen=queue_len)
        self._capacity = QueueCapacityChecker(f"{self.attr_name} queue", self.log, queue_len)
        # A queue that nobody ever reads is no reason to warn.
        self._is_read = False
        self._next_waiters: set[asyncio.Future[Any]] = set()
        self._first_waiters: set[asyncio.Future[Any]] = set()
        self._callback: CallbackType | None = None
        self._queued = asyncio.Event()
        # Takes samples from the queue and calls the callback; None without a callback.
        self._callback_loop_task: asyncio.Task[None] | None = None
        # Calls of the callback that run, if several may.
        self._callback_tasks: set[asyncio.Task[None]] = set()
        salinfo.add_reader(self)

    @property
    def max_history(self) -> int:
        """How many old samples are read at the start."""
        return self._max_history

    @property
    def has_data(self) -> bool:
        """Has any sample been seen?"""
        self.salinfo.assert_started()
        return self._newest is not None

    @property
    def nqueued(self) -> int:
        """Number of samples in the queue."""
        return len(self._queue)

    @property
    def has_callback(self) -> bool:
        """Is there a callback?"""
        return self._callback is not None

    @property
    def callback(self) -> CallbackType | None:
        """Coroutine function with one argument, called with each sample; `None` for none.

        Setting it empties the queue. What it raises is logged. While there is one, `aget`, `next`, `get_oldest` and
        `flush` raise `RuntimeError`.
        """
        return self._callback

    @callback.setter
    def callback(self, callback: CallbackType | None) -> None:
        if callback is not None and not callable(callback):
            raise TypeError(f"callback {callback!r} is not callable")
        self._cancel_callbacks()
        self._queue.clear()
        self._callback = callback
        if callback is None:
            return
        if not inspect.iscoroutinefunction(callback) and not inspect.iscoroutinefunction(
            getattr(callback, "__call__", None)  # noqa: B004
        ):
            warnings.warn(
                f"{self}: callback {callback} should be a coroutine function", DeprecationWarning, stacklevel=2
            )
        self._is_read = True
        self._callback_loop_task = asyncio.create_task(self._callback_loop(), name=f"{self} callback loop")

    def get(self) -> Any:
        """Return the newest sample, or `None` if none has been seen. It stays in the queue."""
        self.salinfo.assert_started()
        return self._newest

    async def aget(self, timeout: float | None = None) -> Any:
        """Return the newest sample; wait for it if none has been seen. It stays in the queue.

        Parameters
        ----------
        timeout : `float` or `None`
            Time limit (seconds); `None` for none.

        Raises
        ------
        asyncio.TimeoutError
            If none comes in time.
        RuntimeError
            If there is a callback, or the SalInfo is not started.
        """
        self.salinfo.assert_started()
        self._refuse_with_callback("aget")
        if self._newest is not None:
            return self._newest
        return await self._wait(self._first_waiters, timeout)

    def get_oldest(self) -> Any:
        """Take the oldest sample from the queue; `None` if it is empty."""
        self.salinfo.assert_started()
        self._refuse_with_callback("get_oldest")
        self._is_read = True
        return self._queue.popleft() if self._queue else None

    async def next(self, *, flush: bool, timeout: float | None = None) -> Any:
        """Take the oldest sample from the queue; wait for one if it is empty.

        Parameters
        ----------
        flush : `bool`
            Empty the queue first?
        timeout : `float` or `None`
            Time limit (seconds); `None` for none.

        Raises
        ------
        asyncio.TimeoutError
            If none comes in time.
        RuntimeError
            If there is a callback, or the SalInfo is not started.
        """
        self.salinfo.assert_started()
        self._refuse_with_callback("next")
        self._is_read = True
        if flush:
            self._queue.clear()
        if self._queue:
            return self._queue.popleft()
        return await self._wait(self._next_waiters, timeout)

    def flush(self) -> None:
        """Empty the queue. What `get` and `aget` return stays."""
        self._refuse_with_callback("flush")
        self._queue.clear()

    async def close(self) -> None:
        """End all waiting and all callbacks."""
        self.basic_close()

    def basic_close(self) -> None:
        """End all waiting and all callbacks."""
        self._cancel_callbacks()
        for waiter in self._next_waiters | self._first_waiters:
            waiter.cancel()
        self._queue.clear()

    def _refuse_with_callback(self, method: str) -> None:
        if self._callback is not None:
            raise RuntimeError(f"{method} not allowed: {self} has a callback")

    async def _wait(self, waiters: set[asyncio.Future[Any]], timeout: float | None) -> Any:
        """Wait for the sample that `_queue_data` gives to all of these waiters."""
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiters.add(waiter)
        try:
            # A future of its own for each caller: the time limit of one must not end the waiting of another.
            await asyncio.wait([waiter], timeout=timeout)
        finally:
            waiters.discard(waiter)
        if not waiter.done():
            raise TimeoutError(f"{self}: no sample within {timeout} s")
        return waiter.result()

    def _accepts(self, data: dict[str, Any]) -> bool:
        """Is this data for this reader, by its SAL index?"""
        index = self.salinfo.index
        return index == 0 or data["salIndex"] == index

    def _queue_data(self, data: dict[str, Any]) -> None:
        """Take over a sample that was read, given as the values of all fields."""
        sample = self.DataType(**data)
        self._newest = sample
        _resolve(self._first_waiters, sample)
        if self._callback is not None and self.allow_multiple_callbacks:
            task = asyncio.create_task(self._call(self._callback, sample), name=f"{self} callback")
            self._callback_tasks.add(task)
            task.add_done_callback(self._callback_tasks.discard)
        elif self._next_waiters:
            _resolve(self._next_waiters, sample)
        else:
            self._queue.append(sample)
            self._queued.set()
            if self._is_read:
                self._capacity.check_nitems(len(self._queue))

    async def _callback_loop(self) -> None:
        """Call the callback with one sample after the other."""
        callback = self._callback
        assert callback is not None
        while True:
            while not self._queue:
                self._queued.clear()
                await self._queued.wait()
            sample = self._queue.popleft()
            self._capacity.check_nitems(len(self._queue))
            await self._call(callback, sample)

    async def _call(self, callback: CallbackType, sample: Any) -> None:
        """Call the callback; what it raises is logged."""
        try:
            result = callback(sample)
            if inspect.isawaitable(result):
                await result
        except Exception:
            self.log.exception(f"Callback {callback} failed with data={sample}")

    def _cancel_callbacks(self) -> None:
        """End the callback loop and the calls that run, but not one from which this is called."""
        try:
            current = asyncio.current_task()
        except RuntimeError:
            current = None
        for task in (self._callback_loop_task, *self._callback_tasks):
            if task is not None and task is not current:
                task.cancel()
        self._callback_loop_task = None
        self._callback = None


def _resolve(waiters: set[asyncio.Future[Any]], sample: Any) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(sample)
    waiters.clear()
