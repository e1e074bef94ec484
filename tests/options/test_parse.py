# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest
from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.options import OPTION_DESCRIPTIONS, RunOptions, ScriptMode, named_collections, parse_options
from lsst.ts.comcamcalib.options.table import IGNORED, option_table

Parse = Callable[..., RunOptions]
Mistakes = Callable[..., list[str]]

FLAT_PAIRS = (0.1, 0.1, 0.35, 0.35, 0.6, 0.6, 0.8, 0.8, 1.0, 1.0, 1.35, 1.35, 1.6, 1.6)


def times(options: RunOptions, calib_type: CalibType) -> list[float]:
    return [frame.exposure_time_s for frame in options.frames(calib_type)]


# The procedure's example


def test_the_printed_example_is_refused_with_exactly_its_two_mistakes(
    mistakes: Mistakes, repository_root: pathlib.Path
) -> None:
    text = (repository_root / "tests" / "data" / "procedure_example.yaml").read_text()
    assert mistakes(text) == [
        "exp_ttimes_dark: no such option; did you mean exp_times_dark?",
        'script_mode": no such option; did you mean script_mode?',
    ]


def test_the_printed_example_does_not_hear_of_missing_darks_when_only_their_name_is_misspelt(
    config: CscConfig, repository_root: pathlib.Path
) -> None:
    bare = config.model_copy(update={"run_defaults": {}})
    text = (repository_root / "tests" / "data" / "procedure_example.yaml").read_text()
    with pytest.raises(BadInputError) as caught:
        parse_options(text, bare.option_rules(), now_day_obs=20261122)
    assert len(caught.value.problems) == 2


def test_the_mended_example_is_the_run_that_the_procedure_means(parse: Parse, repository_root: pathlib.Path) -> None:
    options = parse((repository_root / "config" / "examples" / "procedure.yaml").read_text())
    assert options.script_mode is ScriptMode.BIAS_DARK_FLAT
    assert len(options.frames(CalibType.BIAS)) == 6
    assert times(options, CalibType.DARK) == [5, 5, 5, 10, 15, 20]
    assert tuple(times(options, CalibType.FLAT)) == FLAT_PAIRS
    assert options.flat_pairs() == ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11), (12, 13))
    assert options.detectors == tuple(range(9))
    assert options.do_defects and options.do_ptc and options.do_verify
    assert options.n_processes == 1
    assert options.input_collections_verify(CalibType.BIAS) == ("LSSTComCam/calib",)
    assert options.notices == ()


def test_the_printed_examples_own_dates_are_taken_with_a_warning(parse: Parse) -> None:
    options = parse("{certify_calib_begin_date: 2021-07-15, certify_calib_end_date: 2021-07-16}")
    assert options.certify_calib_begin_date == "2021-07-15T00:00:00"
    assert options.notices == (
        "The validity from 2021-07-15T00:00:00 to 2021-07-16T00:00:00 covers nothing of day_obs 20261122, on which the "
        "frames are taken: Butler finds these calibrations only for exposures within that validity.",
    )


# Defaults


def test_without_any_text_every_option_has_its_documented_default(parse: Parse) -> None:
    options = parse("# nothing but a comment\n")
    assert options.certify_calib_begin_date is options.certify_calib_end_date is None, "they follow the frames"
    assert options.generate_calibrations and options.do_verify
    assert not (options.certify_unverified or options.do_defects or options.do_ptc or options.do_gain_from_flat_pairs)
    assert options.calib_collection == "LSSTComCam/calib/daily"
    assert (options.n_processes, options.max_counter_archiver_check, options.oods_timeout) == (8, 1000, 120.0)
    assert (options.max_retakes, options.on_failure, options.filter) == (2, "continue", None)
    assert options.number_verification_tests_threshold(CalibType.FLAT) == 8
    assert options.notices == ()


def test_table_descriptions_and_options_have_the_same_names(config: CscConfig) -> None:
    fields = set(RunOptions.model_fields) - {"notices"}
    assert set(option_table(config.option_rules())) == set(OPTION_DESCRIPTIONS) == fields | {IGNORED}


