# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading statistics: all shapes that cp_verify has had, and anything else without an exception or a pass."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lsst.ts.comcamcalib.butler_data import BrokenStatistics, VerificationStatistics
from lsst.ts.comcamcalib.enums import CalibType, Verdict
from lsst.ts.comcamcalib.verification import judge_statistics
from lsst.ts.comcamcalib.verification.reader import read_table
from lsst.ts.comcamcalib.verification.table import FAILED, PASSED, StatisticsTable

Make = Callable[..., Any]
many = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FIRST = 2026112200001

anything = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(), st.binary(max_size=4)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=8), st.integers(), st.none(), st.dates()), inner, max_size=3),
    ),
    max_leaves=10,
)


kinds = st.sampled_from([CalibType.BIAS, CalibType.FLAT, CalibType.PTC])


def read(made: Any, **changes: Any) -> StatisticsTable:
    run = changes["run"] if "run" in changes else made.run()
    exposures = changes["exposures"] if "exposures" in changes else made.exposures()
    return read_table(VerificationStatistics(run, made.detectors, exposures), made.expected)


def texts(table: StatisticsTable) -> list[str]:
    return [one.text for one in table.problems]


def result(table: StatisticsTable, exposure: int, detector: int, amplifier: str, test: str) -> int:
    column = (*table.amplifiers, "").index(amplifier)
    place = table.exposures.index(exposure), table.detectors.index(detector), column, table.tests.index(test)
    return int(table.results[place])


# What is there


@pytest.mark.parametrize("calib_type", [CalibType.BIAS, CalibType.DARK, CalibType.FLAT])
def test_everything_that_was_written_is_in_the_table(calib_type: CalibType, statistics: Make) -> None:
    made = statistics(3, calib_type)
    made.fail("NOISE", exposures=2, amplifiers=3)
    made.detectors[FIRST, 1]["AMP"]["C12"]["AMP_CORNER"] = 3.5
    table = read(made)
    assert table.problems == ()
    assert table.readable.all() and not table.unlit.any()
    assert result(table, FIRST, 4, "C12", "NOISE") == FAILED
    assert result(table, FIRST, 4, "C13", "NOISE") == PASSED
    assert int(table.failed.sum()) == 6
    assert np.array_equal(table.success == FAILED, table.failed.any(axis=(2, 3)))
    assert table.run is not None and table.of_exposures is not None
    assert np.array_equal(table.of_exposures.failed, table.failed)
    assert table.run.failed.any() == (calib_type is not CalibType.FLAT), "the run of flats hides them"
    corner = table.values_of("AMP_CORNER")
    assert corner[0, 1, table.amplifiers.index("C12")] == 3.5
    assert int(np.isnan(corner).sum()) == corner.size - 1, "not measured elsewhere"
    assert np.isnan(table.values_of("SKEWNESS")).all()


def test_two_versions_of_cp_verify_fit_into_one_table(statistics: Make) -> None:
    """An older one wrote neither READ_NOISE_CONSISTENT nor the noise after the removal of cosmic rays."""
    made = statistics(2)
    for tests in made.detectors[FIRST, 4]["VERIFY"]["AMP"].values():
        del tests["READ_NOISE_CONSISTENT"]
    for values in made.detectors[FIRST, 4]["AMP"].values():
        del values["CR_NOISE"]
    table = read(made)
    assert table.problems == () and table.readable.all()
    assert result(table, FIRST, 4, "C10", "READ_NOISE_CONSISTENT") == -1
    assert result(table, FIRST + 1, 4, "C10", "READ_NOISE_CONSISTENT") == PASSED
    assert math.isnan(table.values_of("CR_NOISE")[0, 2, 0])


def test_the_order_of_amplifiers_does_not_matter(statistics: Make) -> None:
    made = statistics(1)
    one = made.detectors[FIRST, 4]
    one["AMP"]["C10"]["MEAN"] = 42.0
    one["AMP"] = dict(reversed(one["AMP"].items()))
    one["VERIFY"]["AMP"] = {name: dict(reversed(tests.items())) for name, tests in one["VERIFY"]["AMP"].items()}
    table = read(made)
    assert table.problems == ()
    assert table.values_of("MEAN")[0, 2, table.amplifiers.index("C10")] == 42.0


