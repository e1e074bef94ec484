# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read the statistics of all detectors into one table."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from ...butler_data import VerificationStatistics
from ..arrays import Booleans, Floats, Results
from ..context import NO_EXPOSURE, RuleContext
from ..table import ABSENT, Problem, StatisticsTable
from .detector_level import Entry, Shape, check_success, read_detector, without_signal
from .summaries import read_exposures, read_product, read_run
from .values import FAILS_ALWAYS, UnreadableError

__all__ = ["read_table"]

Place = tuple[int, int]
"""Indices of exposure and detector."""


def read_table(statistics: VerificationStatistics, context: RuleContext) -> StatisticsTable:
    """Read the statistics of a verification.

    Parameters
    ----------
    statistics
        As cp_verify has written them, or anything else. Those of other exposures are ignored, because flats in several
        filters share a collection.
    context
        What should be there.
    """
    table = _Detectors(statistics, context).table()
    read = read_product if context.exposures == NO_EXPOSURE else read_run
    run, problems = read(statistics.run, table)
    of_exposures = None
    if statistics.exposures is not None:
        of_exposures, more = read_exposures(statistics, table)
        problems = [*problems, *more]
    return dataclasses.replace(table, run=run, of_exposures=of_exposures, problems=(*table.problems, *problems))


