# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one world of a night: what is outside the process, and outlives it."""

from __future__ import annotations

import collections
import dataclasses
import uuid
from collections.abc import Collection, Iterator

from lsst.ts.comcamcalib.butler_data import CertifyRequest, DatasetFound, VerificationStatistics, Withdrawal
from lsst.ts.comcamcalib.config import CscConfig
from support.withdrawing import Row, after, planned
from support.world import FakeJob

from .faults import NightPlan
from .uws_world import Job, UwsWorld
from .virtual_loop import VirtualThreads

__all__ = ["NightWorld", "Validity"]

DAILY = "LSSTComCam/calib/daily"

BAD_AMPLIFIERS = 12
"""So many amplifiers of a bad detector fail their tests, more than the options allow."""


@dataclasses.dataclass(frozen=True)
class Validity:
    """A dataset in a calibration collection, and from when to when (ISO 8601 TAI; "": unbounded)."""

    collection: str
    dataset_type: str
    begin: str
    end: str
    dataset: DatasetFound


class NightWorld(UwsWorld):
    """A world with a Butler repository, too.

    Parameters
    ----------
    config
        Configuration of the pipelines.
    plan
        What goes wrong.
    """

    def __init__(self, config: CscConfig, plan: NightPlan) -> None:
        super().__init__(config, plan)
        self.bad_detectors: dict[str, set[int]] = collections.defaultdict(set)
        """Detectors of each product that can't be certified."""
        for one in plan.of("product"):
            self.bad_amplifiers[one.what, 0] = BAD_AMPLIFIERS
            self.bad_detectors[one.what].add(0)
            self.seen[f"product: {one.what} is bad"] += 1
        for one in plan.of("detector"):
            self._spoil(*one.what.split(" ", 2))
        self.late_answers: list[str] = []
        """Sentences about commands that were not answered in time."""
        self.validities: list[Validity] = []
        """What is certified."""
        self.certify_faults: frozenset[str] = frozenset()
        """What goes wrong with the latest certification."""
        self.writer: VirtualThreads | None = None
        """The threads that hold the lock of the repository's database."""
        self.withdrawn: set[str] = set()
        """Datasets that were withdrawn."""
        self.older: list[Validity] = []
        """What was certified before the run; only if it is to be back in the end."""
        if any(one.what == "decertify" for one in plan.happenings):
            self.older = list(self._certified_before())
            self.validities = list(self.older)
            self.collections.add(config.run_defaults.get("calib_collection", DAILY))
        self.wanted: list[tuple[float, str]] = []
        """What operators wanted of the run: "abort", when that was answered, or "go on", when it was asked for by name;
        and when (seconds of the night)."""
        self.certify_log: list[tuple[float, str]] = []
        """When each certification that changed something was asked for, and of which type."""
        self.certified_log: list[tuple[float, Validity]] = []
        """Each dataset that was newly certified for a range, and when (seconds of the night)."""

    def _spoil(self, product: str, detector: str, how: str) -> None:
        """Let one detector of a product be bad, or not verified."""
        if how == "noisy":
            self.bad_amplifiers[product, int(detector)] = BAD_AMPLIFIERS
        else:
            verification = self.config.recipes[product].verification
            assert verification is not None, product
            self.missing.add((verification.label, int(detector)))
        self.bad_detectors[product].add(int(detector))
        self.seen[f"detector: {how}"] += 1

    def _certified_before(self) -> Iterator[Validity]:
        for recipe in self.config.recipes.values():
            last = recipe.jobs[-1]
            if last.dimensions == "detector+exposure_pair":
                continue
            kind = self.filter if last.dimensions == "detector+physical_filter" else None
            for detector in range(9):
                name = str(uuid.UUID(int=self.dice("older").getrandbits(128)))
                run = f"u/ocps/{'0' * 32}/run"
                yield Validity(DAILY, last.dataset_type, "", "", DatasetFound(name, detector, kind, None, run))

    # What jobs make

    def _made(self, job: FakeJob, dimensions: str) -> list[DatasetFound]:
        made = super()._made(job, dimensions)
        if isinstance(job, Job) and "incomplete" in job.faults:
            made = [one for one in made if one.detector != job.detectors[0]]
        return [
            dataclasses.replace(one, dataset_id=str(uuid.UUID(int=self.dice("uuids").getrandbits(128)))) for one in made
        ]

    def statistics(self, run_collection: str, physical_filter: str | None) -> VerificationStatistics:
        """Return what cp_verify would have written; not all of it if the job is incomplete."""
        statistics = super().statistics(run_collection, physical_filter)
        (job,) = [one for one in self.all_jobs if one.run_collection == run_collection]
        if "incomplete" in job.faults:
            details = {key: one for key, one in statistics.detectors.items() if key[1] != job.detectors[0]}
            statistics = dataclasses.replace(statistics, detectors=details)
        return statistics

    # Certifications

    def certify_for(self, request: CertifyRequest) -> list[Validity]:
        """Certify datasets for a range; older ones of the same data ids stay outside it. Return what was in the way."""
        collection, dataset_type = request.calib_collection, request.dataset_type
        begin, end = request.begin_iso_tai, request.end_iso_tai
        wanted = self.to_be_certified(request)
        replaced = self.in_the_way(request, [one.dataset_id for one in wanted])
        self.validities = [old for old in self.validities if old not in replaced]
        for old in replaced:
            self.validities += [dataclasses.replace(old, end=begin)] if _earlier(old.begin, begin) else []
            self.validities += [dataclasses.replace(old, begin=end)] if _later(old.end, end) else []
        new = [Validity(collection, dataset_type, begin, end, one) for one in wanted]
        self.validities += new
        self.certified_log += [(self.time_s, one) for one in new]
        self.collections.add(collection)
        self.on_act("certify")
        return replaced

    def to_be_certified(self, request: CertifyRequest) -> list[DatasetFound]:
        """Return those datasets of a request that are not certified for its range yet."""
        begin, end = request.begin_iso_tai, request.end_iso_tai
        covering = self.in_range(request.calib_collection, request.dataset_type, begin, end, covering=True)
        done = {old.dataset.dataset_id for old in covering}
        return [one for one in self._chosen(request) if one.dataset_id not in done]

    def _rows(self) -> list[Row]:
        return [Row(one.collection, one.dataset_type, one.begin, one.end, one.dataset) for one in self.validities]

    def _known(self) -> list[DatasetFound]:
        return [*(one for some in self.datasets.values() for one in some), *(one.dataset for one in self.older)]

    def withdrawal(self, wanted: Withdrawal) -> Withdrawal:
        """Return what must change to undo certifications."""
        return planned(self._rows(), self._known(), wanted)

    def withdraw(self, done: Withdrawal) -> None:
        """Undo certifications."""
        rows = after(self._rows(), self._known(), done)
        self.validities = [Validity(row.collection, row.dataset_type, row.begin, row.end, row.dataset) for row in rows]
        self.withdrawn |= {one.dataset_id for one in done.out} - {one.dataset_id for one in done.back}
        self.on_act("withdraw")

    def in_the_way(self, request: CertifyRequest, ids: Collection[str]) -> list[Validity]:
        """Return what the certification of some datasets takes over."""
        keys = {(one.detector, one.physical_filter) for one in self._chosen(request) if one.dataset_id in ids}
        there = self.in_range(
            request.calib_collection, request.dataset_type, request.begin_iso_tai, request.end_iso_tai
        )
        return [old for old in there if (old.dataset.detector, old.dataset.physical_filter) in keys]

    def _chosen(self, request: CertifyRequest) -> list[DatasetFound]:
        there = self.datasets.get((request.run_collection, request.dataset_type), [])
        return [one for one in there if one.dataset_id in request.dataset_ids]

    def in_range(
        self, collection: str, dataset_type: str, begin: str, end: str, covering: bool = False
    ) -> list[Validity]:
        """Return what is certified for some part of a range, or for all of it."""
        there = [one for one in self.validities if (one.collection, one.dataset_type) == (collection, dataset_type)]
        if covering:
            return [one for one in there if not _later(one.begin, begin, "") and not _earlier(one.end, end, "~")]
        return [one for one in there if (not end or one.begin < end) and (not one.end or begin < one.end)]

    def used_by(self, job_collection: str, dataset_type: str, detector: int) -> str | None:
        """Return the RUN collection of the dataset that a job with this chain has used; None: there was none."""
        for name in self.chains.get(job_collection, []):
            for one in self.datasets.get((name, dataset_type), []):
                if one.detector == detector:
                    return one.run
            for valid in self.validities:
                if (valid.collection, valid.dataset_type, valid.dataset.detector) == (name, dataset_type, detector):
                    return valid.dataset.run
        return None


def _earlier(one: str, other: str, unbounded: str = "") -> bool:
    """Return whether one beginning is earlier than the other."""
    return (one or unbounded) < (other or unbounded)


def _later(one: str, other: str, unbounded: str = "~") -> bool:
    """Return whether one end is later than the other; an unbounded one is the latest."""
    return (one or unbounded) > (other or unbounded)
