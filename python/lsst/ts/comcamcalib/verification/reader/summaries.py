# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read cp_verify's summaries: the statistics of each exposure, and those of the whole run.

It writes for the run ``{exposure: {"SUCCESS": bool, "FAILURES": ["R22_S21 C17 NOISE"]}, "SUCCESS": bool}`` and for an
exposure ``{detector: {"SUCCESS": bool, "FAILURES": ["C17 NOISE"]}, "SUCCESS": bool}``. Of flats the run names only the
tests of whole exposures, such as ``SCATTER``, and hides those of detectors and amplifiers; the exposures name those.

The statistics of a run that verified photon transfer curves have no exposures; they are like those of an exposure.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...butler_data import VerificationStatistics
from ..table import ABSENT, Problem, StatisticsTable, Summary
from .values import GROUP_KEYS, UnreadableError, boolean, mapping, quoted

__all__ = ["EXPOSURE_TEST", "read_exposures", "read_product", "read_run"]

EXPOSURE_TEST = "SCATTER"
"""The only test of a whole exposure that is known; it does not count (the configuration says why)."""


class _Reading:
    """A summary while it is read, and what is wrong with it."""

    def __init__(self, level: str, table: StatisticsTable) -> None:
        self.level = level
        self.problems: list[Problem] = []
        self._names = {name: index for index, name in enumerate(table.names)}
        self._amplifiers = {name: index for index, name in enumerate(table.amplifiers)} | {"": len(table.amplifiers)}
        self._tests = {name: index for index, name in enumerate(table.tests)}
        exposures = len(table.exposures)
        self._success = np.full(exposures, ABSENT, np.int8)
        self._of_detectors = np.full((exposures, len(table.detectors)), ABSENT, np.int8)
        self._failed = np.zeros(table.results.shape, bool)
        self._most = np.zeros(exposures, np.int64)
        self._others: dict[int | None, list[str]] = {}
        self._whole: dict[int | None, list[str]] = {}

    def problem(self, text: object, exposure: int | None = None, detector: int | None = None) -> None:
        self.problems.append(Problem(self.level, str(text), exposure, detector))

    def is_detector(self, name: object) -> bool:
        return isinstance(name, str) and name in self._names

    def add_exposure(self, index: int, success: bool) -> None:
        self._success[index] = success

    def add_detector(self, index: int, name: str, success: bool) -> None:
        self._of_detectors[index, self._names[name]] = success

    def add_failures(self, index: int, exposure: int | None, failures: list[str]) -> None:
        """Add the failures of an exposure, such as ``R22_S21 C17 NOISE``, ``R22_S21 SCATTER`` or ``SCATTER``."""
        places = [self._place(text, exposure) for text in failures]
        if known := [place for place in places if place is not None]:
            detectors, amplifiers, tests = zip(*known, strict=True)
            self._failed[index, list(detectors), list(amplifiers), list(tests)] = True
        counts = collections.Counter(text.rpartition(" ")[2] for text in failures)
        self._most[index] = max(counts.values(), default=0)

    def _place(self, text: str, exposure: int | None) -> tuple[int, int, int] | None:
        words = text.split(" ")
        if words == [EXPOSURE_TEST]:
            self._whole.setdefault(exposure, []).append(EXPOSURE_TEST)
            return None
        if len(words) not in (2, 3) or words[0] not in self._names:
            raise UnreadableError(f"{quoted(text)} is no failure of a detector in use")
        amplifier = self._amplifiers.get(words[1] if len(words) == 3 else "")
        test = self._tests.get(words[-1])
        if amplifier is None or test is None:
            self._others.setdefault(exposure, []).append(text)
            return None
        return self._names[words[0]], amplifier, test

    def summary(self) -> Summary:
        return Summary(
            self._success,
            self._of_detectors,
            self._failed,
            {exposure: tuple(texts) for exposure, texts in self._others.items()},
            {exposure: tuple(texts) for exposure, texts in self._whole.items()},
            self._most,
        )


def _failures(result: Mapping[Any, Any], what: str) -> tuple[bool, list[str]]:
    """Return whether something succeeded, and what failed."""
    success = boolean(result.get("SUCCESS"), f"SUCCESS of {what}")
    failures = result.get("FAILURES", [])
    if not isinstance(failures, list | tuple):
        raise UnreadableError(f"FAILURES of {what} are not a list")
    if success and failures:
        raise UnreadableError(f"{what} has succeeded, but with failures")
    if odd := [one for one in failures if not isinstance(one, str)]:
        raise UnreadableError(f"{quoted(odd[0])} is no failure of a detector in use")
    return success, list(failures)


def _exposure_id(key: Any) -> int:
    if isinstance(key, int) and not isinstance(key, bool):
        return key
    if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 20:
        return int(key)
    raise UnreadableError(f"{quoted(key)} is not an exposure")


