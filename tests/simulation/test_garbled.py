# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Garbled statistics: the reader of statistics gets what it does not expect, and everything else is as it was."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from lsst.ts.comcamcalib.simulation.garbled import WAYS, garble
from lsst.ts.comcamcalib.simulation.layout import AMPLIFIER_NAMES

EXPOSURE = 2026112200000  # a multiple of four


def statistics() -> dict[str, Any]:
    return {
        "AMP": {name: {"MEAN": 0.1, "NOISE": 6.0} for name in AMPLIFIER_NAMES},
        "METADATA": {"READ_NOISE_ADU": dict.fromkeys(AMPLIFIER_NAMES, 4.0)},
        "VERIFY": {"AMP": {name: {"MEAN": True, "NOISE": True, "SUCCESS": True} for name in AMPLIFIER_NAMES}},
        "SUCCESS": True,
    }


def test_four_exposures_in_a_row_have_four_things_wrong() -> None:
    missing, nan, extra, types = (garble(statistics(), EXPOSURE + i) for i in range(4))
    assert "NOISE" not in missing["AMP"]["C10"] and "NOISE" not in missing["VERIFY"]["AMP"]["C11"]
    assert math.isnan(nan["AMP"]["C10"]["MEAN"]) and math.isinf(nan["AMP"]["C11"]["MEAN"])
    assert extra["AMP"]["C10"]["NOISE"] == 6.0 and extra["VERIFY"]["AMP"]["C11"]["KURTOSIS"] is True
    assert types["AMP"]["C10"]["NOISE"] == "6.0" and types["VERIFY"]["AMP"]["C11"]["NOISE"] == "yes"
    assert types["AMP"]["C12"] == [0.1, 6.0]


@pytest.mark.parametrize("exposure", range(EXPOSURE, EXPOSURE + len(WAYS)))
def test_garbling_changes_neither_the_original_nor_what_is_merged(exposure: int) -> None:
    original = statistics()
    before = copy.deepcopy(original)
    garbled = garble(original, exposure)
    assert original == before
    assert garbled != original
    assert garbled["SUCCESS"] is True and set(garbled["VERIFY"]["AMP"]) == set(AMPLIFIER_NAMES)
