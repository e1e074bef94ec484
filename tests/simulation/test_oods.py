# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated OODS puts files into a real Butler repository, and publishes them as the real one does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from lsst.daf.butler import Butler
from lsst.ts import salobj, utils
from lsst.ts.comcamcalib.simulation.archive import Archive
from lsst.ts.comcamcalib.simulation.faults import Fault, Faults
from lsst.ts.comcamcalib.simulation.oods import OodsCsc
from lsst.ts.comcamcalib.simulation.repo import copy_repo
from lsst.ts.comcamcalib.simulation.scenarios import scenario_faults
from lsst.ts.comcamcalib.simulation.states import bring_from_standby, bring_to_standby
from lsst.ts.comcamcalib.simulation.world import Image, World
from support.bus import Ear

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="module")]

DAY_OBS = 20261122
SPEED = 20.0
ALL_DETECTORS = list(range(9))
SENSORS = ["S00", "S01", "S02", "S10", "S11", "S12", "S20", "S21", "S22"]


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory, template_repo: Path) -> Path:
    path = tmp_path_factory.mktemp("oods") / "repo"
    copy_repo(template_repo, path)
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(small_focal_plane: Any) -> AsyncIterator[World]:
    world = World(small_focal_plane, Faults(), SPEED)
    yield world
    await world.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def archive(world: World, repo: Path) -> AsyncIterator[Archive]:
    archive = Archive(repo, repo.parent / "raw")
    await world.in_worker(archive.open)
    yield archive
    await world.in_worker(archive.close)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole_oods(bus: None, world: World, archive: Archive) -> AsyncIterator[OodsCsc]:
    async with OodsCsc(world, archive, salobj.State.ENABLED) as oods:
        yield oods


@pytest_asyncio.fixture(loop_scope="module")
async def oods(whole_oods: OodsCsc, world: World, archive: Archive) -> AsyncIterator[OodsCsc]:
    """The OODS without faults and images, in ENABLED."""
    yield whole_oods
    world.faults.set([])
    await whole_oods.drop_images()
    await world.in_worker(archive.open)
    await bring_to_standby(whole_oods)
    await bring_from_standby(whole_oods, salobj.State.ENABLED)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(whole_oods: OodsCsc) -> AsyncIterator[salobj.Remote]:
    async with salobj.Domain() as domain, salobj.Remote(domain, "CCOODS") as remote:
        yield remote


seq_nums = itertools.count(1)


def new_image(image_type: str = "BIAS") -> Image:
    now = utils.current_tai()
    keys = {"imageType": image_type, "groupId": "20261122-001", "reason": "daily", "program": "calib"}
    return Image(DAY_OBS, next(seq_nums), 1, 1, image_type, 0.0, "r_03", keys, begin_tai=now, end_tai=now)


def ingested(repo: Path, image: Image) -> list[int]:
    """Return the detectors whose file of an image a Butler of our own finds."""
    butler = Butler.from_config(str(repo))
    try:
        refs = butler.query_datasets(
            "raw",
            collections="LSSTComCam/raw/all",
            instrument="LSSTComCam",
            exposure=image.exposure_id,
            explain=False,
        )
        return sorted(int(ref.dataId["detector"]) for ref in refs)
    finally:
        butler.close()


def without(detectors: Collection[int]) -> list[int]:
    return [detector for detector in ALL_DETECTORS if detector not in detectors]


async def test_each_file_is_in_the_repository_and_published_once_in_any_order(
    oods: OodsCsc, client: salobj.Remote, world: World, repo: Path
) -> None:
    image = new_image()
    with Ear(client, "imageInOODS") as heard:
        world.image_taken(image)
        await heard.wait_for(lambda: len(heard.names) == 9)
    samples = heard.samples("imageInOODS")
    assert {(s.camera, s.obsid, s.raft, s.statusCode, s.description) for s in samples} == {
        ("LSSTComCam", image.name, "R22", 0, "file ingested")
    }
    assert sorted(s.sensor for s in samples) == SENSORS
    assert [s.sensor for s in samples] != SENSORS, "real files do not come in the order of the detectors"
    assert await asyncio.to_thread(ingested, repo, image) == ALL_DETECTORS


