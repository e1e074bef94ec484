# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Masters from exposures, the brightness of flats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lsst.ts.comcamcalib.simulation.layout import AMPLIFIER_NAMES
from lsst.ts.comcamcalib.simulation.tasks.combine import CalibCombineConfig, CalibCombineTask
from lsst.ts.comcamcalib.simulation.tasks.flat import CpFlatNormalizationTask


def combine(handles: list[Any], scales: Any = None, **options: Any) -> Any:
    config = CalibCombineConfig()
    config.update(calibrationType="bias", **options)
    return CalibCombineTask(config=config).run(handles, scales).outputData


def statistics(mean: float) -> dict[str, Any]:
    return {"DETECTOR_MEAN": mean, "AMPLIFIER_MEAN": dict.fromkeys(AMPLIFIER_NAMES, mean)}


def brightness(inputs: dict[tuple[int, int], Any]) -> dict[int, float]:
    scales = CpFlatNormalizationTask(config=CpFlatNormalizationTask.ConfigClass()).run(inputs).outputScales["expScale"]
    return {exposure: next(iter(detectors.values()))["C10"] for exposure, detectors in scales.items()}


@pytest.mark.parametrize("number", [2, 3, 6])
def test_a_cosmic_ray_in_one_exposure_is_not_in_the_master(make_handle: Any, number: int) -> None:
    handles = [make_handle(exposure) for exposure in range(number)]
    handles[1].exposure.image.array[3, 4] = 900.0
    assert abs(combine(handles).image.array[3, 4]) < 20


def test_noise_goes_down_with_the_number_of_exposures(make_handle: Any) -> None:
    master = combine([make_handle(exposure) for exposure in range(9)])
    assert master.image.array.std() == pytest.approx(5 / 3, rel=0.05)
    assert master.metadata["NCOMB"] == 9
    assert [master.metadata[f"CPP_INPUT_{index}"] for index in range(9)] == list(range(9))


def test_darks_of_unequal_time_give_the_rate_with_least_noise(make_handle: Any) -> None:
    times = [5, 5, 5, 10, 15, 20]
    handles = [make_handle(exposure, level=0.5 * time, seconds=time) for exposure, time in enumerate(times)]
    master = combine(handles, exposureScaling="DarkTime").image.array
    assert master.mean() == pytest.approx(0.5, abs=0.02)
    assert master.std() == pytest.approx(5 / np.sqrt(np.sum(np.square(times))), rel=0.1)


def test_a_hot_pixel_stays_in_the_dark(make_handle: Any) -> None:
    handles = [make_handle(exposure, seconds=10.0) for exposure in range(5)]
    for handle in handles:
        handle.exposure.image.array[8, 8] = 300.0
    assert combine(handles, exposureScaling="DarkTime").image.array[8, 8] == pytest.approx(30.0)


def test_a_pixel_bad_in_all_exposures_is_bad_in_the_master(make_handle: Any) -> None:
    handles = [make_handle(exposure) for exposure in range(3)]
    for handle in handles:
        handle.exposure.image.array[0, 0] = np.nan
    handles[0].exposure.image.array[0, 1] = np.nan
    for combination in ("MEANCLIP", "MEAN", "MEDIAN"):
        master = combine(handles, combine=combination).image.array
        assert np.isnan(master[0, 0])
        assert np.isfinite(master[0, 1])


def test_a_dark_without_time_is_refused_with_its_name(make_handle: Any) -> None:
    with pytest.raises(ValueError, match=r"exposure 7 can't be scaled by its DarkTime"):
        combine([make_handle(7, seconds=0.0)], exposureScaling="DarkTime")


def test_master_names_the_calibrations_that_all_exposures_share(make_handle: Any) -> None:
    handles = [
        make_handle(exposure, **{"LSST CALIB RUN BIAS": "u/ocps/1/run", "LSST CALIB RUN PTC": f"run{exposure}"})
        for exposure in range(2)
    ]
    metadata = combine(handles).metadata
    assert metadata["LSST CALIB RUN BIAS"] == "u/ocps/1/run"
    assert "LSST CALIB RUN PTC" not in metadata


def test_flat_keeps_the_ratio_of_its_amplifiers_unless_each_is_scaled(make_handle: Any, layout: Any) -> None:
    handles = [make_handle(1, level=1000.0), make_handle(2, level=2000.0)]
    for handle in handles:
        handle.exposure.image.array[layout.image_section("C03")] *= 1.1
    for level, expected in (("DETECTOR", 1.1), ("AMP", 1.0)):
        factors = {
            exposure: {0: {name: signal * (1.1 if level == "AMP" and name == "C03" else 1) for name in AMPLIFIER_NAMES}}
            for exposure, signal in ((1, 1000.0), (2, 2000.0))
        }
        flat = combine(handles, {"expScale": factors}, exposureScaling="InputList", scalingLevel=level).image.array
        assert flat[layout.image_section("C03")].mean() == pytest.approx(expected, rel=2e-3)


def test_brightness_of_exposures_is_solved_apart_from_sensitivity_of_detectors() -> None:
    sensitivity, lamp = {0: 0.9, 1: 1.0, 2: 1.1}, {11: 1000.0, 12: 3000.0}
    solved = brightness({(e, d): statistics(lamp[e] * sensitivity[d]) for e in lamp for d in sensitivity})
    assert solved == pytest.approx(lamp, rel=1e-3)


def test_brightness_is_right_although_an_exposure_lacks_a_detector() -> None:
    sensitivity, lamp = {0: 0.8, 1: 1.0, 2: 1.2}, {11: 1000.0, 12: 3000.0, 13: 2000.0}
    inputs = {(e, d): statistics(lamp[e] * sensitivity[d]) for e in lamp for d in sensitivity}
    del inputs[12, 2]
    assert brightness(inputs) == pytest.approx(lamp, rel=5e-3)
