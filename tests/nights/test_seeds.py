# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Five hundred nights with faults, kills, restarts and commands; `make nights` has more."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from pathlib import Path

import pytest

from .faults import Happening, NightPlan, draw_night
from .night import folder_for_nights, night, shrink

NIGHTS = 500
PARTS = 20

FLATS = (("script_mode", "BIAS_DARK_FLAT"), ("do_ptc", True), ("do_gain_from_flat_pairs", True))
DEFECTS = (("script_mode", "BIAS_DARK_FLAT"), ("do_defects", True))
DARKS = (("script_mode", "BIAS_DARK"),)
BIASES = (("script_mode", "BIAS"),)

FOUND = {
    "resumed twice at once by itself": NightPlan(
        98, BIASES, (Happening("kill", "at", 0, 20.0, 5.0),), auto_resume=True
    ),
    "killed before what was written was published": NightPlan(
        2, BIASES, (Happening("kill", "after write", 31, 0.0, 4.0),)
    ),
    "two jobs with one mark": NightPlan(114, DARKS, (Happening("job", "doubled", 3),)),
    "statistics that are not complete are judged again and again": NightPlan(
        189, DARKS, (Happening("job", "incomplete", 4),)
    ),
    "a flat whose partner is lost": NightPlan(1235, FLATS, (Happening("files", "one lost", 6),)),
    "a flat whose partner is lost while another is refused": NightPlan(
        2109, FLATS, (Happening("exposure", "refused", 4), Happening("files", "one lost", 4)), auto_resume=True
    ),
    "a job that is made after everybody has given it up": NightPlan(
        1449,
        DEFECTS,
        (
            Happening("job", "made late", 9),
            Happening("kill", "at", 0, 83.0, 45.0),
            Happening("kill", "after write", 90, 0.0, 501.0),
            Happening("kill", "after write", 121, 0.0, 53.0),
        ),
    ),
    "a job that is made while there is no process": NightPlan(
        22028,
        DARKS,
        (
            Happening("job", "made late", 1),
            Happening("kill", "at", 0, 60.0, 0.4),
            Happening("kill", "at act", 20, 0.0, 338.0),
        ),
        auto_resume=True,
    ),
    "a journal that hangs when a run begins": NightPlan(
        467, BIASES, (Happening("period", "journal hangs", 0, 0.8, 16.0),)
    ),
    "a stage that is dropped while its job is being submitted": NightPlan(
        618, FLATS, (Happening("job", "hangs", 5), Happening("product", "BIAS")), auto_resume=True
    ),
    "a stage that is dropped while its job of an earlier process is searched for": NightPlan(
        42, DARKS, (Happening("kill", "before write", 43, 0.0, 25.0), Happening("product", "BIAS")), auto_resume=True
    ),
    "the broker is down when the next process starts": NightPlan(
        3, BIASES, (Happening("kill", "at", 0, 20.0, 5.0), Happening("later period", "broker down", 0, 15.0, 60.0))
    ),
    "the broker is down when a run is accepted": NightPlan(
        4, BIASES, (Happening("later period", "broker down", 0, 0.3, 30.0),)
    ),
    "the broker is down when a run ends": NightPlan(
        40196, BIASES, (Happening("later period", "broker down", 0, 110.0, 60.0),)
    ),
    "a certification by a stopped process that the next one has looked for in vain": NightPlan(
        373,
        (("script_mode", "BIAS_DARK_FLAT"),),
        (
            Happening("kill", "after write", 69, 0.0, 57.7),
            Happening("second process", "first stopped before write", 85, 0.0, 30.5),
            Happening("decision", "decertify"),
        ),
        auto_resume=True,
    ),
    "a withdrawal by a stopped process that the next one has looked for in vain": NightPlan(
        1, BIASES, (Happening("second process", "first stopped", 0, 161.5, 40.0), Happening("decision", "decertify"))
    ),
    "an event of a stopped process after those of the next one": NightPlan(
        1, BIASES, (Happening("second process", "first stopped after write", 10, 0.0, 40.0),)
    ),
    "a status that a stopped process publishes after the next one has taken over": NightPlan(
        21451,
        (("script_mode", "DARK"),),
        (Happening("command", "status", 0, 47.6), Happening("second process", "first stopped", 0, 35.69, 32.4)),
    ),
    "an abort that was not finished when the process was killed, and that the next one undid": NightPlan(
        1, BIASES, (Happening("command", "abort", 0, 20.0), Happening("kill", "at", 0, 20.3, 5.0)), auto_resume=True
    ),
    "a job that the UWS denies for a while, and that runs on": NightPlan(
        50144,
        DEFECTS,
        (Happening("job", "hangs", 5), Happening("later period", "UWS answers 404", 0, 889.0, 19.0)),
        auto_resume=True,
    ),
    "an exposure by a stopped process after the next one has taken over": NightPlan(
        1, BIASES, (Happening("second process", "first stopped after write", 5, 0.0, 40.0),)
    ),
}
"""Nights of which each, or one like it, has shown a fault that was mended."""


def check(plans: Iterable[NightPlan]) -> collections.Counter[str]:
    """Have some nights; return what happened in them."""
    seen: collections.Counter[str] = collections.Counter()
    with folder_for_nights() as folder:
        for plan in plans:
            result = night(plan, Path(folder))
            if result.problems:
                smallest = shrink(result, Path(folder))
                pytest.fail("\n".join([str(smallest.plan), *smallest.problems, *smallest.history]))
            seen += result.seen
    return seen


@pytest.mark.parametrize("part", range(PARTS))
def test_every_night_ends_well(part: int) -> None:
    seen = check(map(draw_night, range(part, NIGHTS, PARTS)))
    assert len(seen) > 10, "much happens in these nights"


@pytest.mark.parametrize("plan", FOUND.values(), ids=list(FOUND))
def test_a_night_that_once_ended_badly_ends_well(plan: NightPlan) -> None:
    seen = check([plan])
    assert sum(seen.values()) >= len(plan.happenings), "all of it happens"


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
