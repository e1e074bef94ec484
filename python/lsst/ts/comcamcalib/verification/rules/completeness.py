# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every exposure and detector of the plan must have statistics that can be read."""

from __future__ import annotations

from ...findings import Finding, Outcome
from ..context import RuleContext
from ..table import StatisticsTable

__all__ = ["completeness"]


def completeness(table: StatisticsTable, context: RuleContext) -> list[Finding]:
    """Return what is missing or can't be read.

    Returns
    -------
    findings
        UNKNOWN; ``quantity`` is the level of the statistics: ``detector``, ``exposure`` or ``run``.
    """
    if not table.exposures or not table.detectors:
        return [Finding("completeness", Outcome.UNKNOWN, "run", detail="there is nothing to verify")]
    return [
        Finding(
            "completeness",
            Outcome.UNKNOWN,
            one.level,
            detector=one.detector,
            exposure=one.exposure,
            detail=one.text,
        )
        for one in table.problems
    ]
