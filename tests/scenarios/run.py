# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Show each scenario that spoils frames or statistics to a whole run with real pipelines: ``make scenarios``.

The CSC is a process of its own in a simulated observatory whose worker runs pipetask, and in whose repository products
of an earlier day are certified. Printed is what each run said of each product and what it certified; the exit status is
0 only if all of it is what a calibration scientist expects. The e2e tests show the same in seconds with recorded
products.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import logging
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from lsst.ts import salobj
from lsst.ts.comcamcalib.enums import CalibType, RunState, Verdict
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from rich.console import Console
from rich.table import Table
from rich.text import Text
from support.observatory import running_csc_process
from support.operator import Operator
from support.run import Site, SiteRun

START_LIMIT_S = 120.0
RUN_LIMIT_S = 1200.0
NEWS_LIMIT_S = 15.0
SPEED = 20.0

BAD = "R22_S11"
ALL = frozenset(range(9))

BIASES = {"script_mode": "BIAS", "n_bias": 5}
FLATS = {
    **{"script_mode": "BIAS_DARK_FLAT", "n_bias": 5, "n_dark": 3, "exp_times_dark": 20},
    **{"n_flat": 4, "exp_times_flat": [1.0, 1.0, 2.0, 2.0], "do_defects": False},
}
PAIRS = {"n_flat": 8, "exp_times_flat": [1.0, 1.0, 1.6, 1.6, 2.4, 2.4, 3.0, 3.0]}

THIRD = "THIRD"
"""Stands in an expected sentence for the exposure id of the run's third frame."""

Told = tuple[Verdict, str]
"""A verdict, and what its sentence must have (a regular expression)."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A run, and what must come of it.

    Attributes
    ----------
    options
        The run's options; as few frames as show it.
    told
        What is said of each product that is judged.
    certified
        Detectors whose products are certified, by dataset type; all others are not.
    ended
        How the run ends.
    scenario
        The scenario; empty: the one of the case's name.
    """

    options: Mapping[str, Any]
    told: Mapping[CalibType, Told]
    certified: Mapping[str, frozenset[int]] = dataclasses.field(default_factory=dict)
    ended: RunState = RunState.FAILED
    scenario: str = ""


NOISY = rf"Exposures with more noise than the others: {THIRD} \([0-9.]+ times as much on 9 of 9 detectors\)\."
GAIN_CHANGED = rf"Gain changed against what is certified: {BAD} 0\.0[456]\d* \(limit 0\.04\)"
CHANGED = rf"Changed fraction changed against what is certified: {BAD} C12 0\.0784 \(limit 0\.005\)"

