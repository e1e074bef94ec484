# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The light of flats: its level, its noise, and whether it is the same from frame to frame.

cp_verify only checks that the noise is not above the square root of the signal, and does not check the level.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...findings import Finding
from ..arrays import Booleans, Floats, median, median_of_others, noise_left
from ..context import FrameFacts, RuleContext
from ..counted import bad_mask
from ..faults import Faults, Kind
from ..frames import findings_of
from ..table import StatisticsTable

if TYPE_CHECKING:
    from ...config import FrameLimits

__all__ = ["level_range", "light", "light_faults"]

NOISE_OF_NO_LIGHT = 0.5
"""Noise above this fraction of the signal means no light: 100 electron have 0.1, real flats far less."""

FULL = 0.98
"""Fraction of the turn-off above which pixels are full. Noise does not show this if the frames of a set differ much."""

ORDERED = 0.8
"""Kendall's rank correlation above which a change of the lamp is a drift (1: each frame follows the trend)."""

FEWEST_FOR_DRIFT = 4
"""Least number of frames for a drift: with fewer, any order looks like a trend."""


def light(table: StatisticsTable, context: RuleContext) -> list[Finding]:
    """Return the faults of the light that `light_faults` has found, as findings."""
    return list(findings_of("light", table, context))


def level_range(turnoffs: npt.ArrayLike, limits: FrameLimits) -> tuple[Floats, Floats]:
    """Return the least and the largest level (electron) of amplifiers in a flat, from their turn-offs (electron)."""
    turnoff = np.asarray(turnoffs, np.float64)
    low, high = limits.level_min, limits.level_max
    least, most = limits.turnoff_fraction_min * turnoff, limits.turnoff_fraction_max * turnoff
    # A turn-off that leaves no range comes from a bad curve, not from the amplifier.
    usable = (least < high) & (low < most)
    return np.where(usable, np.maximum(low, least), low), np.where(usable, np.minimum(high, most), high)


def light_faults(table: StatisticsTable, context: RuleContext) -> list[Faults]:
    """Find faults of the light of the flats of one filter.

    Parameters
    ----------
    table
        The statistics; its exposures are in the order in which they were taken.
    context
        With facts about the frames.
    """
    facts, recipe = context.frames, context.recipe
    assert facts is not None and recipe is not None
    unlit_detectors = table.unlit.sum(axis=2) >= np.array([context.amplifiers[one] for one in table.detectors])
    unlit_detectors &= table.unlit.any(axis=2)
    dark = table.unlit & ~unlit_detectors[..., None]
    signals = np.where(dark, 0.0, table.values_of(recipe.signal_statistic))
    noises = np.where(dark, 0.0, table.values_of(recipe.noise_statistic))
    faults = list(_levels(signals, noises, unlit_detectors, table.of_amplifiers(facts.turnoffs), facts))
    without = np.logical_or.reduce([one.spoils[..., :-1] for one in faults])
    seconds = np.array([facts.time_of(one) for one in table.exposures])
    kept = signals / np.where(seconds > 0, seconds, np.nan)[:, None, None]
    kept = np.where(without | bad_mask(table, context)[:, :-1], np.nan, kept)
    changes = median(kept / median(kept), axis=2) - 1
    return [*faults, *_flux(changes, seconds, signals.shape, facts), *_flux_of_amplifiers(kept, changes, facts)]


def _with_whole(where: Booleans, whole: Booleans | None = None) -> Booleans:
    """Add the detectors as a whole to the amplifiers."""
    last = np.zeros(where.shape[:2], bool) if whole is None else whole
    return np.concatenate([where, last[..., None]], axis=2)


def _wide(values: Floats, whole: float = np.nan) -> Floats:
    return np.concatenate([values, np.full((*values.shape[:2], 1), whole)], axis=2)


