# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal's table of measurements: written with the facts, made from them if it is not there, fast to read."""

from __future__ import annotations

import contextlib
import math
import sqlite3
import time
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.enums import CalibType, RunState, Verdict
from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.measurements import DEPTH
from lsst.ts.comcamcalib.record.facts import Entry, Measured, Measurement, VerdictGiven
from lsst.ts.comcamcalib.run.journal import Journal
from lsst.ts.comcamcalib.run.journal_file import SCHEMA_VERSION
from lsst.ts.comcamcalib.run.judged import make_table as make_judged
from lsst.ts.comcamcalib.run.judged import note_judgements
from lsst.ts.comcamcalib.run.measurements import (
    filters_of,
    insert_measurements,
    make_table,
    series,
    trends,
)
from lsst.ts.comcamcalib.run.reading import open_to_read
from support.plans import DAY_OBS
from support.records import write_run


def measured(
    *values: float, calib_type: CalibType = CalibType.PTC, physical_filter: str = "", attempt: int = 1, unit: str = "V"
) -> Measured:
    """Return the gains of detectors 0, 1, …"""
    return Measured(
        calib_type=calib_type,
        physical_filter=physical_filter,
        attempt=attempt,
        values=tuple(
            Measurement(detector=number, amplifier="C10", quantity="gain", value=one, unit=unit)
            for number, one in enumerate(values)
        ),
    )


def judged(fact: Measured, verdict: Verdict = Verdict.PASSED) -> VerdictGiven:
    """Return the verdict on a product that was measured."""
    return VerdictGiven(
        calib_type=fact.calib_type,
        physical_filter=fact.physical_filter,
        attempt=fact.attempt,
        verdict=verdict,
        job_id="job-01",
        reason="",
    )


async def run(journal: Journal, *facts: Measured) -> str:
    """Write a run that measured some good products."""
    return await write_run(journal, *(one for fact in facts for one in (fact, judged(fact))))


PLACE = (0, "C10", "gain")


async def test_trend_is_over_the_latest_runs_without_the_run_itself(journal: Journal) -> None:
    for value in (9.0, 1.0, 1.2, 1.1):
        last = await run(journal, measured(value))
    found = await journal.trends(CalibType.PTC, "", 2, without=last)
    assert (found[PLACE].runs, found[PLACE].median, found[PLACE].latest) == (2, 1.1, 1.2)
    assert (await journal.trends(CalibType.PTC, "", 99))[PLACE].runs == 4


async def test_products_and_filters_do_not_mix(journal: Journal) -> None:
    r, i = (
        measured(one, calib_type=CalibType.FLAT, physical_filter=kind) for one, kind in ((1.0, "r_03"), (2.0, "i_06"))
    )
    await run(journal, r, i, measured(3.0))
    assert (await journal.trends(CalibType.FLAT, "i_06", 9))[PLACE].median == 2.0
    assert await journal.trends(CalibType.BIAS, "", 9) == {}
    with open_to_read(journal.path) as connection:
        assert filters_of(connection, CalibType.FLAT) == ["i_06", "r_03"]
        assert filters_of(connection, CalibType.PTC) == [""]
        assert filters_of(connection, CalibType.GAIN) == []


async def test_run_that_was_verified_again_counts_once_with_its_latest_values(journal: Journal) -> None:
    await run(journal, measured(9.0), measured(1.7, attempt=2))
    found = await journal.trends(CalibType.PTC, "", 9)
    assert (found[PLACE].runs, found[PLACE].median) == (1, 1.7)


async def test_value_that_was_not_measured_is_no_value(journal: Journal) -> None:
    await run(journal, measured(1.7))
    await run(journal, measured(math.nan))
    assert (await journal.trends(CalibType.PTC, "", 9))[PLACE].runs == 1


async def test_unit_of_an_earlier_release_is_not_mixed_in(journal: Journal) -> None:
    await run(journal, measured(1700.0, unit="mV"))
    await run(journal, measured(1.7, unit="V"))
    found = await journal.trends(CalibType.PTC, "", 9)
    assert (found[PLACE].unit, found[PLACE].runs) == ("V", 1)


async def test_table_that_is_not_there_is_made_from_the_facts(journal: Journal, path: Path) -> None:
    for value in (1.0, 1.2, 1.1):
        await run(journal, measured(value, math.nan), measured(value + 0.5, attempt=2))
    before = await journal.trends(CalibType.PTC, "", 9)
    with open_to_read(path) as connection:
        rows = connection.execute("SELECT * FROM measurements").fetchall()
    await journal.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TABLE measurements")
    again = Journal(path, Clock(), lambda sentence: None)
    await again.open()
    assert await again.trends(CalibType.PTC, "", 9) == before
    with open_to_read(path) as connection:
        assert connection.execute("SELECT * FROM measurements").fetchall() == rows
    await again.close()


