# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Of many detectors the page shows those that stand out, and programs get all."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping

import pytest
from lsst.ts.comcamcalib.enums import CalibType, Verdict
from lsst.ts.comcamcalib.record.facts import Entry, Measured, Measurement, VerdictGiven
from lsst.ts.comcamcalib.run import judged
from lsst.ts.comcamcalib.run.measurements import insert_measurements, make_table
from lsst.ts.comcamcalib.web.data import TrendRow, TrendTable
from lsst.ts.comcamcalib.web.trends import STANDING_OUT, selection_of, trend_rows
from support.cameras import LSSTCAM

NAMES = dict(enumerate(LSSTCAM))


@pytest.fixture
def journal() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE facts (run_id TEXT, seq INTEGER, at REAL, kind TEXT, body TEXT)")
    make_table(connection)
    judged.make_table(connection)
    return connection


def measure(
    journal: sqlite3.Connection,
    run_id: str,
    values: Mapping[tuple[int, str], float],
    unit: str = "electron",
    verdict: Verdict = Verdict.PASSED,
) -> None:
    """Let a run measure the noise, by detector and amplifier, and judge the product."""
    found = [
        Measurement(detector=detector, amplifier=amplifier, quantity="noise", value=value, unit=unit)
        for (detector, amplifier), value in values.items()
    ]
    fact = Measured(calib_type=CalibType.PTC, physical_filter="", attempt=1, values=tuple(found))
    insert_measurements(journal, run_id, [Entry(2, 1.8e9, fact)])
    given = VerdictGiven(calib_type=CalibType.PTC, physical_filter="", attempt=1, verdict=verdict, job_id="", reason="")
    judged.note_judgements(journal, run_id, [Entry(3, 1.8e9, given)])


def rows(journal: sqlite3.Connection, detector: int | None = None) -> dict[str, TrendRow]:
    return {row.of: row for row in trend_rows(journal, CalibType.PTC, "", NAMES, detector)[0]}


def test_a_detectors_own_value_counts_more_than_the_median_of_its_amplifiers(journal: sqlite3.Connection) -> None:
    measure(journal, "20261126-001", {(0, "C00"): 6.0, (0, "C01"): 7.0, (0, "C02"): math.nan, (1, "C00"): math.nan})
    measure(journal, "20261127-001", {(0, ""): 5.0, (0, "C00"): 6.0})
    found = rows(journal)
    assert [(one.run_id, one.value) for one in found["R01_S00"].points] == [
        ("20261127-001", 5.0),
        ("20261126-001", 6.5),
    ]
    assert found["R01_S01"].latest is None
    assert set(rows(journal, 0)) == {"whole detector", "C00", "C01", "C02"}
    assert rows(journal, 2) == {}


def test_values_in_another_unit_are_not_compared(journal: sqlite3.Connection) -> None:
    measure(journal, "20261126-001", {(0, "C00"): 4.0}, unit="adu")
    measure(journal, "20261127-001", {(0, "C00"): 6.0})
    assert [one.value for one in rows(journal)["R01_S00"].points] == [6.0]


def test_runs_of_a_bad_product_are_shown_but_do_not_count(journal: sqlite3.Connection) -> None:
    for day in range(20, 25):
        measure(journal, f"202611{day}-001", {(0, ""): 6.0})
    for day in (25, 26, 27):
        measure(journal, f"202611{day}-001", {(0, ""): 60.0}, verdict=Verdict.FAILED)
    found, ignored = trend_rows(journal, CalibType.PTC, "", NAMES)
    (row,) = found
    assert ignored == {f"202611{day}-001": "FAILED" for day in (27, 26, 25)}
    assert (row.latest, row.median, row.spread, len(row.points)) == (60.0, 6.0, 0.0, 8)


def test_the_detectors_that_stand_out_are_shown_with_the_median_of_all(journal: sqlite3.Connection) -> None:
    for day in range(20, 27):
        measure(journal, f"202611{day}-001", {(one, ""): 6.0 + 0.01 * (day % 3) for one in NAMES})
    latest = {(one, ""): 6.01 for one in NAMES} | {(100, ""): 9.0, (150, ""): 3.0, (200, ""): math.nan}
    measure(journal, "20261127-001", latest)
    found, ignored = trend_rows(journal, CalibType.PTC, "", NAMES)
    table = TrendTable(written="", calib_type="PTC", physical_filter="", detector="", rows=found, not_counting=ignored)
    assert len(found) == 205
    selection = selection_of(table)
    assert (selection.chosen, selection.total, len(selection.rows)) == (STANDING_OUT, 205, STANDING_OUT + 1)
    median, *others = selection.rows
    assert (median.of, median.latest, len(median.points)) == ("median of 205", 6.01, 8)
    assert {one.of for one in others[:3]} == {NAMES[100], NAMES[150], NAMES[200]}
    few = table.model_copy(update={"rows": found[:9]})
    assert (selection_of(few).rows, selection_of(few).chosen) == (found[:9], 0)
