# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Products are judged by their own values: complete, plausible, as what is certified, as earlier runs."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.butler_data import DetectorValues
from lsst.ts.comcamcalib.config import ValueLimit
from lsst.ts.comcamcalib.enums import CalibType, Verdict
from lsst.ts.comcamcalib.findings import Finding, Outcome
from lsst.ts.comcamcalib.measurements import Trend
from lsst.ts.comcamcalib.services.curve_values import pair_values
from lsst.ts.comcamcalib.simulation.containers import PhotonTransferCurve
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane
from lsst.ts.comcamcalib.verification import (
    Counts,
    Judgement,
    MeasuredProduct,
    RuleContext,
    judge,
    judge_values,
    plausibility,
    value_findings,
)
from lsst.ts.comcamcalib.verification.rules.limits import limits
from lsst.ts.comcamcalib.verification.value_sentences import value_sentences
from support.measured import NAMES, amplifiers, product, value, with_values
from support.plans import make_config
from support.world import AMPLIFIERS

CONFIG = make_config()
UNCHANGED = [value(quantity, 0.0) for quantity in ("new_fraction", "vanished_fraction", "new_columns")]
UNCHANGED += [value("overlap", 1.0)]


def context_of(one: MeasuredProduct, **fields: Any) -> RuleContext:
    return RuleContext(one.calib_type, "", one.detectors, one.amplifiers, CONFIG.rules(one.calib_type), **fields)


def judged(one: MeasuredProduct, **fields: Any) -> Judgement:
    context = context_of(one, **fields)
    return judge_values(one, value_findings(one, CONFIG, context), context)


def curve(gain: float = 1.7, noise: float = 7.0, **others: Any) -> DetectorValues:
    return with_values(
        *amplifiers("gain", gain, "electron/adu", **others.get("gains", {})),
        *amplifiers("noise", noise, "electron", **others.get("noises", {})),
        before=others.get("before"),
    )


def ptc(*curves: DetectorValues, **fields: Any) -> MeasuredProduct:
    return product(CalibType.PTC, dict(zip(NAMES, curves, strict=False)), **fields)


def defects(*fractions: float, **fields: Any) -> MeasuredProduct:
    values = [with_values(value("defect_fraction", one), changes=UNCHANGED) for one in fractions]
    return product(CalibType.DEFECTS, dict(zip(NAMES, values, strict=False)), **fields)


# Frames


@pytest.mark.parametrize("calib_type", [CalibType.BIAS, CalibType.DARK, CalibType.FLAT])
def test_an_amplifier_of_a_frame_without_a_number_is_unknown(calib_type: CalibType) -> None:
    """There is nothing to compare it with, so that no other rule looks at it."""
    rates = amplifiers("dark_rate", 0.02)
    good = with_values(*rates, *amplifiers("level", 0.1), *amplifiers("dark_rate_noise", 7.0))
    bad = with_values(
        *rates, *amplifiers("level", 0.1, C10=math.nan), *amplifiers("dark_rate_noise", 7.0, C10=math.nan, C11=math.inf)
    )
    one = product(calib_type, {0: good, 4: bad}, compared=False)
    context = context_of(one)
    found = [it for it in value_findings(one, CONFIG, context) if it.outcome is Outcome.UNKNOWN]
    assert [(it.detector, it.amplifier, it.detail) for it in found] == [
        (4, "C10", "level and dark rate noise not measured"),
        (4, "C11", "dark rate noise not measured"),
    ]
    reason = judge_values(one, found, context).reason
    assert "R22_S11 C10 (level and dark rate noise not measured)" in reason


def test_that_a_flat_without_light_has_no_values_is_not_said_as_well() -> None:
    one = product(CalibType.FLAT, {0: with_values(*amplifiers("response", math.nan))})
    context = context_of(one)
    dark = Finding("light", Outcome.FAILED, "LEVEL", 0, exposure=1, value=0.0, limit=100.0, kind="NO_LIGHT")
    reason = judge([dark, *value_findings(one, CONFIG, context)], context, Counts()).reason
    assert "No good FLAT can be made from these frames." in reason
    assert "not measured" not in reason


def test_an_amplifier_that_is_known_to_be_bad_may_have_no_number() -> None:
    changes = amplifiers("changed_fraction", 0.0)
    values = with_values(*amplifiers("level", 0.1, C10=math.nan), *amplifiers("noise", 1.0), changes=changes)
    judgement = judged(
        product(CalibType.BIAS, {0: values, 4: values}), bad_amplifiers={0: {"C10": "dead"}, 4: {"C10": "dead"}}
    )
    assert judgement.verdict is Verdict.PASSED
    assert "Not measured: R22_S00 C10, R22_S11 C10 (level not measured)." in judgement.reason


