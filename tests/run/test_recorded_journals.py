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
from lsst.ts.comcamcalib.enums import CalibType, RunState, StageState
from lsst.ts.comcamcalib.record.facts import Entry
from lsst.ts.comcamcalib.record.fold import fold
from lsst.ts.comcamcalib.record.views import all_events, snapshot
from lsst.ts.comcamcalib.run.journal import Journal
from support.facts import KINDS

JOURNALS = sorted((Path(__file__).parents[1] / "data" / "journals").glob("*.sql"))


@pytest.fixture(params=JOURNALS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A recorded journal, as a file of SQLite."""
    path = tmp_path / "journal.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(request.param.read_text(encoding="utf-8"))
    return path


async def entries_of(path: Path) -> list[Entry]:
    journal = Journal(path, Clock(), lambda sentence: None)
    await journal.open()
    entries = await journal.read(await journal.latest())
    await journal.close()
    return entries


def test_there_are_recorded_journals() -> None:
    assert JOURNALS


async def test_every_kind_of_fact_is_in_a_recorded_journal(path: Path) -> None:
    kinds = {type(entry.fact) for entry in await entries_of(path)}
    assert kinds == set(KINDS), "a new kind of fact needs a new recorded journal beside the old ones"


async def test_recorded_journal_folds_and_so_does_every_prefix(path: Path) -> None:
    entries = await entries_of(path)
    for end in range(1, len(entries) + 1):
        assert fold(entries[:end]).seq == end


async def test_recorded_run_means_what_it_meant(path: Path) -> None:
    history = fold(await entries_of(path))
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
