# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The written procedure's rule: computed, and told where it would not certify."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from lsst.ts.comcamcalib.findings import Outcome
from lsst.ts.comcamcalib.verification.rules.procedure import procedure, procedure_counts
from lsst.ts.comcamcalib.verification.table import Summary
from support.tables import make_context, make_table


@pytest.mark.parametrize(
    ("most_failures", "failed", "rejects"),
    [
        # 8 x the majority of 3 detectors are 16; the majority of 6 exposures and of the key SUCCESS are 4.
        ([16] * 4 + [0, 0], 4, True),
        ([16] * 3 + [15] * 3, 3, False),
        ([0] * 6, 0, False),
        ([144] * 6, 6, True),
    ],
)
def test_failures_of_the_same_test_are_counted_by_exposure(
    most_failures: list[int], failed: int, rejects: bool
) -> None:
    context = make_context(6)
    table = make_table(context)
    run = Summary(
        success=np.ones(6, np.int8),
        detector_success=np.ones((6, 3), np.int8),
        failed=table.results == 0,
        others={},
        whole={},
        most_failures=np.array(most_failures),
    )
    table = dataclasses.replace(table, run=run)
    counts = procedure_counts(table, context)
    assert (counts.exposures_failed, counts.exposures_needed, counts.failures_needed) == (failed, 4, 16)
    found = procedure(table, context)
    assert [(one.outcome, one.value, one.limit) for one in found] == ([(Outcome.FAILED, failed, 4)] if rejects else [])


def test_without_statistics_of_the_run_it_sees_nothing() -> None:
    context = make_context(6)
    assert procedure(make_table(context), context) == []
