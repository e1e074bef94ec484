# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Journals of all releases so far can be read, and mean what they meant."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.enums import CalibType, CertificationState, RunState, StageState, Verdict
from lsst.ts.comcamcalib.record import events, facts
from lsst.ts.comcamcalib.record.facts import Entry
from lsst.ts.comcamcalib.record.fold import fold
from lsst.ts.comcamcalib.record.views import all_events, snapshot
from lsst.ts.comcamcalib.run.journal import Journal
from support.facts import KINDS

FOLDER = Path(__file__).parents[1] / "data" / "journals"
JOURNALS = sorted(FOLDER.glob("*.sql"))


def restored(recorded: Path, folder: Path) -> Path:
    """Make a file of SQLite of a recorded journal."""
    path = folder / f"{recorded.stem}.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(recorded.read_text(encoding="utf-8"))
    return path


async def opened(path: Path) -> Journal:
    journal = Journal(path, Clock(), lambda sentence: None)
    await journal.open()
    return journal


async def runs_of(path: Path) -> dict[str, list[Entry]]:
    """Return the facts of each run, as the journal reads them."""
    with sqlite3.connect(path) as connection:
        run_ids = [run_id for (run_id,) in connection.execute("SELECT run_id FROM runs ORDER BY number")]
    journal = await opened(path)
    runs = {run_id: await journal.read(run_id) for run_id in run_ids}
    assert await journal.latest() == run_ids[-1]
    await journal.close()
    return runs


def test_a_journal_of_the_first_release_is_among_them() -> None:
    assert FOLDER / "format-2.sql" in JOURNALS


async def test_every_kind_of_fact_is_in_a_recorded_journal(tmp_path: Path) -> None:
    kinds = {
        type(entry.fact)
        for recorded in JOURNALS
        for entries in (await runs_of(restored(recorded, tmp_path))).values()
        for entry in entries
    }
    assert kinds == set(KINDS), "a new kind of fact needs a new recorded journal beside the old ones"


@pytest.mark.parametrize("recorded", JOURNALS, ids=lambda path: path.stem)
async def test_recorded_runs_fold_and_so_does_every_prefix(recorded: Path, tmp_path: Path) -> None:
    for entries in (await runs_of(restored(recorded, tmp_path))).values():
        for end in range(1, len(entries) + 1):
            history = fold(entries[:end])
            assert history.seq == end
            assert list(all_events(history))


async def test_a_run_with_everything_means_what_it_meant(tmp_path: Path) -> None:
    (entries,) = (await runs_of(restored(FOLDER / "format-2.sql", tmp_path))).values()
    history = fold(entries)
    assert history.state is RunState.COMPLETED
    assert {stage.state for stage in history.stages.values()} == {StageState.SUCCEEDED}
    assert [len(history.exposure_ids(one)) for one in (CalibType.BIAS, CalibType.DARK, CalibType.FLAT)] == [1, 2, 4]
    assert len(history.jobs) == 13
    assert sorted({one.intent.dataset_type for one in history.certifications.values() if one.done}) == [
        "bias",
        "dark",
        "defects",
        "flat",
        "ptc",
    ]
    assert len(list(all_events(history))) == 89
    assert snapshot(history)["runState"] == RunState.COMPLETED


async def test_decisions_mean_what_they_meant(tmp_path: Path) -> None:
    """A run whose verdict was accepted, and that was withdrawn at the second attempt; back came the run before it."""
    path = restored(FOLDER / "decisions.sql", tmp_path)
    first, second = [fold(entries) for entries in (await runs_of(path)).values()]
    assert (first.state, second.state) == (RunState.COMPLETED, RunState.COMPLETED)

    verdict = second.verdicts[CalibType.BIAS, ""]
    assert (verdict.attempt, verdict.verdict) == (1, Verdict.ACCEPTED_BY_OPERATOR)
    assert verdict.reason.startswith("Accepted by op@console: the noise is known. It was FAILED: 1 of 3 detectors")
    assert second.stages["BIAS.CERTIFY"].attempt == 2
    assert second.report is not None and second.report.attempt == 2

    (certified,) = second.certifications.values()
    assert certified.intent.verdict is Verdict.ACCEPTED_BY_OPERATOR
    assert [type(one.outcome) for one in second.withdrawals.values()] == [facts.DecertifyAbsent, facts.Decertified]
    back = {one.dataset_id for one in second.withdrawals[2].intent.back}
    assert back == {one.dataset_id for one in certified.intent.replaces}
    product = first.product(CalibType.BIAS)
    assert product is not None and back == {one.dataset_id for one in product.datasets}

    (published,) = [one for one in all_events(second) if isinstance(one, events.Certification)]
    assert published.state is CertificationState.DECERTIFIED
    assert published.reason.startswith(
        "withdrawn by op@console: a light leak; 3 datasets are out of LSSTComCam/calib/daily"
    )


async def test_recorded_measurements_are_there_for_trends(tmp_path: Path) -> None:
    journal = await opened(restored(FOLDER / "decisions.sql", tmp_path))
    trends = await journal.trends(CalibType.BIAS, "", runs=10)
    await journal.close()
    assert len(trends) == 48, "the level of each amplifier of three detectors"
    assert {trend.runs for trend in trends.values()} == {1}, "the other run was withdrawn"
