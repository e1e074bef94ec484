# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Configuration files: merged, validated, read from git."""

from __future__ import annotations

import asyncio
import pathlib
import subprocess
import unittest
from typing import Any

import jsonschema
import pytest
from lsst.ts import salobj
from lsst.ts.salobj.config_files import describe_git_version, list_overrides
from lsst.ts.salobj.test_csc import CONFIG_SCHEMA

CONFIG = pathlib.Path(__file__).parent / "data" / "config"
VALIDATOR = salobj.StandardValidator(schema=CONFIG_SCHEMA)


def read(*files: str, directory: pathlib.Path = CONFIG / "good", git_hash: str = "") -> dict[str, Any]:
    return vars(salobj.ConfigurableCsc.read_config_files(VALIDATOR, directory, list(files), git_hash))


def test_later_files_override_earlier_ones() -> None:
    config = read("_init.yaml", "_test.yaml", "override.yaml")
    numbers = {"int0": 6, "float0": 3.14, "intarr0": [1, 2]}
    assert config == {"string0": "from override", "bool0": True, "multi_type": "text"} | numbers, (
        "and metadata is no part of it"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("invalid.yaml", "not valid"),
        ("unknown_field.yaml", "nonsense"),
        ("list.yaml", "must hold a mapping"),
        ("not_yaml.yaml", "no valid YAML"),
        ("missing.yaml", "Can't read"),
    ],
)
def test_what_can_not_be_used_is_named(name: str, message: str) -> None:
    with pytest.raises(salobj.ExpectedError, match=message) as caught:
        read("_init.yaml", name)
    assert name in str(caught.value)


def test_defaults_of_the_schema_are_not_used() -> None:
    with pytest.raises(salobj.ExpectedError, match="required"):
        read("_test.yaml")


def test_files_can_be_read_as_they_were_in_git(tmp_path: pathlib.Path) -> None:
    def git(*args: str) -> None:
        who = ["-c", "user.name=tester", "-c", "user.email=tester@example.com"]
        subprocess.run(["git", *who, *args], cwd=tmp_path, check=True, capture_output=True)

    init = tmp_path / "_init.yaml"
    init.write_text((CONFIG / "good" / "_init.yaml").read_text())
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    git("tag", "first")
    init.write_text(init.read_text().replace("from init", "changed"))
    assert read("_init.yaml", directory=tmp_path)["string0"] == "changed"
    assert read("_init.yaml", directory=tmp_path, git_hash="first")["string0"] == "from init"
    with pytest.raises(salobj.ExpectedError, match="Git has no"):
        read("_init.yaml", directory=tmp_path, git_hash="nonsense")


async def test_the_version_is_that_of_git_or_nothing(tmp_path: pathlib.Path) -> None:
    assert await describe_git_version(tmp_path) == ""
    assert await describe_git_version(tmp_path / "missing") == ""


async def test_asking_git_can_be_cancelled_at_any_time() -> None:
    """A CSC that is closed cancels it, and waits for its end."""
    for i in range(40):
        task = asyncio.create_task(describe_git_version(CONFIG))
        await asyncio.sleep(i * 0.0005)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=5)
        assert done
        assert task.cancelled() or isinstance(task.result(), str)


def test_overrides_are_sorted_and_have_no_underscore(tmp_path: pathlib.Path) -> None:
    for name in ("b.yaml", "a.yaml", "_init.yaml", "_site.yaml", "readme.txt"):
        (tmp_path / name).touch()
    assert list_overrides(tmp_path) == ["a.yaml", "b.yaml"]


def test_a_hierarchical_update_goes_into_dictionaries() -> None:
    main = {"a": {"b": 1, "c": [1, 2]}, "d": 4}
    salobj.hierarchical_update(main, {"a": {"c": [3], "e": 5}, "f": {"g": 6}}, "main", "update")
    assert main == {"a": {"b": 1, "c": [3], "e": 5}, "d": 4, "f": {"g": 6}}
    for update in ({"a": 5}, {"d": {"x": 1}}):
        with pytest.raises(ValueError, match="dictionary in"):
            salobj.hierarchical_update(main, update, "main", "update")


