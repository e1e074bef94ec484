# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A product is compared with what is certified; that there is nothing to compare with is said."""

from __future__ import annotations

from typing import Any

import pytest
from lsst.ts.comcamcalib.butler_data import DetectorValues, ProductValue
from lsst.ts.comcamcalib.config import DriftLimit
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.findings import Finding, Outcome
from lsst.ts.comcamcalib.verification import drift_by_quantity
from lsst.ts.comcamcalib.verification.rules.drift import drift
from support.measured import amplifiers, product, value, with_values

NAN = float("nan")


def limit(**fields: Any) -> DriftLimit:
    return DriftLimit(
        **{
            "quantity": "gain",
            "of": "amplifier",
            "change": "fraction",
            "must_be": "at most",
            "limit": 0.05,
            "outcome": "count",
            **fields,
        }
    )


def found(values: DetectorValues, *wanted: DriftLimit) -> list[Finding]:
    return [one for one in drift(product(CalibType.PTC, {4: values}), wanted) if one.detector == 4]


@pytest.mark.parametrize(
    ("now", "wanted", "change"),
    [
        (1.70, {}, None),
        (1.78, {}, None),  # 4.7 %
        (1.80, {}, 0.1 / 1.7),
        (1.60, {}, 0.1 / 1.7),  # the sign does not matter
        (1.80, {"change": "absolute"}, 0.1),
        (1.74, {"change": "absolute"}, None),
    ],
)
def test_change_of_one_amplifier(now: float, wanted: dict[str, Any], change: float | None) -> None:
    values = with_values(
        *amplifiers("gain", 1.7, "electron/adu", C12=now), before=amplifiers("gain", 1.7, "electron/adu")
    )
    findings = found(values, limit(**wanted))
    if change is None:
        assert findings == []
    else:
        (one,) = findings
        assert (one.amplifier, one.outcome) == ("C12", Outcome.FAILURE)
        assert one.value == pytest.approx(change)
        assert one.unit == ("" if limit(**wanted).change == "fraction" else "electron/adu")


def test_detector_drifts_if_the_median_of_its_amplifiers_does() -> None:
    few = with_values(*amplifiers("gain", 1.7, C12=3.0, C13=3.0), before=amplifiers("gain", 1.7))
    all_of_them = with_values(*amplifiers("gain", 1.8), before=amplifiers("gain", 1.7))
    of_detector = limit(of="detector", outcome="fail")
    assert found(few, of_detector) == []
    assert [(one.amplifier, one.outcome) for one in found(all_of_them, of_detector)] == [("", Outcome.FAILED)]


def test_amplifiers_that_scatter_do_not_add_up_to_a_drift_of_the_detector() -> None:
    scattered = amplifiers("gain", 1.7, C10=2.0, C11=1.4, C12=2.0, C13=1.4)
    assert found(with_values(*scattered, before=amplifiers("gain", 1.7)), limit(of="detector")) == []


INF = float("inf")
NEEDED = Outcome.UNKNOWN, "gain not measured"
NONE_BEFORE = Outcome.NOTED, "the certified one has no gain"


@pytest.mark.parametrize(
    ("now", "before", "wanted", "expected"),
    [
        # What was not measured may have changed by anything.
        (NAN, 1.7, {}, NEEDED),
        (INF, 1.7, {}, NEEDED),
        (NAN, 1.7, {"outcome": "fail"}, NEEDED),
        (NAN, NAN, {}, NEEDED),
        (NAN, 0.0, {}, NEEDED),
        (NAN, 1.7, {"of": "detector"}, NEEDED),
        (NAN, 1.7, {"change": "absolute"}, NEEDED),
        (NAN, 1.7, {"must_be": "at least"}, NEEDED),
        # The verdict does not need what would only be told.
        (NAN, 1.7, {"outcome": "note"}, (Outcome.NOTED, "gain not measured")),
        # If the certified one has no value, there is nothing to compare with, as without a certified one.
        (1.7, NAN, {}, NONE_BEFORE),
        (1.7, INF, {"outcome": "fail"}, NONE_BEFORE),
        (1.7, NAN, {"of": "detector"}, NONE_BEFORE),
        # A fraction of nothing is no number.
        (1.7, 0.0, {}, (Outcome.NOTED, "gain of the certified one is 0")),
        (0.0, 0.0, {}, None),
        # A good curve need not have a turn-off. If there was one, it is told.
        (NAN, 9e4, {"quantity": "turnoff"}, (Outcome.NOTED, "turnoff not measured")),
        (NAN, NAN, {"quantity": "turnoff"}, None),
        (9e4, NAN, {"quantity": "turnoff"}, (Outcome.NOTED, "the certified one has no turnoff")),
    ],
)
def test_change_that_is_no_number(
    now: float, before: float, wanted: dict[str, Any], expected: tuple[Outcome, str] | None
) -> None:
    quantity = wanted.get("quantity", "gain")
    values = with_values(*amplifiers(quantity, now), before=amplifiers(quantity, before))
    findings = [one for one in found(values, limit(**wanted)) if one.detail]
    if expected is None:
        assert findings == []
    else:
        (one,) = findings
        assert (one.outcome, one.detail) == expected
        assert (one.amplifier, one.quantity) == ("", quantity), "all amplifiers lack it, so the detector is named"


