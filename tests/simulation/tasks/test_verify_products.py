# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests of photon transfer curves, gains of pairs and defects: the shapes and quirks of cp_verify."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
from lsst.ts.comcamcalib.simulation.camera_geometry import Camera
from lsst.ts.comcamcalib.simulation.containers import PhotonTransferCurve
from lsst.ts.comcamcalib.simulation.layout import AMPLIFIER_NAMES, DETECTOR_NAMES
from lsst.ts.comcamcalib.simulation.tasks.verify_calib import CpVerifyGainTask, CpVerifyPtcTask
from lsst.ts.comcamcalib.simulation.tasks.verify_defects import CpVerifyDefectsTask
from lsst.ts.comcamcalib.simulation.tasks.verify_merge import CpVerifyCalibMergeTask

GAIN, NOISE = 1.7, 7.0
CAMERA = Camera.of_values([dict.fromkeys(AMPLIFIER_NAMES, (GAIN, NOISE)) for _ in DETECTOR_NAMES])


def curve(turnoff: float = 60_000.0, noises_adu: tuple[float, ...] = (4.1, 4.2)) -> PhotonTransferCurve:
    names = list(AMPLIFIER_NAMES)
    return PhotonTransferCurve(
        names,
        "POLYNOMIAL",
        gain=dict.fromkeys(names, GAIN),
        noise=dict.fromkeys(names, NOISE),
        ptcTurnoff=dict.fromkeys(names, turnoff),
        rawMeans={name: [1000.0, 5000.0] for name in names},
        rawVars={name: [600.0, 3000.0] for name in names},
        ptcFitPars={name: [17.0, 1 / GAIN] for name in names},
        noiseList={name: list(noises_adu) for name in names},
        expIdMask={name: [True, True] for name in names},
    )


def verify(calib: PhotonTransferCurve, task: Any = CpVerifyPtcTask) -> Any:
    return task(config=task.ConfigClass()).run(calib, CAMERA, 4).outputStats


def merge(statistics: dict[int, Any], dimension: str) -> Any:
    config = CpVerifyCalibMergeTask.ConfigClass()
    config.mergeDimension = dimension
    return CpVerifyCalibMergeTask(config=config).run(statistics).outputStats


def test_good_curve_passes_and_is_told_with_its_points() -> None:
    statistics = verify(curve())
    assert statistics["SUCCESS"] is True
    assert set(statistics) == {"AMP", "DET", "VERIFY", "SUCCESS"}
    assert statistics["AMP"]["C10"]["PTC_RAW_MEANS"] == [1000.0, 5000.0]
    assert statistics["AMP"]["C10"]["AMP_GAIN"] == GAIN
    tests = {"PTC_GAIN", "PTC_NOISE", "NOISE_SIGNAL_INDEPENDENCE", "PTC_TURNOFF", "SUCCESS"}
    assert set(statistics["VERIFY"]["AMP"]["C10"]) == tests


@pytest.mark.parametrize(
    ("field", "value", "test"),
    [
        ("gain", 1.06 * GAIN, "PTC_GAIN"),
        ("gain", 0.94 * GAIN, "PTC_GAIN"),
        ("noise", 0.9 * NOISE, "PTC_NOISE"),
        ("noise", math.nan, "PTC_NOISE"),
        ("ptcTurnoff", 52_000.0, "PTC_TURNOFF"),
        ("ptcTurnoff", math.nan, "PTC_TURNOFF"),
    ],
)
def test_value_out_of_its_limits_fails_its_test_in_its_amplifier_only(field: str, value: float, test: str) -> None:
    calib = curve()
    getattr(calib, field)["C03"] = value
    statistics = verify(calib)
    failed = {name: [one for one, passed in tests.items() if not passed] for name, tests in amplifier_tests(statistics)}
    assert failed == {name: [test, "SUCCESS"] if name == "C03" else [] for name in AMPLIFIER_NAMES}
    merged = merge({4: statistics, 5: verify(curve())}, "detector")
    assert merged == {
        "R22_S11": {"SUCCESS": False, "FAILURES": [f"C03 {test}"]},
        "R22_S12": {"SUCCESS": True},
        "SUCCESS": False,
    }


