# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A value beyond its limit is found, and one that is needed and not known is UNKNOWN."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.config import ValueLimit
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.findings import Outcome
from lsst.ts.comcamcalib.verification.rules.limits import limits
from lsst.ts.comcamcalib.verification.rules.measured import measured
from support.measured import amplifiers, product, value, with_values

NAN = float("nan")


def limit(**fields: Any) -> ValueLimit:
    return ValueLimit(
        **{
            "quantity": "turnoff",
            "of": "amplifier",
            "must_be": "at least",
            "limit": 90_000.0,
            "outcome": "count",
            **fields,
        }
    )


def found(values: Any, *wanted: ValueLimit) -> list[tuple[int | None, str, Outcome]]:
    one = product(CalibType.PTC, {0: with_values(*values), 4: with_values(*values)})
    return [(it.detector, it.amplifier, it.outcome) for it in limits(one, wanted) if it.detector == 4]


@pytest.mark.parametrize(
    ("number", "wanted", "outcome"),
    [
        (90_000.0, {}, None),
        (89_999.0, {}, Outcome.FAILURE),
        (89_999.0, {"outcome": "note"}, Outcome.NOTED),
        (89_999.0, {"outcome": "fail"}, Outcome.FAILED),
        (90_001.0, {"must_be": "at most"}, Outcome.FAILURE),
        (90_000.0, {"must_be": "at most"}, None),
        (NAN, {}, None),  # flats that do not reach the turn-off
        (NAN, {"quantity": "gain"}, Outcome.UNKNOWN),
        (NAN, {"quantity": "gain", "outcome": "note"}, None),
    ],
)
def test_value_against_its_limit(number: float, wanted: dict[str, Any], outcome: Outcome | None) -> None:
    one = limit(**wanted)
    values = amplifiers(one.quantity, 90_000.0, "electron", C12=number)
    assert found(values, one) == ([] if outcome is None else [(4, "C12", outcome)])


def test_finding_has_value_limit_and_unit() -> None:
    (one,) = limits(
        product(CalibType.PTC, {4: with_values(*amplifiers("turnoff", 1e5, "electron", C00=7e4))}), [limit()]
    )
    assert (one.rule, one.quantity, one.value, one.limit, one.unit) == ("limits", "turnoff", 7e4, 9e4, "electron")


def test_limit_of_a_detector_is_for_the_median_of_its_amplifiers() -> None:
    of_detector = limit(of="detector")
    assert found(amplifiers("turnoff", 1e5, C00=1.0, C01=1.0), of_detector) == []
    assert found(amplifiers("turnoff", 7e4, C00=1e6), of_detector) == [(4, "", Outcome.FAILURE)]


def test_limit_of_a_detector_is_for_its_own_value_if_it_has_one() -> None:
    columns = limit(quantity="defect_columns", of="detector", must_be="at most", limit=3.0)
    values = (*amplifiers("defect_columns", 0.0), value("defect_columns", 4.0))
    assert found(values, columns) == [(4, "", Outcome.FAILURE)]


def test_quantity_that_is_not_there_is_unknown_if_it_is_needed() -> None:
    assert found([], limit(quantity="gain")) == [(4, "", Outcome.UNKNOWN)]
    assert found([], limit(quantity="gain", outcome="note")) == []


def test_detector_without_a_single_value_is_unknown() -> None:
    of_detector = limit(quantity="gain", of="detector", must_be="at most", limit=2.0, outcome="fail")
    assert found(amplifiers("gain", NAN), of_detector) == [(4, "", Outcome.UNKNOWN)]
    assert found(amplifiers("gain", NAN, C10=1.7), of_detector) == []


def test_value_of_the_whole_detector_does_not_stand_for_its_amplifiers() -> None:
    assert found([value("gain", 1e6)], limit(quantity="gain")) == [(4, "", Outcome.UNKNOWN)]


@pytest.mark.parametrize(("needed", "outcome"), [(True, Outcome.UNKNOWN), (False, Outcome.NOTED)])
def test_detector_that_can_not_be_read_is_unknown_if_it_is_needed(needed: bool, outcome: Outcome) -> None:
    one = product(CalibType.BIAS, {0: with_values()}, unread={4: "The file is broken."})
    (finding,) = measured(one, needed)
    assert (finding.detector, finding.outcome, finding.detail) == (4, outcome, "The file is broken.")


def test_detector_without_a_dataset_is_named() -> None:
    assert [one.detail for one in measured(product(CalibType.BIAS, {}), True)] == ["there is no dataset"] * 2


@given(
    st.lists(st.floats(), min_size=1, max_size=16),
    st.sampled_from(["amplifier", "detector"]),
    st.sampled_from(["at most", "at least"]),
    st.sampled_from(["note", "count", "fail"]),
)
def test_any_values_are_judged_and_a_needed_one_that_is_not_finite_never_passes(
    numbers: list[float], of: str, must_be: str, outcome: str
) -> None:
    one = limit(quantity="gain", of=of, must_be=must_be, limit=1.0, outcome=outcome)
    values = [value("gain", number, f"C{index:02d}") for index, number in enumerate(numbers)]
    outcomes = {it[2] for it in found(values, one)}
    nan = [number != number for number in numbers]
    if outcome != "note" and (all(nan) or (of == "amplifier" and any(nan))):
        assert Outcome.UNKNOWN in outcomes
