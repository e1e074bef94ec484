# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certification in the Butler repository; these functions block and must run in Butler's thread."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from ..butler_data import CertifiedDataset, CertifiedRange, CertifyOutcome, CertifyRequest, ReplacedDataset
from ..errors import ServiceError
from .butler_lookup import Match, matches
from .butler_queries import exposure_records, find_refs, iso_tai

if TYPE_CHECKING:
    from lsst.daf.butler import Butler, DatasetRef, Timespan

__all__ = [
    "certified_before",
    "certified_for_others",
    "certified_ranges",
    "certify",
    "certify_obstacle",
    "read_back",
    "timespan_of",
]


def certify(butler: Butler, instrument: str, request: CertifyRequest) -> CertifyOutcome:
    """Certify exactly these datasets, all or none; see `Repository.certify`."""
    from lsst.daf.butler import Timespan

    calib_collection, dataset_type = request.calib_collection, request.dataset_type
    timespan = timespan_of(request.begin_iso_tai, request.end_iso_tai)
    refs = _refs_to_certify(butler, request)
    _make_calibration_collection(butler, calib_collection)
    with butler.transaction():
        wanted, in_the_way = _look(butler, instrument, request, refs, timespan)
        if in_the_way:  # Butler's own check fails on a collection that never had this type
            data_ids = [ref.dataId for ref in wanted]
            # An empty range withdraws nothing, but lets nobody else write any more: what is seen now is withdrawn.
            butler.registry.decertify(calib_collection, dataset_type, Timespan.makeEmpty(), dataIds=data_ids)
            wanted, in_the_way = _look(butler, instrument, request, refs, timespan)
            # Withdraws the range only; older ranges stay valid outside it.
            butler.registry.decertify(calib_collection, dataset_type, timespan, dataIds=[ref.dataId for ref in wanted])
        if wanted:
            butler.registry.certify(calib_collection, wanted, timespan)
    return CertifyOutcome(
        certified=tuple(CertifiedDataset(str(ref.id), *_detector_and_filter(ref)) for ref in refs),
        replaced=tuple(_replaced(in_the_way, request.dataset_ids)),
        found=not wanted,
    )


def _look(
    butler: Butler, instrument: str, request: CertifyRequest, refs: list[DatasetRef], timespan: Timespan
) -> tuple[list[DatasetRef], list[Match]]:
    """Return the datasets that are not yet certified for a range, and what is certified in their place."""
    there = matches(butler, instrument, request.dataset_type, [request.calib_collection], timespan)
    done = {match.dataset_id for match in there if match.timespan.contains(timespan)}
    wanted = [ref for ref in refs if str(ref.id) not in done]
    # Only datasets with exactly the same data id are withdrawn, not those of another instrument's detector.
    keys = {_data_id(ref) for ref in wanted}
    return wanted, [match for match in there if match.data_id in keys]


def certified_before(butler: Butler, instrument: str, request: CertifyRequest) -> list[ReplacedDataset]:
    """Return what a certification would withdraw; see `Repository.certified_before`."""
    from lsst.daf.butler import MissingCollectionError

    timespan = timespan_of(request.begin_iso_tai, request.end_iso_tai)
    refs = _refs_to_certify(butler, request)
    try:
        there = matches(butler, instrument, request.dataset_type, [request.calib_collection], timespan)
    except MissingCollectionError:
        return []
    keys = {_data_id(ref) for ref in refs}
    return _replaced([match for match in there if match.data_id in keys], request.dataset_ids)


def certified_for_others(
    butler: Butler,
    instrument: str,
    dataset_type: str,
    calib_collection: str,
    begin_iso_tai: str,
    end_iso_tai: str,
    detectors: Collection[int],
) -> list[ReplacedDataset]:
    """Return what is certified in a range for some detectors, before the datasets that will replace it are there."""
    from lsst.daf.butler import MissingCollectionError, MissingDatasetTypeError

    timespan = timespan_of(begin_iso_tai, end_iso_tai)
    try:
        there = matches(butler, instrument, dataset_type, [calib_collection], timespan)
    except (MissingCollectionError, MissingDatasetTypeError):
        return []
    return _replaced([match for match in there if match.detector in detectors], ())


def _replaced(in_the_way: list[Match], dataset_ids: Collection[str]) -> list[ReplacedDataset]:
    """Return the certifications of other datasets, with the whole ranges that they have."""
    return [
        ReplacedDataset(
            match.dataset_id,
            match.detector,
            match.physical_filter,
            iso_tai(match.timespan.begin),
            iso_tai(match.timespan.end),
        )
        for match in in_the_way
        if match.dataset_id not in set(dataset_ids)
    ]


