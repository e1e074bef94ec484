# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run accepted 24 s before noon TAI, certified in a real repository: what its frames and the coming night find."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lsst.daf.butler import Butler, CollectionType, DatasetNotFoundError
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.enums import CalibType, StageKind
from lsst.ts.comcamcalib.plan.record import Certification, ImageTaken
from lsst.ts.comcamcalib.services.butler import ButlerService
from lsst.ts.comcamcalib.simulation.containers import Exposure
from lsst.ts.comcamcalib.simulation.exposures import ExposureRecord
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane
from lsst.ts.comcamcalib.simulation.repo import create_repo, register_exposure
from lsst.ts.comcamcalib.stages.certify import certify
from lsst.ts.comcamcalib.stages.context import Product, RunContext
from support.plans import make_config, make_plan
from support.records import FakeRecord
from support.services import Observatory
from support.world import World

INSTRUMENT, RAWS, DAILY = "LSSTComCam", "LSSTComCam/raw/all", "LSSTComCam/calib/daily"
EPOCH = datetime.datetime(1970, 1, 1)
NOON = datetime.datetime(2026, 11, 23, 12)
ACCEPTED = NOON - datetime.timedelta(seconds=24)
DETECTORS = [0, 1]


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("noon") / "repo"
    create_repo(path, FocalPlane(amplifier_shape=(16, 8), overscan_columns=4, hot_pixels=0, low_pixels=0))
    return path


@pytest.fixture
def butler(repo: Path) -> Iterator[Butler]:
    with contextlib.closing(Butler.from_config(str(repo), writeable=True)) as butler:
        yield butler


@pytest.fixture
async def service(repo: Path, limits: Limits) -> AsyncIterator[ButlerService]:
    service = ButlerService(str(repo), INSTRUMENT, RAWS, limits)
    await service.start()
    yield service
    await service.close()


def expose(butler: Butler, image_type: str, begin: datetime.datetime, exposure_time_s: float, number: int) -> int:
    """Register an exposure as the camera names it: by the day of observing in which it begins."""
    day_obs = int(f"{begin - datetime.timedelta(hours=12):%Y%m%d}")
    begin_s = (begin - EPOCH).total_seconds()
    record = ExposureRecord(
        exposure_id=day_obs * 100000 + number,
        obs_id=f"CC_O_{day_obs}_{number:06d}",
        day_obs=day_obs,
        seq_num=number,
        group_id=f"{number}",
        image_type=image_type,
        exposure_time_s=exposure_time_s,
        dark_time_s=exposure_time_s,
        physical_filter="r_03",
        timestamp_begin_tai_s=begin_s,
        timestamp_end_tai_s=begin_s + exposure_time_s,
    )
    register_exposure(butler, record)
    return record.exposure_id


def make_product(butler: Butler, dataset_type: str, collection: str) -> list[str]:
    butler.collections.register(f"u/ocps/{collection}/run", CollectionType.RUN)
    image = Exposure.from_array(np.zeros((4, 5), np.float32), {})
    return [
        str(
            butler.put(image, dataset_type, instrument=INSTRUMENT, detector=detector, run=f"u/ocps/{collection}/run").id
        )
        for detector in DETECTORS
    ]


def found(butler: Butler, dataset_type: str, exposure: int, detector: int) -> str | None:
    """Return what a job finds for an exposure."""
    butler.registry.refresh()
    data_id: dict[str, Any] = {"instrument": INSTRUMENT, "detector": detector}
    record = next(iter(butler.query_dimension_records("exposure", instrument=INSTRUMENT, exposure=exposure)))
    ref = butler.find_dataset(dataset_type, data_id, collections=DAILY, timespan=record.timespan)
    with contextlib.suppress(DatasetNotFoundError):
        butler.get(dataset_type, data_id, exposure=exposure, collections=DAILY)
        return str(ref.id) if ref is not None else None
    assert ref is None
    return None


async def test_every_frame_and_the_coming_night_find_what_was_certified(butler: Butler, service: ButlerService) -> None:
    """Eight biases and ten darks of 30 s; the first darks still belong to the day that ends."""
    observatory = Observatory.of(World(make_config()))
    services = dataclasses.replace(observatory.services, repository=service)
    record = FakeRecord()
    plan = make_plan(script_mode="BIAS_DARK", n_bias=8, n_dark=10, exp_times_dark=30, detectors=DETECTORS)
    context = RunContext(plan, services, record)
    now, number = ACCEPTED, 0
    for calib_type, sequence in plan.sequences.items():
        for frame in sequence.frames:
            number += 1
            exposure = expose(butler, calib_type.name, now, frame.exposure_time_s, number)
            now += datetime.timedelta(seconds=frame.exposure_time_s + 2)
            taken = ImageTaken(
                run_id=plan.run_id,
                image_type=calib_type,
                exposure_id=exposure,
                obs_id="",
                exposure_time=frame.exposure_time_s,
                image_index=frame.index,
                images_in_sequence=len(sequence.frames),
                discarded=False,
                timestamp_taken=0.0,
            )
            context.frames[calib_type].taken.append(taken)
    ids = {}
    for calib_type in (CalibType.BIAS, CalibType.DARK):
        name = calib_type.name.lower()
        ids[name] = make_product(butler, name, f"job-{name}")
        datasets = await service.datasets(f"u/ocps/job-{name}/run", name)
        context.products[calib_type] = Product(name, f"job-{name}", tuple(datasets))
        stage = plan.stage(calib_type, StageKind.CERTIFY)
        assert stage is not None
        await certify(stage, context)
    assert {(one.validity_begin, one.validity_end) for one in record.of(Certification)} == {
        ("2026-11-22T12:00:00", "2026-11-24T12:00:00")
    }
    frames = [exposure for calib_type in context.frames for exposure in context.exposure_ids(calib_type)]
    assert {exposure // 100000 for exposure in frames} == {20261122, 20261123}
    coming_night = expose(butler, "DARK", NOON + datetime.timedelta(hours=14), 30, 101)
    night_after = expose(butler, "DARK", NOON + datetime.timedelta(hours=38), 30, 102)
    for name in ("bias", "dark"):
        for detector in DETECTORS:
            for exposure in (*frames, coming_night):
                assert found(butler, name, exposure, detector) == ids[name][detector], (name, exposure)
            assert found(butler, name, night_after, detector) is None
