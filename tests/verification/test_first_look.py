# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the first flats make it certain that all are in vain."""

from __future__ import annotations

import pytest
from lsst.ts.comcamcalib.verification import FrameFacts, certainly_in_vain, is_suspicious
from support.plans import make_config

AMPLIFIERS = [f"C{row}{column}" for row in (1, 0) for column in range(8)]
USUAL = 15_000.0


def look(
    seconds: list[float], rate: float, planned: list[float], detectors: int = 3, good: int = 0
) -> tuple[str, bool]:
    """Look at flats of some seconds with so many electrons per second; some detectors have the usual light."""
    limits = make_config().frames
    facts = FrameFacts(limits, dict(enumerate(seconds)), in_product=True, threshold=8, quiet_noise=4.0)
    levels = {
        exposure: {
            detector: dict.fromkeys(AMPLIFIERS, min((USUAL if detector < good else rate) * one, 96_000.0))
            for detector in range(detectors)
        }
        for exposure, one in enumerate(seconds)
    }
    return certainly_in_vain(levels, planned, facts), is_suspicious(levels, facts)


@pytest.mark.parametrize(
    ("seconds", "rate", "planned", "word"),
    [
        ([10, 10], USUAL, [10] * 6, "saturated"),
        ([10], USUAL, [10], "saturated"),
        ([5, 8, 8], USUAL, [5, 8, 8, 2, 1], "saturated"),
        ([5, 5], 0.0, [5] * 6, "lamp off"),
        ([10, 10], USUAL * 0.02, [10] * 6, "too dark"),
        ([0.1, 0.1], USUAL, [0.1] * 4, "too dark"),
        ([1, 1, 1], USUAL * 0.02, [1, 1, 1, 10, 10], "too dark"),
    ],
)
def test_it_is_certain(seconds: list[float], rate: float, planned: list[float], word: str) -> None:
    sentence, suspicious = look(seconds, rate, planned)
    assert word in sentence and "More flats will not help" in sentence
    assert sentence.startswith(f"{sum(one == seconds[-1] for one in seconds)} of {len(planned)} flats")
    assert suspicious


@pytest.mark.parametrize(
    ("seconds", "rate", "planned"),
    [
        ([0.1, 0.1], USUAL, [0.1, 0.1, 0.35, 0.35, 0.6, 0.6]),  # the ramp goes on to where there is light enough
        ([10], USUAL, [10] * 6),  # one flat may be the camera's mistake
        ([5], 0.0, [5] * 6),
        ([1, 1], USUAL * 0.02, [1, 1, 30, 30, 30]),
        ([1, 1], USUAL * 0.3, [1] * 6),  # a little more light, and it is enough
    ],
)
def test_it_is_not_certain_yet(seconds: list[float], rate: float, planned: list[float]) -> None:
    assert look(seconds, rate, planned) == ("", True)


def test_good_flats_raise_no_suspicion() -> None:
    assert look([5, 5], USUAL, [5] * 6) == ("", False)


def test_fewer_than_half_of_the_detectors_are_not_the_light() -> None:
    assert look([5, 5], 0.0, [5] * 6, detectors=9, good=5) == ("", False)
    assert look([5, 5], 0.0, [5] * 6, detectors=9, good=4)[0]
