# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What tests take for the Butler repository has the calls of the real one, with their parameters."""

from __future__ import annotations

import inspect

import pytest
from lsst.ts.comcamcalib.services.butler import ButlerService
from nights.repository import NightRepository
from support.services import FakeRepository

LIFE = {"start", "close"}
"""What only the owner of the connection calls."""


def calls(kind: type) -> dict[str, inspect.Signature]:
    """Return the signatures of what a stage can ask of a repository, by name."""
    return {
        name: inspect.signature(function)
        for name, function in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and name not in LIFE
    }


@pytest.mark.parametrize("fake", [FakeRepository, NightRepository])
def test_fake_has_exactly_the_calls_of_the_real_one(fake: type) -> None:
    real, faked = calls(ButlerService), calls(fake)
    assert len(real) > 20
    assert faked.keys() == real.keys()
    assert {name: one for name, one in faked.items() if one != real[name]} == {}


@pytest.mark.parametrize("kind", [ButlerService, FakeRepository, NightRepository])
def test_every_call_is_awaited(kind: type) -> None:
    assert [name for name in calls(kind) if not inspect.iscoroutinefunction(getattr(kind, name))] == []
