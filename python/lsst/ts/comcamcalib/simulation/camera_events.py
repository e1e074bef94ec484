# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fields of the camera's events, the text formats that they use, and the values of its substates."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from typing import Any

from lsst.ts import salobj, utils

from .layout import DETECTOR_NAMES, RAFT, DetectorLayout
from .world import Image

__all__ = [
    "CommandState",
    "FilterChangerState",
    "ImageEvents",
    "OfflineState",
    "RaftsState",
    "ShutterState",
    "filter_fields",
    "image_fields",
    "join_escaped",
    "parse_key_value_map",
    "readout_parameters",
]

ITL = 2  # value of ccdType
FILTER_SPACING_MM = 150.0
# How long after the exposure the header service waits for an image's last event (seconds).
HEADER_TIMEOUT_S = 10.0


class CommandState(enum.IntEnum):
    """Substates of ccsCommandState."""

    IDLE = 1
    BUSY = 2


class RaftsState(enum.IntEnum):
    """Substates of raftsDetailedState."""

    NEEDS_CLEAR = 1
    CLEARING = 2
    INTEGRATING = 3
    READING_OUT = 4
    QUIESCENT = 5
    DISCARDING = 6


class ShutterState(enum.IntEnum):
    """Substates of shutterDetailedState."""

    CLOSED = 1
    OPEN = 2
    CLOSING = 3
    OPENING = 4


class FilterChangerState(enum.IntEnum):
    """Substates of filterChangerDetailedState that a change runs through."""

    UNLOADING = 1
    LOADING = 2
    LOADED = 3


class OfflineState(enum.IntEnum):
    """Substates of offlineDetailedState."""

    OFFLINE_AVAILABLE = 1
    OFFLINE_PUBLISH_ONLY = 2


def parse_key_value_map(text: str) -> dict[str, str]:
    """Return the keys and values of ``key: value, key: value``.

    The first colon of a part ends its key, so a value may hold colons; there is no escape for commas.

    Raises
    ------
    ValueError
        If a part has no colon or no key, or a key comes twice.
    """
    keys: dict[str, str] = {}
    for part in text.split(",") if text.strip() else ():
        key, colon, value = part.partition(":")
        key = key.strip()
        if not colon or not key or key in keys:
            raise ValueError(f"keyValueMap: {part.strip()!r} in {text!r} is not `key: value` with a new key.")
        keys[key] = value.strip()
    return keys


def join_escaped(values: Iterable[str]) -> str:
    r"""Join values by colons, with a backslash before each colon and backslash within a value."""
    return ":".join(value.replace("\\", "\\\\").replace(":", "\\:") for value in values)


def image_fields(image: Image) -> dict[str, Any]:
    """Return the fields that all events of an image have."""
    return {
        "additionalKeys": join_escaped(image.keys.keys()),
        "additionalValues": join_escaped(image.keys.values()),
        "imagesInSequence": image.count,
        "imageName": image.name,
        "imageIndex": image.index,
        "imageSource": "CC",
        "imageController": "O",
        "imageDate": str(image.day_obs),
        "imageNumber": image.seq_num,
        "timestampAcquisitionStart": image.begin_tai,
    }


def filter_fields(name: str, installed: Sequence[str]) -> dict[str, Any]:
    """Return the fields that say which of the installed filters is in place."""
    slot = installed.index(name) + 1
    return {
        "filterName": name,
        "filterType": name[0],
        "filterSlot": slot,
        "filterPosition": FILTER_SPACING_MM * (slot - 2),
    }


def readout_parameters(image_name: str, layout: DetectorLayout) -> dict[str, Any]:
    """Return the fields of imageReadoutParameters; sizes in pixel."""
    count = len(DETECTOR_NAMES)
    return {
        "imageName": image_name,
        "ccdLocation": ":".join(name.replace("_", "") for name in DETECTOR_NAMES),
        "raftBay": ":".join([RAFT] * count),
        "ccdSlot": ":".join(name.split("_")[1] for name in DETECTOR_NAMES),
        "ccdType": [ITL] * count,
        "overRows": [0] * count,
        "overCols": [layout.overscan_columns] * count,
        "readRows": [layout.amplifier_rows] * count,
        "readCols": [layout.amplifier_columns] * count,
    }


class ImageEvents:
    """Publishes the events of an image in the name of the camera."""

    def __init__(self, camera: salobj.Controller) -> None:
        self._camera = camera

    async def start_integration(self, image: Image) -> None:
        """Publish: the integration has begun."""
        await self._camera.evt_startIntegration.set_write(
            **image_fields(image),
            exposureTime=image.exposure_time_s,
            mode="normal",
            timeout=image.exposure_time_s + HEADER_TIMEOUT_S,
        )

    async def start_readout(self, image: Image) -> None:
        """Publish: the readout has begun."""
        await self._camera.evt_startReadout.set_write(
            **image_fields(image),
            exposureTime=image.exposure_time_s,
            timestampStartOfReadout=utils.current_tai(),
        )

    async def end_readout(self, image: Image) -> None:
        """Publish: the readout has ended."""
        await self._camera.evt_endReadout.set_write(
            **image_fields(image),
            requestedExposureTime=image.exposure_time_s,
            timestampEndOfReadout=utils.current_tai(),
        )

    async def end_of_telemetry(self, image: Image) -> None:
        """Publish: all that belongs to the image has been published."""
        await self._camera.evt_endOfImageTelemetry.set_write(
            **image_fields(image),
            exposureTime=image.exposure_time_s,
            imageTag=f"{image.exposure_id:x}",
            timestampDateObs=image.begin_tai,
            timestampDateEnd=image.end_tai,
            measuredShutterOpenTime=image.exposure_time_s if image.image_type == "FLAT" else 0.0,
            darkTime=image.exposure_time_s,
        )
