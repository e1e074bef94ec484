# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rule: a value does not stand out from those of earlier runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ...findings import Finding, Outcome
from ...measurements import COUNTS, FOLLOWS_DEPTH, Trend
from ..measured import MeasuredProduct
from .limits import OPTIONAL, OUTCOMES

if TYPE_CHECKING:
    from ...config import TrendLimits

__all__ = ["trend"]


def trend(product: MeasuredProduct, wanted: TrendLimits | None) -> list[Finding]:
    """Compare values with the median and the spread of earlier runs; too few runs are told once.

    Parameters
    ----------
    product
        The measured product, with its trends.
    wanted
        What stands out; None: that is not looked at.

    Notes
    -----
    Only like is compared with like: in the trend of what the noise of a combined frame is part of (`FOLLOWS_DEPTH`),
    there are only runs of which the product is made of as many exposures. If these are too few, that is told once.
    How many exposures were taken is no trend at all.
    """
    if wanted is None:
        return []
    if product.trends is None:
        return [Finding("trend", Outcome.NOTED, "", detail=product.trends_unread or "earlier runs are not known")]
    found: list[Finding] = []
    runs = max((one.runs for one in product.trends.values()), default=0)
    if runs < wanted.min_runs:
        detail = f"{runs} of at least {wanted.min_runs} earlier runs have values"
        limit = float(wanted.min_runs)
        return [Finding("trend", Outcome.NOTED, "", value=float(runs), limit=limit, unit="runs", detail=detail)]
    found += _too_few_alike(product.trends, wanted)
    for detector in product.detectors:
        for one in product.values[detector].values if detector in product.values else ():
            past = product.trends.get((detector, one.amplifier, one.quantity)) if one.quantity not in COUNTS else None
            if past is None or past.runs < wanted.min_runs or past.unit != one.unit:
                continue
            if not math.isfinite(one.value):
                if wanted.outcome != "note" and one.quantity not in OPTIONAL:
                    place = one.quantity, detector, one.amplifier
                    detail = f"{one.quantity.replace('_', ' ')} not measured"
                    found.append(Finding("trend", Outcome.UNKNOWN, *place, detail=detail))
                continue
            room = max(wanted.spreads * past.spread, wanted.least_fraction * abs(past.median))
            if abs(one.value - past.median) > room:
                limit = past.median + (room if one.value > past.median else -room)
                found.append(
                    Finding(
                        *("trend", OUTCOMES[wanted.outcome], one.quantity, detector, one.amplifier),
                        value=one.value,
                        limit=limit,
                        unit=one.unit,
                    )
                )
    return found


def _too_few_alike(trends: Mapping[tuple[int, str, str], Trend], wanted: TrendLimits) -> Iterator[Finding]:
    """Tell for which quantities too few runs have a product of as many exposures."""
    for quantity in sorted(FOLLOWS_DEPTH & {quantity for _, _, quantity in trends}):
        runs = max(one.runs for (_, _, name), one in trends.items() if name == quantity)
        if runs < wanted.min_runs:
            detail = (
                f"{quantity.replace('_', ' ')}: {runs} of at least {wanted.min_runs} earlier runs with as many "
                "exposures have values"
            )
            limit = float(wanted.min_runs)
            yield Finding("trend", Outcome.NOTED, "", value=float(runs), limit=limit, unit="runs", detail=detail)
