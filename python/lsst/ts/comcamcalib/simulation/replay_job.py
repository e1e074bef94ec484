# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""One job of the replay worker: what it works on, and the recorded products fitted to that."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from lsst.daf.butler import Butler, CollectionType, DatasetType

from .containers import Exposure
from .garbled import garble
from .recording import RecordedDataset, Recording, decode, fit, unpack
from .replay_retouch import retouch
from .replay_verify import VERIFICATIONS, verify_frames
from .replay_verify_products import PRODUCT_VERIFICATIONS, verify_products
from .worker import Job, pipeline_name
from .worker_faults import DEFAULT_ERROR, EFFECTS

__all__ = ["JobLog", "JobReplay"]


class JobLog:
    """Writes a log in the form of ``pipetask --long-log``."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write_line(self, line: str) -> None:
        """Write a line as it is."""
        self._file.write(line + "\n")
        self._file.flush()

    def info(self, logger: str, context: str, message: str) -> None:
        """Write a record of a logger, in the context of a task and its data id."""
        self._record("INFO", logger, context, message)

    def error(self, logger: str, context: str, message: str) -> None:
        """Write a record of level ERROR."""
        self._record("ERROR", logger, context, message)

    def _record(self, level: str, logger: str, context: str, message: str) -> None:
        time = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        self.write_line(f"{level} {time} {logger} ({context})(replay.py:1) - {message}")


@dataclasses.dataclass(frozen=True)
class _Scope:
    """What a job works on.

    Attributes
    ----------
    exposures
        Ids of the exposures, ascending.
    detectors
        Numbers of the detectors, ascending.
    filter_of
        Physical filter of each exposure.
    pairs
        Exposures and detectors that have a raw; empty if the pipeline needs none.
    """

    exposures: Sequence[int]
    detectors: Sequence[int]
    filter_of: Mapping[int, str]
    pairs: frozenset[tuple[int, int]]

    @property
    def physical_filters(self) -> list[str]:
        """The filters of the exposures."""
        return sorted(set(self.filter_of.values()))


class JobReplay:
    """Puts the products of one job into a repository.

    Parameters
    ----------
    butler
        The repository, open for writing.
    job
        The job.
    recordings
        Directory with the recordings.
    log
        The job's log.

    Raises
    ------
    FileNotFoundError
        If there is no recording of the job's pipeline.
    ValueError
        If the job has no input collections.
    lsst.daf.butler.MissingCollectionError
        If an input collection does not exist.
    """

    def __init__(self, butler: Butler, job: Job, recordings: Path, log: JobLog) -> None:
        self._butler = butler
        self._job = job
        self._log = log
        self._fault = job.fault
        self._query = job.environment.get("DATA_QUERY", "")
        self._output = f"u/ocps/{job.job_id}"
        self._pipeline = pipeline_name(job.environment["PIPELINE_URL"])
        is_measured = self._pipeline.partition("#")[0] in {*VERIFICATIONS, *PRODUCT_VERIFICATIONS}
        self._recording = None if is_measured else Recording.load(self._pipeline, recordings)
        self._inputs = _flatten(butler, _input_collections(job.environment.get("RUN_OPTIONS", "")))
        self._instrument = ""

    def put_all(self) -> None:
        """Make the collections and put everything, or what the fault leaves of it.

        Raises
        ------
        RuntimeError
            If there is nothing to work on, or the fault says so.
        """
        scope = self._find_scope()
        run = f"{self._output}/run"
        self._butler.collections.register(run, CollectionType.RUN)
        self._butler.collections.register(self._output, CollectionType.CHAINED)
        self._butler.collections.redefine_chain(self._output, [run, *self._inputs])
        doomed = self._doomed_detectors(scope)
        absent = doomed | self._detectors_without_work()
        kept = dataclasses.replace(scope, detectors=[item for item in scope.detectors if item not in absent])
        count = 0
        with self._butler.transaction():
            for dataset_type, data_id, product in self._products(kept, with_merged=not doomed):
                self._butler.put(product, dataset_type, data_id, run=run)
                count += 1
        self._log.info(__name__, self._pipeline, f"Put {count} recorded datasets into {run}.")
        if doomed and self._fault is not None and self._fault.effect in ("error", "fail_quantum"):
            self._fail(doomed)

    def _find_scope(self) -> _Scope:
        """Return what the data query selects, as the Butler understands it, of what the inputs have.

        Raises
        ------
        RuntimeError
            If it selects nothing.
        """
        needs_raws = self._recording is None or self._recording.exposures > 0
        if needs_raws:
            raws = self._butler.query_datasets(
                "raw", self._inputs, where=self._query, limit=None, explain=False, with_dimension_records=True
            )
            data_ids = [ref.dataId for ref in raws]
        else:
            data_ids = self._butler.query_data_ids(
                ["instrument", "detector"], where=self._query, limit=None, explain=False
            )
        if not data_ids:
            raise RuntimeError(
                f"QuantumGraph was empty; CRITICAL: no data in {', '.join(self._inputs)} for: {self._query}"
            )
        self._instrument = str(data_ids[0]["instrument"])
        detectors = sorted({int(data_id["detector"]) for data_id in data_ids})
        if not needs_raws:
            return _Scope([], detectors, {}, frozenset())
        filter_of = {int(data_id["exposure"]): str(data_id.exposure.physical_filter) for data_id in data_ids}
        pairs = frozenset((int(data_id["exposure"]), int(data_id["detector"])) for data_id in data_ids)
        return _Scope(sorted(filter_of), detectors, filter_of, pairs)

    def _doomed_detectors(self, scope: _Scope) -> set[int]:
        """Return the detectors whose products the fault keeps from being put.

        Raises
        ------
        ValueError
            If the fault has an unknown effect.
        """
        if self._fault is None or self._fault.effect in ("slow", "expire", "no_work", "garble"):
            return set()
        if self._fault.effect not in EFFECTS:
            raise ValueError(f"There is no fault {self._fault.effect!r} of the worker; use one of {EFFECTS}.")
        first = int(self._fault.value)
        last = first + 1 if self._fault.effect == "fail_quantum" else len(scope.detectors)
        return set(scope.detectors[first:last])

    def _detectors_without_work(self) -> set[int]:
        """Return the detectors that the job succeeds without."""
        return {int(self._fault.value)} if self._fault is not None and self._fault.effect == "no_work" else set()

    def _fail(self, doomed: set[int]) -> None:
        """Write into the log what pipetask writes when quanta fail, and raise what it raises in the end."""
        text = (self._fault.text if self._fault else "") or DEFAULT_ERROR
        for detector in sorted(doomed):
            quantum = f"{{instrument: '{self._instrument}', detector: {detector}}}"
            context = f"{self._pipeline}:{quantum}"
            failed = f"Execution of task '{self._pipeline}' on quantum {quantum} failed. Exception RuntimeError: {text}"
            self._log.error("lsst.pipe.base.single_quantum_executor", context, failed)
            goes_on = f"({self._pipeline}@{quantum}) failed; processing will continue for remaining tasks."
            self._log.error("lsst.pipe.base.mp_graph_executor", context, goes_on)
            try:
                raise RuntimeError(text)
            except RuntimeError:
                self._log.write_line(traceback.format_exc().rstrip())
        from lsst.pipe.base.mp_graph_executor import MPGraphExecutorError

        raise MPGraphExecutorError("One or more tasks failed during execution.")

    def _products(self, scope: _Scope, with_merged: bool) -> Iterator[tuple[DatasetType, dict[str, Any], Any]]:
        """Yield dataset type, data id and content of everything to be put.

        Parameters
        ----------
        scope
            What the job works on.
        with_merged
            Whether there are products of all detectors together: they need each of them.
        """
        if self._recording is None:
            yield from self._verification(scope, with_merged)
            return
        types: dict[str, DatasetType] = {}
        for recorded in self._recording.datasets:
            name = recorded.dataset_type
            dataset_type = types.setdefault(name, self._butler.get_dataset_type(name))
            dimensions = dataset_type.dimensions
            if ("detector" in dimensions and recorded.data_id["detector"] not in scope.detectors) or (
                "detector" not in dimensions and not with_merged
            ):
                continue
            if "exposure" in dimensions:
                single = self._single_exposures(recorded, scope, self._recording.exposures)
            else:
                single = self._of_all_exposures(recorded, scope, self._recording.exposures)
            for data_id, content in single:
                product = retouch(name, data_id.get("detector"), _make(dataset_type, content), self._job.camera_faults)
                yield dataset_type, {"instrument": self._instrument, **data_id}, product

    def _verification(self, scope: _Scope, with_merged: bool) -> Iterator[tuple[DatasetType, dict[str, Any], Any]]:
        """Yield what is measured on the frames or products themselves."""
        pairs = {
            (exposure, detector): scope.filter_of[exposure]
            for exposure, detector in scope.pairs
            if detector in scope.detectors
        }
        where = (self._pipeline, self._butler, self._inputs, pairs, self._instrument)
        measured = verify_frames(*where, with_merged) if self._pipeline in VERIFICATIONS else verify_products(*where)
        for name, data_id, content in measured:
            if (
                self._fault is not None
                and self._fault.effect == "garble"
                and data_id.get("detector") == int(self._fault.value)
            ):
                content = garble(content, data_id["exposure"])
            yield self._butler.get_dataset_type(name), {"instrument": self._instrument, **data_id}, content

    def _single_exposures(
        self, recorded: RecordedDataset, scope: _Scope, number_recorded: int
    ) -> Iterator[tuple[dict[str, Any], Any]]:
        """Yield a dataset for each exposure that gets this recorded one."""
        count = len(scope.exposures)
        for number in range(int(recorded.data_id["exposure"]), count, number_recorded):
            exposure = scope.exposures[number]
            detector = recorded.data_id.get("detector")
            if detector is not None and (exposure, detector) not in scope.pairs:
                continue
            shift = number - int(recorded.data_id["exposure"])
            shifted = [scope.exposures[(position + shift) % count] for position in range(number_recorded)]
            data_id = {**recorded.data_id, "exposure": exposure}
            if "physical_filter" in data_id:
                data_id["physical_filter"] = scope.filter_of[exposure]
            yield data_id, decode(recorded.content, shifted.__getitem__)

    def _of_all_exposures(
        self, recorded: RecordedDataset, scope: _Scope, number_recorded: int
    ) -> Iterator[tuple[dict[str, Any], Any]]:
        """Yield a dataset for each physical filter, if it has one, with the exposures in that filter."""
        if "physical_filter" not in recorded.data_id or not scope.exposures:
            yield dict(recorded.data_id), fit(recorded.content, number_recorded, scope.exposures or [0])
            return
        for name in scope.physical_filters:
            exposures = [exposure for exposure in scope.exposures if scope.filter_of[exposure] == name]
            yield {**recorded.data_id, "physical_filter": name}, fit(recorded.content, number_recorded, exposures)


def _make(dataset_type: DatasetType, content: Any) -> Any:
    """Return the object of the dataset type's storage class."""
    pytype = dataset_type.storageClass.pytype
    if pytype is Exposure:
        return Exposure.from_array(unpack(content["image"]), content["metadata"])
    return pytype.from_dict(content) if hasattr(pytype, "from_dict") else content


def _input_collections(run_options: str) -> list[str]:
    """Return the input collections among the options of pipetask, in order; several -i add up."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-i", "--input", action="append", default=[])
    options, _ = parser.parse_known_args(run_options.split())
    return [name for names in options.input for name in names.split(",") if name]


def _flatten(butler: Butler, names: Sequence[str]) -> list[str]:
    """Return the collections with chains replaced by their members, each only once.

    Raises
    ------
    ValueError
        If there are none.
    lsst.daf.butler.MissingCollectionError
        If one does not exist.
    """
    if not names:
        raise ValueError("No input collections provided.")
    return list(butler.collections.query(names, flatten_chains=True))
