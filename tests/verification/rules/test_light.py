# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules for the light of flats, case by case, with levels that are written down here."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.findings import Finding, Outcome
from lsst.ts.comcamcalib.verification import FrameFacts
from lsst.ts.comcamcalib.verification.frame_sentences import frame_sentences
from lsst.ts.comcamcalib.verification.frames import with_faults
from lsst.ts.comcamcalib.verification.rules.light import level_range, light, light_faults
from support.plans import make_config
from support.tables import AMPLIFIERS, make_context, make_facts, table_of_levels

DETECTORS = [0, 1, 2]
NAMES = {0: "R22_S00", 1: "R22_S01", 2: "R22_S02"}


def facts(seconds: list[float], **changes: Any) -> FrameFacts:
    return make_facts(dict(enumerate(seconds)), **changes)


def judge_light(measured: dict[Any, Any], known: FrameFacts) -> list[Finding]:
    """Return what the rule finds on each detector, or on its amplifiers."""
    context = make_context(list(known.exposure_times), CalibType.FLAT, detectors=NAMES, frames=known)
    table = table_of_levels(measured, context)
    with np.errstate(all="ignore"):
        table = with_faults(light_faults(table, context), table)
    return [one for one in light(table, context) if one.detector is not None]


def levels(signals: list[float], noises: list[float] | None = None, detectors: list[int] = DETECTORS) -> dict[Any, Any]:
    noises = noises or [math.sqrt(max(signal, 0)) for signal in signals]
    return {
        (exposure, detector): (dict.fromkeys(AMPLIFIERS, signal), dict.fromkeys(AMPLIFIERS, noise))
        for exposure, (signal, noise) in enumerate(zip(signals, noises, strict=True))
        for detector in detectors
    }


def kinds(signals: list[float], noises: list[float] | None = None, **changes: Any) -> dict[int, set[str]]:
    """Return the kinds of findings by exposure, for flats of one second each."""
    known = facts([1.0] * len(signals), **changes)
    findings = judge_light(levels(signals, noises), known)
    return {exposure: {one.kind for one in findings if one.exposure == exposure} for exposure in range(len(signals))}


@pytest.mark.parametrize(
    ("signal", "noise", "found"),
    [
        (75_000, 273.9, set()),
        (20_000, 141.4, set()),
        (20_000, 170.0, set()),  # too much noise is cp_verify's own test
        (5_000, 70.7, set()),
        (4_999, 70.7, {"TOO_DARK"}),
        (3_000, 54.8, {"TOO_DARK"}),
        (90_000, 300.0, set()),
        (90_001, 300.0, {"TOO_BRIGHT"}),
        (96_140, 6.2, {"SATURATED", "TOO_SMOOTH"}),
        (50_000, 6.2, {"TOO_SMOOTH"}),  # a full well that nobody has foreseen
        (20_000, 141.4 * 0.76, set()),
        (20_000, 141.4 * 0.74, {"TOO_SMOOTH"}),
        (100, 10.0, {"NO_LIGHT"}),
        (0.0, 7.0, {"NO_LIGHT"}),
        (-4.0, 7.0, {"NO_LIGHT"}),
        (30_000, 40_000.0, {"NO_LIGHT"}),  # noise divided by noise
    ],
)
def test_level_and_noise_of_one_flat(signal: float, noise: float, found: set[str]) -> None:
    assert kinds([signal], [noise]) == {0: found}


@pytest.mark.parametrize(
    ("turnoff", "low", "high"),
    [
        (96_000.0, 5_000, 86_400),
        (60_000.0, 5_000, 54_000),
        (129_000.0, 6_450, 90_000),
        (math.nan, 5_000, 90_000),
        (0.0, 5_000, 90_000),
        (5_000.0, 5_000, 90_000),
        (-1e9, 5_000, 90_000),
        (math.inf, 5_000, 90_000),
        (1e9, 5_000, 90_000),
        (None, 5_000, 90_000),
    ],
)
def test_turnoff_of_the_ptc_narrows_the_range(turnoff: float | None, low: float, high: float) -> None:
    found = level_range(math.nan if turnoff is None else turnoff, make_config().frames)
    assert tuple(float(one) for one in found) == pytest.approx((low, high))


def test_noise_that_the_product_has_taken_with_it_is_no_saturation() -> None:
    two = [20_000.0, 20_000.0]
    assert kinds(two, [100.0, 100.0], in_product=True) == {0: set(), 1: set()}
    assert kinds(two, [100.0, 100.0], in_product=False) == {0: {"TOO_SMOOTH"}, 1: {"TOO_SMOOTH"}}
    assert kinds(two, [6.0, 6.0], in_product=True) == {0: {"TOO_SMOOTH"}, 1: {"TOO_SMOOTH"}}