async def test_repository_knows_what_the_client_said_of_the_image(
    oods: OodsCsc, client: salobj.Remote, world: World, repo: Path
) -> None:
    image = new_image("DARK")
    with Ear(client, "imageInOODS") as heard:
        world.image_taken(image)
        await heard.wait_for(lambda: len(heard.names) == 9)

    def record() -> Any:
        butler = Butler.from_config(str(repo))
        try:
            (found,) = butler.query_dimension_records("exposure", instrument="LSSTComCam", exposure=image.exposure_id)
            return found
        finally:
            butler.close()

    exposure = await asyncio.to_thread(record)
    assert (exposure.obs_id, exposure.group, exposure.day_obs) == (image.name, "20261122-001", DAY_OBS)
    assert (exposure.observation_type, exposure.observation_reason) == ("dark", "daily")
    assert exposure.timespan is not None


async def test_file_that_is_published_is_already_in_the_repository(
    oods: OodsCsc, client: salobj.Remote, world: World, repo: Path
) -> None:
    image = new_image()
    with Ear(client, "imageInOODS") as heard:
        world.image_taken(image)
        await heard.wait_for(lambda: heard.names)
        first = SENSORS.index(heard.samples("imageInOODS")[0].sensor)
        assert first in await asyncio.to_thread(ingested, repo, image)
        await heard.wait_for(lambda: len(heard.names) == 9)


@pytest.mark.parametrize(("effect", "in_repo"), [("lose", without([4])), ("silent", ALL_DETECTORS)])
async def test_file_that_no_event_names_may_be_there_or_not(
    oods: OodsCsc, client: salobj.Remote, world: World, repo: Path, effect: str, in_repo: list[int]
) -> None:
    world.faults.set([Fault("oods", effect, match={"image_type": "BIAS", "detector": 4})])
    hit, sound = new_image(), new_image()
    with Ear(client, "imageInOODS") as heard:
        for image in (hit, sound):
            world.image_taken(image)
        await heard.wait_for(lambda: len(heard.names) == 17)
    published = [sample.sensor for sample in heard.samples("imageInOODS") if sample.obsid == hit.name]
    assert sorted(published) == [SENSORS[detector] for detector in without([4])]
    await all_ingests(oods)
    assert await asyncio.to_thread(ingested, repo, hit) == in_repo
    assert await asyncio.to_thread(ingested, repo, sound) == ALL_DETECTORS


async def test_failed_ingest_names_exposure_and_detector_by_numbers(
    oods: OodsCsc, client: salobj.Remote, world: World, repo: Path
) -> None:
    world.faults.set([Fault("oods", "fail", match={"detector": 4}, text="disk quota exceeded")])
    image = new_image()
    with Ear(client, "imageInOODS") as heard:
        world.image_taken(image)
        await heard.wait_for(lambda: len(heard.names) == 9)
    (failed,) = [sample for sample in heard.samples("imageInOODS") if sample.statusCode]
    assert failed.statusCode == 1
    assert failed.obsid == str(image.exposure_id)
    assert (failed.camera, failed.raft, failed.sensor) == ("LSSTComCam", "R??", "S04")
    assert failed.description == "ingest failure: disk quota exceeded"
    assert await asyncio.to_thread(ingested, repo, image) == without([4])


async def test_unreadable_headers_publish_nothing_and_the_second_not_even_that(
    oods: OodsCsc, client: salobj.Remote, world: World, repo: Path
) -> None:
    # All other files are lost, so that the two equal events follow each other: the second is not published.
    others = [Fault("oods", "lose", match={"detector": detector}) for detector in without([4, 5])]
    world.faults.set([Fault("oods", "metadata", match={"detector": detector}) for detector in (4, 5)] + others)
    image, sentinel = new_image(), new_image()
    with Ear(client, "imageInOODS") as heard:
        world.image_taken(image)
        await all_ingests(oods)
        world.image_taken(sentinel)
        await heard.wait_for(lambda: len(heard.names) == 10)
    first = heard.samples("imageInOODS")[0]
    assert (first.camera, first.obsid, first.raft, first.sensor) == ("UNDEF", "??", "R??", "S??")
    assert first.statusCode == 2
    assert first.description.startswith("metadata failure: ")
    assert {sample.obsid for sample in heard.samples("imageInOODS")[1:]} == {sentinel.name}
    assert await asyncio.to_thread(ingested, repo, image) == []


