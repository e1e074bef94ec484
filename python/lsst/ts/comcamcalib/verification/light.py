# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judge the light of flats: its level, its noise, and whether it is the same from frame to frame.

cp_verify only checks that the noise is not above the square root of the signal, and does not check the level.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from .frames import Finding, FrameFacts, Kind, Levels, median_of_others, noise_left

__all__ = ["judge_light", "level_range"]

NOISE_OF_NO_LIGHT = 0.5
"""Noise above this fraction of the signal means no light: 100 electron have 0.1, real flats far less."""

FULL = 0.98
"""Fraction of the turn-off above which pixels are full. Noise does not show this if the frames of a set differ much."""

ORDERED = 0.8
"""Kendall's rank correlation above which a change of the lamp is a drift (1: each frame follows the trend)."""

FEWEST_FOR_DRIFT = 4
"""Least number of frames for a drift: with fewer, any order looks like a trend."""

Kept = dict[int, dict[int, dict[str, float]]]
"""Electrons per second by exposure, detector and amplifier."""


def level_range(detector: int, amplifier: str, facts: FrameFacts) -> tuple[float, float]:
    """Return the least and the largest level (electron) that an amplifier may have in a flat."""
    low, high = facts.limits.level_min, facts.limits.level_max
    turnoff = facts.turnoffs.get(detector, {}).get(amplifier, math.nan)
    least, most = facts.limits.turnoff_fraction_min * turnoff, facts.limits.turnoff_fraction_max * turnoff
    # A turn-off that leaves no range comes from a bad curve, not from the amplifier.
    if least < high and low < most:
        return max(low, least), min(high, most)
    return low, high


def judge_light(levels: Levels, detectors: Sequence[int], exposures: Sequence[int], facts: FrameFacts) -> list[Finding]:
    """Find faults of the light of the flats of one filter.

    Parameters
    ----------
    levels
        Signals and noises of the amplifiers. An entry without any signal means that none could be measured.
    detectors, exposures
        Ids of all that should be there; the exposures in the order in which they were taken.
    facts
        Further facts about the frames.

    Returns
    -------
    findings
        By amplifier for level and noise, by detector for the flux.
    """
    findings = list(_levels(levels, detectors, exposures, facts))
    without = {(one.exposure, one.detector, one.amplifier) for one in findings if one.spoils}
    kept = _per_second(levels, facts, without)
    return [*findings, *_flux(kept, exposures, facts), *_flux_of_amplifiers(kept, facts)]


def _levels(levels: Levels, detectors: Sequence[int], exposures: Sequence[int], facts: FrameFacts) -> Iterator[Finding]:
    for detector in detectors:
        there = [exposure for exposure in exposures if (exposure, detector) in levels]
        names = dict.fromkeys(name for exposure in there for name in levels[exposure, detector][0])
        for exposure in there:
            if not levels[exposure, detector][0]:
                yield Finding(Kind.NO_LIGHT, exposure, detector, "", 0.0, facts.limits.light_min, spoils=True)
        for name in names:
            measured = [exposure for exposure in there if name in levels[exposure, detector][0]]
            signals = [levels[exposure, detector][0][name] for exposure in measured]
            lit = [max(signal, 1.0) for signal in signals]
            left = noise_left([1 / one for one in lit]) if facts.in_product else [1.0] * len(lit)
            for index, exposure in enumerate(measured):
                noise = levels[exposure, detector][1].get(name, math.nan)
                least = facts.limits.flat_noise_fraction_min * left[index] * math.sqrt(lit[index])
                yield from _level(signals[index], noise, least, (exposure, detector, name), facts)


def _level(
    signal: float, noise: float, least_noise: float, place: tuple[int, int, str], facts: FrameFacts
) -> Iterator[Finding]:
    """Judge one amplifier in one exposure."""
    low, high = level_range(place[1], place[2], facts)
    smooth = noise < least_noise
    full = signal > FULL * facts.turnoffs.get(place[1], {}).get(place[2], math.inf)
    if signal <= facts.limits.light_min or noise > NOISE_OF_NO_LIGHT * signal:
        yield Finding(Kind.NO_LIGHT, *place, signal, facts.limits.light_min, spoils=True)
        return
    if signal > high:
        yield Finding(Kind.SATURATED if smooth or full else Kind.TOO_BRIGHT, *place, signal, high, spoils=True)
    elif signal < low:
        yield Finding(Kind.TOO_DARK, *place, signal, low)
    if smooth:
        yield Finding(Kind.TOO_SMOOTH, *place, noise, least_noise, spoils=True)


def _per_second(levels: Levels, facts: FrameFacts, without: set[tuple[int, int, str]]) -> Kept:
    """Return the light per second of amplifiers that were not found to be saturated or without light."""
    kept: Kept = {}
    for (exposure, detector), (signals, _) in levels.items():
        seconds = facts.exposure_times.get(exposure, 0.0)
        for name, signal in signals.items():
            if seconds > 0 and (exposure, detector, name) not in without:
                kept.setdefault(exposure, {}).setdefault(detector, {})[name] = signal / seconds
    return kept


