# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a camera is to its clients: frames of an image type, taken one after the other."""

from __future__ import annotations

import abc
import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from lsst.ts import salobj, utils

from .remote_group import RemoteGroup

__all__ = ["BaseCamera", "CameraExposure"]

# The camera's substates in ccsCommandState.
IDLE = 1
BUSY = 2

# Frames for which the shutter stays closed and nothing is set up.
DARK_IMAGE_TYPES = frozenset({"BIAS", "DARK"})

IMAGE_TYPES = [
    *("BIAS", "DARK", "FLAT", "OBJECT", "ENGTEST", "ACQ", "CWFS", "FOCUS"),
    *("STUTTERED", "INDOME", "CBP", "SFLAT", "DFLAT", "SPOT"),
]


@dataclasses.dataclass
class CameraExposure:
    """What is asked of the camera: ``n`` commands of ``n_snaps`` images each.

    ``exp_time`` is in seconds. ``sensors`` None means all of them. ``note`` None means none.
    """

    exp_time: float
    shutter: bool
    image_type: str
    group_id: str
    n: int = 1
    n_snaps: int = 1
    n_shift: int | None = None
    row_shift: int | None = None
    test_type: str | None = None
    reason: str | None = None
    program: str | None = None
    sensors: str | None = None
    note: str | None = None

    def key_value_map(self) -> str:
        """Return the text of takeImages' keyValueMap. It has no escape for commas and colons in values."""
        items = {
            "imageType": self.image_type,
            "groupId": self.group_id,
            "testType": self.test_type or self.image_type,
            "stutterRows": self.row_shift or 0,
            "stutterNShifts": self.n_shift or 0,
            "stutterDelay": 0.0,
        }
        if self.reason is not None:
            items["reason"] = self.reason
        if self.program is not None:
            items["program"] = self.program
        return ", ".join(f"{key}: {value}" for key, value in items.items())


