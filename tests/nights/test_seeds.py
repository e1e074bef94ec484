# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Five hundred nights with faults, kills, restarts and commands; `make nights` has more."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest

from .faults import NightPlan, draw_night
from .night import folder_for_nights, night, shrink

NIGHTS = 500
PARTS = 20

# Nights of which each has shown a fault that was mended.
FOUND = (98, 114, 189, 1235, 1449, 2004, 2109)


def check(seeds: list[int]) -> collections.Counter[str]:
    """Have some nights; return what happened in them."""
    seen: collections.Counter[str] = collections.Counter()
    with folder_for_nights() as folder:
        for seed in seeds:
            result = night(draw_night(seed), Path(folder))
            if result.problems:
                smallest = shrink(result, Path(folder))
                pytest.fail("\n".join([str(smallest.plan), *smallest.problems, *smallest.history]))
            seen += result.seen
    return seen


@pytest.mark.parametrize("part", range(PARTS))
def test_every_night_ends_well(part: int) -> None:
    seen = check(list(range(part, NIGHTS, PARTS)))
    assert len(seen) > 10, "much happens in these nights"


@pytest.mark.parametrize("seed", FOUND)
def test_a_night_that_once_ended_badly_ends_well(seed: int) -> None:
    check([seed])


def test_a_night_is_the_same_each_time() -> None:
    with folder_for_nights() as folder:
        first, second = (night(draw_night(55), Path(folder)) for _ in range(2))
    assert first.history == second.history
    assert (first.seen, first.virtual_s, first.occasions) == (second.seen, second.virtual_s, second.occasions)


def test_a_failure_is_shrunk_to_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a judge that does not like jobs that end in error."""
    monkeypatch.setattr(
        "nights.night.judge", lambda _history, world, _published: [one for one in world.seen if "ends in error" in one]
    )
    plan = next(plan for plan in map(draw_night, range(5000)) if _is_a_good_example(plan))
    with folder_for_nights() as folder:
        smallest = shrink(night(plan, Path(folder)), Path(folder))
    assert [str(one) for one in smallest.plan.happenings] == [
        str(one) for one in plan.happenings if one.what == "ends in error"
    ]


def _is_a_good_example(plan: NightPlan) -> bool:
    early = [one for one in plan.of("job") if one.what == "ends in error" and one.number == 1]
    return (
        len(early) == 1 and len(plan.happenings) > 4 and dict(plan.options).get("generate_calibrations", True) is True
    )
