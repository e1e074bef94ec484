# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A test that leaves an asyncio task behind fails, and the task is named."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator

import pytest

__all__ = ["no_task_is_left_behind", "tasks_of_the_test"]

# A task that was cancelled needs a turn of the loop to end, and so may one that waits for it.
TURNS = 10


@pytest.fixture
async def tasks_of_the_test() -> AsyncIterator[None]:
    """Fail if there are more tasks after a test, and what it set up, than before."""
    before = asyncio.all_tasks()
    yield
    for _ in range(TURNS):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    names = sorted(f"{task.get_name()} ({getattr(task.get_coro(), '__qualname__', '?')})" for task in left)
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=5.0)
    assert not names, f"The test left tasks behind: {', '.join(names)}"


@pytest.fixture(autouse=True)
def no_task_is_left_behind(request: pytest.FixtureRequest) -> None:
    """Look for tasks that are left behind by each asynchronous test in a loop of its own."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        # Asked for here, as the first fixture of all, so that it ends after all others.
        request.getfixturevalue("tasks_of_the_test")
