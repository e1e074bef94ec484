# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules for biases and darks, case by case, with levels that are written down here."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.findings import Finding, Outcome
from lsst.ts.comcamcalib.verification.frames import with_faults
from lsst.ts.comcamcalib.verification.rules.darkness import darkness, darkness_faults
from support.tables import AMPLIFIERS, make_context, make_facts, table_of_levels

NAMES = {0: "R22_S00", 4: "R22_S11"}


def judge(
    signals: list[float],
    noises: list[float] | None = None,
    *,
    amplifiers: int = 16,
    seconds: list[float] | None = None,
    bad: dict[int, dict[str, str]] | None = None,
    **changes: Any,
) -> list[Finding]:
    """Judge frames in which some amplifiers of detector 4 have these levels (electron), all others 0.1."""
    seconds = seconds or [0.0] * len(signals)
    facts = make_facts(dict(enumerate(seconds)), **changes)
    context = make_context(range(len(signals)), CalibType.DARK, detectors=NAMES, frames=facts, bad_amplifiers=bad or {})
    noises = noises or [7.0] * len(signals)
    levels = {}
    for exposure, (signal, noise) in enumerate(zip(signals, noises, strict=True)):
        usual, usual_noise = dict.fromkeys(AMPLIFIERS, 0.1), dict.fromkeys(AMPLIFIERS, 7.0)
        levels[exposure, 0] = (usual, usual_noise)
        own = dict.fromkeys(AMPLIFIERS[:amplifiers], signal), dict.fromkeys(AMPLIFIERS[:amplifiers], noise)
        levels[exposure, 4] = ({**usual, **own[0]}, {**usual_noise, **own[1]})
    table = table_of_levels(levels, context)
    with np.errstate(all="ignore"):
        table = with_faults(darkness_faults(table, context), table)
        return darkness(table, context)


def kinds(findings: list[Finding]) -> dict[tuple[int | None, str], Outcome]:
    assert all(one.detector == 4 and not one.amplifier for one in findings)
    return {(one.exposure, one.kind): one.outcome for one in findings}


@pytest.mark.parametrize(
    ("signals", "found"),
    [
        ([0.1] * 4, {}),
        ([0.1, 0.4, -0.3, 0.2], {}),
        ([0.1, 0.1, 2.0, 0.1], {}),  # 1.9 electron
        ([0.1, 0.1, 3.1, 0.1], {2}),
        ([0.1, 0.1, -9.9, 0.1], {2}),
        ([0.1, 500.0], {0, 1}),
        ([500.0], {}),
        # A spread of the frames that is large does not excuse one that differs by more than a pixel's noise.
        ([0.0, 100.0, 200.0, 300.0], {0, 1, 2, 3}),
    ],
)
def test_a_frame_whose_level_differs_stands_out(signals: list[float], found: set[int]) -> None:
    assert kinds(judge(signals)) == dict.fromkeys(((one, "OUTLIER") for one in found), Outcome.FAILURE)


@pytest.mark.parametrize(
    ("level", "outcome"),
    [(3.9, Outcome.FAILURE), (4.0, Outcome.FAILURE), (4.2, Outcome.FAILED), (2000, Outcome.FAILED)],
)
def test_a_frame_that_moves_the_mean_by_more_than_an_electron_spoils_the_product(
    level: float, outcome: Outcome
) -> None:
    assert kinds(judge([0.0, 0.0, level, 0.0], in_product=True))[2, "OUTLIER"] is outcome


def test_a_cosmic_ray_on_few_amplifiers_is_no_outlier_but_more_than_a_pixels_noise_is() -> None:
    assert judge([0.1, 0.1, 5.0, 0.1], amplifiers=8) == []
    strong = judge([0.1, 0.1, 20.0, 0.1], amplifiers=2)
    assert [(one.amplifier, one.outcome, one.exposure) for one in strong] == [
        ("C10", Outcome.FAILURE, 2),
        ("C11", Outcome.FAILURE, 2),
    ]


@pytest.mark.parametrize(
    ("noise", "known", "in_product", "quiet"),
    [
        (7.0, {}, False, False),
        (3.9, {}, False, True),
        (5.5, {4: dict.fromkeys(AMPLIFIERS, 7.0)}, False, True),  # less than 0.8 x 7
        (5.7, {4: dict.fromkeys(AMPLIFIERS, 7.0)}, False, False),
        (5.5, {4: dict.fromkeys(AMPLIFIERS, float("nan"))}, False, False),
        # Three quarters of the variance are left after the mean of four was subtracted.
        (3.6, {}, True, False),
        (3.4, {}, True, True),
    ],
)
def test_a_dead_amplifier_has_too_little_noise(
    noise: float, known: dict[int, dict[str, float]], in_product: bool, quiet: bool
) -> None:
    found = kinds(judge([0.1] * 4, [noise] * 4, read_noises=known, in_product=in_product))
    assert found == (dict.fromkeys(((one, "QUIET") for one in range(4)), Outcome.FAILURE) if quiet else {})


@pytest.mark.parametrize(
    ("noises", "quiet"), [([2.7, 2.9, 2.9], set()), ([2.6, 2.9, 2.9], {0}), ([2.7, 2.8, 2.9], {1})]
)
def test_the_product_takes_more_of_the_noise_of_a_short_dark(noises: list[float], quiet: set[int]) -> None:
    """All darks are scaled to one second, so the short one is two thirds of the noise of a plain mean."""
    found = kinds(judge([0.1] * 3, noises, seconds=[1.0, 100.0, 100.0], in_product=True))
    assert found == dict.fromkeys(((one, "QUIET") for one in quiet), Outcome.FAILURE)


def test_a_spoilt_set_says_nothing_about_dead_amplifiers() -> None:
    found = kinds(judge([0.1, 2000.0, 0.1], [0.1, 7.0, 0.1], in_product=True))
    assert {kind for _, kind in found} == {"OUTLIER"}


def test_what_most_detectors_have_in_a_frame_is_the_frame() -> None:
    facts = make_facts(dict.fromkeys(range(4), 0.0), in_product=True)
    context = make_context(range(4), detectors=NAMES, frames=facts)
    flat = (dict.fromkeys(AMPLIFIERS, 0.0), dict.fromkeys(AMPLIFIERS, 7.0))
    leak = (dict.fromkeys(AMPLIFIERS, 2000.0), dict.fromkeys(AMPLIFIERS, 7.0))
    levels = {(exposure, detector): leak if exposure == 1 else flat for exposure in range(4) for detector in NAMES}
    table = table_of_levels(levels, context)
    found = darkness(with_faults(darkness_faults(table, context), table), context)
    (frame,) = [one for one in found if one.detector is None]
    assert (frame.outcome, frame.exposure, frame.value, frame.unit) == (Outcome.FAILED, 1, 2, "detectors")


def test_amplifiers_known_to_be_bad_are_not_found() -> None:
    assert judge([0.1] * 4, [0.2] * 4, amplifiers=1, bad={4: {"C10": "dead"}}) == []
    assert judge([0.1, 90.0, 0.1, 0.1], amplifiers=1, bad={4: {"C10": "unstable"}}) == []
