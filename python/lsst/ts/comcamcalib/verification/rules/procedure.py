# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rule of the written procedure, as the script of today applies it."""

from __future__ import annotations

import dataclasses

from ...findings import Finding, Outcome
from ..context import RuleContext
from ..table import StatisticsTable

__all__ = ["ProcedureCounts", "procedure", "procedure_counts"]


@dataclasses.dataclass(frozen=True)
class ProcedureCounts:
    """What the rule counts.

    Parameters
    ----------
    exposures_failed
        Exposures with at least ``failures_needed`` failures of the same test in the statistics of the run.
    exposures_needed
        How many such exposures it takes to refuse the product.
    failures_needed
        The threshold times the majority of the detectors.

    All are 0 for products of which the statistics have no exposures; the procedure has no rule for them.
    """

    exposures_failed: int
    exposures_needed: int
    failures_needed: int


def procedure_counts(table: StatisticsTable, context: RuleContext) -> ProcedureCounts:
    """Count as the script does: it does not see which detectors failed, nor which are missing."""
    if not context.exposures_expected:
        return ProcedureCounts(0, 0, 0)
    needed = context.threshold * (len(context.detectors) // 2 + 1)
    most: list[int] = table.run.most_failures.tolist() if table.run is not None else []
    return ProcedureCounts(
        exposures_failed=sum(1 for one in most if one >= max(needed, 1)),
        # The script counts the run's SUCCESS among the exposures.
        exposures_needed=(len(context.exposures) + 1) // 2 + 1,
        failures_needed=needed,
    )


def procedure(table: StatisticsTable, context: RuleContext) -> list[Finding]:
    """Return a finding, FAILED, if the written procedure would not certify; how much that counts is configured."""
    counts = procedure_counts(table, context)
    if not counts.exposures_needed or counts.exposures_failed < counts.exposures_needed:
        return []
    return [
        Finding(
            "procedure",
            Outcome.FAILED,
            "exposures",
            value=float(counts.exposures_failed),
            limit=float(counts.exposures_needed),
            unit="exposures",
            detail=f"at least {counts.failures_needed} failures of the same test",
        )
    ]
