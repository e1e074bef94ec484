# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests that failed and do not count, as configured."""

from __future__ import annotations

from collections.abc import Iterator

from ...findings import Finding, Outcome
from ..context import RuleContext
from ..counted import bad_mask
from ..reader.values import FAILS_ALWAYS
from ..table import StatisticsTable

__all__ = ["not_counted"]


def not_counted(table: StatisticsTable, context: RuleContext) -> list[Finding]:
    """Name the failures of tests that do not count, and of tests of exposures as a whole.

    Returns
    -------
    findings
        NOTED, by test and detector, or by test of the whole exposure; the value is how often it failed.
    """
    return [*_of_detectors(table, context), *_of_exposures(table)]


def _of_detectors(table: StatisticsTable, context: RuleContext) -> Iterator[Finding]:
    assert context.recipe is not None
    failures = table.failed & ~bad_mask(table, context)[None, :, :, None]
    counts = failures.sum(axis=(0, 2))
    for detector, test in table.places(counts > 0):
        if table.tests[test] not in (*context.recipe.tests, FAILS_ALWAYS):
            yield Finding(
                "not_counted",
                Outcome.NOTED,
                table.tests[test],
                detector=table.detectors[detector],
                value=float(counts[detector, test]),
                unit="failures",
            )


def _of_exposures(table: StatisticsTable) -> Iterator[Finding]:
    whole = table.run.whole if table.run is not None else {}
    for test in sorted({test for tests in whole.values() for test in tests}):
        count = sum(test in tests for tests in whole.values())
        yield Finding("not_counted", Outcome.NOTED, f"{test} of the exposure", value=float(count), unit="failures")