# DEFECTS


def test_defects_of_a_plausible_area_have_passed() -> None:
    judgement = judged(defects(0.0, 0.005))
    assert judgement.verdict is Verdict.PASSED
    assert judgement.reason == "DEFECTS is complete and plausible for 2 detectors."
    assert (judgement.detectors_verified, judgement.detectors_expected) == (2, 2)


def test_a_detector_with_too_many_defects_has_failed() -> None:
    judgement = judged(defects(0.0, 0.6))
    assert judgement.verdict is Verdict.FAILED
    assert judgement.reason == "DEFECTS is not plausible: R22_S11 (60.0% of its pixels, at most 0.5% are plausible)."
    assert judgement.failures_by_test == {"defect_fraction": 1}
    assert [one.tests_failed for one in judgement.detectors] == [0, 1]


def test_a_detector_without_a_dataset_is_unknown() -> None:
    judgement = judged(defects(0.0))
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.reason == "The verification is not complete: missing or not usable: R22_S11 (there is no dataset)."
    assert judgement.detectors_verified == 1


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_an_area_that_is_none_has_failed(fraction: float) -> None:
    assert judged(defects(0.0, fraction)).verdict is Verdict.FAILED


@pytest.mark.parametrize("fraction", [math.nan, math.inf])
def test_an_area_that_is_no_number_is_unknown(fraction: float) -> None:
    assert judged(defects(0.0, fraction)).verdict is Verdict.UNKNOWN


def test_no_detectors_are_unknown() -> None:
    none = MeasuredProduct(CalibType.DEFECTS, "", detectors={}, amplifiers={}, values={})
    assert judged(none).verdict is Verdict.UNKNOWN


def test_a_new_bad_column_is_named_and_counts() -> None:
    changes = [value("new_columns", 1.0), value("new_fraction", 0.0004), *UNCHANGED[1:2], *UNCHANGED[3:]]
    hot = with_values(value("defect_fraction", 0.001), changes=changes)
    good = with_values(value("defect_fraction", 0.0), changes=UNCHANGED)
    judgement = judged(product(CalibType.DEFECTS, {0: good, 4: hot}))
    assert judgement.verdict is Verdict.PASSED_WITH_FAILURES
    assert judgement.reason == (
        "DEFECTS is complete and plausible for 2 detectors. New columns changed against what is certified: R22_S11 1 "
        "(limit 0)."
    )


# PTC


def test_a_complete_and_plausible_ptc_has_passed() -> None:
    judgement = judged(ptc(curve(), curve(1.8, 6.0)))
    assert judgement.verdict is Verdict.PASSED
    assert judgement.reason == "PTC is complete and plausible for 2 detectors."
    assert [one.noise for one in judgement.detectors] == [7.0, 6.0]


@pytest.mark.parametrize(("gain", "noise"), [(1.0, 7.0), (2.1, 7.0), (-1.7, 7.0), (1.7, 3.9), (1.7, 18.1)])
def test_a_value_out_of_range_has_failed(gain: float, noise: float) -> None:
    judgement = judged(ptc(curve(), curve(gains={"C10": gain}, noises={"C10": noise})))
    assert judgement.verdict is Verdict.FAILED
    assert "PTC is not plausible: R22_S11 (C10 " in judgement.reason
    assert [one.amplifiers_failed for one in judgement.detectors] == [0, 1]
    assert judgement.tests_failed == 1


def test_each_detector_has_its_own_number_of_amplifiers() -> None:
    half = with_values(*(one for one in curve().values if one.amplifier in AMPLIFIERS[:8]))
    assert "R22_S11 (gain of 8 amplifiers instead of 16)" in judged(ptc(curve(), half)).reason
    counted = MeasuredProduct(CalibType.PTC, "", NAMES, {0: 16, 4: 8}, {0: curve(), 4: half})
    assert judged(counted).verdict is Verdict.PASSED


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", ["gain", "noise"])
def test_an_amplifier_that_was_not_measured_is_unknown(bad: float, which: str) -> None:
    judgement = judged(ptc(curve(**{f"{which}s": {"C07": bad}}), curve()))
    assert judgement.verdict is Verdict.UNKNOWN
    assert f"R22_S00 C07 ({which} not measured)" in judgement.reason
    assert judgement.detectors_verified == 1