def _levels(signals: Floats, noises: Floats, unlit: Booleans, turnoffs: Floats, facts: FrameFacts) -> Iterator[Faults]:
    """Judge level and noise of each amplifier in each exposure."""
    limits = facts.limits
    lit = np.where(np.isnan(signals), np.nan, np.maximum(signals, 1.0))
    left = noise_left(1 / lit) if facts.in_product else np.ones(lit.shape)
    least_noise = limits.flat_noise_fraction_min * left * np.sqrt(lit)
    low, high = (np.broadcast_to(one, signals.shape) for one in level_range(turnoffs, limits))
    smooth = noises < least_noise
    full = signals > FULL * np.where(np.isnan(turnoffs), np.inf, turnoffs)
    no_light = (signals <= limits.light_min) | (noises > NOISE_OF_NO_LIGHT * signals)
    bright = ~no_light & (signals > high)
    where = _with_whole(no_light, unlit)
    yield Faults(Kind.NO_LIGHT, where, _wide(signals, 0.0), np.array(limits.light_min), where)
    for kind, mask, limit in (
        (Kind.SATURATED, bright & (smooth | full), high),
        (Kind.TOO_BRIGHT, bright & ~(smooth | full), high),
    ):
        yield Faults(kind, _with_whole(mask), _wide(signals), _wide(limit), _with_whole(mask))
    dark = _with_whole(~no_light & (signals < low))
    yield Faults(Kind.TOO_DARK, dark, _wide(signals), _wide(low), np.zeros_like(dark))
    too_smooth = _with_whole(~no_light & smooth)
    yield Faults(Kind.TOO_SMOOTH, too_smooth, _wide(noises), _wide(least_noise), too_smooth)


def _flux(changes: Floats, seconds: Floats, shape: tuple[int, ...], facts: FrameFacts) -> Iterator[Faults]:
    """Compare the light per second between the exposures.

    A change that all detectors see in an exposure comes from the lamp; one that a single detector sees comes from
    that detector.
    """
    limits = facts.limits
    lamp = median(changes, axis=1)
    seen = np.flatnonzero(~np.isnan(lamp))
    span = _drift(lamp[seen])
    # A slow drift shows as the difference of its two ends, although neither is far from the others.
    drifts = abs(span) > limits.flux_tolerance
    with np.errstate(invalid="ignore", divide="ignore"):
        tolerance = limits.flux_tolerance + limits.shutter_uncertainty_s / seconds
    # A drift is compared with the middle of the set; otherwise each exposure is compared with the others.
    apart = lamp if drifts else _apart(1 + lamp)
    where = np.abs(apart) > tolerance
    if drifts:
        where[[seen[0], seen[-1]]] = True
    value = np.full(len(lamp), span) if drifts else apart
    there = ~np.isnan(changes)
    yield _of_detectors(
        Kind.DRIFT if drifts else Kind.LAMP, where[:, None] & there, value[:, None], tolerance, shape, facts
    )
    own = _apart((1 + changes) / (1 + lamp)[:, None])
    yield _of_detectors(Kind.DETECTOR_FLUX, np.abs(own) > tolerance[:, None], own, tolerance, shape, facts)


def _of_detectors(
    kind: Kind, where: Booleans, value: Floats, tolerance: Floats, shape: tuple[int, ...], facts: FrameFacts
) -> Faults:
    """Return faults of detectors as a whole."""
    whole = _with_whole(np.zeros(shape, bool), where)
    spoils = whole & (np.abs(value) > facts.limits.flux_change_max)[..., None]
    return Faults(kind, whole, value[..., None], tolerance[:, None, None], spoils)


def _flux_of_amplifiers(kept: Floats, changes: Floats, facts: FrameFacts) -> Iterator[Faults]:
    """Compare each amplifier's part of its detector's light between the exposures."""
    apart = _apart(kept / (1 + changes)[..., None])
    where = _with_whole(np.abs(apart) > facts.limits.flux_tolerance)
    spoils = _with_whole(np.abs(apart) > facts.limits.flux_change_max)
    yield Faults(Kind.AMPLIFIER_FLUX, where, _wide(apart), np.array(facts.limits.flux_tolerance), spoils)


def _apart(values: Floats) -> Floats:
    """Return by how much each value differs from those of the other exposures (relative)."""
    return np.asarray(values / median_of_others(values) - 1)


def _drift(changes: Sequence[float] | Floats) -> float:
    """Return the change from the first to the last of some values in order of time; 0 if there is no trend."""
    values = np.asarray(changes, np.float64)
    if len(values) < FEWEST_FOR_DRIFT:
        return 0.0
    signs = np.sign(values[None, :] - values[:, None])[np.triu_indices(len(values), 1)]
    if abs(signs.sum()) < ORDERED * len(signs):
        return 0.0
    return float((1 + values[-1]) / (1 + values[0]) - 1)
