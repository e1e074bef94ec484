# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of single values in statistics, which are dictionaries from files and may hold anything."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

from ...butler_data import BrokenStatistics

__all__ = ["FAILS_ALWAYS", "GROUP_KEYS", "UnreadableError", "boolean", "mapping", "number", "quoted"]

FAILS_ALWAYS = "PROCESSING"
"""cp_verify writes this test only if it failed (too many cosmic rays), so it may be absent, but it counts."""

GROUP_KEYS = frozenset({"SUCCESS", "VERIFY", "RUN", "EXP"})
"""Keys of the statistics of an exposure or of the run that are neither detectors nor exposures."""

MAX_QUOTED = 80
"""Longest piece of damaged statistics in a sentence (characters)."""


class UnreadableError(ValueError):
    """Statistics do not have the required form, or contradict themselves."""


def mapping(value: Any, what: str) -> Mapping[Any, Any]:
    """Return a value if it is a mapping."""
    if isinstance(value, BrokenStatistics):
        raise UnreadableError(value.reason)
    if not isinstance(value, Mapping):
        raise UnreadableError(f"{what} is missing or not a mapping")
    return value


def boolean(value: Any, what: str) -> bool:
    """Return a value if it is true or false."""
    if not isinstance(value, bool):
        raise UnreadableError(f"{what} is missing or neither true nor false")
    return value


def number(value: Any) -> float:
    """Return a value as a number; NaN if it is none."""
    if type(value) is float:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) == math.inf:
            return float(value)
        return float(min(max(value, -sys.float_info.max), sys.float_info.max))  # whole numbers have no limit
    return math.nan


def quoted(value: Any) -> str:
    """Return a piece of damaged statistics for a sentence."""
    return f"'{str(value)[:MAX_QUOTED]}'"
