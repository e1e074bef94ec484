# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Frames from the camera, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from lsst.ts import salobj

from ..clock import Clock
from ..config import Limits
from ..errors import ServiceError
from ..instrument import Instrument
from .camera_activity import CameraActivity
from .camera_class import CameraControl, camera_with_limit
from .components import state_from
from .exposure import Exposure, FrameRequest, TakenFrame, cause_of
from .permission import Permission

__all__ = ["Camera", "ComCamCamera", "FrameRequest", "TakenFrame"]

T = TypeVar("T")

SETTLE_S = 2.0
"""Time that the camera's events get to arrive (seconds); it is busy for some tenths of a second after endReadout."""


class Camera(Protocol):
    """What the stages need of the camera."""

    async def start(self) -> None:
        """Get ready to take frames."""

    async def close(self) -> None:
        """Stop listening to the camera."""

    async def obstacle(self) -> str:
        """Return why no frame can be taken now, in a sentence; "" if the camera is idle or its state is not known.

        A camera that is about to become idle gets a short time for that.
        """

    def taken_for(self, group_id: str) -> list[TakenFrame]:
        """Return the last exposures that were taken with a group id and are read out, oldest first."""

    async def find_filter(self, wanted: str) -> str:
        """Return the name of a filter that the camera has.

        Parameters
        ----------
        wanted
            Its name, or its number in the camera's own list, from 1.

        Raises
        ------
        ServiceError
            If there is no such filter; the message names the existing ones.
        """

    async def set_filter(self, wanted: str) -> None:
        """Put a filter in place, if it is not there already; by name or number, as for `find_filter`.

        Raises
        ------
        ServiceError
            If there is no such filter, or it did not arrive within its limit.
        """

    async def take(self, request: FrameRequest) -> TakenFrame:
        """Take one frame and wait until it is read out.

        Raises
        ------
        ServiceError
            If the frame was not taken and read out within the limit, or the camera left ENABLED. The message names
            the image if one had been started.
        """