def test_null_is_the_same_as_leaving_an_option_out(parse: Parse) -> None:
    assert parse("{do_verify: null, reason: ~, repo:, exp_times_dark: null, detectors: null}") == parse("")


def test_null_frames_are_as_many_as_the_list_has(parse: Parse) -> None:
    options = parse("{n_dark: null, exp_times_dark: [5, 10, 15]}")
    assert (options.n_dark, times(options, CalibType.DARK)) == (3, [5, 10, 15])


def test_null_frames_without_a_list_are_refused(mistakes: Mistakes) -> None:
    assert mistakes("{n_bias: null, n_dark: null}") == [
        "n_bias: null means as many as a list of exposure times has, but there is none; give a number.",
        "n_dark: null means as many as a list of exposure times has, but there is none; give a number.",
    ]


def test_a_list_of_times_alone_says_how_many_frames_there_are(parse: Parse) -> None:
    options = parse("exp_times_flat: [1, 1, 2, 2]")
    assert (options.n_flat, times(options, CalibType.FLAT)) == (4, [1, 1, 2, 2])


def test_the_default_of_one_time_for_all_holds_for_any_number_of_frames(parse: Parse) -> None:
    assert times(parse("n_flat: 3"), CalibType.FLAT) == [5.0, 5.0, 5.0]


def test_a_default_list_that_does_not_fit_the_operators_number_is_named_as_a_default(config: CscConfig) -> None:
    defaults = {"n_flat": None, "exp_times_flat": [1.0, 1.0, 2.0, 2.0], "exp_times_dark": 30}
    with_list = dataclasses.replace(config.option_rules(), run_defaults=defaults)
    assert times(parse_options("", with_list, now_day_obs=20261122), CalibType.FLAT) == [1, 1, 2, 2]
    assert times(parse_options("n_flat: 4", with_list, now_day_obs=20261122), CalibType.FLAT) == [
        1,
        1,
        2,
        2,
    ]
    assert times(parse_options("exp_times_flat: 7", with_list, now_day_obs=20261122), CalibType.FLAT) == [7, 7, 7, 7]
    with pytest.raises(BadInputError) as caught:
        parse_options("n_flat: 6", with_list, now_day_obs=20261122)
    assert caught.value.problems == (
        "exp_times_flat: 4 exposure times (the default), but n_flat 6 needs 6, or one for all; at most 1000 frames are "
        "taken.",
    )


# Frames


def test_repository_may_have_the_name_that_the_procedure_has_for_it(config: CscConfig) -> None:
    config = config.model_copy(update={"repo": "LSSTComCam", "repo_names": ("/repo/LSSTComCam",)})
    for name in ("LSSTComCam", "/repo/LSSTComCam", "/repo/LSSTComCam/"):
        assert parse_options(f"repo: {name}", config.option_rules(), now_day_obs=20261122).repo == "LSSTComCam"
    with pytest.raises(BadInputError, match="/repo/main is not LSSTComCam, the only repository"):
        parse_options("repo: /repo/main", config.option_rules(), now_day_obs=20261122)


def test_the_first_frames_are_discarded_with_the_first_exposure_time(parse: Parse) -> None:
    frames = parse("{n_dark: 2, n_discard_dark: 1, exp_times_dark: [5, 10]}").frames(CalibType.DARK)
    assert [(frame.exposure_time_s, frame.discarded) for frame in frames] == [(5, True), (5, False), (10, False)]


def test_a_list_may_have_the_discarded_frames_times_too(parse: Parse) -> None:
    frames = parse("{n_dark: 2, n_discard_dark: 1, exp_times_dark: [1, 5, 10]}").frames(CalibType.DARK)
    assert [(frame.exposure_time_s, frame.discarded) for frame in frames] == [(1, True), (5, False), (10, False)]


def test_biases_have_no_exposure_time(parse: Parse) -> None:
    frames = parse("{n_bias: 2, n_discard_bias: 1}").frames(CalibType.BIAS)
    assert [(frame.exposure_time_s, frame.discarded) for frame in frames] == [(0, True), (0, False), (0, False)]


