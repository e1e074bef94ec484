# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Make the recordings of `recording`: take the procedure's exposures, run the pipelines for real, record the products.

``python -m lsst.ts.comcamcalib.simulation.recorder [DIRECTORY]``; takes some minutes. To be done anew whenever a
pipeline puts out other dataset types.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lsst.daf.butler import Butler

from .batch import STEPS, StepJobs, take_exposures
from .focal_plane import FocalPlane
from .pipetask_worker import PipetaskWorker
from .recording import RECORDED, record
from .repo import create_repo

__all__ = ["record_all"]

_DAY_OBS = 20261122
_BEGIN_TAI_S = 1_795_374_000.0  # 2026-11-22T19:00:00 TAI

# The procedure's example, at its exposure times.
EXPOSURE_TIMES_S: Mapping[str, Sequence[float]] = {
    "BIAS": (0.0,) * 6,
    "DARK": (5.0, 5.0, 5.0, 10.0, 15.0, 20.0),
    "FLAT": (0.1, 0.1, 0.35, 0.35, 0.6, 0.6, 0.8, 0.8, 1.0, 1.0, 1.35, 1.35, 1.6, 1.6),
}


async def record_all(directory: Path, work: Path) -> list[Path]:
    """Run all pipelines on exposures of the default focal plane, and record what they put out.

    Parameters
    ----------
    directory
        Where the recordings go.
    work
        Where repository, raws and jobs go.

    Returns
    -------
    paths
        The recordings.

    Raises
    ------
    RuntimeError
        If a pipeline fails; the sentence names its log.
    """
    focal_plane = FocalPlane()
    repo = work / "repo"
    await asyncio.to_thread(create_repo, repo, focal_plane)
    exposures = await asyncio.to_thread(
        take_exposures, repo, focal_plane, work / "raw", _DAY_OBS, _BEGIN_TAI_S, EXPOSURE_TIMES_S
    )
    jobs = {step.name.replace("#", "."): step for step in STEPS}
    await StepJobs(repo, work / "jobs", exposures).run(PipetaskWorker(max_jobs=1), jobs)
    paths = []
    for step in STEPS:
        paths.append(await asyncio.to_thread(_record, repo, step.name, directory))
        logging.getLogger(__name__).info("%s: %.0f kB", paths[-1], paths[-1].stat().st_size / 1000)
    return paths


def _record(repo: Path, name: str, directory: Path) -> Path:
    with Butler.from_config(str(repo)) as butler:
        return record(butler, f"u/ocps/{name.replace('#', '.')}", name, directory)


def main() -> None:
    """Make the recordings."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=RECORDED)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    with tempfile.TemporaryDirectory(prefix="recorder-") as work:
        asyncio.run(record_all(arguments.directory, Path(work)))


if __name__ == "__main__":
    main()