def certified_ranges(
    butler: Butler, instrument: str, dataset_type: str, calib_collection: str, dataset_ids: Collection[str]
) -> list[CertifiedRange]:
    """Return the ranges for which some datasets are certified; see `Repository.certified_ranges`."""
    from lsst.daf.butler import MissingCollectionError, MissingDatasetTypeError, Timespan

    try:
        there = matches(butler, instrument, dataset_type, [calib_collection], Timespan(None, None))
    except (MissingCollectionError, MissingDatasetTypeError):
        return []
    return [
        CertifiedRange(match.dataset_id, iso_tai(match.timespan.begin), iso_tai(match.timespan.end))
        for match in there
        if match.dataset_id in set(dataset_ids)
    ]


def read_back(
    butler: Butler,
    instrument: str,
    dataset_type: str,
    calib_collection: str,
    begin_iso_tai: str,
    end_iso_tai: str,
    dataset_ids: Collection[str],
    exposures: Collection[int],
) -> list[str]:
    """Return a sentence for each dataset that Butler does not find as it should; see `Repository.read_back`."""
    timespan = timespan_of(begin_iso_tai, end_iso_tai)
    records = exposure_records(butler, instrument, exposures)
    frames = [record for record in records if record.timespan.overlaps(timespan)]
    # For a frame at the edge of the range, Butler may also find datasets certified beyond it.
    there = matches(butler, instrument, dataset_type, [calib_collection], _hull(timespan, frames))
    covering = {match.dataset_id for match in there if match.timespan.contains(timespan)}
    by_data_id: dict[tuple[Any, ...], list[Match]] = {}
    for match in there:
        by_data_id.setdefault(match.data_id, []).append(match)
    problems = [
        f"The repository does not know exposure {exposure}, so it can't be checked what is found for it."
        for exposure in sorted(set(exposures) - {int(record.id) for record in records})
    ]
    refs = {str(ref.id): ref for ref in butler.get_many_datasets(dataset_ids)}
    for dataset_id in dataset_ids:
        ref = refs.get(dataset_id)
        if ref is None:
            problems.append(f"The repository has no dataset {dataset_id}.")
            continue
        name = f"{dataset_type} of {_words(ref)} ({dataset_id})"
        of_data_id = by_data_id.get(_data_id(ref), [])
        sentences = [
            *_not_found(name, dataset_id, of_data_id, timespan),
            *_not_found_for_frames(name, dataset_id, of_data_id, frames),
        ]
        if dataset_id not in covering:
            sentences.insert(0, f"{name} is not certified in {calib_collection} for the whole range.")
        if sentences:
            problems.append(" ".join(sentences))
    return problems or _not_found_by_butler(butler, list(refs.values()), calib_collection, timespan)


def _hull(timespan: Timespan, frames: list[Any]) -> Timespan:
    """Return the shortest range that contains a range and the times of all frames."""
    from lsst.daf.butler import Timespan

    begins = [timespan.begin, *(frame.timespan.begin for frame in frames)]
    ends = [timespan.end, *(frame.timespan.end for frame in frames)]
    return Timespan(None if None in begins else min(begins), None if None in ends else max(ends))


def _not_found(name: str, dataset_id: str, there: list[Match], timespan: Timespan) -> Iterator[str]:
    """Yield a sentence if a look-up within the range does not find exactly this dataset.

    Parameters
    ----------
    name
        The dataset in words.
    dataset_id
        Its UUID.
    there
        Datasets that the collection has for its data id.
    timespan
        The range.
    """
    for instant in _instants(timespan):
        found = [match for match in there if match.timespan.overlaps(instant)]
        if {match.dataset_id for match in found} != {dataset_id}:
            what = " and ".join(f"dataset {match.dataset_id} of {match.run}" for match in found) or "nothing"
            yield f"Looking at {iso_tai(instant.begin)} TAI for {name} finds {what}."
            return


def _not_found_by_butler(
    butler: Butler, refs: list[DatasetRef], calib_collection: str, timespan: Timespan
) -> list[str]:
    """Return a sentence if Butler's own look-up does not find the first of some datasets.

    That look-up takes three queries for each dataset, so the other datasets are checked in the result of one query.
    This check shows that both ways agree.
    """
    for ref in refs[:1]:
        instant = next(_instants(timespan))
        found = butler.find_dataset(ref.datasetType.name, ref.dataId, collections=calib_collection, timespan=instant)
        if found is None or found.id != ref.id:
            what = "nothing" if found is None else f"dataset {found.id} of {found.run}"
            name = f"{ref.datasetType.name} of {_words(ref)} ({ref.id})"
            return [f"Butler's look-up at {iso_tai(instant.begin)} TAI for {name} finds {what}."]
    return []