CASES: Mapping[str, Case] = {
    "noisy-detector": Case(
        BIASES,
        {CalibType.BIAS: (Verdict.FAILED, rf"^1 of 9 detectors failed a test in the majority .*: {BAD} \(NOISE 80 x")},
    ),
    "noisy-amplifier": Case(
        BIASES,
        {CalibType.BIAS: (Verdict.PASSED_WITH_FAILURES, rf"but single tests did: NOISE 5 x, in {BAD} C12\.")},
        {"bias": ALL},
        RunState.COMPLETED,
    ),
    "dead-detector": Case(
        BIASES, {CalibType.BIAS: (Verdict.FAILED, rf"^Dead amplifiers: all 5 exposures \({BAD}\) have 0 electron")}
    ),
    "detector-missing": Case(
        BIASES,
        {CalibType.BIAS: (Verdict.UNKNOWN, rf"missing or not usable: {BAD} in all 5 exposures \(no statistics\)")},
    ),
    # One of five that is so bad spoils the bias of all of them.
    "bad-exposure": Case(BIASES, {CalibType.BIAS: (Verdict.FAILED, NOISY)}),
    "bad-exposure-of-eight": Case(
        {**BIASES, "n_bias": 8},
        {CalibType.BIAS: (Verdict.PASSED_WITH_FAILURES, NOISY)},
        {"bias": ALL},
        RunState.COMPLETED,
        scenario="bad-exposure",
    ),
    "statistics-garbled": Case(
        BIASES, {CalibType.BIAS: (Verdict.UNKNOWN, rf"missing or not usable: {BAD} in exposure \d+ \(.*missing")}
    ),
    # Darks and biases have no light, and a flat that was measured with the old gain takes the change back.
    "drifted-gain": Case(
        {**FLATS, **PAIRS, "do_ptc": True, "do_gain_from_flat_pairs": True},
        {
            CalibType.BIAS: (Verdict.PASSED, "^All tests of 9 detectors in 5 exposures passed"),
            CalibType.DARK: (Verdict.PASSED, "^All tests of 9 detectors in 3 exposures passed"),
            CalibType.FLAT: (
                Verdict.PASSED_WITH_FAILURES,
                rf"Response changed against what is certified: {BAD} C\d\d 0\.04[67]",
            ),
            CalibType.PTC: (Verdict.FAILED, GAIN_CHANGED),
            CalibType.GAIN: (Verdict.FAILED, GAIN_CHANGED),
        },
        {"bias": ALL, "dark": ALL, "flat": ALL},
    ),
    # cpDark takes the column for cosmic rays, and widens it by two pixels on each side: 5 of an amplifier's 64 columns.
    "new-hot-column": Case(
        {**FLATS, "do_defects": True},
        {
            CalibType.BIAS: (Verdict.PASSED, "^All tests of 9 detectors in 5 exposures passed"),
            CalibType.DARK: (Verdict.PASSED_WITH_FAILURES, CHANGED),
            CalibType.FLAT: (Verdict.PASSED_WITH_FAILURES, CHANGED),
            CalibType.DEFECTS: (
                Verdict.PASSED_WITH_FAILURES,
                rf"New columns changed against what is certified: {BAD} 1 \(limit 0\)",
            ),
        },
        {"bias": ALL, "dark": ALL, "flat": ALL, "defects": ALL},
        RunState.COMPLETED,
    ),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """What was said of a product, and what is wrong with that; "" if nothing."""

    scenario: str
    product: str
    verdict: str
    sentence: str
    problem: str = ""


@contextlib.asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    """Run an observatory with a past and real pipelines, and an ENABLED CSC in a process of its own."""
    async with (
        Observatory(folder / "repo", speed=SPEED, ocps_state=salobj.State.ENABLED, certified=True) as observatory,
        salobj.Domain() as domain,
        Operator(domain) as operator,
        running_csc_process(folder / "csc.log", "--state", "enabled"),
    ):
        await operator.hear("summaryState", START_LIMIT_S, summaryState=salobj.State.ENABLED)
        yield Site(observatory, operator)


async def show(name: str, case: Case, site: Site) -> list[Row]:
    """Have a run with a scenario; return what was said of its products and what was certified."""
    site.observatory.set_scenarios([case.scenario or name])
    run = await _start(site, case.options)
    state = await site.operator.until_ended(run.run_id, RUN_LIMIT_S)
    rows = [await _judged(name, kind, case.told[kind], run) for kind in case.told]
    others = {CalibType(one.calibType) for one in run.samples("verificationResult")} - set(case.told)
    rows += [Row(name, kind.name, "", "", "There should be no verdict") for kind in sorted(others)]
    return [*rows, await _ended(name, case, run, state)]


async def _start(site: Site, options: Mapping[str, Any]) -> SiteRun:
    """Start a run as soon as the CSC's process has heard all heartbeats."""
    until = time.monotonic() + START_LIMIT_S
    while True:
        try:
            return await site.start(**options)
        except salobj.AckError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(1.0)


async def _judged(scenario: str, kind: CalibType, told: Told, run: SiteRun) -> Row:
    """Compare what was said of a product with what should be."""
    verdict, words = told
    try:
        result = await run.hear("verificationResult", NEWS_LIMIT_S, calibType=kind)
    except AssertionError:
        return Row(scenario, kind.name, "none", "", "There is no verdict")
    if THIRD in words:
        words = words.replace(THIRD, str(run.samples("imageTaken")[2].exposureId))
    problems = []
    if result.verdict != verdict:
        problems.append(f"The verdict should be {verdict.name}")
    if not re.search(words, result.reason):
        problems.append(f"The sentence should have {words}")
    return Row(scenario, kind.name, Verdict(result.verdict).name, result.reason, "; ".join(problems))


async def _ended(scenario: str, case: Case, run: SiteRun, state: Any) -> Row:
    """Compare what is certified, and how the run has ended, with what should be."""
    certified: dict[str, set[int]] = {}
    for one in await run.certified():
        certified.setdefault(one.dataset_type, set()).add(one.detector)
    problems = []
    if certified != case.certified:
        expected = _names(case.certified)
        problems.append(f"It should have certified {expected}")
    if state.state != case.ended:
        problems.append(f"It should be {case.ended.name}")
    what = f"certified: {_names(certified)}. {state.reason}"
    return Row(scenario, "run", RunState(state.state).name, what, "; ".join(problems))


def _names(certified: Mapping[str, Collection[int]]) -> str:
    """Return types and detectors in words."""
    return ", ".join(f"{name} of {len(ids)}" for name, ids in sorted(certified.items())) or "nothing"


def _print(rows: Sequence[Row], console: Console) -> None:
    table = Table(show_lines=True)
    for heading in ("scenario", "product", "verdict", "sentence"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        sentence = Text(row.sentence)
        if row.problem:
            sentence.append(f"\nWRONG: {row.problem}", style="bold red")
        table.add_row(row.scenario, row.product, row.verdict, sentence)
    console.print(table)


async def show_all(names: Sequence[str], folder: Path, console: Console) -> bool:
    """Show some scenarios, all in one observatory; return whether all is as it should be."""
    rows: list[Row] = []
    console.print(f"Making certified products of an earlier day in {folder} ...")
    async with site(folder) as one:
        for name in names:
            began = time.monotonic()
            added = await show(name, CASES[name], one)
            rows += added
            bad = [row for row in added if row.problem]
            console.print(f"{name}: {'WRONG' if bad else 'as expected'}, {time.monotonic() - began:.0f} s")
    _print(rows, console)
    return not any(row.problem for row in rows)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="scenario", help=f"which ones; all if left out: {', '.join(CASES)}")
    names = parser.parse_args().names or list(CASES)
    unknown = [name for name in names if name not in CASES]
    if unknown:
        parser.error(f"no such scenario here: {', '.join(unknown)}; there are {', '.join(CASES)}")
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="scenarios") as folder:
        return 0 if asyncio.run(show_all(names, Path(folder), Console(width=160))) else 1


if __name__ == "__main__":
    sys.exit(main())
