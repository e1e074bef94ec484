# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The instrument as data: what is refused, and that the product knows it from the configuration only."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import lsst.ts.comcamcalib
import pydantic
import pytest
from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.instrument import Instrument
from lsst.ts.comcamcalib.options import parse_options
from lsst.ts.comcamcalib.options.rules import OptionRules

PACKAGE = Path(lsst.ts.comcamcalib.__path__[0])

OF_ONE_INSTRUMENT = re.compile(r"LSSTComCam|CCCamera|CCOODS|CCHeaderService|\bCC_|^CC$|maintel\.comcam")

WITH_SIMULATION = ("simulation/", "cli_simulation.py", "demo.py")
"""The simulation is a witness of its own; the command line and the demonstration start it."""


@pytest.fixture
def values(config: CscConfig) -> dict[str, Any]:
    """The shipped instrument, as it is read from a file."""
    values: dict[str, Any] = config.instrument.model_dump(mode="json")
    return values


def larger(values: dict[str, Any]) -> Instrument:
    """Return an instrument with everything that LSSTCam needs: other ids, half sensors, two OODS."""
    changes: dict[str, Any] = {
        "name": "LSSTCam",
        "oods": ["MTOODS", "WFOODS"],
        "detectors": [
            {"id": 94, "name": "R22_S11", "amplifiers": 16},
            {"id": 189, "name": "R00_SG0", "amplifiers": 16},
            {"id": 191, "name": "R00_SW0", "amplifiers": 8},
        ],
    }
    return Instrument.model_validate({**values, **changes})


def test_the_shipped_instrument_survives_being_written_down(config: CscConfig, values: dict[str, Any]) -> None:
    assert Instrument.model_validate(values) == config.instrument
    assert Instrument.model_validate_json(config.instrument.model_dump_json()) == config.instrument


def test_an_instrument_can_have_other_ids_fewer_amplifiers_and_several_oods(values: dict[str, Any]) -> None:
    instrument = larger(values)
    assert instrument.detector_names == {94: "R22_S11", 189: "R00_SG0", 191: "R00_SW0"}
    assert instrument.amplifiers == {94: 16, 189: 16, 191: 8}
    assert instrument.components == ("CCCamera", "CCHeaderService", "MTOODS", "WFOODS", "OCPS:2")
    assert instrument.frame_components == instrument.components[:-1]


@pytest.mark.parametrize("name", ["RXX_S00", "R22_S00", "R00_SG1", "R44_SW1"])
def test_detectors_of_all_of_the_observatory_s_cameras_have_a_name(name: str, values: dict[str, Any]) -> None:
    values["detectors"] = [{"id": 0, "name": name, "amplifiers": 16}]
    assert Instrument.model_validate(values).detector_names == {0: name}


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (["detectors", 3, "name"], "R22_S00", "the detector R22_S00 is named twice"),
        (["detectors", 3, "id"], 2, "each detector needs an id of its own"),
        (["detectors", 0, "id"], 12, "they must be in the order of their ids"),
        (["detectors", 0, "id"], -1, "greater than or equal to 0"),
        (["detectors", 0, "name"], "S00", "should match pattern"),
        (["detectors", 0, "name"], "R22_S00\n", "should match pattern"),
        (["detectors", 0, "amplifiers"], 0, "greater than or equal to 1"),
        (["detectors", 0, "serial"], "ITL", "Extra inputs are not permitted"),
        (["detectors"], [], "at least 1 item"),
        (["oods"], [], "at least 1 item"),
        (["oods"], ["CCOODS", "CCOODS"], "the component CCOODS is named twice"),
        (["header_service"], "CCCamera", "the component CCCamera is named twice"),
        (["camera"], "CC Camera", "should match pattern"),
        (["camera_class"], "ComCam", "should match pattern"),
        (["image_names", "prefix"], "C.", "should match pattern"),
        (["image_names", "controllers"], [], "at least 1 item"),
        (["image_names", "controllers", 1, "controller"], "O", "there are two rules for the controller O"),
        (["image_names", "controllers", 1, "offset_years"], -1000, "greater than or equal to 0"),
        (["image_names", "controllers", 1, "last_day_with_offset"], 2023, "greater than or equal to 19700101"),
        (["colour"], "blue", "Extra inputs are not permitted"),
    ],
)
def test_what_no_instrument_can_have_is_refused(
    path: list[Any], value: Any, sentence: str, values: dict[str, Any]
) -> None:
    place: Any = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(pydantic.ValidationError, match=sentence):
        Instrument.model_validate(values)


def test_nothing_of_an_instrument_can_be_changed(config: CscConfig) -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        config.instrument.name = "LATISS"  # type: ignore[misc]


def test_image_names_of_another_prefix_are_those_of_another_camera(values: dict[str, Any]) -> None:
    values["image_names"]["prefix"] = "MC"
    names = Instrument.model_validate(values).image_names
    assert names.exposure_id("MC_O_20261122_000012") == 2026112200012
    with pytest.raises(ValueError, match=r"no image name of this camera \(such as MC_O_20261122_000012\)"):
        names.exposure_id("CC_O_20261122_000012")


# What the options follow from


def test_the_options_follow_from_the_configured_instrument(config: CscConfig, values: dict[str, Any]) -> None:
    rules = config.model_copy(update={"instrument": larger(values)}).option_rules()
    expected = (larger(values), config.repo, config.camera_minimum_exposure_s, config.run_defaults, config.repo_names)
    assert rules == OptionRules(*expected)
    options = parse_options("", rules, now_day_obs=20261122)
    assert options.detectors == (94, 189, 191)
    assert options.calib_collection == "LSSTCam/calib/daily"
    assert options.input_collections_bias == ("LSSTCam/calib",)
    # Fewer than all amplifiers of the smallest detector, or it would pass when it is dead.
    assert options.number_verification_tests_threshold_bias == 7


# Where it may stand


def texts(path: Path) -> list[str]:
    """Return the texts of a module that are no documentation."""
    tree = ast.parse(path.read_text())
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation
    ]


def test_no_instrument_is_named_in_the_product_s_code() -> None:
    modules = [path for path in PACKAGE.rglob("*.py") if not str(path.relative_to(PACKAGE)).startswith(WITH_SIMULATION)]
    assert len(modules) > 80
    found = [
        f"{path.relative_to(PACKAGE)}: {text}"
        for path in modules
        for text in texts(path)
        if OF_ONE_INSTRUMENT.search(text)
    ]
    assert found == []
