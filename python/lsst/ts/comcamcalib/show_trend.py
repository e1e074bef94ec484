# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""``comcamcalib trend``: what the runs have measured, from the journal, as tables."""

from __future__ import annotations

import difflib
import math
import sqlite3
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .calib_types import calib_type_named
from .enums import CalibType
from .errors import BadInputError
from .instrument import Instrument
from .measurements import Trend, trend_of
from .run.measurements import Place, Series, filters_of, latest_runs, series
from .run.reading import latest_instrument, open_to_read

__all__ = ["show_trend"]

Rows = dict[tuple[str, str], Trend]
"""Trends by what a row is about and quantity."""


def show_trend(journal: Path, type_name: str, quantity: str, detector: str, runs: int, console: Console) -> None:
    """Print the trends of a product, or what there is if no product is named.

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
            rows = _of_detectors(some, instrument) if number is None else _of_amplifiers(some, number)
            title = " ".join(one for one in (calib_type.name, physical_filter, detector and f"of {detector}") if one)
            console.print(_table(title, rows))


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
        meant = f" did you mean {near[0]}?" if near else ""
        raise BadInputError([f"{quantity}: not measured in {calib_type.name};{meant} There are {', '.join(known)}."])


def _of_amplifiers(found: Mapping[Place, Series], detector: int) -> Rows:
    return {
        (amplifier or "whole detector", quantity): trend_of((value for _, value in one.values), one.unit)
        for (number, amplifier, quantity), one in found.items()
        if number == detector
    }


def _of_detectors(found: Mapping[Place, Series], instrument: Instrument) -> Rows:
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
        if (detector, quantity) in own:
            medians = [value for _, value in own[detector, quantity].values]
        else:
            by_run = values.get((detector, quantity), {})
            medians = [statistics.median(by_run[run_id]) for run_id in sorted(by_run, reverse=True)]
        rows[names.get(detector, str(detector)), quantity] = trend_of(medians, unit)
    return rows


def _table(title: str, rows: Rows) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("Quantity", "Of", "Unit"):
        table.add_column(name)
    for name in ("Runs", "Latest", "Median", "Spread", "Off (spreads)"):
        table.add_column(name, justify="right")
    for (what, quantity), one in sorted(rows.items(), key=lambda item: (item[0][1], item[0][0])):
        numbers: Sequence[str] = ["-"] * 4
        if one.runs:
            off = f"{(one.latest - one.median) / one.spread:+.1f}" if one.spread else "-"
            numbers = [f"{one.latest:.4g}", f"{one.median:.4g}", f"{one.spread:.2g}", off]
        table.add_row(quantity, what, one.unit, str(one.runs), *numbers)
    return table
