# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Levels of raws and what the ptc knows, read through a real Butler from the simulated focal plane."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from lsst.daf.butler import Butler, CollectionType, Timespan
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.services.butler import ButlerService
from lsst.ts.comcamcalib.simulation.containers import PhotonTransferCurve
from lsst.ts.comcamcalib.simulation.exposures import ExposureRecord, write_exposure_files
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane, Light
from lsst.ts.comcamcalib.simulation.layout import AMPLIFIER_NAMES
from lsst.ts.comcamcalib.simulation.repo import create_repo, ingest_files
from support.permission import allowed

INSTRUMENT, RAWS, CHAIN, DAILY = "LSSTComCam", "LSSTComCam/raw/all", "LSSTComCam/calib", "LSSTComCam/calib/daily"
PLANE = FocalPlane(amplifier_shape=(64, 32), overscan_columns=16)
LIT, DARK, FULL = 2026112200001, 2026112200002, 2026112200003
NUMBERS = itertools.count(1)
TAI_20H = 1795377637.0  # 2026-11-22T20:00:37 TAI


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with flats of detectors 0 and 4: one of 2 s, one without light, one of 10 s."""
    path = tmp_path_factory.mktemp("raws")
    create_repo(path / "repo", PLANE)
    with contextlib.closing(Butler.from_config(str(path / "repo"), writeable=True)) as butler:
        for exposure_id, seconds, lamp in ((LIT, 2.0, 1.0), (DARK, 2.0, 0.0), (FULL, 10.0, 1.0)):
            begin = TAI_20H + 60 * (exposure_id % 100)
            record = ExposureRecord(
                exposure_id=exposure_id,
                obs_id=f"CC_O_20261122_{exposure_id % 100000:06d}",
                day_obs=20261122,
                seq_num=exposure_id % 100000,
                group_id="20261122-001-FLAT",
                image_type="FLAT",
                exposure_time_s=seconds,
                dark_time_s=seconds,
                physical_filter="r_03",
                timestamp_begin_tai_s=begin,
                timestamp_end_tai_s=begin + seconds,
            )
            plane = dataclasses.replace(PLANE, light=Light(lamp))
            ingest_files(butler, record, write_exposure_files(plane, record, path / "raws", [0, 4]))
    return path / "repo"


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


@pytest.mark.parametrize("detector", [0, 4])
async def test_level_of_each_amplifier_is_found_in_the_raw(service: ButlerService, detector: int) -> None:
    levels = await service.raw_levels(LIT, detector)
    gain = PLANE.truth(detector).gain
    assert set(levels) == set(AMPLIFIER_NAMES)
    for name, level in levels.items():
        assert level * gain[name] == pytest.approx(30_000, rel=0.1)


async def test_level_without_light_and_of_a_full_well(service: ButlerService) -> None:
    truth = PLANE.truth(4)
    # The bias pattern is in the raw still: some adu.
    assert all(abs(level) < 20 for level in (await service.raw_levels(DARK, 4)).values())
    for name, level in (await service.raw_levels(FULL, 4)).items():
        assert level * truth.gain[name] == pytest.approx(truth.full_well[name], rel=0.01)


async def test_raw_that_is_not_there_can_not_be_read(service: ButlerService) -> None:
    with pytest.raises(ServiceError, match="could not read the raw of detector 7 of exposure 2026112200001"):
        await service.raw_levels(LIT, 7)


async def test_ptc_of_the_time_of_the_exposure_is_found(service: ButlerService) -> None:
    known = await service.certified_ptc(["LSSTComCam/calib/none", DAILY, CHAIN], LIT, [0, 4])
    assert set(known) == {0, 4}
    truth = PLANE.truth(4)
    assert known[4].gain == pytest.approx(truth.gain)
    assert known[4].turnoff == pytest.approx(truth.full_well)
    assert known[4].noise["C10"] == pytest.approx(1.02 * truth.read_noise["C10"])


@pytest.mark.parametrize(
    ("collections", "exposure"), [(["LSSTComCam/calib/none"], LIT), ([], LIT), ([CHAIN], 2026112200099), ([RAWS], LIT)]
)
async def test_where_there_is_no_ptc_nothing_is_known(
    service: ButlerService, collections: list[str], exposure: int
) -> None:
    assert await service.certified_ptc(collections, exposure, [0]) == {}


@pytest.mark.parametrize(
    ("means", "known"),
    [
        ([2_000.0, 15_000.0], False),  # its brightest flat is not where the amplifier stops
        ([2_000.0, 15_000.0, 16_000.0], True),
        ([], True),  # a nominal one
        ([math.nan, 2_000.0], False),
    ],
)
async def test_turnoff_is_believed_only_of_a_curve_that_has_seen_it(
    service: ButlerService, butler: Butler, means: list[float], known: bool
) -> None:
    names = list(AMPLIFIER_NAMES)
    curve = PhotonTransferCurve(
        names,
        "POLYNOMIAL",
        gain=dict.fromkeys(names, 1.5),
        noise=dict.fromkeys(names, 7.0),
        ptcTurnoff=dict.fromkeys(names, 15_000.0),
        rawMeans=dict.fromkeys(names, means),
    )
    collection = f"u/tests/ptc{next(NUMBERS)}"
    run = f"{collection}/run"
    butler.collections.register(run)
    ref = butler.put(curve, "ptc", instrument=INSTRUMENT, detector=4, run=run)
    butler.collections.register(collection, CollectionType.CALIBRATION)
    butler.registry.certify(collection, [ref], Timespan(None, None))
    turnoff = (await service.certified_ptc([collection], LIT, [4]))[4].turnoff["C10"]
    assert turnoff == 22_500.0 if known else math.isnan(turnoff)
