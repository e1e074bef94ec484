# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.butler_data import DefectsArea
from lsst.ts.comcamcalib.config import Plausible
from lsst.ts.comcamcalib.enums import Verdict
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane
from lsst.ts.comcamcalib.verification import judge_defects, judge_gain, judge_ptc
from support.plans import make_config

NAMES = {0: "R22_S00", 4: "R22_S11"}
COUNTS = dict.fromkeys(NAMES, 16)
AMPLIFIERS = [f"C1{number}" for number in range(8)] + [f"C0{number}" for number in range(8)]

PLAUSIBLE = Plausible(gain_min=0.5, gain_max=4.0, noise_min=1.0, noise_max=50.0, defect_fraction_max=0.05)
PAIRS = (2026112200001, 2026112200003)


def amplifiers(gain: float = 1.7, noise: float = 7.0) -> tuple[dict[str, float], dict[str, float]]:
    return dict.fromkeys(AMPLIFIERS, gain), dict.fromkeys(AMPLIFIERS, noise)


# DEFECTS


def test_defects_of_a_plausible_area_have_passed() -> None:
    judgement = judge_defects(NAMES, {0: DefectsArea(0, 1000), 4: DefectsArea(50, 1000)}, PLAUSIBLE)
    assert judgement.verdict is Verdict.PASSED
    assert judgement.reason == "DEFECTS is complete and plausible for 2 detectors."
    assert (judgement.detectors_verified, judgement.detectors_expected) == (2, 2)


def test_a_detector_that_is_mostly_defects_has_failed() -> None:
    judgement = judge_defects(NAMES, {0: DefectsArea(0, 1000), 4: DefectsArea(600, 1000)}, PLAUSIBLE)
    assert judgement.verdict is Verdict.FAILED
    assert judgement.reason == ("DEFECTS is not plausible: R22_S11 (60.0% of its pixels, at most 5.0% are plausible).")
    assert judgement.failures_by_test == {"AREA": 1}
    assert [one.tests_failed for one in judgement.detectors] == [0, 1]


def test_a_detector_without_defects_at_all_is_unknown() -> None:
    judgement = judge_defects(NAMES, {0: DefectsArea(0, 1000)}, PLAUSIBLE)
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.reason == "DEFECTS is not complete: missing: R22_S11."
    assert judgement.detectors_verified == 1


@pytest.mark.parametrize(("pixels", "of"), [(-1, 1000), (0, 0), (2000, 1000), (5, -1000)])
def test_an_area_that_is_none_has_failed(pixels: int, of: int) -> None:
    judgement = judge_defects({0: "R22_S00"}, {0: DefectsArea(pixels, of)}, PLAUSIBLE)
    assert judgement.verdict is Verdict.FAILED


def test_defects_of_no_detector_are_unknown() -> None:
    assert judge_defects({}, {}, PLAUSIBLE).verdict is Verdict.UNKNOWN


# PTC


def test_a_complete_and_plausible_ptc_has_passed() -> None:
    judgement = judge_ptc(NAMES, COUNTS, {0: amplifiers(), 4: amplifiers(1.8, 6.0), 8: amplifiers(99.0)}, PLAUSIBLE)
    assert judgement.verdict is Verdict.PASSED
    assert [one.noise for one in judgement.detectors] == [7.0, 6.0]


@pytest.mark.parametrize(("gain", "noise"), [(0.4, 7.0), (4.1, 7.0), (-1.7, 7.0), (1.7, 0.9), (1.7, 51.0)])
def test_a_value_out_of_range_has_failed(gain: float, noise: float) -> None:
    values = amplifiers()
    values[0]["C10"], values[1]["C10"] = gain, noise
    judgement = judge_ptc(NAMES, COUNTS, {0: amplifiers(), 4: values}, PLAUSIBLE)
    assert judgement.verdict is Verdict.FAILED
    assert "R22_S11 (C10 " in judgement.reason
    assert [one.amplifiers_failed for one in judgement.detectors] == [0, 1]
    assert judgement.tests_failed == 1