def test_the_defaulting_validator_puts_in_defaults() -> None:
    schema = {
        "type": "object",
        "properties": {
            "number": {"type": "integer", "default": 5},
            "inner": {"type": "object", "default": {}, "properties": {"text": {"type": "string", "default": "x"}}},
            "bare": {"type": "object", "properties": {"size": {"type": "integer", "default": 2}}},
        },
        "additionalProperties": False,
    }
    validator = salobj.DefaultingValidator(schema)
    given: dict[str, Any] = {"number": 3}
    assert validator.validate(given) == {"number": 3, "inner": {"text": "x"}, "bare": {"size": 2}}
    assert given == {"number": 3}
    assert validator.validate(None) == {"number": 5, "inner": {"text": "x"}, "bare": {"size": 2}}
    with pytest.raises(jsonschema.exceptions.ValidationError):
        validator.validate({"number": "three"})
    with pytest.raises(jsonschema.exceptions.ValidationError):
        validator.validate({"other": 1})


class TestShippedFiles(salobj.BaseConfigTestCase):
    def test_a_schema_is_read_from_the_package(self, tmp_path: pathlib.Path) -> None:
        (tmp_path / "schema").mkdir()
        (tmp_path / "schema" / "Test.yaml").write_text("title: Test v3\n")
        assert self.get_schema(tmp_path, "Test") == {"title": "Test v3"}
        assert self.get_schema(csc_package_root=tmp_path, schema_subpath="schema/Test.yaml") == {"title": "Test v3"}
        with pytest.raises(AssertionError, match=r"Other\.yaml does not exist"):
            self.get_schema(tmp_path, "Other")
        with pytest.raises(AssertionError, match="no directory"):
            self.get_schema(tmp_path / "elsewhere", "Test")
        with pytest.raises(RuntimeError, match="must be given"):
            self.get_schema(tmp_path)

    def test_what_there_is_to_check_must_be_said_and_exist(self, tmp_path: pathlib.Path) -> None:
        check = self.check_standard_config_files
        with pytest.raises(AttributeError, match="NO_SUCH_SCHEMA"):
            check("lsst.ts.salobj", "NO_SUCH_SCHEMA", config_dir=tmp_path)
        with pytest.raises(RuntimeError, match="config_package_root"):
            check("lsst.ts.salobj", sal_name="Test")
        with pytest.raises(ValueError, match="sal_name"):
            check("lsst.ts.salobj", config_package_root=tmp_path)
        with pytest.raises(AssertionError, match="does not exist"):
            check("lsst.ts.salobj", sal_name="Test", config_package_root=tmp_path)
        with pytest.raises(unittest.SkipTest, match=r"lsst\.ts\.nosuch"):
            check("lsst.ts.nosuch", sal_name="Test", config_package_root=tmp_path)

    def test_every_combination_is_checked(self, tmp_path: pathlib.Path) -> None:
        directory = tmp_path / "Test" / "v2"
        directory.mkdir(parents=True)
        for name in ("_init.yaml", "_test.yaml", "override.yaml"):
            (directory / name).write_text((CONFIG / "good" / name).read_text())
        self.check_standard_config_files("lsst.ts.salobj", sal_name="Test", config_package_root=tmp_path)
        (directory / "bad.yaml").write_text("int0: x\n")
        with pytest.raises(AssertionError, match=r"bad\.yaml"):
            self.check_standard_config_files("lsst.ts.salobj", config_dir=directory)
        self.check_config_files(directory, CONFIG_SCHEMA, exclude_glob="bad*")
        (directory / "_init.yaml").unlink()
        with pytest.raises(AssertionError, match=r"no _init\.yaml"):
            self.check_config_files(directory, CONFIG_SCHEMA)
