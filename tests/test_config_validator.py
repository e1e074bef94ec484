# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with a configuration is said with the names of the fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from lsst.ts.comcamcalib import CONFIG_SCHEMA
from lsst.ts.comcamcalib.config_validator import ConfigValidator


@pytest.fixture
def config() -> dict[str, Any]:
    """The shipped configuration."""
    folder = Path(__file__).parents[1] / "config" / "ComCamCalib" / "v1"
    files = [yaml.safe_load((folder / name).read_text()) for name in ("_init.yaml", "_summit.yaml")]
    return {name: value for file in files for name, value in (file or {}).items()}


def test_what_fits_is_accepted(config: dict[str, Any]) -> None:
    ConfigValidator(CONFIG_SCHEMA).validate(config)


def test_every_field_that_is_wrong_is_named(config: dict[str, Any]) -> None:
    config["instrument"] = {**config["instrument"], "ocps_index": "two"}
    config["limits"] = {**config["limits"], "preflight": -1}
    config["uws_ulr"] = "http://127.0.0.1:1"
    with pytest.raises(jsonschema.ValidationError) as caught:
        ConfigValidator(CONFIG_SCHEMA).validate(config)
    assert str(caught.value) == caught.value.message, "the text has the schema and all values, too"
    problems = caught.value.message.split("; ")
    assert "instrument.ocps_index: 'two' is not of type 'integer'" in problems
    assert any(one.startswith("limits.preflight: -1 is less than") for one in problems)
    assert any("'uws_ulr' was unexpected" in one for one in problems)
    assert len(problems) == 3


def test_what_is_no_mapping_is_refused() -> None:
    with pytest.raises(jsonschema.ValidationError, match="is not of type 'object'"):
        ConfigValidator(CONFIG_SCHEMA).validate([])
