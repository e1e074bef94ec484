# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The start script of the observatory's image, with a pipelines' environment that only says that it was asked for."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "image" / "startup.sh"

ENVIRONMENT = """
setup() { echo "setup $1"; }
trap 'echo trapped; exit 143' TERM
export PATH={programs}:$PATH
"""

PROGRAM = """#!/usr/bin/env bash
trap 'echo "process $$ got SIGTERM"; exit 0' TERM
echo "process $$ runs with $*"
while true; do sleep 0.05; done
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the observatory's files; the script names another one."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "run_comcamcalib").write_text(PROGRAM)
    (programs / "run_comcamcalib").chmod(0o755)
    (tmp_path / ".setup_sal_env.sh").write_text(ENVIRONMENT.replace("{programs}", str(programs)))
    (tmp_path / "startup.sh").write_text(SCRIPT.read_text().replace("/home/saluser", str(tmp_path)))
    return tmp_path


def test_csc_takes_the_place_of_the_script_and_gets_the_signal_itself(home: Path) -> None:
    assert shutil.which("bash")
    with subprocess.Popen(
        ["bash", home / "startup.sh"],
        env={**os.environ, "RUN_ARG": "--state disabled"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "setup lsst_distrib\n"
        assert process.stdout.readline() == f"process {process.pid} runs with --state disabled\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == f"process {process.pid} got SIGTERM\n"
        assert process.wait(20) == 0


def test_environment_that_is_missing_ends_the_script(home: Path) -> None:
    (home / ".setup_sal_env.sh").unlink()
    done = subprocess.run(["bash", home / "startup.sh"], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode != 0
    assert ".setup_sal_env.sh" in done.stderr


def test_a_command_that_fails_in_passing_in_the_observatorys_file_does_not_keep_the_csc_from_starting(
    home: Path,
) -> None:
    file = home / ".setup_sal_env.sh"
    file.write_text(f"grep --quiet nothing /dev/null\n{file.read_text()}")
    (home / "programs" / "run_comcamcalib").write_text("#!/bin/sh\necho started\n")
    done = subprocess.run(["bash", home / "startup.sh"], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (0, "setup lsst_distrib\nstarted\n")


def test_pipelines_that_can_not_be_set_up_are_told_and_the_csc_is_not_started(home: Path) -> None:
    file = home / ".setup_sal_env.sh"
    file.write_text(f"{file.read_text()}\nsetup() {{ return 1; }}\n")
    done = subprocess.run(["bash", home / "startup.sh"], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "lsst_distrib" in done.stderr and "there is no Butler" in done.stderr
