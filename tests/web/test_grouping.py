# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two hundred detectors are summed up in a few words, and the bad ones come first."""

from __future__ import annotations

import pytest
from lsst.ts.comcamcalib.web.data import BoardCell, DetectorSquare
from lsst.ts.comcamcalib.web.grouping import cell_groups, names_in_words, rafts_of, square_groups
from support.cameras import LSSTCAM

RAFT = tuple(name for name in LSSTCAM if name.startswith("R22_"))


@pytest.mark.parametrize(
    ("some", "every", "words"),
    [
        (RAFT, RAFT, "all 9 detectors"),
        (LSSTCAM, LSSTCAM, "all 205 detectors"),
        (RAFT[:2], RAFT, "R22_S00, R22_S01"),
        (("R22_S00",), ("R22_S00",), "R22_S00"),
        (RAFT, LSSTCAM, ", ".join(RAFT)),
        ((*RAFT, *LSSTCAM[:4]), LSSTCAM, "R22 (9 of 9), R01 (4 of 9)"),
        (("ITL-3800C-1",), ("ITL-3800C-1", "ITL-3800C-2"), "ITL-3800C-1"),
        ((), RAFT, ""),
    ],
)
def test_detectors_in_words(some: tuple[str, ...], every: tuple[str, ...], words: str) -> None:
    assert names_in_words(some, every) == words


def test_a_raft_is_the_first_part_of_a_name() -> None:
    assert [len(names) for names in rafts_of(LSSTCAM).values()] == [9] * 21 + [4] * 4


def test_detectors_of_which_a_verdict_says_the_same_are_together_the_worst_first() -> None:
    said = {7: ("FAILED", "dead"), 8: ("UNKNOWN", "not there"), 9: ("UNKNOWN", "not there")}
    squares = [
        DetectorSquare(detector=one, name=name, outcome=said.get(one, ("PASSED", ""))[0], remark=said.get(one, "  ")[1])
        for one, name in enumerate(LSSTCAM)
    ]
    failed, unknown, passed = square_groups(squares)
    assert (failed.outcome, failed.remark, failed.names) == ("FAILED", "dead", LSSTCAM[7])
    assert (unknown.number, unknown.names) == (2, f"{LSSTCAM[8]}, {LSSTCAM[9]}")
    assert (passed.number, passed.outcome) == (202, "PASSED") and "R44 (4 of 4)" in passed.names


def test_of_calibrations_the_first_end_and_the_greatest_age_count() -> None:
    def cell(detector: int, status: str, end: str, age_days: float | None) -> BoardCell:
        name = LSSTCAM[detector]
        return BoardCell(detector=detector, name=name, status=status, begin="", end=end, age_days=age_days, run="")

    cells = [cell(0, "OK", "", None), cell(1, "OK", "2026-11-28", 0.5), cell(2, "OK", "2026-11-27", 2.0)]
    missing, ok = cell_groups([*cells, cell(3, "MISSING", "", None)])
    assert (missing.status, missing.number, missing.ends, missing.age_days) == ("MISSING", 1, "", None)
    assert (ok.number, ok.ends, ok.age_days) == (3, "2026-11-27", 2.0)
