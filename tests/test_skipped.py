# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""In CI, no test is skipped unseen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("reason", "ci", "status"),
    [
        ("there is no Chromium", "true", 1),
        ("there is no Chromium", "", 0),
        ("for make test-oldest", "true", 0),
    ],
)
def test_skipped_test_fails_ci_unless_it_is_of_another_environment(
    repository_root: Path, tmp_path: Path, reason: str, ci: str, status: int
) -> None:
    skipping = tmp_path / "test_one.py"
    skipping.write_text(f"import pytest\n\ndef test_one():\n    pytest.skip({reason!r})\n\ndef test_two():\n    pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "conftest", str(skipping)],
        cwd=tmp_path,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(repository_root / "tests")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    assert ("In CI no test may be skipped" in done.stdout) == bool(status)
