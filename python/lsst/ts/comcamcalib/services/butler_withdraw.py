# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Undo certifications in the Butler repository; these functions block and must run in Butler's thread."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..butler_data import ReplacedDataset, TypedRange, UndoneCertification, Withdrawal
from ..errors import ChangedError, ConflictError, ServiceError
from .butler_certify import data_id_of, detector_and_filter, in_words, keep_others_out, timespan_of, words_of
from .butler_lookup import Match, matches
from .butler_queries import exposure_records, iso_tai
from .butler_read_back import instants
from .undoing import Former, Held, InTheWayError, Span, undo

if TYPE_CHECKING:
    from lsst.daf.butler import Butler, DatasetRef

__all__ = ["look", "read_back", "withdraw"]


def look(butler: Butler, instrument: str, wanted: Withdrawal) -> Withdrawal:
    """Return what must change to undo certifications; this changes nothing.

    Raises
    ------
    ConflictError
        If somebody else has certified there in the meantime.
    ServiceError
        If a dataset that should come back is not in the repository any more.
    """
    out: list[TypedRange] = []
    back: list[TypedRange] = []
    by_type: dict[str, list[UndoneCertification]] = {}
    for one in wanted.certifications:
        by_type.setdefault(one.dataset_type, []).append(one)
    for dataset_type, certifications in by_type.items():
        one_out, one_back = _of_type(butler, instrument, dataset_type, certifications, wanted.calib_collection)
        out += one_out
        back += one_back
    return dataclasses.replace(wanted, out=tuple(sorted(out, key=str)), back=tuple(sorted(back, key=str)))


def _of_type(
    butler: Butler,
    instrument: str,
    dataset_type: str,
    certifications: list[UndoneCertification],
    calib_collection: str,
) -> tuple[list[TypedRange], list[TypedRange]]:
    """Return what goes out and what comes back of one dataset type."""
    from lsst.daf.butler import MissingCollectionError, MissingDatasetTypeError, Timespan

    try:
        found = matches(butler, instrument, dataset_type, [calib_collection], Timespan(None, None))
    except (MissingCollectionError, MissingDatasetTypeError):
        return [], []
    ids = {name for one in certifications for name in one.dataset_ids}
    before = {old.dataset_id for one in certifications for old in one.replaced}
    refs = {str(ref.id): ref for ref in butler.get_many_datasets(ids | before)}
    _check_existence(dataset_type, certifications, refs)
    own = [
        Held(name, data_id_of(refs[name]), Span(one.begin_iso_tai, one.end_iso_tai))
        for one in certifications
        for name in one.dataset_ids
        if name in refs
    ]
    formers = [
        _former(old, refs[old.dataset_id], one)
        for one in certifications
        for old in one.replaced
        if old.dataset_id not in ids
    ]
    try:
        undone = undo([_held(match) for match in found], own, formers)
    except InTheWayError as error:
        raise ConflictError(
            f"Something else is certified there by now: {in_words(dataset_type, _replaced(error.held, found))}. "
            "Withdraw that first."
        ) from error
    return _typed(undone.out, dataset_type, refs), _typed(undone.back, dataset_type, refs)


def _check_existence(
    dataset_type: str, certifications: Iterable[UndoneCertification], refs: Mapping[str, DatasetRef]
) -> None:
    """Raise ServiceError if a dataset that should come back does not exist any more."""
    own = {name for one in certifications for name in one.dataset_ids}
    gone = {
        old
        for one in certifications
        for old in one.replaced
        if old.dataset_id not in refs and old.dataset_id not in own
    }
    if gone:
        raise ServiceError(
            f"What was replaced can't be put back, because it is not in the repository any more: "
            f"{in_words(dataset_type, gone)}."
        )


def _former(old: ReplacedDataset, ref: DatasetRef, one: UndoneCertification) -> Former:
    held = Held(old.dataset_id, data_id_of(ref), Span(old.begin_iso_tai, old.end_iso_tai))
    return Former(held, Span(one.begin_iso_tai, "" if one.truncated else one.end_iso_tai))


def _held(match: Match) -> Held:
    return Held(match.dataset_id, match.data_id, Span(iso_tai(match.timespan.begin), iso_tai(match.timespan.end)))


def _replaced(held: Iterable[Held], found: Iterable[Match]) -> list[ReplacedDataset]:
    """Return what is in the way, in the words of the look-up."""
    by_id = {match.dataset_id: match for match in found}
    return [
        ReplacedDataset(
            one.dataset_id,
            by_id[one.dataset_id].detector,
            by_id[one.dataset_id].physical_filter,
            one.span.begin,
            one.span.end,
            by_id[one.dataset_id].run,
        )
        for one in held
    ]


def _typed(held: Iterable[Held], dataset_type: str, refs: Mapping[str, DatasetRef]) -> list[TypedRange]:
    return [
        TypedRange(
            dataset_type, one.dataset_id, *detector_and_filter(refs[one.dataset_id]), one.span.begin, one.span.end
        )
        for one in held
    ]


