# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.sal_interfaces.insertion import Insertion, LayoutError, after_list, at_end, before_last

MARKED = {"begin": "# begin\n", "lines": "added\n", "end": "# end\n"}
lines = st.text(st.sampled_from("ab \n\r#]é"), max_size=40)


@given(lines)
def test_what_is_added_at_the_end_is_taken_out_byte_for_byte(text: str) -> None:
    insertion = Insertion(file="x", place=at_end, **MARKED)
    added = insertion.added(text)
    assert insertion.is_in(added) and insertion.has_mark(added)
    assert insertion.removed(added) == text
    assert insertion.removed(text) == text


@given(lines, lines)
def test_what_is_added_before_something_is_taken_out_byte_for_byte(head: str, tail: str) -> None:
    insertion = Insertion(file="x", place=before_last("</Set>"), **MARKED)
    text = f"{head}</Set>{tail}"
    assert insertion.removed(insertion.added(text)) == text


@given(
    st.sampled_from(["subsystems = []", "subsystems = [\n 'a',\n 'b']", "subsystems: list = [1]"]),
    st.sampled_from(["\n", "\r\n", ""]),
)
def test_what_is_added_after_a_list_is_taken_out_byte_for_byte(statement: str, end: str) -> None:
    insertion = Insertion(file="x", place=after_list("subsystems"), **MARKED)
    for text in (statement + end, f"x = 1\n{statement}{end or chr(10)}y = 2"):
        added = insertion.added(text)
        assert insertion.removed(added) == text
        assert added.index(statement) < added.index("added")


def test_an_end_that_is_missing_is_not_guessed() -> None:
    insertion = Insertion(file="x", place=at_end, **MARKED)
    with pytest.raises(LayoutError, match="has # begin without its end"):
        insertion.removed("a\n# begin\nadded\n")
