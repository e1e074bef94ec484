# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rule: gain and read noise of each amplifier are known and plausible."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from ...butler_data import ProductValue
from ...findings import Finding, Outcome
from ..measured import MeasuredProduct, by_quantity

if TYPE_CHECKING:
    from ...config import Plausible

__all__ = ["implausible", "incomplete", "ptc"]


def ptc(product: MeasuredProduct, plausible: Plausible, bad: Mapping[int, Collection[str]]) -> list[Finding]:
    """Find amplifiers of photon transfer curves without gain or noise, or with one that can't be right.

    Parameters
    ----------
    product
        The measured curves. Detectors that could not be measured are for the rule `measured`.
    plausible
        Ranges of gain and noise.
    bad
        Amplifiers that are known to be bad, by detector; they may be missing.
    """
    found: list[Finding] = []
    for detector in product.detectors:
        if (values := product.values.get(detector)) is None:
            continue
        for quantity in ("gain", "noise"):
            there = by_quantity(values.values, quantity)
            found += incomplete("ptc", detector, quantity, there, product.amplifiers[detector], bad.get(detector, ()))
            for one in there.values():
                found += implausible("ptc", detector, one, plausible)
    return found


def incomplete(
    rule: str,
    detector: int,
    quantity: str,
    values: Mapping[str, ProductValue],
    amplifiers: int,
    bad: Collection[str],
) -> Iterator[Finding]:
    """Yield what is missing of a quantity of a detector, apart from amplifiers that are known to be bad."""
    needed = amplifiers - sum(name not in values for name in bad)
    if len(values) != needed:
        detail = f"{quantity} of {len(values)} amplifiers instead of {needed}"
        yield Finding(rule, Outcome.UNKNOWN, quantity, detector, detail=detail)
    for name, one in values.items():
        if not math.isfinite(one.value):
            yield Finding(rule, Outcome.UNKNOWN, quantity, detector, name, detail=f"{quantity} not measured")


def implausible(rule: str, detector: int, value: ProductValue, plausible: Plausible) -> Iterator[Finding]:
    """Yield a gain or noise that comes from a wrong measurement or a broken amplifier, not from a poor sensor."""
    quantity = value.quantity.partition("_")[0]
    low, high = (
        (plausible.gain_min, plausible.gain_max) if quantity == "gain" else (plausible.noise_min, plausible.noise_max)
    )
    if math.isfinite(value.value) and not low <= value.value <= high:
        limit = low if value.value < low else high
        yield Finding(
            rule, Outcome.FAILED, quantity, detector, value.amplifier, value=value.value, limit=limit, unit=value.unit
        )
