# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""``comcamcalib trend``: what the runs have measured, from the journal, as tables."""

from __future__ import annotations

import dataclasses
import difflib
import math
import sqlite3
import statistics
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .calib_types import calib_type_named
from .enums import CalibType
from .errors import BadInputError
from .instrument import Instrument
from .measurements import Trend, trend_of
from .run.judged import not_counting
from .run.measurements import Place, Series, filters_of, latest_runs, series
from .run.reading import latest_instrument, open_to_read

__all__ = ["show_trend"]

MARK = "*"
"""Marks a value that does not count for the trend."""

MAX_NAMED = 10
"""Largest number of runs that do not count and are named one by one."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A trend, the latest value, and whether that value counts for the trend; NaN: there is none."""

    trend: Trend
    latest: float
    counts: bool


Rows = dict[tuple[str, str], Row]
"""By what a row is about and quantity."""


def show_trend(journal: Path, type_name: str, quantity: str, detector: str, runs: int, console: Console) -> None:
    """Print the trends of a product, or what there is if no product is named.

    Median and spread are those of the runs of which the product was good, as the rule on trends sees them. The latest
    value is that of any run; it is marked if it does not count.

    Parameters
    ----------
    journal
        The journal; it is opened for reading only, and has the names of the detectors, too.
    type_name
        Type of the product, such as PTC; "" for an overview.
    quantity
        Which quantity; "" for all.
    detector
        Name or id of a detector, of which each amplifier is shown; "" for a row for each detector.
    runs
        Largest number of runs, the latest first.
    console
        Where it is printed.

    Raises
    ------
    BadInputError
        If there is no such product, detector or quantity; a sentence with what there is.
    ServiceError
        If the journal can't be read.
    """
    if detector and not type_name:
        raise BadInputError([f"--detector {detector}: name the product, too: {', '.join(CalibType.__members__)}."])
    with open_to_read(journal) as connection:
        if not type_name:
            _show_overview(connection, runs, console)
            return
        calib_type = calib_type_named(type_name)
        filters = filters_of(connection, calib_type)
        if not filters:
            console.print(f"No run has measured {calib_type.name} yet.")
            return
        instrument = latest_instrument(connection)
        number = _detector(detector, instrument) if detector else None
        for physical_filter in filters:
            found = series(connection, calib_type, physical_filter, runs)
            _check_quantity(quantity, found, calib_type)
            some = {place: one for place, one in found.items() if quantity in ("", place[2])}
            latest = latest_runs(connection, calib_type, physical_filter, runs)
            ignored = not_counting(connection, calib_type, physical_filter, latest)
            rows = _of_detectors(some, instrument, ignored) if number is None else _of_amplifiers(some, number, ignored)
            title = " ".join(one for one in (calib_type.name, physical_filter, detector and f"of {detector}") if one)
            console.print(_table(title, rows))
            if ignored:
                console.print(_not_counted(ignored))


def _show_overview(connection: sqlite3.Connection, runs: int, console: Console) -> None:
    table = Table("Product", "Filter", "Runs", "Latest run", "Quantities")
    for calib_type in CalibType:
        for physical_filter in filters_of(connection, calib_type):
            latest = latest_runs(connection, calib_type, physical_filter, runs)
            quantities = dict.fromkeys(place[2] for place in series(connection, calib_type, physical_filter, 1))
            table.add_row(calib_type.name, physical_filter, str(len(latest)), latest[0], ", ".join(quantities))
    if table.row_count:
        console.print(table)
    else:
        console.print("No run has measured anything yet.")


def _detector(text: str, instrument: Instrument) -> int:
    """Return the id of a detector that is given by name or id."""
    for number, name in instrument.detector_names.items():
        if text in (name, str(number)):
            return number
    known = ", ".join(f"{number} {name}" for number, name in instrument.detector_names.items())
    raise BadInputError([f"{text}: {instrument.name} has no such detector; there are {known}."])


def _check_quantity(quantity: str, found: Mapping[Place, Series], calib_type: CalibType) -> None:
    known = sorted({place[2] for place in found})
    if quantity and quantity not in known:
        near = difflib.get_close_matches(quantity, known, 1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise BadInputError([f"{quantity}: not measured in {calib_type.name}.{meant} There are {', '.join(known)}."])


def _row(values: Sequence[tuple[str, float]], unit: str, ignored: Collection[str]) -> Row:
    """Sum up the values of some runs, the latest first; those of ignored runs are shown, but do not count."""
    trend = trend_of((value for run_id, value in values if run_id not in ignored), unit)
    run_id, latest = next(((one, value) for one, value in values if math.isfinite(value)), ("", math.nan))
    return Row(trend, latest, run_id not in ignored)


def _of_amplifiers(found: Mapping[Place, Series], detector: int, ignored: Collection[str]) -> Rows:
    return {
        (amplifier or "whole detector", quantity): _row(one.values, one.unit, ignored)
        for (number, amplifier, quantity), one in found.items()
        if number == detector
    }


def _of_detectors(found: Mapping[Place, Series], instrument: Instrument, ignored: Collection[str]) -> Rows:
    """Return the trends of detectors: of their own values or, in each run, of the median over their amplifiers."""
    values: dict[tuple[int, str], dict[str, list[float]]] = {}
    own: dict[tuple[int, str], Series] = {}
    units: dict[tuple[int, str], str] = {}
    for (detector, amplifier, quantity), one in found.items():
        units[detector, quantity] = one.unit
        if not amplifier:
            own[detector, quantity] = one
        for run_id, value in one.values:
            if math.isfinite(value):
                values.setdefault((detector, quantity), {}).setdefault(run_id, []).append(value)
    names = instrument.detector_names
    rows: Rows = {}
    for (detector, quantity), unit in units.items():
        medians: Sequence[tuple[str, float]]
        if (detector, quantity) in own:
            medians = own[detector, quantity].values
        else:
            by_run = values.get((detector, quantity), {})
            medians = [(run_id, statistics.median(by_run[run_id])) for run_id in sorted(by_run, reverse=True)]
        rows[names.get(detector, str(detector)), quantity] = _row(medians, unit, ignored)
    return rows


def _table(title: str, rows: Rows) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("Quantity", "Of", "Unit"):
        table.add_column(name)
    for name in ("Runs", "Latest", "Median", "Spread", "Off (spreads)"):
        table.add_column(name, justify="right")
    for (what, quantity), row in sorted(rows.items(), key=lambda item: (item[0][1], item[0][0])):
        one = row.trend
        latest = "-" if math.isnan(row.latest) else f"{row.latest:.4g}{'' if row.counts else MARK}"
        numbers: Sequence[str] = [latest, *["-"] * 3]
        if one.runs:
            off = f"{(row.latest - one.median) / one.spread:+.1f}" if one.spread else "-"
            numbers = [latest, f"{one.median:.4g}", f"{one.spread:.2g}", off]
        table.add_row(quantity, what, one.unit, str(one.runs), *numbers)
    return table


def _not_counted(ignored: Mapping[str, str]) -> str:
    named = [f"{run_id} ({why})" for run_id, why in ignored.items()]
    more = f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
    return f"{MARK} Not counted for median and spread: {', '.join(named[:MAX_NAMED])}{more}"
