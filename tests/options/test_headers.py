# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.options import check_run_defaults, parse_options
from lsst.ts.comcamcalib.options.headers import MAX_HEADER, MAX_PROGRAM, header_text
from lsst.ts.comcamcalib.options.values import NotAllowedError

read = header_text(MAX_HEADER)


def test_texts_are_taken_without_the_blanks_at_their_ends_which_fits_does_not_keep() -> None:
    assert read("  SITCOM-826 daily  calibrations ") == "SITCOM-826 daily  calibrations"
    assert read("~!@#$%^*()_+{}|<>?-=[];/. \\\"'") == "~!@#$%^*()_+{}|<>?-=[];/. \\\"'"
    assert read("") == read("   ") == ""
    assert read(42) == "42"


@pytest.mark.parametrize(
    ("text", "character"),
    [
        ("Calibración é", "ó"),
        ("é", "é"),
        ("5 µm", "µ"),
        ("a\u00a0b", r"\xa0"),
        ("“quoted”", "“"),
        ("1 \u2013 2", "\u2013"),
        ("\u200b", r"\u200b"),
        ("日", "日"),
        ("\U0001f600", "\U0001f600"),
    ],
)
def test_a_character_that_fits_does_not_have_is_named(text: str, character: str) -> None:
    with pytest.raises(NotAllowedError) as caught:
        read(text)
    assert str(caught.value).startswith(f"has the character {character}, but image headers have only printable ASCII")


@pytest.mark.parametrize("text", ["a\x7fb", "a\tb", "a\nb", "\x00", "\ud800"])
def test_control_characters_are_refused(text: str) -> None:
    with pytest.raises(NotAllowedError, match="control characters are not allowed"):
        read(text)


def test_a_text_that_a_card_has_no_room_for_is_refused_with_the_limit() -> None:
    assert read("x" * 68) == "x" * 68
    assert read(" " + "x" * 68 + " ") == "x" * 68
    with pytest.raises(NotAllowedError, match="has 69 characters, but this image header has room for 68; shorten it"):
        read("x" * 69)


def test_a_quote_needs_two_places_of_a_card() -> None:
    assert read("'" * 34) == "'" * 34
    with pytest.raises(NotAllowedError, match=r"has 69 characters \(' counts twice\), but .* has room for 68"):
        read("it's" + "x" * 64)


def test_an_ampersand_at_the_end_would_be_taken_for_a_text_that_goes_on() -> None:
    assert read("a & b") == "a & b"
    for text in ("a &", "a &  ", "&"):
        with pytest.raises(NotAllowedError, match="ends in '&'"):
            read(text)


@pytest.mark.parametrize("text", ["C:\\", "a\\", "a\\\\", "\\", "a \\ "])
def test_a_backslash_at_the_end_would_join_the_next_header(text: str) -> None:
    with pytest.raises(NotAllowedError, match="ends in a backslash" if ":" not in text else "has a ':'"):
        read(text)


@given(st.lists(st.text("ab\\ '&", max_size=5), min_size=2, max_size=4))
def test_what_is_accepted_stays_in_its_own_header(texts: list[str]) -> None:
    """By the header service's rule: a : splits if no backslash stands before it; then a backslash is taken away."""
    try:
        accepted = [read(text) for text in texts]
    except NotAllowedError:
        return
    sent = ":".join(text.replace("\\", "\\\\").replace(":", "\\:") for text in accepted)
    assert [re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\):", sent)] == accepted


def test_each_header_has_its_own_limit(mistakes: Any, parse: Any) -> None:
    assert parse(f"program: {'p' * 64}").program == "p" * 64
    assert mistakes(f"{{program: {'p' * 65}, test_case: {'t' * 69}, reason: é, note: señal débil}}") == [
        f"program: {'p' * 65} has 65 characters, but this image header has room for 64; shorten it.",
        f"test_case: {'t' * 69} has 69 characters, but this image header has room for 68; shorten it.",
        "reason: é has the character é, but image headers have only printable ASCII characters; write it without.",
    ]
    assert MAX_PROGRAM == 64


def test_the_command_s_fields_have_the_same_limits(mistakes: Any, parse: Any) -> None:
    found = mistakes("", command_reason="Calibración", command_program="x" * 65)
    assert [sentence.split(":")[0] for sentence in found] == ["reason", "program"]
    assert parse("", command_note="señal débil: ¿nubes?").note == "señal débil: ¿nubes?", "which is in no header"


@given(text=st.text(st.characters(min_codepoint=1, max_codepoint=300), max_size=80))
def test_what_is_accepted_is_in_one_card_of_a_real_header_again(text: str) -> None:
    try:
        accepted = read(text)
    except NotAllowedError:
        return
    header = fits.Header()
    header["REASON"] = accepted
    written = header.tostring()
    assert len(fits.Header.fromstring(written).cards) == 1 and "CONTINUE" not in written
    assert fits.Header.fromstring(written)["REASON"] == accepted
    assert fits.PrimaryHDU(np.zeros(1), header).header["REASON"] == accepted


def test_the_reason_of_the_configuration_are_checked_too(config: Any) -> None:
    wrong = config.model_copy(update={"run_defaults": {**config.run_defaults, "reason": "Calibración"}})
    assert [sentence.split(":")[0] for sentence in check_run_defaults(wrong.option_rules())] == ["reason"]
    assert parse_options("", config.option_rules(), now_day_obs=20261122).reason == ""
