# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What earlier runs measured, how it is summed up (a median and a robust spread), and what may be compared."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping

__all__ = ["COUNTS", "DEPTH", "FOLLOWS_DEPTH", "SIGMA_OF_MAD", "Trend", "depth_of", "same_depth", "trend_of"]

SIGMA_OF_MAD = 1.4826
"""Standard deviation of a normal distribution in units of its median absolute deviation."""

DEPTH = ("exposures", "exposure_sum")
"""What is in a combined frame: the number of its exposures, and the sum of the factors by which they were divided. That
is the same number for a bias, the seconds of all darks, and for flats their whole signal."""

FOLLOWS_DEPTH = frozenset({"noise", "dark_rate_noise", "dark_rate_95", "response_noise"})
"""What the noise of a combined frame is part of. It falls with the square root of its depth, down to the pattern that
all exposures share, so that no factor makes frames of different depths alike."""

COUNTS = frozenset({*DEPTH, "gain_pairs", "noise_pairs"})
"""What only says how much somebody wanted to be taken, and has no trend."""

SAME_DEPTH = 0.05
"""Relative difference up to which two depths are the same: the noise then differs by half of that."""


@dataclasses.dataclass(frozen=True)
class Trend:
    """The values of a quantity in several runs, of one amplifier or detector.

    Parameters
    ----------
    runs
        Number of runs with a value.
    median, spread
        Median and robust standard deviation (1.4826 times the median absolute deviation); NaN without a value.
    latest
        The value of the latest run; NaN without a value.
    unit
        Of all of them.
    """

    runs: int
    median: float
    spread: float
    latest: float
    unit: str


def trend_of(values: Iterable[float], unit: str) -> Trend:
    """Sum up the values of some runs.

    Parameters
    ----------
    values
        The latest first. Those that were not measured (NaN) are left out.
    unit
        Their unit.
    """
    known = [one for one in values if math.isfinite(one)]
    if not known:
        return Trend(0, math.nan, math.nan, math.nan, unit)
    median = statistics.median(known)
    spread = SIGMA_OF_MAD * statistics.median(abs(one - median) for one in known)
    return Trend(len(known), median, spread, known[0], unit)


def depth_of(values: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return the depth of a combined frame from the quantities of its detector, by quantity; empty: not known."""
    return {quantity: value for quantity, value in values if quantity in DEPTH}


def same_depth(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Return whether two frames are made of as much; what has no depth at all, such as a curve, always is."""
    return one.keys() == other.keys() and all(
        math.isclose(one[quantity], other[quantity], rel_tol=SAME_DEPTH) for quantity in one
    )
