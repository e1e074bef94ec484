# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Amplifiers known to be bad are evaluated and named, and do not count; tests that do not count are named, too."""

from __future__ import annotations

from lsst.ts.comcamcalib.findings import Outcome
from lsst.ts.comcamcalib.verification.rules.bad_amplifiers import bad_amplifiers
from lsst.ts.comcamcalib.verification.rules.not_counted import not_counted
from support.tables import make_context, make_table


def test_what_they_fail_is_said_by_test_and_that_they_fail_nothing_as_well() -> None:
    context = make_context(3, bad_amplifiers={4: {"C10": "noisy, since 2026-11-01", "C17": "dead"}, 8: {"C10": "x"}})
    table = make_table(context, [(0, 4, "C10", "NOISE"), (1, 4, "C10", "NOISE"), (1, 4, "C10", "MEAN")])
    found = bad_amplifiers(table, context)
    assert [(one.amplifier, one.quantity, one.value, one.detail) for one in found] == [
        ("C10", "MEAN", 1, "noisy, since 2026-11-01"),
        ("C10", "NOISE", 2, "noisy, since 2026-11-01"),
        ("C17", "", 0, "dead"),
    ]
    assert {one.outcome for one in found} == {Outcome.NOTED}


def test_tests_that_do_not_count_are_summed_by_detector_without_the_bad_amplifiers() -> None:
    context = make_context(3, bad_amplifiers={4: {"C10": "noisy"}})
    name = "READ_NOISE_CONSISTENT"
    table = make_table(context, [(0, 4, "C10", name), (0, 4, "C11", name), (2, 4, "C11", name), (1, 0, "C12", "NOISE")])
    assert [(one.outcome, one.detector, one.quantity, one.value) for one in not_counted(table, context)] == [
        (Outcome.NOTED, 4, name, 2)
    ]
