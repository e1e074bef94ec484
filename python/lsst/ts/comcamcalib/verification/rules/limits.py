# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rule: the values of a product are within their limits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...butler_data import ProductValue
from ...findings import Finding, Outcome
from ..measured import MeasuredProduct, by_quantity, detector_value

if TYPE_CHECKING:
    from ...config import ValueLimit

__all__ = ["OUTCOMES", "beyond", "limits", "worst_of_each"]

OUTCOMES = {"note": Outcome.NOTED, "count": Outcome.FAILURE, "fail": Outcome.FAILED}

OPTIONAL = frozenset({"turnoff", "fit_residual", "fit_chi_square"})
"""What a good product need not have: flats that do not reach the turn-off, a nominal curve without a fit."""


def limits(product: MeasuredProduct, wanted: Sequence[ValueLimit]) -> list[Finding]:
    """Compare values with limits; a value that a limit needs for the verdict and that is not known is UNKNOWN.

    Parameters
    ----------
    product
        The measured product. Detectors that could not be measured are for the rule `measured`.
    wanted
        The limits.
    """
    found: list[Finding] = []
    for detector in product.detectors:
        if (values := product.values.get(detector)) is None:
            continue
        for limit in wanted:
            there = by_quantity(values.values, limit.quantity)
            found += beyond("limits", detector, there, limit)
            if limit.quantity not in OPTIONAL and limit.outcome != "note":
                found += _unknown(detector, there, limit)
    return worst_of_each(found)


def worst_of_each(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings without those of a quantity and place for which there is a worse one."""
    worst: dict[tuple[int | None, str, str], Finding] = {}
    for one in findings:
        place = one.detector, one.amplifier, one.quantity
        if place not in worst or worst[place].outcome < one.outcome:
            worst[place] = one
    return list(worst.values())


def beyond(rule: str, detector: int, values: Mapping[str, ProductValue], limit: ValueLimit) -> Iterator[Finding]:
    """Yield what of a quantity's values, by amplifier, is beyond a limit."""
    unit = next((one.unit for one in values.values()), "")
    if limit.of == "detector":
        judged = {"": detector_value(values)}
    else:
        judged = {name: one.value for name, one in values.items() if name}
    for name, value in judged.items():
        if limit.exceeded(value):
            yield Finding(
                rule, OUTCOMES[limit.outcome], limit.quantity, detector, name, value=value, limit=limit.limit, unit=unit
            )


def _unknown(detector: int, values: Mapping[str, ProductValue], limit: ValueLimit) -> Iterator[Finding]:
    judged = {"": detector_value(values)}
    if limit.of == "amplifier":
        judged = {name: one.value for name, one in values.items() if name} or {"": math.nan}
    for name, value in judged.items():
        if not math.isfinite(value):
            yield Finding("limits", Outcome.UNKNOWN, limit.quantity, detector, name, detail="not measured")