@pytest.mark.parametrize(
    ("mode", "taken"),
    [
        ("BIAS", ["BIAS"]),
        ("BIAS_DARK", ["BIAS", "DARK"]),
        ("DARK", ["DARK"]),
        ("BIAS_DARK_FLAT", ["BIAS", "DARK", "FLAT"]),
    ],
)
def test_a_mode_takes_its_types_of_frames_and_no_others(mode: str, taken: list[str], parse: Parse) -> None:
    options = parse(f"script_mode: {mode}")
    assert [calib_type.name for calib_type in CalibType if options.frames(calib_type)] == taken


def test_options_of_frames_that_are_not_taken_need_not_fit_each_other(parse: Parse) -> None:
    options = parse("{script_mode: BIAS, n_dark: 0, n_flat: 3, exp_times_flat: [1, 2]}")
    assert options.frames(CalibType.DARK) == options.frames(CalibType.FLAT) == ()


def test_gains_have_the_collections_and_command_line_of_the_ptc(parse: Parse) -> None:
    options = parse("{input_collections_ptc: 'a,b', config_options_ptc: -c x:y=1, input_collections_verify_ptc: c}")
    assert options.input_collections(CalibType.GAIN) == ("a", "b")
    assert options.input_collections_verify(CalibType.GAIN) == ("c",)
    assert options.config_options(CalibType.GAIN) == "-c x:y=1"


