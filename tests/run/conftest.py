# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runners over the fakes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.run.journal import Journal
from support.house import House
from support.plans import make_config


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A runner that is connected, with its journal in memory."""
    house = await House(make_config(), Path(":memory:")).open()
    yield house
    await house.close()


@pytest.fixture
async def stored_house(tmp_path: Path) -> AsyncIterator[House]:
    """The same with its journal on disk, so that another process can go on with it."""
    house = await House(make_config(), tmp_path / "journal.sqlite").open()
    yield house
    await house.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """File of a journal."""
    return tmp_path / "journal.sqlite"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[Journal]:
    """An open journal."""
    journal = Journal(path, Clock(), lambda sentence: None)
    await journal.open()
    yield journal
    await journal.close()


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let looks for frames follow each other quickly."""
    monkeypatch.setattr("lsst.ts.comcamcalib.stages.exposing.LOOK_INTERVAL_S", 0.01)
