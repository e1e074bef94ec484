# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A few exposures may be outliers: detectors fail a test that they pass in the others, or have more noise in them."""

from __future__ import annotations

import numpy as np

from ...enums import CalibType
from ...findings import Finding, Outcome
from ...measurements import SIGMA_OF_MAD
from ..arrays import Booleans, Floats, median, median_of_others
from ..context import RuleContext
from ..counted import bad_mask, counted
from ..table import StatisticsTable

__all__ = ["NOISY", "exposures"]

NOISY = "NOISY"
"""Kind of the findings of exposures with more noise than the others."""

NOISY_SIGMAS = 5.0
"""As cp_verify clips."""

LEAST_EXCESS = 0.1
"""Relative excess of noise below which no exposure stands out: twice what cp_verify allows against the ptc. Few
exposures may agree by chance, so that their spread alone says nothing."""

CERTAIN_EXCESS = 1.0
"""Relative excess of noise that no spread excuses: a bad half of a set spreads as much as it is off."""


def exposures(table: StatisticsTable, context: RuleContext) -> list[Finding]:
    """Name the exposures in which detectors as a whole fail a test or have more noise than in the others.

    Returns
    -------
    findings
        FAILED, by exposure and test, with the number of detectors; and by exposure with its noise in units of that of
        the others. How much that counts is configured.
    """
    return [*_with_failures(table, context), *_noisy(table, context)]


def _with_failures(table: StatisticsTable, context: RuleContext) -> list[Finding]:
    """Name the exposures in which a test of cp_verify failed for detectors as a whole, if they are the minority.

    If they are the majority, it is no fault of single exposures, and the rule for detectors judges them. The CSC's own
    tests of the frames have findings of their own.
    """
    failures = counted(table, context, with_own=False)
    hit = failures.by_detector(context.threshold).sum(axis=1)
    if 2 * int(hit.any(axis=1).sum()) > len(table.exposures):
        return []
    return [
        Finding(
            "exposures",
            Outcome.FAILED,
            failures.tests[test],
            exposure=table.exposures[exposure],
            value=float(hit[exposure, test]),
            limit=0.0,
            unit="detectors",
        )
        for exposure, test in table.places(hit > 0)
    ]


def _noisy(table: StatisticsTable, context: RuleContext) -> list[Finding]:
    """Name the biases or darks with more noise than the others.

    cp_verify compares noise with the ptc's, after the product was subtracted. Of few exposures a noisy one has spoilt
    the product, so that all of them fail, and only a comparison with each other shows which one it is.
    """
    if context.recipe is None or context.calib_type is CalibType.FLAT:
        return []  # the noise of a flat follows from its light
    noises = table.values_of(context.recipe.noise_statistic)
    noises = np.where(bad_mask(table, context)[:, :-1] | ~(noises > 0), np.nan, noises)
    excess, limit = np.full(noises.shape, np.nan), np.full(noises.shape, np.nan)
    for alike in _alike(table, context):
        excess[alike], limit[alike] = _excess(noises[alike])
    where = excess > limit
    whole = where.sum(axis=2) > context.threshold
    found = []
    for index in np.flatnonzero(whole.any(axis=1)):
        there = where[index] & whole[index][:, None]
        named = [table.names[one] for one in np.flatnonzero(whole[index])]
        on = " and ".join(named) if len(named) <= 2 else f"{len(named)} of {len(table.detectors)} detectors"
        found.append(
            Finding(
                "exposures",
                Outcome.FAILED,
                "noise",
                exposure=table.exposures[index],
                value=float(1 + np.median(excess[index][there])),
                limit=float(1 + np.median(limit[index][there])),
                unit="times that of the others",
                detail=f"on {on}",
                kind=NOISY,
            )
        )
    return found


def _alike(table: StatisticsTable, context: RuleContext) -> list[Booleans]:
    """Return where the exposures of each exposure time are: what is left of a product's noise depends on that."""
    facts = context.frames
    seconds = np.array([facts.time_of(one) if facts is not None else 0.0 for one in table.exposures])
    return [seconds == one for one in np.unique(seconds)]


def _excess(noises: Floats) -> tuple[Floats, Floats]:
    """Return by how much the noise of each amplifier exceeds that in the other exposures (relative), and its limit."""
    relative = noises / median(noises)
    spread = SIGMA_OF_MAD * median(np.abs(relative - 1))
    limit = np.clip(NOISY_SIGMAS * spread, LEAST_EXCESS, CERTAIN_EXCESS)
    return np.asarray(noises / median_of_others(noises) - 1), np.broadcast_to(limit, noises.shape)
