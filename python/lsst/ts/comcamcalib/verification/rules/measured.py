# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rule: each detector of a product was measured, and each amplifier of a frame."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ...butler_data import ProductValue
from ...enums import CalibType
from ...findings import Finding, Outcome
from ..measured import MeasuredProduct

__all__ = ["measured"]

FRAMES = frozenset({CalibType.BIAS, CalibType.DARK, CalibType.FLAT})
"""Each value of their amplifiers must be finite. The other products have rules of their own for that."""


def measured(product: MeasuredProduct, needed: bool) -> list[Finding]:
    """Find detectors that could not be measured, and amplifiers of frames of which the pixels are no numbers.

    Parameters
    ----------
    product
        The measured product.
    needed
        Whether the verdict needs the values; if so, what has no values is UNKNOWN, otherwise it is told.
    """
    outcome = Outcome.UNKNOWN if needed else Outcome.NOTED
    found: list[Finding] = []
    for detector in product.detectors:
        if detector not in product.values:
            detail = product.unread.get(detector, "there is no dataset")
            found.append(Finding("measured", outcome, "", detector, detail=detail))
        elif product.calib_type in FRAMES:
            for name, detail in _not_finite(product.values[detector].values):
                found.append(Finding("measured", outcome, "", detector, name, detail=detail))
    return found


def _not_finite(values: tuple[ProductValue, ...]) -> Iterator[tuple[str, str]]:
    """Yield the amplifiers of which values are no numbers, and which these are."""
    lacking: dict[str, list[str]] = {}
    for one in values:
        if not math.isfinite(one.value):
            lacking.setdefault(one.amplifier, []).append(one.quantity.replace("_", " "))
    for name, quantities in lacking.items():
        yield name, f"{' and '.join(quantities)} not measured"