@given(
    dropped=st.sets(st.tuples(st.sampled_from(list(NAMES)), st.sampled_from(AMPLIFIERS)), max_size=20),
    without=st.sets(st.sampled_from(list(NAMES))),
    which=st.sampled_from(["gain", "noise"]),
)
def test_a_ptc_with_anything_missing_is_unknown(dropped: set[tuple[int, str]], without: set[int], which: str) -> None:
    values = {
        detector: with_values(
            *(one for one in curve().values if one.quantity != which or (detector, one.amplifier) not in dropped)
        )
        for detector in NAMES
        if detector not in without
    }
    judgement = judged(product(CalibType.PTC, values))
    assert judgement.verdict is (Verdict.UNKNOWN if dropped or without else Verdict.PASSED)
    assert judgement.reason.isprintable()


def test_a_value_that_can_not_be_right_weighs_more_than_one_that_is_missing() -> None:
    judgement = judged(ptc(curve(gain=99.0)))
    assert judgement.verdict is Verdict.FAILED
    assert "; missing or not usable: R22_S11 (there is no dataset)." in judgement.reason
    assert "and 11 more" in judgement.reason


def test_shipped_limits_know_comcams_sensors_and_what_is_broken() -> None:
    """obs_lsst's policy and SITCOMTN-148: gains 1.17 to 1.45, noises to 11.2; below 4 is dead, above 18 too noisy."""
    for gain, noise, verdict in (
        (1.17, 7.9, Verdict.PASSED),
        (1.45, 11.2, Verdict.PASSED),
        (1.67, 6.2, Verdict.PASSED),
        (1.0, 7.9, Verdict.FAILED),
        (2.1, 7.9, Verdict.FAILED),
        (1.38, 3.9, Verdict.FAILED),
        (1.38, 18.1, Verdict.FAILED),
        (3.8e5, 7.9, Verdict.FAILED),
    ):
        assert judged(ptc(curve(gain, noise), curve())).verdict is verdict, (gain, noise)


def test_the_simulated_focal_plane_is_plausible() -> None:
    shipped, plane = CONFIG.plausible, FocalPlane()
    for detector in range(9):
        truth = plane.truth(detector)
        assert all(shipped.gain_min < gain < shipped.gain_max for gain in truth.gain.values())
        assert all(shipped.noise_min < noise < shipped.noise_max for noise in truth.read_noise.values())
        bad = len(truth.hot_pixels) + len(truth.low_pixels)
        assert bad < shipped.defect_fraction_max * truth.dark_rate.size


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [
        (1.005, Verdict.PASSED),
        (1.015, Verdict.PASSED),  # noted
        (1.03, Verdict.PASSED_WITH_FAILURES),
        (1.045, Verdict.FAILED),
        (0.94, Verdict.FAILED),
    ],
)
def test_gain_of_a_detector_that_drifts(factor: float, verdict: Verdict) -> None:
    before = curve().values
    judgement = judged(ptc(curve(before=before), curve(gain=1.7 * factor, before=before)))
    assert judgement.verdict is verdict
    assert ("Gain changed against what is certified: R22_S11" in judgement.reason) == (abs(factor - 1) > 0.02)
    assert ("Noted: gain changed" in judgement.reason) == (0.01 < abs(factor - 1) <= 0.02)
    of_detector = [one for one in judgement.findings if (one.rule, one.amplifier) == ("drift", "") and one.quantity]
    assert len(of_detector) <= 1, "of several limits only the worst is told"


def test_nothing_to_compare_with_is_said_and_passes() -> None:
    judgement = judged(ptc(curve(), curve(), compared=False))
    assert judgement.verdict is Verdict.PASSED
    assert judgement.reason.endswith("Not compared with what is certified: R22_S00, R22_S11 (nothing is certified).")


def test_known_bad_amplifier_is_told_and_does_not_count() -> None:
    broken = ptc(curve(), curve(gains={"C10": 17.0}, noises={"C10": math.nan}))
    assert judged(broken).verdict is Verdict.FAILED
    judgement = judged(broken, bad_amplifiers={4: {"C10": "dead, since 2026-01-01"}})
    assert judgement.verdict is Verdict.PASSED
    assert {(one.amplifier, one.outcome) for one in judgement.findings if one.rule == "ptc"} == {("C10", Outcome.NOTED)}
    assert "Known to be bad, and not counted: R22_S11 C10 (dead, since 2026-01-01)." in judgement.reason


