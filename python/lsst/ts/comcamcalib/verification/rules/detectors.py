# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A detector is bad if it fails a test in the majority of the exposures, or its own product fails it."""

from __future__ import annotations

from collections.abc import Iterator

from ...findings import Finding, Outcome
from ..context import RuleContext
from ..counted import Counted, counted
from ..table import StatisticsTable

__all__ = ["detectors"]


def detectors(table: StatisticsTable, context: RuleContext) -> list[Finding]:
    """Judge each detector by each test: cp_verify's and the CSC's own.

    In an exposure it fails a test of the detector as a whole, or with more amplifiers than the threshold allows.

    Returns
    -------
    findings
        FAILED for a test that a detector fails in the majority of the exposures; the value is their number. FAILURE
        for every amplifier that fails a test in any exposure, and for a detector that does so as a whole. Where the
        product itself is tested, and not its exposures, the values are numbers of amplifiers and of failures.
    """
    if not table.exposures or not table.detectors:
        return []
    failures = counted(table, context)
    failed = _failed if context.exposures_expected else _failed_by_product
    return [*failed(failures, table, context), *_failures(failures, table, context)]


def _failed(failures: Counted, table: StatisticsTable, context: RuleContext) -> Iterator[Finding]:
    exposures = failures.by_detector(context.threshold).sum(axis=0)
    half = len(table.exposures) / 2
    totals = failures.failed.sum(axis=(0, 2))
    for detector, test in table.places(exposures > half):
        yield Finding(
            "detectors",
            Outcome.FAILED,
            failures.tests[test],
            detector=table.detectors[detector],
            value=float(exposures[detector, test]),
            limit=half,
            unit="exposures",
            detail=f"{totals[detector, test]} failures",
        )


def _failed_by_product(failures: Counted, table: StatisticsTable, context: RuleContext) -> Iterator[Finding]:
    amplifiers = failures.failed[0, :, :-1].sum(axis=1)
    for detector, test in table.places(failures.by_detector(context.threshold)[0]):
        yield Finding(
            "detectors",
            Outcome.FAILED,
            failures.tests[test],
            detector=table.detectors[detector],
            value=float(amplifiers[detector, test]),
            limit=float(context.threshold),
            unit="amplifiers",
        )


def _failures(failures: Counted, table: StatisticsTable, context: RuleContext) -> Iterator[Finding]:
    exposures = failures.failed.sum(axis=0)
    for detector, amplifier, test in table.places(exposures > 0):
        yield Finding(
            "detectors",
            Outcome.FAILURE,
            failures.tests[test],
            detector=table.detectors[detector],
            amplifier=(*table.amplifiers, "")[amplifier],
            value=float(exposures[detector, amplifier, test]),
            limit=0.0,
            unit="exposures" if context.exposures_expected else "failures",
        )
