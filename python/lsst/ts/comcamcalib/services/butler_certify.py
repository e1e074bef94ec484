# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certification in the Butler repository; these functions block and must run in Butler's thread."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from ..butler_data import CertifiedDataset, CertifiedRange, CertifyOutcome, CertifyRequest, ReplacedDataset
from ..errors import ChangedError, ConflictError, ServiceError
from ..plan.validity import Validity
from .butler_lookup import Match, matches
from .butler_queries import find_refs, iso_tai

if TYPE_CHECKING:
    from lsst.daf.butler import Butler, DatasetRef, Timespan

__all__ = [
    "certified_before",
    "certified_for_others",
    "certified_ranges",
    "certify",
    "certify_obstacle",
    "conflict",
    "data_id_of",
    "detector_and_filter",
    "in_words",
    "keep_others_out",
    "timespan_of",
    "words_of",
]


def certify(butler: Butler, instrument: str, request: CertifyRequest) -> CertifyOutcome:
    """Certify exactly these datasets, all or none; see `ButlerService.certify`."""
    calib_collection, dataset_type = request.calib_collection, request.dataset_type
    timespan = timespan_of(request.begin_iso_tai, request.end_iso_tai)
    refs = _refs_to_certify(butler, request)
    _make_calibration_collection(butler, calib_collection)
    with butler.transaction():
        wanted, in_the_way = _look(butler, instrument, request, refs, timespan)
        if in_the_way:  # Butler's own check fails on a collection that never had this type
            keep_others_out(butler, calib_collection, dataset_type, [ref.dataId for ref in wanted])
            wanted, in_the_way = _look(butler, instrument, request, refs, timespan)
        replaced = _replaced(in_the_way, request.dataset_ids)
        if wanted:
            _check(replaced, request)
            _make_room(butler, request, [ref.dataId for ref in wanted], in_the_way, timespan)
            butler.registry.certify(calib_collection, wanted, timespan)
    return CertifyOutcome(
        certified=tuple(CertifiedDataset(str(ref.id), *detector_and_filter(ref)) for ref in refs),
        replaced=tuple(replaced),
        found=not wanted,
    )


def keep_others_out(butler: Butler, calib_collection: str, dataset_type: str, data_ids: list[Any]) -> None:
    """Let nobody else certify or withdraw datasets of a type until the end of the transaction.

    On PostgreSQL somebody else may otherwise do that between a look and a write, and be undone without being seen.

    Parameters
    ----------
    butler
        The repository, in a transaction.
    calib_collection, dataset_type
        Where, and what; the collection must have datasets of this type.
    data_ids
        Some data ids of datasets of this type.
    """
    from lsst.daf.butler import Timespan

    # It withdraws nothing, because the range is empty, but takes the lock of a withdrawal.
    butler.registry.decertify(calib_collection, dataset_type, Timespan.makeEmpty(), dataIds=data_ids)


def _look(
    butler: Butler, instrument: str, request: CertifyRequest, refs: list[DatasetRef], timespan: Timespan
) -> tuple[list[DatasetRef], list[Match]]:
    """Return the datasets that are not yet certified for a range, and what is certified in their place."""
    there = matches(butler, instrument, request.dataset_type, [request.calib_collection], timespan)
    done = {match.dataset_id for match in there if match.timespan.contains(timespan)}
    wanted = [ref for ref in refs if str(ref.id) not in done]
    # Only datasets with exactly the same data id are withdrawn, not those of another instrument's detector.
    keys = {data_id_of(ref) for ref in wanted}
    return wanted, [match for match in there if match.data_id in keys]


def _make_room(
    butler: Butler, request: CertifyRequest, data_ids: list[Any], in_the_way: list[Match], timespan: Timespan
) -> None:
    """Withdraw what is certified in a range; others keep the rest of their ranges as on_conflict says."""
    if request.on_conflict == "truncate":
        _end(butler, [one for one in in_the_way if one.dataset_id not in request.dataset_ids], timespan, request)
    if in_the_way:
        # Withdraws the range only; older ranges stay valid outside it.
        butler.registry.decertify(request.calib_collection, request.dataset_type, timespan, dataIds=data_ids)


