# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calibration look-ups in the Butler repository, many with one query; they block and must run in Butler's thread.

Butler's own look-up of a single dataset takes 10 to 70 ms: too much for each detector of each exposure of each job.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from ..butler_data import Coverage
from .butler_queries import datasets, exposure_records, iso_tai, missing_collections

if TYPE_CHECKING:
    from lsst.daf.butler import Butler, Timespan

__all__ = ["Match", "coverage", "detectors_without", "foreign_inputs", "matches"]


@dataclasses.dataclass(frozen=True)
class Match:
    """A dataset that a collection has for some range of time.

    Parameters
    ----------
    dataset_id
        UUID as text.
    data_id
        Its whole data id: the values of the required dimensions, in Butler's order, the instrument first. A collection
        may have calibrations of several instruments.
    detector, physical_filter
        The parts of the data id that sentences show; None if the dataset type has no such dimension.
    run
        The RUN collection that it was written to.
    collection
        The collection that was searched.
    timespan
        Its validity range in a CALIBRATION collection; unbounded in a RUN.
    """

    dataset_id: str
    data_id: tuple[Any, ...]
    detector: int | None
    physical_filter: str | None
    run: str
    collection: str
    timespan: Timespan


def matches(
    butler: Butler, instrument: str, dataset_type: str, collections: Sequence[str], timespan: Timespan
) -> list[Match]:
    """Return the datasets of a type whose validity overlaps a range, in the order of the collections.

    Parameters
    ----------
    butler
        The repository.
    instrument
        Only its datasets are searched.
    dataset_type, collections
        What to look for, and where; no chains.
    timespan
        The range.

    Raises
    ------
    lsst.daf.butler.MissingDatasetTypeError
        If the repository has no such type.
    """
    names = list(collections)
    dimensions = butler.get_dataset_type(dataset_type).dimensions
    fields = {"dataset_id", "run", "collection", "timespan"}
    with butler.query() as query:
        query = query.join_dataset_search(dataset_type, names).where(instrument=instrument)
        query = query.where(query.expression_factory[dataset_type].timespan.overlaps(timespan))
        rows = list(query.general(dimensions, dataset_fields={dataset_type: fields}, find_first=False))
    with_filter = "physical_filter" in dimensions
    found = [
        Match(
            dataset_id=str(row[f"{dataset_type}.dataset_id"]),
            data_id=tuple(row[name] for name in dimensions.required),
            detector=int(row["detector"]) if "detector" in row else None,
            physical_filter=str(row["physical_filter"]) if with_filter else None,
            run=str(row[f"{dataset_type}.run"]),
            collection=str(row[f"{dataset_type}.collection"]),
            timespan=row[f"{dataset_type}.timespan"],
        )
        for row in rows
    ]
    return sorted(found, key=lambda match: names.index(match.collection))


def detectors_without(
    butler: Butler,
    instrument: str,
    dataset_type: str,
    collections: Sequence[str],
    detectors: Collection[int],
    at_iso_tai: str,
) -> list[int]:
    """Return the detectors without a calibration of a type at some time; see `ButlerService.detectors_without`."""
    from astropy.time import Time
    from lsst.daf.butler import MissingDatasetTypeError, Timespan

    there = set(collections) - set(missing_collections(butler, list(collections)))
    searched = butler.collections.query([name for name in collections if name in there], flatten_chains=True)
    at = Timespan.fromInstant(Time(at_iso_tai, format="isot", scale="tai"))
    try:
        found = matches(butler, instrument, dataset_type, list(searched), at) if there else []
    except MissingDatasetTypeError:
        found = []
    return sorted(set(detectors) - {match.detector for match in found})


def coverage(
    butler: Butler, instrument: str, dataset_types: Sequence[str], collection: str, since_iso_tai: str
) -> list[Coverage]:
    """Return what a collection has since some time; see `ButlerService.coverage`."""
    from astropy.time import Time
    from lsst.daf.butler import MissingDatasetTypeError, Timespan

    if missing_collections(butler, [collection]):
        return []
    searched = list(butler.collections.query(collection, flatten_chains=True))
    since = Timespan(Time(since_iso_tai, format="isot", scale="tai"), None)
    found: list[Coverage] = []
    for dataset_type in dataset_types:
        try:
            there = matches(butler, instrument, dataset_type, searched, since) if searched else []
        except MissingDatasetTypeError:
            continue
        found += [
            Coverage(
                dataset_type,
                one.detector,
                one.physical_filter or "",
                one.run,
                iso_tai(one.timespan.begin),
                iso_tai(one.timespan.end),
            )
            for one in there
            if one.detector is not None
        ]
    return found


def foreign_inputs(
    butler: Butler,
    instrument: str,
    job_collection: str,
    dataset_type: str,
    exposures: Collection[int],
    detectors: Collection[int],
    expected_run: str,
) -> list[str]:
    """Return a sentence for each detector for which a job did not use the dataset of a certain RUN.

    The job's chain records its inputs in the order in which they were searched. So this repeats pipetask's search: it
    takes the first collection that has the type for the detector at the time of the exposure.
    """
    from lsst.daf.butler import Timespan

    records = exposure_records(butler, instrument, exposures)
    if unknown := sorted(set(exposures) - {int(record.id) for record in records}):
        return [f"The repository does not know exposures {', '.join(map(str, unknown))}, which {job_collection} used."]
    if not records:
        return [f"It is not known which exposures {job_collection} used, so its {dataset_type} can't be checked."]
    searched = butler.collections.query(job_collection, flatten_chains=True)
    inputs = [name for name in searched if not name.startswith(f"{job_collection}/")]
    begin, end = min(record.timespan.begin for record in records), max(record.timespan.end for record in records)
    found = matches(butler, instrument, dataset_type, inputs, Timespan(begin, end)) if inputs else []
    made = {one.physical_filter for one in datasets(butler, expected_run, dataset_type)}
    sentences = []
    for detector in sorted(detectors):
        of_detector = [match for match in found if match.detector == detector]
        for record in records:
            runs = {_first_run(of_detector, record, name) for name in _filters(record, made)}
            if foreign := runs - {expected_run}:
                places = " and ".join(f"that in {run}" if run else "none" for run in sorted(foreign, key=str))
                sentences.append(
                    f"Detector {detector}: for exposure {record.id} job {job_collection} found as {dataset_type} "
                    f"{places}, not that in {expected_run}."
                )
                break
    return sentences


def _filters(record: Any, made: Collection[str | None]) -> Collection[str | None]:
    """Return the filters that a job looks up for an exposure; None: the type has no filter.

    For a flat, it is the exposure's own filter. Other exposures have a filter, too, but it does not matter for them, so
    all filters of the product count.
    """
    if record.observation_type == "flat" and set(made) - {None}:
        return {str(record.physical_filter)}
    return made or {None}


def _first_run(found: Sequence[Match], record: Any, physical_filter: str | None) -> str:
    """Return the RUN of the first match for an exposure, "" if there is none."""
    return next(
        (
            match.run
            for match in found
            if match.physical_filter == physical_filter and match.timespan.overlaps(record.timespan)
        ),
        "",
    )
