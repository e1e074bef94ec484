# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measured products for tests of the rules on values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lsst.ts.comcamcalib.butler_data import DetectorValues, ProductValue
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.verification import MeasuredProduct

from support.world import AMPLIFIERS

__all__ = ["NAMES", "PREDECESSOR", "amplifiers", "product", "value", "with_values"]

NAMES = {0: "R22_S00", 4: "R22_S11"}
PREDECESSOR = "LSSTComCam/calib/initial 6b7e1d6e-0000-4000-8000-000000000001"


def value(quantity: str, number: float, amplifier: str = "", unit: str = "") -> ProductValue:
    """Return one value."""
    return ProductValue(amplifier, quantity, number, unit)


def amplifiers(quantity: str, number: float, unit: str = "", **others: float) -> tuple[ProductValue, ...]:
    """Return a quantity of all amplifiers, some of which have another value."""
    return tuple(ProductValue(name, quantity, others.get(name, number), unit) for name in AMPLIFIERS)


def with_values(
    *values: ProductValue, before: tuple[ProductValue, ...] | None = None, changes: Any = ()
) -> DetectorValues:
    """Return what was measured in a detector; unless other values are given, the certified ones are the same."""
    return DetectorValues(values, values if before is None else before, tuple(changes))


def product(
    calib_type: CalibType, values: Mapping[int, DetectorValues], compared: bool = True, **fields: Any
) -> MeasuredProduct:
    """Return a product of two detectors with 16 amplifiers each."""
    return MeasuredProduct(
        calib_type=calib_type,
        physical_filter="",
        detectors=NAMES,
        amplifiers=dict.fromkeys(NAMES, len(AMPLIFIERS)),
        values=values,
        **{"compared_with": dict.fromkeys(NAMES, PREDECESSOR) if compared else {}, **fields},
    )
