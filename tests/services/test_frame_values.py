# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Level, noise and changed pixels of a combined frame, of each amplifier alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.butler_data import ProductValue
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.services.frame_values import changed_fractions, frame_values, regions

ROWS = [["A", "B"], ["C", "D"]]
SHAPE = (200, 300)
PLACES = regions(SHAPE, ROWS)


def noisy(sigma: float, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, sigma, SHAPE).astype(np.float32)


def by_name(values, quantity: str) -> dict[str, float]:
    return {one.amplifier: one.value for one in values if one.quantity == quantity}


def test_rows_of_amplifiers_are_counted_from_below() -> None:
    image = np.zeros((4, 6))
    image[0, 0], image[0, 5], image[3, 0], image[3, 5] = 1, 2, 3, 4
    places = regions(image.shape, ROWS)
    assert [image[places[name]].max() for name in "ABCD"] == [1, 2, 3, 4]


def test_detector_of_unknown_layout_is_measured_as_a_whole() -> None:
    places = regions(SHAPE, [])
    assert places == {"": (slice(0, 200), slice(0, 300))}
    (level, _) = frame_values(CalibType.BIAS, noisy(1.0), places)
    assert level.amplifier == ""


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (5, 5)])
def test_amplifiers_that_do_not_fill_the_image_are_refused_with_a_sentence(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"image of {shape[0]} x {shape[1]} pixels can't be divided into 2 rows of 2"):
        regions(shape, ROWS)


@given(st.integers(1, 5), st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(1, 4))
def test_every_pixel_belongs_to_one_amplifier(high: int, sizes: list[int], wide: int) -> None:
    rows = [[f"{number}-{column}" for column in range(size)] for number, size in enumerate(sizes)]
    count = np.zeros((high * len(rows), wide * math.lcm(*sizes)), int)
    for place in regions(count.shape, rows).values():
        count[place] += 1
    assert (count == 1).all()


def test_level_and_noise_are_those_of_the_amplifier_and_hot_pixels_do_not_move_them() -> None:
    image = noisy(2.0)
    image[PLACES["C"]] += 7.0
    image[PLACES["D"]] *= 3.0
    image[::20, ::20] = 60_000.0
    levels = by_name(frame_values(CalibType.BIAS, image, PLACES), "level")
    noises = by_name(frame_values(CalibType.BIAS, image, PLACES), "noise")
    assert levels == pytest.approx({"A": 0.0, "B": 0.0, "C": 7.0, "D": 0.0}, abs=0.1)
    assert noises == pytest.approx({"A": 2.0, "B": 2.0, "C": 2.0, "D": 6.0}, rel=0.03)


def test_structure_of_a_frame_is_no_noise() -> None:
    slope = noisy(2.0) + np.linspace(0, 500, SHAPE[0])[:, np.newaxis].astype(np.float32)
    assert by_name(frame_values(CalibType.BIAS, slope, PLACES), "noise")["A"] == pytest.approx(2.0, rel=0.03)


@pytest.mark.parametrize(
    ("calib_type", "expected"),
    [
        (CalibType.BIAS, {"level": "electron", "noise": "electron"}),
        (
            CalibType.DARK,
            {
                "dark_rate": "electron/second",
                "dark_rate_noise": "electron/second",
                "dark_rate_95": "electron/second",
            },
        ),
        (CalibType.FLAT, {"response": "", "response_noise": ""}),
    ],
)
def test_each_type_has_its_own_quantities_with_units(calib_type: CalibType, expected: dict[str, str]) -> None:
    values = list(frame_values(calib_type, noisy(1.0), PLACES))
    assert {one.quantity: one.unit for one in values} == expected
    assert {one.amplifier for one in values} == set("ABCD")


def test_high_percentile_of_a_dark_is_above_its_median() -> None:
    values = list(frame_values(CalibType.DARK, noisy(1.0), PLACES))
    assert by_name(values, "dark_rate_95")["A"] == pytest.approx(1.645, rel=0.05)


def test_amplifier_without_a_finite_pixel_is_not_measured() -> None:
    image = noisy(1.0)
    image[PLACES["B"]] = np.nan
    for one in frame_values(CalibType.DARK, image, PLACES):
        assert math.isnan(one.value) == (one.amplifier == "B")
    assert math.isnan(by_name(changed_fractions(image, image, PLACES), "changed_fraction")["B"])


def test_same_structure_with_other_noise_has_not_changed() -> None:
    structure = np.random.default_rng(5).normal(0.0, 50.0, SHAPE)
    fractions = by_name(
        changed_fractions(structure + noisy(2.0), structure + noisy(3.0, 2) + 4.0, PLACES), "changed_fraction"
    )
    assert fractions == dict.fromkeys("ABCD", 0.0)


def test_new_hot_column_has_changed_in_its_amplifier_only() -> None:
    image = noisy(2.0)
    image[0:100, 10] += 100.0
    fractions = by_name(changed_fractions(image, noisy(2.0, 2), PLACES), "changed_fraction")
    assert fractions == pytest.approx({"A": 1 / 150, "B": 0.0, "C": 0.0, "D": 0.0})


def test_pixel_that_lost_its_value_has_changed() -> None:
    image = noisy(2.0)
    image[0, 0] = np.nan
    assert by_name(changed_fractions(image, noisy(2.0, 2), PLACES), "changed_fraction")["A"] == 1 / 15_000


def test_frames_that_are_the_same_have_not_changed() -> None:
    image = noisy(2.0)
    values = list(changed_fractions(image, image, PLACES))
    assert values == [ProductValue(name, "changed_fraction", 0.0, "") for name in "ABCD"]
