# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Look-ups in the Butler repository; they block and belong in Butler's thread.

Butler itself is imported when the first of them is called, not with this module: that takes seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ServiceError
from .butler_data import AmplifierValues, DatasetFound, DefectsArea, Statistics

if TYPE_CHECKING:
    from lsst.daf.butler import Butler, DatasetRef

__all__ = [
    "amplifier_values",
    "datasets",
    "defects_area",
    "exposure_records",
    "find_refs",
    "missing_collections",
    "physical_filters",
    "raws_present",
    "statistics",
]

IMAGE_TYPES = ("biasBootstrap", "bias")
"""Combined images that the defects of a detector may have been found in, or next to: they tell how large it is."""


def find_refs(butler: Butler, dataset_type: str, collections: str | Sequence[str], **query: Any) -> list[DatasetRef]:
    """Return the datasets of a type with expanded data ids; none if the repository has no such type.

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
            dataset_type, collections, limit=None, explain=False, with_dimension_records=True, **query
        )
    except MissingDatasetTypeError:
        return []
    return list(found)


def missing_collections(butler: Butler, names: Sequence[str]) -> list[str]:
    """Return those of the collections that the repository does not have."""
    from lsst.daf.butler import MissingCollectionError

    missing = []
    for name in names:
        try:
            butler.collections.get_info(name)
        except MissingCollectionError:
            missing.append(name)
    return missing


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


def physical_filters(butler: Butler, instrument: str, exposure_ids: Collection[int]) -> dict[int, str]:
    """Return the physical filter of each exposure that the repository knows."""
    records = exposure_records(butler, instrument, exposure_ids)
    return {int(record.id): str(record.physical_filter) for record in records}


def datasets(butler: Butler, collection_run: str, dataset_type: str) -> list[DatasetFound]:
    """Return the datasets of one type in a RUN collection, none if there is no such collection."""
    from lsst.daf.butler import MissingCollectionError

    try:
        refs = find_refs(butler, dataset_type, collection_run)
    except MissingCollectionError:
        return []
    return [_found(ref) for ref in refs]


def statistics(
    butler: Butler,
    instrument: str,
    collection: str,
    run_statistics: str,
    detector_statistics: str,
    physical_filter: str | None,
) -> tuple[Statistics | None, dict[tuple[int, int], Statistics]]:
    """Read the statistics of a verification: those of the whole run, and those by (exposure id, detector)."""
    data_id = {"instrument": instrument} | ({"physical_filter": physical_filter} if physical_filter else {})
    refs = find_refs(butler, run_statistics, collection, **data_id)
    if len(refs) > 1:
        raise ServiceError(
            f"{collection} has {len(refs)} datasets of type {run_statistics}; which filter is meant has to be said."
        )
    run_level = _mapping(butler, refs[0]) if refs else None
    detector_level = {
        (int(ref.dataId["exposure"]), int(ref.dataId["detector"])): _mapping(butler, ref)
        for ref in find_refs(butler, detector_statistics, collection, **data_id)
    }
    return run_level, detector_level


def defects_area(butler: Butler, collection_run: str, dataset_type: str) -> dict[int, DefectsArea]:
    """Return how much of each detector is defective."""
    areas = {}
    chain = collection_run.removesuffix("/run")
    for ref in find_refs(butler, dataset_type, collection_run):
        pixels = sum(int(defect.getBBox().getArea()) for defect in butler.get(ref))
        areas[int(ref.dataId["detector"])] = DefectsArea(pixels, _detector_pixels(butler, ref, chain))
    return areas


def amplifier_values(
    butler: Butler, collection_run: str, dataset_type: str
) -> list[tuple[int | None, int, AmplifierValues]]:
    """Return exposure id (if the type has one), detector, gains and noises of photon transfer curves."""
    values = []
    for ref in find_refs(butler, dataset_type, collection_run):
        curve, found = butler.get(ref), _found(ref)
        if found.detector is None:
            raise ServiceError(f"{dataset_type} in {collection_run} is not by detector.")
        values.append((found.exposure, found.detector, _amplifiers(curve)))
    return values


def _amplifiers(curve: Any) -> AmplifierValues:
    """Return gains and noises in the order of the amplifiers; NaN for one that is missing."""
    gain, noise = (
        {name: float(values.get(name, "nan")) for name in curve.ampNames} for values in (curve.gain, curve.noise)
    )
    return AmplifierValues(gain, noise)


def _detector_pixels(butler: Butler, defects: DatasetRef, chain: str) -> int:
    """Return how many pixels a detector has, from a combined image that the job that found its defects could see."""
    for image_type in IMAGE_TYPES:
        try:
            ref = butler.find_dataset(image_type, defects.dataId, collections=chain)
        except LookupError:  # no such type, or not certain which: ask for the next
            continue
        if ref is not None:
            return int(butler.get(ref).image.array.size)
    raise ServiceError(
        f"How large detector {defects.dataId['detector']} is can't be told: {chain} has no {' or '.join(IMAGE_TYPES)}."
    )


def exposure_records(butler: Butler, instrument: str, exposure_ids: Collection[int]) -> list[Any]:
    """Return what the repository knows of exposures."""
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
    """Return plain data for a dataset."""
    data_id = ref.dataId
    required = data_id.dimensions.required
    return DatasetFound(
        dataset_id=str(ref.id),
        detector=int(data_id["detector"]) if "detector" in required else None,
        physical_filter=str(data_id["physical_filter"]) if "physical_filter" in data_id.dimensions else None,
        exposure=int(data_id["exposure"]) if "exposure" in required else None,
        run=str(ref.run),
    )


def _mapping(butler: Butler, ref: DatasetRef) -> Statistics:
    """Read a dataset that must be a mapping."""
    value = butler.get(ref)
    if not isinstance(value, Mapping):
        raise ServiceError(f"{ref} is a {type(value).__name__}, not statistics.")
    return value
