# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.instrument import Detector
from lsst.ts.comcamcalib.options.detectors import detectors
from lsst.ts.comcamcalib.options.values import NotAllowedError
from support.plans import make_config

NAMES = [f"R22_S{row}{column}" for row in range(3) for column in range(3)]
ALL = tuple(range(9))

INSTRUMENT = make_config().instrument


def reader(detectors_by_id: dict[int, str], name: str = "LSSTComCam") -> Callable[[Any], tuple[int, ...]]:
    """Return a reader of the detectors of an instrument that has these."""
    some = tuple(Detector(id=number, name=one, amplifiers=16) for number, one in detectors_by_id.items())
    return detectors(INSTRUMENT.model_copy(update={"name": name, "detectors": some}))


read = reader(dict(enumerate(NAMES)))


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ("(0,1,2)", (0, 1, 2)),
        ("(0..2)", (0, 1, 2)),
        ("0..2", (0, 1, 2)),
        ("0-8", ALL),
        ("(0 - 2, 7)", (0, 1, 2, 7)),
        ("(2, 0..1, 2)", (0, 1, 2)),
        ("[2,1]", (1, 2)),
        ([2, 1, 1], (1, 2)),
        ((0, "1"), (0, 1)),
        (["0..1", 4], (0, 1, 4)),
        (["0-1", "R22_S11"], (0, 1, 4)),
        ("(4,)", (4,)),
        ("4", (4,)),
        (4, (4,)),
        ("R22_S00", (0,)),
        ("r22_s11", (4,)),
        ("R22_S00, R22_S11", (0, 4)),
        (["R22_S22", "R22_S00", 8], (0, 8)),
        ("R22_S10..R22_S12", (3, 4, 5)),
        ("R22_S10-R22_S12", (3, 4, 5)),
        ("R22", ALL),
        ("all", ALL),
        ("ALL", ALL),
        (["all"], ALL),
        ("[]", ALL),
        ("()", ALL),
        ("", ALL),
        ([], ALL),
    ],
)
def test_detectors_have_many_spellings(value: Any, ids: tuple[int, ...]) -> None:
    assert read(value) == ids


@pytest.mark.parametrize(
    "value",
    [
        *("(", "0...2", "..", "1..", "..1", "1..2..3", "1-2-3", "3-", "--2", "0:8", ",", "1,,2", "all,1", "R22_S0"),
        *("R22_S33", "R23_S00", "R23", "S00", "R22 S00", "R22_S00 R22_S01", "none", [None], [[1]], {"a": 1}, True, 1.5),
    ],
)
def test_other_spellings_are_not_allowed(value: Any) -> None:
    with pytest.raises(
        NotAllowedError, match=r"; write ids or names as \(0,1,2\), 0..2, 0-2, \[0, 1, 2\] or R22_S00, or all"
    ):
        read(value)


@pytest.mark.parametrize("value", ["9", "0-9", "0..9", -1, "-1", ["R22_S00", 9], "1e9"])
def test_a_detector_that_there_is_not_is_named_with_those_that_there_are(value: Any) -> None:
    with pytest.raises(NotAllowedError, match=r"LSSTComCam has the detectors 0 to 8 \(R22_S00 to R22_S22\)"):
        read(value)


@pytest.mark.parametrize("value", ["8-0", "5..2", "R22_S11-R22_S00"])
def test_a_range_does_not_end_before_it_begins(value: str) -> None:
    with pytest.raises(NotAllowedError, match="which ends before it begins"):
        read(value)


def test_a_raft_is_all_of_its_detectors() -> None:
    two_rafts = reader({0: "R21_S00", 1: "R21_S01", 2: "R22_S00", 3: "R22_S01"})
    assert two_rafts("R22") == (2, 3)
    assert two_rafts("R21_S01-R22") == (1, 2, 3)
    assert two_rafts("R22, R21_S00") == (0, 2, 3)


def test_ids_may_have_gaps() -> None:
    some = reader({90: "R22_S00", 91: "R22_S01", 94: "R22_S11", 191: "R00_SW0"}, "LSSTCam")
    assert some("all") == some("[]") == (90, 91, 94, 191)
    assert some("91..191") == some("R22_S01-R00_SW0") == (91, 94, 191)
    assert some("R22") == (90, 91, 94)
    for wrong in ("0", "92", "90..93", 92):
        with pytest.raises(NotAllowedError, match=r"LSSTCam has the detectors 90 to 91, 94, 191 \("):
            some(wrong)


@given(st.lists(st.integers(0, 8), min_size=1), st.randoms(use_true_random=False))
def test_ids_and_names_say_the_same(ids: list[int], random: Any) -> None:
    mixed = [random.choice([one, str(one), NAMES[one], f"{one}-{one}", f"{NAMES[one]}..{one}"]) for one in ids]
    assert read(mixed) == read(",".join(map(str, mixed))) == tuple(sorted(set(ids)))
