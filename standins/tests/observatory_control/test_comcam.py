# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""ComCam's class against a camera that does what the test says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from lsst.ts import salobj, utils
from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker
from lsst.ts.observatory.control import CameraExposure
from lsst.ts.observatory.control.maintel.comcam import ComCam, ComCamUsages
from lsst.ts.xml.component_info import ComponentInfo

DAY = "20261122"
LIMIT_S = 20.0
IDLE, BUSY = 1, 2


class Camera:
    """A camera by hand: it answers takeImages and setFilter, and keeps what it was told."""

    def __init__(self, controller: salobj.Controller) -> None:
        self.controller = controller
        self.commands: list[Any] = []
        self.number = 0
        self.starts = True
        self.ends = True
        self.refusal = ""
        controller.cmd_takeImages.callback = self.take_images
        controller.cmd_setFilter.callback = self.set_filter

    async def take_images(self, data: Any) -> None:
        self.commands.append(data)
        if self.refusal:
            raise salobj.ExpectedError(self.refusal)
        for _ in range(data.numImages):
            await self.take_image(data.expTime)

    async def take_image(self, exposure_time: float = 0.0) -> None:
        self.number += 1
        if self.starts:
            await self.controller.evt_startIntegration.set_write(imageName=self.name, exposureTime=exposure_time)
        if self.ends:
            await self.controller.evt_endReadout.set_write(imageName=self.name)

    async def set_filter(self, data: Any) -> None:
        self.commands.append(data)
        await self.controller.evt_endSetFilter.set_write(filterName=data.name)

    @property
    def name(self) -> str:
        return f"CC_O_{DAY}_{self.number:06d}"


@pytest.fixture
async def camera(comcam_topics: EmbeddedBroker) -> AsyncIterator[Camera]:
    async with salobj.Controller("CCCamera") as controller:
        camera = Camera(controller)
        await camera.take_image()
        await controller.evt_ccsCommandState.set_write(substate=IDLE)
        await controller.evt_endSetFilter.set_write(filterName="r_03")
        await controller.evt_availableFilters.set_write(filterNames="g_01:r_03:i_06")
        yield camera


@pytest.fixture
async def comcam(camera: Camera) -> AsyncIterator[ComCam]:
    async with ComCam(intended_usage=ComCamUsages.TakeImage) as comcam:
        yield comcam


def exposure_id(number: int) -> int:
    return int(f"{DAY}{number:05d}")


async def test_biases_are_taken_one_command_each(camera: Camera, comcam: ComCam) -> None:
    told = []

    async def checkpoint(text: str) -> None:
        told.append(text)

    ids = await comcam.take_bias(
        2, group_id="G", reason="daily", program="calib", note="by test", checkpoint=checkpoint
    )
    assert ids == [exposure_id(2), exposure_id(3)]
    assert told == ["BIAS 1 of 2", "BIAS 2 of 2"]
    for command in camera.commands:
        assert (command.numImages, command.expTime, command.shutter, command.sensors) == (1, 0.0, False, "")
        assert command.obsNote == "by test"
        assert command.keyValueMap == (
            "imageType: BIAS, groupId: G, testType: BIAS, stutterRows: 0, stutterNShifts: 0, stutterDelay: 0.0, "
            "reason: daily, program: calib"
        )


async def test_frames_without_a_group_share_a_new_one(camera: Camera, comcam: ComCam) -> None:
    await comcam.take_darks(0.01, 2, test_type="TEST")
    first, second = (command.keyValueMap for command in camera.commands)
    assert first == second
    assert "groupId: 20" in first and ", testType: TEST," in first
    await comcam.take_darks(0.01, 1)
    assert camera.commands[-1].keyValueMap != first


async def test_snaps_are_one_command_with_an_id_each(camera: Camera, comcam: ComCam) -> None:
    ids = await comcam.expose(CameraExposure(0.0, shutter=False, image_type="BIAS", group_id="G", n_snaps=3))
    assert ids == [exposure_id(number) for number in (2, 3, 4)]
    assert len(camera.commands) == 1


