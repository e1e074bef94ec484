# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is in the Butler repository: collections, exposures, raws, datasets, and the values in these."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from ..butler_data import (
    AmplifierValues,
    DatasetFound,
    DetectorValues,
    ExposureFound,
    StatisticsTypes,
    VerificationStatistics,
)
from ..config import Limits
from ..enums import CalibType
from . import butler_lookup, butler_products, butler_queries, butler_statistics, raw_level
from .butler_threads import FILES, ButlerThreads
from .raw_level import KnownAmplifiers
from .side_by_side import all_of

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

__all__ = ["ButlerReader"]

P = ParamSpec("P")
T = TypeVar("T")


class ButlerReader:
    """Looks things up in the Butler repository, in threads of its own and side by side; it changes nothing.

    Every call raises `ServiceError` with a sentence if the repository does not answer or refuses.

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
    """

    def __init__(self, repo: str, instrument: str, raw_collection: str, limits: Limits) -> None:
        self._repo = repo
        self._instrument = instrument
        self._raw_collection = raw_collection
        self._limits = limits
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
        """Return those of the collections that the repository does not have, in their order."""
        return await self._look_up("look for collections", butler_queries.missing_collections, names)

    async def near_names(self, names: Sequence[str]) -> dict[str, str]:
        """Return, by name, the existing collections with calibrations that are probably meant by unknown names.

        Parameters
        ----------
        names
            Names that `missing_collections` has found to be unknown.

        Returns
        -------
        dict
            What is meant by each of them; names that resemble none are left out.
        """
        return await self._look_up("look through the names of collections", butler_queries.near_names, names)

    async def raws_present(self, exposure_ids: Collection[int], detectors: Collection[int]) -> set[tuple[int, int]]:
        """Return the (exposure id, detector) whose raw is in the repository."""
        what = f"look for raws of {len(exposure_ids)} exposures"
        return await self._look_up(
            what, butler_queries.raws_present, self._instrument, self._raw_collection, exposure_ids, detectors
        )

    async def exposures(self, exposure_ids: Collection[int]) -> dict[int, ExposureFound]:
        """Return the exposures that the repository knows, by id; those it knew before are not looked up again."""
        if unknown := set(exposure_ids) - self._exposures.keys():
            what = f"look up {len(unknown)} exposures"
            self._exposures |= await self._look_up(what, butler_queries.exposures, self._instrument, unknown)
        return {one: self._exposures[one] for one in exposure_ids if one in self._exposures}

    async def exposures_of_group(self, group_id: str) -> list[ExposureFound]:
        """Return the exposures that were taken with a group id and that the repository knows, in order.

        It knows an exposure from the ingest of its first file on.
        """
        what = f"look for exposures of group {group_id}"
        return await self._look_up(what, butler_queries.exposures_of_group, self._instrument, group_id)

    async def physical_filters(self, exposure_ids: Collection[int]) -> dict[int, str]:
        """Return the physical filter of each exposure that the repository knows."""
        return {one.exposure_id: one.physical_filter for one in (await self.exposures(exposure_ids)).values()}

    async def datasets(self, collection_run: str, dataset_type: str) -> list[DatasetFound]:
        """Return the datasets of one type in a RUN collection; empty if there is no such collection or type."""
        what = f"look for {dataset_type} in {collection_run}"
        return await self._look_up(what, butler_queries.datasets, collection_run, dataset_type)

    async def foreign_inputs(
        self,
        job_collection: str,
        dataset_type: str,
        exposures: Collection[int],
        detectors: Collection[int],
        expected_run: str,
    ) -> list[str]:
        """Return a sentence for each detector for which a job did not use this run's own dataset.

        Parameters
        ----------
        job_collection
            The job's output chain, ``u/ocps/<job id>``, which also records its inputs, in order.
        dataset_type
            The calibration that it looked up, such as ``bias``.
        exposures, detectors
            The data that it processed.
        expected_run
            The RUN collection with this run's own product.
        """
        what = f"look up which {dataset_type} {job_collection} used"
        look_up = butler_lookup.foreign_inputs
        return await self._look_up(
            what, look_up, self._instrument, job_collection, dataset_type, exposures, detectors, expected_run
        )

    async def certified_ptc(
        self, collections: Sequence[str], exposure_id: int, detectors: Collection[int]
    ) -> dict[int, KnownAmplifiers]:
        """Return the values of the ptc that is valid for an exposure, by detector; those without a ptc are left out."""
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
        """Return the level (adu) above its overscan of each amplifier of a raw, by name."""
        what = f"read the raw of detector {detector} of exposure {exposure_id}"
        return await self._look_up(
            what, raw_level.raw_levels, self._instrument, self._raw_collection, exposure_id, detector
        )

    async def gain_values(
        self, collection_run: str, dataset_type: str = "cpPtcPartial"
    ) -> dict[tuple[int, int], AmplifierValues]:
        """Return gains and noises by (exposure id, detector) from the flat pairs in a RUN collection."""
        what = f"read {dataset_type} from {collection_run}"
        refs = await self._look_up(what, butler_queries.product_refs, dataset_type, collection_run)
        values = await self._threads.look(what, self._limit_s(refs), butler_queries.amplifier_values, refs)
        return {(exposure, detector): value for exposure, detector, value in values if exposure is not None}

    async def statistics(
        self, collection: str, types: StatisticsTypes, physical_filter: str | None = None
    ) -> VerificationStatistics:
        """Read the statistics of a verification.

        Parameters
        ----------
        collection
            The collection that the verification wrote to.
        types
            Dataset types of its statistics.
        physical_filter
            For flats, the filter to which the statistics are limited.

        Returns
        -------
        VerificationStatistics
            The statistics; a file that can be read but is no statistics has `BrokenStatistics` in its place.
        """
        what = f"read {types.run} and {types.detector} from {collection}"
        find = butler_statistics.find_statistics
        found = await self._look_up(what, find, self._instrument, collection, types, physical_filter)
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

    async def product_values(
        self,
        calib_type: CalibType,
        dataset_ids: Sequence[str],
        amplifier_rows: Sequence[Sequence[str]],
        predecessor_id: str = "",
        left_out: Collection[str] = (),
    ) -> DetectorValues:
        """Measure a product of one detector, and compare it with its predecessor.

        Parameters
        ----------
        calib_type
            What it is.
        dataset_ids
            UUID of the dataset; for GAIN, those of all pairs.
        amplifier_rows
            Names of the detector's amplifiers; see `lsst.ts.comcamcalib.instrument.Instrument`.
        predecessor_id
            UUID of the dataset that is certified now, of the same type, for GAIN a ptc; "": there is none.
        left_out
            Amplifiers that are known to be bad: they are no part of the area in which defects are counted.
        """
        both = [*dataset_ids, *([predecessor_id] if predecessor_id else [])]
        what, limit_s = f"measure {calib_type.name} {', '.join(both)}", self._limit_s(both)
        if calib_type is CalibType.GAIN:
            return await self._threads.look(what, limit_s, butler_products.pairs_of, dataset_ids, predecessor_id)
        if calib_type is CalibType.PTC:
            return await self._threads.look(what, limit_s, butler_products.curve_of, both)
        if calib_type is CalibType.DEFECTS:
            measure = butler_products.defects_of
            return await self._threads.look(what, limit_s, measure, both, amplifier_rows, left_out)
        uris = await self._look_up(what, butler_products.files, both)
        # The pixels are read beside the look-ups, because that takes seconds.
        read = functools.partial(butler_products.frame_of, calib_type, uris, amplifier_rows)
        return await self._threads.read(what, limit_s, read)

    def _limit_s(self, datasets: Collection[object]) -> float:
        """Return how long it may take to read some datasets (seconds)."""
        return self._limits.butler_query + self._limits.butler_dataset * len(datasets)

    async def _look_up(
        self, what: str, function: Callable[Concatenate[Butler, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Have a thread look something up."""
        return await self._threads.look(what, self._limits.butler_query, function, *args, **kwargs)
