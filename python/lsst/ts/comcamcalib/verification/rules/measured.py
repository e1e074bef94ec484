# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rule: each detector of a product was measured."""

from __future__ import annotations

from ...findings import Finding, Outcome
from ..measured import MeasuredProduct

__all__ = ["measured"]


def measured(product: MeasuredProduct, needed: bool) -> list[Finding]:
    """Find detectors that could not be measured.

    Parameters
    ----------
    product
        The measured product.
    needed
        Whether the verdict needs the values; if so, a detector without values is UNKNOWN, otherwise it is told.
    """
    outcome = Outcome.UNKNOWN if needed else Outcome.NOTED
    return [
        Finding("measured", outcome, "", detector, detail=product.unread.get(detector, "there is no dataset"))
        for detector in product.detectors
        if detector not in product.values
    ]
