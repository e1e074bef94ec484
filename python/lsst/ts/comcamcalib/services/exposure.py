# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""One frame of the camera, followed by the camera's events while it is being taken."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from typing import Any, TypeVar

from lsst.ts import salobj

from ..errors import ServiceError
from ..instrument import ImageNames

__all__ = ["Exposure", "FrameRequest", "TakenFrame", "cause_of", "group_of"]

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class FrameRequest:
    """One frame to take.

    Parameters
    ----------
    image_type
        ``BIAS``, ``DARK`` or ``FLAT``.
    exposure_time_s
        Exposure time (seconds); not used for a BIAS.
    group_id
        The header's group id, by which the frame is recognised among the camera's events.
    reason, program, test_type
        Image headers; the camera's keyValueMap has no escape, so neither ``,`` nor ``:`` may be in them.
    note
        The observer's note.
    """

    image_type: str
    exposure_time_s: float
    group_id: str
    reason: str = ""
    program: str = ""
    test_type: str = ""
    note: str = ""

    def describe(self) -> str:
        """Return words for it."""
        return f"{self.image_type} frame of group {self.group_id}"


@dataclasses.dataclass(frozen=True)
class TakenFrame:
    """A frame that was read out completely.

    Parameters
    ----------
    exposure_id
        Butler's exposure id.
    obs_id
        The camera's image name, such as ``CC_O_20261122_000012``.
    timestamp_taken_s
        When the integration began (TAI unix seconds).
    """

    exposure_id: int
    obs_id: str
    timestamp_taken_s: float


class Exposure:
    """One frame while it is being taken.

    Parameters
    ----------
    request
        The requested frame.
    image_names
        The camera's rule of exposure ids.

    Attributes
    ----------
    started
        Done when the integration of the frame began.
    read_out
        Done when it was read out.
    """

    def __init__(self, request: FrameRequest, image_names: ImageNames) -> None:
        loop = asyncio.get_running_loop()
        self.request = request
        self._image_names = image_names
        self.started: asyncio.Future[None] = loop.create_future()
        self.read_out: asyncio.Future[None] = loop.create_future()
        self._failed: asyncio.Future[str] = loop.create_future()
        self._ended: set[str] = set()
        self._obs_id = ""
        self._timestamp_s = 0.0

    def on_start(self, data: salobj.BaseMsgType) -> None:
        """Note a startIntegration if it is this frame's."""
        if self.started.done() or group_of(data) != self.request.group_id:
            return
        self._obs_id = data.imageName
        # Both are TAI; if the camera leaves out the first, the time at which the event was sent is used.
        self._timestamp_s = data.timestampAcquisitionStart or data.private_sndStamp
        self.started.set_result(None)
        self._see_read_out()

    def on_end(self, data: salobj.BaseMsgType) -> None:
        """Note an endReadout; because it is another topic, it may arrive before startIntegration."""
        self._ended.add(data.imageName)
        self._see_read_out()

    def _see_read_out(self) -> None:
        """Check whether this frame's image is among those that were read out."""
        if self.started.done() and self._obs_id in self._ended and not self.read_out.done():
            self.read_out.set_result(None)

    def fail(self, sentence: str) -> None:
        """End all waits for this frame with an error."""
        if not self._failed.done():
            self._failed.set_result(sentence)

    def forget(self) -> None:
        """Cancel futures that nothing waits for any more."""
        for future in (self.started, self.read_out, self._failed):
            future.cancel()

    async def unless_failed(self, step: asyncio.Future[T], limit_s: float, name: str) -> T:
        """Wait for a step of the frame until the limit is over or the frame has failed.

        Raises
        ------
        ServiceError
            If the step did not come, or failed.
        """
        either: list[asyncio.Future[Any]] = [step, self._failed]
        await asyncio.wait(either, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if self._failed.done():
            raise ServiceError(f"{self.describe()} was not taken: {self._failed.result()} during it.")
        if not step.done():
            raise ServiceError(f"{self.describe()} was not taken: no {name} came within {limit_s:g} s.")
        try:
            return step.result()
        except Exception as error:
            raise ServiceError(f"{self.describe()} was not taken: {cause_of(error, limit_s)}.") from error

    def frame(self) -> TakenFrame:
        """Return the frame, which was read out.

        Raises
        ------
        ServiceError
            If it has no exposure id.
        """
        try:
            exposure_id = self._image_names.exposure_id(self._obs_id)
        except ValueError as error:
            raise ServiceError(f"{self.describe()} has no exposure id: {error}") from error
        return TakenFrame(exposure_id, self._obs_id, self._timestamp_s)

    def describe(self) -> str:
        """Return a text for the frame, with its image name if it has one."""
        return self.request.describe() + (f" (image {self._obs_id})" if self._obs_id else "")


def group_of(data: salobj.BaseMsgType) -> str | None:
    """Return the group id that the camera was given for an image's header, None if it was given none.

    Keys and values come as two lists in the same order, both separated by colons. A colon or backslash within a value
    has a backslash before it.
    """
    keys, values = (_split(text) for text in (data.additionalKeys, data.additionalValues))
    return dict(zip(keys, values, strict=False)).get("groupId")


def _split(text: str) -> list[str]:
    """Split a text at its colons, except those after a backslash, and remove the backslashes."""
    return [re.sub(r"\\(.)", r"\1", part).strip() for part in re.split(r"(?<!\\):", text)]


def cause_of(error: BaseException, limit_s: float) -> str:
    """Return the cause of an error of ComCam as text."""
    if isinstance(error, salobj.AckTimeoutError) or (isinstance(error, TimeoutError) and not str(error)):
        return f"there was no answer within its limit (at most {limit_s:g} s)"
    if isinstance(error, salobj.AckError):
        return f"the camera said: {error.ackcmd.result}"
    return str(error) or type(error).__name__
