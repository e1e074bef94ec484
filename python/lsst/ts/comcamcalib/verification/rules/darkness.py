# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Biases and darks: their levels must agree from frame to frame, and their noise must not be too low.

cp_verify only compares each frame with the product, and passes a dead amplifier, which has too little noise.
"""

from __future__ import annotations

import numpy as np

from ...findings import Finding
from ..arrays import Booleans, Floats, median, median_of_others, noise_left
from ..context import FrameFacts, RuleContext
from ..counted import bad_mask
from ..faults import Faults, Kind
from ..frames import findings_of
from ..table import StatisticsTable

__all__ = ["darkness", "darkness_faults"]

MAD_TO_SIGMA = 1.4826
"""Standard deviation of a Gaussian in units of its median absolute deviation."""

OUTLIER_SIGMAS = 5.0
"""As cp_verify clips. Not one of 300,000 values (205 x 16 amplifiers in 100 frames) is that far off by chance."""

FEWEST_FOR_MAD = 3
"""Least number of frames: two values are equally far from their median, so their spread says nothing."""


def darkness(table: StatisticsTable, context: RuleContext) -> list[Finding]:
    """Return the faults of biases or darks that `darkness_faults` has found, as findings."""
    return list(findings_of("darkness", table, context))


def darkness_faults(table: StatisticsTable, context: RuleContext) -> list[Faults]:
    """Find faults of biases or darks from which their product was subtracted.

    Parameters
    ----------
    table
        The statistics.
    context
        With facts about the frames.
    """
    facts, recipe = context.frames, context.recipe
    assert facts is not None and recipe is not None
    signals, noises = table.values_of(recipe.signal_statistic), table.values_of(recipe.noise_statistic)
    counts = ~bad_mask(table, context)[:, :-1]
    difference, limit, strong, spoils = _outliers(signals, noises, facts)
    outlying = np.abs(difference) > limit
    spoils &= outlying
    quiet, least = _quiet(noises, table, facts)
    # If a frame spoils the product, the pipeline may have left it out. Then the product has more of the other frames'
    # noise, and subtracting it leaves less.
    spoilt = ((spoils & counts).sum(axis=2) > facts.threshold).any(axis=0)
    quiet &= ~spoilt[None, :, None]
    # A cosmic ray moves the mean of one amplifier, but not that of many.
    many = (outlying & counts).sum(axis=2) > facts.threshold
    outlying &= strong | many[..., None]
    return [
        Faults(Kind.OUTLIER, _wide(outlying), _values(difference), _values(limit), _wide(spoils & outlying)),
        Faults(Kind.QUIET, _wide(quiet), _values(noises), _values(least), _wide(np.zeros_like(quiet))),
    ]


def _wide(where: Booleans) -> Booleans:
    """Add the detectors as a whole, which are not judged."""
    return np.concatenate([where, np.zeros((*where.shape[:2], 1), bool)], axis=2)


def _values(values: Floats) -> Floats:
    return np.concatenate([values, np.full((*values.shape[:2], 1), np.nan)], axis=2)


def _quiet(noises: Floats, table: StatisticsTable, facts: FrameFacts) -> tuple[Booleans, Floats]:
    """Find amplifiers with much less noise than they have when they work; return where, and the least noises."""
    there = table.readable
    seconds = np.array([facts.time_of(one) for one in table.exposures])
    # The darks of a product are scaled to one second, so the noise of a short one weighs more.
    timed = np.where(there, seconds[:, None], np.inf).min(axis=0, initial=np.inf) > 0
    with np.errstate(divide="ignore"):
        variances = np.where(timed[None, :], 1 / seconds[:, None] ** 2, 1.0)
    left = noise_left(np.where(there, variances, np.nan)) if facts.in_product else np.ones(there.shape)
    known = table.of_amplifiers(facts.read_noises)
    least = np.maximum(facts.quiet_noise, np.where(known > 0, facts.limits.dark_noise_fraction_min * known, 0.0))
    needed = least[None] * left[..., None]
    return np.asarray(noises < needed), needed


def _outliers(signals: Floats, noises: Floats, facts: FrameFacts) -> tuple[Floats, Floats, Booleans, Booleans]:
    """Compare the level of each frame with that of the others.

    A large spread does not excuse a frame: one that differs by more than a pixel's noise always stands out.

    Returns
    -------
    difference, limit
        Of each amplifier in each exposure (electron).
    strong
        Where the difference is more than a pixel's noise.
    spoils
        Where it is so large that it spoils a product made of these frames.
    """
    number = (~np.isnan(signals)).sum(axis=0)
    spread = np.where(number >= FEWEST_FOR_MAD, median(np.abs(signals - median(signals))), 0.0)
    noise = median(noises)
    noise = np.where(np.isnan(noise), np.inf, noise)
    limit = np.maximum(facts.limits.outlier_min, np.minimum(OUTLIER_SIGMAS * MAD_TO_SIGMA * spread, noise))
    difference = signals - median_of_others(signals)
    strong = np.abs(difference) > noise
    with np.errstate(divide="ignore", invalid="ignore"):
        # Error of a plain mean of the frames; clipping may reduce it, but that is not certain.
        moved = np.abs(difference) / number
    spoils = (moved > facts.limits.outlier_in_product_max) & facts.in_product
    return difference, np.broadcast_to(limit, signals.shape), strong, np.asarray(spoils)
