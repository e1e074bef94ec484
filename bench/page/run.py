# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the status page costs: ``make bench-page``.

A camera with 9 and with 205 detectors (all that LSSTCam has), and 90 daily runs of 100 exposures each, with everything
that a run records. Time and size of each page, of its JSON, and of what a reader of the events gets first; what was
read meanwhile (from the journal above all), the longest time that the event loop stood still, and the memory of the
process.
"""

from __future__ import annotations

import asyncio
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests"))

from support.cameras import LSSTCAM, instrument_of
from support.shown import show_everything
from support.web import Site, opened

HERE = pathlib.Path.cwd()
RUNS = 90
EXPOSURES = 100
CAMERAS = {9: None, 205: instrument_of(*LSSTCAM)}
LOOP_STEP_S = 0.005


def memory_mb() -> float:
    """Return the memory of this process that is in use (MB)."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS:"))) / 1024


def read_mb() -> float:
    """Return how much this process has read from files so far, whether they were in memory or not (MB)."""
    lines = pathlib.Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("rchar:"))) / 1e6


class Loop:
    """Measures how long the event loop stands still."""

    def __init__(self) -> None:
        self.worst_s = 0.0

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            began = time.perf_counter()
            await asyncio.sleep(LOOP_STEP_S)
            self.worst_s = max(self.worst_s, time.perf_counter() - began - LOOP_STEP_S)


async def measure(site: Site) -> None:
    """Print the figures of one camera."""
    run_id = await show_everything(site, RUNS, EXPOSURES)
    loop = Loop()
    watching = asyncio.create_task(loop.watch(), name="watch the loop")
    async with site.events() as events:
        await events.until("headline", run_id)
        sizes = {name: len(html) / 1e3 for name, html in events.parts.items()}
        largest = max(sizes, key=lambda name: sizes[name])
        print(f"    {'first event':24} {sum(sizes.values()):6.0f} kB, of which {largest} {sizes[largest]:.0f} kB")
    views = ("/", "/runs", f"/runs/{run_id}", "/board", "/trends", "/trends/PTC/-", "/trends/PTC/-/R22_S11")
    for path in (*views, "/api/now", "/api/runs", "/api/board", "/api/trends/PTC/-", "/metrics"):
        site.page.parts.forget()
        loop.worst_s, read_before = 0.0, read_mb()
        began = time.perf_counter()
        answer = await site.see(path)
        took_s = time.perf_counter() - began
        assert answer.status == 200
        print(
            f"    {path:24} {len(answer.text) / 1e3:6.0f} kB, {1e3 * took_s:6.0f} ms, "
            f"read {read_mb() - read_before:5.1f} MB, loop {1e3 * loop.worst_s:4.0f} ms, memory {memory_mb():4.0f} MB"
        )
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def main() -> None:
    """Print the figures of all cameras."""
    for detectors, instrument in CAMERAS.items():
        with tempfile.TemporaryDirectory(dir=HERE) as folder:
            async with opened(pathlib.Path(folder), instrument) as site:
                print(f"  {detectors} detectors, {EXPOSURES} exposures, {RUNS} runs:")
                await measure(site)


if __name__ == "__main__":
    asyncio.run(main())
