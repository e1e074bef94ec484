# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated CCCamera: takes images and changes filters, with the events, order and timing of ComCam's.

Known limitations: guiders, playlists, calibration mode and images in pieces (startImage, endImage) are refused with a
sentence; no telemetry is written; the final acknowledgement of takeImages always follows the image's last event, while
the real camera may acknowledge before. An exposure keeps its nominal length in headers and events, also when the
observatory runs faster than the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

from lsst.ts import salobj, utils

from .. import __version__
from .camera_events import (
    CommandState,
    FilterChangerState,
    ImageEvents,
    OfflineState,
    RaftsState,
    ShutterState,
    filter_fields,
    parse_key_value_map,
    readout_parameters,
)
from .faults import Fault
from .frame_faults import IMAGE_TYPES
from .layout import DETECTOR_NAMES
from .world import Image, World, day_obs_of

__all__ = ["CameraCsc"]

# Seconds of the instrument.
CLEAR_S = 0.1
SHUTTER_S = 1.0  # one way
READOUT_S = 2.0
TELEMETRY_S = 0.3  # from endReadout to endOfImageTelemetry
FILTER_CHANGE_S = 20.0
MIN_SHUTTER_EXPOSURE_S = 0.1
# The estimate in the acknowledgement is never below this (seconds of the clock), because a client gives up after it.
MIN_ESTIMATE_S = 5.0
# The error code that it reports in FAULT.
FAULT_CODE = 1

SECONDS_PER_DAY = 86400
INSTALLED_FILTERS = ("g_01", "r_03", "i_06")
FIRST_FILTER = INSTALLED_FILTERS[1]
"""The filter that is in the beam at the start."""


