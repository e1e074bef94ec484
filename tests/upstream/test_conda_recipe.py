# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The recipe for the observatory's conda channel says the same as pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

ROOT = Path(__file__).parents[2]

# What conda-forge calls differently; matplotlib-base is matplotlib without windows.
CONDA_NAMES = {
    "confluent-kafka": "python-confluent-kafka",
    "matplotlib": "matplotlib-base",
    "prometheus-client": "prometheus_client",
}

# They come with ts-conda-build, which knows the versions that belong together.
OBSERVATORY = {"ts-xml", "ts-salobj", "ts-utils", "ts-observatory-control"}

# The conda environment of the science pipelines (rubin-env 13) has these.
IN_THE_BASE = {
    "aiohttp",
    "astropy",
    "matplotlib-base",
    "numpy",
    "pydantic",
    "python",
    "python-confluent-kafka",
    "pyyaml",
}

VARIABLES = {
    "PY_VER": "3.13",
    "PKG_HASH": "h0123",
    "PKG_BUILDNUM": "0",
    "PYTHON": "python",
    "python": "3.13",
    "xml_version": "27.1",
    "salobj_version": "8.2",
}


def render(tag: str | None = None) -> dict[str, Any]:
    """Return the recipe as conda-build reads it, in a checkout with a tag."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    template = environment.from_string((ROOT / "conda" / "meta.yaml").read_text())
    recipe: dict[str, Any] = yaml.safe_load(
        template.render(VARIABLES, environ={"GIT_DESCRIBE_TAG": tag} if tag else {})
    )
    return recipe


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


def split(requirement: str) -> tuple[str, str]:
    """Return name and version of a requirement, whichever of the two ways it is written."""
    match = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?\s*(.*)", requirement)
    assert match, requirement
    name = match[1].lower()
    return CONDA_NAMES.get(name, name), match[2]


def test_the_version_is_that_of_the_tag() -> None:
    assert render("v1.2.3")["package"] == {"name": "ts-comcamcalib", "version": "1.2.3"}
    assert render()["package"]["version"] == "0.0.0"
    assert "SETUPTOOLS_SCM_PRETEND_VERSION=1.2.3" in render("v1.2.3")["build"]["script_env"]


def test_it_needs_what_the_project_needs_and_nothing_else(project: dict[str, Any]) -> None:
    run = dict(split(one) for one in render()["requirements"]["run"])
    needed = dict(split(one) for one in project["dependencies"])
    # Butler comes with the science pipelines of the image.
    needed.pop("lsst-daf-butler")
    assert {name: run[name] for name in needed if name in run} == needed
    assert set(run) == set(needed) | OBSERVATORY | {"python"}
    assert run["python"] == project["requires-python"]


def test_our_own_image_gets_what_its_base_lacks() -> None:
    """There the package comes as a wheel, so conda has to be told."""
    (installed,) = re.findall(r"--freeze-installed ((?:[\w.-]+ )+)", (ROOT / "Dockerfile").read_text())
    run = {split(one)[0] for one in render()["requirements"]["run"]}
    assert set(installed.split()) == run - OBSERVATORY - IN_THE_BASE


def test_it_is_built_with_what_the_project_is_built_with() -> None:
    system = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    host = dict(split(one) for one in render()["requirements"]["host"])
    assert dict(split(one) for one in system["requires"]).items() <= host.items()


def test_its_commands_are_those_of_the_project(project: dict[str, Any]) -> None:
    points = dict(one.split(" = ") for one in render()["build"]["entry_points"])
    assert points == project["scripts"]


def test_its_tests_have_what_they_need(project: dict[str, Any]) -> None:
    test = render()["test"]
    wanted = dict(split(one) for one in project["optional-dependencies"]["test"])
    given = dict(split(one) for one in test["requires"])
    ours = given.keys() & wanted.keys()
    assert {name: given[name] for name in ours} == {name: wanted[name] for name in ours}
    assert {"pytest", "pytest-asyncio", "hypothesis"} <= ours
    named = {word for command in test["commands"] for word in command.split() if word.startswith("tests/")}
    files = set(test["source_files"])
    assert named
    for path in named | files:
        assert (ROOT / path).exists(), path
    assert {path.split("/")[0] for path in named} <= files


def test_its_tests_have_all_files_that_the_documents_name() -> None:
    """tests/test_documentation.py runs there, and looks for each file that the README names."""
    names = re.findall(r"``([\w.-]+(?:/[\w.-]*)+)``", (ROOT / "README.rst").read_text())
    tops = {name.split("/")[0] for name in names} - {"demo-data"}
    assert {"conda", "config", "deploy", "upstream"} <= tops
    assert tops <= set(render()["test"]["source_files"])
