# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated frames of a set, good and bad, and the verdict on what is made of them."""

from __future__ import annotations

import dataclasses
import re

import pytest
from lsst.ts.comcamcalib.enums import CalibType, Verdict
from lsst.ts.comcamcalib.simulation.focal_plane import Fault
from support.frames import PLANE, Frame, judge_frames

BIAS, DARK, FLAT = CalibType.BIAS, CalibType.DARK, CalibType.FLAT
EXAMPLE = (0.1, 0.1, 0.35, 0.35, 0.6, 0.6, 0.8, 0.8, 1.0, 1.0, 1.35, 1.35, 1.6, 1.6)
THIRD = "2026112200003"


def flats(*seconds: float, lamp: float = 1.0) -> list[Frame]:
    return [Frame(one, lamp) for one in seconds]


# Good ones


@pytest.mark.parametrize("number", [2, 3, 6, 20])
def test_good_biases_pass(number: int) -> None:
    assert judge_frames(BIAS, [Frame()] * number).verdict is Verdict.PASSED


@pytest.mark.parametrize("number", [1, 2, 3, 6])
def test_flats_of_a_daily_run_pass_however_few(number: int) -> None:
    """A flat made of one frame takes all of this frame's noise away, of two frames a third: that is no saturation."""
    judgement = judge_frames(FLAT, flats(*[5.0] * number))
    assert judgement.verdict is Verdict.PASSED, judgement.reason


def test_the_procedures_flats_pass_and_the_darkest_pair_is_named() -> None:
    judgement = judge_frames(FLAT, flats(*EXAMPLE))
    assert judgement.verdict is Verdict.PASSED_WITH_FAILURES
    assert judgement.failures_by_test["LEVEL"] == 2 * 3 * 16
    assert judgement.reason.startswith(
        "Light: too dark, 2 of 14 exposures (2026112200001, 2026112200002; 3 of 3 detectors) have 15"
    )
    assert judgement.bad_frames == ""


def test_a_ramp_of_flats_may_be_in_any_order() -> None:
    judgement = judge_frames(FLAT, flats(4, 1, 2, 0.5, 3, 5))
    assert judgement.verdict in (Verdict.PASSED, Verdict.PASSED_WITH_FAILURES)
    assert not {"LEVEL", "NOISE_LOW", "FLUX"} & set(judgement.failures_by_test), judgement.reason


# Light


@pytest.mark.parametrize(
    "seconds", [[10.0] * 6, [60.0] * 3, [7.0, 7.0], [1.0, 1.0, 1.0, 1.0, 10.0], [1, 1, 2, 2, 4, 4, 8, 8]]
)
def test_a_saturated_flat_in_the_product_fails_it(seconds: list[float]) -> None:
    judgement = judge_frames(FLAT, flats(*seconds))
    assert judgement.verdict is Verdict.FAILED
    assert judgement.reason.startswith("Light: saturated, ")
    assert "No good FLAT can be made from these frames" in judgement.reason
    assert judgement.bad_frames
    assert judgement.detectors[0].failures_by_test["LEVEL"] % 16 == 0


def test_ten_seconds_of_the_usual_lamp_are_told_by_level_and_noise() -> None:
    judgement = judge_frames(FLAT, flats(*[10.0] * 6))
    assert judgement.failures_by_test == {"LEVEL": 288, "NOISE_LOW": 288}
    assert judgement.detectors[0].signal == pytest.approx(96_000, rel=0.03)
    assert judgement.detectors[0].noise < 10
    assert "all 6 exposures (3 of 3 detectors) have 96" in judgement.reason


@pytest.mark.parametrize(("lamp", "seconds"), [(0.02, 10.0), (0.02, 5.0), (0.01, 5.0), (0.3, 1.0), (0.003, 10.0)])
def test_a_dim_lamp_fails_the_flat(lamp: float, seconds: float) -> None:
    judgement = judge_frames(FLAT, flats(*[seconds] * 6, lamp=lamp))
    assert judgement.verdict is Verdict.FAILED
    assert judgement.reason.startswith("Light: too dark, all 6 exposures (3 of 3 detectors) have ")
    assert "Look at the lamp" in judgement.reason
    assert "too dark" in judgement.bad_frames


