# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fakes of the services, driven by the test."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import functools
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from lsst.ts.comcamcalib.butler_data import (
    AmplifierValues,
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
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.errors import ChangedError, ConflictError, ServiceError, UnknownJobError, UnreachableError
from lsst.ts.comcamcalib.services.camera import FrameRequest, TakenFrame
from lsst.ts.comcamcalib.services.components import Unwell
from lsst.ts.comcamcalib.services.oods import IngestNotice
from lsst.ts.comcamcalib.services.raw_level import KnownAmplifiers
from lsst.ts.comcamcalib.services.undoing import Span
from lsst.ts.comcamcalib.services.uws import Phase, UwsJob
from lsst.ts.comcamcalib.stages.context import Services

from support.gate import Gate
from support.jobs import FakeJobs
from support.reporter import FakeReporter
from support.world import AMPLIFIERS, FULL_WELL, Exposure, World

__all__ = ["FakeCamera", "FakeComponents", "FakeOods", "FakeRepository", "FakeUws", "Gate", "Observatory"]

T = TypeVar("T")
TAI = 1_800_000_000.0


class FakeOods:
    """Notifies of files."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.subscribers: list[Callable[[IngestNotice], None]] = []

    def subscribe(self, callback: Callable[[IngestNotice], None]) -> Callable[[], None]:
        self.subscribers.append(callback)
        return lambda: self.subscribers.remove(callback)

    def notify(self, exposure_id: int | None, detector: int | None, ok: bool = True, text: str = "") -> None:
        """Send a notice."""
        for callback in tuple(self.subscribers):
            callback(IngestNotice(exposure_id, detector, ok, text))

    def ingest(self, exposure_id: int, detectors: Collection[int], silently: bool = False) -> None:
        """Put files into the repository, and notify of it."""
        for detector in detectors:
            self.world.raws.add((exposure_id, detector))
            if not silently:
                self.notify(exposure_id, detector, True, "ok")


class FakeCamera:
    """Takes frames at once; `arrive` decides what becomes of their files."""

    def __init__(self, world: World, oods: FakeOods) -> None:
        self.world = world
        self.oods = oods
        self.requests: list[FrameRequest] = []
        self.filters: list[str] = []
        self.errors: dict[tuple[str, int], str] = {}
        """Error by (type, number of the request of this type from 1)."""
        self.filter_error = ""
        self.busy = ""
        """Why no frame can be taken now."""
        self.read_out: list[tuple[str, TakenFrame]] = []
        """Group ids of the last images that were read out, as the camera's events show them."""
        self.has_filters = ["g_01", "r_03", "i_06"]
        self.gates: dict[tuple[str, int], Gate] = {}
        self.arrive: Callable[[Exposure], None] = self.all_files_arrive
        self.exposing = 0
        self.most_at_once = 0

    async def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def obstacle(self) -> str:
        return self.busy

    def taken_for(self, group_id: str) -> list[TakenFrame]:
        return [one for group, one in self.read_out if group == group_id]

    async def find_filter(self, wanted: str) -> str:
        if wanted not in self.has_filters:
            raise ServiceError(f"The camera has no filter {wanted}.")
        return wanted

    async def set_filter(self, wanted: str) -> None:
        if self.filter_error:
            raise ServiceError(self.filter_error)
        self.filters.append(wanted)
        self.world.filter = wanted

    async def take(self, request: FrameRequest) -> TakenFrame:
        self.requests.append(request)
        key = request.image_type, sum(one.image_type == request.image_type for one in self.requests)
        self.exposing += 1
        self.most_at_once = max(self.most_at_once, self.exposing)
        try:
            if key in self.gates:
                await self.gates[key].pass_through()
            await asyncio.sleep(0)
            if key in self.errors:
                raise ServiceError(self.errors[key])
        finally:
            self.exposing -= 1
        exposure = self.world.expose(request.image_type, request.exposure_time_s, request.group_id)
        taken = TakenFrame(exposure.exposure_id, exposure.obs_id, TAI)
        self.read_out = [(request.group_id, taken)]  # a late reader sees only the last one
        self.arrive(exposure)
        return taken

    def all_files_arrive(self, exposure: Exposure) -> None:
        """Ingest all files at once."""
        self.oods.ingest(exposure.exposure_id, range(9))

    def taken(self, kind: str) -> int:
        """Return how many frames of a type were asked for."""
        return sum(one.image_type == kind for one in self.requests)


class FakeComponents:
    """Other components, all well unless the test says otherwise."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.ill: dict[str, str] = {}
        """What is wrong, by component."""

    def unwell(self) -> list[Unwell]:
        return [Unwell(name, what, "enable it") for name, what in self.ill.items()]

    def problems(self) -> list[str]:
        return [*self.sentences, *(str(one) for one in self.unwell())]

    def state_of(self, name: str) -> None:
        """Nothing was published."""


class FakeUws:
    """Answers about the jobs of the world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.error = ""
        self.gate: Gate | None = None
        self.listing: Gate | None = None
        """Where the list of all jobs stops."""
        self.created_s = TAI
        """When all jobs of the world were made."""

    async def ping(self) -> None:
        if self.gate is not None:
            await self.gate.pass_through()
        if self.error:
            raise UnreachableError(self.error)

    async def job(self, job_id: str) -> UwsJob:
        if self.error:
            raise UnreachableError(self.error)
        # The real one deletes a job that is aborted.
        if job_id not in self.world.jobs or self.world.jobs[job_id].phase == "aborted":
            raise UnknownJobError(f"no job {job_id}")
        job = self.world.jobs[job_id]
        end = TAI if job.ended else 0.0
        made_s, globs = self.created_s, job.request.output_dataset_types
        return UwsJob(job_id, "", Phase.of(job.phase), job.phase, made_s, TAI, end, globs, ())

    async def jobs(self) -> list[UwsJob]:
        if self.listing is not None:
            await self.listing.pass_through()
        if self.error:
            raise UnreachableError(self.error)
        return [await self.job(job_id) for job_id, job in self.world.jobs.items() if job.phase != "aborted"]

    async def log_text(self, job_id: str) -> str:
        return f"log of {job_id}"


class FakeRepository:
    """Certifies, and looks after that, one thing after the other; looks at the rest beside it, as the threads do.

    What waits for its turn is dropped when it is cancelled; what has begun goes on, though nobody waits for it.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.errors: dict[str, str] = {}
        """Error by method."""
        self.unreachable: set[str] = set()
        """Methods that do their work, but whose answer comes too late."""
        self.gates: dict[str, Gate] = {}
        """Where a method stops after it has begun."""
        self.asked: list[str] = []
        self.looks: list[tuple[int, ...]] = []
        self.not_found: list[str] = []
        """What `read_back` does not find."""
        self.read_back_for: list[tuple[int, ...]] = []
        """For which exposures `read_back` looked, each time."""
        self.covered: dict[str, list[Coverage]] = collections.defaultdict(list)
        """What calibration collections have, for the board."""
        self.obstacles: dict[str, str] = {}
        """Why nothing can be certified, by collection."""
        self._turn = asyncio.Lock()

    async def _in_order(self, method: str, work: Callable[[], T]) -> T:
        await self._turn.acquire()
        self.asked.append(method)
        begun = asyncio.create_task(self._begin(method, work), name=f"Butler {method}")
        return await asyncio.shield(begun)

    async def _begin(self, method: str, work: Callable[[], T]) -> T:
        try:
            if method in self.gates:
                await self.gates[method].pass_through()
            return self._work(method, work)
        finally:
            self._turn.release()

    async def _do(self, method: str, work: Callable[[], T]) -> T:
        self.asked.append(method)
        if method in self.gates:
            await self.gates[method].pass_through()
        return self._work(method, work)

    def _work(self, method: str, work: Callable[[], T]) -> T:
        if method in self.errors:
            raise ServiceError(self.errors[method])
        result = work()
        if method in self.unreachable:
            raise UnreachableError(f"Butler could not {method} within 300 s")
        return result

    async def missing_collections(self, names: Sequence[str]) -> list[str]:
        return await self._do(
            "missing_collections", lambda: [one for one in names if one not in self.world.collections]
        )

    async def certify_obstacle(self, calib_collection: str) -> str:
        return await self._do("certify_obstacle", lambda: self.obstacles.get(calib_collection, ""))

    async def raws_present(self, exposure_ids: Collection[int], detectors: Collection[int]) -> set[tuple[int, int]]:
        self.looks.append(tuple(exposure_ids))
        wanted = {(exposure, detector) for exposure in exposure_ids for detector in detectors}
        return await self._do("raws_present", lambda: wanted & self.world.raws)

    async def near_names(self, names: Sequence[str]) -> dict[str, str]:
        return await self._do("near_names", lambda: {one: meant for one in names if (meant := self._near(one))})

    def _near(self, name: str) -> str:
        return next((one for one in self.world.collections if one.lower() == name.lower() and one != name), "")

    async def exposures(self, exposure_ids: Collection[int]) -> dict[int, ExposureFound]:
        def work() -> dict[int, ExposureFound]:
            known = [self.world.exposures[one] for one in exposure_ids if one in self.world.filters]
            return {
                one.exposure_id: ExposureFound(
                    one.exposure_id,
                    one.day_obs,
                    self.world.filters[one.exposure_id],
                    one.begin.isoformat(),
                    one.end.isoformat(),
                )
                for one in known
            }

        return await self._do("exposures", work)

    async def exposures_of_group(self, group_id: str) -> list[ExposureFound]:
        arrived = {exposure_id for exposure_id, _ in self.world.raws}

        def work() -> list[ExposureFound]:
            return [
                ExposureFound(
                    one.exposure_id,
                    one.day_obs,
                    self.world.filters[one.exposure_id],
                    one.begin.isoformat(),
                    one.end.isoformat(),
                    one.obs_id,
                )
                for one in self.world.exposures.values()
                if one.group_id == group_id and one.exposure_id in arrived
            ]

        return await self._do("exposures_of_group", work)

    async def physical_filters(self, exposure_ids: Collection[int]) -> dict[int, str]:
        known = self.world.filters
        return await self._do("physical_filters", lambda: {one: known[one] for one in exposure_ids if known.get(one)})

    async def datasets(self, collection_run: str, dataset_type: str) -> list[DatasetFound]:
        return await self._do("datasets", lambda: list(self.world.datasets.get((collection_run, dataset_type), [])))

    async def foreign_inputs(
        self,
        job_collection: str,
        dataset_type: str,
        exposures: Collection[int],
        detectors: Collection[int],
        expected_run: str,
    ) -> list[str]:
        assert exposures, "a look-up needs an exposure"
        used = {one: self.world.used_by(job_collection, dataset_type, one) for one in detectors}
        foreign = [f"detector {one} used {run}" for one, run in used.items() if run != expected_run]
        return await self._do("foreign_inputs", lambda: foreign)

    async def detectors_without(
        self, dataset_type: str, collections: Sequence[str], detectors: Collection[int], at_iso_tai: str
    ) -> list[int]:
        return await self._do(
            "detectors_without", lambda: [one for one in detectors if (dataset_type, one) in self.world.not_calibrated]
        )

    async def statistics(
        self, collection: str, types: StatisticsTypes, physical_filter: str | None = None
    ) -> VerificationStatistics:
        return await self._do("statistics", lambda: self.world.statistics(collection, physical_filter))

    async def certify(self, request: CertifyRequest) -> CertifyOutcome:
        def work() -> CertifyOutcome:
            there = self._there(request)
            if there and request.on_conflict == "fail":
                raise ConflictError("on_conflict is fail, and something is there.")
            if request.expects is not None and set(there) != set(request.expects):
                raise ChangedError("What is there has changed since it was looked up.")
            validity = (request.begin_iso_tai, request.end_iso_tai)
            there_already = {
                one.dataset_id
                for one in self.world.certificates_of(request.dataset_ids, request.calib_collection)
                if (one.begin_iso_tai, one.end_iso_tai) == validity
            }
            certified, replaced = self.world.certify(
                request.run_collection,
                request.dataset_type,
                request.calib_collection,
                validity,
                list(request.dataset_ids),
            )
            return CertifyOutcome(tuple(certified), tuple(replaced), there_already == set(request.dataset_ids))

        return await self._in_order("certify", work)

    async def certified_before(self, request: CertifyRequest) -> list[ReplacedDataset]:
        return await self._do("certified_before", lambda: self._there(request))

    def _there(self, request: CertifyRequest) -> list[ReplacedDataset]:
        return self.world.replaced_by(
            request.run_collection,
            request.dataset_type,
            request.calib_collection,
            (request.begin_iso_tai, request.end_iso_tai),
            list(request.dataset_ids),
        )

    async def certified_for_others(
        self, dataset_type: str, calib_collection: str, begin_iso_tai: str, end_iso_tai: str, detectors: Collection[int]
    ) -> list[ReplacedDataset]:
        return await self._do(
            "certified_for_others",
            lambda: [
                ReplacedDataset(
                    one.dataset.dataset_id,
                    one.dataset.detector,
                    one.dataset.physical_filter,
                    *one.validity,
                    one.dataset.run,
                )
                for one in self.world.certificates
                if (one.collection, one.dataset_type) == (calib_collection, dataset_type)
                and one.dataset.detector in detectors
                and Span(*one.validity).overlaps(Span(begin_iso_tai, end_iso_tai))
            ],
        )

    async def look_withdrawal(self, wanted: Withdrawal) -> Withdrawal:
        return await self._in_order("look_withdrawal", lambda: self.world.withdrawal(wanted))

    async def withdraw(self, planned: Withdrawal) -> None:
        def work() -> None:
            if self.world.withdrawal(planned) != planned:
                raise ChangedError("What is certified has changed since it was looked up, so nothing was withdrawn.")
            self.world.withdraw(planned)

        await self._in_order("withdraw", work)

    async def read_back_withdrawal(self, done: Withdrawal, exposures: Collection[int] = ()) -> list[str]:
        return await self._in_order("read_back_withdrawal", lambda: list(self.not_found))

    async def read_back(
        self,
        dataset_type: str,
        calib_collection: str,
        begin_iso_tai: str,
        end_iso_tai: str,
        dataset_ids: Collection[str],
        exposures: Collection[int] = (),
    ) -> list[str]:
        self.read_back_for.append(tuple(exposures))

        def work() -> list[str]:
            there = {one.dataset_id for one in self.world.certified(dataset_type)}
            return [f"{one} is not found." for one in dataset_ids if one not in there or one in self.not_found]

        return await self._in_order("read_back", work)

    async def certified_ranges(
        self, dataset_type: str, calib_collection: str, dataset_ids: Collection[str]
    ) -> list[CertifiedRange]:
        work = functools.partial(self.world.certificates_of, list(dataset_ids), calib_collection)
        return await self._in_order("certified_ranges", work)

    async def coverage(self, dataset_types: Sequence[str], collection: str, since_iso_tai: str) -> list[Coverage]:
        def work() -> list[Coverage]:
            there = [one for one in self.covered[collection] if one.dataset_type in dataset_types]
            return [one for one in there if not one.end_iso_tai or one.end_iso_tai > since_iso_tai]

        return await self._do("coverage", work)

    async def predecessors(
        self,
        dataset_type: str,
        collections: Sequence[str],
        exposure_id: int,
        physical_filter: str,
        own: Collection[str],
    ) -> dict[int, Predecessor]:
        detectors = list(self.world.config.instrument.detector_names)
        return await self._do("predecessors", lambda: self.world.predecessors(dataset_type, detectors))

    async def product_values(
        self,
        calib_type: CalibType,
        dataset_ids: Sequence[str],
        amplifier_rows: Sequence[Sequence[str]],
        predecessor_id: str = "",
        left_out: Collection[str] = (),
    ) -> DetectorValues:
        work = functools.partial(self.world.product_values, calib_type, dataset_ids, predecessor_id)
        return await self._do("product_values", work)

    async def gain_values(
        self, collection_run: str, dataset_type: str = "cpPtcPartial"
    ) -> dict[tuple[int, int], AmplifierValues]:
        return await self._do("gain_values", lambda: self.world.amplifiers(collection_run, dataset_type))

    async def certified_ptc(
        self, collections: Sequence[str], exposure_id: int, detectors: Collection[int]
    ) -> dict[int, KnownAmplifiers]:
        known = KnownAmplifiers(
            gain=dict.fromkeys(AMPLIFIERS, self.world.gain),
            noise=dict.fromkeys(AMPLIFIERS, 6.5),
            turnoff=dict.fromkeys(AMPLIFIERS, FULL_WELL),
        )
        return await self._do("certified_ptc", lambda: dict.fromkeys(detectors, known))

    async def raw_levels(self, exposure_id: int, detector: int) -> dict[str, float]:
        return await self._do("raw_levels", lambda: self.world.raw_levels(exposure_id))


@dataclasses.dataclass
class Observatory:
    """All fakes over one world."""

    world: World
    oods: FakeOods
    camera: FakeCamera
    components: FakeComponents
    jobs: FakeJobs
    uws: FakeUws
    repository: FakeRepository
    reporter: FakeReporter

    @classmethod
    def of(cls, world: World) -> Observatory:
        """Make the fakes of a world."""
        oods = FakeOods(world)
        return cls(
            world,
            oods,
            FakeCamera(world, oods),
            FakeComponents(),
            FakeJobs(world),
            FakeUws(world),
            FakeRepository(world),
            FakeReporter(),
        )

    @property
    def services(self) -> Services:
        """The fakes as a run uses them."""
        return Services(
            camera=self.camera,
            components=self.components,
            oods=self.oods,
            jobs=self.jobs,
            uws=self.uws,
            repository=self.repository,
            reporter=self.reporter,
        )
