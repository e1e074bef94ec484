# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A trend is what good products are like: bad ones, and those that were withdrawn, do not count."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.enums import CalibType, Verdict
from lsst.ts.comcamcalib.record.facts import (
    Certified,
    CertifyIntended,
    Decertified,
    DecertifyAbsent,
    DecertifyIntended,
    Fact,
    Measured,
    Measurement,
    VerdictAccepted,
    VerdictGiven,
)
from lsst.ts.comcamcalib.run.journal import Journal
from lsst.ts.comcamcalib.run.judged import counting_runs, not_counting
from lsst.ts.comcamcalib.run.measurements import latest_runs
from lsst.ts.comcamcalib.run.reading import open_to_read
from support.records import write_run

PTC, FLAT = CalibType.PTC, CalibType.FLAT


def measured(calib_type: CalibType = PTC, physical_filter: str = "", attempt: int = 1) -> Measured:
    value = Measurement(detector=0, amplifier="C10", quantity="gain", value=1.7, unit="electron/adu")
    return Measured(calib_type=calib_type, physical_filter=physical_filter, attempt=attempt, values=(value,))


def verdict(one: Verdict, calib_type: CalibType = PTC, physical_filter: str = "", attempt: int = 1) -> VerdictGiven:
    return VerdictGiven(
        calib_type=calib_type, physical_filter=physical_filter, attempt=attempt, verdict=one, job_id="job", reason=""
    )


def acceptance(attempt: int = 1, physical_filter: str = "") -> VerdictAccepted:
    return VerdictAccepted(
        calib_type=PTC, physical_filter=physical_filter, attempt=attempt, who="op@console", why="good enough"
    )


def certification(number: int = 1, calib_type: CalibType = PTC) -> tuple[Fact, Fact]:
    intent = CertifyIntended(
        number=number,
        stage_name=f"{calib_type.name}.CERTIFY",
        calib_type=calib_type,
        verdict=Verdict.PASSED,
        dataset_type="ptc",
        collection="LSSTComCam/calib/daily",
        output_collection="u/ocps/job/run",
        validity_begin="",
        validity_end="",
        dataset_ids=("x",),
    )
    return intent, Certified(number=number, dataset_count=1, reason="")


def withdrawal(*numbers: int, done: bool = True) -> tuple[Fact, Fact]:
    intent = DecertifyIntended(
        number=1, certifications=numbers, collection="LSSTComCam/calib/daily", out=(), back=(), who="op", why="light"
    )
    return intent, Decertified(number=1, reason="") if done else DecertifyAbsent(number=1, reason="")


PASSED, FAILED, UNKNOWN = (verdict(one) for one in (Verdict.PASSED, Verdict.FAILED, Verdict.UNKNOWN))


CASES = [
    ((measured(),), "no verdict"),
    ((measured(), PASSED), ""),
    ((measured(), verdict(Verdict.PASSED_WITH_FAILURES)), ""),
    ((measured(), FAILED), "FAILED"),
    ((measured(), UNKNOWN), "UNKNOWN"),
    # Accepted: what stands is the verdict of the attempt that somebody saw.
    ((measured(), FAILED, acceptance()), ""),
    ((measured(), FAILED, acceptance(attempt=2)), "FAILED"),
    ((measured(), FAILED, acceptance(), UNKNOWN), ""),
    ((measured(), FAILED, acceptance(), verdict(Verdict.FAILED, attempt=2)), "FAILED"),
    # The latest attempt counts.
    ((measured(), FAILED, measured(attempt=2), verdict(Verdict.PASSED, attempt=2)), ""),
    ((measured(), PASSED, measured(attempt=2), verdict(Verdict.UNKNOWN, attempt=2)), "UNKNOWN"),
    # A good product need not be certified, but must not have been withdrawn.
    ((measured(), PASSED, *certification()), ""),
    ((measured(), PASSED, *certification(), *withdrawal(1)), "decertified"),
    ((measured(), PASSED, *certification(), *withdrawal(1, done=False)), ""),
    ((measured(), PASSED, *certification(), *withdrawal(1), *certification(2)), ""),
    ((measured(), FAILED, acceptance(), *certification(), *withdrawal(1)), "decertified"),
    # Another product does not matter.
    ((measured(), PASSED, *certification(), *certification(2, CalibType.BIAS), *withdrawal(2)), ""),
    ((measured(), PASSED, verdict(Verdict.FAILED, CalibType.GAIN)), ""),
]


@pytest.mark.parametrize(("facts", "why"), CASES)
@pytest.mark.parametrize("afresh", [False, True])
async def test_run_counts_if_its_product_is_good_and_not_withdrawn(
    journal: Journal, path: Path, facts: tuple[Fact, ...], why: str, afresh: bool
) -> None:
    run_id = await write_run(journal, *facts)
    if afresh:  # as in a journal of a release that had no such table
        await journal.close()
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("DROP TABLE judged")
        await journal.open()
    with open_to_read(path) as connection:
        assert latest_runs(connection, PTC, "", 9) == [run_id]
        assert counting_runs(connection, PTC, "", 9) == ([] if why else [run_id])
        assert not_counting(connection, PTC, "", [run_id]) == ({run_id: why} if why else {})
    assert bool(await journal.trends(PTC, "", 9)) is not bool(why)


async def test_each_filter_has_its_own_verdict(journal: Journal, path: Path) -> None:
    run_id = await write_run(
        journal,
        *(measured(FLAT, kind) for kind in ("r_03", "i_06")),
        verdict(Verdict.PASSED, FLAT, "r_03"),
        verdict(Verdict.FAILED, FLAT, "i_06"),
    )
    with open_to_read(path) as connection:
        assert counting_runs(connection, FLAT, "r_03", 9) == [run_id]
        assert not_counting(connection, FLAT, "i_06", [run_id]) == {run_id: "FAILED"}


async def test_another_attempt_in_another_filter_leaves_no_verdict_on_the_first(journal: Journal, path: Path) -> None:
    run_id = await write_run(
        journal,
        measured(FLAT, "r_03"),
        verdict(Verdict.PASSED, FLAT, "r_03"),
        measured(FLAT, "i_06", attempt=2),
        verdict(Verdict.PASSED, FLAT, "i_06", attempt=2),
    )
    with open_to_read(path) as connection:
        assert counting_runs(connection, FLAT, "i_06", 9) == [run_id]
        assert not_counting(connection, FLAT, "r_03", [run_id]) == {run_id: "no verdict"}


async def test_a_bad_run_does_not_use_up_a_place_among_the_latest(journal: Journal, path: Path) -> None:
    good = [await write_run(journal, measured(), PASSED) for _ in range(3)]
    bad = await write_run(journal, measured(), FAILED)
    unmeasured = await write_run(journal, PASSED)
    with open_to_read(path) as connection:
        assert counting_runs(connection, PTC, "", 2) == [good[2], good[1]]
        assert counting_runs(connection, PTC, "", 9, without=good[2]) == [good[1], good[0]]
        runs = latest_runs(connection, PTC, "", 9)
        assert runs[0] == bad and unmeasured not in runs
        assert not_counting(connection, PTC, "", runs) == {bad: "FAILED"}
        assert not_counting(connection, PTC, "", []) == {}


async def test_journal_of_a_csc_that_has_no_such_table_yet_says_so(journal: Journal, path: Path) -> None:
    await journal.close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP TABLE judged")
    with pytest.raises(Exception, match="has no measurements: no CSC of this release"), open_to_read(path):
        pass
