# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rule: a product is as the one that is certified now."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...butler_data import DetectorValues, ProductValue
from ...findings import Finding, Outcome
from ..measured import MeasuredProduct, by_quantity, detector_value
from .limits import beyond, worst_of_each

if TYPE_CHECKING:
    from ...config import DriftLimit

__all__ = ["drift", "largest_drift"]


def drift(product: MeasuredProduct, wanted: Sequence[DriftLimit]) -> list[Finding]:
    """Compare a product with its predecessor; that there is none, or none that can be compared, is told.

    Parameters
    ----------
    product
        The measured product.
    wanted
        The limits of its changes.
    """
    found: list[Finding] = []
    for detector, values in product.values.items() if wanted else ():
        if detector not in product.detectors:
            continue
        if detector not in product.compared_with:
            found.append(Finding("drift", Outcome.NOTED, "", detector, detail="nothing is certified"))
        elif values.not_compared:
            found.append(Finding("drift", Outcome.NOTED, "", detector, detail=values.not_compared))
        for limit in wanted:
            found += beyond("drift", detector, changes_of(values, limit), limit)
    return worst_of_each(found)


def largest_drift(values: DetectorValues, wanted: Sequence[DriftLimit]) -> float:
    """Return the largest change of a detector in units of its limit; NaN if nothing could be compared."""
    ratios = []
    for limit in wanted:
        changes = changes_of(values, limit)
        if limit.of == "detector":
            some = [detector_value(changes)]
        else:
            some = [one.value for name, one in changes.items() if name]
        if limit.must_be == "at most" and limit.limit > 0:
            ratios += [abs(one) / limit.limit for one in some if math.isfinite(one)]
    return max(ratios, default=math.nan)


def changes_of(values: DetectorValues, limit: DriftLimit) -> Mapping[str, ProductValue]:
    """Return the changes of a limit's quantity by amplifier; if the limit is of the detector, that of the medians."""
    if by_comparison := by_quantity(values.changes, limit.quantity):
        return by_comparison
    now, before = by_quantity(values.values, limit.quantity), by_quantity(values.before, limit.quantity)
    if limit.of == "detector" and now and before:
        whole = ProductValue("", limit.quantity, detector_value(now), next(iter(now.values())).unit)
        earlier = ProductValue("", limit.quantity, detector_value(before), whole.unit)
        return {"": _change(whole, earlier, limit)}
    return {name: _change(one, before[name], limit) for name, one in now.items() if name in before}


def _change(now: ProductValue, before: ProductValue, limit: DriftLimit) -> ProductValue:
    change = abs(now.value - before.value)
    if limit.change == "absolute":
        return ProductValue(now.amplifier, now.quantity, change, now.unit)
    # A fraction of nothing is no number.
    fraction = change / abs(before.value) if before.value else math.nan
    return ProductValue(now.amplifier, now.quantity, fraction, "")
