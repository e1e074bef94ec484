# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run's report costs: ``make bench-report``.

A demonstration makes the run, with nine detectors and all products but GAIN, unless DATA in the environment names the
folder of one that has been made. Measured are the program that the CSC starts for the report, beside the same
without the repository and beside Python that only imports what the report needs: time, most memory, and size.
"""

from __future__ import annotations

import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.run.reading import list_runs

ROUNDS = 3
AIM_S, AIM_MB = 15.0, 5.0
PROGRAM = [sys.executable, "-m", "lsst.ts.comcamcalib.report"]
IMPORTS = [sys.executable, "-c", "import lsst.daf.butler, lsst.ts.comcamcalib.report.__main__"]
NOWHERE = "/nonexistent"


def have(folder: pathlib.Path) -> pathlib.Path:
    """Return the folder of a demonstration; make one if there is none."""
    if "DATA" in os.environ:
        return pathlib.Path(os.environ["DATA"])
    data = folder / "demo-data"
    subprocess.run(
        [sys.executable, "-m", "lsst.ts.comcamcalib.cli", "demo", "--data", str(data), "--speed", "30"],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return data


def seconds(command: list[str]) -> float:
    """Return how long a program takes, the shortest of some rounds."""
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        taken.append(time.perf_counter() - began)
    return min(taken)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (journal,) = have(folder).glob("journal.sqlite3")
        run_id = next(run.run_id for run in list_runs(journal) if run.state is RunState.COMPLETED)
        command = [*PROGRAM, run_id, "--journal", str(journal), "--directory", str(folder)]
        alone_s = seconds([*command, "--repo", NOWHERE])
        imports_s = seconds(IMPORTS)
        whole_s = seconds(command)
        files = {path.suffix: path.stat().st_size / 1e6 for path in folder.glob("ComCamCalib-*")}
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"report of run {run_id}, s (the shortest of {ROUNDS})")
    print(f"  whole                             {whole_s:6.1f}   (aim {AIM_S:g})")
    print(f"  without the repository            {alone_s:6.1f}   {alone_s / whole_s:.2f} x the whole")
    print(f"  only what is imported             {imports_s:6.1f}   {imports_s / whole_s:.2f} x the whole")
    print(f"  HTML {files['.html']:.1f} MB (aim {AIM_MB:g}), JSON {files['.json']:.1f} MB")
    print(f"  most memory of a program          {peak_mb:6.0f} MB, that of the demonstration included")


if __name__ == "__main__":
    main()
