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
import dataclasses
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lsst.daf.butler import Butler

from .exposures import ExposureRecord, write_exposure_files
from .focal_plane import FocalPlane
from .layout import DETECTOR_NAMES, INSTRUMENT, RAW_COLLECTION
from .pipetask_worker import PipetaskWorker
from .recording import RECORDED, record
from .repo import CALIB_CHAIN, create_repo, ingest_files, register_exposure
from .worker import Job, WorkerPhase, pipeline_name

__all__ = ["record_all"]

_DAY_OBS = 20261122
_BEGIN_TAI_S = 1_795_374_000.0  # 2026-11-22T19:00:00 TAI
_FILTER = "r_03"

# The procedure's example, at its exposure times.
EXPOSURE_TIMES_S: Mapping[str, Sequence[float]] = {
    "BIAS": (0.0,) * 6,
    "DARK": (5.0, 5.0, 5.0, 10.0, 15.0, 20.0),
    "FLAT": (0.1, 0.1, 0.35, 0.35, 0.6, 0.6, 0.8, 0.8, 1.0, 1.0, 1.35, 1.35, 1.6, 1.6),
}


@dataclasses.dataclass(frozen=True)
class _Step:
    """A pipeline to run, on exposures of a type ("" if it needs none), with the output of earlier ones as input."""

    url: str
    image_type: str
    inputs: tuple[str, ...] = ()


_CP_PIPE = "${CP_PIPE_DIR}/pipelines/LSSTComCam"
STEPS = (
    _Step(f"{_CP_PIPE}/cpBias.yaml", "BIAS"),
    _Step(f"{_CP_PIPE}/cpDark.yaml", "DARK", ("cpBias",)),
    _Step(f"{_CP_PIPE}/cpFlat.yaml", "FLAT", ("cpDark", "cpBias")),
    _Step(f"{_CP_PIPE}/cpBiasBootstrap.yaml", "BIAS"),
    _Step(f"{_CP_PIPE}/cpDarkBootstrap.yaml", "DARK", ("cpBiasBootstrap",)),
    _Step(f"{_CP_PIPE}/cpFlatBootstrap.yaml", "FLAT", ("cpDarkBootstrap", "cpBiasBootstrap")),
    _Step(f"{_CP_PIPE}/cpDefects.yaml", "", ("cpBiasBootstrap", "cpDarkBootstrap", "cpFlatBootstrap")),
    _Step(f"{_CP_PIPE}/cpPtc.yaml", "FLAT", ("cpDark", "cpBias")),
    _Step(f"{_CP_PIPE}/cpPtc.yaml#cpPtcGainFromFlatPairs", "FLAT", ("cpDark", "cpBias")),
)


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
    exposures = await asyncio.to_thread(take_exposures, repo, focal_plane, work / "raw")
    ended: asyncio.Queue[WorkerPhase] = asyncio.Queue()
    worker = PipetaskWorker(max_jobs=1)
    await worker.start(lambda _, phase: ended.put_nowait(phase) if phase in ("completed", "error") else None)
    paths = []
    try:
        for step in STEPS:
            name = pipeline_name(step.url)
            job = await asyncio.to_thread(_make_job, step, repo, work, exposures)
            await worker.submit(job)
            if await ended.get() != "completed":
                raise RuntimeError(f"Pipeline {name} failed: see {job.output_dir}/ocps.log")
            paths.append(await asyncio.to_thread(_record, repo, name, directory))
            logging.getLogger(__name__).info("%s: %.0f kB", paths[-1], paths[-1].stat().st_size / 1000)
    finally:
        await worker.close()
    return paths


def take_exposures(repo: Path, focal_plane: FocalPlane, raw: Path) -> dict[str, list[int]]:
    """Take all exposures and ingest them; return their ids by image type."""
    taken: dict[str, list[int]] = {}
    seq_num, begin_s = 0, _BEGIN_TAI_S
    with Butler.from_config(str(repo), writeable=True) as butler:
        for image_type, times_s in EXPOSURE_TIMES_S.items():
            for time_s in times_s:
                seq_num += 1
                exposure = ExposureRecord(
                    exposure_id=_DAY_OBS * 100000 + seq_num,
                    obs_id=f"CC_O_{_DAY_OBS}_{seq_num:06d}",
                    day_obs=_DAY_OBS,
                    seq_num=seq_num,
                    group_id=f"recorder-{image_type}",
                    image_type=image_type,
                    exposure_time_s=time_s,
                    dark_time_s=time_s,
                    physical_filter=_FILTER,
                    timestamp_begin_tai_s=begin_s,
                    timestamp_end_tai_s=begin_s + time_s,
                )
                register_exposure(butler, exposure)
                ingest_files(butler, exposure, write_exposure_files(focal_plane, exposure, raw))
                taken.setdefault(image_type, []).append(exposure.exposure_id)
                begin_s += time_s + 3
    return taken


def _make_job(step: _Step, repo: Path, work: Path, exposures: Mapping[str, Sequence[int]]) -> Job:
    job_id = pipeline_name(step.url).replace("#", ".")
    out, source = work / "jobs" / job_id / "out", work / "jobs" / job_id / "src"
    out.mkdir(parents=True)
    source.mkdir()
    inputs = [f"u/ocps/{name}" for name in step.inputs]
    query = f"instrument='{INSTRUMENT}' AND detector IN (0..{len(DETECTOR_NAMES) - 1})"
    if step.image_type:
        query += f" AND exposure IN ({', '.join(str(exposure) for exposure in exposures[step.image_type])})"
    environment = {
        "PIPELINE_URL": step.url,
        "BUTLER_REPO": str(repo),
        "RUN_OPTIONS": f"-i {','.join([*inputs, RAW_COLLECTION, CALIB_CHAIN])} --register-dataset-types -j 1",
        "OUTPUT_GLOB": "none*",
        "DATA_QUERY": query,
        "JOB_ID": job_id,
        "JOB_OUTPUT_DIR": str(out),
        "JOB_SOURCE_DIR": str(source),
    }
    return Job(job_id, environment, out)


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
