# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated CCHeaderService: writes a header file for each image and publishes where it is.

Known limitation: it hears of an image when it is complete, so it never gives up waiting for one.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import yaml
from lsst.ts import salobj

from .. import __version__
from .layout import INSTRUMENT
from .world import Image, World

__all__ = ["HeaderServiceCsc"]

NAME = "CCHeaderService"
LATENCY_S = 1.0  # seconds of the instrument from the image's last event to the header's


class HeaderServiceCsc(salobj.BaseCsc):  # type: ignore[misc]
    """The header service.

    It asks the fault hook once for each image, as place ``header`` with ``image_type``. Effects: ``lose`` (no header,
    no event, so that the OODS can't read the image's files), ``late`` (``value`` seconds of the instrument later).

    Parameters
    ----------
    world
        What it shares with the other simulators.
    directory
        Where the header files go, under the names that they have in the real object store.
    initial_state
        Summary state to start in.
    """

    version = __version__
    valid_simulation_modes = (0,)

    def __init__(self, world: World, directory: Path, initial_state: salobj.State = salobj.State.STANDBY) -> None:
        self._world = world
        self._directory = directory
        self._headers: set[asyncio.Task[None]] = set()  # one for each image whose header is being written
        super().__init__(NAME, initial_state=initial_state)
        world.add_listener(self._accept)

    async def close_tasks(self) -> None:
        """Write no further header."""
        for task in self._headers:
            task.cancel()
        await asyncio.gather(*self._headers, return_exceptions=True)
        await super().close_tasks()

    def _accept(self, image: Image) -> None:
        if self.summary_state == salobj.State.ENABLED:
            task = asyncio.create_task(self._make_header(image), name=f"{NAME} writes {image.name}")
            self._headers.add(task)
            task.add_done_callback(self._headers.discard)
        else:
            self._world.lose_header(image)

    async def _make_header(self, image: Image) -> None:
        fault = self._world.faults.strike("header", image_type=image.image_type)
        if fault is not None and fault.effect == "lose":
            self._world.lose_header(image)
            return
        await self._world.sleep(LATENCY_S + (fault.value if fault is not None and fault.effect == "late" else 0.0))
        content = yaml.safe_dump({"PRIMARY": _header(image)}, sort_keys=False).encode()
        file = self._directory / _object_key(image)
        await asyncio.to_thread(_write, file, content)
        await self.evt_largeFileObjectAvailable.set_write(
            url=file.absolute().as_uri(),
            generator=NAME,
            version=1.0,
            byteSize=len(content),
            checkSum=hashlib.md5(content, usedforsecurity=False).hexdigest(),
            mimeType="YAML",
            id=image.name,
        )


def _object_key(image: Image) -> Path:
    day = str(image.day_obs)
    return Path(NAME, "header", day[:4], day[4:6], day[6:], f"{NAME}_header_{image.name}.yaml")


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def _header(image: Image) -> dict[str, str | int | float]:
    return {
        "INSTRUME": INSTRUMENT,
        "OBSID": image.name,
        "DAYOBS": image.day_obs,
        "SEQNUM": image.seq_num,
        "IMGTYPE": image.image_type,
        "EXPTIME": image.exposure_time_s,
        "FILTER": image.physical_filter,
        "GROUPID": image.group_id,
        "REASON": image.keys.get("reason", ""),
        "PROGRAM": image.keys.get("program", ""),
        "TESTTYPE": image.keys.get("testType", ""),
        "CURINDEX": image.index,
        "MAXINDEX": image.count,
        "OBSANNOT": image.note,
    }
