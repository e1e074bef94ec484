# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is measured, in a process of its own: a part of a conversation over salobj, whichever one this Python has.

The first line on stdout is "ready"; results follow as JSON. The processes end without closing anything: that is not
measured, and the embedded broker does not answer all that the original asks at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from typing import Any

from lsst.ts import salobj

LIMIT_S = 60.0


def tell(value: object) -> None:
    print(value if isinstance(value, str) else json.dumps(value), flush=True)


async def ask() -> str:
    """Return the next line of stdin."""
    return (await asyncio.to_thread(sys.stdin.readline)).strip()


async def csc(index: int) -> None:
    """A CSC that tells how much processor time (seconds) it takes in so many seconds."""
    async with salobj.TestCsc(index, config_dir=os.environ["BENCH_CONFIG_DIR"], initial_state=salobj.State.ENABLED):
        tell("ready")
        while text := await ask():
            before = time.process_time()
            await asyncio.sleep(float(text))
            tell(time.process_time() - before)
        os._exit(0)


async def burst(index: int) -> None:
    """A controller that writes so many events, as fast as it can, when it gets the command wait."""

    async def write(data: Any) -> None:
        for number in range(int(data.duration)):
            await controller.evt_scalars.set_write(int0=number, force_output=True)

    async with salobj.Controller("Test", index) as controller:
        controller.cmd_wait.callback = write
        tell("ready")
        await ask()
        os._exit(0)


async def start(index: int) -> None:
    """A remote that only starts."""
    async with salobj.Remote(salobj.Domain(), "Test", index):
        tell("ready")
        os._exit(0)


async def trips(index: int, count: int) -> None:
    """A remote that sends commands, one after the other; it tells how long each took (seconds)."""
    async with salobj.Remote(salobj.Domain(), "Test", index, include=[]) as remote:
        tell("ready")
        durations = []
        for number in range(count):
            before = time.perf_counter()
            await remote.cmd_setScalars.set_start(int0=number, timeout=LIMIT_S)
            durations.append(time.perf_counter() - before)
        tell(durations)
        os._exit(0)


async def receive(index: int, count: int) -> None:
    """A remote that orders a burst; it tells how long it took from command to last event (seconds), and the numbers."""
    numbers: list[int] = []
    complete = asyncio.Event()

    async def take(data: Any) -> None:
        numbers.append(data.int0)
        if len(numbers) == count:
            complete.set()

    async with salobj.Remote(salobj.Domain(), "Test", index, include=["scalars"], evt_max_history=0) as remote:
        tell("ready")
        remote.evt_scalars.callback = take
        before = time.perf_counter()
        order = asyncio.create_task(remote.cmd_wait.set_start(duration=count, timeout=LIMIT_S))
        with contextlib.suppress(TimeoutError):  # what is missing is seen in the numbers
            await asyncio.wait_for(complete.wait(), LIMIT_S)
        duration = time.perf_counter() - before
        await order
        tell({"duration_s": duration, "numbers": numbers})
        os._exit(0)


if __name__ == "__main__":
    part = {"csc": csc, "burst": burst, "start": start, "trips": trips, "receive": receive}[sys.argv[1]]
    asyncio.run(part(*(int(argument) for argument in sys.argv[2:])))
