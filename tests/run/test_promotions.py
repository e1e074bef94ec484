# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What promotions wrote down is read again, the latest first, however long the file and whatever else is in it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.run import promotions
from lsst.ts.comcamcalib.run.promotions import (
    Promoted,
    PromotedRange,
    note_promotion,
    promotions_file,
    read_promotions,
)

PROMOTED = Promoted(
    at="2026-11-27T09:00:00",
    who="jdoe@base",
    run_id="20261126-001",
    source="LSSTComCam/calib/daily",
    collection="LSSTComCam/calib/DM-1",
    reason='für "the" campaign',
    on_conflict="fail",
    ranges=(PromotedRange("bias", ("a", "b"), "2026-11-26T12:00:00", ""),),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return promotions_file(tmp_path / "journal.sqlite3")


def test_what_was_written_is_read_the_latest_first(file: Path) -> None:
    assert read_promotions(file) == ([], 0)
    later = dataclasses.replace(PROMOTED, run_id="20261127-001")
    for one in (PROMOTED, later):
        note_promotion(file, one)
    assert read_promotions(file) == ([later, PROMOTED], 0)
    assert file.name == "journal-promotions.jsonl"


def test_what_can_not_be_understood_is_counted(file: Path) -> None:
    note_promotion(file, PROMOTED)
    with file.open("ab") as opened:
        opened.write(b'{"at": "x"}\n[]\nnull\n\xff\n{"at"')  # the last one is being written
    assert read_promotions(file) == ([PROMOTED], 5)


def test_of_a_long_file_the_end_is_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note_promotion(file, PROMOTED)
    size = file.stat().st_size
    for number in range(2, 10):
        note_promotion(file, dataclasses.replace(PROMOTED, run_id=f"20261126-{number:03d}"))
    monkeypatch.setattr(promotions, "MAX_BYTES", 3 * size + 5)
    found, strange = read_promotions(file)
    assert [one.run_id for one in found] == ["20261126-009", "20261126-008", "20261126-007"] and strange == 0
