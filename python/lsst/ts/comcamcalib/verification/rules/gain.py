# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rule: each pair of flats gives a plausible gain and read noise of each amplifier."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from ...findings import Finding, Outcome
from ..measured import MeasuredProduct, by_quantity
from .ptc import implausible, incomplete

if TYPE_CHECKING:
    from ...config import Plausible

__all__ = ["gain"]


def gain(product: MeasuredProduct, plausible: Plausible, bad: Mapping[int, Collection[str]]) -> list[Finding]:
    """Find amplifiers that lack a pair, or of which the least or the largest value can't be right.

    Parameters
    ----------
    product
        What was measured in all pairs. Detectors that could not be measured are for the rule `measured`.
    plausible
        Ranges of gain and noise.
    bad
        Amplifiers that are known to be bad, by detector; they may be missing.
    """
    if product.pairs < 1:
        return [Finding("gain", Outcome.UNKNOWN, "gain", detail="there are no pairs of flats")]
    found: list[Finding] = []
    for detector in product.detectors:
        if (values := product.values.get(detector)) is None:
            continue
        for quantity in ("gain", "noise"):
            there = by_quantity(values.values, quantity)
            amplifiers = product.amplifiers[detector]
            found += incomplete("gain", detector, quantity, there, amplifiers, bad.get(detector, ()))
            found += _missing_pairs(detector, quantity, product)
            ends = [by_quantity(values.values, f"{quantity}_{end}") for end in ("min", "max")]
            for name in there:
                wrong = [one for end in ends for one in implausible("gain", detector, end[name], plausible)]
                found += wrong[:1]
    return found


def _missing_pairs(detector: int, quantity: str, product: MeasuredProduct) -> Iterator[Finding]:
    """Yield the amplifiers that lack a pair; if all lack the same number, the detector."""
    pairs = by_quantity(product.values[detector].values, f"{quantity}_pairs")
    most = max((one.value for one in pairs.values()), default=0.0)
    of_detector = {"": most} if 0 < most < product.pairs else {}
    of_amplifiers = {name: one.value for name, one in pairs.items() if 0 < one.value < most}
    for name, count in {**of_detector, **of_amplifiers}.items():
        detail = f"{quantity} of {count:.0f} of {product.pairs} pairs"
        yield Finding("gain", Outcome.UNKNOWN, quantity, detector, name, detail=detail)
