# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a photon transfer curve and pairs of flats say of each amplifier."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from lsst.ts.comcamcalib.services.curve_values import curve_values, pair_values
from lsst.ts.comcamcalib.simulation.containers import PhotonTransferCurve

NAN = float("nan")


def curve(**changes) -> PhotonTransferCurve:
    fields = {
        "ampNames": ["C10"],
        "ptcFitType": "POLYNOMIAL",
        "gain": {"C10": 2.0},
        "noise": {"C10": 6.0},
        "ptcTurnoff": {"C10": 40_000.0},
        "ptcFitPars": {"C10": [9.0, 0.5]},
        "ptcFitChiSq": {"C10": 1.1},
        "rawMeans": {"C10": [1000.0, 40_000.0, 50_000.0]},
        "rawVars": {"C10": [509.0, 21_009.45, 3.0]},
        "expIdMask": {"C10": [True, True, False]},
        **changes,
    }
    return PhotonTransferCurve(**fields)


def found(values) -> dict[str, float]:
    return {one.quantity: one.value for one in values}


def test_values_are_in_electrons_with_units() -> None:
    assert {one.quantity: (one.value, one.unit) for one in curve_values(curve())} == {
        "gain": (2.0, "electron/adu"),
        "noise": (6.0, "electron"),
        "turnoff": (80_000.0, "electron"),
        "fit_residual": (pytest.approx(0.05, abs=1e-4), ""),
        "fit_chi_square": (1.1, ""),
    }


def test_turnoff_that_no_flat_reached_is_not_measured() -> None:
    lower = {"rawMeans": {"C10": [1000.0, 40_000.0]}, "rawVars": {"C10": [509.0, 20_009.0]}}
    assert math.isnan(found(curve_values(curve(**lower, expIdMask={"C10": [True, True]})))["turnoff"])


def test_pairs_that_the_fit_left_out_have_no_residual() -> None:
    assert found(curve_values(curve(expIdMask={"C10": [True, False, False]})))["fit_residual"] == pytest.approx(0.0)
    assert math.isnan(found(curve_values(curve(expIdMask={"C10": [False] * 3})))["fit_residual"])


def test_model_of_cp_pipe_counts_whatever_was_fitted() -> None:
    """cp_pipe fills the lists of what was fitted with NaN up to the number of pairs."""
    real = SimpleNamespace(**vars(curve(ptcFitType="FULLCOVARIANCE")))
    real.finalVars, real.finalModelVars = {"C10": [100.0, 110.0, NAN]}, {"C10": [100.0, 100.0, NAN]}
    assert found(curve_values(real))["fit_residual"] == pytest.approx(0.1)


def test_fit_that_can_not_be_evaluated_has_no_residual() -> None:
    without_model = SimpleNamespace(**vars(curve(ptcFitType="EXPAPPROXIMATION")))
    assert math.isnan(found(curve_values(without_model))["fit_residual"])


def test_nominal_curve_has_gain_and_noise_only() -> None:
    nominal = PhotonTransferCurve(["C10"], "POLYNOMIAL", gain={"C10": 1.7}, noise={"C10": 6.5})
    values = found(curve_values(nominal))
    assert (values["gain"], values["noise"]) == (1.7, 6.5)
    assert all(math.isnan(values[name]) for name in ("turnoff", "fit_residual", "fit_chi_square"))


def pair(gain: float, noise: float = 6.0) -> PhotonTransferCurve:
    return PhotonTransferCurve(["C10"], "PARTIAL", gain={"C10": gain}, noise={"C10": noise})


def test_pairs_are_summed_up_by_median_and_range() -> None:
    values = found(pair_values([pair(1.6), pair(1.7, NAN), pair(2.9)]))
    assert values == {
        "gain": 1.7,
        "gain_min": 1.6,
        "gain_max": 2.9,
        "gain_pairs": 3,
        "noise": 6.0,
        "noise_min": 6.0,
        "noise_max": 6.0,
        "noise_pairs": 2,
    }


def test_amplifier_without_any_good_pair_is_not_measured() -> None:
    values = found(pair_values([pair(NAN), pair(math.inf)]))
    assert values["gain_pairs"] == 0
    assert all(math.isnan(values[name]) for name in ("gain", "gain_min", "gain_max"))


def test_no_pairs_give_no_values() -> None:
    assert list(pair_values([])) == []