BAD = {4: {"C10": "dead, since 2026-01-01"}}
NAMED = "Known to be bad, and not counted: R22_S11 C10 (dead, since 2026-01-01)."


def without(values: DetectorValues, *names: str) -> DetectorValues:
    return with_values(*(one for one in values.values if one.amplifier not in names))


def test_an_amplifier_may_be_missing_from_a_curve_only_if_it_is_known_to_be_bad() -> None:
    one = ptc(curve(), without(curve(), "C10"))
    assert "R22_S11 (gain of 15 amplifiers instead of 16)" in judged(one).reason
    judgement = judged(one, bad_amplifiers=BAD)
    assert judgement.verdict is Verdict.PASSED
    assert NAMED in judgement.reason
    two = judged(ptc(curve(), without(curve(), "C10", "C11")), bad_amplifiers=BAD)
    assert two.verdict is Verdict.UNKNOWN
    assert "R22_S11 (gain of 14 amplifiers instead of 15)" in two.reason


def test_a_bad_amplifier_is_named_in_a_verdict_on_defects() -> None:
    judgement = judged(defects(0.0, 0.001), bad_amplifiers=BAD)
    assert judgement.verdict is Verdict.PASSED
    assert NAMED in judgement.reason


@pytest.mark.parametrize("must_be", ["at least", "at most"])
def test_the_worst_values_are_named_first(must_be: str) -> None:
    worst, usual = (20_000.0, 89_000.0) if must_be == "at least" else (160_000.0, 91_000.0)
    limit = ValueLimit(quantity="turnoff", of="amplifier", must_be=must_be, limit=90_000, outcome="count")
    one = ptc(with_values(*amplifiers("turnoff", usual, "electron", C07=worst)), curve())
    (sentence,) = value_sentences(limits(one, [limit])[:16], context_of(one))
    assert sentence.startswith(f"Turnoff beyond its limit: R22_S00 C07 {worst:.3g} electron")


# GAIN


def gains(*detectors: list[tuple[float, float]], pairs: int = 2, **fields: Any) -> MeasuredProduct:
    """Return what pairs gave: for each detector a list of (gain, noise)."""
    names = list(AMPLIFIERS)
    values = {
        detector: with_values(
            *pair_values(
                [
                    PhotonTransferCurve(
                        names, "PARTIAL", gain=dict.fromkeys(names, gain), noise=dict.fromkeys(names, noise)
                    )
                    for gain, noise in of_one
                ]
            )
        )
        for detector, of_one in zip(NAMES, detectors, strict=False)
    }
    return product(CalibType.GAIN, fields.pop("values", values), pairs=pairs, **fields)


GOOD = [(1.7, 7.0), (1.8, 6.8)]


def test_gains_of_all_pairs_have_passed() -> None:
    judgement = judged(gains(GOOD, GOOD))
    assert judgement.verdict is Verdict.PASSED
    assert [one.noise for one in judgement.detectors] == [6.9, 6.9]


def test_an_amplifier_may_be_missing_from_pairs_only_if_it_is_known_to_be_bad() -> None:
    whole = gains(GOOD, GOOD)
    one = gains(GOOD, GOOD, values={0: whole.values[0], 4: without(whole.values[4], "C10")})
    assert judged(one).verdict is Verdict.UNKNOWN
    judgement = judged(one, bad_amplifiers=BAD)
    assert judgement.verdict is Verdict.PASSED
    assert NAMED in judgement.reason


def test_gains_of_some_pairs_only_are_unknown() -> None:
    judgement = judged(gains(GOOD, GOOD[:1]))
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.reason == (
        "The verification is not complete: missing or not usable: R22_S11 (gain of 1 of 2 pairs), R22_S11 (noise of 1 "
        "of 2 pairs)."
    )


def test_gains_of_no_pairs_are_unknown() -> None:
    assert judged(gains(pairs=2)).verdict is Verdict.UNKNOWN
    assert judged(gains(GOOD, GOOD, pairs=0)).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("wrong", [(9.0, 7.0), (0.5, 7.0), (1.7, 2.0)])
def test_one_implausible_pair_is_enough_to_fail(wrong: tuple[float, float]) -> None:
    judgement = judged(gains([wrong, *GOOD], [*GOOD, *GOOD[:1]], pairs=3))
    assert judgement.verdict is Verdict.FAILED
    assert judgement.detectors[0].amplifiers_failed == 16
    assert judgement.tests_failed == 16


# With the verdict of cp_verify


