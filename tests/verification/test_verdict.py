# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lsst.ts.comcamcalib.butler_data import VerificationStatistics
from lsst.ts.comcamcalib.enums import CalibType, Verdict
from lsst.ts.comcamcalib.verification import FrameFacts, Judgement, judge_statistics
from support.plans import make_config

Make = Callable[..., Any]
GOOD = (Verdict.PASSED, Verdict.PASSED_WITH_FAILURES)
many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


kinds = st.sampled_from([CalibType.BIAS, CalibType.FLAT, CalibType.PTC])


def judge(made: Any) -> Judgement:
    judgement = judge_statistics(made.all(), made.expected)
    check_sentence(judgement)
    return judgement


def check_sentence(judgement: Judgement) -> None:
    assert judgement.reason.strip()
    assert judgement.reason.isprintable()
    assert len(judgement.reason) < 2100


# By the rule


@pytest.mark.parametrize("calib_type", [CalibType.BIAS, CalibType.FLAT])
def test_everything_there_and_good_has_passed(calib_type: CalibType, statistics: Make) -> None:
    judgement = judge(statistics(6, calib_type))
    assert judgement.verdict is Verdict.PASSED
    assert judgement.reason == "All tests of 3 detectors in 6 exposures passed."
    assert (judgement.exposures_verified, judgement.exposures_expected) == (6, 6)
    assert (judgement.detectors_verified, judgement.detectors_expected) == (3, 3)
    assert (judgement.tests_failed, judgement.failures_by_test) == (0, {})
    assert [one.detector_name for one in judgement.detectors] == ["R22_S00", "R22_S01", "R22_S11"]
    assert judgement.detectors[0].signal == 0.25
    assert judgement.detectors[0].noise == 7.0


def test_a_noisy_detector_has_failed_and_is_named(statistics: Make) -> None:
    made = statistics(6)
    made.fail("NOISE", exposures=6)
    made.fail("MEAN", exposures=1, detector=0, amplifiers=2)
    judgement = judge(made)
    assert judgement.verdict is Verdict.FAILED
    assert judgement.reason == (
        "1 of 3 detectors failed a test in the majority of 6 exposures, as a whole or with more than 8 amplifiers: "
        "R22_S11 (NOISE 96 x)."
    )
    assert judgement.failures_by_test == {"MEAN": 2, "NOISE": 96}
    assert judgement.tests_failed == 98
    noisy = judgement.detectors[2]
    assert (noisy.detector, noisy.tests_failed, noisy.exposures_failed, noisy.amplifiers_failed) == (4, 96, 6, 16)
    assert noisy.failures_by_test == {"NOISE": 96}
    quiet = judgement.detectors[0]
    assert (quiet.tests_failed, quiet.exposures_failed, quiet.amplifiers_failed) == (2, 0, 2)


def test_a_noisy_amplifier_is_a_failure_but_no_failed_detector(statistics: Make) -> None:
    made = statistics(6)
    made.fail("NOISE", exposures=6, amplifiers=1)
    judgement = judge(made)
    assert judgement.verdict is Verdict.PASSED_WITH_FAILURES
    assert judgement.reason == (
        "Of 3 detectors in 6 exposures none failed, but single tests did: NOISE 6 x, in R22_S11 C10."
    )
    assert judgement.detectors[2].amplifiers_failed == 1


def test_where_single_tests_failed_is_named_if_these_are_few_places(statistics: Make) -> None:
    made = statistics(6)
    made.fail("NOISE", exposures=1, amplifiers=4)
    made.fail("MEAN", exposures=1, detector=0, amplifiers=1)
    assert judge(made).reason.endswith(
        "MEAN 1 x, NOISE 4 x, in R22_S00 C10, R22_S11 C10, R22_S11 C11, R22_S11 C12, R22_S11 C13."
    )
    made.fail("MEAN", exposures=1, detector=0, amplifiers=2)
    assert "single tests did: MEAN 2 x, NOISE 4 x." in judge(made).reason


