# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The focal plane gives the images that its truth demands, the same ones each time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from lsst.ts.comcamcalib.simulation.focal_plane import Fault, FocalPlane, Light
from lsst.ts.comcamcalib.simulation.layout import AMPLIFIER_NAMES, DETECTOR_NAMES, DetectorLayout
from lsst.ts.comcamcalib.simulation.recording import Recording

PLANE = FocalPlane(seed=7, amplifier_shape=(64, 32), overscan_columns=16)
EXPOSURE = 2026112200001


def expose(
    plane: FocalPlane, image_type: str, seconds: float, exposure: int = EXPOSURE, detector: int = 4
) -> np.ndarray:
    return plane.expose(image_type, seconds, exposure, "r_03", detector)[0]


def overscan_noise(plane: FocalPlane, array: np.ndarray, amplifier: str) -> float:
    return float(array[plane.layout.overscan_section(amplifier)].std())


def test_same_seed_exposure_and_detector_give_same_pixels() -> None:
    again = FocalPlane(seed=7, amplifier_shape=(64, 32), overscan_columns=16)
    assert np.array_equal(expose(PLANE, "FLAT", 1.0), expose(again, "FLAT", 1.0))


@pytest.mark.parametrize(
    "other",
    [
        expose(PLANE, "FLAT", 1.0, exposure=EXPOSURE + 1),
        expose(PLANE, "FLAT", 1.0, detector=5),
        expose(dataclasses.replace(PLANE, seed=8), "FLAT", 1.0),
    ],
    ids=["exposure", "detector", "seed"],
)
def test_other_exposure_detector_or_seed_give_other_pixels(other: np.ndarray) -> None:
    assert not np.array_equal(expose(PLANE, "FLAT", 1.0), other)


def test_amplifiers_tile_the_raw_image_and_the_assembled_one() -> None:
    layout = DetectorLayout(5, 3, 2)
    raw, image = np.zeros(layout.raw_shape, int), np.zeros(layout.image_shape, int)
    for name in AMPLIFIER_NAMES:
        raw[layout.raw_section(name)] += 1
        raw[layout.overscan_section(name)] += 1
        image[layout.image_section(name)] += 1
    assert (raw == 1).all()
    assert (image == 1).all()


def test_readout_order_is_c10_to_c17_then_back_from_c07() -> None:
    assert AMPLIFIER_NAMES[:2] == ("C10", "C11")
    assert AMPLIFIER_NAMES[7:9] == ("C17", "C07")
    assert AMPLIFIER_NAMES[-1] == "C00"
    assert (DETECTOR_NAMES[0], DETECTOR_NAMES[8]) == ("R22_S00", "R22_S22")


def test_header_says_what_is_needed_to_take_the_raw_image_apart() -> None:
    array, header = PLANE.expose("DARK", 20.0, EXPOSURE, "r_03", 4, dark_time_s=21.5)
    assert DetectorLayout.from_header(header).raw_shape == array.shape
    assert header["IMGTYPE"] == "DARK"
    assert (header["EXPTIME"], header["DARKTIME"]) == (20.0, 21.5)
    assert header["DETNAME"] == "R22_S11"


def test_overscan_has_bias_level_and_read_noise() -> None:
    truth = PLANE.truth(4)
    array = expose(PLANE, "BIAS", 0.0)
    for name in AMPLIFIER_NAMES:
        overscan = array[PLANE.layout.overscan_section(name)]
        assert overscan.mean() == pytest.approx(truth.bias_level[name], abs=10)
        assert overscan.std() * truth.gain[name] == pytest.approx(truth.read_noise[name], rel=0.1)


def test_bias_has_no_light_and_no_dark_current() -> None:
    hot_x, hot_y = PLANE.truth(4).hot_pixels[0]
    name = next(
        name
        for name in AMPLIFIER_NAMES
        if all(s.start <= i < s.stop for s, i in zip(PLANE.layout.image_section(name), (hot_y, hot_x), strict=True))
    )
    section, raw_section = PLANE.layout.image_section(name), PLANE.layout.raw_section(name)
    place = (raw_section[0].start + hot_y - section[0].start, raw_section[1].start + hot_x - section[1].start)
    assert expose(PLANE, "BIAS", 0.0)[place] < PLANE.truth(4).bias_level[name] + 60
    assert expose(PLANE, "DARK", 100.0)[place] > PLANE.truth(4).bias_level[name] + 400


