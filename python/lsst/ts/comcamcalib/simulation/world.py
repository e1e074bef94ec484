# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The world that all simulators of one observatory share: its clock, focal plane, faults and images."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import datetime
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

from lsst.ts import utils

from . import frame_faults
from .faults import Fault, Faults
from .focal_plane import FocalPlane
from .frame_faults import Light
from .layout import AMPLIFIER_NAMES

__all__ = ["Image", "World", "day_obs_of", "detector_faults"]

P = ParamSpec("P")
T = TypeVar("T")

# What strikes single exposures.
EXPOSURE_EFFECTS = frozenset({"lamp", "lamp_drift", "leak", "pickup"})
# What a detector has for as long as the fault is in force, and the attribute of the focal plane's fault.
DETECTOR_EFFECTS = {"noise": "read_noise_factor", "gain": "gain_factor", "hot_column": "hot_column_rate", "dead": ""}

# The observing day begins at noon (LSE-400).
DAY_OBS_ROLLOVER_S = 12 * 3600


def day_obs_of(tai: float) -> int:
    """Return the observing day, such as 20261122, of an instant (TAI unix seconds)."""
    day = datetime.datetime.fromtimestamp(tai - DAY_OBS_ROLLOVER_S, datetime.UTC)
    return int(day.strftime("%Y%m%d"))


@dataclasses.dataclass(frozen=True)
class Image:
    """An image of the camera: what was asked for, and when it was taken.

    Attributes
    ----------
    day_obs, seq_num
        Observing day (such as 20261122) and number of the image on that day, from 1.
    index, count
        Number of the image, from 1, among those of its takeImages command.
    image_type
        BIAS, DARK or FLAT.
    exposure_time_s
        Seconds that it integrates.
    physical_filter
        The filter in place.
    keys
        Names and values of the command's keyValueMap: groupId, testType, reason and so on.
    note
        The command's obsNote.
    begin_tai, end_tai
        Begin and end of the integration, TAI unix seconds of the wall clock; 0 when not yet. An observatory that runs
        faster than the clock integrates for fewer of them than ``exposure_time_s``.
    """

    day_obs: int
    seq_num: int
    index: int
    count: int
    image_type: str
    exposure_time_s: float
    physical_filter: str
    keys: Mapping[str, str]
    note: str = ""
    begin_tai: float = 0.0
    end_tai: float = 0.0

    @property
    def name(self) -> str:
        """The image's name, which is its obs_id: camera CC (ComCam), controller O (the OCS)."""
        return f"CC_O_{self.day_obs}_{self.seq_num:06d}"

    @property
    def exposure_id(self) -> int:
        """The Butler's exposure id: the day followed by five digits."""
        return self.day_obs * 100_000 + self.seq_num

    @property
    def group_id(self) -> str:
        """The group that the client gave, or the image's own name."""
        return self.keys.get("groupId") or self.name


