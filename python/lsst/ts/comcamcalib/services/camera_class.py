# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The observatory's class for the camera, with a limit on its wait for the last image."""

from __future__ import annotations

import asyncio
import importlib
import logging
from typing import Any, Protocol

from lsst.ts import salobj

from ..clock import Clock
from ..errors import BadInputError
from ..instrument import Instrument
from .permission import Permission

__all__ = ["CameraControl", "camera_classes", "camera_with_limit"]


class CameraControl(Protocol):
    """What is used of a camera's class in ts_observatory_control."""

    camera: salobj.Remote
    start_task: asyncio.Future[None]

    async def close(self) -> None:
        """Close the remotes."""

    async def get_available_filters(self) -> list[str]:
        """Return the names of the filters in the camera."""

    async def get_current_filter(self) -> str:
        """Return the name of the filter in place."""

    async def setup_filter(self, filter: str) -> salobj.BaseMsgType | None:
        """Put a filter in place; return the event that says so."""

    async def take_imgtype(self, imgtype: str, exptime: float, n: int, **kwargs: Any) -> list[int]:
        """Take images and return their exposure ids."""


def camera_classes(instrument: Instrument) -> tuple[Any, Any]:
    """Return the camera's class and that of its usages; the first time, this imports them, which may take seconds.

    Raises
    ------
    BadInputError
        If the configuration names a class that there is not.
    """
    classes = []
    for field in ("camera_class", "usages_class"):
        path = getattr(instrument, field)
        module, _, name = path.rpartition(".")
        try:
            classes.append(getattr(importlib.import_module(module), name))
        except (ImportError, AttributeError) as error:
            raise BadInputError([f"instrument.{field}: there is no {path} here ({error})."]) from error
    return classes[0], classes[1]


def camera_with_limit(
    instrument: Instrument,
    domain: salobj.Domain,
    readout_limit_s: float,
    clock: Clock,
    permission: Permission,
    log: logging.Logger,
) -> CameraControl:
    """Make an object of the camera's class that stops waiting for an image that can't be in progress any more.

    After its waits it asks whether the process may still take an image.

    Parameters
    ----------
    instrument
        The instrument, which names the class.
    domain
        Domain of the CSC.
    readout_limit_s
        The longest time from the end of an exposure to endReadout (seconds).
    clock
        The clock.
    permission
        Whether this process may do anything outside.
    log
        Logger for the message about an image without endReadout.
    """
    base, usages = camera_classes(instrument)
    added = {"readout_limit_s": readout_limit_s, "readout_clock": clock, "image_permission": staticmethod(permission)}
    made: Any = type(f"{base.__name__}WithLimit", (_WithLimit, base), added)
    control: CameraControl = made(domain, log=log, intended_usage=usages.TakeImage)
    return control


class _WithLimit:
    """What a camera's class gets in addition.

    Before each image the class waits for the endReadout of the last one that began. After a fault in mid-exposure it
    never comes, and the class would wait until somebody takes an image in another way.
    """

    camera: salobj.Remote
    log: logging.Logger
    readout_limit_s: float
    readout_clock: Clock
    image_permission: Permission

    async def wait_for_camera_readiness(self) -> None:
        """Wait until the last image is read out, or its time for that is over."""
        self.camera.evt_endReadout.flush()
        # The last samples were read when the remote started; if there is none, no image was ever taken.
        while (last := self.camera.evt_startIntegration.get()) is not None and not self._is_read_out(last):
            end_tai = last.private_sndStamp + last.exposureTime + self.readout_limit_s
            try:
                async with asyncio.timeout(max(end_tai - self.readout_clock.tai(), 0.0)):
                    await self.camera.evt_endReadout.next(flush=False)
            except TimeoutError:
                self.log.warning(
                    "The camera never reported the readout of %s, and its time for that is over: going on without it.",
                    last.imageName,
                )
                break
        # The class takes the next startIntegration in its queue for the next image's, so those of earlier ones must go.
        self.camera.evt_startIntegration.flush()

    async def wait_for_camera_state(self, *args: Any, **kwargs: Any) -> None:
        """Wait for a state of the camera, which is the last wait before an image; then ask whether it may be taken."""
        await super().wait_for_camera_state(*args, **kwargs)  # type: ignore[misc]
        await self.image_permission()

    def _is_read_out(self, image: salobj.BaseMsgType) -> bool:
        """Whether this image is the last one that was read out."""
        end = self.camera.evt_endReadout.get()
        return end is not None and bool(end.imageName == image.imageName)