def _check(replaced: list[ReplacedDataset], request: CertifyRequest) -> None:
    """Raise ServiceError if a certification may not replace these datasets."""
    if replaced and request.on_conflict == "fail":
        raise conflict(request, replaced)
    if request.expects is not None and set(replaced) != set(request.expects):
        raise ChangedError(
            f"What {request.calib_collection} has of {request.dataset_type} for this validity has changed since it was "
            f"looked up: now it has {in_words(request.dataset_type, replaced) or 'none'}."
        )


def conflict(request: CertifyRequest, there: Collection[ReplacedDataset]) -> ConflictError:
    """Return the error if something may not be replaced that is certified already."""
    return ConflictError(
        f"on_conflict is fail, and {request.calib_collection} already has for a part of this validity: "
        f"{in_words(request.dataset_type, there)}."
    )


def _end(butler: Butler, others: list[Match], timespan: Timespan, request: CertifyRequest) -> None:
    """Let the ranges of other datasets end where a new one begins."""
    from lsst.daf.butler import Timespan

    rest = Timespan(timespan.begin, None)
    for match in others:
        # No other dataset has a part of this, because ranges of one data id do not overlap.
        late = match.timespan.intersection(rest)
        data_id = dict(
            zip(butler.get_dataset_type(request.dataset_type).dimensions.required, match.data_id, strict=True)
        )
        butler.registry.decertify(request.calib_collection, request.dataset_type, late, dataIds=[data_id])


def in_words(dataset_type: str, datasets: Collection[ReplacedDataset]) -> str:
    """Name certified datasets, those of one RUN and range together."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for one in datasets:
        name = str(one.detector) + (f" in {one.physical_filter}" if one.physical_filter else "")
        groups.setdefault((one.run, one.begin_iso_tai, one.end_iso_tai), []).append(name)
    return "; ".join(
        f"{dataset_type} of detector{'s' if len(names) > 1 else ''} {', '.join(sorted(set(names)))} from "
        f"{run or 'an unknown run'}, valid {Validity(begin, end).words}"
        for (run, begin, end), names in sorted(groups.items())
    )


def certified_before(butler: Butler, instrument: str, request: CertifyRequest) -> list[ReplacedDataset]:
    """Return what a certification would withdraw; see `ButlerService.certified_before`."""
    from lsst.daf.butler import MissingCollectionError

    timespan = timespan_of(request.begin_iso_tai, request.end_iso_tai)
    refs = _refs_to_certify(butler, request)
    try:
        there = matches(butler, instrument, request.dataset_type, [request.calib_collection], timespan)
    except MissingCollectionError:
        return []
    keys = {data_id_of(ref) for ref in refs}
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
            match.run,
        )
        for match in in_the_way
        if match.dataset_id not in set(dataset_ids)
    ]


def certified_ranges(
    butler: Butler, instrument: str, dataset_type: str, calib_collection: str, dataset_ids: Collection[str]
) -> list[CertifiedRange]:
    """Return the ranges for which some datasets are certified; see `ButlerService.certified_ranges`."""
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


def data_id_of(ref: DatasetRef) -> tuple[Any, ...]:
    """Return the whole data id of a dataset, as `Match` has it."""
    return tuple(ref.dataId.required_values)


def detector_and_filter(ref: DatasetRef) -> tuple[int | None, str | None]:
    """Return detector and physical filter of a dataset, None for a dimension that its type does not have."""
    mapping = ref.dataId.required
    detector = mapping.get("detector")
    return (None if detector is None else int(detector), mapping.get("physical_filter"))


def words_of(ref: DatasetRef) -> str:
    """Return a data id as text, such as ``detector 4, r_03``."""
    detector, physical_filter = detector_and_filter(ref)
    return f"detector {detector}" + (f", {physical_filter}" if physical_filter else "")