# Mistakes


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("n_bais: 3", "n_bais: no such option; did you mean n_bias?"),
        ("N-Bias: 3", "N-Bias: no such option; did you mean n_bias?"),
        ("exp_time_flat: 3", "exp_time_flat: no such option; did you mean exp_times_flat?"),
        ("pizza: 3", "pizza: no such option."),
        ("3: 3", "3: no such option."),
        ("~: 3", "null: no such option."),
        ("n_bias: six", "n_bias: six is not a whole number from 0 to 1000."),
        ("n_bias: 2.5", "n_bias: 2.5 is not a whole number from 0 to 1000."),
        ("n_bias: -1", "n_bias: -1 is not a whole number from 0 to 1000."),
        ("n_bias: true", "n_bias: true is not a whole number from 0 to 1000."),
        ("n_bias: 1e99", "n_bias: 1e99 is not a whole number from 0 to 1000."),
        ("n_bias: 99999999999999999999", "n_bias: 99999999999999999999 is not a whole number from 0 to 1000."),
        ("n_bias: .nan", "n_bias: .nan is not a whole number from 0 to 1000."),
        ("n_bias: 010", "n_bias: 010 is not a whole number from 0 to 1000."),
        ("n_bias: 1_0", "n_bias: 1_0 is not a whole number from 0 to 1000."),
        ("n_bias: 0x10", "n_bias: 0x10 is not a whole number from 0 to 1000."),
        ("n_bias: [6]", "n_bias: [6] is not a whole number from 0 to 1000."),
        ("n_bias: {a: 6}", "n_bias: a mapping is not a whole number from 0 to 1000."),
        ("n_bias: ''", "n_bias: '' is not a whole number from 0 to 1000."),
        ("n_bias: 0", "n_bias: 0, but at least one is needed with script_mode BIAS_DARK_FLAT (the default)."),
        ("do_ptc: 1", "do_ptc: 1 is neither true nor false."),
        ("do_ptc: maybe", "do_ptc: maybe is neither true nor false."),
        ("do_ptc: [true]", "do_ptc: [true] is neither true nor false."),
        ("exp_times_dark: 0", "exp_times_dark: 0 is not a number of seconds above 0 up to 3600."),
        ("exp_times_dark: 1:30", "exp_times_dark: 1:30 is not a number of seconds above 0 up to 3600."),
        ("exp_times_dark: []", "exp_times_dark: [] is neither a number of seconds nor a list of them."),
        ("exp_times_dark: {}", "exp_times_dark: a mapping is neither a number of seconds nor a list of them."),
        ("exp_times_dark: .inf", "exp_times_dark: .inf is not a number of seconds above 0 up to 3600."),
        (
            "exp_times_dark: [5, 0]",
            "exp_times_dark: [5, 0] has 0, which is not a number of seconds above 0 up to 3600.",
        ),
        ("exp_times_flat: 0.05", "exp_times_flat: 0.05 is not a number of seconds from 0.1 to 3600."),
        ("exp_times_flat: [[1]]", "exp_times_flat: [[1]] has [1], which is not a number of seconds from 0.1 to 3600."),
        (
            "{n_flat: 3, exp_times_flat: [1, 2]}",
            "exp_times_flat: 2 exposure times, but n_flat 3 needs 3, or one for all; at most 1000 frames are taken.",
        ),
        (
            "{n_dark: 3, n_discard_dark: 2, exp_times_dark: [1, 2, 3, 4]}",
            "exp_times_dark: 4 exposure times, but n_dark 3 needs 3 or, with the discarded ones, 5, or one for all; at "
            "most 1000 frames are taken.",
        ),
        (
            "detectors: (0,9)",
            "detectors: (0,9) has 9, but LSSTComCam has the detectors 0 to 8 (R22_S00 to R22_S22).",
        ),
        ("detectors: (5..2)", "detectors: (5..2) has 5..2, which ends before it begins."),
        (
            "detectors: R22_S0",
            "detectors: R22_S0 has R22_S0, which is no detector of LSSTComCam; write ids or names as (0,1,2), 0..2, "
            "0-2, [0, 1, 2] or R22_S00, or all.",
        ),
        ("repo: /repo/main", "repo: /repo/main is not LSSTComCam, the only repository that the OCPS works with."),
        ("script_mode: FLAT", "script_mode: FLAT is not one of BIAS, BIAS_DARK, BIAS_DARK_FLAT, DARK."),
        (
            "script_mode: bias_darks",
            "script_mode: bias_darks is not one of BIAS, BIAS_DARK, BIAS_DARK_FLAT, DARK; did you mean BIAS_DARK?",
        ),
        ("on_failure: Stop", "on_failure: Stop is not one of continue, stop; did you mean stop?"),
        (
            "certify_calib_begin_date: yesterday",
            "certify_calib_begin_date: yesterday is not an ISO 8601 date or time (TAI, without a time zone) such as "
            "2026-11-22 or 2026-11-22T12:00:00.",
        ),
        (
            "certify_calib_begin_date: 2026-02-30",
            "certify_calib_begin_date: 2026-02-30 is not an ISO 8601 date or time (TAI, without a time zone) such as "
            "2026-11-22 or 2026-11-22T12:00:00.",
        ),
        (
            "certify_calib_end_date: 2026-11-23T12:00:00-03:00",
            "certify_calib_end_date: 2026-11-23T12:00:00-03:00 has a time zone, but all times of a run are TAI; write "
            "the TAI time without a time zone.",
        ),
        (
            "certify_calib_end_date: unbounded",
            "certify_calib_end_date: unbounded is not an ISO 8601 date or time (TAI, without a time zone) such as "
            "2026-11-22 or 2026-11-22T12:00:00; open means that there is no end.",
        ),
        (
            "certify_calib_begin_date: 1950-01-01",
            "certify_calib_begin_date: 1950-01-01 is outside the years 1970 to 2099, "
            "which Butler's validity ranges have.",
        ),
        (
            "certify_calib_end_date: 2026-11-22",
            "certify_calib_end_date 2026-11-22T00:00:00: before the frames of day_obs 20261122, with which the "
            "validity begins if certify_calib_begin_date is not given; give that, too.",
        ),
        (
            "certify_calib_begin_date: 2026-11-24T12:00:00",
            "certify_calib_begin_date 2026-11-24T12:00:00: after the frames of day_obs 20261122, with which the "
            "validity ends if certify_calib_end_date is not given; give that, too.",
        ),
        (
            "{certify_calib_begin_date: 2026-11-23, certify_calib_end_date: 2026-11-22}",
            "certify_calib_end_date 2026-11-22T00:00:00: not after certify_calib_begin_date 2026-11-23T00:00:00; the "
            "validity must end after it begins.",
        ),
        (
            "{script_mode: BIAS, do_defects: yes}",
            "do_defects true: needs script_mode BIAS_DARK_FLAT, not script_mode BIAS.",
        ),
        (
            "{do_ptc: yes, exp_times_flat: [1, 1, 2, 2, 3]}",
            "exp_times_flat: 1 flat has 3 s and no partner with the same exposure time taken directly before or after; "
            "do_ptc needs pairs.",
        ),
        ("oods_timeout: 0", "oods_timeout: 0 is not a number of seconds above 0 up to 3600."),
        ("n_processes: 0", "n_processes: 0 is not a whole number from 1 to 128."),
        (
            "number_verification_tests_threshold_bias: 16",
            "number_verification_tests_threshold_bias: 16 is not a whole number from 0 to 15.",
        ),
        ("reason: 'a, b'", "reason: a, b has a ',', which the camera can't take in image headers."),
        ("test_case: 'BLOCK: 3'", "test_case: BLOCK: 3 has a ':', which the camera can't take in image headers."),
        ('note: "a\\nb"', "note: a\\nb has the character \\n, but control characters are not allowed."),
        ('note: "\\ud800"', "note: \\ud800 has the character \\ud800, but control characters are not allowed."),
        ("filter: ''", "filter: '' is not the name or number of a filter."),
        ("filter: []", "filter: [] is not the name or number of a filter."),
        *(
            (
                f"filter: {text}",
                f"filter: {shown} names several filters, but a run takes its flats in one; start a run for each.",
            )
            for text, shown in [
                ("[r_03, i_06]", "[r_03, i_06]"),
                ("r_03,i_06", "r_03,i_06"),
                ("'r_03:i_06'", "r_03:i_06"),
                ("(r_03, i_06)", "(r_03, i_06)"),
                ("[[r_03], i_06]", "[[r_03], i_06]"),
                ("'[1,2]'", "[1,2]"),
            ]
        ),
        ("exp_times_dark: 1e-300", "exp_times_dark: 1e-300 is too small; give at least 0.001 seconds."),
        (
            "exp_times_dark: [5, 0.0009]",
            "exp_times_dark: [5, 0.0009] has 0.0009, which is too small; give at least 0.001 seconds.",
        ),
        ("exp_times_dark: 1e300", "exp_times_dark: 1e300 is not a number of seconds above 0 up to 3600."),
        ("exp_times_dark: -5", "exp_times_dark: -5 is not a number of seconds above 0 up to 3600."),
        ("exp_times_dark: true", "exp_times_dark: true is not a number of seconds above 0 up to 3600."),
        ("exp_times_flat: 1e-300", "exp_times_flat: 1e-300 is not a number of seconds from 0.1 to 3600."),
        ("oods_timeout: 1e-300", "oods_timeout: 1e-300 is too small; give at least 0.001 seconds."),
        ("calib_collection: ''", "calib_collection: '' is not the name of a collection."),
        (
            "calib_collection: a,b",
            "calib_collection: a,b is not the name of a collection: only letters, digits and _ . / @ + - are allowed.",
        ),
        (
            "calib_collection: u/*",
            "calib_collection: u/* is not the name of a collection: only letters, digits and _ . / @ + - are allowed.",
        ),
        (
            "input_collections_bias: a,,b",
            "input_collections_bias: a,,b has '', which is not the name of a collection.",
        ),
        (
            "input_collections_ptc: --replace-run",
            "input_collections_ptc: --replace-run is not the name of a collection: "
            "only letters, digits and _ . / @ + - are allowed.",
        ),
    ],
)
def test_one_mistake_is_one_sentence(text: str, sentence: str, mistakes: Mistakes) -> None:
    assert mistakes(text) == [sentence]


