# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The CSC's process, which also writes for each second how long its event loop was held up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path

from lsst.ts.comcamcalib.csc import ComCamCalibCsc

TICK_S = 0.005
REPORT_S = 1.0


async def watch_loop(file: Path) -> None:
    """Write a line a second: the time, the longest delay of a tick, and the longest processor time between two ticks.

    On a busy machine a tick is late although the loop does nothing; the processor time is the loop's own.
    """
    with file.open("a", buffering=1) as stream:
        while True:
            until = time.monotonic() + REPORT_S
            late_s = own_s = 0.0
            while time.monotonic() < until:
                began, used = time.monotonic(), time.thread_time()
                await asyncio.sleep(TICK_S)
                late_s = max(late_s, time.monotonic() - began - TICK_S)
                own_s = max(own_s, time.thread_time() - used)
            print(json.dumps([time.time(), late_s, own_s]), file=stream)


async def main(file: Path) -> None:
    """Run the CSC until it is ended."""
    watching = asyncio.create_task(watch_loop(file), name="watch the loop")
    try:
        await ComCamCalibCsc.amain(index=None)
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching


def run(file: str) -> None:
    """Run the CSC from the command line."""
    asyncio.run(main(Path(file)))
