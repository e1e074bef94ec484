# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest
import yaml
from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.config_schema import CONFIG_SCHEMA
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.options import parse_options

SITES = ("summit", "base", "tucson", "test")
VERIFICATION = {
    "label": "verifyProduct",
    "pipeline": "verifyProduct.yaml",
    "run_statistics": "verifyProductStats",
    "detector_statistics": "verifyProductDetStats",
    "exposure_statistics": None,
    "tests": ["SOME_TEST"],
    "tests_not_counted": [],
    "signal_statistic": None,
    "noise_statistic": "SOME_NOISE",
}


def objects(node: Any, path: str = "config") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object of a schema, with its path."""
    if isinstance(node, list):
        for item in node:
            yield from objects(item, path)
    elif isinstance(node, dict):
        if node.get("type") == "object":
            yield path, node
        for key, value in node.items():
            yield from objects(value, f"{path}.{key}")


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(BadInputError) as caught:
        CscConfig.from_namespace(values)
    assert all(sentence.strip() and "\n" not in sentence for sentence in caught.value.problems)
    return "\n".join(caught.value.problems)


def test_the_schema_is_one_of_draft_7_and_named_as_salobj_wants_it() -> None:
    jsonschema.Draft7Validator.check_schema(CONFIG_SCHEMA)
    assert CONFIG_SCHEMA["title"] == "ComCamCalib v1"
    assert "$ref" not in str(CONFIG_SCHEMA)


def test_every_object_of_the_schema_is_closed_and_every_property_described() -> None:
    found = dict(objects(CONFIG_SCHEMA))
    assert len(found) > 15
    for path, node in found.items():
        assert node["additionalProperties"] is False, path
        for name, field in node["properties"].items():
            assert len(field.get("description", "")) > 10, f"{path}.{name}"


def test_every_field_is_required_but_run_options_and_rules_that_are_left_as_they_are() -> None:
    for path, node in objects(CONFIG_SCHEMA):
        if not path.endswith("run_defaults") and "verification_rules" not in path:
            assert set(node["required"]) == set(node["properties"]), path


@pytest.mark.parametrize("site", SITES)
def test_the_shipped_configuration_of_each_site_is_valid(site: str, read_site: Callable[[str], dict[str, Any]]) -> None:
    values = read_site(site)
    jsonschema.Draft7Validator(CONFIG_SCHEMA).validate(values)
    config = CscConfig.from_namespace(types.SimpleNamespace(**values))
    assert config.instrument.detector_names[4] == "R22_S11"
    assert list(config.recipes) == [calib_type.name for calib_type in CalibType]
    assert len(config.recipes["DEFECTS"].jobs) == 4


@pytest.mark.parametrize("site", SITES)
def test_without_any_option_the_shipped_configuration_makes_the_daily_run(
    site: str, read_site: Callable[[str], dict[str, Any]]
) -> None:
    options = parse_options("", CscConfig.from_namespace(read_site(site)).option_rules(), now_day_obs=20261122)
    taken = {calib_type.name: options.frames(calib_type) for calib_type in options.script_mode.calib_types}
    assert {name: len(frames) for name, frames in taken.items()} == {"BIAS": 20, "DARK": 20, "FLAT": 20}
    assert {frame.exposure_time_s for frame in taken["DARK"]} == {30.0}
    assert {frame.exposure_time_s for frame in taken["FLAT"]} == {5.0}


def test_each_missing_field_is_refused_by_schema_and_model_alike(config_values: dict[str, Any]) -> None:
    for name in config_values:
        incomplete = {key: value for key, value in config_values.items() if key != name}
        assert not jsonschema.Draft7Validator(CONFIG_SCHEMA).is_valid(incomplete), name
        assert f"{name}: Field required" in refusal(incomplete)


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        ({"detector": "R22_S99"}, "LSSTComCam has no detector 'R22_S99'"),
        ({"amplifier": "C20"}, "R22_S11 has no amplifier 'C20'; there are C10, C11, "),
        ({"reason": ""}, "bad_amplifiers.0.reason: String should have at least 1 character"),
        ({"since": "yesterday"}, "bad_amplifiers.0.since: Input should be a valid date"),
        ({"since": 20261101}, "it must be a date, such as 2026-11-01"),
        ({"colour": "red"}, "bad_amplifiers.0.colour: Extra inputs are not permitted"),
    ],
)
def test_a_bad_amplifier_that_does_not_exist_is_refused(
    one: dict[str, Any], sentence: str, config_values: dict[str, Any]
) -> None:
    good = {"detector": "R22_S11", "amplifier": "C10", "reason": "noisy", "since": "2026-11-01"}
    assert sentence in refusal({**config_values, "bad_amplifiers": [{**good, **one}]})


def test_bad_amplifiers_are_known_by_detector_id_with_reason_and_date(config_values: dict[str, Any]) -> None:
    text = """
    - {detector: R22_S11, amplifier: C10, reason: noisy since the warm-up, since: 2026-11-01}
    - {detector: R22_S11, amplifier: C00, reason: dead, since: "2026-10-01"}
    """
    values = {**config_values, "bad_amplifiers": yaml.safe_load(text)}
    jsonschema.Draft7Validator(CONFIG_SCHEMA).validate(values)
    config = CscConfig.from_namespace(values)
    assert config.known_to_be_bad() == {
        4: {"C10": "noisy since the warm-up, since 2026-11-01", "C00": "dead, since 2026-10-01"}
    }
    assert CscConfig.model_validate_json(config.model_dump_json()) == config
    twice = {**values, "bad_amplifiers": [values["bad_amplifiers"][0]] * 2}
    assert "bad_amplifiers: R22_S11 C10 is there twice" in refusal(twice)


def test_how_strict_a_rule_is_may_be_off_which_yaml_takes_for_a_truth_value(config_values: dict[str, Any]) -> None:
    rules = yaml.safe_load("{detectors: fail, exposures: off, procedure: note, frames: count}")
    usual = config_values["verification_rules"]
    values = {**config_values, "verification_rules": {**usual, "BIAS": {**usual["BIAS"], **rules}}}
    jsonschema.Draft7Validator(CONFIG_SCHEMA).validate(values)
    config = CscConfig.from_namespace(values)
    assert config.rules(CalibType.BIAS).exposures == "off"
    assert config.rules(CalibType.DARK).exposures == "count"
    wrong = {**usual, "BIAS": {**usual["BIAS"], "frames": "strict"}}
    assert "verification_rules.BIAS.frames: Input should be 'off', 'note', 'count' or 'fail'" in refusal(
        {**config_values, "verification_rules": wrong}
    )


def test_a_run_that_was_accepted_without_rules_is_judged_by_the_usual_ones(config_values: dict[str, Any]) -> None:
    later = ("verification_rules", "bad_amplifiers")
    old = CscConfig.model_validate({key: value for key, value in config_values.items() if key not in later})
    shipped = CscConfig.from_namespace(config_values)
    assert all(old.rules(one) == shipped.rules(one) for one in CalibType)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (["colour"], "blue", "colour: Extra inputs are not permitted."),
        (["limits", "job"], 0, "limits.job: Input should be greater than 0."),
        (["limits", "job"], float("inf"), "limits.job: Input should be a finite number."),
        (["limits", "lunch"], 3600, "limits.lunch: Extra inputs are not permitted."),
        (["uws_url"], "uws-server", "uws_url: String should match"),
        (["instrument", "ocps_index"], -1, "instrument.ocps_index: Input should be greater than or equal to 0."),
        (["instrument", "detectors"], [], "instrument.detectors: Tuple should have at least 1 item"),
        (["max_jobs"], 0, "max_jobs: Input should be greater than or equal to 1."),
        (["limits", "journal"], 0, "limits.journal: Input should be greater than 0."),
        (["limits", "ocps_enabled"], 0, "limits.ocps_enabled: Input should be greater than 0."),
        (["limits", "uws_list"], -1, "limits.uws_list: Input should be greater than 0."),
        (["log_path_pattern"], "/scratch/uws/ocps.log", "it must have exactly one {job_id}"),
        (["log_path_pattern"], "/{0}/{job_id}.log", "it must have exactly one {job_id}"),
        (["log_path_pattern"], "/{job_id:>9999999}", "it must have exactly one {job_id}"),
        (["log_path_pattern"], "/{job_id!r}", "it must have exactly one {job_id}"),
        (["log_path_pattern"], "/{job_id.log", "log_path_pattern: Value error"),
        (["plausible", "gain_min"], 9.0, "gain_min must be less than gain_max"),
        (["recipes", "BIAS", "dataset_type"], "biases", "the last job makes bias, not biases"),
        (["recipes", "BIAS", "frames"], [], "a job reads BIAS frames, which are not among the recipe's"),
        (["recipes", "BIAS", "jobs", 0, "uses"], ["cpDark"], "cpBias uses cpDark, which is not an earlier job"),
        (["recipes", "BIAS", "jobs", 0, "uses"], ["cpBias"], "cpBias uses cpBias, which is not an earlier job"),
        (
            ["recipes", "DEFECTS", "jobs", 1, "uses"],
            ["cpBiasBootstrap", "cpBiasBootstrap"],
            "cpDarkBootstrap names a job twice",
        ),
        (["recipes", "BIAS", "builds_on"], ["FLAT"], "BIAS can't build on FLAT, which comes later"),
        (["recipes", "DARK", "builds_on"], ["DARK"], "DARK can't build on DARK, which comes later"),
        (["recipes", "DARK", "verification", "label"], "cpBias", "used twice: cpBias"),
        (["recipes", "DARK", "verification"], None, "the recipe of DARK needs a verification"),
        (
            ["recipes", "DEFECTS", "verification"],
            VERIFICATION,
            "cp_verify's pipeline for it can't run: verifyDefects merges its results by visit, and frames for "
            "calibrations belong to no visit; write null, and DEFECTS is judged by its own values",
        ),
        (
            ["recipes", "GAIN", "verification"],
            VERIFICATION,
            "cp_verify's pipeline for it can't run: verifyGainFromFlatPairs merges its results by exposure",
        ),
        (
            ["recipes", "PTC", "verification", "exposure_statistics"],
            "verifyPtcExpStats",
            "the verification of PTC has no statistics of exposures; write exposure_statistics: null",
        ),
        (
            ["recipes", "FLAT", "verification", "signal_statistic"],
            None,
            "the verification of FLAT needs a signal_statistic, by which its frames are judged",
        ),
        (["recipes", "SKY"], "cpSky", "recipes.SKY: Input should be a valid dictionary"),
        (["run_defaults", "n_bais"], 20, "n_bais: no such option; did you mean n_bias?"),
        (["run_defaults", "exp_times_dark"], 0, "exp_times_dark: 0 is not a number of seconds above 0 up to 3600"),
        (["run_defaults", "script_mode"], "FLAT", "script_mode: FLAT is not one of BIAS, BIAS_DARK"),
        (["run_defaults", "exp_times_flat"], [1.0, 2.0], "exp_times_flat: 2 exposure times, but n_flat 20 needs 20"),
        (["run_defaults", "repo"], "/repo/other", "repo: /repo/other is not LSSTComCam"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(
    path: list[str], value: Any, sentence: str, config_values: dict[str, Any]
) -> None:
    place = config_values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert sentence in refusal(config_values)


def test_a_missing_recipe_is_named(config_values: dict[str, Any]) -> None:
    del config_values["recipes"]["GAIN"]
    assert "there must be a recipe for each of BIAS, DARK, FLAT, DEFECTS, PTC, GAIN" in refusal(config_values)


def test_all_mistakes_of_a_configuration_are_named_at_once(config_values: dict[str, Any]) -> None:
    config_values["uws_url"] = "x"
    config_values["limits"]["job"] = -1
    del config_values["repo"]
    assert len(refusal(config_values).splitlines()) == 3


def test_defaults_without_exposure_times_are_allowed_but_then_the_operator_has_to_give_them(
    config_values: dict[str, Any],
) -> None:
    config_values["run_defaults"] = {"do_ptc": True, "note": "from the configuration"}
    config = CscConfig.from_namespace(config_values)
    with pytest.raises(BadInputError) as caught:
        parse_options("", config.option_rules(), now_day_obs=20261122)
    assert [sentence.split(":")[0] for sentence in caught.value.problems] == ["exp_times_dark", "exp_times_flat"]


def test_a_date_of_a_configuration_file_arrives_as_a_date_and_is_understood(config_values: dict[str, Any]) -> None:
    config_values["run_defaults"] |= yaml.safe_load(
        "{certify_calib_begin_date: 2026-01-01, certify_calib_end_date: 2027-01-01 12:00:00}"
    )
    options = parse_options("", CscConfig.from_namespace(config_values).option_rules(), now_day_obs=20261122)
    assert options.certify_calib_begin_date == "2026-01-01T00:00:00"
    assert options.certify_calib_end_date == "2027-01-01T12:00:00"


def test_the_configuration_can_not_be_changed(config_values: dict[str, Any]) -> None:
    config = CscConfig.from_namespace(copy.deepcopy(config_values))
    with pytest.raises(ValueError, match="frozen"):
        config.limits.job = 1.0  # type: ignore[misc]
