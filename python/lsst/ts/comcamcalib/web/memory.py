# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Remembers what was read for a while, so that a hundred readers cost no more than one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Memory"]

T = TypeVar("T")


class Memory(Generic[T]):
    """Answers by key; those who ask for the same at the same time wait for one answer.

    Parameters
    ----------
    size
        Largest number of answers; the one that was made first is forgotten first.
    age_s
        How long an answer holds (seconds). Errors are not remembered.
    """

    def __init__(self, size: int, age_s: float) -> None:
        self._size = size
        self._age_s = age_s
        self._answers: dict[Hashable, tuple[float, asyncio.Task[T]]] = {}

    def __len__(self) -> int:
        return len(self._answers)

    async def get(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """Return the answer to a key, which is read if it is not known.

        Raises whatever reading raises.
        """
        now_s = asyncio.get_running_loop().time()
        at_s, task = self._answers.get(key, (float("-inf"), None))
        if task is None or (task.done() and (now_s - at_s > self._age_s or _failed(task))):
            task = asyncio.create_task(_awaited(read), name=f"read {key}")
            self._answers.pop(key, None)
            self._answers[key] = now_s, task
            while len(self._answers) > self._size:
                _, old = self._answers.pop(next(iter(self._answers)))
                if old is not task:
                    old.add_done_callback(_failed)  # nobody may be left who looks at its error
        return await asyncio.shield(task)

    def forget(self) -> None:
        """Forget everything that is not being read."""
        self._answers = {key: (at_s, task) for key, (at_s, task) in self._answers.items() if not task.done()}

    async def close(self) -> None:
        """Wait for what is being read no longer."""
        tasks = [task for _, task in self._answers.values()]
        self._answers.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _awaited(read: Callable[[], Awaitable[T]]) -> T:
    return await read()


def _failed(task: asyncio.Task[T]) -> bool:
    return task.cancelled() or task.exception() is not None
