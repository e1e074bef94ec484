# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Implausible gains speak against the flats of the same detector."""

from __future__ import annotations

import pytest
from lsst.ts.comcamcalib.enums import CalibType, Verdict
from lsst.ts.comcamcalib.findings import Outcome
from lsst.ts.comcamcalib.verification import DetectorJudgement, Judgement
from lsst.ts.comcamcalib.verification.rules.gains_of_flats import gains_of_flats


@pytest.mark.parametrize(
    ("amplifiers", "outcome"), [(0, None), (1, Outcome.FAILURE), (8, Outcome.FAILURE), (9, Outcome.FAILED)]
)
def test_more_amplifiers_than_the_threshold_make_the_flats_bad(amplifiers: int, outcome: Outcome | None) -> None:
    ptc = Judgement(
        Verdict.FAILED,
        "PTC is not plausible.",
        detectors=(
            DetectorJudgement(4, "R22_S11", amplifiers_failed=amplifiers),
            DetectorJudgement(0, "R22_S00"),
        ),
    )
    found = gains_of_flats(ptc, CalibType.PTC, 8)
    assert [(one.outcome, one.detector, one.value) for one in found] == (
        [(outcome, 4, amplifiers)] if outcome is not None else []
    )
    assert all(
        "PTC, which was made from the same flats, shows that they are bad: PTC is" in one.detail for one in found
    )
