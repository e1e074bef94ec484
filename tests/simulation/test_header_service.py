# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated header service writes a header for each image and tells where it is."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import pytest_asyncio
import yaml
from lsst.ts import salobj
from lsst.ts.comcamcalib.simulation.faults import Fault, Faults
from lsst.ts.comcamcalib.simulation.header_service import HeaderServiceCsc
from lsst.ts.comcamcalib.simulation.world import Image, World
from support.bus import Ear

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(small_focal_plane: Any) -> AsyncIterator[World]:
    world = World(small_focal_plane, Faults(), speed=50.0)
    yield world
    await world.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(bus: None, world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[salobj.Remote]:
    directory = tmp_path_factory.mktemp("headers")
    async with (
        HeaderServiceCsc(world, directory, salobj.State.ENABLED),
        salobj.Domain() as domain,
        salobj.Remote(domain, "CCHeaderService") as remote,
    ):
        yield remote


def image(seq_num: int) -> Image:
    keys = {"imageType": "DARK", "groupId": "20261122-001-DARK", "reason": "daily"}
    return Image(20261122, seq_num, 1, 1, "DARK", 30.0, "r_03", keys, note="by test")


async def test_header_is_where_the_event_says(client: salobj.Remote, world: World) -> None:
    with Ear(client, "largeFileObjectAvailable") as heard:
        world.image_taken(image(1))
        await heard.wait_for(lambda: heard.names)
    (event,) = heard.samples("largeFileObjectAvailable")
    assert (event.id, event.generator, event.mimeType) == ("CC_O_20261122_000001", "CCHeaderService", "YAML")
    assert event.url.endswith("CCHeaderService/header/2026/11/22/CCHeaderService_header_CC_O_20261122_000001.yaml")
    content = await asyncio.to_thread(Path(unquote(urlsplit(event.url).path)).read_bytes)
    assert len(content) == event.byteSize
    assert hashlib.md5(content).hexdigest() == event.checkSum
    header = yaml.safe_load(content)["PRIMARY"]
    assert (header["EXPTIME"], header["GROUPID"], header["REASON"]) == (30.0, "20261122-001-DARK", "daily")
    assert header["OBSANNOT"] == "by test"


async def test_header_may_be_lost_or_late(client: salobj.Remote, world: World) -> None:
    world.faults.set([Fault("header", "lose"), Fault("header", "late", skip=1, value=50.0)])
    with Ear(client, "largeFileObjectAvailable") as heard:
        for seq_num in (2, 3, 4):
            world.image_taken(image(seq_num))
        await heard.wait_for(lambda: len(heard.names) == 2)
    world.faults.set([])
    assert [sample.id[-1] for sample in heard.samples("largeFileObjectAvailable")] == ["4", "3"]
    assert [world.lacks_header(image(seq_num)) for seq_num in (2, 3, 4)] == [True, False, False]


async def test_no_header_unless_enabled(client: salobj.Remote, world: World) -> None:
    with Ear(client, "largeFileObjectAvailable") as heard:
        await client.cmd_disable.start(timeout=30)
        world.image_taken(image(5))
        await client.cmd_enable.start(timeout=30)
        world.image_taken(image(6))
        await heard.wait_for(lambda: heard.names)
    assert [sample.id[-1] for sample in heard.samples("largeFileObjectAvailable")] == ["6"]
    assert [world.lacks_header(image(seq_num)) for seq_num in (5, 6)] == [True, False]