class BaseCamera(RemoteGroup, metaclass=abc.ABCMeta):
    """A camera with its header service and its observatory operations data service.

    Parameters are those of `RemoteGroup`, and:

    tcs_ready_to_take_data
        Coroutine that returns when the telescope can take an image with the shutter open. None: it always can.
    """

    def __init__(
        self,
        components: Sequence[str],
        instrument_setup_attributes: set[str],
        domain: salobj.Domain | None = None,
        log: logging.Logger | None = None,
        intended_usage: int | None = None,
        tcs_ready_to_take_data: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(components=components, domain=domain, log=log, intended_usage=intended_usage)
        self.instrument_setup_attributes = instrument_setup_attributes
        self.ready_to_take_data = tcs_ready_to_take_data
        self.read_out_time = 2.0  # seconds
        self.shutter_time = 1  # seconds
        self.filter_change_timeout = 60  # seconds
        self.min_exptime = 0.1  # seconds: what the shutter can do
        self.exposure_event_timeout = 120.0  # seconds, from the camera's final acknowledgement to an event of the image
        self.cmd_lock = asyncio.Lock()

    @property
    @abc.abstractmethod
    def camera(self) -> salobj.Remote:
        """The remote of the camera itself."""

    @abc.abstractmethod
    async def setup_instrument(self, **kwargs: Any) -> None:
        """Set up the instrument for the next frames."""

    @staticmethod
    def next_group_id() -> str:
        """Return a new group id: the TAI time as text."""
        return str(utils.astropy_time_from_tai_unix(utils.current_tai()).isot)

    def get_image_types(self) -> list[str]:
        """Return the image types that `take_imgtype` knows."""
        return list(IMAGE_TYPES)

    # Frames

    async def take_bias(self, nbias: int, group_id: str | None = None, **kwargs: Any) -> list[int]:
        """Take biases; the keywords are those of `take_imgtype`."""
        return await self.take_imgtype("BIAS", 0.0, nbias, group_id=group_id, **kwargs)

    async def take_darks(self, exptime: float, ndarks: int, group_id: str | None = None, **kwargs: Any) -> list[int]:
        """Take darks of ``exptime`` seconds; the keywords are those of `take_imgtype`."""
        return await self.take_imgtype("DARK", exptime, ndarks, group_id=group_id, **kwargs)

    async def take_flats(self, exptime: float, nflats: int, group_id: str | None = None, **kwargs: Any) -> list[int]:
        """Take flats of ``exptime`` seconds; the keywords are those of `take_imgtype`."""
        return await self.take_imgtype("FLAT", exptime, nflats, group_id=group_id, **kwargs)

    async def take_imgtype(
        self,
        imgtype: str,
        exptime: float,
        n: int,
        n_snaps: int = 1,
        n_shift: int | None = None,
        row_shift: int | None = None,
        group_id: str | None = None,
        test_type: str | None = None,
        reason: str | None = None,
        program: str | None = None,
        sensors: str | None = None,
        note: str | None = None,
        checkpoint: Callable[[str], Awaitable[None]] | None = None,
        **kwargs: Any,
    ) -> list[int]:
        """Take frames of one type.

        Parameters
        ----------
        imgtype
            One of `get_image_types`.
        exptime
            Exposure time, seconds.
        n, n_snaps
            Number of commands, and of images that each of them takes.
        group_id
            Groups the exposures. None: a new one for this call.
        checkpoint
            Called before each command, with a text that says which one it is.
        **kwargs
            What is set up first, for frames with the shutter open: ``filter``.

        Returns
        -------
        list [int]
            The exposures' ids.

        Raises
        ------
        RuntimeError
            If the type is not known, or the exposure time too short for the shutter.
        NotImplementedError
            For stuttered images.
        salobj.AckError
            If the camera fails a command.
        TimeoutError
            If it does not start an image that it has acknowledged.
        """
        if imgtype not in self.get_image_types():
            raise RuntimeError(f"Image type {imgtype} is not one of {self.get_image_types()}.")
        if imgtype == "STUTTERED":
            raise NotImplementedError("This stand-in takes no stuttered images.")
        self.check_kwargs(**kwargs)
        with_light = imgtype not in DARK_IMAGE_TYPES
        if with_light:
            if exptime < self.min_exptime:
                raise RuntimeError(f"Exposure time {exptime} s is below the shutter's minimum, {self.min_exptime} s.")
            if self.ready_to_take_data is not None:
                await self.ready_to_take_data()
            await self.setup_instrument(**kwargs)
        exposure = CameraExposure(
            exp_time=exptime,
            shutter=with_light,
            image_type=imgtype,
            group_id=group_id if group_id is not None else self.next_group_id(),
            n=n,
            n_snaps=n_snaps,
            n_shift=n_shift,
            row_shift=row_shift,
            test_type=test_type,
            reason=reason,
            program=program,
            sensors=sensors,
            note=note,
        )
        return await self._take(exposure, checkpoint)

    def check_kwargs(self, **kwargs: Any) -> None:
        """Check the names of what is to be set up.

        Raises
        ------
        RuntimeError
            If the instrument can't set up one of them.
        """
        unknown = set(kwargs) - self.instrument_setup_attributes
        if unknown:
            raise RuntimeError(f"{sorted(unknown)} is not one of {sorted(self.instrument_setup_attributes)}.")

    async def expose(self, camera_exposure: CameraExposure) -> list[int]:
        """Take frames; return the exposures' ids."""
        return await self._take(camera_exposure, None)

    async def _take(self, exposure: CameraExposure, checkpoint: Callable[[str], Awaitable[None]] | None) -> list[int]:
        exposure_ids: list[int] = []
        async with self.cmd_lock:
            for i in range(exposure.n):
                if checkpoint is not None:
                    await checkpoint(f"{exposure.image_type} {i + 1} of {exposure.n}")
                exposure_ids += await self._take_snaps(exposure)
        return exposure_ids

    async def _take_snaps(self, exposure: CameraExposure) -> list[int]:
        command = self.camera.cmd_takeImages
        command.set(
            numImages=exposure.n_snaps,
            expTime=float(exposure.exp_time),
            shutter=bool(exposure.shutter),
            keyValueMap=exposure.key_value_map(),
            sensors=exposure.sensors or "",
            obsNote=exposure.note or "",
        )
        await self.wait_for_camera_readiness()
        await self.wait_for_camera_state(IDLE)
        self.camera.evt_startIntegration.flush()
        duration = (exposure.exp_time + self.read_out_time) * exposure.n_snaps
        await command.start(timeout=duration + self.long_long_timeout)
        return [await self.next_exposure_id() for _ in range(exposure.n_snaps)]

    async def next_exposure_id(self) -> int:
        """Return the id of the next exposure that the camera starts.

        The controller's letter in the image's name does not count here, as it does for the Butler.
        """
        started = await self.camera.evt_startIntegration.next(flush=False, timeout=self.exposure_event_timeout)
        _, _, yyyymmdd, sequence = started.imageName.split("_")
        return int(yyyymmdd + sequence[1:])

    # Readiness

    async def wait_for_camera_readiness(self) -> None:
        """Wait, without a limit, until the last image that the camera started is read out.

        A camera that has never published an image is taken for ready.
        """
        try:
            async with asyncio.timeout(self.long_timeout):
                started = await self.camera.evt_startIntegration.aget(timeout=self.long_timeout)
                ended = await self.camera.evt_endReadout.aget(timeout=self.long_timeout)
        except TimeoutError:
            self.log.warning("The camera published no image within %s s; it is taken for ready.", self.long_timeout)
            return
        limit = self.long_timeout + 2 * started.exposureTime + self.read_out_time
        while ended.imageName != started.imageName:
            try:
                ended = await self.camera.evt_endReadout.next(flush=False, timeout=limit)
            except TimeoutError:
                self.log.warning("No endReadout of %s within %s s; waiting on.", started.imageName, limit)

    async def wait_for_camera_state(self, substate: int) -> None:
        """Wait at most `fast_timeout` for a substate of ccsCommandState, if that is read; then go on with a warning."""
        event = getattr(self.camera, "evt_ccsCommandState", None)
        if event is None:
            return
        event.flush()
        try:
            async with asyncio.timeout(self.fast_timeout):
                state = await event.aget(timeout=self.fast_timeout)
                while state.substate != substate:
                    state = await event.next(flush=False, timeout=self.fast_timeout)
        except TimeoutError:
            self.log.warning(
                "The camera did not publish substate %d within %s s; going on.", substate, self.fast_timeout
            )