def test_each_detector_has_its_own_number_of_amplifiers() -> None:
    half = tuple(dict(list(values.items())[:8]) for values in amplifiers())
    values: Any = {0: amplifiers(), 4: half}
    assert "R22_S11 (gain of 8 amplifiers instead of 16)" in judge_ptc(NAMES, COUNTS, values, PLAUSIBLE).reason
    assert judge_ptc(NAMES, {0: 16, 4: 8}, values, PLAUSIBLE).verdict is Verdict.PASSED


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_an_amplifier_that_was_not_measured_is_unknown(bad: float, which: int) -> None:
    values = amplifiers()
    values[which]["C07"] = bad
    judgement = judge_ptc(NAMES, COUNTS, {0: values, 4: amplifiers()}, PLAUSIBLE)
    assert judgement.verdict is Verdict.UNKNOWN
    assert f"R22_S00 C07 ({('gain', 'noise')[which]} not measured)" in judgement.reason
    assert judgement.detectors_verified == 1


@given(
    dropped=st.sets(st.tuples(st.sampled_from(list(NAMES)), st.sampled_from(AMPLIFIERS)), max_size=20),
    without=st.sets(st.sampled_from(list(NAMES))),
    which=st.integers(0, 1),
)
def test_a_ptc_with_anything_missing_is_unknown(dropped: set[tuple[int, str]], without: set[int], which: int) -> None:
    values = {detector: amplifiers() for detector in NAMES if detector not in without}
    for detector, name in dropped:
        if detector in values:
            del values[detector][which][name]
    judgement = judge_ptc(NAMES, COUNTS, values, PLAUSIBLE)
    assert judgement.verdict is (Verdict.UNKNOWN if dropped or without else Verdict.PASSED)
    assert judgement.reason.isprintable()


def test_a_value_that_can_not_be_right_weighs_more_than_one_that_is_missing() -> None:
    judgement = judge_ptc(NAMES, COUNTS, {0: amplifiers(gain=99.0)}, PLAUSIBLE)
    assert judgement.verdict is Verdict.FAILED
    assert judgement.reason.endswith("; missing: R22_S11.")
    assert "and 11 more" in judgement.reason


# GAIN


def gains(**changes: Any) -> dict[tuple[int, int], tuple[dict[str, float], dict[str, float]]]:
    return {(exposure, detector): amplifiers(**changes) for exposure in PAIRS for detector in NAMES}


def test_gains_of_all_pairs_have_passed() -> None:
    assert judge_gain(NAMES, COUNTS, gains(), len(PAIRS), PLAUSIBLE).verdict is Verdict.PASSED


def test_gains_of_some_pairs_only_are_unknown() -> None:
    some = gains()
    del some[PAIRS[0], 4]
    judgement = judge_gain(NAMES, COUNTS, some, len(PAIRS), PLAUSIBLE)
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.reason == "GAIN is not complete: missing: R22_S11 (1 of 2 pairs)."


def test_gains_of_no_pairs_are_unknown() -> None:
    assert judge_gain(NAMES, COUNTS, {}, 2, PLAUSIBLE).verdict is Verdict.UNKNOWN
    assert judge_gain(NAMES, COUNTS, gains(), 0, PLAUSIBLE).verdict is Verdict.UNKNOWN


def test_implausible_gains_have_failed() -> None:
    judgement = judge_gain(NAMES, COUNTS, gains(gain=9.0), len(PAIRS), PLAUSIBLE)
    assert judgement.verdict is Verdict.FAILED
    assert judgement.detectors[0].amplifiers_failed == 16
    assert judgement.tests_failed == 64


def test_shipped_limits_know_comcams_sensors_and_what_is_broken() -> None:
    """obs_lsst's policy and SITCOMTN-148: gains 1.17 to 1.45, noises to 11.2; below 4 is dead, above 18 too noisy."""
    shipped = make_config().plausible
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
        judgement = judge_ptc({0: "R22_S00"}, COUNTS, {0: amplifiers(gain, noise)}, shipped)
        assert judgement.verdict is verdict, (gain, noise)
    for pixels, verdict in ((80_000, Verdict.PASSED), (82_000, Verdict.FAILED)):
        areas = {0: DefectsArea(pixels, 4000 * 4072)}
        assert judge_defects({0: "R22_S00"}, areas, shipped).verdict is verdict


def test_the_simulated_focal_plane_is_plausible() -> None:
    shipped, plane = make_config().plausible, FocalPlane()
    for detector in range(9):
        truth = plane.truth(detector)
        assert all(shipped.gain_min < gain < shipped.gain_max for gain in truth.gain.values())
        assert all(shipped.noise_min < noise < shipped.noise_max for noise in truth.read_noise.values())
        bad = len(truth.hot_pixels) + len(truth.low_pixels)
        assert bad < shipped.defect_fraction_max * truth.dark_rate.size