def withdraw(butler: Butler, instrument: str, planned: Withdrawal) -> None:
    """Undo certifications as planned, all or nothing.

    Raises
    ------
    ChangedError
        If the collection is not as it was when that was planned.
    ConflictError, ServiceError
        As `look` raises them.
    """
    with butler.transaction():
        now = look(butler, instrument, planned)
        if not now.out and not now.back:
            return  # an earlier try has done it, whose answer was lost
        for dataset_type in {one.dataset_type for one in now.out}:
            ids = [one.dataset_id for one in now.out if one.dataset_type == dataset_type]
            data_ids = [ref.dataId for ref in butler.get_many_datasets(ids)]
            keep_others_out(butler, planned.calib_collection, dataset_type, data_ids)
        now = look(butler, instrument, planned)
        if now != planned:
            raise ChangedError(
                f"What is certified in {planned.calib_collection} has changed since it was looked up, so nothing was "
                "withdrawn."
            )
        refs = {str(ref.id): ref for ref in butler.get_many_datasets({one.dataset_id for one in (*now.out, *now.back)})}
        for (dataset_type, begin, end), some in _by_range(now.out).items():
            # The range of each is exactly this one, so no other dataset is affected.
            butler.registry.decertify(
                planned.calib_collection,
                dataset_type,
                timespan_of(begin, end),
                dataIds=[refs[one.dataset_id].dataId for one in some],
            )
        for (_, begin, end), some in _by_range(now.back).items():
            butler.registry.certify(
                planned.calib_collection, [refs[one.dataset_id] for one in some], timespan_of(begin, end)
            )


def _by_range(ranges: Iterable[TypedRange]) -> dict[tuple[str, str, str], list[TypedRange]]:
    groups: dict[tuple[str, str, str], list[TypedRange]] = {}
    for one in ranges:
        groups.setdefault((one.dataset_type, one.begin_iso_tai, one.end_iso_tai), []).append(one)
    return groups


def read_back(repo: str, instrument: str, done: Withdrawal, exposures: Collection[int]) -> list[str]:
    """Return a sentence for each dataset type of which the collection does not show what it should.

    Parameters
    ----------
    repo
        The repository; it is opened anew, as somebody else would open it.
    instrument
        Butler's name of the instrument.
    done
        What was changed.
    exposures
        Some exposures of the run; what is found for them must agree with the ranges.
    """
    from lsst.daf.butler import Butler

    butler = Butler.from_config(repo, writeable=False)
    try:
        types = list(dict.fromkeys(one.dataset_type for one in (*done.out, *done.back)))
        records = exposure_records(butler, instrument, exposures)
        problems = [sentence for name in types for sentence in _not_as_planned(butler, instrument, name, done)]
        for name in types:
            problems += _not_found_by_butler(butler, name, done, records)
        return problems
    finally:
        butler.close()


def _not_as_planned(butler: Butler, instrument: str, dataset_type: str, done: Withdrawal) -> list[str]:
    """Compare the ranges that a collection has with those that it should have."""
    from lsst.daf.butler import MissingCollectionError, Timespan

    collection = done.calib_collection
    try:
        found = matches(butler, instrument, dataset_type, [collection], Timespan(None, None))
    except MissingCollectionError:
        found = []
    there = {(one.dataset_id, one.span) for one in map(_held, found)}
    left = [one for one in done.out if one.dataset_type == dataset_type and _key(one) in there]
    missing = [one for one in done.back if one.dataset_type == dataset_type and _key(one) not in there]
    sentences = []
    if left:
        sentences.append(f"{dataset_type} of {_named(left)} is still certified in {collection}.")
    if missing:
        sentences.append(f"{dataset_type} of {_named(missing)} is not back in {collection}.")
    return sentences


def _key(one: TypedRange) -> tuple[str, Span]:
    return one.dataset_id, Span(one.begin_iso_tai, one.end_iso_tai)


def _named(ranges: Iterable[TypedRange]) -> str:
    return ", ".join(dict.fromkeys(f"detector {one.detector} ({one.dataset_id})" for one in ranges))


def _not_found_by_butler(butler: Butler, dataset_type: str, done: Withdrawal, records: list[Any]) -> list[str]:
    """Look up the first dataset of a type as a user does, by time and by exposure; that takes long for each."""
    of_type = [one for one in done.out if one.dataset_type == dataset_type]
    ref = butler.get_dataset(uuid.UUID(of_type[0].dataset_id)) if of_type else None
    if ref is None:
        return []
    back = [
        one
        for one in done.back
        if one.dataset_type == dataset_type
        and (one.detector, one.physical_filter) == (of_type[0].detector, of_type[0].physical_filter)
    ]
    moments = [next(instants(timespan_of(one.begin_iso_tai, one.end_iso_tai))) for one in (of_type[0], *back)]
    for moment in [*moments, *(record.timespan for record in records[:1])]:
        expected = {one.dataset_id for one in back if timespan_of(one.begin_iso_tai, one.end_iso_tai).overlaps(moment)}
        try:
            found = butler.find_dataset(dataset_type, ref.dataId, collections=done.calib_collection, timespan=moment)
        except LookupError as error:
            return [f"Looking at {iso_tai(moment.begin)} TAI for {dataset_type} of {words_of(ref)} fails: {error}"]
        ids = set() if found is None else {str(found.id)}
        own = {one.dataset_id for one in of_type} - {one.dataset_id for one in back}
        if ids & own or not expected <= ids:
            what = "nothing" if found is None else f"dataset {found.id} of {found.run}"
            return [f"Looking at {iso_tai(moment.begin)} TAI for {dataset_type} of {words_of(ref)} finds {what}."]
    return []
