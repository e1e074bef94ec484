# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A program: a run over noon TAI in an observatory of its own; prints what came of it, as JSON.

The clock that it changes is that of the whole process. Samples that are stamped with another time would make those of
later tests look out of order, so this is a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from lsst.ts import salobj, utils
from lsst.ts.comcamcalib.enums import RunState

from .observatory import running_csc, small_observatory
from .operator import Operator
from .run import Site

DAY_S = 86400.0
# Less than the age at which a heartbeat counts as none, for the clock leaps over what is left of it.
BEFORE_NOON_S = 8.0


class Clock:
    """TAI with an offset, in place of that of lsst.ts.utils."""

    def __init__(self) -> None:
        self._true = utils.current_tai
        self.offset_s = 0.0
        self.noon_s = 0.0
        utils.current_tai = self.now

    def now(self) -> float:
        """Return the time (TAI unix, seconds)."""
        return self._true() + self.offset_s

    def be_before_noon(self) -> None:
        """Go to some seconds before the next noon."""
        self.noon_s = self.now() + (0.5 * DAY_S - self.now()) % DAY_S
        self.offset_s = self.noon_s - BEFORE_NOON_S - self._true()

    def be_after_noon(self) -> None:
        """Leap to that noon, unless it is over."""
        self.offset_s += max(0.0, self.noon_s - self.now())


def frames_and_finds(repo: Path, group: str, collection: str) -> dict[int, dict[str, list[str]]]:
    """Return for each exposure of a run the RUN collections of what is found for it, by dataset type."""
    from lsst.daf.butler import Butler

    with contextlib.closing(Butler.from_config(str(repo))) as butler:
        records = [
            one
            for one in butler.query_dimension_records("exposure", instrument="LSSTComCam", limit=None, explain=False)
            if one.group.startswith(group)
        ]
        return {
            one.id: {name: _found(butler, name, one.timespan, collection) for name in ("bias", "dark")}
            for one in records
        }


def _found(butler: Any, dataset_type: str, timespan: Any, collection: str) -> list[str]:
    refs = [
        butler.find_dataset(
            dataset_type, instrument="LSSTComCam", detector=detector, collections=collection, timespan=timespan
        )
        for detector in range(9)
    ]
    return sorted({str(ref.run) if ref else "" for ref in refs})


async def run_over_noon(root: Path) -> dict[str, Any]:
    """Ask for a run shortly before noon TAI, be after noon with the first bias taken, and wait for the end."""
    clock = Clock()
    async with (
        small_observatory(root) as observatory,
        salobj.Domain() as domain,
        Operator(domain) as operator,
        running_csc(initial_state=salobj.State.ENABLED) as csc,
    ):
        clock.be_before_noon()
        site = Site(observatory, operator, csc)
        run = await site.start(script_mode="BIAS_DARK", n_bias=3, n_dark=3, exp_times_dark=5)
        await run.hear("imageTaken")
        clock.be_after_noon()
        state = await run.ended(RunState.COMPLETED)
        notices = [one for one in operator.samples("logMessage") if "after that noon belong to" in one.message]
        return {
            "reason": state.reason,
            "notices": [[one.level, one.message] for one in notices],
            "certified": {one.datasetType: one.outputCollection for one in run.samples("certification")},
            "found": await asyncio.to_thread(frames_and_finds, observatory.repo, run.run_id, run.collection),
        }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(run_over_noon(Path(folder)))), file=sys.stdout)
