# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A value that stands out from earlier runs is found; too few runs are told."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.config import TrendLimits
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.findings import Outcome
from lsst.ts.comcamcalib.measurements import Trend, same_depth, trend_of
from lsst.ts.comcamcalib.verification.rules.trend import trend
from support.measured import product, value, with_values

WANTED = TrendLimits(runs=30, min_runs=5, spreads=4.0, least_fraction=0.01, outcome="count")


def judge(now: float, past: Trend | None, **fields: Any):
    values = {4: with_values(value("gain", now, "C12", "electron/adu"))}
    trends = {} if past is None else {(4, "C12", "gain"): past}
    return trend(product(CalibType.PTC, values, trends=trends), WANTED.model_copy(update=fields))


def past(runs: int = 10, median: float = 1.7, spread: float = 0.01, unit: str = "electron/adu") -> Trend:
    return Trend(runs, median, spread, median, unit)


@pytest.mark.parametrize(
    ("now", "trend_before", "found"),
    [
        (1.70, past(), None),
        (1.739, past(), None),
        (1.75, past(), 1.74),
        (1.65, past(), 1.66),
        (1.716, past(spread=0.0), None),  # all runs had the same, but one per cent is no news
        (1.72, past(spread=0.0), 1.717),
        (1.75, past(unit="adu/electron"), None),
    ],
)
def test_value_against_its_trend(now: float, trend_before: Trend, found: float | None) -> None:
    findings = judge(now, trend_before)
    if found is None:
        assert findings == []
    else:
        (one,) = findings
        assert (one.detector, one.amplifier, one.quantity, one.outcome) == (4, "C12", "gain", Outcome.FAILURE)
        assert one.limit == pytest.approx(found)


@pytest.mark.parametrize(
    ("fields", "quantity", "expected"),
    [
        ({}, "gain", [(Outcome.UNKNOWN, "gain not measured")]),
        ({"outcome": "fail"}, "gain", [(Outcome.UNKNOWN, "gain not measured")]),
        ({"outcome": "note"}, "gain", []),
        ({}, "turnoff", []),  # a good curve need not have one
    ],
)
def test_value_that_was_not_measured_may_stand_out(fields: Any, quantity: str, expected: Any) -> None:
    values = {4: with_values(value(quantity, float("nan"), "C12", "electron/adu"))}
    trends = {(4, "C12", quantity): past()}
    found = trend(product(CalibType.PTC, values, trends=trends), WANTED.model_copy(update=fields))
    assert [(one.outcome, one.detail) for one in found] == expected


def test_outcome_is_as_configured() -> None:
    (one,) = judge(9.0, past(), outcome="note")
    assert one.outcome is Outcome.NOTED


def test_too_few_runs_are_told_once() -> None:
    (one,) = judge(9.0, past(runs=4))
    assert (one.outcome, one.detail) == (Outcome.NOTED, "4 of at least 5 earlier runs have values")
    assert (one.value, one.limit, one.unit) == (4, 5, "runs")
    (one,) = judge(9.0, None)
    assert one.detail.startswith("0 of at least 5")


def test_amplifier_that_is_new_has_no_trend_yet() -> None:
    values = {4: with_values(value("gain", 9.0, "C12"), value("gain", 9.0, "C13"))}
    trends = {(4, "C13", "gain"): past(runs=2), (4, "C14", "gain"): past()}
    assert trend(product(CalibType.PTC, values, trends=trends), WANTED) == []


def test_journal_that_can_not_be_read_is_told() -> None:
    (one,) = trend(product(CalibType.PTC, {}, trends_unread="The disk is full."), WANTED)
    assert (one.outcome, one.detail) == (Outcome.NOTED, "The disk is full.")


def test_nobody_wants_to_know() -> None:
    assert trend(product(CalibType.PTC, {}), None) == []


def test_median_and_spread_do_not_move_with_a_single_wrong_run() -> None:
    summed = trend_of([1.70, 1.71, 99.0, 1.69, float("nan"), 1.70], "electron/adu")
    assert (summed.runs, summed.median, summed.latest) == (5, 1.70, 1.70)
    assert summed.spread == pytest.approx(0.0148, rel=0.01)


@given(st.lists(st.floats(allow_infinity=True, allow_nan=True)))
def test_trend_of_any_values_is_finite_or_there_is_none(values: list[float]) -> None:
    summed = trend_of(values, "electron")
    assert (summed.runs == 0) == (summed.median != summed.median)
    if summed.runs and max((abs(one) for one in values if abs(one) < 1e300), default=0.0) < 1e300:
        assert summed.spread >= 0


def test_too_few_runs_with_as_many_exposures_are_told_once_and_the_rest_is_judged() -> None:
    values = {
        one: with_values(value("noise", 4.0, "C12"), value("level", 9.0, "C12"), value("exposures", 3.0))
        for one in (0, 4)
    }
    trends = {
        (detector, name, quantity): past(runs=runs, median=1.7)
        for detector in (0, 4)
        for name, quantity, runs in (("C12", "noise", 4), ("C12", "level", 9), ("", "exposures", 9))
    }
    units = {
        one: with_values(*(dataclasses.replace(it, unit="electron/adu") for it in of.values))
        for one, of in values.items()
    }
    few, *others = trend(product(CalibType.BIAS, units, trends=trends), WANTED)
    assert (few.outcome, few.quantity, few.value, few.limit) == (Outcome.NOTED, "", 4, 5)
    assert few.detail == "noise: 4 of at least 5 earlier runs with as many exposures have values"
    assert {one.quantity for one in others} == {"level"}, "how many exposures were taken is no trend"
    assert len(others) == 2


def test_noise_is_judged_by_the_runs_with_as_many_exposures() -> None:
    values = {4: with_values(value("noise", 4.0, "C12", "electron/adu"))}
    trends = {(4, "C12", "noise"): past(runs=5, median=1.7)}
    (one,) = trend(product(CalibType.BIAS, values, trends=trends), WANTED)
    assert (one.quantity, one.outcome) == ("noise", Outcome.FAILURE)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {}, True),
        ({"exposures": 3.0}, {"exposures": 3.0}, True),
        ({"exposures": 3.0}, {"exposures": 4.0}, False),
        ({"exposures": 20.0}, {"exposures": 21.0}, True),
        ({"exposures": 20.0}, {}, False),
        ({"exposures": 5.0, "exposure_sum": 100.0}, {"exposures": 5.0, "exposure_sum": 102.0}, True),
        ({"exposures": 5.0, "exposure_sum": 100.0}, {"exposures": 5.0, "exposure_sum": 150.0}, False),
        ({"exposures": 5.0, "exposure_sum": 100.0}, {"exposures": 5.0}, False),
        ({"exposures": float("nan")}, {"exposures": float("nan")}, False),
    ],
)
def test_frames_of_the_same_depth(one: dict[str, float], other: dict[str, float], same: bool) -> None:
    assert same_depth(one, other) is same_depth(other, one) is same
