# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demonstration, as `make demo` runs it: real pipelines, processes of their own, nothing left running."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = [pytest.mark.observatory, pytest.mark.pipelines]

# It takes two to three minutes on two idle cores; a busy machine may need several times that.
LIMIT_S = 900.0
PROGRAM = "from lsst.ts.comcamcalib.cli import app; app()"
PRODUCTS = ("bias", "dark", "flat", "defects", "ptc")


async def demo(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the demonstration to its end; nothing that it started may be left."""
    command = [sys.executable, "-c", PROGRAM, "demo", "--data", str(data), *arguments]
    done = await asyncio.to_thread(_run, command)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    left = await asyncio.to_thread(_processes, str(data))
    for process in left:
        os.kill(process, signal.SIGKILL)
    assert not left
    return done


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LSST_", "TS_CONFIG"))}
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, env=environment)


def _processes(word: str) -> list[int]:
    """Return the processes that have a word in their command line or environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue  # it has ended, or is another user's
        if word.encode() in text and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


async def test_demonstration_makes_verifies_and_certifies_the_procedures_example(tmp_path: Path) -> None:
    data = tmp_path / "demo-data"
    done = await demo(data)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    output = done.stdout
    # Live: stages, images, jobs, verdicts.
    assert len(re.findall(r"image .*(BIAS|DARK|FLAT) \d+ of", output)) == 26
    assert len(re.findall("completed .*GENERATE", output)) == 8
    for product in PRODUCTS:
        assert re.search(rf"PASSED(_WITH_FAILURES)? +{product.upper()}", output)
        assert re.search(rf"certified +9 {product} in LSSTComCam/calib/u/demo/daily.test1", output)
    # Then: what was certified, and the procedure's look-ups.
    table = output[output.index("Certified in LSSTComCam/calib/u/demo/daily.test1") :]
    for product in PRODUCTS:
        row = next(line for line in table.splitlines() if f" {product} " in line and "T12:00:00" in line)
        assert re.findall(r"\b\d\b", row.split("[")[0]) == list("012345678")
    look_ups = re.findall(r"butler.get\('(\w+)', detector=0, exposure=(\d+), instrument='LSSTComCam'\)\n +(.*)", table)
    assert [name for name, _, _ in look_ups] == list(PRODUCTS)
    found = {name: (int(exposure), value) for name, exposure, value in look_ups}
    for name, kind in zip(PRODUCTS, ("Exposure", "Exposure", "Exposure", "Defects", "PhotonTransfer"), strict=True):
        assert found[name][1].startswith(kind)
    assert found["flat"][0] != found["bias"][0], "a flat is looked up with a flat exposure"
    # What it made stays, and the closing lines say how to look further.
    assert (data / "repo" / "butler.yaml").exists()
    assert len(list((data / "uws").rglob("ocps.log"))) == 12
    for name in ("csc.log", "observatory.log", "journal.sqlite3"):
        assert (data / name).exists() and name in table
    assert output.rstrip().endswith(".html") and "The report of the run: file://" in output
    page = Path(output.rstrip().rpartition("file://")[2])
    assert page.parent == data / "reports" and "COMPLETED" in page.read_text()
    with closing(sqlite3.connect(data / "journal.sqlite3")) as journal:
        assert journal.execute("SELECT count(*), max(state) FROM runs").fetchall() == [(1, 4)]


async def test_demonstration_of_a_noisy_detector_tells_the_truth_and_fails(tmp_path: Path) -> None:
    options = tmp_path / "options.yaml"
    options.write_text(
        "{script_mode: BIAS, n_bias: 3, detectors: [3, 4], n_processes: 1, calib_collection: LSSTComCam/calib/u/demo/x}"
    )
    done = await demo(tmp_path / "data", "--options", str(options), "--scenario", "noisy-detector")
    assert done.returncode == 1
    assert re.search("FAILED +BIAS: 1 of 2 detectors failed .*R22_S11", done.stdout)
    assert re.search(r"FAILED +run \d{8}-001: Failed", done.stdout)
    assert "Not certified for all detectors: bias" in done.stdout
    assert not re.search(r"certified +\d+ bias", done.stdout)
    assert "The report of the run: file://" in done.stdout


async def test_folder_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    done = await demo(tmp_path)
    assert done.returncode == 1
    assert f"{tmp_path} was not made by a demonstration" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
