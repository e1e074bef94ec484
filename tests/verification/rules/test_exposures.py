# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exposures in which detectors fail as a whole are named, if they are the minority."""

from __future__ import annotations

import pytest
from lsst.ts.comcamcalib.verification.rules.exposures import exposures
from support.tables import AMPLIFIERS, FIRST, NAMES, make_context, make_table


def spoilt(numbers: list[int], detectors: list[int], amplifiers: int = 16) -> list[tuple[int, int, str, str]]:
    return [
        (number, detector, name, "MEAN")
        for number in numbers
        for detector in detectors
        for name in AMPLIFIERS[:amplifiers]
    ]


@pytest.mark.parametrize(
    ("of", "numbers", "detectors", "amplifiers", "named"),
    [
        (6, [2], list(NAMES), 16, {FIRST + 2: 3}),
        (6, [2, 4], [4], 9, {FIRST + 2: 1, FIRST + 4: 1}),
        (6, [2], [4], 8, {}),
        (4, [0, 1], [0], 16, {FIRST: 1, FIRST + 1: 1}),
        (4, [0, 1, 2], [0], 16, {}),
        (1, [0], [0], 16, {}),
        (4, [], [0], 16, {}),
    ],
)
def test_few_exposures_are_named_with_the_number_of_detectors(
    of: int, numbers: list[int], detectors: list[int], amplifiers: int, named: dict[int, int]
) -> None:
    context = make_context(of)
    found = exposures(make_table(context, spoilt(numbers, detectors, amplifiers)), context)
    assert {one.exposure: one.value for one in found} == named
    assert {one.quantity for one in found} <= {"MEAN"}


def test_amplifiers_known_to_be_bad_spoil_no_exposure() -> None:
    context = make_context(4, bad_amplifiers={4: dict.fromkeys(AMPLIFIERS[:10], "dead")})
    assert exposures(make_table(context, spoilt([1], [4])), context) == []
