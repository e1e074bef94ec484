# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Trends of what runs measured, by detector or by amplifier, and which of many detectors people should look at.

A whole LSSTCam has ten thousand values of a product in each run, a million in three months. So each run is summed up
before the next one is read. What reads the journal blocks.
"""

from __future__ import annotations

import dataclasses
import math
import sqlite3
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence

from ..enums import CalibType
from ..measurements import trend_of
from ..run.judged import not_counting
from ..run.measurements import filters_of, latest_runs, values_of
from . import data
from .grouping import MANY

__all__ = ["Selection", "selection_of", "trend_products", "trend_rows"]

TREND_RUNS = 90
"""Runs in a trend: about three months of daily runs."""

STANDING_OUT = 10
"""Of so many detectors of a large camera the page shows a quantity; programs get all."""

Name = tuple[str, str]
"""Quantity, and what it is of."""


def trend_products(connection: sqlite3.Connection) -> tuple[data.TrendProduct, ...]:
    """Return what there are trends of."""
    return tuple(
        _product(connection, one, physical_filter)
        for one in CalibType
        for physical_filter in filters_of(connection, one)
    )


def _product(connection: sqlite3.Connection, calib_type: CalibType, physical_filter: str) -> data.TrendProduct:
    runs = latest_runs(connection, calib_type, physical_filter, TREND_RUNS)
    latest = values_of(connection, calib_type, physical_filter, runs[0]) if runs else ()
    return data.TrendProduct(
        calib_type=calib_type.name,
        physical_filter=physical_filter,
        latest_run=runs[0] if runs else "",
        runs=len(runs),
        quantities=tuple(dict.fromkeys(quantity for (_, _, quantity), _, _ in latest)),
    )


def trend_rows(
    connection: sqlite3.Connection,
    calib_type: CalibType,
    physical_filter: str,
    names: Mapping[int, str],
    detector: int | None = None,
) -> tuple[tuple[data.TrendRow, ...], dict[str, str]]:
    """Return the trends of a product, in order, and the runs that do not count for them.

    Parameters
    ----------
    connection
        The journal.
    calib_type, physical_filter
        The product.
    names
        Names of the detectors by id.
    detector
        The one of which to return the trends of its amplifiers; None: those of all detectors.

    Returns
    -------
    rows
        A row for each quantity of each of them; median and spread are over the runs that count.
    ignored
        The runs that do not count, with the reason in a word or two; see `lsst.ts.comcamcalib.run.judged`.
    """
    runs = latest_runs(connection, calib_type, physical_filter, TREND_RUNS)
    ignored = not_counting(connection, calib_type, physical_filter, runs)
    units: dict[Name, str] = {}
    values: dict[Name, list[tuple[str, float]]] = {}
    for run_id in runs:
        read = values_of(connection, calib_type, physical_filter, run_id, detector)
        summed = _by_detector(read, names) if detector is None else _by_amplifier(read)
        for name, (value, unit) in summed.items():
            # Values of another unit belong to another release, and can't be compared.
            if units.setdefault(name, unit) == unit:
                values.setdefault(name, []).append((run_id, value))
    return tuple(_row(*name, units[name], values[name], ignored) for name in sorted(values)), ignored


Read = Iterable[tuple[tuple[int, str, str], float, str]]


def _by_amplifier(read: Read) -> dict[Name, tuple[float, str]]:
    return {(quantity, amplifier or "whole detector"): (value, unit) for (_, amplifier, quantity), value, unit in read}


def _by_detector(read: Read, names: Mapping[int, str]) -> dict[Name, tuple[float, str]]:
    """Return the values of detectors: their own or, where there is none, the median over their amplifiers."""
    own: dict[Name, tuple[float, str]] = {}
    amplifiers: dict[Name, tuple[list[float], str]] = {}
    for (number, amplifier, quantity), value, unit in read:
        name = quantity, names.get(number, str(number))
        if amplifier:
            amplifiers.setdefault(name, ([], unit))[0].append(value)
        else:
            own[name] = value, unit
    return {name: (_median(some), unit) for name, (some, unit) in amplifiers.items()} | own


def _median(values: Iterable[float | None]) -> float:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.median(finite) if finite else math.nan


def _row(
    quantity: str, of: str, unit: str, values: Sequence[tuple[str, float]], ignored: Collection[str]
) -> data.TrendRow:
    trend = trend_of((value for run_id, value in values if run_id not in ignored), unit)
    points = tuple(data.TrendPoint(run_id, value if math.isfinite(value) else None) for run_id, value in values)
    return data.TrendRow(
        quantity=quantity,
        of=of,
        unit=unit,
        median=trend.median,
        spread=trend.spread,
        latest=points[0].value if points else None,
        points=points,
    )


@dataclasses.dataclass(frozen=True)
class Selection:
    """The rows of a table of trends that the page shows."""

    rows: tuple[data.TrendRow, ...]
    chosen: int
    """Of so many detectors each quantity is shown, because there are more; 0: all are shown."""
    total: int


def selection_of(table: data.TrendTable) -> Selection:
    """Return what the page shows of a table: of a large camera the median, and the detectors that stand out most."""
    total = len({row.of for row in table.rows})
    if total <= MANY:
        return Selection(table.rows, 0, total)
    by_quantity: dict[str, list[data.TrendRow]] = {}
    for row in table.rows:
        by_quantity.setdefault(row.quantity, []).append(row)
    rows: list[data.TrendRow] = []
    for quantity, some in by_quantity.items():
        rows.append(_of_all(quantity, some, table.not_counting))
        rows += sorted(some, key=_strangeness, reverse=True)[:STANDING_OUT]
    return Selection(tuple(rows), STANDING_OUT, total)


def _of_all(quantity: str, rows: Sequence[data.TrendRow], ignored: Collection[str]) -> data.TrendRow:
    """Return the median over all detectors in each run."""
    by_run: dict[str, list[float | None]] = {}
    for row in rows:
        for point in row.points:
            by_run.setdefault(point.run_id, []).append(point.value)
    values = [(run_id, _median(by_run[run_id])) for run_id in sorted(by_run, reverse=True)]
    return _row(quantity, f"median of {len(rows)}", rows[0].unit, values, ignored)


def _strangeness(row: data.TrendRow) -> float:
    """Return how far the latest value is from the median of earlier ones, in robust standard deviations."""
    if row.latest is None or row.median is None:
        return math.inf
    difference = abs(row.latest - row.median)
    return difference / row.spread if row.spread else math.inf if difference else 0.0
