# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Threads for the Butler repository: look-ups in parallel to certifications, each thread with its own Butler."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from ..config import Limits
from ..errors import ServiceError, UnreachableError
from .database_errors import Trouble, database_trouble
from .worker_threads import WorkerThreads

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

__all__ = ["ButlerThreads"]

P = ParamSpec("P")
T = TypeVar("T")

CLOSE_LIMIT_S = 3.0
"""Longest wait for calls in progress when the threads end (seconds), because ``disable`` must not take longer."""

LOOK_UPS = 3
"""Look-ups in parallel: one may read a whole verification, one wait for a locked database, and one is still free."""

TRIES = 3
"""How often a call is tried if somebody else is in its way in the database."""

LAST_TRY = 0.8
"""In which part of a call's limit its last try may begin, so that it can end, and tell the cause, before the limit."""

PAUSES_S = (1.0, 2.0, 5.0)
"""Pauses before the second, third and each further try (seconds)."""

FILES = 8
"""Files read in parallel: an object store takes about 30 ms for each request, whatever its size."""


class ButlerThreads:
    """Threads for Butler calls: some for look-ups, one for certifications, and some that read files without a Butler.

    The first call imports Butler and opens the repository, so that this does not happen in STANDBY. No two threads use
    the same Butler object: the look-up threads have clones of one that is used for nothing else, because a clone is
    made without asking the database. Only the certifying thread may write; it does its calls in order.

    Parameters
    ----------
    repo
        The repository.
    limits
        Limits of time; ``butler_queue`` is how long a call may wait for its turn.
    """

    def __init__(self, repo: str, limits: Limits) -> None:
        self._repo = repo
        self._name = f"Butler ({repo})"
        self._queue_limit_s = limits.butler_queue
        self._own = threading.local()  # .butler: that of the thread
        self._original: Butler | None = None
        self._original_lock = threading.Lock()
        self._still_looking = LOOK_UPS  # threads that have not ended
        self._closing = threading.Event()
        self._log = logging.getLogger(__name__)
        self._looking = WorkerThreads(self._name, LOOK_UPS, self._end_looking)
        self._certifying = WorkerThreads(self._name, 1, self._close_butler)
        self._reading = WorkerThreads(self._name, FILES)

    def start(self) -> None:
        """Start the threads."""
        self._closing.clear()
        for threads in (self._looking, self._certifying, self._reading):
            threads.start()

    async def close(self) -> None:
        """End the threads; wait a short time for the calls in progress. No call is tried again from now on."""
        self._closing.set()
        await asyncio.gather(
            *(threads.close(CLOSE_LIMIT_S) for threads in (self._looking, self._certifying, self._reading))
        )

    async def look(
        self,
        what: str,
        limit_s: float,
        function: Callable[Concatenate[Butler, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Have one of the look-up threads call a function with its Butler.

        It is called again if that may help: a few times if somebody else is in its way in the database, for as long as
        the limit allows if the connection is lost. In the pauses the thread is free for others.

        Parameters
        ----------
        what
            What the function does; continues the sentence "Butler could not".
        limit_s
            Longest wait, from its own beginning (seconds).
        function
            Called with the opened Butler and the further arguments.

        Raises
        ------
        UnreachableError
            If it took too long, or no thread was free for too long.
        ServiceError
            If it failed.
        """
        call = self._with_butler(what, False, lambda butler: function(butler, *args, **kwargs))
        tries = _Tries(limit_s, self._log)
        while True:
            try:
                return await self._looking.do(what, limit_s, call, self._queue_limit_s)
            except ServiceError as error:
                await asyncio.sleep(tries.pause_after(error))

    async def in_order(
        self,
        what: str,
        limit_s: float,
        function: Callable[Concatenate[Butler, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Have the certifying thread call a function, after all earlier requests; see `look`.

        The thread calls it again by itself, so that later requests see what became of it. So it must not matter if it
        was done already when its connection was lost.
        """
        call = self._with_butler(what, True, lambda butler: function(butler, *args, **kwargs))

        def call_until_done() -> T:
            tries = _Tries(limit_s, self._log)
            while True:
                try:
                    return call()
                except ServiceError as error:
                    if self._closing.wait(tries.pause_after(error)):
                        raise

        return await self._certifying.do(what, limit_s, call_until_done, self._queue_limit_s)

    async def read(self, what: str, limit_s: float, function: Callable[[], T]) -> T:
        """Have one of the threads that read files call a function, which needs no Butler; see `look`."""

        def call() -> T:
            try:
                return function()
            except ServiceError:
                raise
            except Exception as error:
                raise self._failed(what, error) from error

        return await self._reading.do(what, limit_s, call, self._queue_limit_s)

    def _with_butler(self, what: str, writeable: bool, function: Callable[[Butler], T]) -> Callable[[], T]:
        """Return a call of a function with the thread's Butler."""

        def call() -> T:
            try:
                return function(self._opened_butler(writeable))
            except ServiceError:
                raise
            except Exception as error:
                # The connection to the database may be lost, so open the repository again next time.
                self._close_butler()
                if not writeable:
                    self._drop_original()
                raise self._failed(what, error) from error

        return call

    def _failed(self, what: str, error: Exception) -> ServiceError:
        if (trouble := database_trouble(error)) is not None:
            # Whether a lost statement was done is as unknown as after a time-out.
            kind = UnreachableError if trouble.kind is Trouble.LOST else ServiceError
            return kind(f"{self._name} could not {what}: {trouble.sentence}")
        cause = " ".join(f"{type(error).__name__}: {error}".split())  # on one line
        return ServiceError(f"{self._name} could not {what}: {cause}")

    def _opened_butler(self, writeable: bool) -> Butler:
        """Return the thread's Butler, refreshed so that it sees what others have changed."""
        butler: Butler | None = getattr(self._own, "butler", None)
        if butler is None:
            butler = self._own.butler = self._open() if writeable else self._clone()
        butler.registry.refresh()
        return butler

    def _open(self, writeable: bool = True) -> Butler:
        from lsst.daf.butler import Butler

        return Butler.from_config(self._repo, writeable=writeable)

    def _clone(self) -> Butler:
        with self._original_lock:
            if self._original is None:
                self._original = self._open(writeable=False)
            return self._original.clone()

    def _close_butler(self) -> None:
        """Close the thread's Butler."""
        butler: Butler | None = getattr(self._own, "butler", None)
        self._own.butler = None
        _close(butler)

    def _end_looking(self) -> None:
        """Close the Butler of a look-up thread; the last one to end closes the Butler from which all are cloned."""
        self._close_butler()
        with self._original_lock:
            self._still_looking -= 1
            last = not self._still_looking
        if last:
            self._drop_original()

    def _drop_original(self) -> None:
        """Close the Butler from which clones are made; the next clone is made from a new one."""
        with self._original_lock:
            butler, self._original = self._original, None
        _close(butler)


class _Tries:
    """The tries of one call, and whether there may be another.

    Parameters
    ----------
    limit_s
        Limit of the call (seconds).
    log
        Where a lost connection is logged, when it is first seen.
    """

    def __init__(self, limit_s: float, log: logging.Logger) -> None:
        self._until = time.monotonic() + LAST_TRY * limit_s
        self._log = log
        self._failed = 0

    def pause_after(self, error: ServiceError) -> float:
        """Return the pause before the next try (seconds).

        Raises
        ------
        ServiceError
            The error, if no other try may help.
        """
        trouble = database_trouble(error.__cause__)
        if trouble is None or trouble.kind is Trouble.REFUSED:
            raise error
        self._failed += 1
        lost = trouble.kind is Trouble.LOST
        pause_s = PAUSES_S[min(self._failed, len(PAUSES_S)) - 1]
        if time.monotonic() + pause_s >= self._until or not (lost or self._failed < TRIES):
            raise error
        if lost and self._failed == 1:
            self._log.warning("%s. It is tried again for %.0f s", error, self._until - time.monotonic())
        return pause_s


def _close(butler: Butler | None) -> None:
    if butler is not None:
        with contextlib.suppress(Exception):  # a lost connection can't be closed either
            butler.close()
