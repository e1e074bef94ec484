# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A status page over a runner with fakes, and readers of it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.web import Site, opened

JOURNALS = Path(__file__).parents[1] / "data" / "journals"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """The page of a CSC that has had no run."""
    async with opened(tmp_path) as site:
        yield site


@pytest.fixture
async def old_site(tmp_path: Path) -> AsyncIterator[Site]:
    """The page of a CSC with a recorded run of the past, which has everything."""
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.executescript(sorted(JOURNALS.glob("*.sql"))[-1].read_text(encoding="utf-8"))
    connection.close()
    async with opened(tmp_path) as site:
        yield site
