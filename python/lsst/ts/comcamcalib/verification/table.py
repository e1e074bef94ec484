# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""All that cp_verify wrote, as one table of exposure, detector, amplifier and test."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .arrays import Booleans, Floats, Results
from .faults import Faults

__all__ = ["ABSENT", "FAILED", "PASSED", "Problem", "StatisticsTable", "Summary"]

ABSENT, FAILED, PASSED = -1, 0, 1
"""Result of a test."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """Statistics that are missing, can't be read or contradict themselves.

    Parameters
    ----------
    level
        Which: ``detector``, ``exposure`` or ``run``.
    text
        What is wrong, without a full stop.
    exposure, detector
        Where; None: everywhere.
    """

    level: str
    text: str
    exposure: int | None = None
    detector: int | None = None


@dataclasses.dataclass(frozen=True)
class Summary:
    """What the statistics of the run, or those of the exposures, say about the detectors.

    Parameters
    ----------
    success
        cp_verify's own result, by exposure; ABSENT: not known.
    detector_success
        Its result of each detector, by exposure and detector; ABSENT: it does not say.
    failed
        The failed tests that it names, with the axes of `StatisticsTable.results`.
    others
        Failures of tests or amplifiers that no detector's statistics have, by exposure.
    whole
        Failed tests of the exposure as a whole, by exposure.
    most_failures
        How often the test failed that failed most often, by exposure.
    """

    success: Results
    detector_success: Results
    failed: Booleans
    others: Mapping[int | None, tuple[str, ...]]
    whole: Mapping[int | None, tuple[str, ...]]
    most_failures: npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class StatisticsTable:
    """All that cp_verify wrote about the exposures and detectors of a plan.

    Parameters
    ----------
    exposures, detectors
        Ids of those of the plan; the first two axes of all arrays. Instead of exposures there may be a single None, see
        `RuleContext`.
    names
        Full names of the detectors.
    amplifiers
        Names of all amplifiers; the third axis. In ``results`` one more follows, for the detector as a whole.
    tests, statistics
        Names of the tests and of what was measured; the fourth axis of ``results`` and of ``values``.
    results
        Shape (exposures, detectors, amplifiers + 1, tests): ABSENT, FAILED or PASSED.
    values
        Shape (exposures, detectors, amplifiers, statistics), in cp_verify's units (electron); NaN: not measured.
    success
        cp_verify's own result of each detector: shape (exposures, detectors).
    readable
        Whether a detector's statistics are there and make sense: shape (exposures, detectors). Others have no results.
    unlit
        Amplifiers of flats that were tested, but had no signal: shape (exposures, detectors, amplifiers).
    run, of_exposures
        What the summaries say; None: there is none, or it is not to be read.
    problems
        What is missing, or can't be used.
    faults
        What is wrong with the frames, by the CSC's own rules for them.
    own_tests, own_failures
        The CSC's own tests that count these faults, and where they failed: shape (exposures, detectors,
        amplifiers + 1, own tests).
    """

    exposures: tuple[int | None, ...]
    detectors: tuple[int, ...]
    names: tuple[str, ...]
    amplifiers: tuple[str, ...]
    tests: tuple[str, ...]
    statistics: tuple[str, ...]
    results: Results
    values: Floats
    success: Results
    readable: Booleans
    unlit: Booleans
    run: Summary | None = None
    of_exposures: Summary | None = None
    problems: tuple[Problem, ...] = ()
    faults: tuple[Faults, ...] = ()
    own_tests: tuple[str, ...] = ()
    own_failures: Booleans | None = None

    @property
    def failed(self) -> Booleans:
        """Where tests of cp_verify failed, with the axes of ``results``."""
        return np.asarray(self.results == FAILED)

    def values_of(self, statistic: str | None) -> Floats:
        """Return the values of one statistic, NaN if there is none: shape (exposures, detectors, amplifiers)."""
        if statistic not in self.statistics:
            return np.full(self.values.shape[:3], np.nan)
        return self.values[..., self.statistics.index(statistic)]

    def of_amplifiers(self, known: Mapping[int, Mapping[str, float]]) -> Floats:
        """Return values by detector id and amplifier name as an array (detectors, amplifiers); NaN: not known."""
        return np.array(
            [[known.get(detector, {}).get(name, np.nan) for name in self.amplifiers] for detector in self.detectors],
            dtype=np.float64,
        ).reshape(len(self.detectors), len(self.amplifiers))

    def places(self, mask: npt.NDArray[Any]) -> list[tuple[int, ...]]:
        """Return the indices at which a mask is true, in order."""
        return [tuple(int(one) for one in place) for place in np.argwhere(mask)]
