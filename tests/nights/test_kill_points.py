# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small run with everything is killed at each point, and ends as if it had not been."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from .faults import Happening, NightPlan
from .night import NightResult, folder_for_nights, night

RUN = (
    ("script_mode", "BIAS_DARK_FLAT"),
    ("do_defects", True),
    ("do_ptc", True),
    ("do_gain_from_flat_pairs", True),
)
OCCASIONS = ("before write", "after write", "at act")
SHARES = 8
"""Into so many tests the points of an occasion are divided."""


@functools.cache
def undisturbed() -> NightResult:
    with folder_for_nights() as folder:
        return night(NightPlan(7, RUN), Path(folder))


def test_nothing_happens_to_the_undisturbed_run() -> None:
    assert undisturbed().problems == []
    assert undisturbed().processes == 1
    # Fewer points would mean that some are not seen: each frame, job and certification has several.
    assert undisturbed().occasions["before write"] > 100
    assert undisturbed().occasions["at act"] == 3 * 8 + 2 * 12 + 5


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("occasion", OCCASIONS)
def test_a_kill_at_any_point_changes_nothing(occasion: str, share: int) -> None:
    points = range(1 + share, undisturbed().occasions[occasion] + 1, SHARES)
    with folder_for_nights() as folder:
        for point in points:
            # Restarted while what was begun still goes on, or long after; resumed by itself or by the operator.
            pause_s, auto_resume = (1.0 if (point // SHARES) % 2 else 300.0), bool((point // SHARES // 2) % 2)
            kill = Happening("kill", occasion, point, 0.0, pause_s)
            result = night(NightPlan(7, RUN, (kill,), auto_resume), Path(folder))
            assert result.processes == 2, f"{kill}: it did not happen"
            assert result.problems == [], f"{result.plan}"
            assert result.summary == undisturbed().summary, f"{result.plan}"
