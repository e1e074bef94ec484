# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration files are read without a CSC as salobj reads them for one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from lsst.ts import salobj
from lsst.ts.comcamcalib.config import CscConfig, read_config
from lsst.ts.comcamcalib.config_schema import CONFIG_SCHEMA
from lsst.ts.comcamcalib.csc import ComCamCalibCsc
from lsst.ts.comcamcalib.errors import BadInputError

SHIPPED = Path(__file__).parents[1] / "config" / "ComCamCalib" / "v1"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("_init.yaml", "_summit.yaml"):
        (tmp_path / name).write_text((SHIPPED / name).read_text())
    return tmp_path


@pytest.mark.parametrize("site", ["summit", "base", "tucson", "test"])
def test_site_has_what_the_csc_gets(site: str) -> None:
    validator = salobj.StandardValidator(schema=CONFIG_SCHEMA)
    namespace = ComCamCalibCsc.read_config_files(validator, SHIPPED, ["_init.yaml", f"_{site}.yaml"])
    assert read_config(SHIPPED, site) == CscConfig.from_namespace(namespace)


def test_override_changes_single_values_also_inside_mappings_as_for_the_csc(directory: Path) -> None:
    changes = {"max_jobs": 1, "limits": {"job": 5000}, "run_defaults": {"n_bias": 7}}
    (directory / "small.yaml").write_text(yaml.safe_dump(changes))
    config, before = read_config(directory, "summit", "small.yaml"), read_config(directory, "summit")
    assert (config.max_jobs, config.limits.job, config.limits.readout) == (1, 5000, before.limits.readout)
    assert config.run_defaults == {**before.run_defaults, "n_bias": 7}
    validator = salobj.StandardValidator(schema=CONFIG_SCHEMA)
    files = ["_init.yaml", "_summit.yaml", "small.yaml"]
    assert config == CscConfig.from_namespace(ComCamCalibCsc.read_config_files(validator, directory, files))


def test_empty_file_changes_nothing(directory: Path) -> None:
    (directory / "empty.yaml").write_text("# Nothing yet.\n")
    assert read_config(directory, "summit", "empty.yaml") == read_config(directory, "summit")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("_summit.yaml", "max_jobs: [", "can't be read"),
        ("_summit.yaml", "- 1\n", "is not a mapping"),
        ("_summit.yaml", "limits: 3\n", "_summit.yaml can't be used: "),
        ("_summit.yaml", "max_jobs: 0\n", "max_jobs: Input should be greater than or equal to 1"),
        ("_summit.yaml", "colour: red\n", "colour: Extra inputs are not permitted"),
    ],
)
def test_mistakes_are_named(directory: Path, name: str, content: str, words: str) -> None:
    (directory / name).write_text(content)
    with pytest.raises(BadInputError) as caught:
        read_config(directory, "summit")
    assert words in str(caught.value)


def test_configuration_that_is_wrong_is_named(directory: Path) -> None:
    (directory / "small.yaml").write_text("max_jobs: 0\n")
    with pytest.raises(BadInputError) as caught:
        read_config(directory, "summit", "small.yaml")
    where, *mistakes = caught.value.problems
    assert where == f"The configuration in {directory} (_init.yaml, _summit.yaml, small.yaml) is wrong."
    assert len(mistakes) == 1 and mistakes[0].startswith("max_jobs: ")


def test_site_that_does_not_exist_is_answered_with_those_that_do(directory: Path) -> None:
    with pytest.raises(BadInputError, match=r"_sumit.yaml; that directory has _init.yaml, _summit.yaml\."):
        read_config(directory, "sumit")
    (directory / "empty").mkdir()
    with pytest.raises(BadInputError, match="has no YAML file"):
        read_config(directory / "empty", "summit")
    with pytest.raises(BadInputError, match=r"There is no directory .*nosuch with configuration files\."):
        read_config(directory / "nosuch", "summit")
