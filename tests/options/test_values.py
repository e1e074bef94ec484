# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values as a configuration file's reader makes them, and the spellings of lists."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pytest
from lsst.ts.comcamcalib.options import values
from lsst.ts.comcamcalib.options.shown import shown
from lsst.ts.comcamcalib.options.values import NotAllowedError


@pytest.mark.parametrize("value", [6, 6.0, "6", "6.0", " 6 ", "+6", "0.6e1", "6."])
def test_whole_numbers_have_many_spellings(value: Any) -> None:
    assert values.whole(1, 10)(value) == 6
    assert isinstance(values.whole(1, 10)(value), int)


@pytest.mark.parametrize("value", [True, 6.5, math.nan, math.inf, 10**400, 11, 0, None, "\uff16", "6\n", b"6", 1j, [6]])
def test_what_is_no_whole_number_in_the_range_is_not_allowed(value: Any) -> None:
    with pytest.raises(NotAllowedError, match="is not a whole number from 1 to 10"):
        values.whole(1, 10)(value)


def test_both_ends_of_a_range_belong_to_it_unless_it_is_said() -> None:
    assert values.number(0, 10, "seconds")("0") == 0
    assert values.number(0, 10, "seconds")("10") == 10
    with pytest.raises(NotAllowedError, match="is not a number of seconds above 0 up to 10"):
        values.number(0, 10, "seconds", above=True)("0")


@pytest.mark.parametrize("value", [True, "true", "True", "TRUE", "yes", "Yes", "on"])
def test_yes_is_true(value: Any) -> None:
    assert values.boolean(value) is True


@pytest.mark.parametrize("value", [False, "false", "False", "no", "NO", "off"])
def test_no_is_false(value: Any) -> None:
    assert values.boolean(value) is False


@pytest.mark.parametrize("value", [1, 0, "1", "y", "n", "", None, [], "tru\u0435"])
def test_nothing_else_is_true_or_false(value: Any) -> None:
    with pytest.raises(NotAllowedError):
        values.boolean(value)


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ("(0,1,2)", (0, 1, 2)),
        ("(0..2)", (0, 1, 2)),
        ("0..2", (0, 1, 2)),
        ("(2, 0..1, 2)", (0, 1, 2)),
        ("[2,1]", (1, 2)),
        ([2, 1, 1], (1, 2)),
        ((0, "1"), (0, 1)),
        (["0..1", 4], (0, 1, 4)),
        ("(4,)", (4,)),
        ("4", (4,)),
        (4, (4,)),
        ("[]", tuple(range(9))),
        ("()", tuple(range(9))),
        ("", tuple(range(9))),
        ([], tuple(range(9))),
    ],
)
def test_detectors_have_many_spellings(value: Any, ids: tuple[int, ...]) -> None:
    assert values.detectors("LSSTComCam", 9)(value) == ids


@pytest.mark.parametrize(
    "value",
    ["(", "0...2", "..", "1..", "..1", "1..2..3", "0-2", ",", "1,,2", "all", [None], [[1]], {"a": 1}, True, 1.5],
)
def test_other_spellings_are_not_allowed(value: Any) -> None:
    with pytest.raises(NotAllowedError, match=r"write \(0,1,2\), \(0..2\), \[0, 1, 2\] or \[\] for all"):
        values.detectors("LSSTComCam", 9)(value)


@pytest.mark.parametrize(
    ("value", "times"), [("5", 5), (5, 5), ("(5)", 5), ("5, 5", (5, 5)), ("(1,2,)", (1, 2)), ([3], (3,))]
)
def test_exposure_times_are_one_number_or_a_list(value: Any, times: Any) -> None:
    assert values.exposure_times(0, 60, above=True)(value) == times


@pytest.mark.parametrize(
    ("value", "iso"),
    [
        ("2026-11-22", "2026-11-22T00:00:00"),
        ("2026-11-22 12:00", "2026-11-22T12:00:00"),
        ("2026-11-22T12:00:30.5", "2026-11-22T12:00:30.500000"),
        (datetime.date(2026, 11, 22), "2026-11-22T00:00:00"),
        (datetime.datetime(2026, 11, 22, 12), "2026-11-22T12:00:00"),
    ],
)
def test_dates_become_iso_8601(value: Any, iso: str) -> None:
    assert values.date(value) == iso
    assert values.date(iso) == iso


@pytest.mark.parametrize(
    "value",
    [
        "20261122",
        "2026-11-22T12:00:00Z",
        "2026-11-22T12:00:00+00:00",
        "2026-11-22T24:00:00",
        "2026-11-22T12:00:60",
        "2026-11-22\n",
        "2026-W47-7",
        20261122,
        datetime.datetime(2026, 11, 22, tzinfo=datetime.UTC),
        datetime.date(1969, 12, 31),
        datetime.date(2100, 1, 1),
    ],
)
def test_other_dates_are_not_allowed(value: Any) -> None:
    with pytest.raises(NotAllowedError):
        values.date(value)


def test_collections_are_named_once_each() -> None:
    assert values.collections("a/b, c ,a/b") == ("a/b", "c")
    assert values.collections(["a/b", "c"]) == ("a/b", "c")
    assert values.collections("") == values.collections([]) == ()


def test_numbers_are_texts_where_a_text_is_meant() -> None:
    assert values.plain_text(42) == "42"
    with pytest.raises(NotAllowedError, match="is not a text"):
        values.plain_text(True)
    with pytest.raises(NotAllowedError, match="has 1001 characters; at most 1000 are allowed"):
        values.plain_text("x" * 1001)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("six", "six"),
        ("", "''"),
        (None, "null"),
        (True, "true"),
        ([1, "a", None], "[1, a, null]"),
        ({"a": 1}, "a mapping"),
        ("a\nb\x1b\ud800\u202e", "a\\nb\\x1b\\ud800\\u202e"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200 + "…"),
    ],
)
def test_values_are_shown_on_one_line(value: Any, text: str) -> None:
    assert shown(value) == text
