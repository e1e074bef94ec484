# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository with a past: bias, dark, flat and defects of an earlier day are certified in it."""

from __future__ import annotations

import asyncio
import datetime
import logging
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from astropy.time import Time
from lsst.daf.butler import Butler, Timespan
from lsst.ts import utils

from .batch import STEPS, StepJobs, take_exposures
from .focal_plane import FocalPlane
from .repo import DAILY_COLLECTION, create_repo
from .worker import Worker
from .world import DAY_OBS_ROLLOVER_S, day_obs_of

__all__ = ["DAYS_AGO", "template_with_past"]

DAYS_AGO = 7
_HOURS_AFTER_NOON = 7

_EXPOSURE_TIMES_S = {"BIAS": (0.0,) * 6, "DARK": (20.0,) * 4, "FLAT": (1.6,) * 4}
_PRODUCTS = {"cpBias": "bias", "cpDark": "dark", "cpFlat": "flat", "cpDefects": "defects"}


async def template_with_past(folder: Path, focal_plane: FocalPlane, worker: Worker) -> Path:
    """Return a repository in which products of an earlier day are certified; make it, if it is not there yet.

    Frames of `DAYS_AGO` days ago are taken of the same focal plane, the worker runs the same pipelines on them, and
    bias, dark, flat (r_03) and defects are certified in `DAILY_COLLECTION`, valid from the noon that began that day,
    without end. The ptc is the initial one. It takes a minute or two with real pipelines.

    Parameters
    ----------
    folder
        Where repository, frames and jobs go. What an interrupted attempt has left there is replaced.
    focal_plane
        What the frames are of.
    worker
        Runs the jobs; not started yet, and closed afterwards.

    Raises
    ------
    RuntimeError
        If a pipeline fails; the sentence names its log.
    """
    finished, unfinished = folder / "repo", folder / "unfinished"
    if await asyncio.to_thread(finished.exists):
        return finished
    logging.getLogger(__name__).info("Making certified products of an earlier day, which takes some time")
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    await asyncio.to_thread(folder.mkdir, parents=True)
    noon_s = _noon_before(utils.current_tai() - datetime.timedelta(days=DAYS_AGO).total_seconds())
    first_s = noon_s + datetime.timedelta(hours=_HOURS_AFTER_NOON).total_seconds()
    await asyncio.to_thread(create_repo, unfinished, focal_plane)
    exposures = await asyncio.to_thread(
        take_exposures, unfinished, focal_plane, folder / "raw", day_obs_of(first_s), first_s, _EXPOSURE_TIMES_S
    )
    steps = {uuid.uuid4().hex: step for step in STEPS if not step.name.startswith("cpPtc")}
    await StepJobs(unfinished, folder / "jobs", exposures).run(worker, steps)
    made = {_PRODUCTS[step.name]: job_id for job_id, step in steps.items() if step.name in _PRODUCTS}
    await asyncio.to_thread(_certify, unfinished, made, Time(noon_s, format="unix_tai", scale="tai"))
    await asyncio.to_thread(unfinished.rename, finished)
    return finished


def _noon_before(tai: float) -> float:
    """Return the beginning of an instant's observing day; both are TAI unix seconds."""
    return tai - (tai - DAY_OBS_ROLLOVER_S) % datetime.timedelta(days=1).total_seconds()


def _certify(repo: Path, made: Mapping[str, str], begin: Time) -> None:
    with Butler.from_config(str(repo), writeable=True) as butler, butler.transaction():
        for dataset_type, job_id in made.items():
            refs = butler.query_datasets(dataset_type, f"u/ocps/{job_id}/run", limit=None)
            butler.registry.certify(DAILY_COLLECTION, refs, Timespan(begin, None))
