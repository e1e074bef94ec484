# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decide from the levels of the first flats whether it is certain that no good product can be made from the set."""

from __future__ import annotations

import collections
import math
import statistics
from collections.abc import Mapping, Sequence

from .context import FrameFacts
from .judgement import listed
from .rules.light import level_range

__all__ = ["FEWEST_FLATS", "certainly_in_vain", "is_suspicious"]

FEWEST_FLATS = 2
"""A single bad flat may be a fault of the camera; only more than one shows that the light is wrong."""

BRIGHTENING = 1.5
"""Factor by which the lamp may still brighten; if it does so by more, the flats fail because they differ too much."""

RawLevels = Mapping[int, Mapping[int, Mapping[str, float]]]
"""Levels (electron) by exposure id, detector id and amplifier name."""


def is_suspicious(levels: RawLevels, facts: FrameFacts) -> bool:
    """Whether any of the checked flats is without light, too dark, or too bright."""
    return any(_fault(one, facts) for one in levels.values())


def certainly_in_vain(levels: RawLevels, planned_times_s: Sequence[float], facts: FrameFacts) -> str:
    """Return why no good product can be made from the flats any more; "" if it is still possible.

    Parameters
    ----------
    levels
        Levels of the checked flats, each for all detectors.
    planned_times_s
        Exposure times of all flats from which the product will be made (seconds), including the checked ones.
    facts
        Exposure times of the checked flats, limits, and known turn-offs.

    Notes
    -----
    A flat that is saturated or without light spoils the product in any case. Flats that are too dark spoil it if they
    are the majority; the light of the flats to come is computed from their exposure times.
    """
    total = len(planned_times_s)
    faults = {exposure: _fault(one, facts) for exposure, one in levels.items()}
    needed = min(FEWEST_FLATS, total)
    for fault, name in (("bright", "saturated or too bright"), ("off", "without any light: lamp off")):
        spoilt = [exposure for exposure, one in faults.items() if one == fault]
        if needed and len(spoilt) >= needed:
            return _sentence(name, spoilt, levels, total)
    dark = [exposure for exposure, one in faults.items() if one in ("dark", "off")]
    to_come = _to_come(planned_times_s, [facts.exposure_times[exposure] for exposure in levels])
    if needed and len(dark) >= needed and 2 * (len(dark) + _too_short(to_come, levels, facts)) > total:
        return _sentence("too dark", dark, levels, total)
    return ""


def _fault(detectors: Mapping[int, Mapping[str, float]], facts: FrameFacts) -> str:
    """Return what is wrong with most of the detectors in an exposure: bright, off, dark, or nothing."""
    counts: collections.Counter[str] = collections.Counter()
    for detector, amplifiers in detectors.items():
        faults = collections.Counter(_of_amplifier(level, detector, name, facts) for name, level in amplifiers.items())
        counts.update(fault for fault in ("bright", "off", "dark") if faults[fault] > facts.threshold)
    return next((fault for fault in ("bright", "off", "dark") if 2 * counts[fault] > len(detectors)), "")


def _of_amplifier(level: float, detector: int, name: str, facts: FrameFacts) -> str:
    low, high = level_range(facts.turnoffs.get(detector, {}).get(name, math.nan), facts.limits)
    if level > high:
        return "bright"
    if level <= facts.limits.light_min:
        return "off"
    return "dark" if level < low else ""


def _to_come(planned_times_s: Sequence[float], seen_times_s: Sequence[float]) -> list[float]:
    return list((collections.Counter(planned_times_s) - collections.Counter(seen_times_s)).elements())


def _too_short(times_s: Sequence[float], levels: RawLevels, facts: FrameFacts) -> int:
    """Return how many flats to come are too dark even if the lamp brightens."""
    rate = max(
        _typical(one) / facts.exposure_times[exposure]
        for exposure, one in levels.items()
        if facts.exposure_times[exposure] > 0
    )
    return sum(1 for seconds in times_s if max(rate, 0.0) * seconds * BRIGHTENING < facts.limits.level_min)


def _typical(detectors: Mapping[int, Mapping[str, float]]) -> float:
    return statistics.median(level for amplifiers in detectors.values() for level in amplifiers.values())


def _sentence(name: str, exposures: Sequence[int], levels: RawLevels, total: int) -> str:
    level = statistics.median(_typical(levels[exposure]) for exposure in exposures)
    return (
        f"{len(exposures)} of {total} flats are in the repository, and {name} (exposures {listed(exposures)}: about "
        f"{level:.0f} electron). More flats will not help: no good FLAT, DEFECTS, PTC or GAIN can be made from this set"
    )