@pytest.mark.parametrize(("seconds", "number"), [(5.0, 6), (0.1, 2), (60.0, 4), (1.0, 1)])
def test_a_lamp_that_is_off_is_named(seconds: float, number: int) -> None:
    judgement = judge_frames(FLAT, flats(*[seconds] * number, lamp=0.0))
    assert judgement.verdict is Verdict.FAILED
    assert judgement.reason.startswith("Light: lamp off, no light in ")
    assert "missing" not in judgement.reason


def test_one_flat_without_light_among_good_ones_fails_the_flat_and_is_named() -> None:
    judgement = judge_frames(FLAT, [*flats(5, 5), *flats(5, lamp=0.0), *flats(5, 5, 5)])
    assert judgement.verdict is Verdict.FAILED
    assert judgement.reason.startswith(f"Light: lamp off, no light in 1 of 6 exposures ({THIRD}; 3 of 3 detectors)")


@pytest.mark.parametrize("factor", [0.95, 1.05, 0.9])
def test_a_drifting_lamp_is_named_as_such(factor: float) -> None:
    judgement = judge_frames(FLAT, [Frame(2.5, factor**number) for number in range(6)])
    assert judgement.verdict is Verdict.FAILED
    change = re.match(r"Light: lamp drifting by ([+-][0-9.]+)% during the flats, ", judgement.reason)
    assert change, judgement.reason
    assert float(change[1]) == pytest.approx(100 * (factor**5 - 1), abs=2)


def test_a_slow_drift_is_named_and_passes() -> None:
    judgement = judge_frames(FLAT, [Frame(2.5, 0.993**number) for number in range(8)])
    assert judgement.verdict is Verdict.PASSED_WITH_FAILURES
    assert "lamp drifting" in judgement.reason and "2 of 8 exposures (2026112200001, 2026112200008;" in judgement.reason


@pytest.mark.parametrize(
    ("lamp", "verdict"),
    [(0.9, Verdict.PASSED_WITH_FAILURES), (1.1, Verdict.PASSED_WITH_FAILURES), (0.5, Verdict.FAILED)],
)
def test_a_lamp_that_flickers_is_named_with_the_frame(lamp: float, verdict: Verdict) -> None:
    judgement = judge_frames(FLAT, [*flats(3, 3), *flats(3, lamp=lamp), *flats(3, 3, 3)])
    assert judgement.verdict is verdict
    assert judgement.failures_by_test["FLUX"] == 3
    assert judgement.reason.startswith(
        f"Light: the lamp differs, 1 of 6 exposures ({THIRD}; 3 of 3 detectors) got up to "
    )


# No light


@pytest.mark.parametrize("calib_type", [BIAS, DARK])
def test_a_light_leak_of_one_frame_fails_the_product_and_names_the_frame(calib_type: CalibType) -> None:
    frames = [Frame(10.0 * (calib_type is DARK), leak_electrons=2000.0 * (number == 2)) for number in range(6)]
    judgement = judge_frames(calib_type, frames)
    assert judgement.verdict is Verdict.FAILED
    assert judgement.reason.startswith(
        f"Exposures stand out: 1 of 6 exposures ({THIRD}; 3 of 3 detectors) differ from the others by up to +2"
    )
    assert judgement.failures_by_test["OUTLIER"] >= 48
    assert judgement.bad_frames


def test_a_leak_in_one_of_two_biases_is_no_dead_amplifier() -> None:
    """The pipeline clips the frame with the leak, so that the other one is the product, and has no noise left."""
    judgement = judge_frames(BIAS, [Frame(), Frame(leak_electrons=2000)])
    assert judgement.verdict is Verdict.FAILED
    change = re.match(
        r"Exposures stand out: all 2 exposures \(3 of 3 detectors\) differ .* -([0-9.]+) ", judgement.reason
    )
    assert change, judgement.reason
    assert float(change[1]) == pytest.approx(2000, rel=0.1), "half of it would be the distance from the middle"
    assert "Dead" not in judgement.reason and "NOISE_LOW" not in judgement.failures_by_test


