# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A product as it was measured: what the rules on its values look at."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping

from ..butler_data import DetectorValues, ProductValue
from ..enums import CalibType
from ..measurements import Trend

__all__ = ["MeasuredProduct", "by_quantity", "detector_value"]

Place = tuple[int, str, str]
"""Detector, amplifier ("": the detector as a whole) and quantity."""


@dataclasses.dataclass(frozen=True)
class MeasuredProduct:
    """The values of a product, for flats in one filter, and of what is certified before it.

    Parameters
    ----------
    calib_type, physical_filter
        What it is; the filter is "" for all but flats.
    detectors
        Full names of the detectors that must have been measured, by id.
    amplifiers
        Numbers of amplifiers by detector id.
    values
        What was measured, by detector id.
    unread
        Why a detector could not be measured, a sentence, by detector id.
    predecessors_unread
        Why the predecessor of a detector could not be read, a sentence, by detector id.
    compared_with
        Collection and UUID of the predecessor, by detector id; detectors without one are left out.
    pairs
        Number of pairs of flats from which gains must have been measured; 0 for other products.
    trends
        What earlier runs measured; None: that is not known, and `trends_unread` says why.
    trends_unread
        Why earlier runs are not known; "" if they are, or nobody wants to know.
    """

    calib_type: CalibType
    physical_filter: str
    detectors: Mapping[int, str]
    amplifiers: Mapping[int, int]
    values: Mapping[int, DetectorValues]
    unread: Mapping[int, str] = dataclasses.field(default_factory=dict)
    predecessors_unread: Mapping[int, str] = dataclasses.field(default_factory=dict)
    compared_with: Mapping[int, str] = dataclasses.field(default_factory=dict)
    pairs: int = 0
    trends: Mapping[Place, Trend] | None = None
    trends_unread: str = ""


def by_quantity(values: Iterable[ProductValue], quantity: str) -> dict[str, ProductValue]:
    """Return the values of a quantity by amplifier; that of the detector as a whole has the name ""."""
    return {one.amplifier: one for one in values if one.quantity == quantity}


def detector_value(values: Mapping[str, ProductValue]) -> float:
    """Return a quantity's value of the detector: its own, or else the median over its amplifiers; NaN: none."""
    if "" in values:
        return values[""].value
    known = [one.value for one in values.values() if math.isfinite(one.value)]
    return statistics.median(known) if known else float("nan")
