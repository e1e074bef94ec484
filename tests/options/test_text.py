# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from lsst.ts.comcamcalib.options import RunOptions
from lsst.ts.comcamcalib.options.text import MAX_BYTES, read_text

Mistakes = Callable[..., list[str]]


def test_values_stay_the_text_that_was_written() -> None:
    text = "{a: (0..8), b: 2021-07-15, c: 1:30, d: 010, e: yes, f: 1e3, g: [1, '2'], h: ~, i: '~', j: {k: 1}}"
    values, mistakes = read_text(text)
    assert mistakes == []
    assert values == {
        "a": "(0..8)",
        "b": "2021-07-15",
        "c": "1:30",
        "d": "010",
        "e": "yes",
        "f": "1e3",
        "g": ["1", "2"],
        "h": None,
        "i": "~",
        "j": {},
    }


@pytest.mark.parametrize(
    "text", ["", " \n\n", "# a comment", "---", "---\n# a comment\n...", "{}", "\ufeff", "\ufeffn: 1"]
)
def test_next_to_nothing_is_an_empty_mapping(text: str) -> None:
    assert read_text(text) in (({}, []), ({"n": "1"}, []))


def test_json_is_read_with_its_tabs_and_escapes() -> None:
    text = '{\n\t"note": "\\ud83d\\ude00 \\u00e9 \\/",\n\t"n_bias": 3,\t"do_ptc": true, "filter": null, "x": [1.5]}'
    values, mistakes = read_text(text)
    assert mistakes == []
    assert values == {"note": "😀 é /", "n_bias": "3", "do_ptc": True, "filter": None, "x": ["1.5"]}


def test_json_and_yaml_are_understood_alike(parse: Callable[..., RunOptions]) -> None:
    options = {"n_bias": 3, "do_ptc": False, "detectors": [0, 1], "exp_times_dark": [5, 1.5], "note": "é", "n_dark": 2}
    as_yaml = "n_bias: 3\ndo_ptc: no\ndetectors: (0,1)\nexp_times_dark: [5, 1.5]\nnote: é\nn_dark: 2"
    assert parse(json.dumps(options)) == parse(json.dumps(options, indent="\t")) == parse(as_yaml)


@pytest.mark.parametrize(
    "text", ["n_bias: 1\nn_bias: 2", '{"n_bias": 1, "n_bias": 2}', "{n_bias: 1, n_bias: 2, n_bias: 3}"]
)
def test_a_name_given_twice_is_refused_whichever_value_is_meant(text: str, mistakes: Mistakes) -> None:
    assert mistakes(text) == ["n_bias: given twice; give it once."]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[n_bias]", "config: a list instead of a mapping of options, such as n_bias: 6."),
        ("- n_bias: 3", "config: a list instead of a mapping of options, such as n_bias: 6."),
        ("BIAS", "config: a single value instead of a mapping of options, such as n_bias: 6."),
        ("42", "config: a single value instead of a mapping of options, such as n_bias: 6."),
        ('"n_bias: 3"', "config: a single value instead of a mapping of options, such as n_bias: 6."),
        ("null", "config: nothing instead of a mapping of options, such as n_bias: 6."),
        ("note: !!str x", "config: the tag tag:yaml.org,2002:str in line 1 is not allowed; write the value alone."),
        (
            "note: !!python/object/apply:os.system [ls]",
            "config: the tag tag:yaml.org,2002:python/object/apply:os.system in line 1 is not allowed; write the value "
            "alone.",
        ),
        ("note: ! x", "config: the tag ! in line 1 is not allowed; write the value alone."),
        ("\nnote: &n x", "config: the anchor &n in line 2 is not allowed; leave it out."),
        ("note: *n", "config: the alias *n in line 1 is not allowed; write the value."),
        ("detectors: [0, *n]", "config: the alias *n in line 1 is not allowed; write the value."),
        ("n_bias: 1\n---\nn_bias: 2", "config: a second document begins in line 2; only one is read."),
        ("? [n_bias]\n: 3", "config: a list or mapping stands in line 1 where the name of an option should be."),
        ("{{n_bias: 3}: 4}", "config: a list or mapping stands in line 1 where the name of an option should be."),
        ("<<: {n_bias: 3}", "<<: no such option."),
        (
            "n_bias: [1, 2",
            "config: can't be read as YAML: expected ',' or ']', but got '<stream end>' in line 1, column 14.",
        ),
        (
            "\tn_bias: 3",
            "config: can't be read as YAML: found character '\\t' that cannot start any token in line 1, column 1.",
        ),
        ("n_bias: 3: 4", "config: can't be read as YAML: mapping values are not allowed here in line 1, column 10."),
        ('"\\x": 1', None),
        ('note: "\\UFFFFFFFF"', None),
        ("n_bias: \x00", None),
        ("n_bias: \x1b[31m", None),
        ("n_bias: \ud800", None),
        ("%YAML 9.9\n---\nn_bias: 1", None),
        ("%YAML " + "9" * 5000 + ".1\n---\nn_bias: 1", None),
    ],
)
def test_what_is_no_mapping_of_options_is_refused(text: str, sentence: str | None, mistakes: Mistakes) -> None:
    found = mistakes(text)
    assert len(found) == 1
    assert found == [sentence] if sentence else found[0].startswith("config: can't be read as YAML: ")


