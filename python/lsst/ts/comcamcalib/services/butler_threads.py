# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Threads for the Butler repository: look-ups in parallel to certifications, each thread with its own Butler."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import tenacity

from ..config import Limits
from ..errors import ServiceError
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

LOOK_TRIES = 3
LOOK_PAUSE_S = 1.0
"""How often a look-up is tried if the connection to the database fails, and the pause before the next try (seconds)."""

PASSING_ERRORS = frozenset({"OperationalError", "InterfaceError", "DisconnectionError"})
"""SQLAlchemy's errors for a locked database or a lost connection."""

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
        self._looking = WorkerThreads(self._name, LOOK_UPS, self._end_looking)
        self._certifying = WorkerThreads(self._name, 1, self._close_butler)
        self._reading = WorkerThreads(self._name, FILES)

    def start(self) -> None:
        """Start the threads."""
        for threads in (self._looking, self._certifying, self._reading):
            threads.start()

    async def close(self) -> None:
        """End the threads; wait a short time for the calls in progress."""
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
        # A look-up changes nothing, so it may be repeated; the repository is opened anew for that.
        tries = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=tenacity.stop_after_attempt(LOOK_TRIES),
            wait=tenacity.wait_fixed(LOOK_PAUSE_S),
            reraise=True,
        )
        return await tries(self._looking.do, what, limit_s, call, self._queue_limit_s)

    async def in_order(
        self,
        what: str,
        limit_s: float,
        function: Callable[Concatenate[Butler, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Have the certifying thread call a function, after all earlier requests; see `look`."""
        call = self._with_butler(what, True, lambda butler: function(butler, *args, **kwargs))
        return await self._certifying.do(what, limit_s, call, self._queue_limit_s)

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


def _may_pass(error: BaseException) -> bool:
    """Return whether the next try may succeed: the database was locked or its connection was lost."""
    cause = error.__cause__
    # SQLAlchemy is Butler's own affair, and is not imported for this.
    kind = type(cause)
    of_the_connection = kind.__module__.startswith("sqlalchemy.") and kind.__name__ in PASSING_ERRORS
    return of_the_connection or isinstance(cause, ConnectionError)


def _close(butler: Butler | None) -> None:
    if butler is not None:
        with contextlib.suppress(Exception):  # a lost connection can't be closed either
            butler.close()
