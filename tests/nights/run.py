# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Have many nights, and print how many a second, what happened in them, and each failure with its smallest night."""

from __future__ import annotations

import argparse
import collections
import logging
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from nights.faults import draw_night
from nights.night import NightResult, folder_for_nights, night, shrink

REPORT_INTERVAL_S = 30.0
MAX_WIDTH = 300
"""Longest line of a fact (characters)."""

MAX_FAILURES = 20
"""So many failures are shown; after that the rest would be more of the same."""


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int, help="how many nights")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: %(default)s)")
    parser.add_argument("--facts", action="store_true", help="print the facts of each night")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    totals: collections.Counter[str] = collections.Counter()
    failures = 0
    began = shown = time.monotonic()
    with folder_for_nights() as folder:
        for done, seed in enumerate(range(arguments.first, arguments.first + arguments.number), start=1):
            result = night(draw_night(seed), Path(folder))
            totals += _totals(result)
            if arguments.facts:
                print("\n".join([str(result.plan), *result.history]))
            if result.problems:
                failures += 1
                _show(shrink(result, Path(folder)))
            if failures >= MAX_FAILURES:
                print(f"Stopped after {failures} failures.")
                break
            if time.monotonic() - shown > REPORT_INTERVAL_S:
                shown = time.monotonic()
                print(f"{done} nights, {done / (shown - began):.1f} a second, {failures} failed", flush=True)
    seconds = time.monotonic() - began
    print(f"{done} nights in {seconds:.0f} s, {done / seconds:.1f} a second; {failures} failed. What happened:")
    for name, count in sorted(totals.items()):
        print(f"{count:9} {name}")
    return 1 if failures else 0


def _totals(result: NightResult) -> collections.Counter[str]:
    state = result.state.name if result.state is not None else "none"
    return result.seen + collections.Counter({f"run {state}": 1, "processes": result.processes})


def _show(result: NightResult) -> None:
    print(f"FAILED: {result.plan}")
    print(
        "\n".join([*(f"    {one}" for one in result.problems), *(f"  {one[:MAX_WIDTH]}" for one in result.history)]),
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
