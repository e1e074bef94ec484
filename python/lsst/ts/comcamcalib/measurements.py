# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What earlier runs measured, and how it is summed up: a median and a robust spread."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable

__all__ = ["SIGMA_OF_MAD", "Trend", "trend_of"]

SIGMA_OF_MAD = 1.4826
"""Standard deviation of a normal distribution in units of its median absolute deviation."""


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
