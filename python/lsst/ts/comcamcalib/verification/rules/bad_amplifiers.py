# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Amplifiers that are known to be bad are named, and what they fail does not count."""

from __future__ import annotations

from ...findings import Finding, Outcome
from ..context import RuleContext
from ..counted import counted
from ..table import StatisticsTable

__all__ = ["bad_amplifiers"]


def bad_amplifiers(table: StatisticsTable, context: RuleContext) -> list[Finding]:
    """Name each amplifier of the detectors in use that is configured as bad, with what it failed.

    Returns
    -------
    findings
        NOTED, by amplifier and failed test, or one without a test if it failed none; the value is how often it failed.
    """
    failures = counted(table, context)
    findings = []
    for index, detector in enumerate(table.detectors):
        for name, reason in context.bad_amplifiers.get(detector, {}).items():
            of_one = failures.of_bad[:, index, table.amplifiers.index(name)] if name in table.amplifiers else None
            by_test = failures.by_test(of_one) if of_one is not None else {}
            for test, count in by_test.items() or (("", 0),):
                findings.append(
                    Finding(
                        "bad_amplifiers",
                        Outcome.NOTED,
                        test,
                        detector=detector,
                        amplifier=name,
                        value=float(count),
                        unit="failures",
                        detail=reason,
                    )
                )
    return findings
