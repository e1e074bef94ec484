# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A few exposures may be outliers: in them, detectors fail a test of cp_verify that they pass in the others."""

from __future__ import annotations

from ...findings import Finding, Outcome
from ..context import RuleContext
from ..counted import counted
from ..table import StatisticsTable

__all__ = ["exposures"]


def exposures(table: StatisticsTable, context: RuleContext) -> list[Finding]:
    """Name the exposures in which a test failed for detectors as a whole, if they are the minority.

    If they are the majority, it is no fault of single exposures, and the rule for detectors judges them. The CSC's own
    tests of the frames have findings of their own.

    Returns
    -------
    findings
        FAILED, by exposure and test; the value is the number of detectors. How much that counts is configured.
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
