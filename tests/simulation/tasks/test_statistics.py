# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clipped statistics, and what is a cosmic ray."""

from __future__ import annotations

import math

import numpy as np
import pytest
from lsst.ts.comcamcalib.simulation.tasks.statistics import clip_statistics, find_cosmic_rays


def test_bright_pixels_and_nan_do_not_move_the_statistics() -> None:
    values = np.random.default_rng(1).normal(100.0, 5.0, 10_000)
    values[:50] = 1e6
    values[50:60] = np.nan
    statistics = clip_statistics(values)
    assert statistics.mean == pytest.approx(100, abs=0.3)
    assert statistics.stdev == pytest.approx(5, rel=0.03)
    assert statistics.number == 9940


@pytest.mark.parametrize("values", [[], [1.0], [math.nan, math.nan, 3.0]])
def test_too_few_values_give_nan_and_not_zero(values: list[float]) -> None:
    statistics = clip_statistics(np.array(values))
    assert math.isnan(statistics.mean) and math.isnan(statistics.stdev)


def test_equal_values_have_no_spread() -> None:
    statistics = clip_statistics(np.full(100, 3.0))
    assert (statistics.mean, statistics.stdev, statistics.number) == (3.0, 0.0, 100)


def test_a_track_is_a_cosmic_ray_and_a_hot_pixel_is_none() -> None:
    image = np.zeros((20, 20))
    track = [(5, 5), (6, 6), (7, 7)]
    for place in track:
        image[place] = 500.0
    image[15, 3] = 500.0
    found = find_cosmic_rays(image, level=0.0, noise=5.0)
    assert sorted(zip(*np.nonzero(found), strict=True)) == track


def test_growing_takes_the_neighbours_along() -> None:
    image = np.zeros((9, 9))
    image[4, 4:6] = 500.0
    found = find_cosmic_rays(image, level=0.0, noise=5.0, grow=1)
    assert found[3:6, 3:7].all()
    assert found.sum() == 12


def test_a_pixel_without_value_is_no_cosmic_ray() -> None:
    image = np.full((5, 5), np.nan)
    image[2, 2:4] = 500.0
    assert find_cosmic_rays(image, 0.0, 5.0).sum() == 2