@pytest.mark.parametrize("bad", ['"', "\\", ";", "`", "$", "|", "&&", ">", "<", "#", "\t", "\x07", "\u2028", "'"])
@pytest.mark.parametrize("name", ["config_options_bias", "input_collections_dark", "calib_collection", "detectors"])
def test_what_would_break_out_of_the_ocps_fields_is_refused(name: str, bad: str, mistakes: Mistakes) -> None:
    found = mistakes(json.dumps({name: f"LSSTComCam{bad}calib"}))
    assert len(found) == 1
    assert found[0].startswith(f"{name}: ")


def test_quoted_values_in_config_options_are_allowed(parse: Parse) -> None:
    text = "config_options_bias: -c isr:doDefect=False -c isr:overscan.fitType='MEDIAN_PER_ROW'"
    assert parse(text).config_options_bias == "-c isr:doDefect=False -c isr:overscan.fitType='MEDIAN_PER_ROW'"


def test_a_long_value_is_not_repeated_in_full(mistakes: Mistakes) -> None:
    (sentence,) = mistakes(f"script_mode: {'x' * 60_000}")
    assert "x" * 200 + "…" in sentence
    assert len(sentence) < 300


def test_a_collection_that_butlers_registry_has_no_room_for_is_refused(mistakes: Mistakes) -> None:
    (sentence,) = mistakes(f"calib_collection: u/{'x' * 63}")
    assert sentence.endswith("is too long for a collection: 65 characters, at most 64.")


