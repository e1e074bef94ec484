# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read back from the Butler repository what was certified; these functions block and must run in Butler's thread."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from .butler_certify import data_id_of, timespan_of, words_of
from .butler_lookup import Match, matches
from .butler_queries import exposure_records, iso_tai

if TYPE_CHECKING:
    from lsst.daf.butler import Butler, DatasetRef, Timespan

__all__ = ["instants", "read_back"]


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
    """Return a sentence for each dataset that Butler does not find as it should; see `ButlerService.read_back`."""
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
        name = f"{dataset_type} of {words_of(ref)} ({dataset_id})"
        of_data_id = by_data_id.get(data_id_of(ref), [])
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
    for instant in instants(timespan):
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
        instant = next(instants(timespan))
        found = butler.find_dataset(ref.datasetType.name, ref.dataId, collections=calib_collection, timespan=instant)
        if found is None or found.id != ref.id:
            what = "nothing" if found is None else f"dataset {found.id} of {found.run}"
            name = f"{ref.datasetType.name} of {words_of(ref)} ({ref.id})"
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


def instants(timespan: Timespan) -> Iterator[Timespan]:
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
