# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated camera, driven as the observatory drives the real one: through ComCam's class and a Remote."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from lsst.ts import salobj, utils
from lsst.ts.comcamcalib.simulation.camera import CameraCsc
from lsst.ts.comcamcalib.simulation.camera_events import CommandState, RaftsState
from lsst.ts.comcamcalib.simulation.faults import Fault, Faults
from lsst.ts.comcamcalib.simulation.scenarios import scenario_faults
from lsst.ts.comcamcalib.simulation.states import bring_from_standby, bring_to_standby
from lsst.ts.comcamcalib.simulation.world import Image, World, day_obs_of
from lsst.ts.observatory.control.maintel.comcam import ComCam, ComCamUsages
from support.bus import Ear

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="module")]

SPEED = 50.0
IMAGE_EVENTS = (
    *("ccsCommandState", "raftsDetailedState", "imageReadoutParameters", "startIntegration", "startReadout"),
    *("endReadout", "endOfImageTelemetry", "startShutterOpen", "endShutterOpen", "startShutterClose"),
    *("endShutterClose", "startSetFilter", "endSetFilter", "errorCode", "summaryState", "calibrationDetailedState"),
)
BIAS_MAP = "imageType: BIAS, groupId: G1, testType: BIAS"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole_camera(bus: None, small_focal_plane: Any) -> AsyncIterator[CameraCsc]:
    world = World(small_focal_plane, Faults(), SPEED)
    async with CameraCsc(world, salobj.State.ENABLED) as camera:
        yield camera
    await world.close()


@pytest_asyncio.fixture(loop_scope="module")
async def camera(whole_camera: CameraCsc) -> AsyncIterator[CameraCsc]:
    """The camera without faults, in ENABLED."""
    yield whole_camera
    whole_camera._world.faults.set([])
    async with asyncio.timeout(30):
        await whole_camera.idle.wait()
    await bring_to_standby(whole_camera)
    await bring_from_standby(whole_camera, salobj.State.ENABLED)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(whole_camera: CameraCsc) -> AsyncIterator[salobj.Remote]:
    async with salobj.Domain() as domain, salobj.Remote(domain, "CCCamera", include=IMAGE_EVENTS) as remote:
        yield remote


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def comcam(whole_camera: CameraCsc) -> AsyncIterator[ComCam]:
    usage = ComCamUsages.TakeImage | ComCamUsages.MonitorState
    async with salobj.Domain() as domain, ComCam(domain, intended_usage=usage) as comcam:
        yield comcam


async def take(client: salobj.Remote, **fields: Any) -> Any:
    given = {"numImages": 1, "expTime": 0.0, "shutter": False, "keyValueMap": BIAS_MAP, **fields}
    return await client.cmd_takeImages.set_start(**given, timeout=30)