def amplifier_tests(statistics: Any) -> Any:
    return statistics["VERIFY"]["AMP"].items()


@pytest.mark.parametrize(("noises", "passes"), [((4.0, 6.0), True), ((4.0, 7.0), False), ((4.0, 4.0), False)])
def test_noise_is_independent_of_the_signal_if_it_scatters_by_less_than_125_adu_but_not_by_zero(
    noises: tuple[float, float], passes: bool
) -> None:
    tests = verify(curve(noises_adu=noises))["VERIFY"]["AMP"]["C10"]
    assert tests["NOISE_SIGNAL_INDEPENDENCE"] is passes


def test_curve_without_points_as_the_initial_one_fails_and_does_not_break() -> None:
    calib = curve()
    calib.rawMeans, calib.rawVars, calib.noiseList, calib.expIdMask = {}, {}, {}, {}
    statistics = verify(calib)
    assert statistics["VERIFY"]["AMP"]["C10"]["NOISE_SIGNAL_INDEPENDENCE"] is False
    assert math.isnan(statistics["AMP"]["C10"]["PTC_MAX_RAW_MEANS"])


def test_gain_of_a_pair_is_corrected_for_its_flux_and_failures_have_no_amplifiers() -> None:
    statistics = verify(curve(), CpVerifyGainTask)
    assert statistics["AMP"]["C10"]["GAIN_CORRECTION_FACTOR"] == pytest.approx(1 - 0.00027 * 1000 / 100)
    assert (statistics["VERIFY"], statistics["SUCCESS"]) == ({}, True)
    bad = curve()
    bad.gain["C00"] = 2.0
    statistics = verify(bad, CpVerifyGainTask)
    assert (statistics["VERIFY"], statistics["SUCCESS"]) == ({"GAIN_FROM_FLAT_PAIR": False}, False)
    assert merge({4: statistics}, "detector")["R22_S11"] == {"SUCCESS": False, "FAILURES": []}


def verify_defects(masked: Any, whole: Any) -> Any:
    task = CpVerifyDefectsTask
    return task(config=task.ConfigClass()).run(masked, whole).outputStats


def test_masked_hot_pixels_are_counted_and_none_of_the_sensible_tests_fails(make_handle: Any, layout: Any) -> None:
    whole = make_handle(1, level=100.0).exposure
    whole.image.array[layout.image_section("C10")][3, 2:5] = 5000.0
    masked = copy.deepcopy(whole)
    masked.image.array[layout.image_section("C10")][3, 2:5] = np.nan
    statistics = verify_defects(masked, whole)
    values, tests = statistics["AMP"]["C10"], statistics["VERIFY"]["AMP"]["C10"]
    assert (values["DEFECT_PIXELS"], values["OUTLIERS"], values["UNMASKED_OUTLIERS"]) == (3, 0, 3)
    assert values["UNC_MAX"] == values["UNMASKED_MAX"] == 5000.0 > values["MAX"]
    assert values["FRAC"] == pytest.approx(3 / (layout.amplifier_rows * layout.amplifier_columns))
    assert all(tests[name] for name in ("OUTLIERS", "STDEV", "MIN", "MAX"))
    assert (statistics["DET"]["NUM_COSMICS_BEFORE"], statistics["DET"]["NUM_COSMICS_AFTER"]) == (3, 0)


def test_last_test_fails_where_some_pixel_is_unlikely_and_not_masked(make_handle: Any, layout: Any) -> None:
    whole = make_handle(1, level=100.0).exposure
    whole.image.array[layout.image_section("C10")][3, 2] = 5000.0
    statistics = verify_defects(copy.deepcopy(whole), whole)
    assert statistics["VERIFY"]["AMP"]["C10"]["PROB_TEST"] is False
    assert statistics["SUCCESS"] is False


def test_camera_is_read_as_it_was_written() -> None:
    assert Camera.from_dict(CAMERA.to_dict()) == CAMERA
    assert [detector.getName() for detector in CAMERA.detectors] == list(DETECTOR_NAMES)
    assert [one.getName() for one in CAMERA[8]] == list(AMPLIFIER_NAMES)