def test_flat_signal_follows_time_gain_and_response() -> None:
    truth = PLANE.truth(4)
    difference = expose(PLANE, "FLAT", 2.0).astype(float) - expose(PLANE, "BIAS", 0.0)
    for name in AMPLIFIER_NAMES:
        electrons = difference[PLANE.layout.raw_section(name)].mean() * truth.gain[name]
        expected = 2.0 * PLANE.flat_rate * truth.response[PLANE.layout.image_section(name)].mean()
        assert electrons == pytest.approx(expected, rel=0.02)  # the lamp itself varies by 0.3 %


def test_no_pixel_holds_more_than_a_full_well() -> None:
    truth = PLANE.truth(4)
    array = expose(PLANE, "FLAT", 100.0).astype(float)
    for name in AMPLIFIER_NAMES:
        level = truth.bias_level[name] + truth.full_well[name] / truth.gain[name]
        assert array[PLANE.layout.raw_section(name)].max() < level + 100
        assert level + 100 < 65_535


def test_cosmic_rays_come_with_time() -> None:
    plane = dataclasses.replace(PLANE, hot_pixels=0, dark_rate=0.0)
    threshold = max(plane.truth(4).bias_level.values()) + 120
    assert not (expose(plane, "BIAS", 0.0) > threshold).any()
    assert (expose(plane, "DARK", 1000.0) > threshold).sum() > 10


@pytest.mark.parametrize("brightness", [0.0, 0.02, 0.95])
def test_flat_signal_follows_the_lamp(brightness: float) -> None:
    plane = dataclasses.replace(PLANE, light=Light(lamp=brightness))
    bias = expose(PLANE, "BIAS", 0.0)
    for name in AMPLIFIER_NAMES:
        section = PLANE.layout.raw_section(name)
        normal = (expose(PLANE, "FLAT", 2.0)[section].astype(float) - bias[section]).mean()
        signal = (expose(plane, "FLAT", 2.0)[section].astype(float) - bias[section]).mean()
        # The levels drift by some adu from exposure to exposure, dark current adds a fraction of one.
        assert signal == pytest.approx(brightness * normal, abs=15)


def test_flat_of_a_lamp_that_is_too_bright_is_a_full_well_everywhere() -> None:
    plane = dataclasses.replace(PLANE, light=Light(lamp=100.0), low_pixels=0)
    truth = plane.truth(4)
    array = expose(plane, "FLAT", 0.1).astype(float)
    for name in AMPLIFIER_NAMES:
        level = array[plane.layout.raw_section(name)].mean() - array[plane.layout.overscan_section(name)].mean()
        assert level * truth.gain[name] == pytest.approx(truth.full_well[name], rel=0.001)


def test_light_leak_gives_every_pixel_charge_but_not_the_overscan() -> None:
    leaky = dataclasses.replace(PLANE, light=Light(leak_electrons=2000.0))
    truth, bias, array = PLANE.truth(4), expose(PLANE, "BIAS", 0.0), expose(leaky, "BIAS", 0.0)
    for name in AMPLIFIER_NAMES:
        image, overscan = PLANE.layout.raw_section(name), PLANE.layout.overscan_section(name)
        leak = (array[image].astype(float).mean() - bias[image].mean()) * truth.gain[name]
        assert leak == pytest.approx(2000, rel=0.1)  # it comes from one side
        assert array[overscan].mean() == pytest.approx(bias[overscan].mean(), abs=10)


def test_light_does_not_change_the_truth() -> None:
    assert dataclasses.replace(PLANE, light=Light(0.0, 2000.0)).truth(4) is PLANE.truth(4)


def test_fault_multiplies_the_noise_of_its_amplifiers_in_its_image_types_only() -> None:
    faulty = dataclasses.replace(PLANE, faults=(Fault(4, 2.0, amplifiers=("C03",), image_types=("BIAS",)),))
    bias, good_bias = expose(faulty, "BIAS", 0.0), expose(PLANE, "BIAS", 0.0)
    ratio = overscan_noise(faulty, bias, "C03") / overscan_noise(PLANE, good_bias, "C03")
    assert ratio == pytest.approx(2.0, rel=0.02)
    assert overscan_noise(faulty, bias, "C04") == overscan_noise(PLANE, good_bias, "C04")
    assert np.array_equal(expose(faulty, "DARK", 1.0), expose(PLANE, "DARK", 1.0))
    assert np.array_equal(expose(faulty, "BIAS", 0.0, detector=5), expose(PLANE, "BIAS", 0.0, detector=5))


