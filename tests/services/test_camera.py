# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The camera service on a bus, with a camera that the test drives event by event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from lsst.ts import salobj, utils
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.errors import BadInputError, ServiceError
from lsst.ts.comcamcalib.services.camera import ComCamCamera, FrameRequest
from lsst.ts.comcamcalib.services.camera_class import camera_classes
from lsst.ts.comcamcalib.services.exposure import Exposure
from lsst.ts.observatory.control.maintel.comcam import ComCam
from support.permission import LOST, allowed, refused
from support.plans import make_config

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="module")]

LIMIT_S = 20.0
INSTRUMENT = make_config().instrument
GROUP = "20261122-001-BIAS"
BIAS = FrameRequest("BIAS", 0.0, GROUP, reason="daily", program="calib", note="a note")
FLAT = FrameRequest("FLAT", 1.5, "20261122-001-FLAT", test_type="PTC")
FIRST = 100

Script = Callable[[Any], Awaitable[None]]


class DrivenCamera(salobj.Controller):  # type: ignore[misc]
    """A CCCamera that does what the test says when it is commanded."""

    def __init__(self) -> None:
        super().__init__("CCCamera")
        self.sequence = FIRST
        self.commands: list[Any] = []
        self.on_take: Script = self.expose
        self.on_filter: Script = self.move_filter

    async def start(self) -> None:
        await super().start()
        self.cmd_takeImages.allow_multiple_callbacks = True
        self.cmd_takeImages.callback = self._take
        self.cmd_setFilter.callback = self._set_filter
        await self.evt_availableFilters.set_write(filterNames="g_01,r_03 , i_06")
        await self.evt_ccsCommandState.set_write(substate=1)
        await self.reset()

    async def reset(self) -> None:
        """Be as well as ever."""
        self.on_take, self.on_filter = self.expose, self.move_filter
        self.commands.clear()
        await self.evt_summaryState.set_write(summaryState=salobj.State.ENABLED, force_output=True)
        await self.evt_endSetFilter.set_write(filterName="r_03", force_output=True)
        await self.begin("a former group")
        await self.end()

    async def _take(self, data: Any) -> None:
        self.commands.append(data)
        await self.on_take(data)

    async def _set_filter(self, data: Any) -> None:
        self.commands.append(data)
        await self.on_filter(data)

    async def expose(self, data: Any) -> None:
        await self.begin(group_of(data))
        await self.end()

    async def move_filter(self, data: Any) -> None:
        await self.evt_endSetFilter.set_write(filterName=data.name, force_output=True)

    async def begin(self, group_id: str, controller: str = "O", exposure_time_s: float = 0.0) -> str:
        """Begin the next image; return its name."""
        self.sequence += 1
        name = f"CC_{controller}_20261122_{self.sequence:06d}"
        await self.evt_startIntegration.set_write(
            imageName=name,
            additionalKeys="imageType:groupId:testType",
            additionalValues=f"BIAS:{group_id}:BIAS",
            timestampAcquisitionStart=1.8e9 + self.sequence,
            exposureTime=exposure_time_s,
            force_output=True,
        )
        return name

    async def end(self, name: str = "") -> None:
        """End the readout of an image."""
        await self.evt_endReadout.set_write(
            imageName=name or self.evt_startIntegration.data.imageName, force_output=True
        )


