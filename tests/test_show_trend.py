# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""``comcamcalib trend`` shows what the journal has, while the CSC writes it."""

from __future__ import annotations

import contextlib
import io
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.enums import CalibType, RunState, Verdict
from lsst.ts.comcamcalib.errors import BadInputError, ServiceError
from lsst.ts.comcamcalib.record.facts import Entry, Measured, Measurement, VerdictGiven
from lsst.ts.comcamcalib.run.journal import Journal
from lsst.ts.comcamcalib.show_trend import show_trend
from rich.console import Console
from support.plans import make_plan
from support.records import accepted


def measured(calib_type: CalibType, physical_filter: str, *values: tuple[int, str, str, float]) -> Measured:
    return Measured(
        calib_type=calib_type,
        physical_filter=physical_filter,
        attempt=1,
        values=tuple(
            Measurement(detector=one, amplifier=name, quantity=quantity, value=value, unit="electron/adu")
            for one, name, quantity, value in values
        ),
    )


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Path]:
    """A journal with three runs, which its owner keeps open."""
    journal = Journal(tmp_path / "journal.sqlite", Clock(), lambda sentence: None)
    await journal.open()
    for gain in (1.70, 1.72, 1.90):
        await write(journal, gain)
    yield journal.path
    await journal.close()


async def write(journal: Journal, gain: float, verdict: Verdict = Verdict.PASSED) -> None:
    """Write a run with a gain, and a verdict on its PTC."""
    entry = await journal.begin(20261122, 1.0, lambda run_id: accepted(make_plan(run_id=run_id)).fact)
    facts = [
        measured(
            CalibType.PTC,
            "",
            *((4, f"C1{number}", "gain", gain + number / 10) for number in (-1, 0, 1)),
            (0, "C10", "gain", float("nan")),
            (4, "C10", "noise", 6.5),
        ),
        measured(CalibType.DEFECTS, "", (4, "C10", "defect_columns", 9.0), (4, "", "defect_columns", 3.0)),
        measured(CalibType.FLAT, "r_03", (4, "C10", "response", 1.0)),
        measured(CalibType.FLAT, "i_06", (4, "C10", "response", 1.1)),
    ]
    judged = [
        VerdictGiven(
            calib_type=one.calib_type,
            physical_filter=one.physical_filter,
            attempt=1,
            verdict=verdict if one.calib_type is CalibType.PTC else Verdict.PASSED,
            job_id="job-01",
            reason="",
        )
        for one in facts
    ]
    entries = [Entry(number, float(number), fact) for number, fact in enumerate([*facts, *judged], start=2)]
    await journal.append(entry.fact.plan.run_id, entries, RunState.COMPLETED)


def shown(journal: Path, type_name: str = "", quantity: str = "", detector: str = "", runs: int = 30) -> str:
    text = io.StringIO()
    show_trend(journal, type_name, quantity, detector, runs, Console(file=text, width=160))
    return text.getvalue()


def row(text: str, *words: str) -> list[str]:
    """Return the cells of the row that has these words."""
    (line,) = (one for one in text.splitlines() if all(word in one for word in words))
    return [cell.strip() for cell in line.split("│")[1:-1]]


def test_overview_names_products_runs_and_quantities(journal: Path) -> None:
    text = shown(journal)
    assert row(text, "PTC") == ["PTC", "", "3", "20261122-003", "gain, noise"]
    assert row(text, "i_06")[:2] == ["FLAT", "i_06"]
    assert "BIAS" not in text


def test_detector_has_the_median_of_its_amplifiers_in_each_run(journal: Path) -> None:
    text = shown(journal, "ptc", "gain")
    assert row(text, "R22_S11") == ["gain", "R22_S11", "electron/adu", "3", "1.9", "1.72", "0.03", "+6.1"]
    assert row(text, "R22_S00") == ["gain", "R22_S00", "electron/adu", "0", "-", "-", "-", "-"]
    assert "noise" not in text


def test_value_of_the_whole_detector_counts_for_it(journal: Path) -> None:
    assert row(shown(journal, "DEFECTS"), "R22_S11")[4:] == ["3", "3", "0", "-"]


def test_amplifiers_of_one_detector(journal: Path) -> None:
    for detector in ("R22_S11", "4"):
        text = shown(journal, "PTC", "gain", detector)
        assert row(text, "C11")[3:6] == ["3", "2", "1.82"]
        assert "R22_S00" not in text


async def test_run_that_does_not_count_is_marked_and_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", Clock(), lambda sentence: None)
    await journal.open()
    for gain, verdict in (
        (1.70, Verdict.PASSED),
        (9.0, Verdict.UNKNOWN),
        (1.72, Verdict.PASSED),
        (1.9, Verdict.FAILED),
    ):
        await write(journal, gain, verdict)
    text = shown(journal.path, "PTC", "gain")
    assert row(text, "R22_S11")[3:] == ["2", "1.9*", "1.71", "0.015", "+12.8"]
    assert "* Not counted for median and spread: 20261122-004 (FAILED), 20261122-002 (UNKNOWN)" in text
    assert row(shown(journal.path, "PTC", "gain", "4"), "C10")[3:6] == ["2", "1.9*", "1.71"]
    assert "Not counted" not in shown(journal.path, "DEFECTS")
    await journal.close()


def test_filters_have_a_table_each(journal: Path) -> None:
    text = shown(journal, "FLAT")
    assert "FLAT r_03" in text and "FLAT i_06" in text


def test_runs_limit_how_far_it_looks_back(journal: Path) -> None:
    assert row(shown(journal, "PTC", "gain", runs=1), "R22_S11")[3:6] == ["1", "1.9", "1.9"]


def test_product_that_no_run_has_measured_is_said(journal: Path) -> None:
    assert shown(journal, "GAIN") == "No run has measured GAIN yet.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("PTCS",), "PTCS: no such product; there are BIAS, DARK, FLAT, DEFECTS, PTC, GAIN."),
        (("PTC", "gian"), "gian: not measured in PTC. Did you mean gain? There are gain, noise."),
        (("", "", "R22_S11"), "--detector R22_S11: name the product, too: BIAS, DARK, FLAT, DEFECTS, PTC, GAIN."),
        (("PTC", "gain", "R22_S99"), "R22_S99: LSSTComCam has no such detector; there are 0 R22_S00"),
    ],
)
def test_wrong_words_are_answered_with_what_there_is(journal: Path, arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(BadInputError) as caught:
        shown(journal, *arguments)
    assert sentence in str(caught.value)


async def test_journal_of_a_new_csc_has_nothing_yet(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new.sqlite", Clock(), lambda sentence: None)
    await journal.open()
    assert shown(journal.path) == "No run has measured anything yet.\n"
    await journal.close()


def test_journal_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="There is no journal"):
        shown(tmp_path / "none.sqlite")


def test_copy_on_a_read_only_disk_is_read_as_any(journal: Path, tmp_path: Path) -> None:
    copy = tmp_path / "readonly" / "journal.sqlite3"
    copy.parent.mkdir()
    with contextlib.closing(sqlite3.connect(journal)) as source, contextlib.closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    # Where a directory has the name of the file that SQLite needs beside it, that can't be made, as on such a disk.
    Path(f"{copy}-shm").mkdir()
    assert shown(copy) == shown(journal)


def test_file_that_is_no_journal_is_named(tmp_path: Path) -> None:
    other = tmp_path / "gen3.sqlite3"
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE something (name TEXT)")
    with pytest.raises(ServiceError, match="it is one of another release, or no journal"):
        shown(other)