async def test_first_image_is_taken_without_waiting_for_one_before(camera: CameraCsc, comcam: ComCam) -> None:
    # ComCam's class waits half a minute for the events of an earlier image, if there has never been one.
    begin = time.monotonic()
    ids = await comcam.take_bias(1)
    assert time.monotonic() - begin < 10
    assert [exposure_id // 100_000 for exposure_id in ids] == [day_obs_of(utils.current_tai())]


async def test_biases_have_ids_in_a_row_that_the_events_confirm(
    camera: CameraCsc, comcam: ComCam, client: salobj.Remote
) -> None:
    with Ear(client, "endReadout") as heard:
        ids = await comcam.take_bias(3, group_id="20261122-001-BIAS", reason="daily", program="calib", note="by test")
        await heard.wait_for(lambda: len(heard.names) == 3)
    assert ids == [ids[0], ids[0] + 1, ids[0] + 2]
    for exposure_id, sample in zip(ids, heard.samples("endReadout"), strict=True):
        assert sample.imageName == f"CC_O_{exposure_id // 100_000}_{exposure_id % 100_000:06d}"
        assert (
            sample.additionalKeys == "imageType:groupId:testType:stutterRows:stutterNShifts:stutterDelay:reason:program"
        )
        assert sample.additionalValues == "BIAS:20261122-001-BIAS:BIAS:0:0:0.0:daily:calib"
        assert sample.requestedExposureTime == 0.0


async def test_bias_runs_through_the_events_in_order_without_the_shutter(
    camera: CameraCsc, client: salobj.Remote
) -> None:
    with Ear(client, *IMAGE_EVENTS) as heard:
        await take(client)
        await heard.wait_for(lambda: len(heard.names) == 11)
    assert heard.names == [
        "ccsCommandState",
        "raftsDetailedState",
        "raftsDetailedState",
        "imageReadoutParameters",
        "startIntegration",
        "raftsDetailedState",
        "startReadout",
        "raftsDetailedState",
        "endReadout",
        "endOfImageTelemetry",
        "ccsCommandState",
    ]
    states = [sample.substate for sample in heard.samples("raftsDetailedState")]
    assert states == [RaftsState.CLEARING, RaftsState.INTEGRATING, RaftsState.READING_OUT, RaftsState.QUIESCENT]
    assert [s.substate for s in heard.samples("ccsCommandState")] == [CommandState.BUSY, CommandState.IDLE]
    names = {heard.samples(event)[0].imageName for event in ("imageReadoutParameters", "startReadout", "endReadout")}
    assert names == {heard.samples("startIntegration")[0].imageName}


async def test_dark_takes_its_time_divided_by_the_speed(camera: CameraCsc, client: salobj.Remote) -> None:
    steps = ["startIntegration", "startReadout", "endReadout", "endOfImageTelemetry"]
    with Ear(client, *steps) as heard:
        await take(client, expTime=30.0, keyValueMap="imageType: DARK, groupId: G2")
        await heard.wait_for(lambda: len(heard.names) == 4)
    assert heard.names == steps
    sent = [heard.samples(name)[0].private_sndStamp for name in heard.names]
    # A busy machine may take longer, but nowhere near the time without the speed.
    assert 30 / SPEED - 0.1 < sent[1] - sent[0] < 15
    assert 0 < sent[2] - sent[1] < 2
    last = heard.samples("endOfImageTelemetry")[0]
    assert (last.exposureTime, last.darkTime, last.measuredShutterOpenTime) == (30.0, 30.0, 0.0)
    assert last.timestampDateEnd - last.timestampDateObs == pytest.approx(sent[1] - sent[0], abs=1.0)


async def test_flat_moves_filter_and_shutter(camera: CameraCsc, comcam: ComCam, client: salobj.Remote) -> None:
    filters = await comcam.get_available_filters()
    current = await comcam.get_current_filter()
    wanted = next(name for name in filters if name != current)
    steps = {name for name in IMAGE_EVENTS if "Shutter" in name or "SetFilter" in name}
    steps |= {"startIntegration", "startReadout", "endOfImageTelemetry"}
    with Ear(client, *IMAGE_EVENTS) as heard:
        (exposure_id,) = await comcam.take_flats(1.0, 1, filter=wanted)
        # One after the other can be heard in any order.
        await heard.wait_for(lambda: steps <= set(heard.names))
    shutter_and_filter = [name for name in heard.names if "Shutter" in name or "SetFilter" in name]
    assert shutter_and_filter == [
        *("startSetFilter", "endSetFilter", "startShutterOpen", "endShutterOpen"),
        *("startShutterClose", "endShutterClose"),
    ]
    assert heard.samples("endSetFilter")[0].filterName == wanted
    assert heard.names.index("startIntegration") < heard.names.index("startShutterOpen")
    assert heard.names.index("endShutterClose") < heard.names.index("startReadout")
    assert exposure_id % 100_000 == heard.samples("endOfImageTelemetry")[0].imageNumber
    assert await comcam.get_current_filter() == wanted


async def test_filter_that_is_in_place_is_refused_but_comcam_does_not_ask_for_it(
    camera: CameraCsc, comcam: ComCam, client: salobj.Remote
) -> None:
    current = await comcam.get_current_filter()
    with pytest.raises(salobj.AckError, match=f"Filter {current} is in place already"):
        await client.cmd_setFilter.set_start(name=current, timeout=30)
    with Ear(client, "startSetFilter") as heard:
        await comcam.setup_instrument(filter=current)
    assert heard.names == []


async def test_filter_that_is_not_installed_is_refused(camera: CameraCsc, comcam: ComCam) -> None:
    with pytest.raises(salobj.AckError, match="Filter 'y_04' is not installed; there are g_01, r_03, i_06"):
        await comcam.setup_filter("y_04")


async def test_group_id_with_colons_comes_back_escaped(camera: CameraCsc, client: salobj.Remote) -> None:
    with Ear(client, "startIntegration") as heard:
        await take(client, keyValueMap="imageType: BIAS, groupId: 2026-11-22T17:00:01.250")
        await heard.wait_for(lambda: heard.names)
    assert heard.samples("startIntegration")[0].additionalValues == r"BIAS:2026-11-22T17\:00\:01.250"


async def test_one_command_can_take_several_images(camera: CameraCsc, client: salobj.Remote) -> None:
    with Ear(client, "endReadout", "ccsCommandState") as heard:
        await take(client, numImages=3)
        await heard.wait_for(lambda: heard.names.count("ccsCommandState") == 2 and len(heard.names) == 5)
    assert [(s.imageIndex, s.imagesInSequence) for s in heard.samples("endReadout")] == [(1, 3), (2, 3), (3, 3)]


async def test_listeners_hear_of_the_image_after_its_last_event(camera: CameraCsc, client: salobj.Remote) -> None:
    heard: list[Image] = []
    camera._world.add_listener(heard.append)
    await take(client, obsNote="a note", expTime=10.0, keyValueMap="imageType: DARK, groupId: G3, program: calib")
    (image,) = heard
    assert (image.image_type, image.exposure_time_s, image.group_id, image.note) == ("DARK", 10.0, "G3", "a note")
    assert 10 / SPEED - 0.1 < image.end_tai - image.begin_tai < 8


async def test_busy_camera_tells_its_estimate_and_refuses_a_second_command(
    camera: CameraCsc, client: salobj.Remote
) -> None:
    first = await client.cmd_takeImages.set_start(
        numImages=1, expTime=150.0, keyValueMap="imageType: DARK, groupId: G4", timeout=30, wait_done=False
    )
    assert first.ack == salobj.SalRetCode.CMD_INPROGRESS
    assert first.timeout >= 5
    finished = asyncio.create_task(client.cmd_takeImages.next_ackcmd(first, timeout=30))
    with pytest.raises(salobj.AckError, match="The camera is busy"):
        await take(client)
    with pytest.raises(salobj.AckError, match="The camera is busy"):
        await client.cmd_disable.start(timeout=30)
    assert (await finished).ack == salobj.SalRetCode.CMD_COMPLETE


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"numImages": 0}, "numImages=0 must be at least 1"),
        ({"expTime": -1.0}, "expTime=-1 s is negative"),
        ({"expTime": 0.05, "shutter": True}, "below 0.1 s with the shutter open"),
        ({"sensors": "R22_S00"}, "always reads all sensors"),
        ({"keyValueMap": "imageType: BIAS, reason: a, b"}, "is not `key: value`"),
        ({"keyValueMap": "groupId: G"}, "imageType None is not one of BIAS, DARK, FLAT"),
    ],
)
async def test_impossible_images_are_refused_before_anything_moves(
    camera: CameraCsc, client: salobj.Remote, fields: dict[str, Any], sentence: str
) -> None:
    with Ear(client, "ccsCommandState", "startIntegration") as heard:
        with pytest.raises(salobj.AckError, match=sentence):
            await take(client, **fields)
        await take(client)  # it goes on as if nothing had been
        await heard.wait_for(lambda: heard.names.count("ccsCommandState") == 2 and "startIntegration" in heard.names)
    assert heard.names.count("startIntegration") == 1