def test_all_mistakes_come_at_once_also_those_between_options(mistakes: Mistakes) -> None:
    text = """
        script_mode: BIAS_DARK
        n_bias: many
        n_dark: 3
        exp_times_dark: [1, 2]
        do_ptc: true
        do_defects: perhaps
        colour: blue
        certify_calib_begin_date: 2026-12-01
        certify_calib_end_date: 2026-11-01
    """
    assert [sentence.split(":")[0].split(" ")[0] for sentence in mistakes(text)] == [
        "colour",
        "n_bias",
        "do_defects",
        "exp_times_dark",
        "do_ptc",
        "certify_calib_end_date",
    ]


def test_nothing_is_concluded_from_an_option_whose_value_is_wrong(mistakes: Mistakes) -> None:
    assert mistakes("{script_mode: BAIS, do_defects: true, n_dark: 0}") == [
        "script_mode: BAIS is not one of BIAS, BIAS_DARK, BIAS_DARK_FLAT, DARK; did you mean BIAS?"
    ]
    assert len(mistakes("{n_flat: x, exp_times_flat: [1, 2, 3], do_ptc: true}")) == 1


def test_lengths_are_compared_even_if_the_mode_is_wrong(mistakes: Mistakes) -> None:
    found = mistakes("{script_mode: ALL, n_flat: 3, exp_times_flat: [1, 2]}")
    assert [sentence.split(":")[0] for sentence in found] == ["script_mode", "exp_times_flat"]


@pytest.mark.parametrize(("names", "rest"), [(50, None), (51, "1 more mistake is"), (5500, "5450 more mistakes are")])
def test_a_text_of_nothing_but_mistakes_is_answered_within_bounds(
    names: int, rest: str | None, mistakes: Mistakes
) -> None:
    found = mistakes("\n".join(f"x{number}: 1" for number in range(names)))
    assert [sentence.split(":")[0] for sentence in found[:50]] == [f"x{number}" for number in range(50)]
    assert found[50:] == ([] if rest is None else [f"config: {rest} not listed."])


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("number_verification_tests_threshold", "_bias?_dark?_flat?"),
        ("number_verification_test_threshold", "_bias?_dark?_flat?"),
        ("number_verification_tests_threshold_ptc", "_bias?_dark?_flat?"),
        ("number_verification_tests_threshold_defects", "_bias?_dark?_flat?"),
        ("number_verification_tests_threshold_biass", "_bias?"),
        ("number_verification_tests_treshold_drak", "_dark?"),
        ("number_verification_tests_threshold_Flats", "_flat?"),
    ],
)
def test_a_misspelt_threshold_is_answered_with_all_that_it_may_mean(name: str, meant: str, mistakes: Mistakes) -> None:
    *first, last = [f"number_verification_tests_threshold{suffix}" for suffix in meant.split("?")[:-1]]
    proposal = f"{', '.join(first)} or {last}" if first else last
    assert mistakes(f"{name}: 3") == [f"{name}: no such option; did you mean {proposal}?"]


@pytest.mark.parametrize("frame_type", ["dark", "flat"])
def test_more_exposure_times_than_a_run_takes_are_refused_with_the_limit(frame_type: str, mistakes: Mistakes) -> None:
    name = f"exp_times_{frame_type}"
    assert mistakes(f"{name}: {[1] * 1001}") == [
        f"{name}: 1001 exposure times, but a run takes at most 1000 {frame_type}s; give fewer."
    ]
    (sentence,) = mistakes(f"{name}: {[1] * 3000}")
    assert sentence.endswith(
        "is a list of 3000 exposure times, but at most 1000 frames of a type are used, and at most 2000 taken with the "
        "discarded ones."
    )
    (as_text,) = mistakes(f"{name}: ({','.join(['1'] * 3000)})")
    assert "is a list of 3000 exposure times" in as_text


