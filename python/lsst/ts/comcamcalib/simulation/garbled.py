# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Statistics as no reader expects them: what another version of cp_verify, or a bug in it, could write."""

from __future__ import annotations

import copy
import math
from typing import Any

__all__ = ["WAYS", "garble"]

WAYS = ("keys missing", "not a number", "keys too many", "wrong types")
"""What is wrong, in turn."""


def garble(statistics: dict[str, Any], exposure: int) -> dict[str, Any]:
    """Return a detector's statistics with something wrong in them; the merged results do not show it.

    Parameters
    ----------
    statistics
        Statistics of a detector in an exposure.
    exposure
        Id of the exposure. Four exposures in a row have the four `WAYS`; the one with too many keys lacks nothing.
    """
    garbled = copy.deepcopy(statistics)
    one, other, third, *_ = garbled["AMP"]
    values, tests = garbled["AMP"], garbled["VERIFY"]["AMP"]
    match WAYS[exposure % len(WAYS)]:
        case "keys missing":
            del values[one]["NOISE"], tests[other]["NOISE"], garbled["METADATA"]
        case "not a number":
            values[one].update(MEAN=math.nan, NOISE=math.nan)
            values[other].update(MEAN=math.inf)
        case "keys too many":
            values[one]["KURTOSIS"] = [0.1, None]
            tests[other]["KURTOSIS"] = True
            garbled["SCHEMA"] = {"version": 2}
        case "wrong types":
            values[one]["NOISE"] = str(values[one]["NOISE"])
            tests[other]["NOISE"] = "yes"
            values[third] = list(values[third].values())
    return garbled
