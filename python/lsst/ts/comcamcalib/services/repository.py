# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the stages need of the Butler repository."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

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
from ..enums import CalibType
from .raw_level import KnownAmplifiers

__all__ = ["Repository"]


class Repository(Protocol):
    """What the stages need of the Butler repository. Every method raises ServiceError with a sentence."""

    async def missing_collections(self, names: Sequence[str]) -> list[str]:
        """Return those of the collections that the repository does not have."""

    async def near_names(self, names: Sequence[str]) -> dict[str, str]:
        """Return, by name, the existing collections with calibrations that are probably meant by unknown names."""

    async def certify_obstacle(self, calib_collection: str) -> str:
        """Return why nothing can be certified in a collection; "" if it is a CALIBRATION one or does not exist."""

    async def raws_present(self, exposure_ids: Collection[int], detectors: Collection[int]) -> set[tuple[int, int]]:
        """Return the (exposure id, detector) whose raw is in the repository."""

    async def exposures(self, exposure_ids: Collection[int]) -> dict[int, ExposureFound]:
        """Return the exposures that the repository knows, by id."""

    async def exposures_of_group(self, group_id: str) -> list[ExposureFound]:
        """Return the exposures that were taken with a group id and that the repository knows, in order.

        It knows an exposure from the ingest of its first file on.

        Raises
        ------
        ServiceError
            If it does not answer.
        """

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

    async def detectors_without(
        self, dataset_type: str, collections: Sequence[str], detectors: Collection[int], at_iso_tai: str
    ) -> list[int]:
        """Return the detectors for which the collections have no calibration of a type at some time (ISO 8601 TAI)."""

    async def coverage(self, dataset_types: Sequence[str], collection: str, since_iso_tai: str) -> list[Coverage]:
        """Return what a calibration collection has for any time since some time (ISO 8601 TAI).

        Types that the repository does not know are left out, and so is everything if there is no such collection.
        """

    async def get(self, dataset_type: str, collection: str, **data_id: int | str) -> object:
        """Read one dataset; the instrument need not be given."""

    async def statistics(
        self, collection: str, types: StatisticsTypes, physical_filter: str | None = None
    ) -> VerificationStatistics:
        """Read the statistics of a verification, for flats those in one filter.

        A file that can be read but is no statistics has `BrokenStatistics` in its place.
        """

    async def certify(self, request: CertifyRequest) -> CertifyOutcome:
        """Certify datasets for a validity range, all or none.

        What becomes of older certifications of the same data ids, the request says. Repeating a certification changes
        nothing.

        Raises
        ------
        ConflictError
            If there are some, and they may not be replaced.
        ChangedError
            If they are not what the request expects.
        """

    async def certified_before(self, request: CertifyRequest) -> list[ReplacedDataset]:
        """Return the certifications that `certify` would withdraw; this changes nothing."""

    async def read_back(
        self,
        dataset_type: str,
        calib_collection: str,
        begin_iso_tai: str,
        end_iso_tai: str,
        dataset_ids: Collection[str],
        exposures: Collection[int] = (),
    ) -> list[str]:
        """Return a sentence for each of these datasets that Butler does not find in the collection as it should.

        Butler should find exactly this dataset within the whole range, and for each exposure that the range covers.
        Certifications that were requested before have ended, or were dropped, when this looks.
        """

    async def certified_ranges(
        self, dataset_type: str, calib_collection: str, dataset_ids: Collection[str]
    ) -> list[CertifiedRange]:
        """Return the ranges for which some datasets are certified in a collection.

        Certifications that were requested before have ended, or were dropped, when this looks.
        """

    async def certified_for_others(
        self, dataset_type: str, calib_collection: str, begin_iso_tai: str, end_iso_tai: str, detectors: Collection[int]
    ) -> list[ReplacedDataset]:
        """Return what is certified for a part of a range for some detectors, in whatever filter."""

    async def look_withdrawal(self, wanted: Withdrawal) -> Withdrawal:
        """Return what must go out of a collection, and come back into it, to undo certifications.

        Nothing is changed. Certifications that were requested before have ended, or were dropped, when this looks. If
        nothing must go out, none of the datasets is certified any more.

        Raises
        ------
        ConflictError
            If somebody else has certified there in the meantime.
        """

    async def withdraw(self, planned: Withdrawal) -> None:
        """Undo certifications as `look_withdrawal` has planned it, all or nothing.

        Raises
        ------
        ChangedError
            If the collection is not as it was then; nothing was changed.
        """

    async def read_back_withdrawal(self, done: Withdrawal, exposures: Collection[int] = ()) -> list[str]:
        """Return a sentence for each dataset type that a user does not find as it should be after a withdrawal.

        The repository is opened anew for that; it is asked by time, and for the exposures.
        """

    async def predecessors(
        self,
        dataset_type: str,
        collections: Sequence[str],
        exposure_id: int,
        physical_filter: str,
        own: Collection[str],
    ) -> dict[int, Predecessor]:
        """Return what is certified for each detector at the time of an exposure; detectors without it are left out.

        Parameters
        ----------
        dataset_type
            Type of the calibration.
        collections
            Collections to search, in order; those that do not exist are skipped.
        exposure_id
            The exposure.
        physical_filter
            The filter; "" if the type has none.
        own
            UUIDs that do not count: those of the run itself, which may be certified already.
        """

    async def product_values(
        self,
        calib_type: CalibType,
        dataset_ids: Sequence[str],
        amplifier_rows: Sequence[Sequence[str]],
        predecessor_id: str = "",
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
        """

    async def gain_values(
        self, collection_run: str, dataset_type: str = "cpPtcPartial"
    ) -> dict[tuple[int, int], AmplifierValues]:
        """Return gains and noises by (exposure id, detector) from the flat pairs."""

    async def certified_ptc(
        self, collections: Sequence[str], exposure_id: int, detectors: Collection[int]
    ) -> dict[int, KnownAmplifiers]:
        """Return the values of the ptc that is valid for an exposure, by detector; those without a ptc are left out."""

    async def raw_levels(self, exposure_id: int, detector: int) -> dict[str, float]:
        """Return the level (adu) above its overscan of each amplifier of a raw, by name."""
