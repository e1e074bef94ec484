# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The camera and OODS services with the simulated observatory's camera, which behaves like the real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from lsst.ts import salobj, utils
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.services.camera import ComCamCamera, FrameRequest
from lsst.ts.comcamcalib.services.components import ComponentWatch
from lsst.ts.comcamcalib.simulation.camera import CameraCsc
from lsst.ts.comcamcalib.simulation.faults import Fault, Faults
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane
from lsst.ts.comcamcalib.simulation.world import World
from support.permission import allowed
from support.plans import make_config

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="module")]

LIMIT_S = 30.0


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the camera's events, each with a reader of its own, have shown something."""
    while not condition():  # noqa: ASYNC110  the service notifies nobody of what it has read
        await asyncio.sleep(0.01)


@pytest.fixture(scope="module")
def faults() -> Faults:
    return Faults()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def simulated(bus: None, faults: Faults) -> AsyncIterator[CameraCsc]:
    world = World(FocalPlane(amplifier_shape=(16, 8), overscan_columns=4), faults, speed=50)
    async with CameraCsc(world, salobj.State.ENABLED) as simulated:
        yield simulated
    await world.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def camera(simulated: CameraCsc, domain: salobj.Domain, limits: Limits) -> AsyncIterator[ComCamCamera]:
    camera = ComCamCamera(domain, make_config().instrument, limits, Clock(), allowed)
    await camera.start()
    yield camera
    await camera.close()


@pytest_asyncio.fixture(loop_scope="module")
async def later(domain: salobj.Domain, limits: Limits) -> AsyncIterator[ComCamCamera]:
    """The camera service of a process that is started later, by the test."""
    later = ComCamCamera(domain, make_config().instrument, limits, Clock(), allowed)
    yield later
    await later.close()


async def test_a_sequence_of_frames_is_taken_one_by_one(camera: ComCamCamera) -> None:
    group, begin_s = "20261122-001-BIAS", utils.current_tai()
    async with asyncio.timeout(LIMIT_S):
        frames = [await camera.take(FrameRequest("BIAS", 0.0, group)) for _ in range(3)]
        frames.append(await camera.take(FrameRequest("DARK", 5.0, "20261122-001-DARK", reason="daily", note="a: b")))
    ids = [frame.exposure_id for frame in frames]
    assert ids == list(range(ids[0], ids[0] + 4))
    assert [frame.obs_id[-5:] for frame in frames] == [str(exposure_id)[-5:] for exposure_id in ids]
    assert all(begin_s < frame.timestamp_taken_s < utils.current_tai() for frame in frames)


async def test_a_later_process_sees_the_last_exposure_of_a_group(camera: ComCamCamera, later: ComCamCamera) -> None:
    """Of each topic only the last sample is read at the start."""
    group = "20261122-002-BIAS"
    async with asyncio.timeout(LIMIT_S):
        first, last = [await camera.take(FrameRequest("BIAS", 0.0, group)) for _ in range(2)]
        assert camera.taken_for(group) == [first, last]
        await later.start()
        await until(lambda: later.taken_for(group) == [last])
    assert later.taken_for("20261122-001-BIAS") == []


async def test_a_later_process_waits_for_an_exposure_in_progress_and_then_sees_it(
    camera: ComCamCamera, later: ComCamCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that sent takeImages was killed; the camera completes the exposure all the same."""
    monkeypatch.setattr("lsst.ts.comcamcalib.services.camera.SETTLE_S", 0.01)
    group = "20261122-002-DARK"
    async with asyncio.timeout(LIMIT_S):
        taking = asyncio.create_task(camera.take(FrameRequest("DARK", 150.0, group)))
        while not await camera.obstacle():  # noqa: ASYNC110  the exposure begins some time after the command
            await asyncio.sleep(0.01)
        await later.start()
        while not (obstacle := await later.obstacle()):
            assert not taking.done()
            await asyncio.sleep(0.01)
        assert later.taken_for(group) == []
        frame = await taking
        await until(lambda: later.taken_for(group) == [frame])
        while await later.obstacle():
            pass
    assert obstacle.startswith("CCCamera is ")


async def test_flats_are_taken_in_the_filter_that_was_asked_for(camera: ComCamCamera) -> None:
    async with asyncio.timeout(LIMIT_S):
        for name in ("i_06", "i_06", "r_03"):
            await camera.set_filter(name)
        assert (await camera.take(FrameRequest("FLAT", 1.0, "20261122-001-FLAT"))).exposure_id > 0
    with pytest.raises(ServiceError, match="The camera has no filter y_04; it has 1 g_01, 2 r_03, 3 i_06"):
        await camera.set_filter("y_04")


async def test_a_camera_that_faults_in_mid_exposure_is_told_by_itself_and_by_the_watch(
    camera: ComCamCamera, domain: salobj.Domain, limits: Limits, faults: Faults
) -> None:
    watch = ComponentWatch(domain, ["CCCamera"], limits, Clock())
    await watch.start()
    async with asyncio.timeout(LIMIT_S):
        while watch.problems():  # noqa: ASYNC110  its heart beats each second
            await asyncio.sleep(0.1)
    faults.set([Fault("camera", "fault")])
    # The summary state and the command's acknowledgement are different topics: either may be read first.
    reason = r"(CCCamera went to FAULT|the camera said: .*REB power lost)"
    with pytest.raises(ServiceError, match=rf"DARK frame of group .* was not taken: {reason}"):
        await asyncio.wait_for(camera.take(FrameRequest("DARK", 5.0, "20261122-001-DARK")), LIMIT_S)
    async with asyncio.timeout(LIMIT_S):
        while not watch.problems():  # noqa: ASYNC110  its reader is another than the camera service's
            await asyncio.sleep(0.01)
    assert watch.problems() == ["CCCamera is in FAULT: look at its errorCode, send it to STANDBY, enable it."]
    await watch.close()