def test_as_many_exposure_times_as_a_run_takes_are_accepted(parse: Parse) -> None:
    assert parse(f"exp_times_dark: {[1, 2] * 500}").n_dark == 1000
    options = parse(f"{{n_dark: 1000, n_discard_dark: 1000, exp_times_dark: {[1, 2] * 1000}}}")
    assert len(options.frames(CalibType.DARK)) == 2000


# Flats in pairs


@pytest.mark.parametrize("option", ["do_ptc", "do_gain_from_flat_pairs"])
def test_partners_have_to_be_neighbours(option: str, mistakes: Mistakes) -> None:
    found = mistakes(f"{{{option}: true, exp_times_flat: [1, 2, 1, 2]}}")
    assert found == [
        f"exp_times_flat: 2 flats have {time} s and no partner with the same exposure time taken directly before or "
        f"after; {option} needs pairs."
        for time in (1, 2)
    ]


def test_discarded_flats_are_no_partners(mistakes: Mistakes, parse: Parse) -> None:
    assert parse("{do_ptc: true, n_flat: 2, n_discard_flat: 1, exp_times_flat: [1, 2, 2]}").flat_pairs() == ((0, 1),)
    assert len(mistakes("{do_ptc: true, n_flat: 2, n_discard_flat: 1, exp_times_flat: [1, 1, 2]}")) == 2


def test_flats_that_make_fewer_pairs_than_one_may_think_are_taken_with_a_notice(parse: Parse) -> None:
    (notice,) = parse("{do_ptc: true, n_flat: 20, exp_times_flat: 5}").notices
    assert notice.startswith("exp_times_flat: the 20 used flats make only 1 pair: ")


def test_pairs_are_asked_for_only_where_something_is_made_of_them(parse: Parse) -> None:
    assert parse("exp_times_flat: [1, 2, 3]").n_flat == 3


# The command's own fields


def test_an_option_wins_over_the_commands_field_and_that_over_the_configuration(config: CscConfig) -> None:
    with_note = config.model_copy(
        update={"run_defaults": {**config.run_defaults, "note": "default", "reason": "default"}}
    )
    options = parse_options(
        "reason: text",
        with_note.option_rules(),
        command_reason="field",
        command_program="field",
        command_note="field",
        now_day_obs=20261122,
    )
    assert (options.reason, options.program, options.note) == ("text", "field", "field")
    assert parse_options("", with_note.option_rules(), now_day_obs=20261122).note == "default"


def test_the_commands_fields_are_checked_like_options(mistakes: Mistakes, parse: Parse) -> None:
    assert mistakes("", command_reason="one, two", command_note="a\nb") == [
        "reason: one, two has a ',', which the camera can't take in image headers.",
        "note: a\\nb has the character \\n, but control characters are not allowed.",
    ]
    assert parse("reason: fine", command_reason="one, two").reason == "fine"


# What is understood although it is written otherwise


def test_a_time_in_utc_is_taken_as_tai_with_a_notice(parse: Parse) -> None:
    options = parse("{certify_calib_begin_date: 2026-11-22T12:00:00Z, certify_calib_end_date: 2026-11-23 12:00+00:00}")
    assert options.certify_calib_begin_date == "2026-11-22T12:00:00"
    assert options.certify_calib_end_date == "2026-11-23T12:00:00"
    assert options.notices == (
        "certify_calib_begin_date: 2026-11-22T12:00:00Z is taken as TAI, which is 37 s ahead of UTC, because all "
        "times of a run are TAI; write it without a time zone.",
        "certify_calib_end_date: 2026-11-23 12:00+00:00 is taken as TAI, which is 37 s ahead of UTC, because all "
        "times of a run are TAI; write it without a time zone.",
    )


