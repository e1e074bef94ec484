# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run over noon TAI, when the day of observing changes: its frames find what it certified."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.observatory

LIMIT_S = 180.0


def test_every_frame_of_a_run_over_noon_finds_the_runs_bias_and_dark(repository_root: Path) -> None:
    """The clock is some seconds before noon TAI when the run is asked for, and at noon after the first bias."""
    paths = [str(repository_root / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", "support.run_over_noon"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    came = json.loads(done.stdout.splitlines()[-1])
    assert "certified in" in came["reason"]
    ((level, message),) = came["notices"]
    assert level == logging.WARNING
    assert "in Chile" in message
    assert len(came["found"]) == 6
    assert len({int(exposure) // 100000 for exposure in came["found"]}) == 2, "there have to be frames on both days"
    assert set(came["certified"]) == {"bias", "dark"}
    for exposure, products in came["found"].items():
        assert products == {name: [run] for name, run in came["certified"].items()}, exposure
