# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Camera and OODS: exposures that go on whatever becomes of the client, and their files."""

from __future__ import annotations

import dataclasses
import datetime
import functools

from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.services.oods import IngestNotice
from support.world import VISITED, Exposure
from support.world import World as Products

from .faults import DETECTORS, NightPlan
from .timeline import Timeline

__all__ = ["CameraWorld", "Image"]

READOUT_S = 2.0


@dataclasses.dataclass(frozen=True)
class Image(Exposure):
    """An image that the camera began."""

    began_s: float = 0.0
    """TAI unix seconds."""

    @property
    def obs_id(self) -> str:
        """The camera's name of it."""
        return f"CC_O_{self.exposure_id // 100000}_{self.exposure_id % 100000:06d}"


class CameraWorld(Products, Timeline):
    """A world with a camera and an OODS.

    Parameters
    ----------
    config
        Configuration of the pipelines.
    plan
        What goes wrong.
    """

    def __init__(self, config: CscConfig, plan: NightPlan) -> None:
        Products.__init__(self, config)
        Timeline.__init__(self, plan)
        self.camera_fault = False
        self.busy_until_s = 0.0
        """When the command to the camera is over (seconds of the night)."""
        self.images: dict[int, Image] = {}
        """All that were begun, by exposure id."""
        self.read_out: set[int] = set()

    @property
    def busy(self) -> bool:
        """Whether the camera is doing a command."""
        return self.time_s < self.busy_until_s

    def expose_for(self, kind: str, seconds: float, group_id: str) -> None:
        """Do takeImages: an exposure that goes on to its end whatever becomes of the client."""
        faults = self.faults_of_next("exposure")
        if "refused" in faults or self.camera_fault:
            self.publish(0.1, lambda audience: audience.on_taken("takeImages was rejected"))
            return
        if self.bus_delay_s:
            self.after(self.bus_delay_s, lambda: self._expose(kind, seconds, group_id, faults))
        else:
            self._expose(kind, seconds, group_id, faults)
        self.on_act("takeImages")

    def _expose(self, kind: str, seconds: float, group_id: str, faults: frozenset[str]) -> None:
        dice = self.dice("camera")
        readout_s = dice.uniform(10.0, 60.0) if "slow readout" in faults else READOUT_S
        start_s = dice.uniform(0.1, 0.5)
        if "stranger" in faults:
            stranger_s = dice.uniform(1.0, 30.0)
            self.after(start_s, lambda: self._start("DARK", stranger_s, "somebody else's", READOUT_S, frozenset()))
            start_s += stranger_s + READOUT_S + dice.uniform(0.1, 1.0)
        self.busy_until_s = self.time_s + start_s + seconds + readout_s + 0.2
        self.after(start_s, lambda: self._start(kind, seconds, group_id, readout_s, faults))

    def _start(self, kind: str, seconds: float, group_id: str, readout_s: float, faults: frozenset[str]) -> None:
        if self.camera_fault:
            return
        now = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=self.true_tai_s)
        day_obs = int(f"{now - datetime.timedelta(hours=12):%Y%m%d}")
        number = sum(one // 100000 == day_obs for one in self.images) + 1
        image = Image(day_obs * 100000 + number, kind, seconds, group_id, now, self.true_tai_s)
        self.images[image.exposure_id] = image
        dice = self.dice("camera events")
        self.publish(dice.uniform(0.01, 0.3), lambda audience: audience.on_start(image))
        if "camera in FAULT" in faults:
            self.after(dice.uniform(0.0, seconds + readout_s), self._fault)
        else:
            self.after(seconds + readout_s, lambda: self._end(image, faults))
        self.on_act("startIntegration")

    def _fault(self) -> None:
        """Lose the image in progress; somebody enables the camera again after a while."""
        self.camera_fault, self.busy_until_s = True, self.time_s
        self.publish(0.1, lambda audience: audience.on_camera_fault())
        self.after(self.dice("repair").uniform(20.0, 300.0), self._repair)

    def _repair(self) -> None:
        self.camera_fault = False

    def _end(self, image: Image, faults: frozenset[str]) -> None:
        """Read out: from now on the exposure exists, and its files are on their way."""
        self.read_out.add(image.exposure_id)
        self.exposures[image.exposure_id] = image
        dice = self.dice("camera events")
        if "end not seen" not in faults:
            self.publish(dice.uniform(0.01, 0.3), lambda audience: audience.on_end(image))
        if image.group_id != "somebody else's":
            error = "the command failed" if "failed after readout" in faults else ""
            if "stranger" in faults and dice.random() < 0.5:
                error = "somebody else takes images at the same time"
            self.publish(dice.uniform(0.01, 0.3), lambda audience: audience.on_taken(error))
        self._send_files(image)
        self.on_act("endReadout")

    # Files

    def _send_files(self, image: Image) -> None:
        faults, dice = self.faults_of_next("files"), self.dice("files")
        odd = dice.randrange(9) if faults & {"one lost", "failed at first", "unreadable at first"} else -1
        if "one lost" in faults:
            odd = dice.choice(DETECTORS)
        for detector in range(9):
            delay_s = dice.uniform(60.0, 200.0) if "late" in faults else dice.uniform(3.0, 20.0)
            if detector == odd and "one lost" in faults:
                continue
            if detector == odd:
                code = 1 if "failed at first" in faults else 2
                self.after(delay_s / 2, functools.partial(self._fail, image, detector, code))
            self.after(delay_s, functools.partial(self._ingest, image, detector, faults))

    def _fail(self, image: Image, detector: int, code: int) -> None:
        notice = IngestNotice(image.exposure_id, detector, False, "ingest failure: try again")
        if code == 2:
            notice = IngestNotice(None, None, False, "metadata failure: no header")
        self.publish(0.1, lambda audience: audience.on_notice(notice))

    def _ingest(self, image: Image, detector: int, faults: frozenset[str]) -> None:
        if "OODS down" in self.down:
            self.after(5.0, lambda: self._ingest(image, detector, faults))
            return
        self.raws.add((image.exposure_id, detector))
        self.filters.setdefault(image.exposure_id, VISITED)
        if "silent" in faults:
            return
        dice = self.dice("notices")
        notice = IngestNotice(image.exposure_id, detector, True, "file ingested")
        for _ in range(2 if "doubled" in faults else 1):
            self.publish(dice.uniform(0.01, 2.0), lambda audience: audience.on_notice(notice))

    def raws_known(self, exposure_id: int) -> bool:
        """Whether the repository has a file of an exposure, and so knows it."""
        return any((exposure_id, detector) in self.raws for detector in range(9))
