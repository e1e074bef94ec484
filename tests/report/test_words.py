# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest
from lsst.ts.comcamcalib.report.words import number


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (263.0, 2, "260"),
        (99.7, 2, "100"),
        (-131.0, 2, "-130"),
        (23.4, 2, "23"),
        (0.00042, 2, "0.00042"),
        (999.96, 4, "1,000"),
        (90123.0, 4, "90,120"),
        (999.4, 4, "999.4"),
        (2.5e9, 2, "2.5e+09"),
        (math.nan, 2, "not measured"),
        (None, 4, "not measured"),
    ],
)
def test_a_number_with_some_digits(value: float | None, digits: int, text: str) -> None:
    assert number(value, digits) == text
