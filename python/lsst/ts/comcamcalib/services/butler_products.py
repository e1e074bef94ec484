# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is measured in the products of a run, and what is certified before them, one detector at a time.

These functions block and must run in threads. Frames are read from their files, without Butler and the science
pipelines (see `lsst.ts.comcamcalib.services.frame_files`).
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from ..butler_data import DetectorValues, Predecessor
from ..enums import CalibType
from ..errors import ServiceError
from .butler_lookup import matches
from .butler_queries import exposure_records, missing_collections
from .curve_values import curve_values, pair_values
from .defect_values import defect_changes, defect_mask, defect_values
from .frame_files import image_shape, read_combined
from .frame_values import Region, changed_fractions, depth_values, frame_values, regions

if TYPE_CHECKING:
    from lsst.daf.butler import Butler, DatasetRef
    from lsst.resources import ResourcePath

__all__ = ["curve_of", "defects_of", "files", "frame_of", "pairs_of", "predecessors"]

IMAGE_TYPES = ("biasBootstrap", "bias")
"""Combined images of the job that made the defects; they give the size of the detector."""

AmplifierRows = Sequence[Sequence[str]]


def predecessors(
    butler: Butler,
    instrument: str,
    dataset_type: str,
    collections: Sequence[str],
    exposure_id: int,
    physical_filter: str,
    own: Collection[str],
) -> dict[int, Predecessor]:
    """Return what is certified for each detector at the time of an exposure; see `ButlerService.predecessors`."""
    from lsst.daf.butler import MissingDatasetTypeError

    records = exposure_records(butler, instrument, [exposure_id])
    if not records:
        raise ServiceError(f"The repository does not know exposure {exposure_id}.")
    missing = missing_collections(butler, collections)
    there = [name for name in collections if name not in missing]
    searched = list(butler.collections.query(there, flatten_chains=True)) if there else []
    try:
        found = matches(butler, instrument, dataset_type, searched, records[0].timespan) if searched else []
    except MissingDatasetTypeError:
        found = []
    first: dict[int, Predecessor] = {}
    for match in found:
        if match.physical_filter not in (None, physical_filter) or match.dataset_id in own or match.detector is None:
            continue
        first.setdefault(match.detector, Predecessor(match.dataset_id, match.collection))
    return first


def files(butler: Butler, dataset_ids: Sequence[str]) -> list[ResourcePath]:
    """Return the files of datasets, in their order.

    Raises
    ------
    ServiceError
        If one of them is not there, or is not a single file.
    """
    refs = _refs(butler, dataset_ids)
    places = butler.get_many_uris(refs)
    for ref in refs:
        if places[ref].primaryURI is None:
            raise ServiceError(f"{ref} is not a single file.")
    return [places[ref].primaryURI for ref in refs]


def frame_of(calib_type: CalibType, uris: Sequence[ResourcePath], rows: AmplifierRows) -> DetectorValues:
    """Measure a frame and, if it has a predecessor, compare them.

    Parameters
    ----------
    calib_type
        BIAS, DARK or FLAT.
    uris
        Its file and that of the predecessor, if there is one.
    rows
        See `regions`.
    """
    image, scales = read_combined(uris[0])
    places = _places(uris[0], image.shape, rows)
    values = (*frame_values(calib_type, image, places), *depth_values(calib_type, scales))
    if len(uris) == 1:
        return DetectorValues(values)
    before, scales_before = read_combined(uris[1])
    if before.shape != image.shape:
        return DetectorValues(values, not_compared=_other_size(image.shape, before.shape))
    return DetectorValues(
        values,
        before=(*frame_values(calib_type, before, places), *depth_values(calib_type, scales_before)),
        changes=tuple(changed_fractions(image, before, places)),
    )


def defects_of(
    butler: Butler, dataset_ids: Sequence[str], rows: AmplifierRows, left_out: Collection[str] = ()
) -> DetectorValues:
    """Measure the defects of a detector; the second of the datasets, if there is one, is their predecessor.

    Amplifiers that are left out are no part of the detector's values.
    """
    ref, *earlier = _refs(butler, dataset_ids)
    uri = _image_of_job(butler, ref)
    shape = image_shape(uri)
    places = _places(uri, shape, rows)
    mask = defect_mask(butler.get(ref), shape)
    values = tuple(defect_values(mask, places, left_out))
    if not earlier:
        return DetectorValues(values)
    try:
        before = defect_mask(butler.get(earlier[0]), shape)
    except ServiceError as error:
        return DetectorValues(values, not_compared=str(error))
    return DetectorValues(
        values,
        before=tuple(defect_values(before, places, left_out)),
        changes=tuple(defect_changes(mask, before, places, left_out)),
    )


def curve_of(butler: Butler, dataset_ids: Sequence[str]) -> DetectorValues:
    """Read a photon transfer curve; the second of the datasets, if there is one, is its predecessor."""
    values, *before = (tuple(curve_values(butler.get(ref))) for ref in _refs(butler, dataset_ids))
    return DetectorValues(values, before=before[0] if before else ())


def pairs_of(butler: Butler, dataset_ids: Sequence[str], predecessor_id: str) -> DetectorValues:
    """Read what pairs of flats give; the predecessor, if there is one, is a photon transfer curve."""
    pairs = [butler.get(ref) for ref in _refs(butler, dataset_ids)]
    before: Any = [butler.get(ref) for ref in _refs(butler, [predecessor_id] if predecessor_id else [])]
    return DetectorValues(tuple(pair_values(pairs)), before=tuple(curve_values(before[0])) if before else ())


def _refs(butler: Butler, dataset_ids: Sequence[str]) -> list[DatasetRef]:
    """Return the datasets with these UUIDs, in their order."""
    if not dataset_ids:
        return []
    wanted = [uuid.UUID(one) for one in dataset_ids]
    found = {ref.id: ref for ref in butler.get_many_datasets(wanted)}
    if gone := [str(one) for one in wanted if one not in found]:
        raise ServiceError(f"The repository does not have the dataset {', '.join(gone)} any more.")
    return [found[one] for one in wanted]


def _image_of_job(butler: Butler, defects: DatasetRef) -> ResourcePath:
    """Return the file of a combined image of the job that found a detector's defects: it has the detector's size."""
    chain = str(defects.run).removesuffix("/run")
    for image_type in IMAGE_TYPES:
        try:
            ref = butler.find_dataset(image_type, defects.dataId, collections=chain)
        except LookupError:  # there is none, or several: try the next type
            continue
        if ref is not None:
            return files(butler, [str(ref.id)])[0]
    raise ServiceError(
        f"The size of detector {defects.dataId['detector']} is unknown: {chain} has no {' or '.join(IMAGE_TYPES)}."
    )


def _places(uri: ResourcePath, shape: tuple[int, int], rows: AmplifierRows) -> dict[str, Region]:
    try:
        return regions(shape, rows)
    except ValueError as error:
        raise ServiceError(f"The amplifiers in {uri} can't be measured: {error}.") from error


def _other_size(now: tuple[int, int], before: tuple[int, int]) -> str:
    return f"It has {now[0]} x {now[1]} pixels, the certified one {before[0]} x {before[1]}."
