# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Butler repository as one process sees it: threads, limits and order as in the product, over the night's world."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from lsst.ts.comcamcalib.butler_data import (
    AmplifierValues,
    CertifiedDataset,
    CertifiedRange,
    CertifyOutcome,
    CertifyRequest,
    Coverage,
    DatasetFound,
    DetectorValues,
    ExposureFound,
    Predecessor,
    ReplacedDataset,
    StatisticsTypes,
    VerificationStatistics,
    Withdrawal,
)
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.errors import ChangedError, ConflictError, ServiceError, UnreachableError
from lsst.ts.comcamcalib.services.permission import Permission
from lsst.ts.comcamcalib.services.raw_level import KnownAmplifiers
from support.world import AMPLIFIERS, FULL_WELL

from .camera_world import Image
from .virtual_loop import VirtualThreads
from .world import NightWorld, Validity

__all__ = ["NightRepository"]

T = TypeVar("T")

LOOK_UPS = 3

LOCK_INTERVAL_S = 0.2
"""Time between two attempts to write to a database that another process has locked (seconds)."""


WRITES = ("certify", "withdraw")


class _Threads(VirtualThreads):
    """Threads that a locked database keeps waiting: locked by the world, or by another process that writes.

    A call that writes holds the lock from its beginning to its end, also while its process is stopped.
    """

    def __init__(self, name: str, count: int, world: NightWorld) -> None:
        super().__init__(name, count)
        self._world = world

    def begun(self, what: str) -> None:
        if what.startswith(WRITES):
            self._world.on_made(what.split()[0])
            self._world.writer = self._world.writer or self

    def _finish(self, call: Any) -> None:
        writes = call.what.startswith(WRITES)
        if writes and self._world.writer not in (None, self):
            self._world.seen["Butler locked by another process"] += 1
            self.loop.call_later(LOCK_INTERVAL_S, self._finish, call)
            return
        super()._finish(call)
        if writes:
            self._world.writer = None

    def seconds(self, what: str) -> float:  # type: ignore[override]
        if what.startswith(WRITES) and "hangs" in self._world.certify_faults:
            return 400.0
        usual_s = self._world.dice("butler").uniform(0.01, 2.0 if what.startswith(WRITES) else 0.5)
        locked_until_s = self._world.down.get("Butler locked", 0.0)
        return max(locked_until_s - self._world.time_s, 0.0) + usual_s


