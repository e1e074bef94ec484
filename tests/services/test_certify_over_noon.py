# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run accepted 24 s before noon TAI, certified in a real repository: what its frames and the coming night find."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lsst.daf.butler import Butler, CollectionType, DatasetNotFoundError
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.enums import CalibType, StageKind
from lsst.ts.comcamcalib.record.events import Certification
from lsst.ts.comcamcalib.record.facts import CertifyIntended
from lsst.ts.comcamcalib.services.butler import ButlerService
from lsst.ts.comcamcalib.simulation.containers import Exposure
from lsst.ts.comcamcalib.simulation.exposures import ExposureRecord
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane
from lsst.ts.comcamcalib.simulation.repo import create_repo, register_exposure
from lsst.ts.comcamcalib.stages.certify import certify
from lsst.ts.comcamcalib.stages.context import RunContext
from support.certifying import ShownTime, in_repository, put_frame, put_product
from support.permission import allowed
from support.plans import make_plan
from support.records import MemoryRecord

INSTRUMENT, RAWS, DAILY = "LSSTComCam", "LSSTComCam/raw/all", "LSSTComCam/calib/daily"
EPOCH = datetime.datetime(1970, 1, 1)
NOON = datetime.datetime(2026, 11, 23, 12)
ACCEPTED = NOON - datetime.timedelta(seconds=24)
DETECTORS = [0, 1]
LATER = "u/tests/later"
TWO_DAYS = ("2026-11-22T12:00:00", "2026-11-24T12:00:00")


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
    service = ButlerService(str(repo), INSTRUMENT, RAWS, limits, allowed)
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


async def certify_product(context: RunContext, calib_type: CalibType) -> None:
    stage = context.plan.stage(calib_type, StageKind.CERTIFY)
    assert stage is not None
    await certify(stage, context)


def found(butler: Butler, dataset_type: str, exposure: int, detector: int, collection: str = DAILY) -> str | None:
    """Return what a job finds for an exposure."""
    butler.registry.refresh()
    data_id: dict[str, Any] = {"instrument": INSTRUMENT, "detector": detector}
    record = next(iter(butler.query_dimension_records("exposure", instrument=INSTRUMENT, exposure=exposure)))
    ref = butler.find_dataset(dataset_type, data_id, collections=collection, timespan=record.timespan)
    with contextlib.suppress(DatasetNotFoundError):
        butler.get(dataset_type, data_id, exposure=exposure, collections=collection)
        return str(ref.id) if ref is not None else None
    assert ref is None
    return None


async def test_every_frame_and_the_coming_night_find_what_was_certified(butler: Butler, service: ButlerService) -> None:
    """Eight biases and ten darks of 30 s; the first darks still belong to the day that ends."""
    plan = make_plan(script_mode="BIAS_DARK", n_bias=8, n_dark=10, exp_times_dark=30, detectors=DETECTORS)
    record = MemoryRecord(plan, ShownTime(NOON + datetime.timedelta(hours=1)))
    context = in_repository(service, record)
    now, number = ACCEPTED, 0
    for calib_type, sequence in plan.sequences.items():
        for frame in sequence.frames:
            number += 1
            exposure = expose(butler, calib_type.name, now, frame.exposure_time_s, number)
            now += datetime.timedelta(seconds=frame.exposure_time_s + 2)
            put_frame(record, calib_type, frame.index, exposure)
    ids = {}
    for calib_type in (CalibType.BIAS, CalibType.DARK):
        name = calib_type.name.lower()
        ids[name] = make_product(butler, name, f"job-{name}")
        await put_product(record, service, calib_type, f"job-{name}")
        await certify_product(context, calib_type)
    assert {(one.validity_begin, one.validity_end) for one in record.published(Certification)} == {TWO_DAYS}
    frames = [exposure for calib_type in plan.sequences for exposure in context.history.exposure_ids(calib_type)]
    assert {exposure // 100000 for exposure in frames} == {20261122, 20261123}
    coming_night = expose(butler, "DARK", NOON + datetime.timedelta(hours=14), 30, 101)
    night_after = expose(butler, "DARK", NOON + datetime.timedelta(hours=38), 30, 102)
    for name in ("bias", "dark"):
        for detector in DETECTORS:
            for exposure in (*frames, coming_night):
                assert found(butler, name, exposure, detector) == ids[name][detector], (name, exposure)
            assert found(butler, name, night_after, detector) is None


async def test_bias_of_before_noon_is_found_for_the_darks_of_after_it_though_another_process_made_it(
    butler: Butler, service: ButlerService
) -> None:
    """Only the history tells the process that certifies the dark until when the bias is certified."""
    plan = make_plan(script_mode="BIAS_DARK", n_bias=1, n_dark=1, detectors=DETECTORS, calib_collection=LATER)
    clock = ShownTime(NOON - datetime.timedelta(hours=1))
    record = MemoryRecord(plan, clock)
    bias = expose(butler, "BIAS", NOON - datetime.timedelta(hours=2), 0.0, 201)
    put_frame(record, CalibType.BIAS, 1, bias)
    ids = {"bias": make_product(butler, "bias", "job-bias-2"), "dark": make_product(butler, "dark", "job-dark-2")}
    await put_product(record, service, CalibType.BIAS, "job-bias-2")
    await certify_product(in_repository(service, record), CalibType.BIAS)
    dark = expose(butler, "DARK", NOON + datetime.timedelta(hours=1), 30.0, 202)
    assert found(butler, "bias", dark, 0, LATER) is None
    resumed = MemoryRecord(plan, clock, record.entries)
    put_frame(resumed, CalibType.DARK, 1, dark)
    await put_product(resumed, service, CalibType.DARK, "job-dark-2")
    await certify_product(in_repository(service, resumed), CalibType.DARK)
    assert [(one.dataset_type, one.validity_end) for one in resumed.published(Certification)] == [
        ("dark", TWO_DAYS[1]),
        ("bias", TWO_DAYS[1]),
    ]
    assert [one.replaces for one in resumed.of(CertifyIntended)] == [()] * 3, "its own datasets make no room"
    for name, exposures in (("bias", (bias, dark)), ("dark", (dark,))):
        for detector in DETECTORS:
            for exposure in exposures:
                assert found(butler, name, exposure, detector, LATER) == ids[name][detector], (name, exposure)
