# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What frames have in common: the noise that a product made of them leaves, and the median of the others."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.verification.arrays import median_of_others, noise_left

variances = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("number", "left"), [(1, 0.0), (2, math.sqrt(0.5)), (3, math.sqrt(2 / 3)), (20, math.sqrt(0.95))]
)
def test_frames_alike(number: int, left: float) -> None:
    assert list(noise_left([7.0] * number)) == pytest.approx([left] * number, abs=1e-7)


@pytest.mark.parametrize("index", [0, 5])
def test_it_is_what_a_plain_mean_leaves(index: int) -> None:
    """Measured with random numbers: the darkest and the brightest of some flats, divided by their mean."""
    levels = np.array([2_000, 5_000, 9_000, 12_000, 15_000, 20_000])
    rng = np.random.default_rng(1)
    relative = rng.normal(0, 1 / np.sqrt(levels)[:, np.newaxis], (6, 200_000))
    plain = np.std(relative[index] - relative.mean(axis=0)) * math.sqrt(levels[index])
    weighted = np.std(relative[index] - np.average(relative, axis=0, weights=levels)) * math.sqrt(levels[index])
    assert noise_left(list(1 / levels))[index] == pytest.approx(min(plain, weighted), rel=0.02)


@given(variances)
def test_it_is_a_part_of_the_noise_whatever_the_frames_are_like(variances: list[float]) -> None:
    left = noise_left(variances)
    assert len(left) == len(variances)
    assert all(0 <= one <= 1 for one in left)


@given(st.lists(st.sampled_from([0.0, -1.0, math.nan]), min_size=1, max_size=3))
def test_without_a_variance_nothing_is_expected(variances: list[float]) -> None:
    assert noise_left(variances).tolist() == [0.0] * len(variances)


@pytest.mark.parametrize(
    ("values", "others"),
    [
        ([1.0, 5.0], [5.0, 1.0]),
        ([1.0, 1.0, 5.0], [1.0, 1.0, 1.0]),
        ([5.0, 1.0, 5.0, 1.0], [1.0, 5.0, 1.0, 5.0]),
        ([3.0, 1.0, 2.0], [2.0, 2.0, 2.0]),
        ([4.0, 4.0, 4.0, 4.0, 9.0], [4.0] * 5),
    ],
)
def test_each_is_compared_with_the_others_and_not_with_itself(values: list[float], others: list[float]) -> None:
    assert median_of_others(values).tolist() == others


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12))
def test_it_is_a_median_of_the_others(values: list[float]) -> None:
    for index, found in enumerate(median_of_others(values)):
        others = sorted(values[:index] + values[index + 1 :])
        low, high = others[(len(others) - 1) // 2], others[len(others) // 2]
        assert low <= found <= high
        assert found == values[index] or found in (low, high)