async def test_commands_that_are_not_simulated_say_so(camera: CameraCsc, client: salobj.Remote) -> None:
    with pytest.raises(salobj.AckError, match="takes images with takeImages only"):
        await client.cmd_clear.set_start(nClears=1, timeout=30)


async def test_refused_image_uses_no_image_number(camera: CameraCsc, client: salobj.Remote) -> None:
    camera._world.faults.set([Fault("camera", "refuse", match={"image_type": "BIAS"}, skip=1, text="RCE 2 is down")])
    with Ear(client, "endReadout") as heard:
        await take(client)
        with pytest.raises(salobj.AckError, match="RCE 2 is down"):
            await take(client)
        await take(client)
        await heard.wait_for(lambda: len(heard.names) == 2)
    first, second = (sample.imageNumber for sample in heard.samples("endReadout"))
    assert second == first + 1


async def test_fault_in_mid_exposure_loses_the_image(camera: CameraCsc, client: salobj.Remote) -> None:
    camera._world.faults.set([Fault("camera", "fault", text="REB power lost")])
    with Ear(client, "startIntegration", "endReadout", "errorCode", "summaryState", "ccsCommandState") as heard:
        with pytest.raises(salobj.AckError, match="REB power lost"):
            await take(client, expTime=10.0)
        await heard.wait_for(lambda: {"errorCode", "summaryState"} < set(heard.names) and len(heard.names) >= 5)
    assert camera.summary_state == salobj.State.FAULT
    assert heard.samples("errorCode")[0].errorReport == "REB power lost"
    assert [sample.summaryState for sample in heard.samples("summaryState")] == [salobj.State.FAULT]
    assert "startIntegration" in heard.names and "endReadout" not in heard.names
    with pytest.raises(salobj.AckError, match=r"(?i)fault"):
        await take(client)


async def test_end_of_readout_may_never_be_published(camera: CameraCsc, client: salobj.Remote) -> None:
    camera._world.faults.set([Fault("camera", "no_end_readout")])
    with Ear(client, "endReadout", "endOfImageTelemetry") as heard:
        await take(client)
        await take(client)
        await heard.wait_for(lambda: len(heard.names) == 3)
    assert heard.names == ["endOfImageTelemetry", "endReadout", "endOfImageTelemetry"]