def group_of(data: Any) -> str:
    pairs = dict(item.split(": ", 1) for item in data.keyValueMap.split(", "))
    return str(pairs["groupId"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def driven(bus: None) -> AsyncIterator[DrivenCamera]:
    async with DrivenCamera() as driven:
        yield driven


@pytest_asyncio.fixture(loop_scope="module")
async def camera(driven: DrivenCamera, domain: salobj.Domain, limits: Limits) -> AsyncIterator[ComCamCamera]:
    await driven.reset()
    camera = ComCamCamera(domain, INSTRUMENT, limits, Clock(), allowed)
    await camera.start()
    yield camera
    await camera.close()


def with_limits(camera: ComCamCamera, limits: Limits, **changes: float) -> None:
    camera._limits = limits.model_copy(update=changes)


async def comcam_knows(camera: ComCamCamera, name: str) -> None:
    """Wait until ComCam has read that an image began."""
    assert camera._comcam is not None
    event = camera._comcam.camera.evt_startIntegration
    while (await event.next(flush=False, timeout=LIMIT_S)).imageName != name:
        pass


async def test_a_frame_counts_when_it_is_read_out(driven: DrivenCamera, camera: ComCamCamera) -> None:
    frame = await asyncio.wait_for(camera.take(BIAS), LIMIT_S)
    assert frame.obs_id == f"CC_O_20261122_{driven.sequence:06d}"
    assert frame.exposure_id == 2026112200000 + driven.sequence
    assert frame.timestamp_taken_s == 1.8e9 + driven.sequence
    (command,) = driven.commands
    assert (command.numImages, command.expTime, command.shutter, command.obsNote) == (1, 0.0, False, "a note")
    assert command.keyValueMap.startswith(f"imageType: BIAS, groupId: {GROUP}, testType: BIAS")
    assert command.keyValueMap.endswith("reason: daily, program: calib")


async def test_a_flat_has_its_exposure_time_and_test_type(driven: DrivenCamera, camera: ComCamCamera) -> None:
    await asyncio.wait_for(camera.take(FLAT), LIMIT_S)
    (command,) = driven.commands
    assert (command.expTime, command.shutter) == (1.5, True)
    assert "imageType: FLAT" in command.keyValueMap and "testType: PTC" in command.keyValueMap


async def test_the_command_s_end_alone_is_not_enough(driven: DrivenCamera, camera: ComCamCamera) -> None:
    acknowledged = asyncio.Event()

    async def expose(data: Any) -> None:
        await driven.begin(group_of(data))
        acknowledged.set()

    driven.on_take = expose
    taking = asyncio.create_task(camera.take(BIAS))
    await asyncio.wait_for(acknowledged.wait(), LIMIT_S)
    assert camera._exposure is not None
    await asyncio.wait_for(asyncio.shield(camera._exposure.started), LIMIT_S)
    await driven.end("CC_O_20261122_000001")  # another image's readout
    done, _ = await asyncio.wait([taking], timeout=0.3)
    assert not done
    await driven.end()
    frame = await asyncio.wait_for(taking, LIMIT_S)
    assert frame.obs_id == driven.evt_startIntegration.data.imageName


async def test_an_image_taken_under_ccs_has_the_id_that_butler_gives_it(
    driven: DrivenCamera, camera: ComCamCamera
) -> None:
    async def expose(data: Any) -> None:
        await driven.begin(group_of(data), controller="C")
        await driven.end()

    driven.on_take = expose
    frame = await asyncio.wait_for(camera.take(BIAS), LIMIT_S)
    assert frame.exposure_id == 2026112200000 + driven.sequence


async def test_an_image_of_another_controller_has_no_certain_id(driven: DrivenCamera, camera: ComCamCamera) -> None:
    async def expose(data: Any) -> None:
        await driven.begin(group_of(data), controller="X")
        await driven.end()

    driven.on_take = expose
    with pytest.raises(ServiceError, match=r"\(image CC_X_.* has no exposure id: .* under controller X"):
        await asyncio.wait_for(camera.take(BIAS), LIMIT_S)


async def test_somebody_else_s_image_is_not_taken_for_ours(driven: DrivenCamera, camera: ComCamCamera) -> None:
    async def expose(data: Any) -> None:
        await driven.begin("somebody else")
        await driven.end()
        await driven.begin(group_of(data))
        await driven.end()

    driven.on_take = expose
    with pytest.raises(ServiceError, match="somebody else takes images at the same time") as caught:
        await asyncio.wait_for(camera.take(BIAS), LIMIT_S)
    assert f"is exposure {2026112200000 + driven.sequence}, but" in str(caught.value)


async def test_a_frame_that_is_never_read_out_is_named_and_does_not_hold_the_next_one(
    driven: DrivenCamera, domain: salobj.Domain, limits: Limits, caplog: pytest.LogCaptureFixture
) -> None:
    async def expose(data: Any) -> None:
        await driven.begin(group_of(data))

    await driven.reset()
    driven.on_take = expose
    camera = ComCamCamera(domain, INSTRUMENT, limits.model_copy(update={"readout": 2.0}), Clock(), allowed)
    await camera.start()
    try:
        with pytest.raises(
            ServiceError, match=rf"BIAS frame of group {GROUP} \(image CC_O_.*no endReadout came within"
        ):
            await asyncio.wait_for(camera.take(BIAS), LIMIT_S)
        lost = driven.evt_startIntegration.data.imageName
        driven.on_take = driven.expose
        frame = await asyncio.wait_for(camera.take(FLAT), LIMIT_S)
    finally:
        await camera.close()
    assert frame.obs_id == driven.evt_startIntegration.data.imageName != lost
    assert f"never reported the readout of {lost}" in caplog.text


async def test_the_image_of_somebody_else_is_waited_for(driven: DrivenCamera, camera: ComCamCamera) -> None:
    first = await driven.begin("somebody else's group")
    await comcam_knows(camera, first)
    waiting = asyncio.create_task(camera.take(BIAS))
    second = await driven.begin("somebody else's group")
    await comcam_knows(camera, second)  # the first one's readout does not make the camera ready now
    await driven.end(first)
    await asyncio.wait([waiting], timeout=0.5)
    assert not waiting.done() and driven.commands == []
    await driven.end(second)
    frame = await asyncio.wait_for(waiting, LIMIT_S)
    assert frame.obs_id == driven.evt_startIntegration.data.imageName
    assert len(driven.commands) == 1


@pytest.mark.parametrize("order", ["their image is heard of before the refusal", "after it", "and is over by then"])
async def test_command_that_somebody_else_s_image_was_just_before_is_sent_again_after_it(
    driven: DrivenCamera,
    camera: ComCamCamera,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    order: str,
) -> None:
    theirs: list[str] = []
    tasks: list[asyncio.Task[None]] = []

    async def expose_theirs() -> None:
        theirs.append(await driven.begin("somebody else's group", exposure_time_s=0.3))
        if order == "and is over by then":
            await driven.end()

    async def refuse(_data: Any) -> None:
        driven.on_take = driven.expose
        if order == "after it":
            tasks.append(asyncio.create_task(expose_theirs()))
        else:
            await expose_theirs()
        raise salobj.ExpectedError("busy")

    assert camera._comcam is not None
    wait_until_ready, waits, again = camera._comcam.wait_for_camera_readiness, [], asyncio.Event()

    async def wait_and_say_so() -> None:
        waits.append(1)
        if len(waits) == 2:
            again.set()
        await wait_until_ready()

    monkeypatch.setattr(camera._comcam, "wait_for_camera_readiness", wait_and_say_so)
    driven.on_take = refuse
    taking = asyncio.create_task(camera.take(BIAS))
    if order != "and is over by then":
        await asyncio.wait_for(again.wait(), LIMIT_S)
        await asyncio.wait([taking], timeout=0.5)
        assert not taking.done() and len(driven.commands) == 1, "their image is not read out"
        await driven.end(theirs[0])
    frame = await asyncio.wait_for(taking, LIMIT_S)
    assert frame.obs_id == driven.evt_startIntegration.data.imageName != theirs[0]
    assert len(driven.commands) == 2
    assert f"while it took {theirs[0]} for somebody else" in caplog.text


async def test_one_image_of_somebody_else_excuses_one_refusal(driven: DrivenCamera, camera: ComCamCamera) -> None:
    async def refuse(_data: Any) -> None:
        if len(driven.commands) == 1:
            await driven.begin("somebody else's group")
            await driven.end()
        raise salobj.ExpectedError("busy, and always will be")

    driven.on_take = refuse
    with pytest.raises(ServiceError, match="always will be"):
        await asyncio.wait_for(camera.take(BIAS), LIMIT_S)
    assert len(driven.commands) == 2


async def test_after_a_fault_in_mid_exposure_the_next_frame_is_taken(
    driven: DrivenCamera, domain: salobj.Domain, limits: Limits
) -> None:
    async def break_down(data: Any) -> None:
        await driven.begin(group_of(data))
        await driven.evt_summaryState.set_write(summaryState=salobj.State.FAULT)
        raise salobj.ExpectedError("REB power lost")

    await driven.reset()
    driven.on_take = break_down
    limits = limits.model_copy(update={"readout": 2.0})
    camera = ComCamCamera(domain, INSTRUMENT, limits, Clock(), allowed)
    await camera.start()
    with pytest.raises(ServiceError, match="was not taken"):
        await asyncio.wait_for(camera.take(BIAS), LIMIT_S)
    await camera.close()
    # Operators bring the camera back, and send the next run.
    driven.on_take = driven.expose
    await driven.evt_summaryState.set_write(summaryState=salobj.State.ENABLED)
    camera = ComCamCamera(domain, INSTRUMENT, limits, Clock(), allowed)
    await camera.start()
    try:
        assert (await asyncio.wait_for(camera.take(BIAS), LIMIT_S)).exposure_id
    finally:
        await camera.close()


async def test_a_process_that_loses_its_journal_while_it_waits_for_the_camera_takes_no_image(
    driven: DrivenCamera, domain: salobj.Domain, limits: Limits
) -> None:
    """It is stopped while the last image is read out; when it goes on, another process has taken over."""
    await driven.reset()
    taken: list[Any] = []

    async def expose(data: Any) -> None:
        taken.append(data)

    driven.on_take = expose
    name = await driven.begin("somebody else's", exposure_time_s=600.0)
    asked = asyncio.Event()

    async def permission() -> None:
        asked.set()
        await refused()

    camera = ComCamCamera(domain, INSTRUMENT, limits, Clock(), permission)
    await camera.start()
    try:
        taking = asyncio.create_task(camera.take(BIAS))
        await asyncio.sleep(0)
        assert not asked.is_set(), "it is asked after the wait"
        await driven.end(name)
        with pytest.raises(ServiceError, match=LOST):
            await asyncio.wait_for(taking, LIMIT_S)
        assert asked.is_set() and taken == []
    finally:
        await camera.close()


async def test_camera_that_exposes_since_before_the_connection_is_not_idle(
    driven: DrivenCamera, domain: salobj.Domain, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator disables and enables the CSC in the middle of a long dark, and starts another run."""
    await driven.reset()
    await driven.evt_ccsCommandState.set_write(substate=2, force_output=True)
    name = await driven.begin("20261122-001-DARK", exposure_time_s=600.0)
    camera = ComCamCamera(domain, INSTRUMENT, limits, Clock(), allowed)
    await camera.start()
    monkeypatch.setattr("lsst.ts.comcamcalib.services.camera.SETTLE_S", 0.1)
    try:
        async with asyncio.timeout(LIMIT_S):
            while name not in (sentence := await camera.obstacle()):
                pass
        assert sentence.startswith(f"CCCamera is taking an image: {name} of 600 s, until ")
        assert camera.taken_for("20261122-001-DARK") == [], "it is not read out yet"
        # The image ends while somebody asks: the camera gets the moment that it needs to become idle.
        monkeypatch.setattr("lsst.ts.comcamcalib.services.camera.SETTLE_S", LIMIT_S)
        asking = asyncio.create_task(camera.obstacle())
        await driven.end(name)
        await driven.evt_ccsCommandState.set_write(substate=1, force_output=True)
        assert await asking == ""
        (found,) = camera.taken_for("20261122-001-DARK")
        assert (found.obs_id, found.exposure_id) == (name, 2026112200000 + driven.sequence)
        assert found.timestamp_taken_s == 1.8e9 + driven.sequence
    finally:
        await driven.evt_ccsCommandState.set_write(substate=1, force_output=True)
        await camera.close()


async def test_what_is_replaced_in_comcam_is_there() -> None:
    assert hasattr(ComCam, "wait_for_camera_readiness"), "ComCam calls it by this name"


async def test_an_exposure_that_does_not_begin_ends_within_the_limit(
    driven: DrivenCamera, camera: ComCamCamera, limits: Limits
) -> None:
    async def expose(_data: Any) -> None:
        pass

    driven.on_take = expose
    with_limits(camera, limits, exposure_overhead=0.5)
    with pytest.raises(ServiceError, match=r"no takeImages came within 0\.5 s"):
        await asyncio.wait_for(camera.take(BIAS), LIMIT_S)


async def test_a_fault_during_the_exposure_ends_the_wait_at_once(driven: DrivenCamera, camera: ComCamCamera) -> None:
    async def expose(data: Any) -> None:
        await driven.begin(group_of(data))
        await driven.evt_summaryState.set_write(summaryState=salobj.State.FAULT)
        await asyncio.Event().wait()

    driven.on_take = expose
    with pytest.raises(ServiceError, match=rf"frame of group {GROUP}.* was not taken: CCCamera went to FAULT during"):
        await asyncio.wait_for(camera.take(BIAS), LIMIT_S)
    with pytest.raises(
        ServiceError, match="CCCamera is in FAULT: look at its errorCode, send it to STANDBY, enable it"
    ):
        await camera.take(BIAS)
    with pytest.raises(
        ServiceError, match="CCCamera is in FAULT: look at its errorCode, send it to STANDBY, enable it"
    ):
        await camera.set_filter("g_01")


async def test_a_refused_command_tells_what_the_camera_said(driven: DrivenCamera, camera: ComCamCamera) -> None:
    async def refuse(_data: Any) -> None:
        raise salobj.ExpectedError("the shutter is locked")

    driven.on_take = refuse
    with pytest.raises(ServiceError, match="was not taken: the camera said: Failed: the shutter is locked"):
        await asyncio.wait_for(camera.take(BIAS), LIMIT_S)


async def test_a_mistake_that_comcam_finds_is_told(camera: ComCamCamera) -> None:
    with pytest.raises(ServiceError, match=r"was not taken: .*0\.1"):
        await asyncio.wait_for(camera.take(FrameRequest("FLAT", 0.01, "g")), LIMIT_S)


async def test_two_frames_at_the_same_time_are_refused_and_a_cancelled_one_is_gone(
    driven: DrivenCamera, camera: ComCamCamera
) -> None:
    begun = asyncio.Event()
    going_on = asyncio.Event()

    async def expose(data: Any) -> None:
        await driven.begin(group_of(data))
        begun.set()
        await going_on.wait()
        await driven.end()

    driven.on_take = expose
    taking = asyncio.create_task(camera.take(BIAS))
    await asyncio.wait_for(begun.wait(), LIMIT_S)
    with pytest.raises(ServiceError, match="can't be taken: BIAS frame of group"):
        await camera.take(FLAT)
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    going_on.set()
    driven.on_take = driven.expose
    assert (await asyncio.wait_for(camera.take(FLAT), LIMIT_S)).obs_id == driven.evt_endReadout.data.imageName


async def test_closing_ends_a_wait(driven: DrivenCamera, camera: ComCamCamera) -> None:
    begun = asyncio.Event()

    async def expose(data: Any) -> None:
        await driven.begin(group_of(data))
        begun.set()

    driven.on_take = expose
    taking = asyncio.create_task(camera.take(BIAS))
    await asyncio.wait_for(begun.wait(), LIMIT_S)
    await camera.close()
    with pytest.raises(ServiceError, match="connection to the camera was closed"):
        await asyncio.wait_for(taking, LIMIT_S)
    with pytest.raises(ServiceError, match="not connected"):
        await camera.take(BIAS)


# Filters


async def test_the_filter_in_place_is_not_selected_again(driven: DrivenCamera, camera: ComCamCamera) -> None:
    await camera.set_filter("r_03")
    assert driven.commands == []
    await camera.set_filter("i_06")
    assert [command.name for command in driven.commands] == ["i_06"]
    await camera.set_filter("i_06")
    assert len(driven.commands) == 1


async def test_an_unknown_filter_is_answered_with_those_there_are(driven: DrivenCamera, camera: ComCamCamera) -> None:
    for names in ("g_01,r_03 , i_06", "g_01:r_03:i_06"):
        await driven.evt_availableFilters.set_write(filterNames=names, force_output=True)
        with pytest.raises(ServiceError, match="The camera has no filter y_04; it has 1 g_01, 2 r_03, 3 i_06"):
            await camera.set_filter("y_04")
    assert driven.commands == []


async def test_a_filter_may_be_given_by_its_number_in_the_cameras_list(
    driven: DrivenCamera, camera: ComCamCamera
) -> None:
    await driven.evt_availableFilters.set_write(filterNames="g_01,r_03,i_06", force_output=True)
    assert await camera.find_filter("1") == "g_01"
    await camera.set_filter("3")
    await camera.set_filter("2")
    await camera.set_filter("r_03")
    assert [command.name for command in driven.commands] == ["i_06", "r_03"]
    for wrong in ("0", "4", "-1", "²"):
        with pytest.raises(ServiceError, match="it has 1 g_01, 2 r_03, 3 i_06"):
            await camera.find_filter(wrong)


async def test_a_filter_that_does_not_arrive_is_an_error(
    driven: DrivenCamera, camera: ComCamCamera, limits: Limits
) -> None:
    async def stick(_data: Any) -> None:
        raise salobj.ExpectedError("stuck")

    async def take_another(_data: Any) -> None:
        await driven.evt_endSetFilter.set_write(filterName="g_01", force_output=True)

    async def publish_nothing(_data: Any) -> None:
        pass

    with_limits(camera, limits, filter_change=0.5)
    for script, words in (
        (stick, "could not set filter i_06: the camera said: Failed: stuck"),
        (take_another, "commanded to set filter i_06, but put filter g_01 in place"),
        (publish_nothing, r"could not set filter i_06: there was no answer within its limit \(at most 0\.5 s\)"),
    ):
        driven.on_filter = script
        with pytest.raises(ServiceError, match=words):
            await asyncio.wait_for(camera.set_filter("i_06"), LIMIT_S)


# One exposure's events, without a bus


class Event:
    """A sample of an event."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(
            additionalKeys="", additionalValues="", timestampAcquisitionStart=0.0, private_sndStamp=7.0
        )
        self.__dict__.update(fields)


async def test_a_group_id_with_colons_is_recognised_and_a_missing_time_replaced() -> None:
    exposure = Exposure(FrameRequest("BIAS", 0.0, "2026-11-22T17:00:01.250"), INSTRUMENT.image_names)
    name = "CC_O_20261122_000012"
    values = r"BIAS:2026-11-22T17\:00\:01.250"
    # endReadout is another topic: it may arrive first.
    for early in ("", "CC_O_20261122_000011", name):
        exposure.on_end(Event(imageName=early))
    assert not exposure.read_out.done()
    exposure.on_start(Event(imageName=name, additionalKeys="imageType:groupId", additionalValues=values))
    assert exposure.read_out.done()
    frame = exposure.frame()
    assert (frame.obs_id, frame.timestamp_taken_s) == (name, 7.0)
    assert utils.current_tai() > 7.0
    exposure.forget()


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("camera_class", "lsst.ts.observatory.control.maintel.nocam.NoCam"),
        ("camera_class", "lsst.ts.observatory.control.maintel.comcam.NoCam"),
        ("usages_class", "lsst.ts.observatory.control.maintel.comcam.NoUsages"),
    ],
)
async def test_a_class_that_there_is_not_is_named_with_its_field(field: str, path: str) -> None:
    with pytest.raises(BadInputError, match=rf"instrument\.{field}: there is no {path} here"):
        camera_classes(INSTRUMENT.model_copy(update={field: path}))
