# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The results of the Butler service as plain data, so that no code above it holds Butler's own objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from .enums import Verdict

__all__ = [
    "AmplifierValues",
    "CertifiedDataset",
    "CertifiedRange",
    "CertifyOutcome",
    "CertifyRequest",
    "DatasetFound",
    "DefectsArea",
    "ExposureFound",
    "ReplacedDataset",
    "Statistics",
]

Statistics = Mapping[object, object]


@dataclasses.dataclass(frozen=True)
class DatasetFound:
    """A dataset in a RUN collection.

    Parameters
    ----------
    dataset_id
        UUID as text.
    detector, physical_filter, exposure
        Its data id; None if the dataset type has no such dimension.
    run
        The RUN collection that it is in.
    """

    dataset_id: str
    detector: int | None
    physical_filter: str | None
    exposure: int | None
    run: str


@dataclasses.dataclass(frozen=True)
class ExposureFound:
    """An exposure that the repository knows.

    Parameters
    ----------
    exposure_id
        Its id.
    day_obs
        The day of observation that it belongs to, such as 20261122.
    physical_filter
        Its filter.
    begin_iso_tai, end_iso_tai
        Beginning and end of the exposure (ISO 8601 TAI).
    obs_id
        The camera's name of it.
    """

    exposure_id: int
    day_obs: int
    physical_filter: str
    begin_iso_tai: str
    end_iso_tai: str
    obs_id: str = ""


@dataclasses.dataclass(frozen=True)
class CertifiedRange:
    """A validity range that a dataset is certified for, as the repository has it (ISO 8601 TAI, "": unbounded)."""

    dataset_id: str
    begin_iso_tai: str
    end_iso_tai: str


@dataclasses.dataclass(frozen=True)
class CertifyRequest:
    """Exactly these datasets are to be certified, and why they may be.

    Parameters
    ----------
    run_collection, dataset_type, dataset_ids
        RUN collection that has them, their type and their UUIDs.
    calib_collection
        CALIBRATION collection, made if it does not exist.
    begin_iso_tai, end_iso_tai
        Validity range, ISO 8601 TAI; "": unbounded.
    verdict
        The good verdict on them; None: they are not verified, and the operator wants that (certify_unverified).

    Raises
    ------
    ValueError
        If the verdict is not good: nothing else may be certified.
    """

    run_collection: str
    dataset_type: str
    dataset_ids: tuple[str, ...]
    calib_collection: str
    begin_iso_tai: str
    end_iso_tai: str
    verdict: Verdict | None

    def __post_init__(self) -> None:
        if self.verdict in (Verdict.FAILED, Verdict.UNKNOWN):
            raise ValueError(f"{self.dataset_type} of {self.run_collection} is {self.verdict.name}, and not certified")


@dataclasses.dataclass(frozen=True)
class CertifiedDataset:
    """A dataset that is certified for a validity range."""

    dataset_id: str
    detector: int | None
    physical_filter: str | None


@dataclasses.dataclass(frozen=True)
class ReplacedDataset:
    """An older certification that was withdrawn.

    Parameters
    ----------
    dataset_id
        UUID of the dataset that was certified before.
    detector, physical_filter
        Its data id.
    begin_iso_tai, end_iso_tai
        The whole validity range that it had (ISO 8601 TAI, "": unbounded). Outside the
        new range it stays certified.
    """

    dataset_id: str
    detector: int | None
    physical_filter: str | None
    begin_iso_tai: str
    end_iso_tai: str


@dataclasses.dataclass(frozen=True)
class CertifyOutcome:
    """The outcome of a certification.

    Parameters
    ----------
    certified
        The datasets that are certified now.
    replaced
        The certifications that were withdrawn, one entry for each range; a dataset may have had several.
    found
        Everything was certified already, as after a try whose answer was lost; what that one withdrew is not known.
    """

    certified: tuple[CertifiedDataset, ...]
    replaced: tuple[ReplacedDataset, ...]
    found: bool = False


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