@pytest.mark.parametrize(
    ("signals", "named"),
    [
        ([20_000] * 6, {}),
        ([20_000, 20_100, 19_900, 20_050, 19_950, 20_000], {}),
        ([20_000, 20_000, 21_000, 20_000, 20_000, 20_000], {2: "LAMP"}),
        ([20_000, 20_000, 19_000, 20_000, 20_000, 21_500], {2: "LAMP", 5: "LAMP"}),
        ([20_000, 19_000, 18_000, 17_000, 16_000, 15_000], dict.fromkeys((0, 1, 4, 5), "DRIFT")),
        ([20_000, 20_000, 50, 20_000], {2: "NO_LIGHT"}),
        ([20_000], {}),
        ([20_000, 22_000], {0: "LAMP", 1: "LAMP"}),
        # Two that differ, or two halves of a set: each is compared with the others, not with the middle between them.
        ([20_000, 20_800], {0: "LAMP", 1: "LAMP"}),
        ([20_000, 20_500], {}),
        ([20_000, 20_000, 20_000, 21_000, 21_000, 21_000], dict.fromkeys(range(6), "LAMP")),
        ([20_000, 21_000, 20_000, 21_000], dict.fromkeys(range(4), "LAMP")),
        ([20_000, 20_000, 21_000], {2: "LAMP"}),
    ],
)
def test_light_per_second_of_a_set(signals: list[float], named: dict[int, str]) -> None:
    found = kinds(signals)
    assert {exposure: next(iter(one)) for exposure, one in found.items() if one} == named


def test_different_exposure_times_are_no_different_light() -> None:
    seconds = [0.5, 1.0, 2.0, 4.0]
    flat = levels([15_000 * one for one in seconds])
    assert judge_light(flat, facts(seconds)) == []
    wrong = judge_light(flat, facts([1.0, 1.0, 2.0, 4.0]))
    assert {(one.exposure, one.kind) for one in wrong} == {(0, "LAMP")}


def test_shortest_exposures_are_known_less_well() -> None:
    flat = levels([15_000 * 0.5, 15_000 * 0.35 * 1.04, 15_000])
    assert judge_light(flat, facts([0.5, 0.35, 1.0])) == []
    assert judge_light(levels([15_000, 15_000 * 1.04, 15_000]), facts([1.0, 1.0, 1.0]))


def test_what_one_detector_sees_alone_is_the_detector() -> None:
    flat = levels([20_000] * 4)
    flat[2, 1] = levels([22_000])[0, 0]
    (finding,) = judge_light(flat, facts([1.0] * 4))
    assert (finding.kind, finding.exposure, finding.detector) == ("DETECTOR_FLUX", 2, 1)
    assert finding.value == pytest.approx(0.1)


def test_half_of_the_exposures_of_one_detector_differ_from_the_other_half() -> None:
    flat = levels([20_000] * 4)
    for exposure in (2, 3):
        flat[exposure, 1] = levels([21_000])[0, 0]
    found = judge_light(flat, facts([1.0] * 4))
    assert {(one.kind, one.exposure, one.detector) for one in found} == {
        ("DETECTOR_FLUX", exposure, 1) for exposure in range(4)
    }


@pytest.mark.parametrize("number", [1, 7])
@pytest.mark.parametrize("factor", [0.9, 1.05, 0.5])
def test_amplifiers_that_differ_from_their_detector_in_one_exposure_are_named(number: int, factor: float) -> None:
    flat = levels([20_000] * 4)
    signals = {name: 20_000 * factor for name in AMPLIFIERS[:number]}
    flat[2, 1] = ({**flat[2, 1][0], **signals}, {name: math.sqrt(value) for name, value in signals.items()})
    found = judge_light(flat, facts([1.0] * 4))
    assert {(one.kind, one.exposure, one.detector) for one in found} == {("AMPLIFIER_FLUX", 2, 1)}
    assert tuple(one.amplifier for one in found) == AMPLIFIERS[:number]
    assert all(one.value == pytest.approx(factor - 1) and one.outcome is Outcome.FAILURE for one in found)
    (sentence,) = frame_sentences(found, NAMES, range(4))
    assert sentence.startswith("Light: amplifiers differ, 1 of 4 exposures (2; single amplifiers of R22_S01: ")
    assert f"{factor - 1:+.1%}" in sentence


def test_amplifiers_that_always_differ_are_no_change() -> None:
    flat = levels([20_000, 15_000, 25_000])
    for signals, _ in flat.values():
        signals["C10"] *= 0.7
    assert {one.kind for one in judge_light(flat, facts([1.0, 0.75, 1.25]))} == set()


def test_a_flat_of_which_nothing_could_be_measured_has_no_light() -> None:
    flat = levels([20_000] * 3)
    for detector in DETECTORS:
        flat[1, detector] = ({}, {})
    found = judge_light(flat, facts([1.0] * 3))
    assert {(one.exposure, one.kind, one.amplifier) for one in found} == {(1, "NO_LIGHT", "")}
