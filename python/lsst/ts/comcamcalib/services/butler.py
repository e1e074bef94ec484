# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Butler repository, as the stages see it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from ..config import Limits
from ..errors import ServiceError
from . import butler_certify, butler_lookup, butler_queries, raw_level
from .butler_data import (
    AmplifierValues,
    CertifiedDataset,
    CertifyOutcome,
    DatasetFound,
    DefectsArea,
    ReplacedDataset,
    Statistics,
)
from .raw_level import KnownAmplifiers
from .worker_thread import WorkerThread

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

__all__ = [
    "AmplifierValues",
    "ButlerService",
    "CertifiedDataset",
    "CertifyOutcome",
    "DatasetFound",
    "DefectsArea",
    "KnownAmplifiers",
    "ReplacedDataset",
    "Repository",
    "Statistics",
]

P = ParamSpec("P")
T = TypeVar("T")

CLOSE_LIMIT_S = 5.0
"""Longest wait for what Butler is doing when it is to be closed (seconds): DISABLED must not take longer."""


class Repository(Protocol):
    """What the stages need of the Butler repository. Every method raises ServiceError with a sentence."""

    async def missing_collections(self, names: Sequence[str]) -> list[str]:
        """Return those of the collections that the repository does not have."""

    async def certify_obstacle(self, calib_collection: str) -> str:
        """Say why nothing can be certified in a collection; "" if it is a CALIBRATION one or does not exist."""

    async def raws_present(self, exposure_ids: Collection[int], detectors: Collection[int]) -> set[tuple[int, int]]:
        """Return the (exposure id, detector) whose raw is in the repository."""

    async def physical_filters(self, exposure_ids: Collection[int]) -> dict[int, str]:
        """Return the physical filter of each exposure that the repository knows."""

    async def datasets(self, collection_run: str, dataset_type: str) -> list[DatasetFound]:
        """Return the datasets of one type in a RUN collection; empty if there is no such collection or type."""

    async def foreign_inputs(
        self,
        job_collection: str,
        dataset_type: str,
        exposures: Collection[int],
        detectors: Collection[int],
        expected_run: str,
    ) -> list[str]:
        """Return a sentence for each detector for which a job used another dataset than this run's own.

        Parameters
        ----------
        job_collection
            The job's output chain, ``u/ocps/<job id>``, which also records its inputs, in order.
        dataset_type
            The calibration that it looked up, such as ``bias``.
        exposures, detectors
            The data that it worked on.
        expected_run
            The RUN collection with this run's own product.
        """

    async def get(self, dataset_type: str, collection: str, **data_id: int | str) -> object:
        """Read one dataset; the instrument need not be given."""

    async def statistics(
        self, collection: str, run_statistics: str, detector_statistics: str, physical_filter: str | None = None
    ) -> tuple[Statistics | None, dict[tuple[int, int], Statistics]]:
        """Read what a verification found.

        Returns
        -------
        run_level
            The statistics of the whole run; None if there are none.
        detector_level
            Those by (exposure id, detector).
        """

    async def certify(
        self,
        run_collection: str,
        dataset_type: str,
        calib_collection: str,
        begin_iso_tai: str,
        end_iso_tai: str,
        dataset_ids: Collection[str],
    ) -> CertifyOutcome:
        """Certify exactly these datasets of a RUN collection for a validity range, all or none.

        What is certified for the same data ids within the range makes room; outside the range it stays. Doing the same
        again changes nothing.

        Parameters
        ----------
        run_collection
            RUN collection that has them.
        dataset_type
            Their type.
        calib_collection
            CALIBRATION collection, made if it does not exist.
        begin_iso_tai, end_iso_tai
            Validity range, ISO 8601 TAI; "": unbounded.
        dataset_ids
            UUIDs of the datasets.
        """

    async def read_back(
        self,
        dataset_type: str,
        calib_collection: str,
        begin_iso_tai: str,
        end_iso_tai: str,
        dataset_ids: Collection[str],
    ) -> list[str]:
        """Return a sentence for each of these datasets that is not found in the collection for the whole range."""

    async def defects_area(self, collection_run: str, dataset_type: str = "defects") -> dict[int, DefectsArea]:
        """Return how much of each detector is defective."""

    async def ptc_values(self, collection_run: str, dataset_type: str = "ptc") -> dict[int, AmplifierValues]:
        """Return gains and noises of each detector from its photon transfer curve."""

    async def gain_values(
        self, collection_run: str, dataset_type: str = "cpPtcPartial"
    ) -> dict[tuple[int, int], AmplifierValues]:
        """Return gains and noises by (exposure id, detector) from the flat pairs."""

    async def certified_ptc(
        self, collections: Sequence[str], exposure_id: int, detectors: Collection[int]
    ) -> dict[int, KnownAmplifiers]:
        """Return what the ptc that is valid for an exposure knows, by detector; what has none is left out."""

    async def raw_levels(self, exposure_id: int, detector: int) -> dict[str, float]:
        """Return the level (adu) above its overscan of each amplifier of a raw, by name."""