@pytest.mark.parametrize(
    ("number", "pickup", "verdict", "times"),
    [
        # Its noise is in the product, so that all fail.
        (3, 40.0, Verdict.FAILED, 3.2),
        (5, 40.0, Verdict.FAILED, 4.5),
        # Clipping takes it out of the product, or it is too little to make the others fail.
        (8, 40.0, Verdict.PASSED_WITH_FAILURES, 5.2),
        (5, 10.0, Verdict.PASSED_WITH_FAILURES, 1.5),
        (3, 10.0, Verdict.PASSED_WITH_FAILURES, 1.3),
    ],
)
def test_one_noisy_bias_is_named_however_few_there_are(
    number: int, pickup: float, verdict: Verdict, times: float
) -> None:
    judgement = judge_frames(BIAS, [Frame(pickup_electrons=pickup * (index == 2)) for index in range(number)])
    assert judgement.verdict is verdict
    found = re.search(
        rf"Exposures with more noise than the others: {THIRD} \(([0-9.]+) times as much on 3 of 3 detectors\)\.",
        judgement.reason,
    )
    assert found, judgement.reason
    assert float(found[1]) == pytest.approx(times, abs=0.1)
    if verdict is Verdict.FAILED:
        assert THIRD in judgement.bad_frames, "what is made of the same biases says which one it is"


@pytest.mark.parametrize("lamps", [(1, 1, 1, 1.05, 1.05, 1.05), (1, 1.05)])
def test_a_lamp_that_steps_in_the_middle_of_the_flats_fails_them(lamps: tuple[float, ...]) -> None:
    judgement = judge_frames(FLAT, [Frame(3, lamp) for lamp in lamps])
    assert judgement.verdict is Verdict.FAILED
    assert judgement.reason.startswith(f"Light: the lamp differs, all {len(lamps)} exposures (3 of 3 detectors) got")


def test_a_mild_leak_is_named_and_passes() -> None:
    judgement = judge_frames(BIAS, [Frame(leak_electrons=5.0 * (number == 2)) for number in range(6)])
    assert judgement.verdict is Verdict.PASSED_WITH_FAILURES
    assert judgement.reason.startswith(f"Exposures stand out: 1 of 6 exposures ({THIRD}; 3 of 3 detectors)")
    assert judgement.bad_frames == ""


@pytest.mark.parametrize("leaking", [{1}, {0, 1}, {1, 3}])
def test_where_the_bad_frames_are_not_few_the_set_fails_all_the_same(leaking: set[int]) -> None:
    judgement = judge_frames(BIAS, [Frame(leak_electrons=500.0 * (number in leaking)) for number in range(4)])
    assert judgement.verdict is Verdict.FAILED
    assert judgement.reason.startswith("Exposures stand out: ")


def test_a_dead_amplifier_is_named_and_a_dead_detector_fails() -> None:
    one = dataclasses.replace(PLANE, faults=(Fault(4, 0.2, ("C12",)),))
    judgement = judge_frames(BIAS, [Frame()] * 6, one)
    assert judgement.verdict is Verdict.PASSED_WITH_FAILURES
    assert judgement.failures_by_test == {"NOISE_LOW": 6}
    assert "single amplifiers of R22_S11: C12" in judgement.reason
    judgement = judge_frames(BIAS, [Frame()] * 6, dataclasses.replace(PLANE, faults=(Fault(4, 0.2),)))
    assert judgement.verdict is Verdict.FAILED
    assert judgement.reason.startswith("Dead amplifiers: all 6 exposures (R22_S11)")


def test_a_cosmic_ray_does_not_hide_a_dead_detector() -> None:
    dead = dataclasses.replace(PLANE, faults=(Fault(1, 0.2),))
    judgement = judge_frames(DARK, [Frame(30.0)] * 6, dead)
    assert judgement.verdict is Verdict.FAILED
    assert judgement.failures_by_test["OUTLIER"] > 0
    assert judgement.failures_by_test["NOISE_LOW"] == 6 * 16