class _Detectors:
    """The statistics of the detectors while they are read; entries of the same shape become arrays together."""

    def __init__(self, statistics: VerificationStatistics, context: RuleContext) -> None:
        self._raw = statistics.detectors
        self._context = context
        self._detectors = tuple(context.detectors)
        self._entries: dict[Place, Entry] = {}
        self._problems: dict[Place, str] = {}
        self._dark: dict[Place, list[str]] = {}
        """Amplifiers without signal, for flats."""
        for exposure_index, exposure in enumerate(context.exposures):
            for detector_index, detector in enumerate(self._detectors):
                self._read((exposure_index, detector_index), exposure, detector)
        self._reject_strange_amplifiers()

    def _read(self, place: Place, exposure: int | None, detector: int) -> None:
        if (exposure, detector) not in self._raw:
            self._problems[place] = "no statistics"
            return
        try:
            self._entries[place] = read_detector(self._raw[exposure, detector], self._context, detector)
        except UnreadableError as error:
            self._reject(place, str(error))

    def _reject(self, place: Place, problem: str) -> None:
        """Do not use the statistics of a detector, but see whether a flat has no signal on it."""
        self._entries.pop(place, None)
        exposure, detector = self._context.exposures[place[0]], self._detectors[place[1]]
        if self._context.frames is not None and self._context.physical_filter:
            dark = without_signal(self._raw[exposure, detector], self._context, detector)
            if dark:
                self._dark[place] = dark
            if len(dark) == self._context.amplifiers[detector] and self._context.rules.frames == "fail":
                return  # it is known what is wrong: there was no light, and that fails the product
        self._problems[place] = problem

    def _reject_strange_amplifiers(self) -> None:
        """Reject the statistics in which a detector has other amplifiers than in most of the exposures."""
        by_detector: dict[int, collections.Counter[tuple[str, ...]]] = collections.defaultdict(collections.Counter)
        for (_, detector), entry in self._entries.items():
            by_detector[detector][entry.shape.amplifiers] += 1
        usual = {detector: set(names.most_common(1)[0][0]) for detector, names in by_detector.items()}
        for place, entry in list(self._entries.items()):
            if len(by_detector[place[1]]) > 1 and (odd := set(entry.shape.amplifiers) ^ usual[place[1]]):
                self._reject(place, f"it has other amplifiers than usual: {', '.join(sorted(odd)[:3])}")

    def table(self) -> StatisticsTable:
        """Return the statistics as a table."""
        groups: dict[Shape, list[Place]] = {}
        for place, entry in self._entries.items():
            groups.setdefault(entry.shape, []).append(place)
        amplifiers = _union([*(shape.amplifiers for shape in groups), *self._dark.values()])
        tests = tuple(
            one for one in _union([*(one.tests for one in groups), *(one.whole for one in groups)]) if one != "SUCCESS"
        )
        statistics = _union([shape.statistics for shape in groups])
        size = len(self._context.exposures), len(self._detectors)
        results = np.full((*size, len(amplifiers) + 1, len(tests)), ABSENT, np.int8)
        values = np.full((*size, len(amplifiers), len(statistics)), np.nan)
        success = np.full(size, ABSENT, np.int8)
        for shape, places in groups.items():
            self._fill(shape, places, (amplifiers, tests, statistics), (results, values, success))
        unlit = np.zeros((*size, len(amplifiers)), bool)
        for (exposure, detector), names in self._dark.items():
            unlit[exposure, detector, [amplifiers.index(name) for name in names]] = True
        readable: Booleans = np.zeros(size, bool)
        for place in self._entries:
            readable[place] = True
        return StatisticsTable(
            exposures=self._context.exposures,
            detectors=self._detectors,
            names=tuple(self._context.detectors.values()),
            amplifiers=amplifiers,
            tests=tests,
            statistics=statistics,
            results=results,
            values=values,
            success=success,
            readable=readable,
            unlit=unlit,
            problems=self._as_problems(),
        )

    def _fill(
        self,
        shape: Shape,
        places: list[Place],
        names: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]],
        arrays: tuple[Results, Floats, Results],
    ) -> None:
        """Put entries of one shape into the arrays; reject those that contradict themselves."""
        amplifiers, tests, statistics = names
        results, values, success = arrays
        entries = [self._entries[place] for place in places]
        count = len(shape.amplifiers)
        shape_of = (len(places), count, len(shape.tests))
        own = np.array([one.results for one in entries], np.int8).reshape(shape_of)
        whole = np.array([one.whole for one in entries], np.int8).reshape(len(places), len(shape.whole))
        measured = np.array([one.values for one in entries], np.float64).reshape(
            len(places), count, len(shape.statistics)
        )
        successes = np.array([one.success for one in entries], np.int8)
        good = np.ones(len(places), bool)
        for index in self._suspicious(shape, own, whole, measured, successes):
            good[index] = self._is_good(places[index], entries[index])
        where = np.array(places)[good].T
        columns = [amplifiers.index(name) for name in shape.amplifiers]
        for index, test in enumerate(shape.tests):
            if test != "SUCCESS":
                results[where[0][:, None], where[1][:, None], columns, tests.index(test)] = own[good, :, index]
        for index, test in enumerate(shape.whole):
            if test != "SUCCESS":
                results[where[0], where[1], len(amplifiers), tests.index(test)] = whole[good, index]
        for index, statistic in enumerate(shape.statistics):
            place = where[0][:, None], where[1][:, None], columns, statistics.index(statistic)
            values[place] = measured[good, :, index]
        success[where[0], where[1]] = successes[good]

    def _suspicious(self, shape: Shape, own: Results, whole: Results, measured: Floats, success: Results) -> list[int]:
        """Return the entries that may contradict themselves, or lack a needed value."""
        recipe = self._context.recipe
        assert recipe is not None
        needed = recipe.needed_statistics
        if any(name not in shape.statistics for name in needed):
            return list(range(len(own)))
        columns = [shape.statistics.index(name) for name in needed]
        bad = ~np.isfinite(measured[:, :, columns]).all(axis=(1, 2))
        opinion = own[:, :, shape.tests.index("SUCCESS")] == 1
        counts = np.array([test in recipe.tests or test == FAILS_ALWAYS for test in shape.tests])
        others = np.array([test != "SUCCESS" for test in shape.tests])
        failed = own == 0
        bad |= (opinion & failed[:, :, counts].any(axis=2)).any(axis=1)
        bad |= (~opinion & ~failed[:, :, others].any(axis=2)).any(axis=1)
        all_good = opinion.all(axis=1)
        if shape.whole:
            fine = whole[:, shape.whole.index("SUCCESS")] == 1
            others_failed = (whole[:, [test != "SUCCESS" for test in shape.whole]] == 0).any(axis=1)
            bad |= fine == others_failed
            all_good &= fine
        bad |= all_good != (success == 1)
        return [int(index) for index in np.flatnonzero(bad)]

    def _is_good(self, place: Place, entry: Entry) -> bool:
        """Look at an entry in detail; reject it if it can't be used."""
        recipe = self._context.recipe
        assert recipe is not None
        bad = self._context.bad_amplifiers.get(self._detectors[place[1]], {})
        try:
            check_success(entry, recipe)
            for statistic in recipe.needed_statistics:
                for name, value in zip(entry.shape.amplifiers, _column(entry, statistic), strict=True):
                    if not np.isfinite(value) and name not in bad:
                        raise UnreadableError(f"{statistic} of {name} is missing or not a finite number")
        except UnreadableError as error:
            self._reject(place, str(error))
            return False
        return True

    def _as_problems(self) -> tuple[Problem, ...]:
        return tuple(
            Problem("detector", text, self._context.exposures[exposure], self._detectors[detector])
            for (exposure, detector), text in sorted(self._problems.items())
        )


def _union(names: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for some in names for name in some))


def _column(entry: Entry, statistic: str) -> list[float]:
    statistics = entry.shape.statistics
    if statistic not in statistics:
        return [np.nan] * len(entry.shape.amplifiers)
    return list(entry.values[statistics.index(statistic) :: len(statistics)])
