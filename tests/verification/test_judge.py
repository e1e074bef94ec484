# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verdict is the worst finding, and a bad detector can be left out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.enums import Verdict
from lsst.ts.comcamcalib.findings import Finding, Outcome
from lsst.ts.comcamcalib.verification import Counts, DetectorJudgement, Judgement, judge, strict
from support.tables import NAMES, make_context

COUNTS = Counts(detectors=tuple(DetectorJudgement(number, name) for number, name in NAMES.items()))


def finding(outcome: Outcome, detector: int | None = None, rule: str = "detectors", **changes: Any) -> Finding:
    known: dict[str, Any] = {"quantity": "NOISE", "detector": detector}
    return Finding(rule, outcome, **{**known, **changes})


def judged(*findings: Finding, **changes: Any) -> Judgement:
    return judge(findings, make_context(**changes), COUNTS)


outcomes = st.sampled_from(list(Outcome))
some_findings = st.lists(st.builds(finding, outcomes, st.sampled_from([None, *NAMES])), max_size=6)


@given(some_findings)
def test_the_verdict_is_the_worst_finding(findings: list[Finding]) -> None:
    worst = max((one.outcome for one in findings), default=Outcome.NOTED)
    judgement = judged(*findings)
    assert (
        judgement.verdict
        is {
            Outcome.NOTED: Verdict.PASSED,
            Outcome.FAILURE: Verdict.PASSED_WITH_FAILURES,
            Outcome.UNKNOWN: Verdict.UNKNOWN,
            Outcome.FAILED: Verdict.FAILED,
        }[worst]
    )
    assert judgement.reason and judgement.left_out == ()
    found = [one.outcome for one in judgement.findings]
    assert found == sorted(found, reverse=True)


@given(some_findings)
def test_leaving_out_bad_detectors_makes_no_bad_detector_good(findings: list[Finding]) -> None:
    judgement = judged(*findings, leave_out=True)
    bad = [one for one in findings if one.outcome >= Outcome.UNKNOWN]
    good = judgement.verdict in (Verdict.PASSED, Verdict.PASSED_WITH_FAILURES)
    detectors = {one.detector for one in bad}
    assert good == (None not in detectors and len(detectors) < len(NAMES))
    if good:
        assert set(judgement.left_out) == detectors
        assert all(NAMES[one] in judgement.reason for one in judgement.left_out)
        assert not bad or judgement.verdict is Verdict.PASSED_WITH_FAILURES
    else:
        assert judgement.left_out == ()


def test_a_detector_that_is_left_out_is_named_with_the_cause() -> None:
    judgement = judged(finding(Outcome.FAILED, 4, unit="exposures", value=3.0, limit=2.0), leave_out=True)
    assert judgement.verdict is Verdict.PASSED_WITH_FAILURES
    assert judgement.reason.startswith("Left out, and not certified: R22_S11 (")
    assert judgement.reason.endswith("All tests of 2 detectors in 4 exposures passed.")
    missing = finding(Outcome.UNKNOWN, 1, "completeness", exposure=2026112200001, detail="no statistics")
    judgement = judged(missing, leave_out=True)
    assert "R22_S01 (missing or not usable: R22_S01 in exposure 2026112200001 (no statistics))" in judgement.reason


def test_what_was_left_out_before_does_not_count_and_is_left_out_again() -> None:
    before = {4: "left out of BIAS"}
    judgement = judged(finding(Outcome.FAILED, 4), leave_out=True, left_out_before=before)
    assert (judgement.verdict, judgement.left_out) == (Verdict.PASSED_WITH_FAILURES, (4,))
    assert "R22_S11 (left out of BIAS)" in judgement.reason
    assert {one.outcome for one in judgement.findings} == {Outcome.NOTED}
    judgement = judged(finding(Outcome.FAILED, 0), leave_out=True, left_out_before=before)
    assert judgement.left_out == (0, 4)
    everywhere = dict.fromkeys(NAMES, "left out of BIAS")
    judgement = judged(leave_out=True, left_out_before=everywhere)
    assert (judgement.verdict, judgement.reason) == (Verdict.FAILED, "No good detector is left.")


def test_a_frame_that_is_bad_on_most_detectors_is_not_mended_by_leaving_detectors_out() -> None:
    frame = finding(Outcome.FAILED, None, "light", exposure=2026112200001, quantity="LEVEL")
    judgement = judged(frame, finding(Outcome.FAILED, 4), leave_out=True)
    assert (judgement.verdict, judgement.left_out) == (Verdict.FAILED, ())


@pytest.mark.parametrize(
    ("strictness", "left"),
    [
        ("off", []),
        ("note", [Outcome.NOTED] * 4),
        ("count", [Outcome.NOTED, Outcome.FAILURE, Outcome.UNKNOWN, Outcome.FAILURE]),
        ("fail", list(Outcome)),
    ],
)
def test_a_rule_is_as_strict_as_configured(strictness: str, left: list[Outcome]) -> None:
    assert [one.outcome for one in strict([finding(one) for one in Outcome], strictness)] == left


def test_a_rule_without_a_sentence_of_its_own_is_told_with_place_value_and_limit() -> None:
    tilted = finding(
        Outcome.FAILED, 4, "tilt", quantity="slope", amplifier="C10", value=0.031, limit=0.02, unit="fraction"
    )
    assert judged(tilted).reason == "The rule tilt failed: R22_S11 C10 slope 0.031 fraction (limit 0.02)."