def _flux(kept: Kept, exposures: Sequence[int], facts: FrameFacts) -> Iterator[Finding]:
    """Compare the light per second between the exposures.

    A change that all detectors see in an exposure comes from the lamp; one that a single detector sees comes from
    that detector.
    """
    of_detectors = _changes(kept)
    lamp = {one: statistics.median(of_detectors[one].values()) for one in exposures if one in of_detectors}
    strong = facts.limits.flux_change_max
    span = _drift(list(lamp.values()))
    # A slow drift shows as the difference of its two ends, although neither is far from the others.
    ends = {*list(lamp)[:1], *list(lamp)[-1:]} if abs(span) > facts.limits.flux_tolerance else set()
    # A drift is compared with the middle of the set; otherwise each exposure is compared with the others.
    apart = lamp if ends else _apart({exposure: 1 + change for exposure, change in lamp.items()})
    own = _of_detectors_alone(of_detectors, lamp)
    for exposure, change in apart.items():
        tolerance = facts.limits.flux_tolerance + facts.limits.shutter_uncertainty_s / facts.exposure_times[exposure]
        if abs(change) > tolerance or exposure in ends:
            kind, value = (Kind.DRIFT, span) if ends else (Kind.LAMP, change)
            for detector in of_detectors[exposure]:
                yield Finding(kind, exposure, detector, "", value, tolerance, spoils=abs(value) > strong)
        for detector in of_detectors[exposure]:
            if abs(value := own[detector][exposure]) > tolerance:
                yield Finding(Kind.DETECTOR_FLUX, exposure, detector, "", value, tolerance, spoils=abs(value) > strong)


def _flux_of_amplifiers(kept: Kept, facts: FrameFacts) -> Iterator[Finding]:
    """Compare each amplifier's part of its detector's light between the exposures."""
    parts: dict[tuple[int, str], dict[int, float]] = {}
    changes = _changes(kept)
    for exposure, detectors in kept.items():
        for detector, amplifiers in detectors.items():
            for name, value in amplifiers.items():
                parts.setdefault((detector, name), {})[exposure] = value / (1 + changes[exposure][detector])
    for (detector, name), values in parts.items():
        for exposure, change in _apart(values).items():
            if abs(change) > facts.limits.flux_tolerance:
                yield Finding(
                    Kind.AMPLIFIER_FLUX,
                    *(exposure, detector, name, change, facts.limits.flux_tolerance),
                    spoils=abs(change) > facts.limits.flux_change_max,
                )


def _of_detectors_alone(
    of_detectors: Mapping[int, Mapping[int, float]], lamp: Mapping[int, float]
) -> dict[int, dict[int, float]]:
    """Return by how much each detector's light differs from its other exposures, apart from the lamp (relative)."""
    ratios: dict[int, dict[int, float]] = {}
    for exposure, change in lamp.items():
        for detector, seen in of_detectors[exposure].items():
            ratios.setdefault(detector, {})[exposure] = (1 + seen) / (1 + change)
    return {detector: _apart(values) for detector, values in ratios.items()}


def _apart(values: Mapping[int, float]) -> dict[int, float]:
    """Return by how much each value differs from those of the other exposures (relative)."""
    if len(values) < 2:
        return dict.fromkeys(values, 0.0)
    others = median_of_others(list(values.values()))
    return {exposure: value / other - 1 for (exposure, value), other in zip(values.items(), others, strict=True)}


def _changes(kept: Kept) -> dict[int, dict[int, float]]:
    """Return by how much each detector's light per second differs from the median over the exposures (relative)."""
    usual: dict[tuple[int, str], list[float]] = {}
    for detectors in kept.values():
        for detector, amplifiers in detectors.items():
            for name, value in amplifiers.items():
                usual.setdefault((detector, name), []).append(value)
    medians: Mapping[tuple[int, str], float] = {key: statistics.median(values) for key, values in usual.items()}
    return {
        exposure: {
            detector: statistics.median(value / medians[detector, name] for name, value in amplifiers.items()) - 1
            for detector, amplifiers in detectors.items()
        }
        for exposure, detectors in kept.items()
    }


def _drift(changes: Sequence[float]) -> float:
    """Return the change from the first to the last of some values in order of time; 0 if there is no trend."""
    if len(changes) < FEWEST_FOR_DRIFT:
        return 0.0
    pairs = [(changes[j] > changes[i]) - (changes[j] < changes[i]) for j in range(len(changes)) for i in range(j)]
    if abs(sum(pairs)) < ORDERED * len(pairs):
        return 0.0
    return (1 + changes[-1]) / (1 + changes[0]) - 1
