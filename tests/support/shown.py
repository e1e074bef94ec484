# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A page with everything on it, without anything that has been run: a whole run, trends, and a board."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lsst.ts import utils
from lsst.ts.comcamcalib.butler_data import Coverage
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.record.facts import Entry, Fact, ReportFile, ReportWritten, RunAccepted

from support.plans import make_plan
from support.web import Site
from support.whole_run import STEP_S, facts_of, history_of

__all__ = ["OTHER_COLLECTION", "show_everything"]

DAY_S = 86400.0
OTHER_COLLECTION = "LSSTComCam/calib/u/somebody/test"
FILTERS = ("r_03", "i_06")
AT_ONCE = 100
"""Facts that are written to the journal at once; it gives up a write that takes too long."""


async def show_everything(site: Site, runs: int = 3, exposures: int = 100) -> str:
    """Let the page show a run, trends of some runs, and a board of two collections; return the id of the run.

    Parameters
    ----------
    site
        The page.
    runs
        Number of daily runs, of which the last is shown.
    exposures
        Number of its exposures.
    """
    last_s, options = site.house.clock.tai() - DAY_S / 4, _options(exposures)
    for number in range(runs - 1):
        await _recorded(site, last_s - DAY_S * (runs - 1 - number), options, bad=0)
    run_id = await _recorded(site, last_s, options, bad=3)
    names = list(site.house.config.instrument.detector_names)
    repository, board = site.house.observatory.repository, site.page.parts.board
    repository.covered[board.board.collection] = list(_covered(names, site.house.clock.tai()))
    repository.covered[OTHER_COLLECTION] = [
        Coverage("bias", one, "", "u/ocps/1/run", "2026-01-01T12:00:00", "") for one in names
    ]
    board._covered.clear()  # it has looked already, while there was nothing
    await board.look(repository)
    return run_id


def _options(exposures: int) -> dict[str, Any]:
    flats = exposures // 2
    return {
        "script_mode": "BIAS_DARK_FLAT",
        "n_bias": exposures // 4,
        "n_dark": exposures // 4,
        "n_flat": flats,
        "exp_times_flat": [0.5 + number // 2 * 0.5 for number in range(flats)],
        "detectors": [],
        "do_defects": True,
        "do_ptc": True,
        "calib_collection": OTHER_COLLECTION,
    }


async def _recorded(site: Site, begin_s: float, options: dict[str, Any], bad: int) -> str:
    """Record a run, of which some detectors are bad, and let the page show it; return its id."""
    config, journal = site.house.config, site.house.journal
    day_obs = int(datetime.datetime.fromtimestamp(begin_s, datetime.UTC).strftime("%Y%m%d"))

    def accept(run_id: str) -> RunAccepted:
        return RunAccepted(
            plan=make_plan(config, run_id, **options), day_obs=day_obs, requested_by="op@console", why="every day"
        )

    first = await journal.begin(day_obs, begin_s, accept)
    assert isinstance(first.fact, RunAccepted)
    plan = first.fact.plan
    found: list[Fact] = [*facts_of(plan, begin_s, bad), _report(site.folder, plan.run_id)]
    entries = [Entry(seq, begin_s + STEP_S * seq, fact) for seq, fact in enumerate(found, start=2)]
    for at in range(0, len(entries), AT_ONCE):
        state = RunState.FAILED if bad else RunState.COMPLETED
        await journal.append(plan.run_id, entries[at : at + AT_ONCE], state)
    site.shown = {"history": history_of(plan, *found, at=begin_s)}
    return plan.run_id


def _report(folder: Path, run_id: str) -> ReportWritten:
    """Write a report, and say so."""
    file = folder / "reports" / f"ComCamCalib-{run_id}.html"
    file.parent.mkdir(exist_ok=True)
    file.write_text("<!DOCTYPE html><html lang=en><title>report</title><p>The report of a run</html>")
    return ReportWritten(
        attempt=1, files=(ReportFile(url=file.as_uri(), mime_type="text/html", byte_size=1, checksum="0" * 32),)
    )


def _covered(detectors: list[int], now_s: float) -> Iterator[Coverage]:
    """Yield a collection in which biases are valid, some darks are missing, and defects have expired."""

    def iso(at_s: float) -> str:
        return str(utils.astropy_time_from_tai_unix(at_s).tai.isot)

    today = iso(now_s - DAY_S / 2), iso(now_s + DAY_S / 2)
    soon, before = (today[0], iso(now_s + DAY_S / 8)), (iso(now_s - 2 * DAY_S), iso(now_s - DAY_S))
    for one in detectors:
        yield Coverage("bias", one, "", "u/ocps/1/run", *today)
        if one % 50 != 3:
            yield Coverage("dark", one, "", "u/ocps/2/run", *today)
        for physical_filter, validity in zip(FILTERS, (today, soon), strict=True):
            yield Coverage("flat", one, physical_filter, "u/ocps/3/run", *validity)
        yield Coverage("defects", one, "", "u/ocps/4/run", *(today if one % 7 == 0 else before))
