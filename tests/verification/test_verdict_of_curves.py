# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""cp_verify tests photon transfer curves by detector; there are no exposures, and no rule of the procedure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
from lsst.ts.comcamcalib.butler_data import BrokenStatistics, VerificationStatistics
from lsst.ts.comcamcalib.enums import CalibType, Verdict
from lsst.ts.comcamcalib.findings import Finding, Outcome
from lsst.ts.comcamcalib.verification import Judgement, judge_statistics
from lsst.ts.comcamcalib.verification.reader import read_table

Make = Callable[..., Any]


@pytest.fixture
def made(statistics: Make) -> Any:
    """Statistics of good curves of short flats, which fail PTC_TURNOFF."""
    return statistics(0, CalibType.PTC)


def judge(made: Any, run: Any = None, more: tuple[Finding, ...] = ()) -> Judgement:
    return judge_statistics(made.all(run), made.expected, more)


def test_good_curves_pass_and_what_does_not_count_is_told(made: Any) -> None:
    judgement = judge(made)
    assert judgement.verdict is Verdict.PASSED
    assert judgement.reason == (
        "All tests of 3 detectors passed, and PTC is plausible. Not counted, as configured: PTC_TURNOFF 48 x."
    )
    assert (judgement.detectors_verified, judgement.detectors_expected) == (3, 3)
    assert (judgement.exposures_verified, judgement.exposures_expected) == (0, 0)
    assert (judgement.exposures_failed_threshold, judgement.tests_failed_threshold) == (0, 0)
    (first, *_) = judgement.detectors
    assert first.noise == 7.0 and math.isnan(first.signal)


def test_all_that_was_written_is_in_the_table_under_no_exposure(made: Any) -> None:
    made.fail("PTC_GAIN", exposures=1, amplifiers=2)
    table = read_table(made.all(), made.expected)
    assert table.exposures == (None,) and table.problems == ()
    assert set(table.tests) == {"PTC_GAIN", "PTC_NOISE", "NOISE_SIGNAL_INDEPENDENCE", "PTC_TURNOFF"}
    assert table.values_of("AMP_GAIN").tolist() == [[[1.7] * 16] * 3]
    assert table.run is not None and (table.run.failed == table.failed).all()
    assert table.run.detector_success.tolist() == [[0, 0, 0]]


def test_few_amplifiers_off_their_nominal_gain_are_failures_by_name(made: Any) -> None:
    made.fail("PTC_GAIN", exposures=1, amplifiers=2)
    judgement = judge(made)
    assert judgement.verdict is Verdict.PASSED_WITH_FAILURES
    assert judgement.reason.startswith(
        "Of 3 detectors none failed, but single tests did: PTC_GAIN 2 x, in R22_S11 C10, R22_S11 C11."
    )
    assert (judgement.tests_failed, judgement.failures_by_test) == (2, {"PTC_GAIN": 2})
    failures = [one for one in judgement.findings if one.outcome is Outcome.FAILURE]
    assert [(one.detector, one.amplifier, one.exposure, one.unit) for one in failures] == [
        (4, "C10", None, "failures"),
        (4, "C11", None, "failures"),
    ]


@pytest.mark.parametrize(("amplifiers", "verdict"), [(8, Verdict.PASSED_WITH_FAILURES), (9, Verdict.FAILED)])
def test_a_detector_fails_with_more_amplifiers_than_allowed(made: Any, amplifiers: int, verdict: Verdict) -> None:
    made.fail("PTC_NOISE", exposures=1, amplifiers=amplifiers)
    judgement = judge(made)
    assert judgement.verdict is verdict
    if verdict is Verdict.FAILED:
        assert judgement.reason == (
            "1 of 3 detectors failed a test, as a whole or with more than 8 amplifiers: R22_S11 (PTC_NOISE 9 x)."
        )
        (worst, *_) = judgement.findings
        assert (worst.value, worst.limit, worst.unit) == (9.0, 8.0, "amplifiers")
        assert [one.exposures_failed for one in judgement.detectors] == [0, 0, 0]


def test_a_bad_detector_can_be_left_out(made: Any) -> None:
    made.fail("PTC_NOISE", exposures=1)
    made.expected = dataclasses.replace(made.expected, leave_out=True)
    judgement = judge(made)
    assert (judgement.verdict, judgement.left_out) == (Verdict.PASSED_WITH_FAILURES, (4,))
    assert judgement.reason.startswith(
        "Left out, and not certified: R22_S11 (PTC_NOISE 16 x). All tests of 2 detectors passed"
    )


