# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The statistics of a verification, many small YAML files; these functions block and must run in threads.

Butler reads one file at a time, each with several queries, and with PyYAML's code in pure Python. For hundreds of
exposures and detectors this takes too long. So one query looks up the places of all files, and the files are read in
parallel, with libyaml's C code if PyYAML has it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from ..butler_data import BrokenStatistics, StatisticsTypes, VerificationStatistics
from ..errors import ServiceError
from .butler_queries import find_refs

if TYPE_CHECKING:
    from lsst.daf.butler import Butler, DatasetRef
    from lsst.resources import ResourcePath

__all__ = ["StatisticsFile", "find_statistics", "read_files", "read_without_file", "sort"]

Key = tuple[int | None, ...]
"""Exposure id and detector, or None and detector if its product was verified as such; the exposure alone for its own
statistics; nothing for those of the whole run."""

YAML_STORAGE_CLASS = "StructuredDataDict"
"""Storage class of cp_verify's statistics: a dictionary that Butler's own formatter writes with ``yaml.safe_dump``."""

# Gives the same values ten times faster; PyYAML's wheels and conda packages have it.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclasses.dataclass(frozen=True)
class StatisticsFile:
    """A dataset with statistics, and where it is.

    Parameters
    ----------
    key
        What they are about.
    ref
        The dataset.
    uri
        Its file; None if only Butler knows how to read it.
    """

    key: Key
    ref: DatasetRef
    uri: ResourcePath | None


def find_statistics(
    butler: Butler, instrument: str, collection: str, types: StatisticsTypes, physical_filter: str | None
) -> list[StatisticsFile]:
    """Look up the statistics of a verification.

    Raises
    ------
    ServiceError
        If there are several for the whole run.
    """
    data_id = {"instrument": instrument} | ({"physical_filter": physical_filter} if physical_filter else {})
    of_run = find_refs(butler, types.run, collection, **data_id)
    if len(of_run) > 1:
        raise ServiceError(f"{collection} has {len(of_run)} datasets of type {types.run}; the filter must be given.")
    of_detectors = find_refs(butler, types.detector, collection, **data_id)
    of_exposures = find_refs(butler, types.exposure, collection, **data_id) if types.exposure else []
    keys: dict[DatasetRef, Key] = dict.fromkeys(of_run, ())
    keys |= {ref: (int(ref.dataId["exposure"]),) for ref in of_exposures}
    keys |= {ref: (_exposure(ref), int(ref.dataId["detector"])) for ref in of_detectors}
    places = butler.get_many_uris(list(keys))
    return [StatisticsFile(key, ref, _yaml_file(ref, places[ref].primaryURI)) for ref, key in keys.items()]


def _exposure(ref: DatasetRef) -> int | None:
    return int(ref.dataId["exposure"]) if "exposure" in ref.datasetType.dimensions else None


def _yaml_file(ref: DatasetRef, uri: ResourcePath | None) -> ResourcePath | None:
    """Return the file of a dataset if Butler's YAML formatter has written it; otherwise None."""
    storage_class = ref.datasetType.storageClass
    plain = storage_class.name == YAML_STORAGE_CLASS and storage_class.pytype is dict
    return uri if plain and uri is not None and uri.getExtension() == ".yaml" else None


def read_files(files: Sequence[StatisticsFile]) -> list[tuple[Key, object]]:
    """Read statistics from their files.

    Raises
    ------
    ServiceError
        If one can't be read; the sentence names it.
    """
    return [(one.key, _read_file(one.ref, one.uri)) for one in files if one.uri]


def _read_file(ref: DatasetRef, uri: ResourcePath) -> object:
    try:
        return yaml.load(uri.read(), Loader=_SafeLoader)
    except OSError as error:
        raise ServiceError(f"The file {uri} with {ref} could not be read: {_on_one_line(error)}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # The file will not become better, so it is what was found, and no failure to look.
        return BrokenStatistics(f"the file {uri} could not be understood: {_on_one_line(error)}")


def _on_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def read_without_file(butler: Butler, files: Sequence[StatisticsFile]) -> list[tuple[Key, object]]:
    """Have Butler read the statistics whose files have another format."""
    return [(one.key, butler.get(one.ref)) for one in files if not one.uri]


def sort(read: Iterable[tuple[Key, object]], *, with_exposures: bool = False) -> VerificationStatistics:
    """Return statistics that were read, sorted by what they are about; those of exposures if they are wanted."""
    run: object | None = None
    detectors: dict[tuple[int | None, int], object] = {}
    exposures: dict[int, object] = {}
    for key, statistics in read:
        match key:
            case (exposure, int(detector)):
                detectors[exposure, detector] = statistics
            case (int(exposure),):
                exposures[exposure] = statistics
            case _:
                run = statistics
    return VerificationStatistics(run, detectors, exposures if with_exposures else None)
