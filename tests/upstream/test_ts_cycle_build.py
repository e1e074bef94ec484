# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes into ts_cycle_build: an image that is the same as that of our own Dockerfile."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OURS = ROOT / "upstream" / "ts_cycle_build"
FOLDER = OURS / "build" / "comcamcalib"


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile, each on one line."""
    lines = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", "", lines)
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def last_stage(path: Path) -> list[tuple[str, str]]:
    found = instructions(path)
    begin = max(at for at, (word, _) in enumerate(found) if word == "FROM")
    return found[begin:]


def last(stage: list[tuple[str, str]], word: str) -> str:
    return [rest for name, rest in stage if name == word][-1]


def environment(stage: list[tuple[str, str]]) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S*)", last(stage, "ENV")))


@pytest.fixture
def own() -> list[tuple[str, str]]:
    stage = last_stage(ROOT / "Dockerfile")
    assert stage[0] == ("FROM", "${BASE} AS observatory")
    return stage


@pytest.fixture
def cycle() -> list[tuple[str, str]]:
    return last_stage(FOLDER / "Dockerfile")


def test_both_images_run_alike(own: list[tuple[str, str]], cycle: list[tuple[str, str]]) -> None:
    for word in ("USER", "WORKDIR", "VOLUME", "ENTRYPOINT"):
        assert last(cycle, word) == last(own, word), word
    mine, theirs = environment(own), environment(cycle)
    # The configuration of a cycle is that of ts_config_ocs.
    assert mine.pop("TS_CONFIG_OCS_DIR") != theirs.pop("TS_CONFIG_OCS_DIR")
    assert mine == theirs


def test_the_configuration_is_where_the_environment_says(cycle: list[tuple[str, str]]) -> None:
    folder = environment(cycle)["TS_CONFIG_OCS_DIR"]
    (clone,) = (rest for word, rest in cycle if word == "RUN" and "git clone" in rest)
    home = next(rest for word, rest in cycle if word == "WORKDIR")
    assert folder == f"{home}/{clone.rpartition('/')[2].removesuffix('.git')}"


def test_there_is_one_entry_script(cycle: list[tuple[str, str]]) -> None:
    script = FOLDER / "startup.sh"
    assert script.resolve() == ROOT / "deploy" / "image" / "startup.sh"
    assert script.is_file()
    source, target = last(cycle, "COPY").split()[-2:]
    assert source == script.name
    assert last(cycle, "ENTRYPOINT") == f'["{target}"]'


def test_it_stands_on_the_base_with_the_science_pipelines(cycle: list[tuple[str, str]]) -> None:
    assert cycle[0] == ("FROM", "${hub}/deploy-sqre:${cycle}")


def test_compose_gives_what_the_dockerfile_asks_for() -> None:
    content = yaml.safe_load((OURS / "cycle" / "docker-compose.yaml").read_text())
    build: dict[str, Any] = content["x-comcamcalib"]["build"]
    wanted = {rest for word, rest in instructions(FOLDER / "Dockerfile") if word == "ARG"}
    assert set(build["args"]) == wanted
    assert (OURS / "cycle" / build["context"]).resolve() == FOLDER
    services = content["services"]
    assert {name: service["image"] for name, service in services.items()} == {
        "comcamcalib": "${hub}/comcamcalib:${CYCLE}${rev}",
        "comcamcalib_c": "${hub}/comcamcalib:${CYCLE}",
    }
    assert all(service["build"] == build for service in services.values())


def test_the_cycle_names_our_version() -> None:
    lines = [line for line in (OURS / "cycle" / "cycle.env").read_text().splitlines() if not line.startswith("#")]
    names = [line.partition("=")[0] for line in lines]
    assert names == ["ts_comcamcalib"]
    build = yaml.safe_load((OURS / "cycle" / "docker-compose.yaml").read_text())["x-comcamcalib"]["build"]
    assert build["args"]["comcamcalib"] == f"${{{names[0]}}}"