def read_run(statistics: object, table: StatisticsTable) -> tuple[Summary, list[Problem]]:
    """Read the statistics of the whole run; keys of exposures may have been written as numbers or as text.

    Parameters
    ----------
    statistics
        As they were read; None: there are none.
    table
        The statistics of the detectors, for the names of what may have failed.

    Returns
    -------
    summary
        What could be read.
    problems
        What could not.
    """
    reading = _Reading("run", table)
    if statistics is None:
        reading.problem("there are no statistics of the run")
        return reading.summary(), reading.problems
    try:
        content = mapping(statistics, "the content")
        entries = _entries(content)
    except UnreadableError as error:
        reading.problem(f"the statistics of the run can't be used: {error}")
        return reading.summary(), reading.problems
    successes = []
    for exposure, entry in entries.items():
        try:
            success, failures = _failures(mapping(entry, f"the entry of exposure {exposure}"), f"exposure {exposure}")
            successes.append(success)
            if exposure not in table.exposures:
                reading.problem(f"the statistics of the run have exposure {exposure}, which was not to be verified")
                continue
            index = table.exposures.index(exposure)
            reading.add_failures(index, exposure, failures)
            reading.add_exposure(index, success)
        except UnreadableError as error:
            reading.problem(f"the statistics of the run can't be used: {error}", exposure)
    for planned in table.exposures:
        if planned not in entries:
            reading.problem("the statistics of the run do not have it", planned)
    try:
        whole = boolean(content.get("SUCCESS"), "SUCCESS of the run")
        if len(successes) == len(entries) and whole != all(successes):
            raise UnreadableError("SUCCESS of the run does not follow from its exposures")
    except UnreadableError as error:
        reading.problem(f"the statistics of the run can't be used: {error}")
    return reading.summary(), reading.problems


def read_product(statistics: object, table: StatisticsTable) -> tuple[Summary, list[Problem]]:
    """Read the statistics of a run that verified a product itself, by the names of the detectors; see `read_run`."""
    reading = _Reading("run", table)
    if statistics is None:
        reading.problem("there are no statistics of the run")
        return reading.summary(), reading.problems
    try:
        _read_detectors(statistics, 0, None, reading, table)
    except UnreadableError as error:
        reading.problem(f"the statistics of the run can't be used: {error}")
    return reading.summary(), reading.problems


def _entries(content: Mapping[Any, Any]) -> dict[int, Any]:
    entries: dict[int, Any] = {}
    for key, entry in content.items():
        if key in GROUP_KEYS:
            continue
        exposure = _exposure_id(key)
        if exposure in entries:
            raise UnreadableError(f"exposure {exposure} is there twice")
        entries[exposure] = entry
    return entries


def read_exposures(statistics: VerificationStatistics, table: StatisticsTable) -> tuple[Summary, list[Problem]]:
    """Read the statistics of each exposure; see `read_run`."""
    reading = _Reading("exposure", table)
    found = statistics.exposures or {}
    for index, exposure in enumerate(table.exposures):
        if exposure is None or exposure not in found:
            reading.problem("there are no statistics of it", exposure)
            continue
        try:
            _read_detectors(found[exposure], index, exposure, reading, table)
        except UnreadableError as error:
            reading.problem(f"the statistics of the exposure can't be used: {error}", exposure)
    return reading.summary(), reading.problems


def _read_detectors(content: Any, index: int, exposure: int | None, reading: _Reading, table: StatisticsTable) -> None:
    """Read what a summary says about each detector, in an exposure or in all."""
    content = mapping(content, "the content")
    successes, failures = [], []
    for name, entry in content.items():
        if name in GROUP_KEYS:
            continue
        if not reading.is_detector(name):
            raise UnreadableError(f"{quoted(name)} is no detector in use")
        success, failed = _failures(mapping(entry, f"the entry of {name}"), str(name))
        reading.add_detector(index, name, success)
        successes.append(success)
        failures += [f"{name} {one}" for one in failed]
    whole = list(_failed_as_a_whole(content))
    reading.add_failures(index, exposure, [*failures, *whole])
    success = boolean(content.get("SUCCESS"), "SUCCESS")
    if success != (all(successes) and not whole):
        raise UnreadableError("SUCCESS does not follow from the detectors")
    reading.add_exposure(index, success)
    for detector, name in zip(table.detectors, table.names, strict=True):
        if name not in content:
            reading.problem(f"the statistics of the {reading.level} do not have it", exposure, detector)


def _failed_as_a_whole(content: Mapping[Any, Any]) -> Iterator[str]:
    tests = mapping(mapping(content.get("VERIFY", {}), "VERIFY").get("EXP", {}), "VERIFY EXP")
    for test, passed in tests.items():
        if not boolean(passed, f"{test} of the exposure") and test != "SUCCESS":
            yield str(test)
