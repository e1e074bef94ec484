# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exposures in which detectors fail as a whole are named, if they are the minority, and those with more noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.findings import Finding, Outcome
from lsst.ts.comcamcalib.verification.rules.exposures import NOISY, exposures
from support.tables import AMPLIFIERS, FIRST, NAMES, make_context, make_facts, make_table

NAN = float("nan")
NINE = {number: f"R22_S{number // 3}{number % 3}" for number in range(9)}


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


def noisy(
    noises: Sequence[float],
    detectors: Sequence[int] = tuple(NAMES),
    amplifiers: int = 16,
    seconds: Sequence[float] = (),
    failures: Sequence[tuple[int, int, str, str]] = (),
    calib_type: CalibType = CalibType.BIAS,
    **changes: Any,
) -> list[Finding]:
    """Judge exposures in which some amplifiers of some detectors have these noises (electron), all others 7."""
    if seconds:
        ids = (FIRST + number for number in range(len(noises)))
        changes["frames"] = make_facts(dict(zip(ids, seconds, strict=True)))
    context = make_context(len(noises), calib_type, **changes)
    table = make_table(context, failures)
    for detector in detectors:
        table.values[:, table.detectors.index(detector), :amplifiers, 1] = np.array(noises)[:, None]
    return [one for one in exposures(table, context) if one.kind == NOISY]


@pytest.mark.parametrize(
    ("noises", "found"),
    [
        # What the simulated focal plane gives for one bias that picked up six times the noise: the combination of
        # few has a part of it, so that all of them have more noise than they should.
        ([10.9, 11.1, 34.7], {2: 3.13}),
        ([8.3, 8.4, 37.4, 8.4, 8.5], {2: 4.44}),
        ([7.5, 7.5, 38.7, 7.6, 7.7, 7.6, 7.6, 7.4], {2: 5.1}),
        # And one and a half times.
        ([6.76, 6.93, 8.87], {2: 1.28}),
        ([6.82, 6.88, 10.28, 6.97, 6.97], {2: 1.48}),
        # Good ones.
        ([6.0], {}),
        ([6.0, 7.0], {}),
        ([6.0, 6.0, 6.0], {}),
        ([6.02, 5.96, 5.91], {}),
        ([6.63, 6.55, 6.47, 6.63, 6.67], {}),
        ([7.0, 7.0, 7.69, 7.0, 7.0], {}),  # 9.9 %
        ([7.0, 7.0, 7.71, 7.0, 7.0], {2: 1.10}),
        # They differ so much, or are so few, that 30 % is no outlier; but twice as much always is.
        ([6.0, 7.0, 8.0, 9.1, 5.0], {}),
        ([7.0, 7.0, 14.1, 14.1], {2: 2.01, 3: 2.01}),
        ([7.0, 14.1], {1: 2.01}),
        # Less noise than the others is for the rule on dead amplifiers.
        ([7.0, 7.0, 1.0, 7.0, 7.0], {}),
        # What was not measured is no noise, and no noise at all is none to compare with.
        ([NAN, 7.0, 30.0, 7.0, NAN], {2: 4.29}),
        ([NAN] * 5, {}),
        ([0.0, 0.0, 7.0, 0.0, 0.0], {}),
    ],
)
def test_exposure_with_more_noise_than_the_others_is_named(noises: list[float], found: Mapping[int, float]) -> None:
    findings = noisy(noises)
    assert {one.exposure: one.value for one in findings} == {
        FIRST + number: pytest.approx(factor, abs=0.02) for number, factor in found.items()
    }
    assert {one.outcome for one in findings} <= {Outcome.FAILED}
    assert {one.detail for one in findings} <= {"on 3 of 3 detectors"}


BAD = [7.0, 7.0, 20.0, 7.0, 7.0]


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({}, "on 3 of 3 detectors"),
        ({"detectors": [4]}, "on R22_S11"),
        ({"detectors": [0, 4]}, "on R22_S00 and R22_S11"),
        ({"detectors": [4], "amplifiers": 9}, "on R22_S11"),
        ({"detectors": [4], "amplifiers": 8}, None),
        ({"amplifiers": 8, "threshold": 7}, "on 3 of 3 detectors"),
        ({"detectors": [4], "amplifiers": 9, "bad_amplifiers": {4: {"C10": "noisy"}}}, None),
        ({"calib_type": CalibType.DARK}, "on 3 of 3 detectors"),
        # Their noise follows from their light, which others judge.
        ({"calib_type": CalibType.FLAT}, None),
        # Of a dark that is scaled another way, another part of the noise is left after the product was subtracted.
        ({"calib_type": CalibType.DARK, "seconds": [20, 20, 20, 20, 20]}, "on 3 of 3 detectors"),
        ({"calib_type": CalibType.DARK, "seconds": [20, 20, 60, 20, 20]}, None),
        ({"calib_type": CalibType.DARK, "seconds": [20, 20, 60, 60, 20]}, "on 3 of 3 detectors"),
    ],
)
def test_detectors_on_which_an_exposure_has_more_noise(changes: dict[str, Any], detail: str | None) -> None:
    found = noisy(BAD, **changes)
    assert [(one.exposure, one.detail) for one in found] == ([(FIRST + 2, detail)] if detail else [])


def test_noisy_exposure_is_named_although_it_makes_all_of_them_fail() -> None:
    failures = [(number, detector, name, "NOISE") for number in range(5) for detector in NAMES for name in AMPLIFIERS]
    (one,) = noisy([8.3, 8.4, 37.4, 8.4, 8.5], failures=failures)
    assert one.exposure == FIRST + 2


@pytest.mark.parametrize("number", [3, 5, 10, 20])
def test_good_exposures_raise_no_false_alarm(number: int) -> None:
    """Noises that scatter by one per cent for each amplifier, and one for each detector in an exposure."""
    rng = np.random.default_rng(number)
    context = make_context(number, detectors=NINE)
    table = make_table(context)
    for _ in range(200):
        own, shared = rng.normal(0, 0.01, (number, 9, 16)), rng.normal(0, 0.01, (number, 9, 1))
        table.values[..., 1] = rng.uniform(6, 8, (9, 16)) * (1 + own + shared)
        assert exposures(table, context) == []