class ComCamCamera:
    """The camera through the observatory's own class for it.

    Parameters
    ----------
    domain
        Domain of the CSC.
    instrument
        The instrument with the camera's class and component.
    limits
        Limits of time: ``exposure_overhead``, ``readout``, ``filter_change``, ``preflight``.

    Notes
    -----
    ``ComCam`` sends the commands; a Remote of our own reads the outcome from the events. Here an exposure counts after
    its endReadout, while ``ComCam`` returns after startIntegration, takes any image that starts for its own, and
    ignores the controller in the image's name.
    """

    def __init__(
        self, domain: salobj.Domain, instrument: Instrument, limits: Limits, clock: Clock, permission: Permission
    ) -> None:
        self._domain = domain
        self._instrument = instrument
        self._limits = limits
        self._log = logging.getLogger(__name__)
        self._comcam: CameraControl | None = None
        self._events: salobj.Remote | None = None
        self._state: salobj.State | None = None
        self._exposure: Exposure | None = None
        self._groups: set[str] = set()  # group ids of all frames that this object was asked to take
        self._clock = clock
        self._permission = permission
        self._activity = CameraActivity(instrument, limits.readout, clock)
        self._news = asyncio.Event()  # set when the activity may have changed

    async def start(self) -> None:
        """Start the remotes and wait until they have read the last samples of the camera's events."""
        self._events = salobj.Remote(
            self._domain,
            self._instrument.camera,
            readonly=True,
            include=["startIntegration", "endReadout", "summaryState", "ccsCommandState", "raftsDetailedState"],
        )
        self._events.evt_summaryState.callback = self._on_summary_state
        self._events.evt_startIntegration.callback = self._on_start_integration
        self._events.evt_endReadout.callback = self._on_end_readout
        self._events.evt_ccsCommandState.callback = self._on_command_state
        self._events.evt_raftsDetailedState.callback = self._on_rafts_state
        self._comcam = camera_with_limit(
            self._instrument, self._domain, self._limits.readout, self._clock, self._permission, self._log
        )
        await asyncio.gather(self._comcam.start_task, self._events.start_task)

    async def close(self) -> None:
        """Close the remotes; a wait for a frame ends with an error."""
        if self._exposure is not None:
            self._exposure.fail("The connection to the camera was closed")
        comcam, self._comcam = self._comcam, None
        events, self._events = self._events, None
        if comcam is not None:
            await comcam.close()
        if events is not None:
            await events.close()

    async def obstacle(self) -> str:
        """Return why no frame can be taken now; see `Camera.obstacle`."""
        if not self._activity.known:
            self._log.warning(
                "%s has not said whether it is idle; the first frame will show it.", self._instrument.camera
            )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                while self._activity.obstacle():
                    self._news.clear()
                    await self._news.wait()
        return self._activity.obstacle()

    def taken_for(self, group_id: str) -> list[TakenFrame]:
        """Return the last exposures of a group that are read out; see `Camera.taken_for`."""
        return self._activity.taken_for(group_id)

    async def find_filter(self, wanted: str) -> str:
        """Return the name of a filter that the camera has; see `Camera.find_filter`."""
        comcam = self._ready_comcam()
        # ComCam splits this text at colons only, but the camera's XML says that commas separate the filters.
        names = ",".join(await self._within(comcam.get_available_filters(), self._limits.preflight, "list its filters"))
        available = [name.strip() for name in names.replace(":", ",").split(",") if name.strip()]
        if wanted in available:
            return wanted
        if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= len(available):
            return available[int(wanted) - 1]
        numbered = ", ".join(f"{number} {name}" for number, name in enumerate(available, start=1))
        raise ServiceError(f"The camera has no filter {wanted}; it has {numbered or 'none'}.")

    async def set_filter(self, wanted: str) -> None:
        """Put a filter in place, if it is not there already; see `Camera.set_filter`."""
        comcam = self._ready_comcam()
        what = f"set filter {wanted}"
        current = await self._within(comcam.get_current_filter(), self._limits.preflight, what)
        if current == wanted:
            return
        filter_name = await self.find_filter(wanted)
        if current == filter_name:
            return
        await self._permission()
        end = await self._within(comcam.setup_filter(filter_name), self._limits.filter_change, what)
        if end is None or end.filterName != filter_name:
            got = "no filter" if end is None else f"filter {end.filterName}"
            raise ServiceError(f"The camera was commanded to set filter {filter_name}, but put {got} in place.")

    async def take(self, request: FrameRequest) -> TakenFrame:
        """Take one frame and wait until it is read out; see `Camera.take`."""
        comcam = self._ready_comcam()
        if self._exposure is not None:
            raise ServiceError(f"{request.describe()} can't be taken: {self._exposure.request.describe()} still is.")
        self._exposure = exposure = Exposure(request, self._instrument.image_names)
        self._groups.add(request.group_id)
        # ComCam takes the next startIntegration in its queue for that of the image that it commands, so none of an
        # earlier image may be left there.
        comcam.camera.evt_startIntegration.flush()
        try:
            return await self._take(comcam, exposure)
        finally:
            self._exposure = None
            exposure.forget()

    async def _take(self, comcam: CameraControl, exposure: Exposure) -> TakenFrame:
        """Have ComCam take the frame, and follow it by its events."""
        request, limits = exposure.request, self._limits
        command = asyncio.create_task(self._command(comcam, exposure), name=f"takeImages {request.describe()}")
        try:
            limit_s = request.exposure_time_s + limits.exposure_overhead
            ids = await exposure.unless_failed(command, limit_s, "takeImages")
            await exposure.unless_failed(exposure.started, limits.readout, "startIntegration with this group id")
            await exposure.unless_failed(exposure.read_out, limits.readout, "endReadout")
        finally:
            command.cancel()
            await asyncio.gather(command, return_exceptions=True)
        frame = exposure.frame()
        self._check_agreement(frame, ids)
        return frame

    async def _command(self, comcam: CameraControl, exposure: Exposure) -> list[int]:
        """Have ComCam command the frame; if the camera refuses it for somebody else's image, once more after that.

        ComCam waits for the end of an image that it has heard of. One that begins just before our command is not
        heard of in time, and the camera refuses the command before anything moves.
        """
        known, _ = self._activity.images_of_others(self._groups)
        while True:
            try:
                return await _take_one(comcam, exposure.request)
            except salobj.AckError as error:
                timed_out = isinstance(error, salobj.AckTimeoutError)
                if timed_out or exposure.started.done() or not (others := await self._images_of_others(known)):
                    raise
                self._log.warning(
                    "The camera refused the %s while it took %s for somebody else: commanding it once more after that.",
                    *(exposure.request.describe(), ", ".join(sorted(others))),
                )
                known |= others
                await self._until_heard(comcam, [name for name in self._activity.images_begun if name in others][-1])

    async def _images_of_others(self, known: set[str]) -> set[str]:
        """Return the names of images of somebody else, without the known ones; they get a short time to show."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                while not (others := set.union(*self._activity.images_of_others(self._groups)) - known):
                    self._news.clear()
                    await self._news.wait()
                return others
        return set()

    async def _until_heard(self, comcam: CameraControl, name: str) -> None:
        """Give ComCam, which has a reader of its own, a short time to hear of an image, whose end it waits for then."""
        event = comcam.camera.evt_startIntegration
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                while (last := event.get()) is None or last.imageName != name:
                    await event.next(flush=False)

    def _check_agreement(self, frame: TakenFrame, ids: list[int]) -> None:
        """Check that ComCam returned the same image.

        ComCam takes the next image that begins for the one that it commanded, and ignores the controller in its name.

        Raises
        ------
        ServiceError
            If it returned an image that is not ours.
        """
        begun = self._activity.images_begun
        name = next((name for name in begun if [_comcam_id(name)] == ids), None)
        if name == frame.obs_id:
            return
        if name is None or begun[name] not in self._groups:
            raise ServiceError(
                f"Image {frame.obs_id} is exposure {frame.exposure_id}, but takeImages returned {ids}: somebody else "
                "takes images at the same time. Make sure that nobody does, then resume the run."
            )
        self._log.warning("ComCam returned %s, an earlier image, instead of %s", name, frame.obs_id)

    async def _within(self, call: Awaitable[T], limit_s: float, what: str) -> T:
        """Await a call of ComCam with a limit; raise a sentence if it fails."""
        try:
            async with asyncio.timeout(limit_s):
                return await call
        except Exception as error:
            raise ServiceError(f"The camera could not {what}: {cause_of(error, limit_s)}.") from error

    def _ready_comcam(self) -> CameraControl:
        """Return ComCam if frames can be taken now.

        Raises
        ------
        ServiceError
            If the camera is not known to be ENABLED, or the remotes are closed.
        """
        if self._comcam is None:
            raise ServiceError("The camera is not connected.")
        if self._state is not salobj.State.ENABLED:
            name = self._instrument.camera
            if self._state is None:
                raise ServiceError(f"{name} has not published its summary state: check it.")
            remedy = "look at its errorCode, send it to STANDBY, " if self._state is salobj.State.FAULT else ""
            raise ServiceError(f"{name} is in {self._state.name}: {remedy}enable it.")
        return self._comcam

    async def _on_summary_state(self, data: salobj.BaseMsgType) -> None:
        """Store the state; if the camera leaves ENABLED, the frame in progress fails."""
        self._state = state_from(data)
        if self._state is not salobj.State.ENABLED and self._exposure is not None:
            state = "an unknown state" if self._state is None else self._state.name
            self._exposure.fail(f"{self._instrument.camera} went to {state}")

    async def _on_start_integration(self, data: salobj.BaseMsgType) -> None:
        """Recognise the frame by its group id."""
        self._activity.on_start(data)
        self._news.set()
        if self._exposure is not None:
            self._exposure.on_start(data)

    async def _on_end_readout(self, data: salobj.BaseMsgType) -> None:
        """Note that the frame was read out."""
        self._activity.on_end(data)
        self._news.set()
        if self._exposure is not None:
            self._exposure.on_end(data)

    async def _on_command_state(self, data: salobj.BaseMsgType) -> None:
        """Note whether the camera is doing a command."""
        self._activity.on_command_state(data)
        self._news.set()

    async def _on_rafts_state(self, data: salobj.BaseMsgType) -> None:
        """Note what the rafts are doing."""
        self._activity.on_rafts_state(data)
        self._news.set()


async def _take_one(comcam: CameraControl, request: FrameRequest) -> list[int]:
    """Have ComCam take one frame; return the exposure ids from ComCam."""
    ids = await comcam.take_imgtype(
        imgtype=request.image_type,
        exptime=0.0 if request.image_type == "BIAS" else request.exposure_time_s,
        n=1,
        group_id=request.group_id,
        test_type=request.test_type or None,
        reason=request.reason or None,
        program=request.program or None,
        note=request.note or None,
    )
    return [int(exposure_id) for exposure_id in ids]


def _comcam_id(image_name: str) -> int | None:
    """Return the exposure id that ComCam makes from an image name, None if it can't make one."""
    parts = image_name.split("_")
    text = parts[2] + parts[3][1:] if len(parts) == 4 else ""
    return int(text) if text.isdecimal() else None
