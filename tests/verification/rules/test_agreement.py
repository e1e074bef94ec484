# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The levels of cp_verify's statistics must not contradict each other."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.findings import Outcome
from lsst.ts.comcamcalib.verification import RuleContext, StatisticsTable
from lsst.ts.comcamcalib.verification.rules.agreement import agreement
from lsst.ts.comcamcalib.verification.table import Summary
from support.tables import AMPLIFIERS, FIRST, make_context, make_table

FAILURE = (0, 4, "C10", "NOISE")


def summary(table: StatisticsTable, **changes: Any) -> Summary:
    """Return a summary that says the same as the detectors, but for some changes."""
    known: dict[str, Any] = {
        "success": table.success.all(axis=1).astype(np.int8),
        "detector_success": np.full(table.success.shape, -1, np.int8),
        "failed": table.results == 0,
        "others": {},
        "whole": {},
        "most_failures": np.zeros(len(table.exposures), np.int64),
    }
    return Summary(**{**known, **changes})


def found(context: RuleContext, table: StatisticsTable, **summaries: Any) -> list[tuple[Any, ...]]:
    findings = agreement(dataclasses.replace(table, **summaries), context)
    assert all(one.outcome is Outcome.UNKNOWN for one in findings)
    return [(one.quantity, one.kind, one.exposure, one.detector, one.detail) for one in findings]


@pytest.mark.parametrize("calib_type", [CalibType.BIAS, CalibType.FLAT])
@pytest.mark.parametrize("failures", [(), (FAILURE,)])
def test_levels_that_say_the_same_agree(calib_type: CalibType, failures: tuple) -> None:
    context = make_context(2, calib_type)
    table = make_table(context, failures)
    assert found(context, table, run=summary(table), of_exposures=summary(table)) == []


@pytest.mark.parametrize("level", ["run", "exposure"])
@pytest.mark.parametrize(
    ("failures", "changes", "kind", "detector", "detail"),
    [
        ((FAILURE,), {"success": [1, 1]}, "success", 4, ""),
        ((), {"success": [0, 1]}, "failure", None, ""),
        ((FAILURE,), {"detector_success": [[1, 1, 1], [1, 1, 1]]}, "detector", 4, ""),
        ((FAILURE,), {"failed": ()}, "tests", 4, "R22_S11 C10 NOISE"),
        ((FAILURE,), {"failed": (FAILURE, (0, 0, "C17", "MEAN"))}, "tests", 0, "R22_S00 C17 MEAN"),
        ((FAILURE,), {"others": {FIRST: ("R22_S11 C99 NOISE",)}}, "tests", None, "R22_S11 C99 NOISE"),
    ],
)
def test_each_contradiction_is_named_with_its_detector(
    failures: tuple, changes: dict[str, Any], kind: str, detector: int | None, detail: str, level: str
) -> None:
    context = make_context(2)
    table = make_table(context, failures)
    if "failed" in changes:
        changes = {"failed": make_table(context, changes["failed"]).results == 0}
    changes = {name: np.array(one, np.int8) if isinstance(one, list) else one for name, one in changes.items()}
    where = "run" if level == "run" else "of_exposures"
    assert found(context, table, **{where: summary(table, **changes)}) == [(level, kind, FIRST, detector, detail)]


def test_what_does_not_count_need_not_agree() -> None:
    """cp_verify lists READ_NOISE_CONSISTENT only when the amplifier failed something else."""
    context = make_context(2)
    table = make_table(context, [FAILURE, (0, 4, "C10", "READ_NOISE_CONSISTENT")])
    without = make_table(context, [FAILURE]).results == 0
    assert found(context, table, run=summary(table, failed=without)) == []


def test_the_run_of_flats_hides_what_failed_but_the_exposures_do_not() -> None:
    context = make_context(2, CalibType.FLAT)
    table = make_table(context, [(0, 4, name, "NOISE") for name in AMPLIFIERS])
    hidden = summary(table, failed=np.zeros_like(table.results, bool), whole={FIRST: ("SCATTER",)})
    assert found(context, table, run=hidden) == []
    assert len(found(context, table, of_exposures=hidden)) == 16


def test_an_exposure_that_run_and_its_own_statistics_see_differently_is_named() -> None:
    context = make_context(2, CalibType.FLAT)
    table = make_table(context)
    uneven = summary(table, success=np.array([0, 1], np.int8), whole={FIRST: ("SCATTER",)})
    (finding,) = found(context, table, run=summary(table), of_exposures=uneven)
    assert finding == ("run", "levels", FIRST, None, "the run has it as a success, its own statistics as a failure")


def unread(context: RuleContext, *failures: Any) -> StatisticsTable:
    """Return a table in which the statistics of detector 1 can't be read in the first exposure."""
    table = make_table(context, failures)
    readable, success, results = table.readable.copy(), table.success.copy(), table.results.copy()
    readable[0, 1], success[0, 1], results[0, 1] = False, -1, -1
    return dataclasses.replace(table, readable=readable, success=success, results=results)


def test_what_is_missing_is_not_compared() -> None:
    """The summaries may say of it what they want."""
    context = make_context(2)
    table = unread(context, FAILURE)
    failed = make_table(context, [FAILURE, (0, 1, "C17", "MEAN")]).results == 0
    others = {FIRST: ("R22_S01 C99 NOISE",)}
    of_detectors = np.array([[1, 0, 0], [1, 1, 1]], np.int8)
    said = summary(
        table, success=np.array([0, 1], np.int8), failed=failed, others=others, detector_success=of_detectors
    )
    assert found(context, table, run=said, of_exposures=said) == []
    none_failed = summary(unread(context), success=np.array([0, 1], np.int8))
    assert found(context, unread(context), run=none_failed) == [], "the one that is missing may have failed"


def test_what_is_missing_does_not_hide_contradictions_about_others() -> None:
    """With certify_good_detectors only the detector that is missing is left out."""
    context = make_context(2)
    table = unread(context, FAILURE)
    assert found(context, table, run=summary(table, success=np.array([1, 1], np.int8))) == [
        ("run", "success", FIRST, 4, "")
    ]
    said = summary(table, success=np.array([0, 1], np.int8), failed=np.zeros_like(table.results, bool))
    assert found(context, table, of_exposures=said) == [("exposure", "tests", FIRST, 4, "R22_S11 C10 NOISE")]
