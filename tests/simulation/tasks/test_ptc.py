# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pairs of flats, photon transfer curves, and gain ratios."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from lsst.ts.comcamcalib.simulation.containers import PhotonTransferCurve
from lsst.ts.comcamcalib.simulation.layout import AMPLIFIER_NAMES
from lsst.ts.comcamcalib.simulation.tasks.ptc_extract import PhotonTransferCurveExtractPairTask
from lsst.ts.comcamcalib.simulation.tasks.ptc_solve import (
    PhotonTransferCurveAdjustGainRatiosTask,
    PhotonTransferCurveSolveTask,
)

GAIN, NOISE_ADU = 2.0, 3.0


def extract(*handles: Any) -> PhotonTransferCurve:
    task = PhotonTransferCurveExtractPairTask(config=PhotonTransferCurveExtractPairTask.ConfigClass())
    return task.run(list(handles)).outputCovariance


def solve(pairs: list[PhotonTransferCurve]) -> PhotonTransferCurve:
    task = PhotonTransferCurveSolveTask(config=PhotonTransferCurveSolveTask.ConfigClass())
    return task.run(pairs).outputPtcDataset


def adjust(curve: PhotonTransferCurve) -> PhotonTransferCurve:
    task = PhotonTransferCurveAdjustGainRatiosTask(config=PhotonTransferCurveAdjustGainRatiosTask.ConfigClass())
    return task.run(curve).output_ptc


def pair(mean: float, variance: float | None = None) -> PhotonTransferCurve:
    """Make a pair of a mean signal (adu), by default with the variance that gain and noise demand."""
    measured = PhotonTransferCurve(list(AMPLIFIER_NAMES), "PARTIAL", metadata={"DETNAME": "R22_S00"})
    for name in AMPLIFIER_NAMES:
        measured.rawMeans[name] = [mean]
        measured.rawVars[name] = [NOISE_ADU**2 + mean / GAIN if variance is None else variance]
        measured.noiseList[name] = [NOISE_ADU]
        measured.gainList[name] = [GAIN]
        measured.inputExpIdPairs[name] = [[1, 2]]
        measured.rawExpTimes[name] = [1.0]
    return measured


def test_gain_of_a_pair_needs_no_flat_field_and_no_steady_lamp(make_handle: Any) -> None:
    one, two = (make_handle(number, level=0.0, noise=math.sqrt(2000 / GAIN + 2.5**2)) for number in (1, 2))
    pattern = 1 + 0.05 * np.sin(np.arange(one.exposure.image.array.size)).reshape(one.exposure.image.array.shape)
    one.exposure.image.array += 2000 * pattern
    two.exposure.image.array += 2020 * pattern
    measured = extract(two, one)
    assert np.mean(list(measured.gain.values())) == pytest.approx(GAIN, rel=0.06)
    assert measured.inputExpIdPairs["C10"] == [[1, 2]]
    assert measured.badAmps == []


def test_dark_pair_has_no_gain_and_says_so(make_handle: Any) -> None:
    one, two = (make_handle(number, level=-10.0) for number in (1, 2))
    measured = extract(one, two)
    assert measured.badAmps == list(AMPLIFIER_NAMES)
    assert all(math.isnan(gain) for gain in measured.gain.values())


def test_gain_and_noise_are_fitted() -> None:
    curve = solve([pair(mean) for mean in (8000.0, 500.0, 3000.0)])
    assert curve.gain["C00"] == pytest.approx(GAIN)
    assert curve.noise["C00"] == pytest.approx(GAIN * NOISE_ADU)
    assert curve.rawMeans["C00"] == [500.0, 3000.0, 8000.0]
    assert curve.ptcTurnoff["C00"] == 8000.0


def test_saturated_pairs_are_left_out_above_the_turn_off() -> None:
    curve = solve([*(pair(mean) for mean in (500.0, 3000.0, 8000.0)), pair(9000.0, variance=20.0)])
    assert curve.gain["C05"] == pytest.approx(GAIN)
    assert curve.ptcTurnoff["C05"] == 8000.0
    assert curve.expIdMask["C05"] == [True, True, True, False]


def test_amplifier_without_variance_is_bad_and_not_zero() -> None:
    curve = solve([pair(mean, math.nan) for mean in (500.0, 3000.0)])
    assert curve.badAmps == list(AMPLIFIER_NAMES)
    assert math.isnan(curve.gain["C10"]) and math.isnan(curve.noise["C10"])


def test_wrong_gain_of_one_amplifier_is_put_right_by_its_signal() -> None:
    curve = solve([pair(mean) for mean in (1000.0, 3000.0)])
    curve.gain["C04"] *= 1.03
    adjusted = adjust(curve)
    assert abs(adjusted.gain["C04"] / GAIN - 1) < 0.5 * 0.03
    assert np.mean(list(adjusted.gain.values())) == pytest.approx(np.mean(list(curve.gain.values())), rel=1e-3)
    assert curve.gain["C04"] == pytest.approx(1.03 * GAIN)


def test_few_good_amplifiers_are_left_as_they_are() -> None:
    curve = solve([pair(1000.0)])
    curve.badAmps = list(AMPLIFIER_NAMES[:12])
    assert adjust(curve).gain == curve.gain


def test_detector_without_any_good_amplifier_is_left_as_it_is() -> None:
    curve = solve([pair(0.0, math.nan) for _ in range(2)])
    assert adjust(curve).badAmps == list(AMPLIFIER_NAMES)


def test_pairs_of_the_fit_are_told_with_the_variance_that_it_gives() -> None:
    curve = solve([*(pair(mean) for mean in (500.0, 3000.0, 8000.0)), pair(9000.0, variance=100.0)])
    assert curve.finalMeans["C05"][:3] == [500.0, 3000.0, 8000.0] and math.isnan(curve.finalMeans["C05"][3])
    assert curve.finalModelVars["C05"][:3] == pytest.approx(curve.finalVars["C05"][:3])
    assert len(curve.finalVars["C05"]) == 4
