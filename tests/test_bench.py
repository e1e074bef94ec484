# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of ``make bench`` can be started: what they take from the product and the tests is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = sorted(path.parent.name for path in ROOT.glob("bench/*/run.py"))


def run(part: str, program: str) -> str:
    """Run a program in a part's folder, as Python does with the part itself; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT / "bench" / part, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("part", PARTS)
def test_part_is_imported_with_all_its_modules(part: str) -> None:
    others = {path.stem for path in (ROOT / "bench" / part).glob("*.py")} - {"run"}
    run(part, f"import {', '.join(['run', *sorted(others)])}")


def test_run_of_the_schedule_is_had_and_has_a_critical_path() -> None:
    """The nights, on which it is built, have changed under it before."""
    program = "import run; history = run.have(0, 4, True)"
    printed = run("schedule", f"{program}; print(history.ended_s - history.started_s, run.critical_path_s(history))")
    makespan_s, least_s = map(float, printed.split())
    assert 0.0 < least_s <= makespan_s < 1.5 * least_s


def test_make_bench_has_all_parts() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (parts,) = re.findall(r"^\t@\$\(MAKE\).* --keep-going (.*)$", makefile, re.MULTILINE)
    assert sorted(parts.split()) == [f"bench-{part}" for part in PARTS]
    for part in PARTS:
        assert f"\t$(RUN) bench/{part}/run.py" in makefile
