# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated CCOODS: ingests the camera's files into the repository and publishes an event for each.

Known limitations: no expiry of old files, no guider files, no configuration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

from lsst.ts import salobj

from .. import __version__
from .archive import Archive
from .faults import Fault
from .layout import DETECTOR_NAMES, INSTRUMENT
from .silence import Silence
from .world import Image, World

__all__ = ["OodsCsc"]

# Seconds of the instrument from the end of an image to the event of one of its files.
MIN_LATENCY_S = 1.0
MAX_LATENCY_S = 8.0

# What CCOODS's own error code is for a repository that it can't use.
BUTLER_FAULT_CODE = 2

INGESTED, INGEST_FAILED, METADATA_FAILED = 0, 1, 2
NO_FILE_EFFECTS = frozenset({"lose", "metadata"})


class OodsCsc(salobj.BaseCsc):  # type: ignore[misc]
    """The observatory operations data service.

    It asks the fault hook once for each file, in the order of the detectors, as place ``oods`` with ``image_type``,
    ``detector`` and ``exposure_id``. Effects: ``lose`` (the file never arrives), ``fail`` (the Butler refuses it, with
    ``text`` as its reason), ``silent`` (ingested, but no event says so), ``metadata`` (its header is unreadable),
    ``late`` (ingested ``value`` seconds of the instrument later), ``twice`` (its event comes twice). Two effects
    concern the whole CSC: ``fault`` (the repository refuses the image, to FAULT), ``stand_still`` (no heartbeat, and
    nothing is ingested for ``value`` seconds of the clock; 0: while the fault is in force).

    Images that come while it is not ENABLED, and the one with which it went to FAULT, wait on disk until it is. The
    headers of an image for which the header service made none are unreadable.

    Parameters
    ----------
    world
        What it shares with the other simulators.
    archive
        Where the files go.
    initial_state
        Summary state to start in.
    """

    version = __version__
    valid_simulation_modes = (0,)

    def __init__(self, world: World, archive: Archive, initial_state: salobj.State = salobj.State.STANDBY) -> None:
        self._world = world
        self._archive = archive
        self._waiting: list[Image] = []
        self._ingests: set[asyncio.Task[None]] = set()  # one for each image that is being ingested
        super().__init__("CCOODS", initial_state=initial_state)
        self._silence = Silence(self)
        world.add_listener(self._accept)

    async def handle_summary_state(self) -> None:
        """Begin with the images that have waited, once ENABLED."""
        if self.summary_state == salobj.State.ENABLED:
            waiting, self._waiting = self._waiting, []
            for image in waiting:
                self._begin(image)

    async def close_tasks(self) -> None:
        """Stop ingesting."""
        await self.drop_images()
        await super().close_tasks()

    async def drop_images(self) -> None:
        """Forget all images that are not wholly ingested."""
        self._waiting.clear()
        for task in self._ingests:
            task.cancel()
        await asyncio.gather(*self._ingests, return_exceptions=True)

    def _accept(self, image: Image) -> None:
        if self.summary_state == salobj.State.ENABLED:
            self._begin(image)
        else:
            self._waiting.append(image)

    def _begin(self, image: Image) -> None:
        task = asyncio.create_task(self._ingest_image(image), name=f"CCOODS ingests {image.name}")
        self._ingests.add(task)
        task.add_done_callback(self._ingests.discard)

    async def _ingest_image(self, image: Image) -> None:
        fates = {
            detector: self._world.faults.strike(
                "oods", image_type=image.image_type, detector=detector, exposure_id=image.exposure_id
            )
            for detector in range(len(DETECTOR_NAMES))
        }
        if await self._strike_as_a_whole(image, fates.values()):
            return
        written = [detector for detector, fault in fates.items() if not fault or fault.effect not in NO_FILE_EFFECTS]
        try:
            files = await self._world.in_worker(
                self._archive.write_files, self._world.focal_plane_for(image), image, written
            )
            async with asyncio.TaskGroup() as group:
                for detector, fault in fates.items():
                    group.create_task(self._handle_file(image, detector, files.get(detector), fault))
        except Exception as error:
            cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            await self.fault(BUTLER_FAULT_CODE, f"The repository can't take {image.name}: {cause!r}")

    async def _strike_as_a_whole(self, image: Image, faults: Collection[Fault | None]) -> bool:
        """Let the effects strike that concern the whole CSC; return whether it has gone to FAULT."""
        by_effect = {fault.effect: fault for fault in faults if fault is not None}
        if "stand_still" in by_effect:
            await self._silence.last(self._world.faults, by_effect["stand_still"])
        if "fault" in by_effect:
            self._waiting.append(image)
            text = by_effect["fault"].text or "database is locked"
            await self.fault(BUTLER_FAULT_CODE, f"The repository can't take {image.name}: {text}")
        return "fault" in by_effect

    async def _handle_file(self, image: Image, detector: int, file: Path | None, fault: Fault | None) -> None:
        """Ingest one file after a delay, and publish how that went."""
        effect, value, text = (fault.effect, fault.value, fault.text) if fault is not None else ("", 0.0, "")
        late = value if effect == "late" else 0.0
        await self._world.sleep(self._world.random.uniform(MIN_LATENCY_S, MAX_LATENCY_S) + late)
        if effect == "lose":
            return
        if file is None or self._world.lacks_header(image):
            await self._publish_metadata_failure(text or "no exposure time in the header")
        elif effect == "fail":
            await self._publish_ingest_failure(image, detector, text or "the file is truncated")
        else:
            await self._world.in_worker(self._archive.ingest, image, detector, file)
            for _ in range({"silent": 0, "twice": 2}.get(effect, 1)):
                await self._publish_ingested(image, detector, is_repeated=effect == "twice")

    # As in the real one, an event that equals the one before is not published (no force_output, unless Kafka's producer
    # is to repeat a message), and the events of failures name image and detector in other ways than that of success.

    async def _publish_ingested(self, image: Image, detector: int, is_repeated: bool = False) -> None:
        raft, sensor = DETECTOR_NAMES[detector].split("_")
        await self.evt_imageInOODS.set_write(
            camera=INSTRUMENT,
            obsid=image.name,
            raft=raft,
            sensor=sensor,
            statusCode=INGESTED,
            description="file ingested",
            force_output=is_repeated,
        )

    async def _publish_ingest_failure(self, image: Image, detector: int, reason: str) -> None:
        await self.evt_imageInOODS.set_write(
            camera=INSTRUMENT,
            obsid=str(image.exposure_id),
            raft="R??",
            sensor=f"S{detector:02d}",
            statusCode=INGEST_FAILED,
            description=f"ingest failure: {reason}",
        )

    async def _publish_metadata_failure(self, reason: str) -> None:
        await self.evt_imageInOODS.set_write(
            camera="UNDEF",
            obsid="??",
            raft="R??",
            sensor="S??",
            statusCode=METADATA_FAILED,
            description=f"metadata failure: {reason}",
        )