def _not_found_for_frames(name: str, dataset_id: str, there: list[Match], frames: list[Any]) -> Iterator[str]:
    """Yield a sentence if the look-up for a frame does not find exactly this dataset, as Butler requires.

    Parameters
    ----------
    name
        The dataset in words.
    dataset_id
        Its UUID.
    there
        Datasets that the collection has for its data id.
    frames
        The repository's records of the exposures.
    """
    for frame in frames:
        found = {match.dataset_id for match in there if match.timespan.overlaps(frame.timespan)}
        if found != {dataset_id}:
            what = f"datasets {', '.join(sorted(found))}" if found else "nothing"
            yield f"Looking for {name} by exposure {frame.id} finds {what}."
            return


def timespan_of(begin_iso_tai: str, end_iso_tai: str) -> Timespan:
    """Return the validity range between two ISO 8601 TAI dates, "" for unbounded.

    Raises
    ------
    ServiceError
        If one is no such date, or the range is empty.
    """
    from astropy.time import Time
    from lsst.daf.butler import Timespan

    try:
        begin, end = (Time(text, format="isot", scale="tai") if text else None for text in (begin_iso_tai, end_iso_tai))
        timespan = Timespan(begin, end)
    except ValueError as error:
        raise ServiceError(f"{begin_iso_tai!r} to {end_iso_tai!r} is no validity range: {error}.") from error
    # Butler makes an instant from two equal dates.
    if timespan.isEmpty() or (begin is not None and end is not None and begin >= end):
        raise ServiceError(f"The validity range {begin_iso_tai!r} to {end_iso_tai!r} is empty.")
    return timespan


def _refs_to_certify(butler: Butler, request: CertifyRequest) -> list[DatasetRef]:
    """Return the datasets to certify.

    Raises
    ------
    ServiceError
        If there are none, or the RUN collection does not have them all, or they are no calibrations.
    """
    dataset_type, wanted = request.dataset_type, set(request.dataset_ids)
    by_id = {str(ref.id): ref for ref in find_refs(butler, dataset_type, request.run_collection)}
    if not wanted:
        raise ServiceError(f"There is no {dataset_type} to certify.")
    if missing := sorted(wanted - by_id.keys()):
        raise ServiceError(f"{request.run_collection} has no {dataset_type} with the ids {', '.join(missing)}.")
    refs = [by_id[dataset_id] for dataset_id in sorted(wanted)]
    if not refs[0].datasetType.isCalibration():
        raise ServiceError(
            f"{dataset_type} is not registered as a calibration, so the repository refuses to certify it."
        )
    return refs


def _make_calibration_collection(butler: Butler, name: str) -> None:
    """Create a CALIBRATION collection if there is none with this name.

    Raises
    ------
    ServiceError
        If there is a collection of another kind with this name.
    """
    from lsst.daf.butler import CollectionType

    if obstacle := certify_obstacle(butler, name):
        raise ServiceError(obstacle)
    butler.collections.register(name, CollectionType.CALIBRATION)


def certify_obstacle(butler: Butler, name: str) -> str:
    """Return why nothing can be certified in a collection; "" if it is a CALIBRATION one or does not exist."""
    from lsst.daf.butler import CollectionType, MissingCollectionError

    try:
        existing = butler.collections.get_info(name).type
    except MissingCollectionError:
        return ""
    if existing is CollectionType.CALIBRATION:
        return ""
    return (
        f"Nothing can be certified in {name}: it is a {existing.name} collection. Give a new name, or that of a "
        "CALIBRATION collection."
    )


def _data_id(ref: DatasetRef) -> tuple[Any, ...]:
    """Return the whole data id of a dataset, as `Match` has it."""
    return tuple(ref.dataId.required_values)


def _detector_and_filter(ref: DatasetRef) -> tuple[int | None, str | None]:
    """Return detector and physical filter of a dataset, None for a dimension that its type does not have."""
    mapping = ref.dataId.required
    detector = mapping.get("detector")
    return (None if detector is None else int(detector), mapping.get("physical_filter"))


def _words(ref: DatasetRef) -> str:
    """Return a data id as text, such as ``detector 4, r_03``."""
    detector, physical_filter = _detector_and_filter(ref)
    return f"detector {detector}" + (f", {physical_filter}" if physical_filter else "")


def _instants(timespan: Timespan) -> Iterator[Timespan]:
    """Yield instants at the beginning and in the middle of a range; if it is unbounded, near its bounded side."""
    from astropy.time import Time, TimeDelta
    from lsst.daf.butler import Timespan

    day = TimeDelta(1, format="jd")
    begin, end = timespan.begin, timespan.end
    if begin is None:
        # Any time will do; the earliest that Butler knows is in 1970.
        begin = Time("2000-01-01T00:00:00", format="isot", scale="tai") if end is None else end - day
    yield Timespan.fromInstant(begin)
    yield Timespan.fromInstant(begin + day if end is None else begin + (end - begin) / 2)