class ButlerService:
    """The Butler repository, used by one thread of its own.

    Butler is imported, and the repository opened, by the first question: the CSC is in STANDBY before that.

    Parameters
    ----------
    repo
        The repository.
    instrument
        Butler's name of the instrument.
    raw_collection
        Collection that raws are ingested into.
    limits
        Limits of time: ``butler_query``, ``butler_certify``.
    """

    def __init__(self, repo: str, instrument: str, raw_collection: str, limits: Limits) -> None:
        self._repo = repo
        self._instrument = instrument
        self._raw_collection = raw_collection
        self._limits = limits
        self._thread = WorkerThread(f"Butler ({repo})")
        self._butler: Butler | None = None  # belongs to the thread

    async def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def close(self) -> None:
        """End the thread; what it is doing is waited for, but not long."""
        with contextlib.suppress(ServiceError):
            await self._thread.do("close the repository", CLOSE_LIMIT_S, self._close_butler)
        await self._thread.close(CLOSE_LIMIT_S)

    async def missing_collections(self, names: Sequence[str]) -> list[str]:
        """Return those of the collections that the repository does not have."""
        return await self._ask("look for collections", butler_queries.missing_collections, names)

    async def certify_obstacle(self, calib_collection: str) -> str:
        """Say why nothing can be certified in a collection; see `Repository.certify_obstacle`."""
        return await self._ask(f"look at {calib_collection}", butler_certify.certify_obstacle, calib_collection)

    async def raws_present(self, exposure_ids: Collection[int], detectors: Collection[int]) -> set[tuple[int, int]]:
        """Return the (exposure id, detector) whose raw is in the repository."""
        what = f"look for raws of {len(exposure_ids)} exposures"
        return await self._ask(
            what, butler_queries.raws_present, self._instrument, self._raw_collection, exposure_ids, detectors
        )

    async def physical_filters(self, exposure_ids: Collection[int]) -> dict[int, str]:
        """Return the physical filter of each exposure that the repository knows."""
        what = f"look up the filters of {len(exposure_ids)} exposures"
        return await self._ask(what, butler_queries.physical_filters, self._instrument, exposure_ids)

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

    async def get(self, dataset_type: str, collection: str, **data_id: int | str) -> object:
        """Read one dataset; the instrument need not be given."""
        full = {"instrument": self._instrument, **data_id}

        def read(butler: Butler) -> object:
            value: object = butler.get(dataset_type, full, collections=collection)
            return value

        words = ", ".join(f"{key} {value}" for key, value in data_id.items()) or "the instrument"
        return await self._ask(f"read {dataset_type} of {words} from {collection}", read)

    async def statistics(
        self, collection: str, run_statistics: str, detector_statistics: str, physical_filter: str | None = None
    ) -> tuple[Statistics | None, dict[tuple[int, int], Statistics]]:
        """Read what a verification found; see `Repository.statistics`."""
        what = f"read {run_statistics} and {detector_statistics} from {collection}"
        look_up = butler_queries.statistics
        return await self._ask(
            what, look_up, self._instrument, collection, run_statistics, detector_statistics, physical_filter
        )

    async def certify(
        self,
        run_collection: str,
        dataset_type: str,
        calib_collection: str,
        begin_iso_tai: str,
        end_iso_tai: str,
        dataset_ids: Collection[str],
    ) -> CertifyOutcome:
        """Certify exactly these datasets of a RUN collection, all or none; see `Repository.certify`."""
        what = f"certify {dataset_type} of {run_collection} in {calib_collection}"
        validity = (begin_iso_tai, end_iso_tai)
        return await self._do(
            what,
            self._limits.butler_certify,
            butler_certify.certify,
            run_collection,
            dataset_type,
            calib_collection,
            *validity,
            dataset_ids,
        )

    async def read_back(
        self,
        dataset_type: str,
        calib_collection: str,
        begin_iso_tai: str,
        end_iso_tai: str,
        dataset_ids: Collection[str],
    ) -> list[str]:
        """Return what is not found again after certification; see `Repository.read_back`."""
        what = f"read {dataset_type} back from {calib_collection}"
        validity = (begin_iso_tai, end_iso_tai)
        return await self._ask(what, butler_certify.read_back, dataset_type, calib_collection, *validity, dataset_ids)

    async def defects_area(self, collection_run: str, dataset_type: str = "defects") -> dict[int, DefectsArea]:
        """Return how much of each detector is defective."""
        what = f"read {dataset_type} from {collection_run}"
        return await self._ask(what, butler_queries.defects_area, collection_run, dataset_type)

    async def ptc_values(self, collection_run: str, dataset_type: str = "ptc") -> dict[int, AmplifierValues]:
        """Return gains and noises of each detector from its photon transfer curve."""
        what = f"read {dataset_type} from {collection_run}"
        values = await self._ask(what, butler_queries.amplifier_values, collection_run, dataset_type)
        return {detector: value for _, detector, value in values}

    async def gain_values(
        self, collection_run: str, dataset_type: str = "cpPtcPartial"
    ) -> dict[tuple[int, int], AmplifierValues]:
        """Return gains and noises by (exposure id, detector) from the flat pairs."""
        what = f"read {dataset_type} from {collection_run}"
        values = await self._ask(what, butler_queries.amplifier_values, collection_run, dataset_type)
        return {(exposure, detector): value for exposure, detector, value in values if exposure is not None}

    async def certified_ptc(
        self, collections: Sequence[str], exposure_id: int, detectors: Collection[int]
    ) -> dict[int, KnownAmplifiers]:
        """Return what the ptc that is valid for an exposure knows; see `Repository.certified_ptc`."""
        what = f"look up the ptc of exposure {exposure_id} in {', '.join(collections)}"
        return await self._ask(what, raw_level.certified_ptc, self._instrument, collections, exposure_id, detectors)

    async def raw_levels(self, exposure_id: int, detector: int) -> dict[str, float]:
        """Return the level (adu) of each amplifier of a raw; see `Repository.raw_levels`."""
        what = f"read the raw of detector {detector} of exposure {exposure_id}"
        return await self._ask(
            what, raw_level.raw_levels, self._instrument, self._raw_collection, exposure_id, detector
        )

    async def _ask(
        self, what: str, function: Callable[Concatenate[Butler, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Have the thread look something up."""
        return await self._do(what, self._limits.butler_query, function, *args, **kwargs)

    async def _do(
        self,
        what: str,
        limit_s: float,
        function: Callable[Concatenate[Butler, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Have the thread call a function with the opened repository.

        Raises
        ------
        UnreachableError
            If it took too long.
        ServiceError
            If it failed.
        """

        def work() -> T:
            try:
                return function(self._opened_butler(), *args, **kwargs)
            except ServiceError:
                raise
            except Exception as error:
                # A lost connection to the database would be lost for ever: open the repository anew next time.
                self._close_butler()
                cause = f"{type(error).__name__}: {error}"
                raise ServiceError(f"Butler ({self._repo}) could not {what}: {cause}") from error

        return await self._thread.do(what, limit_s, work)

    def _opened_butler(self) -> Butler:
        """Return the repository, as others have changed it meanwhile."""
        from lsst.daf.butler import Butler

        if self._butler is None:
            self._butler = Butler.from_config(self._repo, writeable=True)
        else:
            self._butler.registry.refresh()
        return self._butler

    def _close_butler(self) -> None:
        """Close the repository."""
        butler, self._butler = self._butler, None
        if butler is not None:
            butler.close()