def test_a_bad_amplifier_does_not_count(made: Any) -> None:
    made.fail("PTC_GAIN", exposures=1, amplifiers=1)
    made.expected = dataclasses.replace(made.expected, bad_amplifiers={4: {"C10": "dead, since 2026-11-01"}})
    judgement = judge(made)
    assert judgement.verdict is Verdict.PASSED
    assert "Known to be bad, and not counted: R22_S11 C10 (dead, since 2026-11-01; PTC_GAIN 1 x)." in judgement.reason


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.FAILED])
def test_good_tests_do_not_help_against_implausible_or_unread_values(made: Any, outcome: Outcome) -> None:
    finding = Finding("ptc", outcome, "gain", 4, "C10", value=17.0, limit=2.0, unit="electron/adu", detail="gain odd")
    judgement = judge(made, more=(finding,))
    assert judgement.verdict.name == outcome.name
    assert "R22_S11" in judgement.reason


def test_plausible_values_do_not_help_against_failed_tests(made: Any) -> None:
    made.fail("PTC_GAIN", exposures=1)
    finding = Finding("ptc", Outcome.FAILED, "gain", 1, "C10", value=17.0, limit=2.0, unit="electron/adu")
    judgement = judge(made, more=(finding,))
    assert judgement.verdict is Verdict.FAILED
    assert "1 of 3 detectors failed a test" in judgement.reason
    assert "PTC is not plausible: R22_S01 (C10 gain 17 electron/adu)" in judgement.reason


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda run: run.pop("R22_S11"), "R22_S11 (the statistics of the run do not have it)"),
        (lambda run: run.update(SUCCESS=True), "SUCCESS does not follow from the detectors"),
        (lambda run: run.pop("SUCCESS"), "SUCCESS is missing or neither true nor false"),
        (lambda run: run.update(R99_S99={"SUCCESS": True}), "'R99_S99' is no detector in use"),
        (lambda run: run.update({4: {"SUCCESS": True}}), "'4' is no detector in use"),
        (lambda run: run["R22_S11"].update(SUCCESS=True), "R22_S11 has succeeded, but with failures"),
        (lambda run: run.update(R22_S11={"SUCCESS": True}), "the run has PTC with another success of R22_S11 than"),
        (
            lambda run: run["R22_S11"]["FAILURES"].append("C10 PTC_GAIN"),
            "run and detectors disagree in PTC about R22_S11 C10 PTC_GAIN",
        ),
    ],
)
def test_a_run_that_makes_no_sense_or_contradicts_the_detectors_is_unknown(made: Any, change: Any, text: str) -> None:
    run = made.run()
    change(run)
    judgement = judge(made, run)
    assert judgement.verdict is Verdict.UNKNOWN
    assert text in judgement.reason


def test_a_failure_in_the_run_of_a_test_that_does_not_count_does_no_harm(made: Any) -> None:
    run = made.run()
    run["R22_S11"]["FAILURES"].append("C10 PTC_BFE_A00")
    assert judge(made, run).verdict is Verdict.PASSED


OF_EXPOSURES = {1: {"SUCCESS": True}, "SUCCESS": True}


@pytest.mark.parametrize("run", [None, [], "", 7, {}, OF_EXPOSURES, BrokenStatistics("torn")])
def test_a_run_of_another_shape_is_unknown(made: Any, run: Any) -> None:
    judgement = judge_statistics(VerificationStatistics(run, made.detectors), made.expected)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "the run" in judgement.reason and "exposure" not in judgement.reason


def test_a_curve_without_statistics_is_unknown_and_named(made: Any) -> None:
    run = made.run()
    del made.detectors[None, 4]
    judgement = judge_statistics(VerificationStatistics(run, made.detectors), made.expected)
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.reason == "The verification is not complete: missing or not usable: R22_S11 (no statistics)."
    assert (judgement.detectors_verified, judgement.exposures_verified) == (2, 0)


def test_an_amplifier_without_noise_is_unknown_but_one_without_a_gain_is_a_failed_test(made: Any) -> None:
    made.detectors[None, 4]["AMP"]["C10"].update(PTC_GAIN=math.nan)
    made.fail("PTC_GAIN", exposures=1, amplifiers=1)
    assert judge(made).verdict is Verdict.PASSED_WITH_FAILURES, "the rule on the values says that it is UNKNOWN"
    made.detectors[None, 4]["AMP"]["C10"].update(PTC_NOISE=math.nan)
    judgement = judge(made)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "R22_S11 (PTC_NOISE of C10 is missing or not a finite number)" in judgement.reason


def test_a_test_that_nobody_has_configured_is_unknown(made: Any) -> None:
    made.detectors[None, 4]["VERIFY"]["AMP"]["C10"]["PTC_KURTOSIS"] = True
    judgement = judge(made)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "whether the test 'PTC_KURTOSIS' counts is not configured" in judgement.reason


def test_statistics_of_exposures_are_not_those_of_curves(made: Any, statistics: Make) -> None:
    biases = statistics(2)
    judgement = judge_statistics(biases.all(), made.expected)
    assert judgement.verdict is Verdict.UNKNOWN
    judgement = judge_statistics(made.all(), biases.expected)
    assert judgement.verdict is Verdict.UNKNOWN
