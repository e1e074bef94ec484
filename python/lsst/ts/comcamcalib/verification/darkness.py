# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judge biases and darks: their levels must agree from frame to frame, and their noise must not be too low.

cp_verify only compares each frame with the product, and passes a dead amplifier, which has too little noise.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence

from .frames import Finding, FrameFacts, Kind, Levels, median_of_others, noise_left

__all__ = ["judge_darkness"]

MAD_TO_SIGMA = 1.4826
"""Standard deviation of a Gaussian in units of its median absolute deviation."""

OUTLIER_SIGMAS = 5.0
"""As cp_verify clips. Not one of 300,000 values (205 x 16 amplifiers in 100 frames) is that far off by chance."""

FEWEST_FOR_MAD = 3
"""Least number of frames: two values are equally far from their median, so their spread says nothing."""


def judge_darkness(
    levels: Levels, detectors: Sequence[int], exposures: Sequence[int], facts: FrameFacts
) -> list[Finding]:
    """Find faults of biases or darks from which their product was subtracted.

    Parameters
    ----------
    levels
        Signals and noises of the amplifiers.
    detectors, exposures
        Ids of all that should be there.
    facts
        Further facts about the frames.

    Returns
    -------
    findings
        By amplifier.
    """
    findings: list[Finding] = []
    for detector in detectors:
        there = [exposure for exposure in exposures if levels.get((exposure, detector), ({}, {}))[0]]
        # The darks of a product are scaled to one second, so the noise of a short one weighs more.
        seconds = [facts.exposure_times.get(exposure, 0.0) for exposure in there]
        variances = [1 / one**2 for one in seconds] if seconds and min(seconds) > 0 else [1.0] * len(there)
        left = noise_left(variances) if facts.in_product else [1.0] * len(there)
        outliers: dict[int, list[tuple[Finding, bool]]] = {}
        quiet: list[Finding] = []
        for name in dict.fromkeys(name for exposure in there for name in levels[exposure, detector][0]):
            quiet += _quiet(levels, there, left, detector, name, facts)
            for finding, strong in _outliers(levels, there, detector, name, facts):
                outliers.setdefault(finding.exposure, []).append((finding, strong))
        if not any(sum(finding.spoils for finding, _ in found) > facts.threshold for found in outliers.values()):
            # Otherwise the pipeline may have left a frame out. Then the product has more of the other frames' noise,
            # and subtracting it leaves less.
            findings += quiet
        for found in outliers.values():
            # A cosmic ray moves the mean of one amplifier, but not that of many.
            findings += [finding for finding, strong in found if strong or len(found) > facts.threshold]
    return findings


def _quiet(
    levels: Levels, exposures: Sequence[int], left: Sequence[float], detector: int, name: str, facts: FrameFacts
) -> Iterator[Finding]:
    """Find an amplifier with much less noise than it has when it works."""
    known = facts.read_noises.get(detector, {}).get(name, math.nan)
    least = max(facts.quiet_noise, facts.limits.dark_noise_fraction_min * known if known > 0 else 0.0)
    for exposure, part in zip(exposures, left, strict=True):
        noise = levels[exposure, detector][1].get(name, math.nan)
        if noise < least * part:
            yield Finding(Kind.QUIET, exposure, detector, name, noise, least * part)


def _outliers(
    levels: Levels, exposures: Sequence[int], detector: int, name: str, facts: FrameFacts
) -> Iterator[tuple[Finding, bool]]:
    """Yield the frames whose level stands out, each with whether it does so by more than a pixel's noise.

    A large spread does not excuse a frame: one that differs by more than a pixel's noise always stands out.
    """
    measured = [exposure for exposure in exposures if name in levels[exposure, detector][0]]
    if len(measured) < 2:
        return
    signals = [levels[exposure, detector][0][name] for exposure in measured]
    centre = statistics.median(signals)
    spread = statistics.median(abs(one - centre) for one in signals) if len(signals) >= FEWEST_FOR_MAD else 0.0
    noise = statistics.median(levels[exposure, detector][1].get(name, math.inf) for exposure in measured)
    least = facts.limits.outlier_min
    limit = max(least, min(OUTLIER_SIGMAS * MAD_TO_SIGMA * spread, noise))
    for exposure, signal, others in zip(measured, signals, median_of_others(signals), strict=True):
        if abs(signal - others) > limit:
            # Error of a plain mean of the frames; clipping may reduce it, but that is not certain.
            spoils = facts.in_product and abs(signal - others) / len(measured) > facts.limits.outlier_in_product_max
            finding = Finding(Kind.OUTLIER, exposure, detector, name, signal - others, limit, spoils=spoils)
            yield finding, abs(signal - others) > noise
