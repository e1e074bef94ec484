# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Butler repository, as the stages see it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

__all__ = [
    "AmplifierValues",
    "CertifiedDataset",
    "CertifyOutcome",
    "DatasetFound",
    "DefectsArea",
    "ReplacedDataset",
    "Repository",
]


@dataclasses.dataclass(frozen=True)
class DatasetFound:
    """A dataset in a RUN collection.

    Parameters
    ----------
    dataset_id
        UUID as text.
    detector, physical_filter, exposure
        Its data id; None where the dataset type has no such dimension.
    run
        The RUN collection that it is in.
    """

    dataset_id: str
    detector: int | None
    physical_filter: str | None
    exposure: int | None
    run: str


@dataclasses.dataclass(frozen=True)
class CertifiedDataset:
    """A dataset that is certified for a validity range."""

    dataset_id: str
    detector: int | None
    physical_filter: str | None


@dataclasses.dataclass(frozen=True)
class ReplacedDataset:
    """A certification that had to make room.

    Parameters
    ----------
    dataset_id
        UUID of the dataset that was certified before.
    detector, physical_filter
        Its data id.
    begin_iso_tai, end_iso_tai
        The whole validity range that it had (ISO 8601 TAI, "": unbounded). What of it lies outside the new range
        stays certified.
    """

    dataset_id: str
    detector: int | None
    physical_filter: str | None
    begin_iso_tai: str
    end_iso_tai: str


@dataclasses.dataclass(frozen=True)
class CertifyOutcome:
    """What a certification did."""

    certified: tuple[CertifiedDataset, ...]
    replaced: tuple[ReplacedDataset, ...]


@dataclasses.dataclass(frozen=True)
class DefectsArea:
    """How much of a detector is marked as defective (pixels)."""

    pixels: int
    detector_pixels: int


@dataclasses.dataclass(frozen=True)
class AmplifierValues:
    """Gain (electron/adu) and noise (electron) by amplifier name; NaN where not measured."""

    gain: Mapping[str, float]
    noise: Mapping[str, float]


class Repository(Protocol):
    """What the stages need of the Butler repository. Every method raises ServiceError with a sentence."""

    async def missing_collections(self, names: Sequence[str]) -> list[str]:
        """Return those of the collections that the repository does not have."""

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
    ) -> tuple[Mapping[object, object] | None, dict[tuple[int, int], Mapping[object, object]]]:
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
