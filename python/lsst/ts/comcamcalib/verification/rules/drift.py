# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rule: a product is as the one that is certified now."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...butler_data import DetectorValues, ProductValue
from ...findings import Finding, Outcome
from ...measurements import FOLLOWS_DEPTH, depth_of, same_depth
from ..measured import MeasuredProduct, by_quantity, detector_value
from .limits import OPTIONAL, beyond, worst_of_each

if TYPE_CHECKING:
    from ...config import DriftLimit

__all__ = ["drift", "drift_by_quantity"]


def drift(product: MeasuredProduct, wanted: Sequence[DriftLimit]) -> list[Finding]:
    """Compare a product with its predecessor; that there is none, or none that can be compared, is told.

    Parameters
    ----------
    product
        The measured product.
    wanted
        The limits of its changes.

    Notes
    -----
    A value that was not measured is UNKNOWN if the verdict needs it: its change may be anything. If only the
    predecessor lacks it, there is nothing to compare with, as if there were no predecessor. That is told, because
    otherwise a broken product could be replaced by no good one. A predecessor that can't be read may be good, so that
    its change is UNKNOWN.

    Only like is compared with like: what the noise of a combined frame is part of, only if both are made of as many
    exposures (`same_depth`). That it was not compared is told if the verdict would have needed it.
    """
    found: list[Finding] = []
    for detector, values in product.values.items() if wanted else ():
        if detector not in product.detectors:
            continue
        if detector not in product.compared_with:
            found.append(Finding("drift", Outcome.NOTED, "", detector, detail="nothing is certified"))
            continue
        if error := product.predecessors_unread.get(detector):
            outcome = Outcome.UNKNOWN if any(one.outcome != "note" for one in wanted) else Outcome.NOTED
            detail = (
                f"what is certified, {product.compared_with[detector]}, could not be read: {error.rstrip('.')}. Repair "
                "its file and resume the run, or accept this verdict to replace it"
            )
            found.append(Finding("drift", outcome, "", detector, detail=detail))
            continue
        if values.not_compared:
            found.append(Finding("drift", Outcome.NOTED, "", detector, detail=values.not_compared))
            continue
        for limit in wanted:
            if unlike := _unlike(values, limit):
                if limit.outcome != "note":
                    found.append(Finding("drift", Outcome.NOTED, limit.quantity, detector, detail=unlike))
                continue
            found += beyond("drift", detector, changes_of(values, limit), limit)
            found += _not_known(detector, values, limit)
    return worst_of_each(found)


def drift_by_quantity(
    values: DetectorValues, wanted: Sequence[DriftLimit], bad_amplifiers: Collection[str] = ()
) -> dict[str, float]:
    """Return the largest change of each quantity of a detector in units of its limit; without what can't be compared.

    It is above 1 if and only if a limit is exceeded. What must be at least its limit gives the inverse ratio while it
    is, and 1 plus the part that is missing if it is not. A limit of 0 has no unit: each step beyond it counts as one
    more. Amplifiers that are known to be bad do not count.
    """
    found: dict[str, float] = {}
    for limit in wanted:
        if _unlike(values, limit):
            continue
        changes = changes_of(values, limit)
        if limit.of == "detector":
            some = [detector_value(changes)]
        else:
            some = [one.value for name, one in changes.items() if name and name not in bad_amplifiers]
        for ratio in (_in_units(one, limit) for one in some if math.isfinite(one)):
            found[limit.quantity] = max(ratio, found.get(limit.quantity, 0.0))
    return found


def _unlike(values: DetectorValues, limit: DriftLimit) -> str:
    """Return why a quantity can't be compared with the predecessor's: it is made of more or less; "" if it can."""
    if limit.quantity not in FOLLOWS_DEPTH or not values.before:
        return ""
    now, before = (depth_of((one.quantity, one.value) for one in some) for some in (values.values, values.before))
    if same_depth(now, before):
        return ""
    made = [f"{one['exposures']:.0f}" if "exposures" in one else "an unknown number" for one in (now, before)]
    quantity = limit.quantity.replace("_", " ")
    return f"{quantity} follows from the exposures: it is made of {made[0]}, the certified one of {made[1]}"


def _in_units(change: float, limit: DriftLimit) -> float:
    """Return a change in units of its limit: above 1 if it is beyond the limit, at most 1 if not."""
    if limit.limit > 0 and change > 0 and limit.must_be == "at most":
        return change / limit.limit
    if limit.exceeded(change):
        return 1 + abs(change - limit.limit) / (abs(limit.limit) or 1.0)
    return limit.limit / change if limit.limit > 0 and change > 0 else 0.0


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


def _not_known(detector: int, values: DetectorValues, limit: DriftLimit) -> Iterator[Finding]:
    """Yield the changes that are no numbers, one for the detector if all its amplifiers lack the same."""
    lacking: dict[tuple[Outcome, str], list[str]] = {}
    places = _values_of(values, limit)
    for name, (now, before) in places.items():
        if why := _why_not_known(now, before, limit):
            lacking.setdefault(why, []).append(name)
    for (outcome, detail), names in lacking.items():
        for name in [""] if len(names) == len(places) > 1 else names:
            yield Finding("drift", outcome, limit.quantity, detector, name, detail=detail)


def _values_of(values: DetectorValues, limit: DriftLimit) -> dict[str, tuple[float, float]]:
    """Return a limit's quantity now and before, by amplifier; what exists in comparison only is before as it is now."""
    if by_comparison := by_quantity(values.changes, limit.quantity):
        return {name: (one.value, one.value) for name, one in by_comparison.items()}
    now, before = by_quantity(values.values, limit.quantity), by_quantity(values.before, limit.quantity)
    names = [name for name in dict.fromkeys([*now, *before]) if name]
    if limit.of == "detector" or not names:
        return {"": (detector_value(now), detector_value(before))}
    return {
        name: (now[name].value if name in now else math.nan, before[name].value if name in before else math.nan)
        for name in names
    }


def _why_not_known(now: float, before: float, limit: DriftLimit) -> tuple[Outcome, str] | None:
    """Return what it means that a change is no number, and why it is none; None if it is one, or nobody misses it."""
    quantity, optional = limit.quantity.replace("_", " "), limit.quantity in OPTIONAL
    if not math.isfinite(now):
        if limit.quantity == "overlap":
            return Outcome.NOTED, "the certified one has no defects"
        if optional and not math.isfinite(before):
            return None
        needed = limit.outcome != "note" and not optional
        return (Outcome.UNKNOWN if needed else Outcome.NOTED), f"{quantity} not measured"
    if not math.isfinite(before):
        return Outcome.NOTED, f"the certified one has no {quantity}"
    if limit.change == "fraction" and now and not before:
        return Outcome.NOTED, f"{quantity} of the certified one is 0"
    return None