@pytest.mark.parametrize("calib_type", [CalibType.BIAS, CalibType.FLAT])
def test_exposures_may_be_numbers_or_text(calib_type: CalibType, statistics: Make) -> None:
    made = statistics(2, calib_type)
    made.fail("NOISE", exposures=1)
    run = {str(key): one for key, one in made.run().items()}
    assert read(made, run=run).problems == ()


# What is not


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda all, one: all.pop((FIRST, 4)), "no statistics"),
        (lambda all, one: all.update({(FIRST, 4): BrokenStatistics("the file x is torn")}), "the file x is torn"),
        (lambda all, one: all.update({(FIRST, 4): None}), "the content is missing or not a mapping"),
        (lambda all, one: one.pop("AMP"), "AMP is missing or not a mapping"),
        (lambda all, one: one["VERIFY"]["AMP"].update(C10=7), "the entry of amplifier C10 is missing or not a mapping"),
        (lambda all, one: one["AMP"]["C10"].update(NOISE="7.0"), "NOISE of C10 is missing or not a finite number"),
        (lambda all, one: one["AMP"]["C10"].update(NOISE=True), "NOISE of C10 is missing or not a finite number"),
        (lambda all, one: one["AMP"]["C10"].update(MEAN=math.inf), "MEAN of C10 is missing or not a finite number"),
        (lambda all, one: one["VERIFY"]["AMP"]["C10"].update(NOISE=1), "NOISE of C10 is missing or neither true nor"),
        (lambda all, one: one["VERIFY"]["AMP"]["C10"].update(NOISE=-1), "NOISE of C10 is missing or neither true nor"),
        (
            lambda all, one: one["VERIFY"]["AMP"]["C10"].update(EVEN_ODD=True),
            "whether the test 'EVEN_ODD' counts is not configured; add it to tests or tests_not_counted of verifyBias",
        ),
        (
            lambda all, one: (
                [one[part].update(C18=one[part].pop("C10")) for part in ("AMP",)]
                + [one["VERIFY"]["AMP"].update(C18=one["VERIFY"]["AMP"].pop("C10"))]
            ),
            "it has other amplifiers than usual: C10, C18",
        ),
    ],
)
def test_a_detector_that_can_not_be_read_is_a_problem_of_its_own(change: Any, text: str, statistics: Make) -> None:
    made = statistics(3)
    run, exposures = made.run(), made.exposures()
    change(made.detectors, made.detectors[FIRST, 4])
    table = read(made, run=run, exposures=exposures)
    (problem,) = table.problems
    assert (problem.level, problem.exposure, problem.detector) == ("detector", FIRST, 4)
    assert problem.text.startswith(text)
    assert int((~table.readable).sum()) == 1
    judgement = judge_statistics(VerificationStatistics(run, made.detectors, exposures), made.expected)
    assert judgement.verdict is Verdict.UNKNOWN
    assert f"R22_S11 in exposure {FIRST} ({text}" in judgement.reason


def test_amplifiers_that_no_camera_of_this_kind_has_are_refused(statistics: Make) -> None:
    made = statistics(1)
    for detector in (0, 1, 4):
        one = made.detectors[FIRST, detector]
        one["AMP"]["Z9"], one["VERIFY"]["AMP"]["Z9"] = one["AMP"].pop("C10"), one["VERIFY"]["AMP"].pop("C10")
    assert read(made).problems == ()
    names = tuple(f"C{row}{column}" for row in (1, 0) for column in range(8))
    made.expected = dataclasses.replace(made.expected, amplifier_names=names)
    assert set(texts(read(made))) == {"'Z9' is no amplifier of this camera"}