def test_only_the_amplifier_that_was_not_measured_is_named() -> None:
    (one,) = found(with_values(*amplifiers("gain", 1.7, C12=NAN), before=amplifiers("gain", 1.7)), limit())
    assert (one.amplifier, one.outcome) == ("C12", Outcome.UNKNOWN)


def test_an_amplifier_that_is_there_no_more_is_unknown() -> None:
    fewer = [one for one in amplifiers("gain", 1.7) if one.amplifier != "C12"]
    (one,) = found(with_values(*fewer, before=amplifiers("gain", 1.7)), limit())
    assert (one.amplifier, one.outcome, one.detail) == ("C12", Outcome.UNKNOWN, "gain not measured")


def test_a_quantity_that_nobody_measured_is_unknown() -> None:
    (one,) = found(with_values(*amplifiers("gain", 1.7), before=amplifiers("gain", 1.7)), limit(quantity="response"))
    assert (one.amplifier, one.outcome, one.detail) == ("", Outcome.UNKNOWN, "response not measured")


def test_comparison_that_gave_no_number_is_unknown_but_nothing_overlaps_with_no_defects() -> None:
    values = with_values(changes=[*amplifiers("changed_fraction", 0.0, C10=NAN), value("overlap", NAN)])
    (one,) = found(values, limit(quantity="changed_fraction", change="absolute"))
    assert (one.amplifier, one.outcome, one.detail) == ("C10", Outcome.UNKNOWN, "changed fraction not measured")
    least = limit(quantity="overlap", of="detector", must_be="at least", limit=0.5)
    (one,) = found(values, least)
    assert (one.outcome, one.detail) == (Outcome.NOTED, "the certified one has no defects")


def test_values_that_exist_in_comparison_only_count_as_they_are() -> None:
    values = with_values(value("defect_fraction", 0.1), changes=[value("new_columns", 1.0)])
    (one,) = found(values, limit(quantity="new_columns", of="detector", limit=0.0))
    assert (one.value, one.limit) == (1.0, 0.0)
    least = limit(quantity="overlap", of="detector", must_be="at least", limit=0.5)
    assert len(found(with_values(changes=[value("overlap", 0.4)]), least)) == 1


def test_no_predecessor_is_told_and_not_failed() -> None:
    findings = drift(product(CalibType.PTC, {0: with_values(), 4: with_values()}, compared=False), [limit()])
    assert [(one.detector, one.outcome, one.detail) for one in findings] == [
        (0, Outcome.NOTED, "nothing is certified"),
        (4, Outcome.NOTED, "nothing is certified"),
    ]


def test_predecessor_that_can_not_be_compared_is_told() -> None:
    sentence = "It has 32 x 64 pixels, the certified one 16 x 64."
    (one,) = found(DetectorValues((), not_compared=sentence), limit())
    assert (one.outcome, one.detail) == (Outcome.NOTED, sentence)


def test_without_limits_nothing_is_said() -> None:
    assert drift(product(CalibType.GAIN, {4: with_values()}, compared=False), []) == []


def test_drift_of_each_quantity_is_in_units_of_its_limit() -> None:
    values = with_values(
        *amplifiers("gain", 1.7, C12=1.87),
        *amplifiers("noise", 6.0),
        before=(*amplifiers("gain", 1.7), *amplifiers("noise", 6.3)),
    )
    wanted = [limit(), limit(of="detector", limit=0.01), limit(quantity="noise", change="absolute", limit=1.0)]
    assert drift_by_quantity(values, wanted) == pytest.approx({"gain": 2.0, "noise": 0.3})
    assert drift_by_quantity(values, wanted, {"C12"}) == pytest.approx({"gain": 0.0, "noise": 0.3})
    assert drift_by_quantity(with_values(*amplifiers("gain", 1.7), before=()), wanted) == {}
    assert drift_by_quantity(values, []) == {}


