# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Notices of the OODS, with all its spellings."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts import salobj
from lsst.ts.comcamcalib.instrument import Detector
from lsst.ts.comcamcalib.services.oods import IngestNotice, SalOods, notice_of
from support.plans import make_config

INSTRUMENT = make_config().instrument
DETECTORS = tuple(INSTRUMENT.detector_names.values())
LIMIT_S = 20.0


@dataclasses.dataclass
class Image:
    """An imageInOODS event."""

    camera: str = "LSSTComCam"
    obsid: str = "CC_O_20261122_000012"
    raft: str = "R22"
    sensor: str = "S11"
    statusCode: int = 0
    description: str = "file ingested"


def notice(**fields: object) -> IngestNotice | None:
    return notice_of(Image(**fields), INSTRUMENT)  # type: ignore[arg-type]


def test_an_ingested_file_is_told_by_image_name_and_place() -> None:
    assert notice() == IngestNotice(2026112200012, 4, True, "file ingested")
    assert notice(sensor="S22") == IngestNotice(2026112200012, 8, True, "file ingested")
    assert notice(obsid="CC_C_20261122_000012") == IngestNotice(2026112200012, 4, True, "file ingested")


def test_a_failed_file_is_told_by_digits_and_detector_number() -> None:
    # S04 is detector 4 here, which is R22_S11; with a raft it would be no detector at all.
    failed = notice(obsid="2026112200012", raft="R??", sensor="S04", statusCode=1, description="ingest failure: full")
    assert failed == IngestNotice(2026112200012, 4, False, "ingest failure: full")
    assert notice(obsid="2026112200012", raft="R??", sensor="S00", statusCode=1, description="x") == IngestNotice(
        2026112200012, 0, False, "x"
    )


def test_a_file_that_could_not_be_read_at_all_may_be_any() -> None:
    unread = notice(
        camera="UNDEF", obsid="??", raft="R??", sensor="S??", statusCode=2, description="metadata failure: x"
    )
    assert unread == IngestNotice(None, None, False, "metadata failure: x")


@pytest.mark.parametrize("camera", ["LATISS", "LSSTCam", "", "lsstcomcam"])
def test_other_cameras_are_none_of_our_business(camera: str) -> None:
    assert notice(camera=camera) is None


def test_what_is_strange_stays_unknown_and_is_told() -> None:
    guider = notice(raft="R00", sensor="SG0")
    assert guider == IngestNotice(2026112200012, None, True, "file ingested")
    strange = notice(obsid="CC_X_20261122_000012")
    assert strange is not None and strange.exposure_id is None
    assert "under controller X" in strange.description
    other = notice(obsid="MC_O_20261122_000012")
    assert other is not None and other.exposure_id is None
    assert notice(raft="R??", sensor="S09", statusCode=1) == IngestNotice(2026112200012, None, False, "file ingested")


@given(st.builds(Image, *(st.text(max_size=12),) * 4, st.integers(-5, 5), st.text(max_size=30)))
def test_no_event_whatever_is_mistaken_for_success_or_for_a_detector_that_there_is_not(image: Image) -> None:
    found = notice_of(image, INSTRUMENT.model_copy(update={"name": image.camera}))
    assert found is not None
    assert found.succeeded == (image.statusCode == 0)
    assert found.detector is None or 0 <= found.detector < len(DETECTORS)


# On a bus


@pytest_asyncio.fixture(loop_scope="module")
async def oods(domain: salobj.Domain) -> AsyncIterator[SalOods]:
    oods = SalOods(domain, INSTRUMENT)
    await oods.start()
    yield oods
    await oods.close()


@pytest.mark.observatory
@pytest.mark.asyncio(loop_scope="module")
async def test_each_event_reaches_every_subscriber_once_even_after_one_that_fails(
    bus: None, oods: SalOods, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[IngestNotice] = []
    ended = asyncio.Event()

    def hear(notice: IngestNotice) -> None:
        heard.append(notice)
        if notice.description == "the end":
            ended.set()

    def fail(_notice: IngestNotice) -> None:
        raise ValueError("a bug")

    early: list[IngestNotice] = []
    unsubscribe = oods.subscribe(early.append)
    oods.subscribe(fail)
    oods.subscribe(hear)
    unsubscribe()
    unsubscribe()
    async with salobj.Controller("CCOODS", write_only=True) as source:
        for detector in range(9):
            image = Image(sensor=DETECTORS[detector][4:])
            await source.evt_imageInOODS.set_write(**dataclasses.asdict(image))
        await source.evt_imageInOODS.set_write(**dataclasses.asdict(Image(camera="LATISS")))
        await source.evt_imageInOODS.set_write(**dataclasses.asdict(Image(statusCode=1, description="the end")))
        await asyncio.wait_for(ended.wait(), LIMIT_S)
    assert [notice.detector for notice in heard] == [*range(9), 4]
    assert [notice.succeeded for notice in heard] == [True] * 9 + [False]
    assert early == []
    assert "A subscriber to the OODS's notices failed" in caplog.text


@pytest.mark.observatory
@pytest.mark.asyncio(loop_scope="module")
async def test_an_instrument_may_have_several_oods(bus: None, domain: salobj.Domain) -> None:
    # There is only one OODS on this bus, so it plays both.
    oods = SalOods(domain, INSTRUMENT.model_copy(update={"oods": ("CCOODS", "CCOODS")}))
    heard: asyncio.Queue[IngestNotice] = asyncio.Queue()
    oods.subscribe(heard.put_nowait)
    await oods.start()
    try:
        async with salobj.Controller("CCOODS", write_only=True) as source:
            await source.evt_imageInOODS.set_write(**dataclasses.asdict(Image()))
            notices = [await asyncio.wait_for(heard.get(), LIMIT_S) for _ in range(2)]
    finally:
        await oods.close()
    assert notices == [IngestNotice(2026112200012, 4, True, "file ingested")] * 2


def test_a_detector_number_is_an_id_and_not_a_position() -> None:
    corner = Detector(id=191, name="R00_SW0", amplifiers=8)
    instrument = INSTRUMENT.model_copy(update={"detectors": (corner,)})
    failed = {"obsid": "2026112200012", "raft": "R??", "statusCode": 1}
    numbers = [notice_of(Image(**failed, sensor=sensor), instrument) for sensor in ("S191", "S00")]  # type: ignore[arg-type]
    assert [one.detector for one in numbers if one is not None] == [191, None]
    placed = notice_of(Image(raft="R00", sensor="SW0"), instrument)  # type: ignore[arg-type]
    assert placed is not None and placed.detector == 191