class World:
    """What camera, header service, OODS and observatory have in common.

    Parameters
    ----------
    sound_focal_plane
        The focal plane without faults.
    faults
        The faults in force.
    speed
        How many times faster than the clock the instrument works: exposures, readout, filter changes, ingest.
    seed
        Of what varies from file to file: latencies and order of the ingest.

    Attributes
    ----------
    random : random.Random
        For the event loop's thread only.
    """

    def __init__(self, sound_focal_plane: FocalPlane, faults: Faults, speed: float = 1.0, seed: int = 1) -> None:
        if speed <= 0:
            raise ValueError(f"The observatory's speed is {speed:g}; it must be above 0.")
        self.faults = faults
        self.speed = speed
        self.random = random.Random(seed)
        self._sound_focal_plane = sound_focal_plane
        self._last_seq_num: dict[int, int] = {}
        self._listeners: list[Callable[[Image], None]] = []
        self._without_header: set[str] = set()
        # Everything that touches pixels or the Butler runs here, one piece after the other.
        self._worker = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="simulated-data")

    @property
    def focal_plane(self) -> FocalPlane:
        """The focal plane with the faults in force, in its normal light."""
        return dataclasses.replace(self._sound_focal_plane, faults=detector_faults(self.faults.at("focal_plane")))

    def focal_plane_for(self, image: Image) -> FocalPlane:
        """Return the focal plane as it was while this image was exposed, with the faults that strike it.

        To be called once for each image, in the order of the images. The fault hook is asked as place ``focal_plane``
        with ``image_type`` and ``exposure_id``. Effects: ``lamp`` (the lamp is ``value`` times as bright as normal, 0
        is off), ``lamp_drift`` (with each image that it strikes, the lamp's brightness is multiplied by ``value``,
        beginning after the first one), ``leak`` (stray light gives each pixel about ``value`` electrons), ``pickup``
        (all readouts pick up a wave of ``value`` electrons from a source nearby).
        """
        lamp, leak_electrons, pickup_electrons = 1.0, 0.0, 0.0
        for fault, number in self.faults.strike_all(
            "focal_plane", image_type=image.image_type, exposure_id=image.exposure_id
        ):
            match fault.effect:
                case "lamp":
                    lamp *= fault.value
                case "lamp_drift":
                    lamp *= fault.value ** (number - 1)
                case "leak":
                    leak_electrons += fault.value
                case "pickup":
                    pickup_electrons += fault.value
        light = Light(lamp, leak_electrons)
        return dataclasses.replace(self.focal_plane, light=light, pickup_electrons=pickup_electrons)

    async def sleep(self, seconds: float) -> None:
        """Wait for a time (seconds) of the instrument, which is shorter on the clock."""
        await asyncio.sleep(seconds / self.speed)

    def set_last_image(self, day_obs: int, seq_num: int) -> None:
        """Register an image that exists already; the next one of that day gets a higher number."""
        self._last_seq_num[day_obs] = max(seq_num, self._last_seq_num.get(day_obs, 0))

    def next_image_id(self) -> tuple[int, int]:
        """Return observing day and number of a new image, as the image name service does."""
        day_obs = day_obs_of(utils.current_tai())
        seq_num = self._last_seq_num.get(day_obs, 0) + 1
        self._last_seq_num[day_obs] = seq_num
        return day_obs, seq_num

    def add_listener(self, listener: Callable[[Image], None]) -> None:
        """Call ``listener`` with each image that has been read out, in the event loop; it must not block."""
        self._listeners.append(listener)

    def image_taken(self, image: Image) -> None:
        """Call all listeners: an image has been read out."""
        for listener in self._listeners:
            listener(image)

    def lose_header(self, image: Image) -> None:
        """Register that the header service has made no header for an image."""
        self._without_header.add(image.name)

    def lacks_header(self, image: Image) -> bool:
        """Return whether the header service has made no header for an image."""
        return image.name in self._without_header

    async def in_worker(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that blocks in the world's one worker thread; return what it returns."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, lambda: function(*args, **kwargs))

    async def close(self) -> None:
        """Wait for the piece of work in progress; drop the rest."""
        self._listeners.clear()
        await asyncio.to_thread(self._worker.shutdown, wait=True, cancel_futures=True)


def detector_faults(faults: Iterable[Fault]) -> tuple[frame_faults.Fault, ...]:
    """Return what faults of the place ``focal_plane`` do to detectors; those of single exposures are left out.

    Raises
    ------
    ValueError
        If the focal plane has no such effect, or a fault names no detector.
    """
    return tuple(_focal_plane_fault(fault) for fault in faults if fault.effect not in EXPOSURE_EFFECTS)


def _focal_plane_fault(fault: Fault) -> frame_faults.Fault:
    """Translate a fault of the hook into one of the focal plane."""
    detector = fault.match.get("detector")
    if fault.effect not in DETECTOR_EFFECTS or not isinstance(detector, int):
        of_exposures, of_detectors = (
            ", ".join(f"`{effect}`" for effect in sorted(effects)) for effects in (EXPOSURE_EFFECTS, DETECTOR_EFFECTS)
        )
        raise ValueError(
            f"The focal plane's faults are {of_exposures}, and {of_detectors} of a `detector`, not {fault}."
        )
    amplifier, image_type = fault.match.get("amplifier"), fault.match.get("image_type")
    sound = frame_faults.Fault(
        detector=detector,
        amplifiers=AMPLIFIER_NAMES if amplifier is None else (str(amplifier),),
        image_types=frame_faults.IMAGE_TYPES if image_type is None else (str(image_type),),
        is_dead=fault.effect == "dead",
    )
    values: dict[str, Any] = {DETECTOR_EFFECTS[fault.effect]: fault.value}
    return dataclasses.replace(sound, **values) if fault.effect != "dead" else sound