@pytest.mark.parametrize(
    ("exposures", "failing", "amplifiers", "verdict"),
    [
        (6, 6, 8, Verdict.PASSED_WITH_FAILURES),
        (6, 6, 9, Verdict.FAILED),
        (6, 3, 16, Verdict.PASSED_WITH_FAILURES),
        (6, 4, 9, Verdict.FAILED),
        (5, 2, 16, Verdict.PASSED_WITH_FAILURES),
        (5, 3, 9, Verdict.FAILED),
        (1, 1, 9, Verdict.FAILED),
    ],
)
def test_a_detector_fails_with_more_amplifiers_than_allowed_in_the_majority_of_exposures(
    exposures: int, failing: int, amplifiers: int, verdict: Verdict, statistics: Make
) -> None:
    made = statistics(exposures)
    made.fail("NOISE", exposures=failing, amplifiers=amplifiers)
    assert judge(made).verdict is verdict


def test_different_tests_do_not_add_up(statistics: Make) -> None:
    made = statistics(4)
    made.fail("NOISE", exposures=4, amplifiers=8)
    made.fail("MEAN", exposures=4, amplifiers=8)
    assert judge(made).verdict is Verdict.PASSED_WITH_FAILURES


def test_different_exposures_of_different_tests_do_not_add_up_to_a_majority(statistics: Make) -> None:
    made = statistics(4)
    made.fail("NOISE", exposures=2)
    for exposure in made.expected.exposures[2:]:
        for tests in made.detectors[exposure, 4]["VERIFY"]["AMP"].values():
            tests.update({"MEAN": False, "SUCCESS": False})
        made.detectors[exposure, 4]["SUCCESS"] = False
    judgement = judge(made)
    assert judgement.verdict is Verdict.PASSED_WITH_FAILURES
    assert judgement.detectors[2].exposures_failed == 2


def test_a_threshold_of_zero_lets_no_amplifier_pass(statistics: Make) -> None:
    made = statistics(3, threshold=0)
    made.fail("NOISE", exposures=2, amplifiers=1)
    assert judge(made).verdict is Verdict.FAILED


def test_too_many_cosmic_rays_count_though_nobody_expects_the_test(statistics: Make) -> None:
    made = statistics(3)
    made.fail("PROCESSING", exposures=3)
    judgement = judge(made)
    assert judgement.verdict is Verdict.FAILED
    assert judgement.failures_by_test == {"PROCESSING": 48}


def test_a_test_that_does_not_count_does_no_harm_and_is_told(statistics: Make) -> None:
    made = statistics(2)
    for exposure in made.expected.exposures:
        made.detectors[exposure, 4]["VERIFY"]["AMP"]["C10"]["READ_NOISE_CONSISTENT"] = False
    judgement = judge(made)
    assert judgement.verdict is Verdict.PASSED
    assert judgement.reason.endswith(" Not counted, as configured: READ_NOISE_CONSISTENT 2 x.")


# Flats


def test_a_flats_uneven_detector_fails_as_a_whole(statistics: Make) -> None:
    made = statistics(4, CalibType.FLAT)
    made.fail_whole(exposures=3)
    judgement = judge(made)
    assert judgement.verdict is Verdict.FAILED
    assert "R22_S11 (SCATTER 3 x)" in judgement.reason
    assert judgement.detectors[2].amplifiers_failed == 0


def test_the_scatter_of_whole_flats_does_not_count(statistics: Make) -> None:
    made = statistics(4, CalibType.FLAT)
    made.uneven = True
    judgement = judge(made)
    assert judgement.verdict is Verdict.PASSED
    assert judgement.reason.endswith("Not counted, as configured: SCATTER of the exposure 4 x.")


def test_failures_of_amplifiers_are_seen_though_the_run_of_a_flat_hides_them(statistics: Make) -> None:
    made = statistics(4, CalibType.FLAT)
    made.fail("NOISE", exposures=4)
    assert made.run()[made.expected.exposures[0]] == {"SUCCESS": False, "FAILURES": []}
    assert judge(made).verdict is Verdict.FAILED


def test_detectors_of_another_filters_exposures_do_not_matter(statistics: Make) -> None:
    made = statistics(2, CalibType.FLAT)
    other = statistics(3, CalibType.FLAT)
    other.fail("NOISE", exposures=3)
    strangers = {(exposure + 100, detector): one for (exposure, detector), one in other.detectors.items()}
    judgement = judge_statistics(VerificationStatistics(made.run(), made.detectors | strangers), made.expected)
    assert judgement.verdict is Verdict.PASSED


# The procedure's rule, for comparison


