# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Butler repository."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from ..butler_data import (
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
from ..config import Limits
from ..enums import CalibType
from . import (
    butler_certify,
    butler_lookup,
    butler_products,
    butler_queries,
    butler_read_back,
    butler_statistics,
    butler_withdraw,
    raw_level,
)
from .butler_threads import FILES, ButlerThreads
from .permission import Permission
from .raw_level import KnownAmplifiers
from .side_by_side import all_of

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

__all__ = ["ButlerService"]

P = ParamSpec("P")
T = TypeVar("T")


class ButlerService:
    """The Butler repository, used in threads of its own: certifications in order, look-ups in parallel to them.

    Parameters
    ----------
    repo
        The repository.
    instrument
        Butler's name of the instrument.
    raw_collection
        Collection that raws are ingested into.
    limits
        Limits of time: ``butler_queue``, ``butler_query``, ``butler_dataset``, ``butler_certify``.
    permission
        Whether this process may change anything in the repository.
    """

    def __init__(self, repo: str, instrument: str, raw_collection: str, limits: Limits, permission: Permission) -> None:
        self._repo = repo
        self._instrument = instrument
        self._raw_collection = raw_collection
        self._limits = limits
        self._permission = permission
        self._threads = ButlerThreads(repo, limits)
        # Records of exposures; they do not change after ingest.
        self._exposures: dict[int, ExposureFound] = {}

    async def start(self) -> None:
        """Start the threads."""
        self._threads.start()

    async def close(self) -> None:
        """End the threads; wait a short time for the calls in progress."""
        await self._threads.close()

    async def missing_collections(self, names: Sequence[str]) -> list[str]:
        """Return those of the collections that the repository does not have."""
        return await self._ask("look for collections", butler_queries.missing_collections, names)

    async def near_names(self, names: Sequence[str]) -> dict[str, str]:
        """Return, by name, the existing collections that are probably meant; see `Repository.near_names`."""
        return await self._ask("look through the names of collections", butler_queries.near_names, names)

    async def certify_obstacle(self, calib_collection: str) -> str:
        """Return why nothing can be certified in a collection; see `Repository.certify_obstacle`."""
        return await self._ask(f"look at {calib_collection}", butler_certify.certify_obstacle, calib_collection)

    async def raws_present(self, exposure_ids: Collection[int], detectors: Collection[int]) -> set[tuple[int, int]]:
        """Return the (exposure id, detector) whose raw is in the repository."""
        what = f"look for raws of {len(exposure_ids)} exposures"
        return await self._ask(
            what, butler_queries.raws_present, self._instrument, self._raw_collection, exposure_ids, detectors
        )

    async def exposures(self, exposure_ids: Collection[int]) -> dict[int, ExposureFound]:
        """Return the exposures that the repository knows, by id; known ones are not looked up again."""
        if unknown := set(exposure_ids) - self._exposures.keys():
            what = f"look up {len(unknown)} exposures"
            self._exposures |= await self._ask(what, butler_queries.exposures, self._instrument, unknown)
        return {one: self._exposures[one] for one in exposure_ids if one in self._exposures}

    async def exposures_of_group(self, group_id: str) -> list[ExposureFound]:
        """Return the exposures that were taken with a group id; see `Repository.exposures_of_group`."""
        what = f"look for exposures of group {group_id}"
        return await self._ask(what, butler_queries.exposures_of_group, self._instrument, group_id)

    async def physical_filters(self, exposure_ids: Collection[int]) -> dict[int, str]:
        """Return the physical filter of each exposure that the repository knows."""
        return {one.exposure_id: one.physical_filter for one in (await self.exposures(exposure_ids)).values()}

    async def datasets(self, collection_run: str, dataset_type: str) -> list[DatasetFound]:
        """Return the datasets of one type in a RUN collection; see `Repository.datasets`."""
        what = f"look for {dataset_type} in {collection_run}"
        return await self._ask(what, butler_queries.datasets, collection_run, dataset_type)

    async def foreign_inputs(
        self,
        job_collection: str,
        dataset_type: str,
        exposures: Collection[int],
        detectors: Collection[int],
        expected_run: str,
    ) -> list[str]:
        """Return where a job used other datasets than this run's own; see `Repository.foreign_inputs`."""
        what = f"look up which {dataset_type} {job_collection} used"
        look_up = butler_lookup.foreign_inputs
        return await self._ask(
            what, look_up, self._instrument, job_collection, dataset_type, exposures, detectors, expected_run
        )

    async def detectors_without(
        self, dataset_type: str, collections: Sequence[str], detectors: Collection[int], at_iso_tai: str
    ) -> list[int]:
        """Return the detectors for which there is no calibration; see `Repository.detectors_without`."""
        what = f"look for {dataset_type} in {', '.join(collections)}"
        look_up = butler_lookup.detectors_without
        return await self._ask(what, look_up, self._instrument, dataset_type, collections, detectors, at_iso_tai)

    async def coverage(self, dataset_types: Sequence[str], collection: str, since_iso_tai: str) -> list[Coverage]:
        """Return what a calibration collection has since some time; see `Repository.coverage`."""
        what = f"look up what {collection} has"
        look_up = butler_lookup.coverage
        return await self._ask(what, look_up, self._instrument, dataset_types, collection, since_iso_tai)

    async def get(self, dataset_type: str, collection: str, **data_id: int | str) -> object:
        """Read one dataset; the instrument need not be given."""
        full = {"instrument": self._instrument, **data_id}

        def read(butler: Butler) -> object:
            value: object = butler.get(dataset_type, full, collections=collection)
            return value

        words = ", ".join(f"{key} {value}" for key, value in data_id.items()) or "the instrument"
        return await self._ask(f"read {dataset_type} of {words} from {collection}", read)

    async def statistics(
        self, collection: str, types: StatisticsTypes, physical_filter: str | None = None
    ) -> VerificationStatistics:
        """Read the statistics of a verification; see `Repository.statistics`."""
        what = f"read {types.run} and {types.detector} from {collection}"
        find = butler_statistics.find_statistics
        found = await self._ask(what, find, self._instrument, collection, types, physical_filter)
        parts = [part for number in range(FILES) if (part := [one for one in found if one.uri][number::FILES])]
        others = [one for one in found if not one.uri]
        limit_s = self._limit_s(found)
        reading = [
            self._threads.read(what, limit_s, functools.partial(butler_statistics.read_files, part)) for part in parts
        ]
        if others:
            reading.append(self._threads.look(what, limit_s, butler_statistics.read_without_file, others))
        read = itertools.chain.from_iterable(await all_of(reading))
        return butler_statistics.sort(read, with_exposures=types.exposure is not None)

    async def certify(self, request: CertifyRequest) -> CertifyOutcome:
        """Certify datasets for a validity range, all or none; see `Repository.certify`."""
        what = f"certify {request.dataset_type} of {request.run_collection} in {request.calib_collection}"
        limit_s = self._limits.butler_certify
        await self._permission()
        return await self._threads.in_order(what, limit_s, butler_certify.certify, self._instrument, request)

    async def certified_before(self, request: CertifyRequest) -> list[ReplacedDataset]:
        """Return what a certification would withdraw; see `Repository.certified_before`."""
        what = f"look which {request.dataset_type} are certified in {request.calib_collection}"
        return await self._ask(what, butler_certify.certified_before, self._instrument, request)

    async def read_back(
        self,
        dataset_type: str,
        calib_collection: str,
        begin_iso_tai: str,
        end_iso_tai: str,
        dataset_ids: Collection[str],
        exposures: Collection[int] = (),
    ) -> list[str]:
        """Return what is not found again after certification; see `Repository.read_back`."""
        return await self._threads.in_order(
            f"read {dataset_type} back from {calib_collection}",
            self._limits.butler_query,
            butler_read_back.read_back,
            self._instrument,
            dataset_type,
            calib_collection,
            begin_iso_tai,
            end_iso_tai,
            dataset_ids,
            exposures,
        )

    async def certified_ranges(
        self, dataset_type: str, calib_collection: str, dataset_ids: Collection[str]
    ) -> list[CertifiedRange]:
        """Return the ranges for which some datasets are certified; see `Repository.certified_ranges`."""
        return await self._threads.in_order(
            f"look which {dataset_type} are certified in {calib_collection}",
            self._limits.butler_query,
            butler_certify.certified_ranges,
            self._instrument,
            dataset_type,
            calib_collection,
            dataset_ids,
        )

    async def certified_for_others(
        self, dataset_type: str, calib_collection: str, begin_iso_tai: str, end_iso_tai: str, detectors: Collection[int]
    ) -> list[ReplacedDataset]:
        """Return what is certified in a range for some detectors; see `Repository.certified_for_others`."""
        return await self._ask(
            f"look which {dataset_type} are certified in {calib_collection}",
            butler_certify.certified_for_others,
            self._instrument,
            dataset_type,
            calib_collection,
            begin_iso_tai,
            end_iso_tai,
            detectors,
        )

    async def look_withdrawal(self, wanted: Withdrawal) -> Withdrawal:
        """Return what must change to undo certifications; see `Repository.look_withdrawal`."""
        what = f"look what is certified in {wanted.calib_collection}"
        limit_s = self._limits.butler_query
        return await self._threads.in_order(what, limit_s, butler_withdraw.look, self._instrument, wanted)

    async def withdraw(self, planned: Withdrawal) -> None:
        """Undo certifications, all or nothing; see `Repository.withdraw`."""
        what = f"withdraw from {planned.calib_collection}"
        limit_s = self._limits.butler_certify
        await self._permission()
        await self._threads.in_order(what, limit_s, butler_withdraw.withdraw, self._instrument, planned)

    async def read_back_withdrawal(self, done: Withdrawal, exposures: Collection[int] = ()) -> list[str]:
        """Return what is not as it should be afterwards; see `Repository.read_back_withdrawal`."""
        what = f"read back what was withdrawn from {done.calib_collection}"

        def read(_butler: Butler) -> list[str]:
            return butler_withdraw.read_back(self._repo, self._instrument, done, exposures)

        return await self._threads.in_order(what, self._limits.butler_query, read)

    async def predecessors(
        self,
        dataset_type: str,
        collections: Sequence[str],
        exposure_id: int,
        physical_filter: str,
        own: Collection[str],
    ) -> dict[int, Predecessor]:
        """Return what is certified for each detector at the time of an exposure; see `Repository.predecessors`."""
        what = f"look which {dataset_type} is certified in {', '.join(collections)}"
        look_up = butler_products.predecessors
        return await self._ask(
            what, look_up, self._instrument, dataset_type, collections, exposure_id, physical_filter, own
        )

    async def product_values(
        self,
        calib_type: CalibType,
        dataset_ids: Sequence[str],
        amplifier_rows: Sequence[Sequence[str]],
        predecessor_id: str = "",
    ) -> DetectorValues:
        """Measure a product of one detector; see `Repository.product_values`."""
        both = [*dataset_ids, *([predecessor_id] if predecessor_id else [])]
        what, limit_s = f"measure {calib_type.name} {', '.join(both)}", self._limit_s(both)
        if calib_type is CalibType.GAIN:
            return await self._threads.look(what, limit_s, butler_products.pairs_of, dataset_ids, predecessor_id)
        if calib_type is CalibType.PTC:
            return await self._threads.look(what, limit_s, butler_products.curve_of, both)
        if calib_type is CalibType.DEFECTS:
            return await self._threads.look(what, limit_s, butler_products.defects_of, both, amplifier_rows)
        uris = await self._ask(what, butler_products.files, both)
        # The pixels are read beside the look-ups, because that takes seconds.
        read = functools.partial(butler_products.frame_of, calib_type, uris, amplifier_rows)
        return await self._threads.read(what, limit_s, read)

    async def gain_values(
        self, collection_run: str, dataset_type: str = "cpPtcPartial"
    ) -> dict[tuple[int, int], AmplifierValues]:
        """Return gains and noises by (exposure id, detector) from the flat pairs."""
        what = f"read {dataset_type} from {collection_run}"
        refs = await self._ask(what, butler_queries.product_refs, dataset_type, collection_run)
        values = await self._threads.look(what, self._limit_s(refs), butler_queries.amplifier_values, refs)
        return {(exposure, detector): value for exposure, detector, value in values if exposure is not None}

    async def certified_ptc(
        self, collections: Sequence[str], exposure_id: int, detectors: Collection[int]
    ) -> dict[int, KnownAmplifiers]:
        """Return the values of the ptc that is valid for an exposure; see `Repository.certified_ptc`."""
        what = f"look up the ptc of exposure {exposure_id} in {', '.join(collections)}"
        return await self._threads.look(
            what,
            self._limit_s(detectors),
            raw_level.certified_ptc,
            self._instrument,
            collections,
            exposure_id,
            detectors,
        )

    async def raw_levels(self, exposure_id: int, detector: int) -> dict[str, float]:
        """Return the level (adu) of each amplifier of a raw; see `Repository.raw_levels`."""
        what = f"read the raw of detector {detector} of exposure {exposure_id}"
        return await self._ask(
            what, raw_level.raw_levels, self._instrument, self._raw_collection, exposure_id, detector
        )

    def _limit_s(self, datasets: Collection[object]) -> float:
        """Return how long it may take to read some datasets (seconds)."""
        return self._limits.butler_query + self._limits.butler_dataset * len(datasets)

    async def _ask(
        self, what: str, function: Callable[Concatenate[Butler, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Have a thread look something up."""
        return await self._threads.look(what, self._limits.butler_query, function, *args, **kwargs)
