# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which failures count: those of the configured tests and of the CSC's own, but for amplifiers known to be bad."""

from __future__ import annotations

import collections
import dataclasses

import numpy as np
import numpy.typing as npt

from .arrays import Booleans
from .context import RuleContext
from .reader.values import FAILS_ALWAYS
from .table import StatisticsTable

__all__ = ["Counted", "bad_mask", "counted"]


@dataclasses.dataclass(frozen=True)
class Counted:
    """Failures of the tests that count.

    Parameters
    ----------
    tests
        Their names, in alphabetical order: cp_verify's and the CSC's own.
    failed
        Where they failed: shape (exposures, detectors, amplifiers + 1, tests); the last of the amplifiers stands for
        the detector as a whole.
    of_bad
        The same for amplifiers that are known to be bad, which do not count.
    """

    tests: tuple[str, ...]
    failed: Booleans
    of_bad: Booleans

    def by_detector(self, threshold: int) -> Booleans:
        """Return where a test failed for a detector, as a whole or on more amplifiers than the threshold allows.

        Shape (exposures, detectors, tests).
        """
        return np.asarray((self.failed[:, :, :-1].sum(axis=2) > threshold) | self.failed[:, :, -1])

    def by_test(self, failed: npt.NDArray[np.bool_]) -> dict[str, int]:
        """Return how often each test failed, of a part of the failures with the tests as the last axis."""
        counts = failed.sum(axis=tuple(range(failed.ndim - 1)))
        return {test: int(count) for test, count in zip(self.tests, counts, strict=True) if count}


def counted(table: StatisticsTable, context: RuleContext, *, with_own: bool = True) -> Counted:
    """Return the failures that count; without the CSC's own tests on request."""
    assert context.recipe is not None
    of_verify = {*context.recipe.tests, FAILS_ALWAYS}
    sources: dict[str, Booleans] = collections.defaultdict(lambda: np.zeros(table.results.shape[:3], bool))
    for index, test in enumerate(table.tests):
        if test in of_verify:
            sources[test] = table.results[..., index] == 0
    if with_own and table.own_failures is not None:
        for index, test in enumerate(table.own_tests):
            sources[test] = sources[test] | table.own_failures[..., index]
    tests = tuple(sorted(sources))
    shape = (*table.results.shape[:3], 0)
    failed = np.stack([sources[test] for test in tests], axis=-1) if tests else np.zeros(shape, bool)
    bad = bad_mask(table, context)[None, :, :, None]
    return Counted(tests, failed & ~bad, failed & bad)


def bad_mask(table: StatisticsTable, context: RuleContext) -> Booleans:
    """Return where the amplifiers known to be bad are: shape (detectors, amplifiers + 1)."""
    return np.array(
        [[context.is_bad(detector, name) for name in (*table.amplifiers, "")] for detector in table.detectors], bool
    ).reshape(len(table.detectors), len(table.amplifiers) + 1)