@pytest.mark.parametrize("part", ["AMP", "both"])
def test_a_bad_amplifier_may_be_missing_or_without_numbers(part: str, statistics: Make) -> None:
    made = statistics(2)
    for exposure in made.expected.exposures:
        one = made.detectors[exposure, 4]
        if part == "both":
            del one["AMP"]["C10"], one["VERIFY"]["AMP"]["C10"]
        else:
            one["AMP"]["C10"].update(MEAN=math.nan, NOISE=math.nan)
    assert judge_statistics(made.all(), made.expected).verdict is Verdict.UNKNOWN
    made.expected = dataclasses.replace(made.expected, bad_amplifiers={4: {"C10": "dead, since 2026-11-01"}})
    judgement = judge_statistics(made.all(), made.expected)
    assert judgement.verdict is Verdict.PASSED
    assert judgement.reason.endswith(
        "Known to be bad, and not counted: R22_S11 C10 (dead, since 2026-11-01; failed no test)."
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda all: all.pop(FIRST), "there are no statistics of it"),
        (lambda all: all[FIRST].pop("R22_S11"), "the statistics of the exposure do not have it"),
        (lambda all: all[FIRST].update(R99_S99={"SUCCESS": True}), "can't be used: 'R99_S99' is no detector in use"),
        (lambda all: all[FIRST].update(R22_S11={"SUCCESS": 1}), "SUCCESS of R22_S11 is missing or neither"),
        (lambda all: all[FIRST].update(SUCCESS=False), "SUCCESS does not follow from the detectors"),
        (lambda all: all[FIRST]["R22_S11"].update(FAILURES=["C10 NOISE"]), "R22_S11 has succeeded, but with failures"),
        (lambda all: all[FIRST].update(R22_S11={"SUCCESS": False, "FAILURES": [3]}), "'3' is no failure of a detector"),
        (lambda all: all.update({FIRST: BrokenStatistics("the file x is torn")}), "can't be used: the file x is torn"),
    ],
)
def test_statistics_of_an_exposure_that_can_not_be_read_are_unknown(change: Any, text: str, statistics: Make) -> None:
    made = statistics(2)
    exposures = made.exposures()
    change(exposures)
    (problem,) = read(made, exposures=exposures).problems
    assert (problem.level, problem.exposure) == ("exposure", FIRST)
    assert text in problem.text
    judgement = judge_statistics(VerificationStatistics(made.run(), made.detectors, exposures), made.expected)
    assert judgement.verdict is Verdict.UNKNOWN and text in judgement.reason


# Anything


@many
@given(data=st.data())
def test_any_value_at_any_level_is_unknown_and_no_exception(data: st.DataObject, statistics: Make) -> None:
    made = statistics(2, data.draw(kinds))
    run, detectors, exposures = made.run(), made.detectors, made.exposures()
    garbage = data.draw(anything)
    where = data.draw(st.sampled_from(["run", "detector", *(["exposure"] if exposures else [])]))
    if where == "run":
        run = garbage
    elif where == "exposure":
        exposures[FIRST] = garbage
    else:
        detectors[made.expected.exposures[0], 4] = garbage
    judgement = judge_statistics(VerificationStatistics(run, detectors, exposures), made.expected)
    assert judgement.verdict is Verdict.UNKNOWN
    assert judgement.reason.isprintable() and len(judgement.reason) < 2100


def paths(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = [found for key, value in node.items() for found in paths(value, (*path, key))] if type(node) is dict else []
    return [path, *inner] if path else inner


@many
@given(data=st.data())
def test_valid_statistics_with_one_change_are_read_without_an_exception(data: st.DataObject, statistics: Make) -> None:
    """A change may be harmless, but never makes a failure pass."""
    made = statistics(2, data.draw(kinds))
    made.fail("PTC_NOISE" if made.is_curve else "NOISE", exposures=2)
    parts: dict[str, Any] = {"run": made.run(), "detectors": made.detectors, "exposures": made.exposures()}
    part = data.draw(st.sampled_from(sorted(name for name, content in parts.items() if content)))
    parts[part] = copy.deepcopy(parts[part])
    *way, last = data.draw(st.sampled_from(paths(parts[part])))
    place = parts[part]
    for key in way:
        place = place[key]
    match data.draw(st.sampled_from(["drop", "replace", "add", "double"])):
        case "drop":
            del place[last]
        case "replace":
            place[last] = data.draw(anything)
        case "add":
            place[data.draw(st.one_of(st.text(max_size=8), st.integers()))] = data.draw(anything)
        case _:
            place[f"{last} "] = place[last]
    judgement = judge_statistics(VerificationStatistics(**parts), made.expected)
    assert judgement.verdict in (Verdict.FAILED, Verdict.UNKNOWN)
    assert judgement.reason.isprintable()
