# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a fact costs in the journal, at the beginning and after many: ``make bench-journal``."""

from __future__ import annotations

import asyncio
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests"))

from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.enums import CalibType, RunState
from lsst.ts.comcamcalib.record.facts import Entry, FrameTaken, RunAccepted
from lsst.ts.comcamcalib.record.fold import apply, begin
from lsst.ts.comcamcalib.run.journal import Journal
from support.plans import make_plan

STEPS = (100, 1_000, 10_000)
SAMPLES = 200


def frame(number: int) -> FrameTaken:
    """Return the fact that a frame was taken."""
    return FrameTaken(
        calib_type=CalibType.BIAS, index=number, exposure_id=number, obs_id=f"CC_O_20261122_{number:06d}", taken_s=1.0
    )


async def measure(folder: pathlib.Path) -> None:
    """Append single facts to a journal that has more and more of them."""
    path = folder / "journal.sqlite3"
    journal = Journal(path, Clock(), lambda sentence: None)
    await journal.open()

    def accept(run_id: str) -> RunAccepted:
        return RunAccepted(plan=make_plan(run_id=run_id), day_obs=20261122, requested_by="bench")

    entry = await journal.begin(20261122, 1.8e9, accept)
    history = begin(entry)
    first_s = 0.0
    for step in STEPS:
        rest = [Entry(seq, 1.8e9, frame(seq)) for seq in range(history.seq + 1, step + 1)]
        await journal.append(history.run_id, rest, RunState.RUNNING)
        for one in rest:
            history = apply(history, one)
        times, folds = [], []
        for _ in range(SAMPLES):
            one = Entry(history.seq + 1, 1.8e9, frame(history.seq + 1))
            began = time.perf_counter()
            history = apply(history, one)
            folds.append(time.perf_counter() - began)
            began = time.perf_counter()
            await journal.append(history.run_id, [one], RunState.RUNNING)
            times.append(time.perf_counter() - began)
        median_s = statistics.median(times)
        first_s = first_s or median_s
        print(
            f"  after {step:6} facts: append {median_s * 1e3:5.2f} ms ({median_s / first_s:4.2f} x), "
            f"fold {statistics.median(folds) * 1e6:6.0f} us"
        )
    began = time.perf_counter()
    entries = await journal.read(history.run_id)
    print(f"  read and understand {len(entries)} facts: {time.perf_counter() - began:.2f} s")
    await journal.close()
    print(f"  {path.stat().st_size / len(entries):.0f} bytes a fact on the disk")


def main() -> None:
    """Print the figures; the folder is on the disk of the working directory, as tmpfs would not synchronise."""
    with tempfile.TemporaryDirectory(dir=".") as folder:
        asyncio.run(measure(pathlib.Path(folder)))


if __name__ == "__main__":
    main()
