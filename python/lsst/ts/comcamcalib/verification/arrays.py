# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Types of arrays, and medians and noises along their first axis, which is that of the exposures; NaN: no value."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Booleans", "Floats", "Results", "median", "median_of_others", "noise_left"]

Booleans = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Results = npt.NDArray[np.int8]


def median(values: npt.ArrayLike, axis: int = 0) -> Floats:
    """Return the medians along an axis without the values that are NaN; NaN if there are no others.

    numpy's own function for that takes ten times as long.
    """
    array = np.moveaxis(np.asarray(values, np.float64), axis, 0)
    if array.shape[0] == 0:
        return np.full(array.shape[1:], np.nan)
    ordered = np.sort(array, axis=0)
    count = (~np.isnan(ordered)).sum(axis=0)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0)[None] // 2, axis=0)[0]
    high = np.take_along_axis(ordered, np.minimum(count // 2, array.shape[0] - 1)[None], axis=0)[0]
    return np.where(count > 0, (low + high) / 2, np.nan)


def noise_left(variances: npt.ArrayLike) -> Floats:
    """Return the fraction of each frame's noise that is left after a product made from all of them was subtracted.

    With N frames of relative variance v in a plain mean, what is left of the variance of frame i is
    ``(1 - 2/N) v_i + sum(v) / N**2``; in a mean weighted with the inverse variance it is ``v_i - 1 / sum(1/v)``. It
    is not known here which of the two the pipeline uses, so the smaller one is returned.

    Parameters
    ----------
    variances
        Of all frames, in any common unit.

    Returns
    -------
    left
        Factors of the standard deviations, 0 to 1: 0 for a single frame, 0.71 for two alike; 0 if a variance is none.
    """
    own = np.asarray(variances, np.float64)
    there = ~np.isnan(own)
    usable = there & (own > 0)
    number = there.sum(axis=0)
    with np.errstate(all="ignore"):
        total = np.where(there, own, 0.0).sum(axis=0)
        weights = np.where(usable, 1 / own, 0.0).sum(axis=0)
        plain = 1 - 2 / number + total / own / number**2
        weighted = 1 - 1 / own / weights
        left = np.sqrt(np.maximum(np.minimum(plain, weighted), 0.0))
    return np.where((usable == there).all(axis=0) & usable, left, 0.0)


def median_of_others(values: npt.ArrayLike) -> Floats:
    """Return for each value the median of all others; if that is between two of them, the point nearest to the value.

    With the median of all, a value would be compared with itself, too: of two frames, or of two halves of a set, each
    would seem to be off by half of the difference only. A single value is returned as it is.
    """
    array = np.asarray(values, np.float64)
    order = np.argsort(array, axis=0, kind="stable")  # NaN comes last
    ordered = np.take_along_axis(array, order, axis=0)
    rank = np.argsort(order, axis=0, kind="stable")
    number = (~np.isnan(array)).sum(axis=0)
    last = max(len(array) - 1, 0)
    low, high = (number - 2) // 2, (number - 1) // 2  # among the others, of which there is one less
    least = np.take_along_axis(ordered, np.clip(low + (rank <= low), 0, last), axis=0)
    most = np.take_along_axis(ordered, np.clip(high + (rank <= high), 0, last), axis=0)
    return np.where(number > 1, np.minimum(np.maximum(array, least), most), array)
