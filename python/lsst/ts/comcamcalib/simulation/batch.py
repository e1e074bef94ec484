# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exposures and pipelines without an observatory: for recordings, and for the past of a repository."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from lsst.daf.butler import Butler

from .exposures import ExposureRecord, write_exposure_files
from .focal_plane import FocalPlane
from .layout import DETECTOR_NAMES, INSTRUMENT, RAW_COLLECTION
from .repo import CALIB_CHAIN, ingest_files, register_exposure
from .worker import Job, Worker, WorkerPhase, pipeline_name

__all__ = ["STEPS", "Step", "StepJobs", "take_exposures"]

_FILTER = "r_03"
_READOUT_S = 3.0
_CP_PIPE = "${CP_PIPE_DIR}/pipelines/LSSTComCam"


@dataclasses.dataclass(frozen=True)
class Step:
    """A pipeline to run, on exposures of a type ("" if it needs none), with the output of earlier ones as input."""

    url: str
    image_type: str
    inputs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return pipeline_name(self.url)


STEPS = (
    Step(f"{_CP_PIPE}/cpBias.yaml", "BIAS"),
    Step(f"{_CP_PIPE}/cpDark.yaml", "DARK", ("cpBias",)),
    Step(f"{_CP_PIPE}/cpFlat.yaml", "FLAT", ("cpDark", "cpBias")),
    Step(f"{_CP_PIPE}/cpBiasBootstrap.yaml", "BIAS"),
    Step(f"{_CP_PIPE}/cpDarkBootstrap.yaml", "DARK", ("cpBiasBootstrap",)),
    Step(f"{_CP_PIPE}/cpFlatBootstrap.yaml", "FLAT", ("cpDarkBootstrap", "cpBiasBootstrap")),
    Step(f"{_CP_PIPE}/cpDefects.yaml", "", ("cpBiasBootstrap", "cpDarkBootstrap", "cpFlatBootstrap")),
    Step(f"{_CP_PIPE}/cpPtc.yaml", "FLAT", ("cpDark", "cpBias")),
    Step(f"{_CP_PIPE}/cpPtc.yaml#cpPtcGainFromFlatPairs", "FLAT", ("cpDark", "cpBias")),
)
"""All pipelines that make products, each after those whose products it uses."""


def take_exposures(
    repo: Path,
    focal_plane: FocalPlane,
    raw: Path,
    day_obs: int,
    begin_tai_s: float,
    times_s: Mapping[str, Sequence[float]],
) -> dict[str, list[int]]:
    """Take exposures one after the other and ingest them.

    Parameters
    ----------
    repo
        The repository.
    focal_plane
        What takes the images.
    raw
        Where the files go.
    day_obs, begin_tai_s
        Observing day, and when on it the first exposure begins (TAI unix seconds).
    times_s
        Exposure times by image type.

    Returns
    -------
    exposures
        Ids by image type.
    """
    taken: dict[str, list[int]] = {}
    seq_num, begin_s = 0, begin_tai_s
    with Butler.from_config(str(repo), writeable=True) as butler:
        for image_type, of_type in times_s.items():
            for time_s in of_type:
                seq_num += 1
                exposure = ExposureRecord(
                    exposure_id=day_obs * 100000 + seq_num,
                    obs_id=f"CC_O_{day_obs}_{seq_num:06d}",
                    day_obs=day_obs,
                    seq_num=seq_num,
                    group_id=f"{day_obs}-{image_type}",
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
                begin_s += time_s + _READOUT_S
    return taken


class StepJobs:
    """The jobs of some steps.

    Parameters
    ----------
    repo
        The repository.
    work
        Where the jobs' folders go.
    exposures
        Ids of the exposures by image type.
    """

    def __init__(self, repo: Path, work: Path, exposures: Mapping[str, Sequence[int]]) -> None:
        self._repo = repo
        self._work = work
        self._exposures = exposures
        self._ended: dict[str, asyncio.Future[WorkerPhase]] = {}

    async def run(self, worker: Worker, steps: Mapping[str, Step]) -> None:
        """Run each step as soon as those are done whose output it needs.

        Parameters
        ----------
        worker
            Runs the jobs; started here, and closed at the end.
        steps
            The steps by their job ids.

        Raises
        ------
        RuntimeError
            If a job fails; the sentence names its log.
        """
        loop = asyncio.get_running_loop()
        self._ended = {job_id: loop.create_future() for job_id in steps}
        await worker.start(self._notify)
        try:
            async with asyncio.TaskGroup() as group:
                for job_id in steps:
                    group.create_task(self._run(worker, job_id, steps), name=f"step {steps[job_id].name}")
        except* RuntimeError as failures:
            raise failures.exceptions[0] from None
        finally:
            await worker.close()

    def _notify(self, job_id: str, phase: WorkerPhase) -> None:
        if phase in ("completed", "error") and not self._ended[job_id].done():
            self._ended[job_id].set_result(phase)

    async def _run(self, worker: Worker, job_id: str, steps: Mapping[str, Step]) -> None:
        step = steps[job_id]
        ids = {other.name: other_id for other_id, other in steps.items()}
        needed = [ids[name] for name in step.inputs]
        for other in needed:
            if await asyncio.shield(self._ended[other]) != "completed":
                return  # which that step reports
        job = await asyncio.to_thread(self._make_job, job_id, step, needed)
        await worker.submit(job)
        if await self._ended[job_id] != "completed":
            raise RuntimeError(f"Pipeline {step.name} failed: see {job.output_dir}/ocps.log")

    def _make_job(self, job_id: str, step: Step, needed: Sequence[str]) -> Job:
        out, source = self._work / job_id / "out", self._work / job_id / "src"
        out.mkdir(parents=True)
        source.mkdir()
        inputs = [f"u/ocps/{other}" for other in needed]
        query = f"instrument='{INSTRUMENT}' AND detector IN (0..{len(DETECTOR_NAMES) - 1})"
        if step.image_type:
            query += f" AND exposure IN ({', '.join(str(exposure) for exposure in self._exposures[step.image_type])})"
        environment = {
            "PIPELINE_URL": step.url,
            "BUTLER_REPO": str(self._repo),
            "RUN_OPTIONS": f"-i {','.join([*inputs, RAW_COLLECTION, CALIB_CHAIN])} --register-dataset-types -j 1",
            "OUTPUT_GLOB": "none*",
            "DATA_QUERY": query,
            "JOB_ID": job_id,
            "JOB_OUTPUT_DIR": str(out),
            "JOB_SOURCE_DIR": str(source),
        }
        return Job(job_id, environment, out)
