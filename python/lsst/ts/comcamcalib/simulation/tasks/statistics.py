# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Statistics of pixels. NaN marks a pixel that is not to be used, everywhere."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ClippedStatistics", "clip_statistics", "find_cosmic_rays"]

_IQR_TO_SIGMA = 0.741  # standard deviation of a Gaussian, relative to the distance between its quartiles
_COSMIC_RAY_SIGMA = 6.0


@dataclasses.dataclass(frozen=True)
class ClippedStatistics:
    """Mean, standard deviation (n - 1) and number of the values that were not clipped; NaN if there were too few."""

    mean: float
    stdev: float
    number: int


def clip_statistics(values: npt.NDArray[Any], sigma: float = 5.0, iterations: int = 3) -> ClippedStatistics:
    """Return statistics of the values within ``sigma`` standard deviations of the mean.

    Clipping starts from median and quartiles, which a few bright pixels can't move.
    """
    good = np.asarray(values, np.float64).ravel()
    good = good[np.isfinite(good)]
    if good.size < 2:
        return ClippedStatistics(math.nan, math.nan, int(good.size))
    low, centre, high = np.percentile(good, (25, 50, 75))
    spread = _IQR_TO_SIGMA * (high - low)
    if spread == 0:  # more than half of the values are the same
        centre, spread = good.mean(), good.std()
    for _ in range(iterations):
        kept = good[np.abs(good - centre) <= sigma * spread]
        if kept.size < 2:
            break
        number, good = good.size, kept
        centre, spread = good.mean(), good.std(ddof=1)
        if good.size == number:
            break
    return ClippedStatistics(float(good.mean()), float(good.std(ddof=1)), int(good.size))


def find_cosmic_rays(
    array: npt.NDArray[Any], level: npt.NDArray[Any] | float, noise: npt.NDArray[Any] | float, grow: int = 0
) -> npt.NDArray[np.bool_]:
    """Find groups of two or more touching pixels that are far above the level.

    A single bright pixel is a hot pixel: a track of the simulated cosmic rays has at least three.

    Parameters
    ----------
    array
        Image without structure other than the level.
    level, noise
        Level and standard deviation of the pixels, in the image's unit.
    grow
        By how many pixels to widen what was found.

    Returns
    -------
    mask
        True where a cosmic ray is.
    """
    with np.errstate(invalid="ignore"):
        bright = array > level + _COSMIC_RAY_SIGMA * noise
    mask = bright & (_count_neighbours(bright) > 0)
    for _ in range(grow):
        mask |= _count_neighbours(mask) > 0
    return mask


def _count_neighbours(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int8]:
    """Count the True pixels among the eight around each pixel."""
    padded = np.pad(mask, 1).astype(np.int8)
    rows, columns = mask.shape
    count = -mask.astype(np.int8)
    for y in range(3):
        for x in range(3):
            count += padded[y : y + rows, x : x + columns]
    return count
