# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small Butler repository, and what jobs leave in it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lsst.daf.butler import Butler, CollectionType, Timespan
from lsst.ts.comcamcalib.butler_data import CertifyRequest
from lsst.ts.comcamcalib.enums import Verdict
from lsst.ts.comcamcalib.simulation.containers import Exposure
from lsst.ts.comcamcalib.simulation.exposures import ExposureRecord, write_exposure_files
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane
from lsst.ts.comcamcalib.simulation.postgresql import PostgresqlServer
from lsst.ts.comcamcalib.simulation.repo import create_repo, ingest_files, register_exposure

__all__ = [
    "BIASES",
    "CHAIN",
    "DAILY",
    "FLATS_I",
    "FLATS_R",
    "INSTRUMENT",
    "NEXT_NOON",
    "NOON",
    "RAWS",
    "bias_job",
    "certify_request",
    "exposure",
    "found_bias",
    "image",
    "make_template",
    "run_job",
]

INSTRUMENT = "LSSTComCam"
RAWS = "LSSTComCam/raw/all"
DAILY = "LSSTComCam/calib/daily"
CHAIN = "LSSTComCam/calib"
NOON, NEXT_NOON = "2026-11-22T12:00:00", "2026-11-23T12:00:00"
BIASES = (2026112200001, 2026112200002)
FLATS_R = (2026112200011, 2026112200012)
FLATS_I = (2026112200021,)
TAI_20H = 1795377600.0 + 37.0  # 2026-11-22T20:00:37 TAI


def exposure(exposure_id: int, image_type: str, physical_filter: str) -> ExposureRecord:
    sequence = exposure_id % 100000
    begin = TAI_20H + 60 * sequence
    return ExposureRecord(
        exposure_id=exposure_id,
        obs_id=f"CC_O_20261122_{sequence:06d}",
        day_obs=20261122,
        seq_num=sequence,
        group_id="20261122-001-X",
        image_type=image_type,
        exposure_time_s=1.0,
        dark_time_s=1.0,
        physical_filter=physical_filter,
        timestamp_begin_tai_s=begin,
        timestamp_end_tai_s=begin + 1,
    )


def make_template(path: Path, server: PostgresqlServer | None = None) -> Path:
    """Make a repository with two biases (raws of detectors 0 to 2), flats in two filters, and initial calibrations."""
    plane = FocalPlane(amplifier_shape=(16, 8), overscan_columns=4, hot_pixels=0, low_pixels=0)
    create_repo(path / "repo", plane, server)
    with contextlib.closing(Butler.from_config(str(path / "repo"), writeable=True)) as butler:
        for exposure_id in BIASES:
            record = exposure(exposure_id, "BIAS", "r_03")
            ingest_files(butler, record, write_exposure_files(plane, record, path / "raw", range(3)))
        for exposure_id in FLATS_R:
            register_exposure(butler, exposure(exposure_id, "FLAT", "r_03"))
        for exposure_id in FLATS_I:
            register_exposure(butler, exposure(exposure_id, "FLAT", "i_06"))
    return path / "repo"


def image() -> Exposure:
    return Exposure.from_array(np.zeros((4, 5), np.float32), {})


def run_job(
    butler: Butler, job: str, inputs: Sequence[str], datasets: Sequence[tuple[str, dict[str, Any], object]]
) -> list[str]:
    """Leave in the repository what a job leaves; return the ids of its datasets."""
    run, chain = f"u/ocps/{job}/run", f"u/ocps/{job}"
    butler.collections.register(run, CollectionType.RUN)
    butler.collections.register(chain, CollectionType.CHAINED)
    butler.collections.redefine_chain(chain, [run, *inputs])
    with butler.transaction():
        return [
            str(butler.put(value, name, {"instrument": INSTRUMENT, **data_id}, run=run).id)
            for name, data_id, value in datasets
        ]


def bias_job(butler: Butler, job: str, detectors: Sequence[int] = range(9)) -> list[str]:
    return run_job(butler, job, [RAWS, DAILY], [("bias", {"detector": one}, image()) for one in detectors])


def certify_request(
    job: str,
    dataset_ids: Sequence[str],
    begin: str = NOON,
    end: str = NEXT_NOON,
    dataset_type: str = "bias",
    collection: str = DAILY,
) -> CertifyRequest:
    """Return the request to certify good datasets of a job."""
    return CertifyRequest(f"u/ocps/{job}/run", dataset_type, tuple(dataset_ids), collection, begin, end, Verdict.PASSED)


def found_bias(butler: Butler, detector: int, when: str, collection: str = DAILY) -> str | None:
    """Return the id of the bias that is found at some time of 2026-11."""
    from astropy.time import Time

    ref = butler.find_dataset(
        "bias",
        {"instrument": INSTRUMENT, "detector": detector},
        collections=collection,
        timespan=Timespan.fromInstant(Time(f"2026-11-{when}", scale="tai")),
    )
    return None if ref is None else str(ref.id)
