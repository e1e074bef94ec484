# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Defects of combined images, and how they are merged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lsst.ts.comcamcalib.simulation.containers import Defects
from lsst.ts.comcamcalib.simulation.tasks.defects import MeasureDefectsCombinedTask, MergeDefectsCombinedTask


def measure(exposure: Any, **options: Any) -> set[tuple[int, int]]:
    """Return (x, y) of the bad pixels."""
    config = MeasureDefectsCombinedTask.ConfigClass()
    config.update(**{"thresholdType": "VALUE", **options})
    defects = MeasureDefectsCombinedTask(config=config).run(exposure).outputDefects
    rows, columns = np.nonzero(defects.to_mask(exposure.image.array.shape))
    return set(zip(columns.tolist(), rows.tolist(), strict=True))


def test_dark_has_pixels_that_are_too_bright(make_handle: Any) -> None:
    dark = make_handle(1, level=0.1, noise=0.5, OBSTYPE="dark").exposure
    dark.image.array[3, 7] = 8.0
    dark.image.array[20, 1] = -8.0
    assert measure(dark, darkCurrentThreshold=3.0) == {(7, 3)}


def test_flat_has_pixels_that_are_too_dark(make_handle: Any) -> None:
    flat = make_handle(1, level=1.0, noise=0.01, OBSTYPE="flat").exposure
    flat.image.array[3, 7] = 0.5
    flat.image.array[20, 1] = 1.5
    assert measure(flat, fracThresholdFlat=0.9) == {(7, 3)}


def test_limits_are_relative_to_the_amplifiers_own_level(make_handle: Any, layout: Any) -> None:
    flat = make_handle(1, level=1.0, noise=0.01, OBSTYPE="flat").exposure
    flat.image.array[layout.image_section("C05")] *= 0.5
    assert measure(flat) == set()


def test_a_pixel_without_value_is_a_defect(make_handle: Any) -> None:
    bias = make_handle(1, OBSTYPE="bias").exposure
    bias.image.array[0, 0] = np.nan
    assert measure(bias) == {(0, 0)}


def test_noise_is_the_measure_if_it_is_asked_for(make_handle: Any) -> None:
    dark = make_handle(1, level=0.0, noise=0.1, OBSTYPE="dark").exposure
    dark.image.array[3, 7] = 1.5
    assert measure(dark) == set()
    assert measure(dark, thresholdType="STDEV", nSigmaBright=8.0, nSigmaDark=-8.0) == {(7, 3)}


@pytest.mark.parametrize(("mode", "expected"), [("OR", {0, 1, 2, 3}), ("AND", {3}), ("FRACTION", {2, 3})])
def test_merged_defects_are_those_that_enough_images_have(mode: str, expected: set[int]) -> None:
    bias, dark, flat = ([0, 3], [1, 2, 3], [2, 3])
    config = MergeDefectsCombinedTask.ConfigClass()
    config.update(combinationMode=mode, combinationFraction=0.5)

    def defects(columns: list[int]) -> Defects:
        mask = np.zeros((1, 5), bool)
        mask[0, columns] = True
        return Defects.from_mask(mask)

    merged = MergeDefectsCombinedTask(config=config).run(defects(bias), defects(dark), [defects(flat)]).mergedDefects
    assert set(np.nonzero(merged.to_mask((1, 5)))[1].tolist()) == expected


def test_a_perfect_detector_has_no_defects() -> None:
    config = MergeDefectsCombinedTask.ConfigClass()
    merged = MergeDefectsCombinedTask(config=config).run(Defects(), Defects(), [Defects()]).mergedDefects
    assert len(merged) == 0