@pytest.mark.parametrize("text", ["detectors: 0-8", "detectors: all", "detectors: R22", "detectors: [R22_S00, 1-8]"])
def test_detectors_are_understood_in_every_clear_spelling(text: str, parse: Parse) -> None:
    assert parse(text).detectors == tuple(range(9))


def test_a_list_of_one_filter_is_that_filter(parse: Parse) -> None:
    assert parse("filter: [r_03]").filter == "r_03"
    assert parse("filter: 3").filter == "3"


# What is told afterwards


def test_a_time_limit_of_todays_script_is_ignored_with_a_notice(parse: Parse) -> None:
    options = parse("background_task_timeout: 30")
    assert options.notices == ("background_task_timeout: ignored; there is no such limit any more.",)
    assert "background_task_timeout" not in options.effective()


def test_a_validity_that_covers_a_part_of_the_day_is_taken_with_a_notice(parse: Parse) -> None:
    (notice,) = parse("certify_calib_begin_date: 2026-11-23").notices
    assert "covers only a part of day_obs 20261122" in notice
    assert parse("{certify_calib_begin_date: 2026-11-01, certify_calib_end_date: 2027-01-01}").notices == ()


def test_a_validity_without_an_end_is_written_open(parse: Parse) -> None:
    for word in ("open", "Open", " OPEN "):
        options = parse(f"certify_calib_end_date: '{word}'")
        assert (options.certify_calib_begin_date, options.certify_calib_end_date) == (None, "open")
        assert options.notices == ()
    (notice,) = parse("{certify_calib_begin_date: 2026-11-23, certify_calib_end_date: open}").notices
    assert "from 2026-11-23T00:00:00 to no end covers only a part of day_obs 20261122" in notice


@pytest.mark.parametrize("begin", ["2026-11-23T12:00:00", "2026-11-24T11:59:59"])
def test_a_begin_after_the_frames_of_today_is_for_a_run_over_noon_only(parse: Any, begin: str) -> None:
    (notice,) = parse(f"certify_calib_begin_date: {begin}").notices
    assert notice == (
        f"certify_calib_begin_date {begin}: not before 2026-11-23T12:00:00, when the validity ends if all frames are "
        "of day_obs 20261122: nothing can be certified then. Give certify_calib_end_date, too, unless the run "
        "continues past that noon."
    )


def test_a_begin_that_butler_stores_as_none_is_told(parse: Parse) -> None:
    (notice,) = parse("certify_calib_begin_date: 1970-01-01").notices
    assert "is the earliest time that Butler knows, so the validity is stored and published as one without" in notice


def test_null_dates_follow_the_frames_whatever_the_configuration_says(config_values: dict[str, Any]) -> None:
    defaults = config_values["run_defaults"] | {"certify_calib_end_date": "2030-01-01"}
    config = CscConfig.from_namespace(config_values | {"run_defaults": defaults})
    read = functools.partial(parse_options, rules=config.option_rules(), now_day_obs=20261122)
    assert read("").certify_calib_end_date == "2030-01-01T00:00:00"
    assert read("certify_calib_end_date: null").certify_calib_end_date is None


def test_the_effective_options_are_options_again(parse: Parse, repository_root: pathlib.Path) -> None:
    example = (repository_root / "config" / "examples" / "procedure.yaml").read_text()
    for text in (
        "",
        example,
        "certify_calib_end_date: open",
        "{script_mode: DARK, n_discard_dark: 2, filter: r_03, exp_times_dark: [1, 2, 3]}",
    ):
        options = parse(text)
        again = parse(json.dumps(options.effective()))
        assert again == options


def test_collections_that_the_configuration_names_begin_with_the_usual_one(config_values: dict[str, Any]) -> None:
    def named(**defaults: str) -> tuple[str, ...]:
        run_defaults = config_values["run_defaults"] | defaults
        return named_collections(
            CscConfig.from_namespace(config_values | {"run_defaults": run_defaults}).option_rules()
        )

    assert named() == ("LSSTComCam/calib/daily",)
    weekly, inputs = "LSSTComCam/calib/weekly", "LSSTComCam/calib, LSSTComCam/calib/weekly"
    assert named(calib_collection=weekly, input_collections_bias=inputs) == (weekly, "LSSTComCam/calib")
