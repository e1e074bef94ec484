# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Look-ups in the Butler repository; they block and must run in Butler's thread.

Butler is imported when the first of them is called, not with this module, because that takes seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..butler_data import AmplifierValues, DatasetFound, ExposureFound
from ..errors import ServiceError
from .collection_names import near

if TYPE_CHECKING:
    from astropy.time import Time
    from lsst.daf.butler import Butler, DatasetRef

__all__ = [
    "amplifier_values",
    "datasets",
    "exposure_records",
    "exposures",
    "exposures_of_group",
    "find_refs",
    "iso_tai",
    "missing_collections",
    "near_names",
    "product_refs",
    "raws_present",
]

JOB_COLLECTIONS = "u/ocps/"
"""Beginning of the names of the collections of OCPS jobs; there are thousands, and operators never type them."""


def iso_tai(bound: Time | None) -> str:
    """Return a bound of a timespan as ISO 8601 TAI, exact to Butler's nanosecond; "" if there is none."""
    if bound is None:
        return ""
    time = bound.tai
    time.precision = 9
    return str(time.isot).rstrip("0").rstrip(".")


def find_refs(butler: Butler, dataset_type: str, collections: str | Sequence[str], **query: Any) -> list[DatasetRef]:
    """Return the datasets of a type; none if the repository has no such type.

    Their data ids have only the required dimensions, not implied ones such as the filter of an exposure, because Butler
    would need seven more queries for these.

    Parameters
    ----------
    butler
        The repository.
    dataset_type, collections
        What to look for, and where. A missing collection is an error.
    **query
        ``where``, ``bind`` and parts of the data id.
    """
    from lsst.daf.butler import MissingDatasetTypeError

    try:
        found = butler.query_datasets(
            dataset_type, collections, limit=None, explain=False, with_dimension_records=False, **query
        )
    except MissingDatasetTypeError:
        return []
    return list(found)


def product_refs(butler: Butler, dataset_type: str, collection_run: str, /) -> list[DatasetRef]:
    """Return the datasets of one type in a RUN collection, which must exist."""
    return find_refs(butler, dataset_type, collection_run)


def missing_collections(butler: Butler, names: Sequence[str]) -> list[str]:
    """Return those of the collections that the repository does not have; one query if it has them all."""
    from lsst.daf.butler import MissingCollectionError

    def is_missing(*some: str) -> bool:
        try:
            butler.collections.query(some)
        except MissingCollectionError:
            return True
        return False

    return [name for name in names if is_missing(name)] if names and is_missing(*names) else []


def near_names(butler: Butler, names: Sequence[str]) -> dict[str, str]:
    """Return, by name, the existing collections that are probably meant by unknown names.

    Only collections with calibrations are considered: CALIBRATION and CHAINED ones, without those of jobs.
    """
    from lsst.daf.butler import CollectionType

    if not names:
        return {}
    kinds = {CollectionType.CALIBRATION, CollectionType.CHAINED}
    existing = [
        name for name in butler.collections.query("*", collection_types=kinds) if not name.startswith(JOB_COLLECTIONS)
    ]
    return {name: meant for name in names if (meant := near(name, existing))}


def raws_present(
    butler: Butler, instrument: str, collection: str, exposure_ids: Collection[int], detectors: Collection[int]
) -> set[tuple[int, int]]:
    """Return the (exposure id, detector) whose raw is in the collection."""
    if not exposure_ids or not detectors:
        return set()
    refs = find_refs(
        butler,
        "raw",
        collection,
        where="exposure IN (wanted_exposures) AND detector IN (wanted_detectors)",
        bind={"wanted_exposures": list(exposure_ids), "wanted_detectors": list(detectors)},
        instrument=instrument,
    )
    return {(int(ref.dataId["exposure"]), int(ref.dataId["detector"])) for ref in refs}


def exposures(butler: Butler, instrument: str, exposure_ids: Collection[int]) -> dict[int, ExposureFound]:
    """Return the exposures that the repository knows, by id."""
    return {int(record.id): _exposure(record) for record in exposure_records(butler, instrument, exposure_ids)}


def exposures_of_group(butler: Butler, instrument: str, group_id: str) -> list[ExposureFound]:
    """Return the exposures that were taken with a group id, in order."""
    records: Iterable[Any] = butler.query_dimension_records(
        "exposure",
        where="exposure.group = wanted_group",
        bind={"wanted_group": group_id},
        instrument=instrument,
        limit=None,
        explain=False,
    )
    return sorted(map(_exposure, records), key=lambda one: one.exposure_id)


def _exposure(record: Any) -> ExposureFound:
    return ExposureFound(
        exposure_id=int(record.id),
        day_obs=int(record.day_obs),
        physical_filter=str(record.physical_filter),
        begin_iso_tai=iso_tai(record.timespan.begin),
        end_iso_tai=iso_tai(record.timespan.end),
        obs_id=str(record.obs_id),
    )


def datasets(butler: Butler, collection_run: str, dataset_type: str) -> list[DatasetFound]:
    """Return the datasets of one type in a RUN collection, none if there is no such collection."""
    from lsst.daf.butler import MissingCollectionError

    try:
        refs = find_refs(butler, dataset_type, collection_run)
    except MissingCollectionError:
        return []
    return [_found(ref) for ref in refs]


def amplifier_values(butler: Butler, curves: Sequence[DatasetRef]) -> list[tuple[int | None, int, AmplifierValues]]:
    """Return exposure id (if the type has one), detector, gains and noises of photon transfer curves."""
    values = []
    for ref in curves:
        curve, found = butler.get(ref), _found(ref)
        if found.detector is None:
            raise ServiceError(f"{ref.datasetType.name} in {ref.run} is not by detector.")
        values.append((found.exposure, found.detector, _amplifiers(curve)))
    return values


def _amplifiers(curve: Any) -> AmplifierValues:
    """Return gains and noises in the order of the amplifiers; NaN for one that is missing."""
    gain, noise = (
        {name: float(values.get(name, "nan")) for name in curve.ampNames} for values in (curve.gain, curve.noise)
    )
    return AmplifierValues(gain, noise)


def exposure_records(butler: Butler, instrument: str, exposure_ids: Collection[int]) -> list[Any]:
    """Return the repository's records of exposures."""
    if not exposure_ids:
        return []
    records: Iterable[Any] = butler.query_dimension_records(
        "exposure",
        where="exposure IN (wanted_exposures)",
        bind={"wanted_exposures": list(exposure_ids)},
        instrument=instrument,
        limit=None,
        explain=False,
    )
    return sorted(records, key=lambda record: int(record.id))


def _found(ref: DatasetRef) -> DatasetFound:
    """Return a dataset as plain data."""
    data_id = ref.dataId
    required = data_id.dimensions.required
    return DatasetFound(
        dataset_id=str(ref.id),
        detector=int(data_id["detector"]) if "detector" in required else None,
        physical_filter=str(data_id["physical_filter"]) if "physical_filter" in required else None,
        exposure=int(data_id["exposure"]) if "exposure" in required else None,
        run=str(ref.run),
    )