def test_a_fault_does_not_change_the_truth() -> None:
    faulty = dataclasses.replace(PLANE, faults=(Fault(4, 2.0),))
    assert faulty.truth(4) is PLANE.truth(4)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("OBJECT", 1.0, EXPOSURE, "r_03", 4), "image type 'OBJECT'"),
        (("FLAT", 1.0, EXPOSURE, "r_99", 4), "no filter 'r_99'"),
        (("FLAT", 1.0, EXPOSURE, "r_03", 9), "no detector 9"),
    ],
)
def test_what_the_camera_does_not_have_is_refused(arguments: tuple[str, float, int, str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        PLANE.expose(*arguments)


def test_amplifiers_of_another_size_are_the_same() -> None:
    small, default = FocalPlane(seed=7, amplifier_shape=(8, 8)).truth(4), FocalPlane(seed=7).truth(4)
    assert (small.gain, small.read_noise, small.full_well) == (default.gain, default.read_noise, default.full_well)
    assert small.gain != FocalPlane(seed=8, amplifier_shape=(8, 8)).truth(4).gain


def test_recorded_gains_are_those_of_the_default_focal_plane() -> None:
    for dataset in Recording.load("cpPtc").datasets:
        if dataset.dataset_type == "ptc":
            truth = FocalPlane().truth(int(dataset.data_id["detector"]))
            assert dataset.content["gain"] == pytest.approx(truth.gain, rel=0.03)


def test_dead_detector_has_neither_signal_nor_noise() -> None:
    plane = dataclasses.replace(PLANE, faults=(Fault(4, is_dead=True),))
    for image_type, seconds in (("BIAS", 0.0), ("DARK", 30.0), ("FLAT", 5.0)):
        array = expose(plane, image_type, seconds)
        for name in AMPLIFIER_NAMES:
            assert len(np.unique(array[plane.layout.segment_section(name)])) == 1
        assert np.array_equal(
            expose(plane, image_type, seconds, detector=5), expose(PLANE, image_type, seconds, detector=5)
        )


def test_gain_that_has_drifted_scales_the_light_in_adu() -> None:
    plane = dataclasses.replace(PLANE, faults=(Fault(4, gain_factor=1.06),))
    for name in AMPLIFIER_NAMES:
        signals = []
        for one in (PLANE, plane):
            array = expose(one, "FLAT", 2.0).astype(float)
            signals.append(
                np.median(array[one.layout.raw_section(name)]) - np.median(array[one.layout.overscan_section(name)])
            )
        assert signals[0] / signals[1] == pytest.approx(1.06, rel=2e-3)
    assert plane.truth(4) is PLANE.truth(4), "the truth is what was certified"


def test_hot_column_shows_in_its_amplifiers_darks_only() -> None:
    plane = dataclasses.replace(PLANE, faults=(Fault(4, amplifiers=("C12",), hot_column_rate=40.0),))
    layout = plane.layout
    change = expose(plane, "DARK", 20.0).astype(float) - expose(PLANE, "DARK", 20.0)
    column = change[layout.raw_section("C12")].mean(axis=0)
    hot = np.flatnonzero(column > 100)
    assert hot.tolist() == [layout.amplifier_columns // 3]
    assert column[hot[0]] == pytest.approx(800 / PLANE.truth(4).gain["C12"], rel=0.1)
    assert np.array_equal(expose(plane, "BIAS", 0.0), expose(PLANE, "BIAS", 0.0))


def test_all_readouts_of_an_exposure_pick_up_the_wave() -> None:
    plane = dataclasses.replace(PLANE, pickup_electrons=40.0)
    for detector in (0, 8):
        truth = PLANE.truth(detector)
        array = expose(plane, "BIAS", 0.0, detector=detector)
        for name in AMPLIFIER_NAMES:
            noise = overscan_noise(plane, array, name) * truth.gain[name]
            assert noise == pytest.approx(np.hypot(40.0, truth.read_noise[name]), rel=0.1)