async def test_late_file_comes_after_all_others(oods: OodsCsc, client: salobj.Remote, world: World, repo: Path) -> None:
    world.faults.set([Fault("oods", "late", match={"detector": 0}, value=20.0)])
    image = new_image()
    with Ear(client, "imageInOODS") as heard:
        world.image_taken(image)
        await heard.wait_for(lambda: len(heard.names) == 9)
    assert heard.samples("imageInOODS")[-1].sensor == "S00"
    assert await asyncio.to_thread(ingested, repo, image) == ALL_DETECTORS


async def test_images_wait_on_disk_while_it_is_not_enabled(
    oods: OodsCsc, client: salobj.Remote, world: World, repo: Path
) -> None:
    image = new_image()
    with Ear(client, "imageInOODS") as heard:
        await client.cmd_disable.start(timeout=30)
        world.image_taken(image)
        assert await asyncio.to_thread(ingested, repo, image) == []
        await client.cmd_enable.start(timeout=30)
        await heard.wait_for(lambda: len(heard.names) == 9)
    assert await asyncio.to_thread(ingested, repo, image) == ALL_DETECTORS


async def test_repository_that_can_not_be_used_is_a_fault(
    oods: OodsCsc, client: salobj.Remote, world: World, archive: Archive
) -> None:
    await world.in_worker(archive.close)
    with Ear(client, "errorCode", "imageInOODS") as heard:
        world.image_taken(new_image())
        await heard.wait_for(lambda: heard.names)
    (error,) = heard.samples("errorCode")
    assert error.errorCode == 2
    assert "is not open" in error.errorReport
    assert oods.summary_state == salobj.State.FAULT


async def test_event_of_a_file_may_come_twice(oods: OodsCsc, client: salobj.Remote, world: World) -> None:
    world.faults.set(scenario_faults(["files-reported-twice"]))
    image = new_image()
    with Ear(client, "imageInOODS") as heard:
        world.image_taken(image)
        await heard.wait_for(lambda: len(heard.names) == 18)
    assert sorted(sample.sensor for sample in heard.samples("imageInOODS")) == sorted(SENSORS * 2)


async def test_oods_that_stands_still_sends_no_heartbeat_and_goes_on_with_all_files(
    oods: OodsCsc, client: salobj.Remote, world: World, repo: Path
) -> None:
    world.faults.set([Fault("oods", "stand_still", match={"detector": 0}, value=2.5)])
    image = new_image()
    begin = utils.current_tai()
    with Ear(client, "imageInOODS", "heartbeat") as heard:
        world.image_taken(image)
        await heard.wait_for(lambda: heard.names.count("imageInOODS") == 9)
    files = [sample.private_sndStamp - begin for sample in heard.samples("imageInOODS")]
    beats = [sample.private_sndStamp - begin for sample in heard.samples("heartbeat")]
    assert min(files) >= 2.5
    assert [beat for beat in beats if 0.2 < beat < 2.4] == []
    assert await asyncio.to_thread(ingested, repo, image) == ALL_DETECTORS


async def test_image_with_which_it_went_to_fault_is_ingested_when_it_is_enabled_again(
    oods: OodsCsc, client: salobj.Remote, world: World, repo: Path
) -> None:
    world.faults.set([Fault("oods", "fault", match={"detector": 0})])
    image = new_image()
    with Ear(client, "errorCode", "imageInOODS") as heard:
        world.image_taken(image)
        await heard.wait_for(lambda: heard.names)
        assert (oods.summary_state, heard.names) == (salobj.State.FAULT, ["errorCode"])
        assert heard.samples("errorCode")[0].errorCode == 2
        for command in ("standby", "start", "enable"):
            await getattr(client, f"cmd_{command}").start(timeout=30)
        await heard.wait_for(lambda: heard.names.count("imageInOODS") == 9)
    assert await asyncio.to_thread(ingested, repo, image) == ALL_DETECTORS


async def test_image_without_header_is_not_ingested_and_not_named(
    oods: OodsCsc, client: salobj.Remote, world: World, repo: Path
) -> None:
    image = new_image()
    world.lose_header(image)
    with Ear(client, "imageInOODS") as heard:
        world.image_taken(image)
        await all_ingests(oods)
        await heard.wait_for(lambda: heard.names)
    # Nine equal events, of which salobj publishes the first only.
    (failed,) = heard.samples("imageInOODS")
    assert (failed.statusCode, failed.obsid, failed.sensor) == (2, "??", "S??")
    assert await asyncio.to_thread(ingested, repo, image) == []


async def all_ingests(oods: OodsCsc) -> None:
    async with asyncio.timeout(30):
        await asyncio.gather(*oods._ingests)
