# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A detector is bad if it fails a test in the majority of the exposures."""

from __future__ import annotations

import numpy as np
import pytest
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.findings import Outcome
from lsst.ts.comcamcalib.verification.rules.detectors import detectors
from support.tables import AMPLIFIERS, make_context, make_table


def failures(exposures: int, amplifiers: int, test: str = "NOISE") -> list[tuple[int, int, str, str]]:
    return [(exposure, 4, name, test) for exposure in range(exposures) for name in AMPLIFIERS[:amplifiers]]


@pytest.mark.parametrize(
    ("of", "exposures", "amplifiers", "threshold", "fails"),
    [
        (6, 6, 8, 8, False),
        (6, 6, 9, 8, True),
        (6, 4, 9, 8, True),
        (6, 3, 16, 8, False),
        (5, 3, 9, 8, True),
        (5, 2, 16, 8, False),
        (1, 1, 9, 8, True),
        (1, 1, 1, 0, True),
        (3, 3, 15, 15, False),
    ],
)
def test_more_amplifiers_than_the_threshold_in_the_majority_of_the_exposures(
    of: int, exposures: int, amplifiers: int, threshold: int, fails: bool
) -> None:
    context = make_context(of, threshold=threshold)
    found = detectors(make_table(context, failures(exposures, amplifiers)), context)
    failed = [one for one in found if one.outcome is Outcome.FAILED]
    assert [(one.detector, one.quantity, one.value, one.limit) for one in failed] == (
        [(4, "NOISE", exposures, of / 2)] if fails else []
    )
    single = [one for one in found if one.outcome is Outcome.FAILURE]
    assert [(one.detector, one.amplifier, one.value) for one in single] == [
        (4, name, exposures) for name in AMPLIFIERS[:amplifiers]
    ]


def test_a_test_of_the_detector_as_a_whole_needs_no_amplifier() -> None:
    context = make_context(3, CalibType.FLAT)
    found = detectors(make_table(context, [(number, 1, "", "SCATTER") for number in range(2)]), context)
    assert [(one.outcome, one.detector, one.amplifier) for one in found] == [
        (Outcome.FAILED, 1, ""),
        (Outcome.FAILURE, 1, ""),
    ]


def test_different_tests_and_different_exposures_do_not_add_up() -> None:
    context = make_context(4)
    half = [(number + 2, *rest) for number, *rest in failures(2, 16, "MEAN")]
    found = detectors(make_table(context, [*failures(2, 16), *half]), context)
    assert {one.outcome for one in found} == {Outcome.FAILURE}


def test_a_test_that_does_not_count_is_no_failure() -> None:
    context = make_context(3)
    assert detectors(make_table(context, failures(3, 16, "READ_NOISE_CONSISTENT")), context) == []


def test_the_cscs_own_tests_count_beside_those_of_cp_verify() -> None:
    context = make_context(3)
    own = np.zeros((3, 3, 17, 1), bool)
    own[:2, 0, :9, 0] = True
    found = detectors(make_table(context, own_tests=("OUTLIER",), own_failures=own), context)
    assert [(one.detector, one.quantity) for one in found if one.outcome is Outcome.FAILED] == [(0, "OUTLIER")]


def test_amplifiers_known_to_be_bad_do_not_count() -> None:
    context = make_context(3, threshold=1, bad_amplifiers={4: {"C10": "noisy", "C11": "dead"}, 0: {"C12": "odd"}})
    found = detectors(make_table(context, failures(3, 3)), context)
    assert [(one.outcome, one.amplifier) for one in found] == [(Outcome.FAILURE, "C12")]
    found = detectors(make_table(context, failures(3, 4)), context)
    assert [one.quantity for one in found if one.outcome is Outcome.FAILED] == ["NOISE"]


def test_a_good_table_and_an_empty_one_have_no_findings() -> None:
    assert detectors(make_table(make_context()), make_context()) == []
    empty = make_context(0)
    assert detectors(make_table(empty), empty) == []