def depth(number: float | None, total: float | None = None) -> tuple[ProductValue, ...]:
    """Return of how many exposures a frame is made, and how much that is; None: not known."""
    both = zip(("exposures", "exposure_sum"), (number, number if total is None else total), strict=True)
    return tuple(value(quantity, one) for quantity, one in both if one is not None)


def of_bias(values: DetectorValues, *wanted: DriftLimit, calib_type: CalibType = CalibType.BIAS) -> list[Finding]:
    return [one for one in drift(product(calib_type, {4: values}), wanted) if one.detector == 4]


@pytest.mark.parametrize(
    ("now", "before", "told"),
    [
        (depth(20), depth(20), None),
        (depth(20), depth(21), None),  # 2.5 % of the noise
        (depth(3), depth(20), "it is made of 3, the certified one of 20"),
        (depth(20), depth(3), "it is made of 20, the certified one of 3"),
        (depth(5, 100), depth(5, 102), None),
        (depth(5, 100), depth(5, 500), "it is made of 5, the certified one of 5"),
        (depth(20), depth(None), "it is made of 20, the certified one of an unknown number"),
        (depth(None), depth(None), None),
    ],
)
@pytest.mark.parametrize("quantity", ["noise", "dark_rate_noise", "dark_rate_95", "response_noise"])
def test_noise_of_frames_is_compared_only_if_they_are_made_of_as_many_exposures(
    quantity: str, now: tuple[ProductValue, ...], before: tuple[ProductValue, ...], told: str | None
) -> None:
    """The noise is another one by more than the limit in each case."""
    values = with_values(*amplifiers(quantity, 4.0), *now, before=(*amplifiers(quantity, 1.5), *before))
    findings = of_bias(values, limit(quantity=quantity, of="detector", outcome="fail"))
    if told is None:
        assert [one.outcome for one in findings] == [Outcome.FAILED]
        assert drift_by_quantity(values, [limit(quantity=quantity)])[quantity] > 1
    else:
        assert [(one.outcome, one.detail) for one in findings] == [
            (Outcome.NOTED, f"{quantity.replace('_', ' ')} follows from the exposures: {told}")
        ]
        assert drift_by_quantity(values, [limit(quantity=quantity)]) == {}


def test_of_what_would_only_be_noted_nobody_is_told_that_it_was_not_compared() -> None:
    values = with_values(*amplifiers("noise", 4.0), *depth(3), before=(*amplifiers("noise", 1.5), *depth(20)))
    assert of_bias(values, limit(quantity="noise", outcome="note")) == []


def test_level_and_changed_pixels_are_compared_however_many_exposures_there_are() -> None:
    values = with_values(
        *(*amplifiers("level", 4.0), *depth(3)),
        before=(*amplifiers("level", 1.5), *depth(20)),
        changes=amplifiers("changed_fraction", 0.1),
    )
    wanted = [limit(quantity="level", change="absolute"), limit(quantity="changed_fraction", change="absolute")]
    assert {one.quantity for one in of_bias(values, *wanted)} == {"level", "changed_fraction"}


@pytest.mark.parametrize(
    ("change", "must_be", "of_limit", "expected"),
    [
        (1.0, "at most", 0.0, 2.0),
        (3.0, "at most", 0.0, 4.0),
        (0.0, "at most", 0.0, 0.0),
        (0.25, "at least", 0.5, 1.5),
        (0.001, "at least", 0.5, 1.998),
        (0.0, "at least", 0.5, 2.0),
        (0.5, "at least", 0.5, 1.0),
        (1.0, "at least", 0.5, 0.5),
    ],
)
def test_what_is_beyond_any_limit_is_a_drift_above_1(
    change: float, must_be: str, of_limit: float, expected: float
) -> None:
    values = with_values(changes=[value("new_columns", change)])
    wanted = limit(quantity="new_columns", of="detector", must_be=must_be, limit=of_limit)
    (ratio,) = drift_by_quantity(values, [wanted]).values()
    assert ratio == pytest.approx(expected)
    assert (ratio > 1) == bool(found(values, wanted))