async def test_measurements_and_facts_are_written_together_or_not_at_all(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await run(journal)

    def fail(*arguments: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("lsst.ts.comcamcalib.run.measurements.insert_measurements", fail)
    with pytest.raises(Exception, match="disk I/O error"):
        await journal.append(run_id, [Entry(2, 2.0, measured(1.0))], RunState.COMPLETED)
    monkeypatch.undo()
    assert len(await journal.read(run_id)) == 1
    assert await journal.trends(CalibType.PTC, "", 9) == {}


# For reading


async def test_journal_can_be_read_while_its_owner_writes(journal: Journal, path: Path) -> None:
    await run(journal, measured(1.7))
    with open_to_read(path) as connection:
        assert series(connection, CalibType.PTC, "", 9)[PLACE].values == ((f"{DAY_OBS}-001", 1.7),)
        await run(journal, measured(1.8))
        assert len(series(connection, CalibType.PTC, "", 9)[PLACE].values) == 2
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM measurements")


async def test_journal_can_be_read_when_nobody_owns_it(journal: Journal, path: Path) -> None:
    await run(journal, measured(1.7))
    await journal.close()
    with open_to_read(path) as connection:
        assert trends(connection, CalibType.PTC, "", 9)[PLACE].median == 1.7


def test_what_can_not_be_read_is_said(tmp_path: Path) -> None:
    none, old, text = (tmp_path / f"{name}.sqlite" for name in ("none", "old", "text"))
    with contextlib.closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TABLE facts (run_id TEXT)")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    text.write_text("this is no database, however long it may be" * 100)
    for path, sentence in (
        (none, r"There is no journal .*none\.sqlite; journal_path in the CSC's configuration"),
        (old, "has no measurements: no CSC of this release"),
        (text, "can't be read: file is not a database"),
    ):
        with pytest.raises(ServiceError, match=sentence), open_to_read(path):
            pass


# Fast


def test_trends_of_a_hundred_runs_among_many_are_read_at_once() -> None:
    """9 detectors x 16 amplifiers x 6 quantities; more runs than are asked for, and other products."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute(
            "CREATE TABLE facts (run_id TEXT, seq INTEGER, at REAL, kind TEXT, body TEXT, PRIMARY KEY (run_id, seq))"
        )
        make_table(connection)
        make_judged(connection)
        values = tuple(
            Measurement(detector=detector, amplifier=f"C{amplifier:02d}", quantity=f"q{quantity}", value=1.0, unit="V")
            for detector in range(9)
            for amplifier in range(16)
            for quantity in range(6)
        )
        connection.execute("BEGIN")
        for number in range(120):
            for calib_type in (CalibType.BIAS, CalibType.PTC):
                fact = Measured(calib_type=calib_type, physical_filter="", attempt=1, values=values)
                insert_measurements(connection, f"20261122-{number:03d}", [Entry(1, 1.0, fact)])
                note_judgements(connection, f"20261122-{number:03d}", [Entry(2, 2.0, judged(fact))])
        connection.execute("COMMIT")
        begin = time.process_time()
        found = trends(connection, CalibType.PTC, "", 100)
        assert time.process_time() - begin < 0.5
    assert len(found) == 864
    assert {one.runs for one in found.values()} == {100}


def bias(number: float | None, noise: float, level: float = 0.5) -> Measured:
    """Return the noise and level of a bias that is made of a number of exposures; None: that is not known."""
    values = {("C10", "noise"): noise, ("C10", "level"): level}
    values |= {("", quantity): number for quantity in DEPTH if number is not None}
    return Measured(
        calib_type=CalibType.BIAS,
        physical_filter="",
        attempt=1,
        values=tuple(
            Measurement(detector=0, amplifier=name, quantity=quantity, value=one, unit="electron")
            for (name, quantity), one in values.items()
        ),
    )


@pytest.mark.parametrize(
    ("number", "runs", "median"),
    [(20.0, 3, 1.55), (3.0, 2, 4.05), (5.0, 0, math.nan), (None, 1, 9.9)],
)
async def test_trend_of_a_noise_has_only_runs_with_as_many_exposures(
    journal: Journal, number: float | None, runs: int, median: float
) -> None:
    """Noise falls with the square root of their number; a level does not."""
    for count, noise in ((20.0, 1.5), (3.0, 4.0), (20.0, 1.6), (None, 9.9), (3.0, 4.1), (20.0, 1.55)):
        await run(journal, bias(count, noise))
    depth = dict.fromkeys(DEPTH, number) if number is not None else {}
    found = await journal.trends(CalibType.BIAS, "", 30, depths={0: depth})
    noise = found[0, "C10", "noise"]
    assert noise.runs == runs
    assert noise.median == pytest.approx(median, nan_ok=True)
    assert found[0, "C10", "level"].runs == 6
