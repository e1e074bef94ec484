# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two processes at once: the second one waits for the journal, and one that was stopped and replaced does nothing more.

The last tests take one of the product's checks away, and see that the nights notice it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from lsst.ts.comcamcalib.run.claim import Claim
from lsst.ts.comcamcalib.run.owner import EXPIRY_S, Owner
from lsst.ts.comcamcalib.run.recorder import Recorder

from .faults import Happening, NightPlan
from .night import NightResult, folder_for_nights, night

BIASES = (("script_mode", "BIAS"),)
STOP_S = 40.0
WRITES = range(1, 30)
"""All writes of an undisturbed run to the journal."""


def have(*happenings: Happening, seed: int = 1) -> NightResult:
    with folder_for_nights() as folder:
        return night(NightPlan(seed, BIASES, happenings), Path(folder))


def stopped(when: str, number: int, seconds: float = STOP_S) -> Happening:
    return Happening("second process", f"first stopped {when}", number, 0.0, seconds)


@pytest.mark.parametrize(
    ("when", "numbers"),
    [("before write", WRITES[::3]), ("in a write", WRITES[::3]), ("after write", WRITES), ("at act", range(1, 12))],
    ids=str,
)
def test_who_was_stopped_anywhere_and_replaced_says_so_and_does_nothing_more(when: str, numbers: range) -> None:
    lost = 0
    for number in numbers:
        result = have(stopped(when, number))
        assert result.problems == [], result.plan
        assert result.seen[f"second process: first stopped {when}"] == 1, "it happens"
        lost += result.seen["FAULT: journal lost"]
    if when == "in a write":
        assert lost == 0, "the database is locked, so nobody can take over"
    else:
        assert lost > len(numbers) / 2, "the second process takes over"


def test_who_was_stopped_at_any_time_and_replaced_says_so_and_does_nothing_more() -> None:
    for at_s in range(2, 200, 18):
        result = have(Happening("second process", "first stopped", 0, float(at_s), STOP_S))
        assert result.problems == [], result.plan


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_the_second_process_takes_over_when_the_row_has_expired_and_not_before(seed: int) -> None:
    """On one machine, where the first process is seen to be there, and in two pods."""
    result = have(Happening("second process", "first stopped", 0, 20.0, 3 * STOP_S), seed=seed)
    assert result.problems == []
    (interrupted,) = [at_s - result.epoch_s for at_s, body in result.facts if '"The service ended while' in body]
    assert 20.0 + EXPIRY_S <= interrupted <= 20.0 + 10.0 + EXPIRY_S + 5.0
    assert result.seen["FAULT: journal lost"] == 1


def test_who_was_stopped_for_a_short_time_goes_on_and_the_second_one_waits_in_vain() -> None:
    result = have(Happening("second process", "first stopped", 0, 20.0, EXPIRY_S - 5.0))
    assert (result.problems, result.processes, result.seen["FAULT: journal lost"]) == ([], 2, 0)
    assert not [body for _, body in result.facts if "Interrupted" in body]


def test_the_next_pod_goes_on_with_the_run_when_the_first_one_has_ended() -> None:
    result = have(Happening("second process", "first ends", 0, 20.0, 12.0))
    assert (result.problems, result.processes, result.seen["FAULT: journal lost"]) == ([], 2, 0)
    (interrupted,) = [
        at_s - result.epoch_s for at_s, body in result.facts if "The CSC went to" in body and "run_m" in body
    ]
    assert interrupted == pytest.approx(32.0, abs=1.0)


def test_a_pod_too_many_changes_nothing() -> None:
    result = have(Happening("second process", "second ends", 0, 20.0, 60.0))
    assert (result.problems, result.processes) == ([], 2)
    assert result.summary == have().summary


async def unasked(*_arguments: Any) -> None:
    """Do what is to be done without asking."""


def unchecked(*_arguments: Any) -> None:
    """Write without a look at the owner."""


@pytest.mark.parametrize(
    ("whose", "check", "instead", "number", "problem"),
    [
        (Claim, "confirm", unasked, 5, "takeImages at .* by process 1, but the journal belongs to"),
        (Claim, "confirm", unasked, 14, "execute at .* by process 1, but the journal belongs to"),
        (Claim, "confirm", unasked, 29, "certify at .* by process 1, but the journal belongs to"),
        (Recorder, "_look_whether_lost", unasked, 1, "RunStatus published at .* by process 1, but"),
        (Owner, "renew", unchecked, 5, "takeImages at .* by process 1, but the journal belongs to"),
    ],
    ids=["takeImages", "execute", "certify", "publish", "write"],
)
def test_a_check_that_is_missing_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
    whose: type,
    check: str,
    instead: Callable[..., Awaitable[None] | None],
    number: int,
    problem: str,
) -> None:
    monkeypatch.setattr(whose, check, instead)
    problems = have(stopped("after write", number)).problems
    assert [one for one in problems if re.search(problem, one)], problems
