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
    "BrokenStatistics",
    "CertifiedDataset",
    "CertifiedRange",
    "CertifyOutcome",
    "CertifyRequest",
    "Coverage",
    "DatasetFound",
    "DetectorValues",
    "ExposureFound",
    "Predecessor",
    "ProductValue",
    "ReplacedDataset",
    "StatisticsTypes",
    "TypedRange",
    "UndoneCertification",
    "VerificationStatistics",
    "Withdrawal",
]


@dataclasses.dataclass(frozen=True)
class StatisticsTypes:
    """Dataset types of the statistics of a verification.

    Parameters
    ----------
    run, detector
        Those of the whole run, and of each detector in each exposure, or of its product, which has no exposures.
    exposure
        Those of each exposure; None: they are not read.
    """

    run: str
    detector: str
    exposure: str | None = None


@dataclasses.dataclass(frozen=True)
class BrokenStatistics:
    """A file is there, but it is no statistics; the reason is a sentence without its full stop."""

    reason: str


@dataclasses.dataclass(frozen=True)
class VerificationStatistics:
    """The statistics of a verification as they were read, whatever is in them.

    Parameters
    ----------
    run
        Those of the whole run; None if there are none.
    detectors
        Those of each detector, by (exposure id, detector); None instead of an exposure: of its product as such.
    exposures
        Those of each exposure; None: they were not to be read.
    """

    run: object | None
    detectors: Mapping[tuple[int | None, int], object]
    exposures: Mapping[int, object] | None = None


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
class Coverage:
    """A dataset that a calibration collection has for some range of time.

    Parameters
    ----------
    dataset_type, detector, physical_filter
        What it is; the filter is "" if the type has none.
    run
        RUN collection that it was written to.
    begin_iso_tai, end_iso_tai
        The range (ISO 8601 TAI, "": unbounded).
    """

    dataset_type: str
    detector: int
    physical_filter: str
    run: str
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
    on_conflict
        What becomes of other datasets that are certified for a part of the range: ``replace``: the range is taken from
        them; ``truncate``: they end where it begins; ``fail``: nothing is certified.
    expects
        What was found there when it was looked up; nothing is certified if it is not the same any more. None: whatever
        is there.

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
    on_conflict: str = "replace"
    expects: tuple[ReplacedDataset, ...] | None = None

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
    run
        RUN collection that it was written to; empty: not known.
    """

    dataset_id: str
    detector: int | None
    physical_filter: str | None
    begin_iso_tai: str
    end_iso_tai: str
    run: str = ""


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
class UndoneCertification:
    """What one certification has done, and is to be undone.

    Parameters
    ----------
    dataset_type, dataset_ids
        What was certified.
    begin_iso_tai, end_iso_tai
        For which range (ISO 8601 TAI, "": unbounded).
    truncated
        Whether what it replaced lost everything after the beginning, and not only the range.
    replaced
        What it replaced, with the ranges that it had.
    """

    dataset_type: str
    dataset_ids: tuple[str, ...]
    begin_iso_tai: str
    end_iso_tai: str
    truncated: bool
    replaced: tuple[ReplacedDataset, ...]


@dataclasses.dataclass(frozen=True)
class TypedRange:
    """A range that a dataset of some type has, or had, in a collection (ISO 8601 TAI, "": unbounded)."""

    dataset_type: str
    dataset_id: str
    detector: int | None
    physical_filter: str | None
    begin_iso_tai: str
    end_iso_tai: str


@dataclasses.dataclass(frozen=True)
class Withdrawal:
    """What is changed to undo certifications, all or nothing.

    Parameters
    ----------
    calib_collection
        The collection.
    certifications
        What is undone.
    out
        Ranges that are taken out of the collection: those of the certified datasets, and those of older ones that grow.
    back
        Ranges that are put into it afterwards.
    """

    calib_collection: str
    certifications: tuple[UndoneCertification, ...]
    out: tuple[TypedRange, ...] = ()
    back: tuple[TypedRange, ...] = ()


@dataclasses.dataclass(frozen=True)
class AmplifierValues:
    """Gain (electron/adu) and noise (electron) by amplifier name; NaN where not measured."""

    gain: Mapping[str, float]
    noise: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class ProductValue:
    """A value of a product: of an amplifier, or with the name "" of its detector as a whole; NaN: not measured."""

    amplifier: str
    quantity: str
    value: float
    unit: str


@dataclasses.dataclass(frozen=True)
class Predecessor:
    """The dataset that is certified for a detector, and the CALIBRATION or RUN collection in which it was found."""

    dataset_id: str
    collection: str


@dataclasses.dataclass(frozen=True)
class DetectorValues:
    """What was measured in the product of one detector.

    Parameters
    ----------
    values
        The values of the product.
    before
        The same of its predecessor; empty if there is none, or it can't be compared.
    changes
        Values that exist of both together only, such as the fraction of pixels that have changed.
    not_compared
        Why the predecessor can't be compared with the product, a sentence; "" if it was compared, or there is none.
    """

    values: tuple[ProductValue, ...]
    before: tuple[ProductValue, ...] = ()
    changes: tuple[ProductValue, ...] = ()
    not_compared: str = ""
