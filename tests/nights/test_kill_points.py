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
from lsst.ts.comcamcalib.enums import RunState

from .faults import Happening, NightPlan
from .night import NightResult, folder_for_nights, night

RUN = (
    ("script_mode", "BIAS_DARK_FLAT"),
    ("do_defects", True),
    ("do_ptc", True),
    ("do_gain_from_flat_pairs", True),
)
# A process that is killed begins nothing more: its loop does not turn again.
pytestmark = pytest.mark.filterwarnings("error:coroutine .* was never awaited:RuntimeWarning")

OCCASIONS = ("before write", "after write", "at act")
SHARES = 8
"""Into so many tests the points of an occasion are divided."""


DECIDED = (("script_mode", "BIAS_DARK"),)
DECISIONS = (
    Happening("product", "BIAS"),
    Happening("decision", "accept"),
    Happening("decision", "decertify"),
)
"""The bias is bad and accepted, the run goes on to its end, and all that it certified is withdrawn."""


@functools.cache
def undisturbed() -> NightResult:
    with folder_for_nights() as folder:
        return night(NightPlan(7, RUN), Path(folder))


@functools.cache
def decided() -> NightResult:
    with folder_for_nights() as folder:
        return night(NightPlan(7, DECIDED, DECISIONS), Path(folder))


def test_nothing_happens_to_the_undisturbed_run() -> None:
    assert undisturbed().problems == []
    assert undisturbed().processes == 1
    # Fewer points would mean that some are not seen: each frame, job and certification has several.
    assert undisturbed().occasions["before write"] > 100
    assert undisturbed().occasions["at act"] == 3 * 8 + 2 * 13 + 5


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


def test_what_is_accepted_is_certified_and_what_is_withdrawn_leaves_all_as_it_was() -> None:
    assert decided().problems == []
    assert decided().state is RunState.COMPLETED
    assert (decided().seen["accepted"], decided().seen["withdrawn"]) == (1, 1)
    assert any("VerdictAccepted" in one for one in decided().history)


@pytest.mark.parametrize("occasion", OCCASIONS)
def test_a_kill_at_any_point_of_a_decision_changes_nothing(occasion: str) -> None:
    first = next(number for number, one in enumerate(decided().history, start=1) if "VERIFY" in one and "FAILED" in one)
    points = range(1, decided().occasions[occasion] + 1)
    if occasion != "at act":
        points = range(max(first // 2, 1), decided().occasions[occasion] + 1)  # what comes before is killed above
    with folder_for_nights() as folder:
        for point in points[::2]:
            pause_s, auto_resume = (1.0 if point // 2 % 2 else 300.0), bool(point // 4 % 2)
            kill = Happening("kill", occasion, point, 0.0, pause_s)
            result = night(NightPlan(7, DECIDED, (*DECISIONS, kill), auto_resume), Path(folder))
            assert result.processes == 2, f"{kill}: it did not happen"
            assert result.problems == [], f"{result.plan}"
            assert but_for_jobs(result) == but_for_jobs(decided()), f"{result.plan}"


def but_for_jobs(result: NightResult) -> dict[str, int]:
    """Which jobs are stopped because of the bad bias, and made again, depends on the moment."""
    return {name: number for name, number in result.summary.items() if not name.startswith("jobs")}