def frames(*levels: float, **fields: Any) -> MeasuredProduct:
    values = [
        with_values(
            *amplifiers("level", one, "electron"),
            *amplifiers("noise", 2.0, "electron"),
            before=(*amplifiers("level", 0.0, "electron"), *amplifiers("noise", 2.0, "electron")),
            changes=amplifiers("changed_fraction", 0.0),
        )
        for one in levels
    ]
    return product(CalibType.BIAS, dict(zip(NAMES, values, strict=False)), **fields)


PLAUSIBLE = "BIAS is complete and plausible for 2 detectors."


def with_statistics(one: MeasuredProduct, *others: Finding, **fields: Any) -> Judgement:
    """Judge a product of which cp_verify says nothing bad, but for some other findings."""
    context = context_of(one, **fields)
    return judge([*others, *value_findings(one, CONFIG, context)], context, Counts())


@pytest.mark.parametrize(
    ("levels", "verdict", "says"),
    [
        ((0.5, 0.5), Verdict.PASSED, PLAUSIBLE),
        ((0.5, 3.0), Verdict.PASSED_WITH_FAILURES, "Level changed against what is certified: R22_S11 C10 3 electron"),
        ((0.5, 6.0), Verdict.FAILED, "Level changed against what is certified: R22_S11 6 electron (limit 5 electron)."),
        ((0.5,), Verdict.UNKNOWN, "not complete: missing or not usable: R22_S11 (there is no dataset)."),
    ],
)
def test_frame_that_differs_from_the_certified_one(levels: tuple[float, ...], verdict: Verdict, says: str) -> None:
    judgement = with_statistics(frames(*levels))
    assert judgement.verdict is verdict
    assert says in judgement.reason


def test_values_never_make_a_verdict_better() -> None:
    bad = Finding("completeness", Outcome.UNKNOWN, "run", detail="the statistics of the run")
    assert with_statistics(frames(0.5, 3.0), bad).verdict is Verdict.UNKNOWN


def test_drift_does_not_blame_the_frames() -> None:
    assert with_statistics(frames(0.5, 6.0)).bad_frames == ""
    bad = Finding("detectors", Outcome.FAILED, "NOISE", detector=0)
    assert with_statistics(frames(0.5, 6.0), bad).bad_frames != ""


def test_detector_that_drifted_is_left_out_on_request() -> None:
    judgement = with_statistics(frames(0.5, 6.0), leave_out=True)
    assert (judgement.verdict, judgement.left_out) == (Verdict.PASSED_WITH_FAILURES, (4,))
    assert "Left out, and not certified: R22_S11 (R22_S11 level 6 electron (limit 5)" in judgement.reason


def test_trend_of_a_run_too_few_is_a_finding_but_no_sentence() -> None:
    judgement = with_statistics(frames(0.5, 0.5, trends={}))
    assert judgement.reason == PLAUSIBLE
    assert [(one.rule, one.outcome) for one in judgement.findings] == [("trend", Outcome.NOTED)]


def test_value_that_stands_out_from_earlier_runs_is_said() -> None:
    trends = {(4, "C12", "level"): Trend(20, 0.0, 0.01, 0.0, "electron")}
    judgement = with_statistics(frames(0.5, 0.5, trends=trends))
    assert judgement.verdict is Verdict.PASSED
    said = "Noted: level stands out from earlier runs: R22_S11 C12 0.5 electron (limit 0.06 electron)."
    assert judgement.reason == f"{PLAUSIBLE} {said}"


def test_runs_of_earlier_releases_have_no_limits_for_values() -> None:
    old = CONFIG.model_copy(update={"values": None})
    one = frames(0.5, 99.0)
    assert value_findings(one, old, context_of(one)) == []
    assert plausibility(ptc(curve()), old, context_of(ptc(curve()))) != []


@pytest.mark.parametrize(
    ("rates", "verdict"),
    [
        ({"number": 0.1}, Verdict.PASSED),
        ({"number": 0.1, "C10": 0.3}, Verdict.PASSED_WITH_FAILURES),
        ({"number": 5.0}, Verdict.FAILED),
    ],
)
def test_a_first_dark_with_too_much_current_is_found_without_a_predecessor(
    rates: dict[str, float], verdict: Verdict
) -> None:
    values = with_values(*amplifiers("dark_rate", unit="electron/second", **rates))
    judgement = judged(product(CalibType.DARK, {0: values, 4: values}, compared=False))
    assert judgement.verdict is verdict
    assert ("Dark rate beyond its limit: R22_S00" in judgement.reason) == (verdict is not Verdict.PASSED)
