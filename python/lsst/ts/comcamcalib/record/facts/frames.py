# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of frames; a frame is identified by its type and its position in the sequence."""

from __future__ import annotations

from typing import Literal

from ...enums import CalibType
from .base import FactModel

__all__ = [
    "FrameAbsent",
    "FrameGivenUp",
    "FrameIntended",
    "FrameSettled",
    "FrameStray",
    "FrameTaken",
    "FramesBlamed",
]


class FrameIntended(FactModel):
    """A frame is about to be taken."""

    kind: Literal["frame_intended"] = "frame_intended"
    calib_type: CalibType
    index: int
    """Position in the sequence, from 1; frames that are taken again get the next free one."""
    exposure_time_s: float
    discarded: bool = False
    replaces: int = 0
    """Position of the planned frame instead of which it is taken; 0: it is planned itself."""


class FrameTaken(FactModel):
    """A frame was taken and read out."""

    kind: Literal["frame_taken"] = "frame_taken"
    calib_type: CalibType
    index: int
    exposure_id: int
    obs_id: str
    taken_s: float
    """When its integration began."""
    found: bool = False
    """Whether it was found after the process that had it taken ended."""


class FrameAbsent(FactModel):
    """An intended frame was looked for, and was not taken."""

    kind: Literal["frame_absent"] = "frame_absent"
    calib_type: CalibType
    index: int
    reason: str


class FrameSettled(FactModel):
    """It is known which files of a frame are in the repository."""

    kind: Literal["frame_settled"] = "frame_settled"
    calib_type: CalibType
    index: int
    detectors_ingested: int
    detectors_failed: int
    missing: tuple[int, ...] = ()
    """Detectors whose files are not there."""
    reason: str = ""


class FrameGivenUp(FactModel):
    """A frame is not used, and is to be taken again."""

    kind: Literal["frame_given_up"] = "frame_given_up"
    calib_type: CalibType
    index: int
    reason: str


class FrameStray(FactModel):
    """An exposure with the run's group id is one too many; it is never used."""

    kind: Literal["frame_stray"] = "frame_stray"
    calib_type: CalibType
    exposure_id: int
    obs_id: str
    reason: str


class FramesBlamed(FactModel):
    """No good product can be made from the frames of a type; with an empty reason: that was wrong."""

    kind: Literal["frames_blamed"] = "frames_blamed"
    calib_type: CalibType
    reason: str
