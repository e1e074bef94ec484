# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A recorded run and pictures for it, without a repository."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.record.facts import Entry
from lsst.ts.comcamcalib.record.fold import fold
from lsst.ts.comcamcalib.record.history import History
from lsst.ts.comcamcalib.report.repository import Readings
from lsst.ts.comcamcalib.run.reading import list_runs, read_entries
from lsst.ts.comcamcalib.services.butler_pictures import BinnedImage, DefectsFound
from support.report import curve, table

JOURNALS = Path(__file__).parents[1] / "data" / "journals"


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded journal with facts of many kinds, as a file of SQLite."""
    path = tmp_path_factory.mktemp("journal") / "journal.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(sorted(JOURNALS.glob("*.sql"))[-1].read_text(encoding="utf-8"))
    connection.close()
    return path


@pytest.fixture(scope="module")
def entries(journal: Path) -> list[Entry]:
    """The facts of its latest run."""
    return read_entries(journal, list_runs(journal)[0].run_id)


@pytest.fixture(scope="module")
def history(entries: list[Entry]) -> History:
    """What follows from them: biases, darks and flats of the detectors 0, 1 and 4, and everything made from them."""
    return fold(entries)


@pytest.fixture(scope="module")
def readings() -> Readings:
    """Pictures and numbers of the detectors 0 and 1; of detector 4 there is nothing."""
    pixels = np.linspace(-4, 4, 64, dtype=np.float32).reshape(8, 8)
    pixels[3, 3] = np.nan
    return Readings(
        images={
            (CalibType.BIAS, "", one): BinnedImage(pixels, np.repeat(np.repeat(pixels, 2, 0), 2, 1), (64, 64), 0.0)
            for one in (0, 1)
        }
        | {
            (CalibType.FLAT, "r_03", 1): BinnedImage(
                pixels, np.repeat(np.repeat(pixels, 2, 0), 2, 1), (64, 64), float("nan")
            )
        },
        curves={0: curve(), 1: curve(1.6, dead="C13")},
        defects={
            0: DefectsFound(np.zeros((8, 8), np.float32), 0, 0),
            1: DefectsFound(np.eye(8, dtype=np.float32), 8, 8),
        },
        statistics=(table("BIAS", failing=(1, "C05")),),
        packages={"cp_pipe": "g1234"},
        problems=(),
    )
