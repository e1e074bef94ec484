# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mark says which job of which run it is, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.marks import JobMark, has_mark, is_of_run, mark_among
from support.plans import make_plan

MARK = JobMark("20261122-001", "BIAS.GENERATE", "cpBias", 2)

any_mark = st.builds(
    JobMark,
    st.from_regex(r"[0-9]{8}-[0-9]{3,5}", fullmatch=True),
    st.sampled_from([stage.name for stage in make_plan().stages]),
    st.from_regex(r"[A-Za-z0-9_]{1,20}", fullmatch=True),
    st.integers(1, 10**6),
)


def test_mark_is_a_glob_that_names_the_attempt() -> None:
    assert MARK.text == "20261122-001_BIAS.GENERATE_cpBias_2*"


@given(any_mark, st.sampled_from(["", "bias,", "bias , "]))
def test_any_mark_is_read_back_as_it_was(mark: JobMark, before: str) -> None:
    assert JobMark.read(before + mark.text) == mark


@given(any_mark)
def test_mark_can_be_pasted_into_the_ocps_fields(mark: JobMark) -> None:
    assert not set(mark.text) & set("\"\\;`$' ,")


@given(st.text())
def test_any_other_text_is_no_mark(text: str) -> None:
    read = JobMark.read(text)
    assert read is None or text.endswith(read.text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bias",
        "20261122-001_BIAS.GENERATE_cpBias*",  # without its attempt
        "20261122-001_BIAS.GENERATE_cpBias_0*",
        "20261122-001_BIAS.GENERATE_cpBias_01*",
        "20261122-001_BIAS.GENERATE_cpBias_2",
        "20261122-1_BIAS.GENERATE_cpBias_2*",
        f"{MARK.text},bias",
    ],
)
def test_what_looks_similar_is_no_mark(text: str) -> None:
    assert JobMark.read(text) is None


def test_marks_of_other_runs_and_jobs_are_told_apart() -> None:
    globs = f"bias, {MARK.text}"
    assert mark_among(globs) == MARK.text
    assert has_mark(globs, MARK.text)
    assert not has_mark(globs, JobMark("20261122-001", "BIAS.GENERATE", "cpBias", 1).text)
    assert is_of_run(globs, "20261122-001")
    assert not is_of_run(globs, "20261122-0010")
    assert not is_of_run(globs, "20261122-00")