async def test_flat_brings_its_filter_in_only_if_it_is_not_there(camera: Camera, comcam: ComCam) -> None:
    await comcam.take_flats(0.2, 1, filter="r_03")
    assert [hasattr(command, "numImages") for command in camera.commands] == [True]
    await comcam.take_flats(0.2, 1, filter="i_06")
    assert camera.commands[1].name == "i_06"
    assert camera.commands[2].shutter
    assert await comcam.get_current_filter() == "i_06"
    assert await comcam.get_available_filters() == ["g_01", "r_03", "i_06"]


async def test_telescope_is_asked_before_light_is_let_in(camera: Camera) -> None:
    asked = []

    async def ready() -> None:
        asked.append(len(camera.commands))

    async with ComCam(intended_usage=ComCamUsages.TakeImage, tcs_ready_to_take_data=ready) as comcam:
        await comcam.take_bias(1)
        await comcam.take_flats(0.2, 1)
    assert asked == [1]


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        (("NONSENSE", 1.0, 1), RuntimeError, "NONSENSE is not one of"),
        (("FLAT", 0.05, 1), RuntimeError, "below the shutter's minimum"),
        (("STUTTERED", 1.0, 1), NotImplementedError, "no stuttered images"),
    ],
)
async def test_impossible_frames_are_refused_without_a_command(
    camera: Camera, comcam: ComCam, arguments: tuple[str, float, int], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        await comcam.take_imgtype(*arguments)
    assert camera.commands == []


async def test_comcam_sets_up_nothing_but_a_filter(camera: Camera, comcam: ComCam) -> None:
    with pytest.raises(RuntimeError, match=r"\['grating'\] is not one of \['filter'\]"):
        await comcam.take_flats(0.2, 1, grating="empty")
    assert camera.commands == []


async def test_refusal_of_the_camera_is_the_callers(camera: Camera, comcam: ComCam) -> None:
    camera.refusal = "RCE 2 is down"
    with pytest.raises(salobj.AckError, match="RCE 2 is down"):
        await comcam.take_bias(3)
    assert len(camera.commands) == 1
    camera.refusal = ""
    assert await comcam.take_bias(1) == [exposure_id(2)]


async def test_image_that_never_starts_has_a_limit(camera: Camera, comcam: ComCam) -> None:
    camera.starts = False
    comcam.exposure_event_timeout = 0.3
    with pytest.raises(TimeoutError):
        await comcam.take_bias(1)


async def test_last_image_must_be_read_out_before_the_next(camera: Camera, comcam: ComCam) -> None:
    camera.ends = False
    await comcam.take_bias(1)
    taking = asyncio.create_task(comcam.take_bias(1))
    done, _ = await asyncio.wait([taking], timeout=0.5)
    assert not done and len(camera.commands) == 1
    await camera.controller.evt_endReadout.set_write(imageName=camera.name)
    async with asyncio.timeout(LIMIT_S):
        assert await taking == [exposure_id(3)]


async def test_camera_that_has_taken_no_image_yet_is_taken_for_ready(
    comcam_topics: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    with utils.modify_environ(LSST_TOPIC_SUBNAME="new_camera"):
        for component in ("CCCamera", "CCOODS"):
            topics = ComponentInfo(component, "new_camera").topics.values()
            comcam_topics.create_topics(topic.kafka_name for topic in topics)
        async with salobj.Controller("CCCamera") as controller, ComCam(intended_usage=ComCamUsages.TakeImage) as comcam:
            camera = Camera(controller)
            comcam.long_timeout = comcam.fast_timeout = 0.3
            with caplog.at_level(logging.WARNING):
                assert await comcam.take_bias(1) == [exposure_id(1)]
            with pytest.raises(RuntimeError, match="has not published which filter"):
                await comcam.get_current_filter()
    assert "it is taken for ready" in caplog.text
    assert len(camera.commands) == 1


async def test_busy_camera_is_asked_all_the_same_after_a_while(
    camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    async with ComCam() as comcam:  # of its usages none reads the substate
        state = comcam.rem.cccamera.evt_ccsCommandState
        state.flush()
        await camera.controller.evt_ccsCommandState.set_write(substate=BUSY)
        assert (await state.next(flush=False, timeout=LIMIT_S)).substate == BUSY
        comcam.fast_timeout = 0.3
        with caplog.at_level(logging.WARNING):
            await comcam.take_bias(1)
    assert "did not publish substate 1" in caplog.text
