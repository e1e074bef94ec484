# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of measurements in the journal: the values of each run, for trends over months.

It holds nothing that the facts do not have, in an order in which the values of the latest runs stand together; of each
run the latest value of each quantity. If it is not there, it is made from the facts. These functions block.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping

from ..enums import CalibType
from ..measurements import FOLLOWS_DEPTH, Trend, depth_of, same_depth, trend_of
from ..record.facts import Entry, Measured, fact_from_json
from .judged import counting_runs

__all__ = ["Place", "insert_measurements", "make_table", "series", "trends", "values_of"]

TABLE = """
CREATE TABLE measurements (
    calib_type INTEGER NOT NULL, physical_filter TEXT NOT NULL, run_id TEXT NOT NULL, detector INTEGER NOT NULL,
    amplifier TEXT NOT NULL, quantity TEXT NOT NULL, value REAL, unit TEXT NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (calib_type, physical_filter, run_id, detector, amplifier, quantity)
) WITHOUT ROWID
"""

Place = tuple[int, str, str]
"""Detector, amplifier ("": the detector as a whole) and quantity."""


@dataclasses.dataclass(frozen=True)
class Series:
    """The values of one quantity of a detector or an amplifier, the latest run first; NaN: not measured."""

    unit: str
    values: tuple[tuple[str, float], ...]


def make_table(connection: sqlite3.Connection) -> None:
    """Make the table from the facts, unless it is there; the caller has begun a transaction."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'measurements'").fetchone():
        return
    connection.execute(TABLE)
    query = "SELECT run_id, seq, at, body FROM facts WHERE kind = 'measured' ORDER BY run_id, seq"
    for run_id, seq, at, body in connection.execute(query):
        # A run with a fact that can't be understood can't be read at all, which is said when it is read.
        with contextlib.suppress(ValueError):
            insert_measurements(connection, run_id, [Entry(seq, at, fact_from_json(body))])


def insert_measurements(connection: sqlite3.Connection, run_id: str, entries: Iterable[Entry]) -> None:
    """Insert the values of the facts that have some, within the transaction in which the facts are written.

    The values of a later attempt replace those of an earlier one.
    """
    for entry in entries:
        if isinstance(fact := entry.fact, Measured):
            connection.executemany(
                "INSERT OR REPLACE INTO measurements VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        *(int(fact.calib_type), fact.physical_filter, run_id),
                        *(one.detector, one.amplifier, one.quantity),
                        *(one.value if math.isfinite(one.value) else None, one.unit, entry.at),
                    )
                    for one in fact.values
                ],
            )


def latest_runs(
    connection: sqlite3.Connection, calib_type: CalibType, physical_filter: str, count: int, without: str = ""
) -> list[str]:
    """Return the latest runs that have values of a product, good or not, the latest first.

    Parameters
    ----------
    connection
        The journal.
    calib_type, physical_filter
        The product.
    count
        Largest number of runs.
    without
        A run that does not count.
    """
    found: list[str] = []
    last = "~"  # after all identifiers of runs
    # One step in the index for each run, however many values the table has.
    query = "SELECT max(run_id) FROM measurements WHERE calib_type = ? AND physical_filter = ? AND run_id < ?"
    while len(found) < count:
        (run_id,) = connection.execute(query, (int(calib_type), physical_filter, last)).fetchone()
        if run_id is None:
            return found
        last = str(run_id)
        if last != without:
            found.append(last)
    return found


def series(
    connection: sqlite3.Connection, calib_type: CalibType, physical_filter: str, count: int, without: str = ""
) -> dict[Place, Series]:
    """Return the values of a product in the latest runs, by detector, amplifier and quantity; see `latest_runs`."""
    runs = latest_runs(connection, calib_type, physical_filter, count, without)
    return _values_in(connection, calib_type, physical_filter, runs)


def _values_in(
    connection: sqlite3.Connection, calib_type: CalibType, physical_filter: str, runs: Iterable[str]
) -> dict[Place, Series]:
    units: dict[Place, str] = {}
    values: dict[Place, list[tuple[str, float]]] = {}
    for run_id in runs:
        for place, value, unit in values_of(connection, calib_type, physical_filter, run_id):
            # Values of another unit belong to another release, and can't be compared.
            if units.setdefault(place, unit) == unit:
                values.setdefault(place, []).append((run_id, value))
    return {place: Series(units[place], tuple(some)) for place, some in values.items()}


def values_of(
    connection: sqlite3.Connection,
    calib_type: CalibType,
    physical_filter: str,
    run_id: str,
    detector: int | None = None,
) -> Iterator[tuple[Place, float, str]]:
    """Yield each value of a product in a run, with its place and unit; NaN: not measured.

    Parameters
    ----------
    connection
        The journal.
    calib_type, physical_filter
        The product.
    run_id
        The run.
    detector
        Only this one; None: all.
    """
    query = (
        "SELECT detector, amplifier, quantity, value, unit FROM measurements "
        "WHERE calib_type = ? AND physical_filter = ? AND run_id = ?"
    )
    which: tuple[int | str, ...] = (int(calib_type), physical_filter, run_id)
    if detector is not None:
        query, which = f"{query} AND detector = ?", (*which, detector)
    for number, amplifier, quantity, value, unit in connection.execute(query, which):
        yield (number, amplifier, quantity), math.nan if value is None else value, unit


def filters_of(connection: sqlite3.Connection, calib_type: CalibType) -> list[str]:
    """Return the filters in which a product was measured; "" for a product without filters."""
    found: list[str] = []
    query = "SELECT min(physical_filter) FROM measurements WHERE calib_type = ? AND physical_filter > ?"
    (first,) = connection.execute(
        "SELECT min(physical_filter) FROM measurements WHERE calib_type = ?", (int(calib_type),)
    ).fetchone()
    while first is not None:
        found.append(str(first))
        (first,) = connection.execute(query, (int(calib_type), found[-1])).fetchone()
    return found


def trends(
    connection: sqlite3.Connection,
    calib_type: CalibType,
    physical_filter: str,
    count: int,
    without: str = "",
    depths: Mapping[int, Mapping[str, float]] | None = None,
) -> dict[Place, Trend]:
    """Return median and spread of the values in the latest runs of which the product was good; see `counting_runs`.

    Parameters
    ----------
    connection
        The journal.
    calib_type, physical_filter, count, without
        See `counting_runs`.
    depths
        What the frames of the present product are made of, by detector; see `depth_of`. Of what follows from that,
        only the runs with the same count.
    """
    runs = counting_runs(connection, calib_type, physical_filter, count, without)
    past = _values_in(connection, calib_type, physical_filter, runs)
    depths_then: dict[tuple[int, str], dict[str, float]] = {}
    for (detector, _, quantity), one in past.items():
        for run_id, value in one.values:
            depths_then.setdefault((detector, run_id), {}).update(depth_of([(quantity, value)]))
    found = {}
    for place, one in past.items():
        detector, _, quantity = place
        now = (depths or {}).get(detector, {})
        alike = (
            value
            for run_id, value in one.values
            if quantity not in FOLLOWS_DEPTH or same_depth(now, depths_then[detector, run_id])
        )
        found[place] = trend_of(alike, one.unit)
    return found
