# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""No text whatever makes anything but options or sentences."""

from __future__ import annotations

import json
import math
from typing import Any

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.options import OPTION_DESCRIPTIONS, RunOptions, flat_pairs, parse_options
from lsst.ts.comcamcalib.plan.build import build_plan

# The configuration does not change, so that it may be shared by all examples.
many = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

any_character = st.characters(codec=None, categories=None)
any_text = st.text(any_character, max_size=300)
yaml_like = st.text(
    st.sampled_from("nb_ia:s 103.,-[]{}()\"'\\#&*!|>%@`~?\n\t\r\ufeff\x00\x85\u2028\ud800é=<eE+"), max_size=200
)

names = st.one_of(st.sampled_from(sorted(OPTION_DESCRIPTIONS)), any_text)
numbers = st.one_of(st.integers(-2, 30), st.integers(), st.floats(), st.floats(0.05, 40))
words = st.sampled_from(
    [
        "BIAS",
        "DARK",
        "BIAS_DARK_FLAT",
        "true",
        "no",
        "1e3",
        "(0,1)",
        "(0..8)",
        "0..",
        "..",
        "(",
        "1:30",
        "010",
        "nan",
        "2026-11-22",
        "2026-11-22T12:00",
        "0001-01-01",
        "9999-12-31T23:59:59.999999",
        "/repo/LSSTComCam",
        "2026-11-22T12:00:00Z",
        "2026-11-22T12:00:00-03:00",
        "R22_S00, R22_S11",
        "0-8",
        "all",
        "r_03, i_06",
        "-c isr:doDark=False --timeout 30",
        "-c isr:a='b c'",
        "-i u/me | cat",
        "u/../me",
        "u//me",
        "it's",
        "é",
        "x" * 69,
        "a &",
        "1e-300",
        "a,b",
        "~",
        "stop",
        "",
    ]
)
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, words, any_text),
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(any_text, inner, max_size=2)),
    max_leaves=8,
)
mappings = st.dictionaries(names, values, max_size=12)


def check(text: str, config: CscConfig) -> RunOptions | None:
    """Parse a text; whatever comes of it has to be in order."""
    problems: tuple[str, ...] | None = None
    try:
        options = parse_options(text, config.option_rules(), now_day_obs=20261122)
    except BadInputError as error:
        problems = error.problems
    if problems is not None:
        assert problems
        assert all(sentence.strip() and sentence.isprintable() for sentence in problems), ascii(problems)
        assert max(map(len, problems)) < 1500
        return None
    for calib_type in CalibType:
        for frame in options.frames(calib_type):
            assert math.isfinite(frame.exposure_time_s)
            assert (frame.exposure_time_s > 0) != (calib_type is CalibType.BIAS)
    assert all(sentence.isprintable() for sentence in options.notices)
    for text in (options.reason, options.program, options.test_case):
        assert text.isascii() and text.isprintable() and len(text) <= 68 and text == text.strip()
    for calib_type in CalibType:
        words = options.config_options(calib_type).split()
        assert not any(word.startswith(("-i", "-o", "-b", "-p", "-d", "--input", "--output")) for word in words)
        for name in (*options.input_collections(calib_type), options.calib_collection):
            assert name.isascii() and all(part not in ("", ".", "..") for part in name.split("/"))
    assert options.detectors and set(options.detectors) <= set(range(9))
    plan = build_plan("20261122-001", options, config)
    for sequence in plan.sequences.values():
        assert sequence.group_id.isascii() and len(sequence.group_id) <= 64, "a header's text, and Butler's group"
    again = parse_options(json.dumps(options.effective(), allow_nan=False), config.option_rules(), now_day_obs=20261122)
    assert again.effective() == options.effective()
    return options


@many
@given(text=st.one_of(any_text, yaml_like))
@example(text="n_bias: !!int 3")
@example(text='"\\UFFFFFFFF": 1')
@example(text="? - 1\n: 2")
@example(text="note: '\ud83d\ude00'")
def test_any_text(text: str, config: CscConfig) -> None:
    check(text, config)


@many
@given(mapping=mappings)
def test_any_mapping_as_yaml(mapping: dict[str, Any], config: CscConfig) -> None:
    check(yaml.dump(mapping, allow_unicode=True, width=10_000), config)


@many
@given(mapping=mappings)
def test_any_mapping_as_json(mapping: dict[str, Any], config: CscConfig) -> None:
    check(json.dumps(mapping), config)


frame_options = st.fixed_dictionaries(
    {},
    optional={
        "script_mode": st.sampled_from(["BIAS", "BIAS_DARK", "BIAS_DARK_FLAT", "DARK"]),
        **{f"n_{name}": st.one_of(st.none(), st.integers(0, 4)) for name in ("bias", "dark", "flat")},
        **{f"n_discard_{name}": st.integers(0, 2) for name in ("bias", "dark", "flat")},
        **{
            f"exp_times_{name}": st.one_of(st.sampled_from([1, 2.5]), st.lists(st.sampled_from([1, 2.5]), max_size=5))
            for name in ("dark", "flat")
        },
        "do_ptc": st.booleans(),
    },
)


@many
@given(mapping=frame_options)
def test_accepted_frames_are_the_ones_asked_for(mapping: dict[str, Any], config: CscConfig) -> None:
    options = check(json.dumps(mapping), config)
    if options is None:
        return
    for calib_type in options.script_mode.calib_types:
        suffix = calib_type.name.lower()
        frames = options.frames(calib_type)
        used = [frame.exposure_time_s for frame in frames if not frame.discarded]
        assert [frame.discarded for frame in frames] == sorted((frame.discarded for frame in frames), reverse=True)
        assert len(frames) - len(used) == mapping.get(f"n_discard_{suffix}", 0)
        if mapping.get(f"n_{suffix}") is not None:
            assert len(used) == mapping[f"n_{suffix}"] > 0
        asked = mapping.get(f"exp_times_{suffix}")
        if isinstance(asked, list):
            assert used == asked[len(asked) - len(used) :]
    if options.do_ptc:
        assert options.flat_pairs()


@given(times=st.lists(st.sampled_from([0.1, 0.104, 0.35, 5.0]), max_size=30))
def test_pairs_are_neighbours_of_equal_time_and_nobody_is_in_two(times: list[float]) -> None:
    pairs = flat_pairs(times)
    assert all(second == first + 1 and abs(times[first] - times[second]) <= 0.005 for first, second in pairs)
    partners = [position for pair in pairs for position in pair]
    assert len(partners) == len(set(partners))
