# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Threads with a queue: each call has its own time, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
from lsst.ts.comcamcalib.errors import ServiceError, UnreachableError
from lsst.ts.comcamcalib.services.worker_threads import WorkerThreads

PATIENCE_S = 20.0


class Stop:
    """Something to do that begins and does not end before it is released."""

    def __init__(self) -> None:
        self.begun, self.released = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.released.wait(PATIENCE_S)
        return "released"

    async def until_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, PATIENCE_S)


@pytest.fixture
async def one() -> AsyncIterator[WorkerThreads]:
    threads = WorkerThreads("The library")
    threads.start()
    yield threads
    await threads.close(PATIENCE_S)


async def test_a_call_is_not_charged_for_the_wait_until_it_begins(one: WorkerThreads) -> None:
    """The one before it takes longer than the second one's own limit."""
    first, limit_s = Stop(), 0.2
    busy = asyncio.create_task(one.do("take long", PATIENCE_S, first))
    await first.until_begun()
    second = asyncio.create_task(one.do("be quick", limit_s, lambda: 2, queue_limit_s=PATIENCE_S))
    await asyncio.wait([second], timeout=2 * limit_s)
    assert not second.done()
    first.released.set()
    assert await second == 2 and await busy == "released"


async def test_the_wait_for_a_turn_has_a_limit_that_names_what_is_in_the_way(one: WorkerThreads) -> None:
    first = Stop()
    busy = asyncio.create_task(one.do("take long", PATIENCE_S, first))
    await first.until_begun()
    done: list[str] = []
    with pytest.raises(
        UnreachableError,
        match=r"The library could not look: it was busy for 0.1 s, and still tries to take long, which can't be",
    ):
        await one.do("look", 0.05, lambda: done.append("look"), queue_limit_s=0.1)
    first.released.set()
    await busy
    assert await one.do("go on", PATIENCE_S, lambda: list(done)) == [], "what nobody waits for is not begun"


async def test_a_call_that_takes_too_long_says_that_it_goes_on(one: WorkerThreads) -> None:
    slow = Stop()
    with pytest.raises(UnreachableError, match=r"could not look within 0.1 s: the call goes on and can't be stop"):
        await one.do("look", 0.1, slow, queue_limit_s=PATIENCE_S)
    slow.released.set()


async def test_several_threads_do_several_things_at_once() -> None:
    threads, stops = WorkerThreads("The library", 3), [Stop(), Stop(), Stop()]
    threads.start()
    tasks = [asyncio.create_task(threads.do(f"do {n}", PATIENCE_S, stop)) for n, stop in enumerate(stops)]
    for stop in stops:
        await stop.until_begun()
    assert sorted(threads.doing.split(", ")) == ["do 0", "do 1", "do 2"]
    for stop in stops:
        stop.released.set()
    assert await asyncio.gather(*tasks) == ["released"] * 3
    await threads.close(PATIENCE_S)


async def test_an_error_is_the_callers_also_when_it_is_a_time_out(one: WorkerThreads) -> None:
    def fail() -> None:
        raise TimeoutError("the function's own")

    with pytest.raises(TimeoutError, match="the function's own"):
        await one.do("fail", PATIENCE_S, fail)


async def test_closing_refuses_what_waits_and_leaves_behind_what_hangs(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []
    threads, hanging = WorkerThreads("The library", at_end=lambda: ended.append("end")), Stop()
    threads.start()
    busy = asyncio.create_task(threads.do("hang", PATIENCE_S, hanging))
    await hanging.until_begun()
    waiting = asyncio.create_task(threads.do("look", PATIENCE_S, lambda: 1))
    await asyncio.sleep(0)
    await threads.close(0.05)
    assert "The library is left behind: it still tries to hang" in caplog.text
    with pytest.raises(ServiceError, match="could not look: it was closed before it began"):
        await waiting
    with pytest.raises(ServiceError, match="could not look: it is closed"):
        await threads.do("look", PATIENCE_S, lambda: 1)
    assert ended == []
    hanging.released.set()
    assert await busy == "released"


async def test_each_thread_cleans_up_after_itself() -> None:
    ended: list[str] = []
    threads = WorkerThreads("The library", 2, lambda: ended.append(threading.current_thread().name))
    threads.start()
    await threads.close(PATIENCE_S)
    assert sorted(ended) == ["The library 0", "The library 1"]
