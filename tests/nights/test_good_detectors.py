# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Of products with bad detectors the good ones are certified, and the nights notice if others are, too."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.record.history import History

from .faults import Happening, NightPlan
from .night import NightResult, folder_for_nights, night

OPTIONS = (("script_mode", "BIAS_DARK_FLAT"), ("do_ptc", True), ("certify_good_detectors", True))


def have(*bad: str) -> NightResult:
    with folder_for_nights() as folder:
        return night(NightPlan(5, OPTIONS, tuple(Happening("detector", one) for one in bad)), Path(folder))


def certified(result: NightResult) -> list[int]:
    return [result.summary.get(f"certified {one}", 0) for one in ("bias", "dark", "flat", "ptc")]


@pytest.mark.parametrize(
    ("bad", "state", "numbers"),
    [
        ((), RunState.COMPLETED, [3, 3, 3, 3]),
        (("FLAT 4 noisy",), RunState.COMPLETED, [3, 3, 2, 2]),
        (("DARK 0 without statistics", "FLAT 4 noisy"), RunState.COMPLETED, [3, 2, 1, 1]),
        (("BIAS 0 noisy", "BIAS 1 noisy", "BIAS 4 without statistics"), RunState.FAILED, [0, 0, 0, 0]),
    ],
    ids=str,
)
def test_detectors_that_are_not_good_are_left_out_of_all_that_needs_them(
    bad: tuple[str, ...], state: RunState, numbers: list[int]
) -> None:
    result = have(*bad)
    assert (result.problems, result.state, certified(result)) == ([], state, numbers)


def test_a_bad_detector_that_is_certified_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(History, "_without_left_out", lambda _self, product: product)
    assert "FLAT was certified for the detectors [4], which are not good" in have("FLAT 4 noisy").problems


def test_a_product_that_is_certified_for_a_detector_that_is_bad_in_its_base_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(History, "left_out_before", lambda _self, _calib_type: {})
    assert "PTC was certified for the detectors [4], which are not good" in have("FLAT 4 noisy").problems
