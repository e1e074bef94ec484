# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the camera is busy, according to its events."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping

from lsst.ts import salobj

from ..clock import Clock, moment_tai
from ..instrument import Instrument
from .exposure import TakenFrame, group_of

__all__ = ["CameraActivity"]

MAX_BEGUN = 100
"""Largest number of images that are kept."""

BUSY = 2
"""ccsCommandState while a command is being done; 1 is IDLE."""

RAFTS_AT_WORK = {3: "INTEGRATING", 4: "READING_OUT", 6: "DISCARDING"}
"""Substates of raftsDetailedState in which no image can be taken. Clearing happens between images, too."""


class CameraActivity:
    """The camera's activity, from its events.

    Kafka keeps the order only within a topic, so samples are compared by the times at which they were sent. The last
    samples from before the start count, too.

    Parameters
    ----------
    instrument
        The instrument, with the name of the camera's component and the rule of its image names.
    readout_limit_s
        The longest time from the end of an exposure to endReadout (seconds).
    clock
        The clock.
    """

    def __init__(self, instrument: Instrument, readout_limit_s: float, clock: Clock) -> None:
        self._camera = instrument.camera
        self._image_names = instrument.image_names
        self._readout_limit_s = readout_limit_s
        self._clock = clock
        self._begun: dict[str, str | None] = {}  # group ids of the last images that began, by name
        self._begun_s: dict[str, float] = {}  # when they began (TAI unix seconds)
        self._last: salobj.BaseMsgType | None = None  # startIntegration
        self._ended: set[str] = set()
        self._command: salobj.BaseMsgType | None = None  # ccsCommandState
        self._rafts: salobj.BaseMsgType | None = None  # raftsDetailedState

    @property
    def images_begun(self) -> Mapping[str, str | None]:
        """Group ids of the last images that began, by name, oldest first; None: it has none."""
        return self._begun

    def images_of_others(self, groups: Collection[str]) -> tuple[set[str], set[str]]:
        """Return the names of the last images without one of these group ids: those read out, and those in progress.

        An image that never ended and whose time is over is neither.
        """
        theirs = {name for name, group in self._begun.items() if group not in groups}
        in_progress = {self._last.imageName} if self._last is not None and self._image_in_progress() else set()
        return theirs & self._ended, theirs & in_progress

    def taken_for(self, group_id: str) -> list[TakenFrame]:
        """Return the last exposures that were taken with a group id and are read out, oldest first.

        An image without an exposure id is left out; it can't be in the repository either.
        """
        found = []
        for name, group in self._begun.items():
            if group == group_id and name in self._ended:
                with contextlib.suppress(ValueError):
                    found.append(TakenFrame(self._image_names.exposure_id(name), name, self._begun_s[name]))
        return found

    def on_start(self, data: salobj.BaseMsgType) -> None:
        """Note a startIntegration."""
        self._begun[data.imageName] = group_of(data)
        self._begun_s[data.imageName] = data.timestampAcquisitionStart or data.private_sndStamp
        self._last = data
        while len(self._begun) > MAX_BEGUN:
            self._ended.discard(gone := next(iter(self._begun)))
            del self._begun[gone], self._begun_s[gone]

    def on_end(self, data: salobj.BaseMsgType) -> None:
        """Note an endReadout; it may arrive before the image's startIntegration."""
        self._ended.add(data.imageName)
        if len(self._ended) > 2 * MAX_BEGUN:
            self._ended &= {*self._begun, data.imageName}

    def on_command_state(self, data: salobj.BaseMsgType) -> None:
        """Note a ccsCommandState."""
        self._command = data

    def on_rafts_state(self, data: salobj.BaseMsgType) -> None:
        """Note a raftsDetailedState."""
        self._rafts = data

    @property
    def known(self) -> bool:
        """Whether any event has shown whether the camera is busy."""
        return self._command is not None or self._last is not None

    def obstacle(self) -> str:
        """Return why no image can be taken now, in a sentence; "" if no event shows an obstacle.

        If a camera is idle for days, the broker no longer has its events; so missing events are not an obstacle.
        """
        image = self._image_in_progress()
        busy = self._command is not None and self._command.substate == BUSY
        rafts = RAFTS_AT_WORK.get(self._rafts.substate, "") if self._rafts is not None else ""
        if not (image or busy or rafts):
            return ""
        if image:
            return (
                f"{self._camera} is taking an image: {image}. Wait until its ccsCommandState is IDLE, then start again."
            )
        what, idle = f"{self._camera} is doing a command.", "ccsCommandState is IDLE"
        if not busy:
            what, idle = f"{self._camera} is busy: its rafts are {rafts}.", "raftsDetailedState is QUIESCENT"
        return f"{what} Wait until its {idle}, then start again; if it never is, check {self._camera}."

    def _image_in_progress(self) -> str:
        """Return a text about the image that is being taken, "" if there is none."""
        last = self._last
        if last is None or last.imageName in self._ended:
            return ""
        command = self._command
        if command is not None and command.substate != BUSY and command.private_sndStamp > last.private_sndStamp:
            return ""  # its command is over, so an image that has not ended by now will never end
        until_tai = last.private_sndStamp + last.exposureTime + self._readout_limit_s
        if until_tai < self._clock.tai():
            return ""
        until = f"{moment_tai(until_tai):%H:%M:%S}"
        return f"{last.imageName} of {last.exposureTime:g} s, until {until} TAI at the latest"