async def test_slow_readout_is_longer_by_what_the_fault_says(camera: CameraCsc, client: salobj.Remote) -> None:
    camera._world.faults.set([Fault("camera", "slow", value=1.0 * SPEED)])
    with Ear(client, "startReadout", "endReadout") as heard:
        await take(client)
        await heard.wait_for(lambda: len(heard.names) == 2)
    start, end = heard.samples("startReadout")[0], heard.samples("endReadout")[0]
    # Events in between are written meanwhile, which takes some time, too.
    assert 1.0 + 2 / SPEED < end.timestampEndOfReadout - start.timestampStartOfReadout < 5.0


async def test_nothing_is_taken_unless_enabled(camera: CameraCsc, client: salobj.Remote) -> None:
    await client.cmd_disable.start(timeout=30)
    with pytest.raises(salobj.AckError, match="DISABLED"):
        await take(client)


async def test_camera_gives_control_back_and_comes_back_with_enter_control(
    camera: CameraCsc, client: salobj.Remote
) -> None:
    with Ear(client, "summaryState") as heard:
        for command in ("disable", "standby", "exitControl"):
            await getattr(client, f"cmd_{command}").start(timeout=30)
        for command in ("start", "exitControl"):
            with pytest.raises(salobj.AckError, match="not allowed in state"):
                await getattr(client, f"cmd_{command}").start(timeout=30)
        await client.cmd_enterControl.start(timeout=30)
        with pytest.raises(salobj.AckError, match="enterControl not allowed in state"):
            await client.cmd_enterControl.start(timeout=30)
        await client.cmd_start.start(timeout=30)
        await heard.wait_for(lambda: len(heard.names) == 5)
    states = [salobj.State(sample.summaryState).name for sample in heard.samples("summaryState")]
    assert states == ["DISABLED", "STANDBY", "OFFLINE", "STANDBY", "DISABLED"]


async def test_command_may_fail_though_the_image_was_taken(camera: CameraCsc, client: salobj.Remote) -> None:
    taken: list[Image] = []
    camera._world.add_listener(taken.append)
    camera._world.faults.set(scenario_faults(["camera-fails-late"]))
    with Ear(client, "endReadout", "endOfImageTelemetry") as heard:
        await take(client)
        with pytest.raises(salobj.AckError, match="did not take CC_O_"):
            await take(client)
        await heard.wait_for(lambda: len(heard.names) == 4)
    assert [image.name for image in taken] == [sample.imageName for sample in heard.samples("endReadout")]
    camera._world._listeners.clear()


async def test_readout_that_never_ends_is_neither_acknowledged_nor_reported(
    camera: CameraCsc, client: salobj.Remote
) -> None:
    camera._world.faults.set(scenario_faults(["readout-never-ends"]))
    with Ear(client, "startReadout", "endReadout", "raftsDetailedState") as heard:
        await take(client)
        stuck = asyncio.create_task(take(client))
        await heard.wait_for(lambda: heard.names.count("startReadout") == 2)
        done, _ = await asyncio.wait([stuck], timeout=1.0)
        assert not done and not camera.idle.is_set()
        assert heard.samples("raftsDetailedState")[-1].substate == RaftsState.READING_OUT
        with pytest.raises(salobj.AckError, match="busy"):
            await take(client)
        camera._world.faults.set([])
        with pytest.raises(salobj.AckError, match="was given up"):
            await stuck
    assert heard.names.count("endReadout") == 1


async def test_somebody_elses_image_keeps_the_camera_busy_and_uses_a_number(
    camera: CameraCsc, client: salobj.Remote
) -> None:
    camera._world.faults.set(scenario_faults(["somebody-else-exposes"]))
    with Ear(client, "startIntegration", "endReadout", "ccsCommandState") as heard:
        await take(client)
        await heard.wait_for(lambda: heard.names.count("startIntegration") == 2)
        with pytest.raises(salobj.AckError, match="busy"):
            await take(client)
        await heard.wait_for(lambda: heard.names.count("endReadout") == 2)
        async with asyncio.timeout(30):
            await camera.idle.wait()
        await take(client)
        await heard.wait_for(lambda: heard.names.count("endReadout") == 3)
    ours, theirs, ours_again = heard.samples("endReadout")
    assert [theirs.imageNumber, ours_again.imageNumber] == [ours.imageNumber + 1, ours.imageNumber + 2]
    assert "G1" in ours.additionalValues and "G1" not in theirs.additionalValues
    assert theirs.requestedExposureTime == 10.0
