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
    assert values.number(0, 10, "seconds", above=True)("0.001") == 0.001
    for value in ("1e-300", 5e-324, "0.00099"):
        with pytest.raises(NotAllowedError, match=r"is too small; give at least 0.001 seconds"):
            values.number(0, 10, "seconds", above=True)(value)


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
    ("value", "times"), [("5", 5), (5, 5), ("(5)", 5), ("5, 5", (5, 5)), ("(1,2,)", (1, 2)), ([3], (3,))]
)
def test_exposure_times_are_one_number_or_a_list(value: Any, times: Any) -> None:
    assert values.exposure_times(0, 60, 1000, above=True)(value) == times


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
        "2026-11-22T12:00:00-03:00",
        "2026-11-22T12:00+0530",
        "2026-11-22T12:00:00ZZ",
        "2026-11-22T12:00:00 CLT",
        "2026-11-22T12:00:00 ",
        "2026-11-22T24:00:00",
        "2026-11-22T12:00:60",
        "2026-11-22\n",
        "2026-W47-7",
        20261122,
        datetime.datetime(2026, 11, 22, tzinfo=datetime.timezone(datetime.timedelta(hours=-3))),
        datetime.date(1969, 12, 31),
        datetime.date(2100, 1, 1),
    ],
)
def test_other_dates_are_not_allowed(value: Any) -> None:
    with pytest.raises(NotAllowedError):
        values.date(value)


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-22T12:00:00Z",
        "2026-11-22T12:00:00 UTC",
        "2026-11-22 12:00z",
        "2026-11-22T12:00:00+00:00",
        "2026-11-22T12:00:00.000-0000",
        datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC),
    ],
)
def test_a_time_in_utc_is_taken_for_the_tai_that_is_meant(value: Any) -> None:
    assert values.date(value) == "2026-11-22T12:00:00"
    assert values.has_time_zone(value)
    assert not values.has_time_zone("2026-11-22T12:00:00")


def test_a_time_may_say_that_it_is_tai() -> None:
    assert values.date("2026-11-22T12:00:00 TAI") == "2026-11-22T12:00:00"
    assert not values.has_time_zone("2026-11-22T12:00:00 TAI")


def test_a_time_of_another_zone_is_refused_with_the_way_to_write_it() -> None:
    with pytest.raises(NotAllowedError, match="has a time zone, but all times of a run are TAI; write the TAI time"):
        values.date("2026-11-22T09:00:00-03:00")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("u//me", "may not begin or end with / nor have two together"),
        ("/u/me", "may not begin or end with /"),
        ("u/me/", "may not begin or end with /"),
        ("/", "may not begin or end with /"),
        ("u/../me", "it is no path, so . and .. can't be parts of it"),
        ("u/./me", "it is no path"),
        ("u/..", "it is no path"),
        (True, "is a truth value"),
        ("true", "is a truth value"),
        ("Yes", "is a truth value"),
        ("off", "is a truth value"),
        ("None", "is a word for nothing"),
        ("NaN", "is a word for nothing"),
        ("3", "is a number, not the name of a collection"),
        (1e3, "is a number"),
        ("", "is not the name of a collection"),
        ("   ", "is not the name of a collection"),
        ("u/my calib", "only letters, digits and _ . / @"),
        ("u/ñandú", "only letters, digits and _ . / @"),
    ],
)
def test_what_is_no_collection_is_refused_alone_and_in_a_list(value: Any, sentence: str) -> None:
    with pytest.raises(NotAllowedError, match=sentence):
        values.collection(value)
    with pytest.raises(NotAllowedError, match=sentence):
        values.collections(["LSSTComCam/calib", value])


@pytest.mark.parametrize(
    "name", ["LSSTComCam/calib/daily", "u/me.too/DM-12345", "u/a..b/x", "truest", "u/true", "2026/x"]
)
def test_names_of_collections_are_taken_as_they_are(name: str) -> None:
    assert values.collection(name) == name
    assert values.collections(f"LSSTComCam/calib,{name}") == ("LSSTComCam/calib", name)


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
