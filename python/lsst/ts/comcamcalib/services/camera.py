# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Frames from LSSTComCam, one at a time."""

from __future__ import annotations

import dataclasses
from typing import Protocol

__all__ = ["Camera", "FrameRequest", "TakenFrame"]


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


class Camera(Protocol):
    """What the stages need of the camera."""

    async def start(self) -> None:
        """Get ready to take frames."""

    async def close(self) -> None:
        """Stop listening to the camera."""

    async def set_filter(self, filter_name: str) -> None:
        """Put a filter in place, if it is not there already.

        Raises
        ------
        ServiceError
            If there is no such filter (the message names those there are), or it did not arrive within its limit.
        """

    async def take(self, request: FrameRequest) -> TakenFrame:
        """Take one frame and wait until it is read out.

        Raises
        ------
        ServiceError
            If the frame was not taken and read out within the limit, or the camera left ENABLED. The message names
            the image if one had been started.
        """