class CameraCsc(salobj.BaseCsc):  # type: ignore[misc]
    """The camera.

    It asks the fault hook once for each image, as place ``camera`` with ``image_type`` and ``filter``. Effects:
    ``refuse`` (the command fails before anything moves), ``fault`` (to FAULT in the middle of the integration),
    ``no_end_readout`` (endReadout is never published), ``slow`` (readout takes ``value`` seconds longer), ``stuck``
    (readout does not end while the fault is in force, and the image is lost), ``fail_late`` (the image is taken, and
    the command fails all the same), ``stranger`` (somebody else takes an image of ``value`` seconds as soon as the
    command is over: the next command finds a busy camera).

    Parameters
    ----------
    world
        What it shares with the other simulators.
    initial_state
        Summary state to start in. OFFLINE is that of a camera that waits for enterControl.

    Attributes
    ----------
    idle : asyncio.Event
        Set while no command runs.
    """

    version = __version__
    valid_simulation_modes = (0,)

    def __init__(self, world: World, initial_state: salobj.State = salobj.State.STANDBY) -> None:
        self._world = world
        self._offline: bool = initial_state == salobj.State.OFFLINE
        self.idle = asyncio.Event()
        self.idle.set()
        self._filter = FIRST_FILTER
        super().__init__("CCCamera", initial_state=salobj.State.STANDBY if self._offline else initial_state)
        # A second takeImages is refused by a busy camera; it does not wait in a queue.
        self.cmd_takeImages.allow_multiple_callbacks = True
        self.cmd_setFilter.allow_multiple_callbacks = True
        self._events = ImageEvents(self)
        self._stranger: asyncio.Task[None] | None = None  # takes an image of somebody else

    # States

    async def start(self) -> None:
        """Start, and publish what the hardware is like."""
        await super().start()
        if self._offline:
            await self._go_offline()
        await self.evt_availableFilters.set_write(
            filterNames=":".join(INSTALLED_FILTERS),
            filterTypes=":".join(name[0] for name in INSTALLED_FILTERS),
            maxChangeAngle=90.0,
            maxFastChangeAngle=90.0,
        )
        await self.evt_endSetFilter.set_write(**filter_fields(self._filter, INSTALLED_FILTERS))
        await self.evt_focalPlaneSummaryInfo.set_write(
            ccdLocation=":".join(DETECTOR_NAMES), ccdType=[2] * len(DETECTOR_NAMES)
        )
        await self._set_substate("shutterDetailedState", ShutterState.CLOSED)
        await self._set_substate("filterChangerDetailedState", FilterChangerState.LOADED)
        await self._set_substate("raftsDetailedState", RaftsState.NEEDS_CLEAR)
        await self._set_substate("calibrationDetailedState", 1)  # disabled
        await self._set_substate("imageReadinessDetailedState", 1)  # ready
        await self._publish_last_image()
        await self._set_substate("ccsCommandState", CommandState.IDLE)

    async def reset_filter(self) -> None:
        """Have the filter of the start in the beam again."""
        if self._filter != FIRST_FILTER:
            self._filter = FIRST_FILTER
            await self.evt_endSetFilter.set_write(**filter_fields(FIRST_FILTER, INSTALLED_FILTERS), force_output=True)

    async def _publish_last_image(self) -> None:
        """Publish an image of the day before: an observatory that has worked before has one in its broker.

        Without it, a client would wait half a minute for an image that may be under way.
        """
        now = utils.current_tai()
        image = Image(
            day_obs=day_obs_of(now - SECONDS_PER_DAY),
            seq_num=1,
            index=1,
            count=1,
            image_type="BIAS",
            exposure_time_s=0.0,
            physical_filter=self._filter,
            keys={"imageType": "BIAS"},
            begin_tai=now - SECONDS_PER_DAY,
            end_tai=now - SECONDS_PER_DAY,
        )
        await self._events.start_integration(image)
        await self._events.start_readout(image)
        await self._events.end_readout(image)
        await self._events.end_of_telemetry(image)

    @property
    def offline(self) -> bool:
        """Whether the camera waits for enterControl."""
        return self._offline

    async def close_tasks(self) -> None:
        """Take no further image of somebody else."""
        if self._stranger is not None:
            self._stranger.cancel()
            await asyncio.gather(self._stranger, return_exceptions=True)
        await super().close_tasks()

    async def begin_disable(self, data: Any) -> None:
        """Refuse to be disabled in the middle of a command."""
        self._assert_idle()

    async def begin_start(self, data: Any) -> None:
        """Refuse to start when the camera is not under the OCS's control."""
        if self._offline:
            raise salobj.ExpectedError("start not allowed in state OFFLINE: the camera waits for enterControl")

    async def do_enterControl(self, data: Any) -> None:
        """Put the camera under the OCS's control: from OFFLINE to STANDBY."""
        if not self._offline:
            raise salobj.ExpectedError(f"enterControl not allowed in state {self.summary_state!r}")
        self._offline = False
        await self.evt_summaryState.set_write(summaryState=salobj.State.STANDBY)

    async def do_exitControl(self, data: Any) -> None:
        """Give control back: from STANDBY to OFFLINE. The camera goes on running, as a camera does."""
        if self._offline or self.summary_state != salobj.State.STANDBY:
            raise salobj.ExpectedError(f"exitControl not allowed in state {self.summary_state!r}")
        await self._go_offline()

    async def _go_offline(self) -> None:
        self._offline = True
        await self.evt_summaryState.set_write(summaryState=salobj.State.OFFLINE)
        await self._set_substate("offlineDetailedState", OfflineState.OFFLINE_AVAILABLE)

    # Filter

    async def do_setFilter(self, data: Any) -> None:
        """Bring a filter into the beam; refuse one that is there already, as ComCam does."""
        self.assert_enabled()
        self._assert_idle()
        if data.name not in INSTALLED_FILTERS:
            raise salobj.ExpectedError(
                f"Filter {data.name!r} is not installed; there are {', '.join(INSTALLED_FILTERS)}."
            )
        if data.name == self._filter:
            raise salobj.ExpectedError(f"Filter {data.name} is in place already.")
        async with self._command(data, self.cmd_setFilter, FILTER_CHANGE_S):
            await self.evt_startSetFilter.set_write(filterName=data.name, filterType=data.name[0])
            for state in (FilterChangerState.UNLOADING, FilterChangerState.LOADING):
                await self._set_substate("filterChangerDetailedState", state)
                await self._world.sleep(FILTER_CHANGE_S / 2)
            self._filter = data.name
            await self._set_substate("filterChangerDetailedState", FilterChangerState.LOADED)
            await self.evt_endSetFilter.set_write(**filter_fields(self._filter, INSTALLED_FILTERS), force_output=True)

    # Images

    async def do_takeImages(self, data: Any) -> None:
        """Take ``numImages`` images of ``expTime`` seconds."""
        self.assert_enabled()
        self._assert_idle()
        keys = self._check_take_images(data)
        estimate = data.numImages * (data.expTime + CLEAR_S + READOUT_S + TELEMETRY_S + 2 * SHUTTER_S * data.shutter)
        async with self._command(data, self.cmd_takeImages, estimate):
            for index in range(1, data.numImages + 1):
                fault = self._world.faults.strike("camera", image_type=keys["imageType"], filter=self._filter)
                if fault is not None and fault.effect == "refuse":
                    raise salobj.ExpectedError(fault.text or "The focal plane is not ready to take images.")
                day_obs, seq_num = self._world.next_image_id()
                image = Image(
                    day_obs=day_obs,
                    seq_num=seq_num,
                    index=index,
                    count=data.numImages,
                    image_type=keys["imageType"],
                    exposure_time_s=data.expTime,
                    physical_filter=self._filter,
                    keys=keys,
                    note=data.obsNote,
                )
                await self._take(image, data.shutter, fault)
                if fault is not None and fault.effect == "fail_late":
                    raise salobj.ExpectedError(fault.text or f"The image database did not take {image.name}.")
                if fault is not None and fault.effect == "stranger":
                    self._stranger = asyncio.create_task(self._take_for_stranger(image, fault.value), name="stranger")

    async def _take_for_stranger(self, image: Image, exposure_time_s: float) -> None:
        """Take an image of somebody else, as soon as the command that took this one is over."""
        await self.idle.wait()
        self.idle.clear()
        day_obs, seq_num = self._world.next_image_id()
        keys = {"imageType": "DARK", "groupId": f"{day_obs}_by_hand", "testType": "DARK", "reason": "check"}
        theirs = dataclasses.replace(
            image, day_obs=day_obs, seq_num=seq_num, image_type="DARK", exposure_time_s=exposure_time_s, keys=keys
        )
        async with self._busy():
            await self._take(theirs, False, None)

    def _check_take_images(self, data: Any) -> dict[str, str]:
        """Return the command's keys and values; refuse what the camera can't do."""
        if data.numImages < 1:
            raise salobj.ExpectedError(f"numImages={data.numImages} must be at least 1.")
        if data.expTime < 0 or (data.shutter and data.expTime < MIN_SHUTTER_EXPOSURE_S):
            raise salobj.ExpectedError(
                f"expTime={data.expTime:g} s is negative, or below {MIN_SHUTTER_EXPOSURE_S} s with the shutter open."
            )
        if data.sensors:
            raise salobj.ExpectedError(
                f"sensors={data.sensors!r}: this camera always reads all sensors; leave it empty."
            )
        try:
            keys = parse_key_value_map(data.keyValueMap)
        except ValueError as error:
            raise salobj.ExpectedError(str(error)) from error
        if keys.get("imageType") not in IMAGE_TYPES:
            raise salobj.ExpectedError(f"imageType {keys.get('imageType')!r} is not one of {', '.join(IMAGE_TYPES)}.")
        return keys

    async def _take(self, image: Image, shutter: bool, fault: Fault | None) -> None:
        effect, value = (fault.effect, fault.value) if fault is not None else ("", 0.0)
        await self._set_substate("raftsDetailedState", RaftsState.CLEARING)
        await self._world.sleep(CLEAR_S)
        image = dataclasses.replace(image, begin_tai=utils.current_tai())
        await self._set_substate("raftsDetailedState", RaftsState.INTEGRATING)
        await self.evt_imageReadoutParameters.set_write(
            **readout_parameters(image.name, self._world.focal_plane.layout), force_output=True
        )
        await self._events.start_integration(image)
        if shutter:
            await self._move_shutter("Open", ShutterState.OPENING, ShutterState.OPEN)
        if fault is not None and effect == "fault":
            await self._world.sleep(image.exposure_time_s / 2)
            await self._break_down(fault.text or f"REB power lost while {image.name} was integrating")
        await self._world.sleep(image.exposure_time_s)
        image = dataclasses.replace(image, end_tai=utils.current_tai())
        if shutter:
            await self._move_shutter("Close", ShutterState.CLOSING, ShutterState.CLOSED)
        await self._set_substate("raftsDetailedState", RaftsState.READING_OUT)
        await self._events.start_readout(image)
        await self._world.sleep(READOUT_S + (value if effect == "slow" else 0.0))
        if fault is not None and effect == "stuck":
            await self._world.faults.until_over(fault)
            await self._set_substate("raftsDetailedState", RaftsState.NEEDS_CLEAR)
            raise salobj.ExpectedError(fault.text or f"The readout of {image.name} was given up.")
        await self._set_substate("raftsDetailedState", RaftsState.QUIESCENT)
        if effect != "no_end_readout":
            await self._events.end_readout(image)
        await self._world.sleep(TELEMETRY_S)
        await self._events.end_of_telemetry(image)
        self._world.image_taken(image)

    async def _break_down(self, report: str) -> None:
        """Go to FAULT in the middle of an image, which is lost."""
        await self._set_substate("raftsDetailedState", RaftsState.NEEDS_CLEAR)
        await self.fault(FAULT_CODE, report)
        raise salobj.ExpectedError(report)

    async def _move_shutter(self, way: str, moving: ShutterState, arrived: ShutterState) -> None:
        for phase, state, duration in (("start", moving, SHUTTER_S), ("end", arrived, 0.0)):
            await self._set_substate("shutterDetailedState", state)
            event = getattr(self, f"evt_{phase}Shutter{way}")
            await event.set_write(timestampTransition=utils.current_tai())
            await self._world.sleep(duration)

    # Small things

    def _assert_idle(self) -> None:
        if not self.idle.is_set():
            raise salobj.ExpectedError("The camera is busy with another command.")

    @contextlib.asynccontextmanager
    async def _command(self, data: Any, command: Any, estimate_s: float) -> AsyncIterator[None]:
        """Be busy with a command that takes an estimated time (seconds of the instrument)."""
        self.idle.clear()
        async with self._busy():
            await command.ack_in_progress(data, timeout=max(estimate_s / self._world.speed, MIN_ESTIMATE_S))
            yield

    @contextlib.asynccontextmanager
    async def _busy(self) -> AsyncIterator[None]:
        """Be busy, and idle at the end."""
        try:
            await self._set_substate("ccsCommandState", CommandState.BUSY)
            yield
        finally:
            self.idle.set()
            if self.isopen:
                await self._set_substate("ccsCommandState", CommandState.IDLE)

    async def _set_substate(self, event: str, substate: int) -> None:
        await getattr(self, f"evt_{event}").set_write(substate=substate, timestampTransition=utils.current_tai())

    # What is not simulated

    async def _refuse(self, data: Any) -> None:
        raise salobj.ExpectedError("The simulated camera can't do this; it takes images with takeImages only.")

    do_alert = do_clear = do_discardRows = do_endImage = do_generic = do_initGuiders = do_initImage = _refuse
    do_play = do_playlist = do_startImage = do_stop = do_enableCalibration = do_disableCalibration = _refuse
