# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What builds the image: whichever engine works, with what it is told."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "image" / "build.sh"

WORKS = '#!/bin/sh\n[ "$1" = info ] || echo "$(basename "$0") $*"\n'
WITHOUT_DAEMON = '#!/bin/sh\n[ "$1" = info ] && exit 1\necho "$(basename "$0") $*"\n'
FAILS = '#!/bin/sh\n[ "$1" = info ] && exit 0\necho "no space left" >&2\nexit 125\n'

Build = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Run the script on a machine with these engines only."""
    for name in ("bash", "dirname", "basename", "git", "sh"):
        program = shutil.which(name)
        assert program is not None, name
        (tmp_path / name).symlink_to(program)

    def run(engines: dict[str, str], *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        for name, text in engines.items():
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o755)
        command = [str(tmp_path / "bash"), str(SCRIPT), *arguments]
        env = {"PATH": str(tmp_path), **environment}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.mark.parametrize(
    ("engines", "chosen"),
    [
        ({"docker": WORKS, "podman": WORKS, "buildah": WORKS}, "docker build"),
        ({"docker": WITHOUT_DAEMON, "podman": WORKS, "buildah": WORKS}, "podman build"),
        ({"docker": WITHOUT_DAEMON, "buildah": WORKS}, "buildah bud"),
    ],
)
def test_first_engine_that_works_builds_the_image(build: Build, engines: dict[str, str], chosen: str) -> None:
    done = build(engines)
    assert done.returncode == 0, done.stderr
    command, built = done.stdout.splitlines()
    assert command.startswith(f"{chosen} --target stand --tag comcamcalib:stand --build-arg VERSION=")
    assert command.endswith(" .") and "BASE=" not in command
    assert built.startswith("Built comcamcalib:stand, version ") and built.endswith(f"with {chosen.split()[0]}.")


def test_engine_target_base_and_name_are_as_they_are_given(build: Build) -> None:
    done = build(
        {"docker": WORKS, "buildah": WORKS},
        *("--volume", "/a:/b"),
        ENGINE="buildah",
        TARGET="observatory",
        BASE="base:c0042",
        TAG="mine:1",
    )
    assert done.stdout.startswith("buildah bud --target observatory --tag mine:1 ")
    assert done.stdout.splitlines()[0].endswith(" --build-arg BASE=base:c0042 --volume /a:/b .")


@pytest.mark.parametrize(
    ("engines", "named", "sentence"),
    [
        ({}, "", "None of docker, podman and buildah works here; install one of them, or name another with ENGINE="),
        ({"docker": WITHOUT_DAEMON}, "", "None of docker, podman and buildah works here"),
        ({"docker": WORKS}, "podman", "None of podman works here"),
    ],
)
def test_without_an_engine_that_works_it_says_so_and_fails(
    build: Build, engines: dict[str, str], named: str, sentence: str
) -> None:
    done = build(engines, **({"ENGINE": named} if named else {}))
    assert done.returncode == 1
    assert done.stdout == ""
    assert sentence in done.stderr


def test_build_that_fails_is_not_called_built(build: Build) -> None:
    done = build({"docker": FAILS})
    assert done.returncode == 125
    assert "Built" not in done.stdout and "no space left" in done.stderr
