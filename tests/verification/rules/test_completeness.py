# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is missing or can't be read is UNKNOWN, with the place and the cause."""

from __future__ import annotations

import pytest
from lsst.ts.comcamcalib.findings import Outcome
from lsst.ts.comcamcalib.verification.rules.completeness import completeness
from lsst.ts.comcamcalib.verification.table import Problem
from support.tables import FIRST, make_context, make_table


@pytest.mark.parametrize(
    "problem",
    [
        Problem("detector", "no statistics", FIRST, 4),
        Problem("exposure", "there are no statistics of it", FIRST),
        Problem("run", "there are no statistics of the run"),
    ],
)
def test_each_problem_of_the_table_is_a_finding(problem: Problem) -> None:
    context = make_context()
    (finding,) = completeness(make_table(context, problems=(problem,)), context)
    assert (finding.outcome, finding.quantity, finding.detail) == (Outcome.UNKNOWN, problem.level, problem.text)
    assert (finding.exposure, finding.detector) == (problem.exposure, problem.detector)


def test_a_complete_table_has_none() -> None:
    context = make_context()
    assert completeness(make_table(context), context) == []


@pytest.mark.parametrize("nothing", [{"exposures": 0}, {"detectors": {}}])
def test_nothing_to_verify_is_unknown(nothing: dict) -> None:
    context = make_context(**nothing)
    (finding,) = completeness(make_table(context), context)
    assert (finding.outcome, finding.detail) == (Outcome.UNKNOWN, "there is nothing to verify")