def test_a_mistake_in_the_text_does_not_hide_the_others(mistakes: Mistakes) -> None:
    found = mistakes("n_bias: &a 3\nn_dark: *a\nn_flat: -1\nexp_times_dark: !!float 3\nn_flat2: 1\n[1]: 2")
    assert len(found) == 6


def test_the_limit_is_in_bytes(mistakes: Mistakes, parse: Callable[..., RunOptions]) -> None:
    filler = "#" * (MAX_BYTES - len("n_bias: 3\n"))
    assert parse("n_bias: 3\n" + filler).n_bias == 3
    assert mistakes("n_bias: 3\n" + filler + "#") == [
        "config: 65537 bytes of text are too long; at most 65536 are read."
    ]
    assert mistakes("#" + "é" * 40_000) == ["config: 80001 bytes of text are too long; at most 65536 are read."]
    assert mistakes("\ud800" * 40_000) == ["config: 120000 bytes of text are too long; at most 65536 are read."]


BOMBS = {
    "flow lists": "[" * MAX_BYTES,
    "flow mappings": "{" * MAX_BYTES,
    "a value of lists": "a: " + "[" * 60_000 + "]" * 5_000,
    "JSON lists": '{"a": ' + "[" * 30_000 + "]" * 30_000 + "}",
    "JSON objects": '{"a": ' * 10_000 + "1" + "}" * 5_000,
    "block lists": "- " * (MAX_BYTES // 2),
    "block keys": "? " * (MAX_BYTES // 2),
    "indentation": "\n".join(" " * depth + "a:" for depth in range(350)),
    "tags": "! " * (MAX_BYTES // 2),
    "anchors": "&a " * (MAX_BYTES // 3),
    "aliases": "[" + "*a," * 20_000 + "]",
    "billion laughs": "a: &a [x, x]\n" + "".join(f"b{i}: &b{i} [*b{i - 1}, *b{i - 1}]\n" for i in range(1, 1500)),
    "commas": "n_bias: [" + "1," * 30_000 + "]",
    "times": "exp_times_dark: [" + "1," * 30_000 + "]",
    "ids": "detectors: (" + "1," * 30_000 + ")",
    "a range": "detectors: (0..99999999999999999999)",
    "digits": "n_bias: " + "9" * 60_000,
    "exponent": "n_bias: 1e" + "9" * 60_000,
    "dots": "detectors: " + "." * 60_000,
    "quotes": "'" * 60_000,
    "names": "\n".join(f"exp_times_dar{number}: 1" for number in range(3_000)),
    "a name": "n_bias" * 10_000 + ": 1",
    "a word": "script_mode: " + "BIAS_DARK_" * 6_000,
    "blanks": " " * 60_000 + "x",
    "line breaks": "a:" + "\n" * 60_000 + "x",
    "minus": "n_bias: " + "-" * 60_000,
    "documents": "---\n" * 16_000,
    "escapes": 'note: "' + "\\n" * 30_000 + '"',
    "collections": "input_collections_bias: " + "a," * 30_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_no_text_takes_the_csc_more_than_the_time_between_heartbeats(name: str, mistakes: Mistakes) -> None:
    began = time.process_time()
    found = mistakes(BOMBS[name])
    assert len(found) <= 51
    assert sum(map(len, found)) < 20_000
    assert time.process_time() - began < 3.0, "seconds of processor time"


def test_an_object_of_json_is_no_list() -> None:
    values, mistakes = read_text('{"detectors": {}, "exp_times_dark": [{"a": 1}]}')
    assert (values, mistakes) == ({"detectors": {}, "exp_times_dark": [{"a": "1"}]}, [])
