# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The virtual loop: time costs nothing, threads take time, a hang and a real thread are errors, a kill is the end."""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from lsst.ts.comcamcalib.errors import UnreachableError

from .virtual_loop import HangError, Killed, OutsideClock, VirtualThreads, virtual_process

STARTED_S = 1234.0
THREAD_S = 0.5


@dataclasses.dataclass
class Clockwork:
    """What is outside: nothing but events."""

    time_s: float = 0.0
    events: list[tuple[float, int, Callable[[], None]]] = dataclasses.field(default_factory=list)

    @property
    def next_s(self) -> float | None:
        return self.events[0][0] if self.events else None

    def happen(self) -> None:
        self.time_s, _, event = heapq.heappop(self.events)
        event()

    def tai(self) -> float:
        return 1e9 + self.time_s

    def at(self, time_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self.events, (time_s, len(self.events), event))


def run(outside: Clockwork, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    with virtual_process(outside, STARTED_S, lambda: THREAD_S) as loop:
        return loop.run_until_complete(work())


def test_a_long_wait_costs_nothing_and_all_clocks_agree() -> None:
    outside = Clockwork()
    clock = OutsideClock(outside)

    async def work() -> tuple[float, float]:
        await asyncio.sleep(100_000.0)
        return clock.monotonic(), clock.tai()

    began = time.monotonic()
    loop_s, tai_s = run(outside, work)
    assert time.monotonic() - began < 5.0
    assert loop_s == pytest.approx(STARTED_S + 100_000.0)
    assert tai_s == pytest.approx(1e9 + 100_000.0)


def test_what_is_outside_happens_in_its_order_between_timers() -> None:
    outside, seen = Clockwork(), []
    outside.at(1.5, lambda: seen.append("outside"))

    async def work() -> None:
        for number in range(3):
            await asyncio.sleep(1.0)
            seen.append(f"timer {number}")

    run(outside, work)
    assert seen == ["timer 0", "outside", "timer 1", "timer 2"]


def test_a_limit_is_over_at_its_time() -> None:
    outside = Clockwork()

    async def work() -> None:
        async with asyncio.timeout(30.0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run(outside, work)
    assert outside.time_s == pytest.approx(30.0)


def test_a_call_in_the_executor_takes_its_time_and_a_limit_on_it_works() -> None:
    outside, done = Clockwork(), []

    async def work() -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(THREAD_S / 2):
                await asyncio.to_thread(done.append, 1)
        assert not done
        await asyncio.sleep(THREAD_S)
        assert done == [1], "a thread goes on although nobody waits for it"
        return await asyncio.to_thread(str, 5)

    assert run(outside, work) == "5"
    assert outside.time_s == pytest.approx(2 * THREAD_S + THREAD_S / 2)


def test_the_products_threads_keep_their_order_and_limits() -> None:
    outside, done = Clockwork(), []

    async def work() -> None:
        threads = VirtualThreads("worker")
        threads.start()
        first = asyncio.create_task(threads.do("be first", 10.0, lambda: done.append("first")))
        second = asyncio.create_task(threads.do("be second", 10.0, lambda: done.append("second")))
        await asyncio.sleep(THREAD_S / 2)
        second.cancel()
        with pytest.raises(UnreachableError, match="could not be slow within"):
            await threads.do("be slow", THREAD_S / 4, lambda: done.append("slow"), 10.0)
        await first
        await asyncio.sleep(10.0)
        assert done == ["first", "slow"], "what has begun goes on, what was cancelled before never begins"
        with pytest.raises(ValueError, match="no number"):
            await threads.do("fail", 10.0, lambda: (_ for _ in ()).throw(ValueError("no number")))
        await threads.close(1.0)

    run(outside, work)


def test_nothing_to_wait_for_is_a_hang() -> None:
    with pytest.raises(HangError, match="Every task waits"):
        run(Clockwork(), asyncio.Event().wait)


def test_turning_without_progress_of_time_is_a_hang() -> None:
    async def work() -> None:
        while True:  # noqa: ASYNC110  # this is the endless loop
            await asyncio.sleep(0)

    with pytest.raises(HangError, match="time does not go on"):
        run(Clockwork(), work)


def test_a_real_thread_is_an_error() -> None:
    problems: list[BaseException] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()

        def wake() -> None:
            try:
                loop.call_soon_threadsafe(print)
            except RuntimeError as error:
                problems.append(error)

        thread = threading.Thread(target=wake)
        thread.start()
        thread.join()

    run(Clockwork(), work)
    assert "not on the virtual clock" in str(problems[0])


@pytest.mark.parametrize("within", ["an event outside", "a task", "a thread"])
def test_a_kill_is_the_end_in_mid_air(within: str) -> None:
    outside, cleaned_up = Clockwork(), []

    def kill() -> None:
        raise Killed

    async def bystander() -> None:
        try:
            await asyncio.sleep(1000.0)
        finally:
            cleaned_up.append("bystander")

    async def work() -> None:
        waiting = asyncio.create_task(bystander())
        if within == "an event outside":
            outside.at(5.0, kill)
        elif within == "a thread":
            threads = VirtualThreads("worker")
            threads.start()
            await threads.do("die", 10.0, kill)
        else:
            await asyncio.sleep(5.0)
            kill()
        await waiting

    with virtual_process(outside, STARTED_S, lambda: THREAD_S) as loop:
        with pytest.raises(Killed):
            loop.run_until_complete(work())
        assert not cleaned_up
    assert outside.time_s <= 5.0