def test_the_procedures_own_rule_is_computed_next_to_it(statistics: Make) -> None:
    made = statistics(6)
    made.fail("NOISE", exposures=6)
    judgement = judge(made)
    # 8 x the majority of 3 detectors; the majority of 6 exposures and the key SUCCESS.
    assert (judgement.tests_failed_threshold, judgement.exposures_failed_threshold) == (16, 4)
    assert judgement.exposures_failed == 6


def test_the_procedures_rule_lets_a_noisy_detector_pass_where_ours_does_not(statistics: Make) -> None:
    made = statistics(6)
    made.fail("NOISE", exposures=6, amplifiers=15)
    judgement = judge(made)
    assert judgement.verdict is Verdict.FAILED
    assert judgement.exposures_failed == 0 < judgement.exposures_failed_threshold


# Not knowing is never good


@many
@given(data=st.data())
def test_dropping_anything_from_good_statistics_never_passes(data: st.DataObject, statistics: Make) -> None:
    made = statistics(data.draw(st.integers(1, 4)), data.draw(kinds))
    run = made.run()
    for key in data.draw(st.sets(st.sampled_from(sorted(made.detectors)), max_size=4)):
        del made.detectors[key]
    summarised = sorted(key for key in run if key != "SUCCESS")
    for key in data.draw(st.sets(st.sampled_from(summarised), max_size=2)):
        del run[key]
    judgement = judge_statistics(VerificationStatistics(run, made.detectors), made.expected)
    check_sentence(judgement)
    complete = len(made.detectors) == 3 * len(made.expected.exposures) and len(summarised) == len(run) - 1
    assert judgement.verdict is (Verdict.PASSED if complete else Verdict.UNKNOWN)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the ways to everything in nested mappings, but for what no verdict needs."""
    found = [path] if path else []
    if isinstance(node, dict):
        for key, value in node.items():
            found += places(value, (*path, key))
    return found


def is_needed(path: tuple[Any, ...]) -> bool:
    unused = {"METADATA", "CATALOG", "READ_NOISE_CONSISTENT", "NOISE_SIGNAL_INDEPENDENCE", "PTC_TURNOFF"}
    if path[0] == "AMP" and path[-1] != "PTC_NOISE" and (path[-1].startswith("PTC_") or path[-1].startswith("AMP_")):
        return False
    return not unused & set(path) and path != ("DET",) and not (path[0] == "AMP" and path[-1] == "CR_NOISE")


@many
@given(data=st.data())
def test_dropping_or_spoiling_any_needed_value_never_passes(data: st.DataObject, statistics: Make) -> None:
    made = statistics(2, data.draw(kinds))
    run, detectors = made.run(), made.detectors
    one = detectors[made.expected.exposures[0], 4]
    *way, last = data.draw(st.sampled_from([path for path in places(one) if is_needed(path)]))
    place = one
    for key in way:
        place = place[key]
    bad = data.draw(
        st.sampled_from(["drop", None, "True", 1, math.nan, math.inf, [], {}, "\n", "x" * 9000, True, False])
    )
    if type(bad) is type(place[last]) and (bad == place[last] or not isinstance(bad, bool)):
        return
    if bad == 1 and isinstance(place[last], float):
        return  # a good number like any other
    if made.is_curve and "AMP" in way and last == "SUCCESS" and bad is True:
        return  # a failed test that does not count may be left out of it
    if bad == "drop":
        del place[last]
    else:
        place[last] = bad
    judgement = judge_statistics(VerificationStatistics(run, detectors), made.expected)
    check_sentence(judgement)
    assert judgement.verdict is Verdict.UNKNOWN, (way, last, bad)
    where = "R22_S11 (" if made.is_curve else "R22_S11 in exposure 2026112200001"
    assert where in judgement.reason or "do not fit together" in judgement.reason
    counted = judgement.detectors_verified, judgement.exposures_verified
    assert counted in (((2, 0), (3, 0)) if made.is_curve else ((2, 1), (3, 2)))


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.text(max_size=8), st.integers()), inner, max_size=3)
    ),
    max_leaves=10,
)


@many
@given(garbage=anything, data=st.data())
def test_garbage_is_unknown_and_never_an_exception(garbage: Any, data: st.DataObject, statistics: Make) -> None:
    made = statistics(2)
    run, detectors = made.run(), made.detectors
    where = data.draw(st.sampled_from(["run", "exposure", "failures", "detector", "amplifier", "key"]))
    if where == "run":
        run = garbage
    elif where == "exposure":
        run[made.expected.exposures[0]] = garbage
    elif where == "failures":
        run[made.expected.exposures[0]] = {"SUCCESS": False, "FAILURES": garbage}
    elif where == "key":
        run[str(garbage)] = {"SUCCESS": True}
    elif where == "detector":
        detectors[made.expected.exposures[0], 4] = garbage
    else:
        detectors[made.expected.exposures[0], 4]["VERIFY"]["AMP"]["C10"] = garbage
    judgement = judge_statistics(VerificationStatistics(run, detectors), made.expected)
    check_sentence(judgement)
    assert judgement.verdict is Verdict.UNKNOWN


def test_no_statistics_at_all_are_unknown(statistics: Make) -> None:
    made = statistics(2)
    judgement = judge_statistics(VerificationStatistics(None, {}), made.expected)
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.reason == (
        "The verification is not complete: missing or not usable: R22_S00 in all 2 exposures (no statistics), R22_S01 "
        "in all 2 exposures (no statistics), R22_S11 in all 2 exposures (no statistics), there are no statistics of "
        "the run."
    )
    assert (judgement.exposures_verified, judgement.detectors_verified) == (0, 0)
    assert math.isnan(judgement.detectors[0].noise)


def test_nothing_to_verify_is_unknown(statistics: Make) -> None:
    made = statistics(0)
    judgement = judge_statistics(VerificationStatistics({"SUCCESS": True}, {}), made.expected)
    assert judgement.verdict is Verdict.UNKNOWN


def test_a_missing_detector_does_not_hide_a_failed_one(statistics: Make) -> None:
    made = statistics(3)
    made.fail("NOISE", exposures=3)
    run = made.run()
    del made.detectors[made.expected.exposures[0], 1]
    judgement = judge_statistics(VerificationStatistics(run, made.detectors), made.expected)
    assert judgement.verdict is Verdict.FAILED
    assert "R22_S11 (NOISE 48 x)" in judgement.reason
    assert "missing or not usable: R22_S01 in exposure 2026112200001 (no statistics)" in judgement.reason


def test_fewer_than_sixteen_amplifiers_are_missing_data(statistics: Make) -> None:
    made = statistics(2)
    one = made.detectors[made.expected.exposures[1], 0]
    del one["AMP"]["C07"], one["VERIFY"]["AMP"]["C07"]
    judgement = judge(made)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "R22_S00 in exposure 2026112200002 (there are tests of 15 amplifiers instead of 16)" in judgement.reason
    assert (judgement.detectors_verified, judgement.exposures_verified) == (2, 1)


def test_an_exposure_nobody_asked_for_is_unknown(statistics: Make) -> None:
    made = statistics(2)
    run = {**made.run(), 2026112200099: {"SUCCESS": True}}
    judgement = judge_statistics(VerificationStatistics(run, made.detectors), made.expected)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "2026112200099" in judgement.reason


# Run and detectors have to agree


def test_exposures_may_be_written_as_text(statistics: Make) -> None:
    made = statistics(3)
    made.fail("NOISE", exposures=1, amplifiers=1)
    run = {str(key): value for key, value in made.run().items()}
    assert (
        judge_statistics(VerificationStatistics(run, made.detectors), made.expected).verdict
        is Verdict.PASSED_WITH_FAILURES
    )


def test_an_exposure_that_is_there_twice_is_unknown(statistics: Make) -> None:
    made = statistics(2)
    run = {**made.run(), str(made.expected.exposures[0]): {"SUCCESS": True}}
    judgement = judge_statistics(VerificationStatistics(run, made.detectors), made.expected)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "exposure 2026112200001 is there twice" in judgement.reason


@pytest.mark.parametrize(("exposures", "verdict"), [(2, Verdict.FAILED), (1, Verdict.UNKNOWN)])
@pytest.mark.parametrize("calib_type", [CalibType.BIAS, CalibType.FLAT])
def test_a_run_that_praises_what_a_detector_failed_is_named_and_never_passes(
    calib_type: CalibType, exposures: int, verdict: Verdict, statistics: Make
) -> None:
    made = statistics(2, calib_type)
    run = copy.deepcopy(made.run())
    made.fail("NOISE", exposures=exposures)
    judgement = judge_statistics(VerificationStatistics(run, made.detectors), made.expected)
    assert judgement.verdict is verdict
    assert "the run has exposure 2026112200001 as a success, but R22_S11 failed" in judgement.reason


@pytest.mark.parametrize("calib_type", [CalibType.BIAS, CalibType.FLAT])
def test_a_run_that_blames_what_no_detector_failed_is_unknown(calib_type: CalibType, statistics: Make) -> None:
    made = statistics(2, calib_type)
    run = made.run()
    run[made.expected.exposures[0]] = {"SUCCESS": False, "FAILURES": []}
    run["SUCCESS"] = False
    judgement = judge_statistics(VerificationStatistics(run, made.detectors), made.expected)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "as a failure, but no detector failed" in judgement.reason


def test_run_and_detectors_that_name_different_failures_are_unknown(statistics: Make) -> None:
    made = statistics(2)
    made.fail("NOISE", exposures=1, amplifiers=1)
    run = made.run()
    run[made.expected.exposures[0]]["FAILURES"] = ["R22_S11 C11 NOISE"]
    judgement = judge_statistics(VerificationStatistics(run, made.detectors), made.expected)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "run and detectors disagree in exposure 2026112200001" in judgement.reason
    assert "R22_S11 C10 NOISE, R22_S11 C11 NOISE" in judgement.reason


def test_a_run_that_names_no_failures_of_failed_detectors_is_unknown_but_for_flats(statistics: Make) -> None:
    made = statistics(3)
    made.fail("NOISE", exposures=1)
    run = made.run()
    run[made.expected.exposures[0]]["FAILURES"] = []
    judgement = judge_statistics(VerificationStatistics(run, made.detectors), made.expected)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "run and detectors disagree in exposure 2026112200001 about R22_S11 C00 NOISE" in judgement.reason
    assert "and 11 more" in judgement.reason


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda run, first: run.pop("SUCCESS"), "SUCCESS of the run is missing"),
        (lambda run, first: run.update(SUCCESS=False), "SUCCESS of the run does not follow"),
        (lambda run, first: run.update(SUCCESS="yes"), "SUCCESS of the run is missing or neither"),
        (lambda run, first: run[first].update(FAILURES=["R22_S00 C10 NOISE"]), "has succeeded, but with failures"),
        (lambda run, first: run.update({"R22_S00": {"SUCCESS": True}}), "'R22_S00' is not an exposure"),
        (lambda run, first: run.update({True: {"SUCCESS": True}}), "'True' is not an exposure"),
    ],
)
def test_a_run_that_makes_no_sense_is_unknown(change: Any, part: str, statistics: Make) -> None:
    made = statistics(2)
    run = made.run()
    change(run, made.expected.exposures[0])
    judgement = judge_statistics(VerificationStatistics(run, made.detectors), made.expected)
    assert judgement.verdict is Verdict.UNKNOWN
    assert part in judgement.reason


@pytest.mark.parametrize("failure", ["R99_S99 C10 NOISE", "R22_S11 C10 MEAN NOISE", "R22_S11", "", "two words"])
def test_a_failure_that_can_not_be_understood_is_unknown(failure: str, statistics: Make) -> None:
    made = statistics(2)
    made.fail("NOISE", exposures=1, amplifiers=1)
    run = made.run()
    run[made.expected.exposures[0]]["FAILURES"].append(failure)
    assert judge_statistics(VerificationStatistics(run, made.detectors), made.expected).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda one: one["VERIFY"]["AMP"]["C10"].update(SUCCESS=False), "SUCCESS does not follow from the amplifiers"),
        (lambda one: one["VERIFY"]["AMP"]["C10"].update(NOISE=False), "C10 has succeeded, but failed NOISE"),
        (lambda one: one.update(SUCCESS=False), "SUCCESS does not follow from the amplifiers"),
        (
            lambda one: (one.update(SUCCESS=False), one["VERIFY"]["AMP"]["C10"].update(SUCCESS=False)),
            "C10 has not succeeded, but no test of it failed",
        ),
        (lambda one: one["VERIFY"]["AMP"]["C10"].pop("MEAN"), "test MEAN is missing for C10"),
        (
            lambda one: [tests.pop("MEAN") for tests in one["VERIFY"]["AMP"].values()],
            "MEAN is missing for any amplifier",
        ),
        (lambda one: one["AMP"]["C10"].update(NOISE=math.nan), "NOISE of C10 is missing or not a finite number"),
        (lambda one: one["AMP"].update(C99=one["AMP"].pop("C10")), "are not of the same amplifiers"),
    ],
)
def test_a_detector_that_contradicts_itself_is_unknown(change: Any, part: str, statistics: Make) -> None:
    made = statistics(2)
    run = made.run()
    change(made.detectors[made.expected.exposures[0], 4])
    judgement = judge_statistics(VerificationStatistics(run, made.detectors), made.expected)
    assert judgement.verdict is Verdict.UNKNOWN
    assert part in judgement.reason


def test_a_half_sensor_has_its_own_number_of_amplifiers(statistics: Make) -> None:
    made = statistics(2)
    for exposure in made.expected.exposures:
        one = made.detectors[exposure, 4]
        for name in list(one["AMP"])[8:]:
            del one["AMP"][name], one["VERIFY"]["AMP"][name]
    assert "tests of 8 amplifiers instead of 16" in judge(made).reason
    made.expected = dataclasses.replace(made.expected, amplifiers={**made.expected.amplifiers, 4: 8})
    assert judge(made).verdict is Verdict.PASSED


def test_endless_whole_numbers_are_numbers(statistics: Make) -> None:
    made = statistics(1)
    made.detectors[made.expected.exposures[0], 4]["AMP"]["C10"]["MEAN"] = 10**400
    assert judge(made).verdict is Verdict.PASSED


def test_the_reason_of_an_unknown_can_be_given() -> None:
    judgement = Judgement.unknown("the statistics could not be read")
    assert (judgement.verdict, judgement.reason) == (Verdict.UNKNOWN, "the statistics could not be read")


def lit(statistics: Make, exposures: int) -> Any:
    """Return flats of 20,000 electron each, judged with what is known of their frames."""
    flats = statistics(exposures, CalibType.FLAT)
    for one in flats.detectors.values():
        for values in one["AMP"].values():
            values.update(MEAN=20_000.0, NOISE=141.0)
    known = FrameFacts(
        limits=make_config().frames,
        exposure_times=dict.fromkeys(flats.expected.exposures, 5.0),
        in_product=False,
        threshold=8,
        quiet_noise=4.0,
    )
    flats.expected = dataclasses.replace(flats.expected, frames=known)
    return flats


@pytest.mark.parametrize(
    ("amplifiers", "verdict", "words"),
    [
        (16, Verdict.FAILED, "Light: no light in 1 of 3 exposures (2026112200002; R22_S01)."),
        (9, Verdict.FAILED, "Light: no light in 1 of 3 exposures (2026112200002; R22_S01)."),
        (1, Verdict.UNKNOWN, "Light: no light in 1 of 3 exposures (2026112200002; single amplifiers of R22_S01: C10)."),
    ],
)
def test_amplifiers_of_which_no_signal_could_be_measured_have_no_light(
    amplifiers: int, verdict: Verdict, words: str, statistics: Make
) -> None:
    flats = lit(statistics, 3)
    assert judge(flats).verdict is Verdict.PASSED
    values = flats.detectors[2026112200002, 1]["AMP"]
    for name in list(values)[:amplifiers]:
        values[name].update(MEAN=math.nan, NOISE=math.nan)
    judgement = judge(flats)
    assert judgement.verdict is verdict
    assert judgement.reason.startswith(words)


def test_a_signal_that_is_not_there_is_missing_and_no_darkness(statistics: Make) -> None:
    flats = lit(statistics, 3)
    del flats.detectors[2026112200002, 1]["AMP"]["C10"]["MEAN"]
    judgement = judge(flats)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "MEAN of C10 is missing" in judgement.reason
    assert "ight" not in judgement.reason


@pytest.mark.parametrize("strictness", ["off", "note", "count"])
def test_statistics_without_any_signal_never_pass_however_frames_are_judged(strictness: Any, statistics: Make) -> None:
    flats = lit(statistics, 3)
    rules = flats.expected.rules.model_copy(update={"frames": strictness})
    flats.expected = dataclasses.replace(flats.expected, rules=rules)
    assert judge(flats).verdict is Verdict.PASSED
    for values in flats.detectors[2026112200002, 1]["AMP"].values():
        values.update(MEAN=math.nan, NOISE=math.nan)
    judgement = judge(flats)
    assert judgement.verdict is Verdict.UNKNOWN
    assert "R22_S01 in exposure 2026112200002 (MEAN of C10 is missing or not a finite number)" in judgement.reason
