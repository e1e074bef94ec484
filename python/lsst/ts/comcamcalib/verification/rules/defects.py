# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rule: the area of a detector's defects is plausible."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...findings import Finding, Outcome
from ..measured import MeasuredProduct, by_quantity

if TYPE_CHECKING:
    from ...config import Plausible

__all__ = ["defects"]


def defects(product: MeasuredProduct, plausible: Plausible) -> list[Finding]:
    """Find detectors with more defects than sensors have; a detector without any is well.

    Parameters
    ----------
    product
        The measured defects. Detectors that could not be measured are for the rule `measured`.
    plausible
        The largest fraction that may be defective.
    """
    found = []
    for detector in product.detectors:
        if (values := product.values.get(detector)) is None:
            continue
        area = by_quantity(values.values, "defect_fraction").get("")
        if area is None or not math.isfinite(area.value):
            found.append(Finding("defects", Outcome.UNKNOWN, "defect_fraction", detector, detail="not measured"))
        elif not 0 <= area.value <= plausible.defect_fraction_max:
            limit = plausible.defect_fraction_max
            found.append(Finding("defects", Outcome.FAILED, "defect_fraction", detector, value=area.value, limit=limit))
    return found