class NightRepository:
    """Certifies, and looks after that, one thing after the other; looks at the rest beside it."""

    def __init__(self, world: NightWorld, limits: Limits, permission: Permission) -> None:
        self._world = world
        self._limits = limits
        self._permission = permission
        self._looking = _Threads("Butler", LOOK_UPS, world)
        self._certifying = _Threads("Butler", 1, world)
        self._looking.start()
        self._certifying.start()

    async def close(self) -> None:
        """End the threads."""
        await asyncio.gather(self._looking.close(1.0), self._certifying.close(1.0))

    async def _look(self, what: str, work: Callable[[], T]) -> T:
        return await self._looking.do(what, self._limits.butler_query, work, self._limits.butler_queue)

    async def _in_order(self, what: str, limit_s: float, work: Callable[[], T]) -> T:
        return await self._certifying.do(what, limit_s, work, self._limits.butler_queue)

    # Look-ups

    async def missing_collections(self, names: Sequence[str]) -> list[str]:
        there = self._world.collections
        return await self._look("look for collections", lambda: [one for one in names if one not in there])

    async def near_names(self, names: Sequence[str]) -> dict[str, str]:
        return await self._look("look for names", dict)

    async def certify_obstacle(self, calib_collection: str) -> str:
        return await self._look("look at the collection", str)

    async def raws_present(self, exposure_ids: Collection[int], detectors: Collection[int]) -> set[tuple[int, int]]:
        wanted = {(exposure, detector) for exposure in exposure_ids for detector in detectors}
        return await self._look("look for raws", lambda: wanted & self._world.raws)

    async def exposures(self, exposure_ids: Collection[int]) -> dict[int, ExposureFound]:
        def work() -> dict[int, ExposureFound]:
            known = [self._world.images[one] for one in exposure_ids if self._world.raws_known(one)]
            return {one.exposure_id: self._found(one) for one in known}

        return await self._look("look up exposures", work)

    async def exposures_of_group(self, group_id: str) -> list[ExposureFound]:
        def work() -> list[ExposureFound]:
            images = sorted(self._world.images.values(), key=lambda one: one.exposure_id)
            known = [one for one in images if one.group_id == group_id and self._world.raws_known(one.exposure_id)]
            return [self._found(one) for one in known]

        return await self._look("look for exposures of a group", work)

    def _found(self, image: Image) -> ExposureFound:
        return ExposureFound(
            exposure_id=image.exposure_id,
            day_obs=image.day_obs,
            physical_filter=self._world.filters[image.exposure_id],
            begin_iso_tai=image.begin.isoformat(),
            end_iso_tai=image.end.isoformat(),
            obs_id=image.obs_id,
        )

    async def physical_filters(self, exposure_ids: Collection[int]) -> dict[int, str]:
        return {key: one.physical_filter for key, one in (await self.exposures(exposure_ids)).items()}

    async def datasets(self, collection_run: str, dataset_type: str) -> list[DatasetFound]:
        return await self._look(
            f"look for {dataset_type}", lambda: list(self._world.datasets.get((collection_run, dataset_type), []))
        )

    async def foreign_inputs(
        self,
        job_collection: str,
        dataset_type: str,
        exposures: Collection[int],
        detectors: Collection[int],
        expected_run: str,
    ) -> list[str]:
        def work() -> list[str]:
            used = {one: self._world.used_by(job_collection, dataset_type, one) for one in detectors}
            return [f"detector {one} used {run}" for one, run in used.items() if run != expected_run]

        return await self._look(f"look which {dataset_type} was used", work)

    async def detectors_without(
        self, dataset_type: str, collections: Sequence[str], detectors: Collection[int], at_iso_tai: str
    ) -> list[int]:
        return await self._look(f"look for {dataset_type}", list)  # what the site began with covers all detectors

    async def coverage(self, dataset_types: Sequence[str], collection: str, since_iso_tai: str) -> list[Coverage]:
        def work() -> list[Coverage]:
            return [
                Coverage(name, one.detector, one.physical_filter or "", one.run, valid.begin, valid.end)
                for name in dataset_types
                for valid in self._world.in_range(collection, name, since_iso_tai, "")
                if (one := valid.dataset).detector is not None
            ]

        return await self._look("look what the collection has", work)

    async def statistics(
        self, collection: str, types: StatisticsTypes, physical_filter: str | None = None
    ) -> VerificationStatistics:
        return await self._look("read statistics", lambda: self._world.statistics(collection, physical_filter))

    async def predecessors(
        self,
        dataset_type: str,
        collections: Sequence[str],
        exposure_id: int,
        physical_filter: str,
        own: Collection[str],
    ) -> dict[int, Predecessor]:
        return await self._look(f"look which {dataset_type} is certified", dict)

    async def product_values(
        self,
        calib_type: CalibType,
        dataset_ids: Sequence[str],
        amplifier_rows: Sequence[Sequence[str]],
        predecessor_id: str = "",
        left_out: Collection[str] = (),
    ) -> DetectorValues:
        return await self._look(
            f"measure {calib_type.name}", lambda: self._world.product_values(calib_type, dataset_ids)
        )

    async def gain_values(
        self, collection_run: str, dataset_type: str = "cpPtcPartial"
    ) -> dict[tuple[int, int], AmplifierValues]:
        return await self._look("read gains", lambda: self._world.amplifiers(collection_run, dataset_type))

    async def certified_ptc(
        self, collections: Sequence[str], exposure_id: int, detectors: Collection[int]
    ) -> dict[int, KnownAmplifiers]:
        known = KnownAmplifiers(
            gain=dict.fromkeys(AMPLIFIERS, self._world.gain),
            noise=dict.fromkeys(AMPLIFIERS, 6.5),
            turnoff=dict.fromkeys(AMPLIFIERS, FULL_WELL),
        )
        return await self._look("look up the ptc", lambda: dict.fromkeys(detectors, known))

    async def raw_levels(self, exposure_id: int, detector: int) -> dict[str, float]:
        return await self._look("read a raw", lambda: self._world.raw_levels(exposure_id))

    # Certifications

    async def certify(self, request: CertifyRequest) -> CertifyOutcome:
        await self._permission()
        faults = self._world.certify_faults = self._world.faults_of_next("certify")
        asked_s = self._world.time_s

        def work() -> CertifyOutcome:
            if "refused" in faults:
                raise ServiceError("Butler could not certify: OperationalError: disk I/O error")
            there = self._world.datasets.get((request.run_collection, request.dataset_type), [])
            chosen = [one for one in there if one.dataset_id in request.dataset_ids]
            assert len(chosen) == len(request.dataset_ids), "only datasets of this very RUN are certified"
            there = _replaced(self._world.in_the_way(request, request.dataset_ids), request.dataset_ids)
            if there and request.on_conflict == "fail":
                raise ConflictError("on_conflict is fail, and something is there.")
            if request.expects is not None and set(there) != set(request.expects):
                raise ChangedError("What is there has changed since it was looked up.")
            found = not self._world.to_be_certified(request)
            if not found:
                self._world.certify_log.append((asked_s, request.dataset_type))
            replaced = self._world.certify_for(request)
            certified = [CertifiedDataset(one.dataset_id, one.detector, one.physical_filter) for one in chosen]
            if "answer lost" in faults:
                raise UnreachableError("Butler could not certify within 300 s")
            return CertifyOutcome(tuple(certified), tuple(_replaced(replaced, request.dataset_ids)), found)

        outcome = await self._in_order(f"certify {request.dataset_type}", self._limits.butler_certify, work)
        await asyncio.sleep(0.05)  # the way from the thread, during which the process may be killed
        return outcome

    async def certified_before(self, request: CertifyRequest) -> list[ReplacedDataset]:
        def work() -> list[ReplacedDataset]:
            return _replaced(self._world.in_the_way(request, request.dataset_ids), request.dataset_ids)

        return await self._look("look what is certified", work)

    async def certified_for_others(
        self, dataset_type: str, calib_collection: str, begin_iso_tai: str, end_iso_tai: str, detectors: Collection[int]
    ) -> list[ReplacedDataset]:
        def work() -> list[ReplacedDataset]:
            return _replaced(self._world.in_range(calib_collection, dataset_type, begin_iso_tai, end_iso_tai), ())

        return await self._look("look what is certified", work)

    async def look_withdrawal(self, wanted: Withdrawal) -> Withdrawal:
        limit_s = self._limits.butler_query
        return await self._in_order("look what to withdraw", limit_s, lambda: self._world.withdrawal(wanted))

    async def withdraw(self, planned: Withdrawal) -> None:
        await self._permission()
        faults = self._world.certify_faults = self._world.faults_of_next("certify")

        def work() -> None:
            if "refused" in faults:
                raise ServiceError("Butler could not withdraw: OperationalError: disk I/O error")
            if self._world.withdrawal(planned) != planned:
                raise ChangedError("What is certified has changed since it was looked up, so nothing was withdrawn.")
            self._world.withdraw(planned)
            if "answer lost" in faults:
                raise UnreachableError("Butler could not withdraw within 300 s")

        await self._in_order("withdraw", self._limits.butler_certify, work)
        await asyncio.sleep(0.05)

    async def read_back_withdrawal(self, done: Withdrawal, exposures: Collection[int] = ()) -> list[str]:
        def work() -> list[str]:
            there = {(one.dataset.dataset_id, one.begin, one.end) for one in self._world.validities}
            left = [one for one in done.out if (one.dataset_id, one.begin_iso_tai, one.end_iso_tai) in there]
            gone = [one for one in done.back if (one.dataset_id, one.begin_iso_tai, one.end_iso_tai) not in there]
            return [f"{one.dataset_id} is not as it should be." for one in (*left, *gone)]

        return await self._in_order("read back", self._limits.butler_query, work)

    async def read_back(
        self,
        dataset_type: str,
        calib_collection: str,
        begin_iso_tai: str,
        end_iso_tai: str,
        dataset_ids: Collection[str],
        exposures: Collection[int] = (),
    ) -> list[str]:
        def work() -> list[str]:
            there = self._world.in_range(calib_collection, dataset_type, begin_iso_tai, end_iso_tai, covering=True)
            found = {one.dataset.dataset_id for one in there}
            return [f"{one} is not certified for the whole range." for one in dataset_ids if one not in found]

        return await self._in_order("read back", self._limits.butler_query, work)

    async def certified_ranges(
        self, dataset_type: str, calib_collection: str, dataset_ids: Collection[str]
    ) -> list[CertifiedRange]:
        def work() -> list[CertifiedRange]:
            return [
                CertifiedRange(one.dataset.dataset_id, one.begin, one.end)
                for one in self._world.validities
                if one.dataset.dataset_id in dataset_ids and one.collection == calib_collection
            ]

        return await self._in_order("look what is certified", self._limits.butler_query, work)


def _replaced(there: list[Validity], ids: Collection[str]) -> list[ReplacedDataset]:
    return [
        ReplacedDataset(one.dataset.dataset_id, one.dataset.detector, one.dataset.physical_filter, one.begin, one.end)
        for one in there
        if one.dataset.dataset_id not in ids
    ]
