# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables of statistics for the tests of the rules, made of what is written down in the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.verification import FrameFacts, RuleContext, StatisticsTable

from support.plans import make_config

__all__ = ["AMPLIFIERS", "FIRST", "NAMES", "make_context", "make_table", "table_of_levels"]

AMPLIFIERS = tuple(f"C{row}{column}" for row in (1, 0) for column in range(8))
FIRST = 2026112200001
NAMES = {0: "R22_S00", 1: "R22_S01", 4: "R22_S11"}
TESTS = {CalibType.FLAT: ("NOISE", "SCATTER")}


def make_context(
    exposures: Sequence[int] | int = 4, calib_type: CalibType = CalibType.BIAS, **changes: Any
) -> RuleContext:
    """Return what is judged: three detectors of 16 amplifiers, by the shipped configuration."""
    config = make_config()
    ids = tuple(FIRST + number for number in range(exposures)) if isinstance(exposures, int) else tuple(exposures)
    known: dict[str, Any] = {
        "calib_type": calib_type,
        "physical_filter": "r_03" if calib_type is CalibType.FLAT else "",
        "exposures": ids,
        "detectors": NAMES,
        "amplifiers": dict.fromkeys(changes.get("detectors", NAMES), len(AMPLIFIERS)),
        "rules": config.rules(calib_type),
        "recipe": config.recipes[calib_type.name].verification,
        "threshold": 8,
    }
    return RuleContext(**{**known, **changes})


def make_table(
    context: RuleContext, failures: Sequence[tuple[int, int, str, str]] = (), **changes: Any
) -> StatisticsTable:
    """Return a table in which all tests have passed but some: (index of exposure, detector, amplifier, test)."""
    tests = TESTS.get(context.calib_type, ("MEAN", "NOISE", "CR_NOISE", "READ_NOISE_CONSISTENT"))
    detectors = tuple(context.detectors)
    size = len(context.exposures), len(detectors)
    results = np.ones((*size, len(AMPLIFIERS) + 1, len(tests)), np.int8)
    results[:, :, -1] = -1
    for exposure, detector, amplifier, test in failures:
        column = (*AMPLIFIERS, "").index(amplifier)
        results[exposure, detectors.index(detector), column, tests.index(test)] = 0
    known: dict[str, Any] = {
        "exposures": context.exposures,
        "detectors": detectors,
        "names": tuple(context.detectors.values()),
        "amplifiers": AMPLIFIERS,
        "tests": tests,
        "statistics": ("MEAN", "NOISE"),
        "results": results,
        "values": np.full((*size, len(AMPLIFIERS), 2), 7.0),
        "success": (results != 0).all(axis=(2, 3)).astype(np.int8),
        "readable": np.ones(size, bool),
        "unlit": np.zeros((*size, len(AMPLIFIERS)), bool),
    }
    return StatisticsTable(**{**known, **changes})


def table_of_levels(
    levels: Mapping[tuple[int, int], tuple[Mapping[str, float], Mapping[str, float]]], context: RuleContext
) -> StatisticsTable:
    """Return a table with signals and noises (electron) of amplifiers, by (exposure, detector).

    An entry without any signal means that none could be measured; without an entry, nothing was read.
    """
    detectors = tuple(context.detectors)
    size = len(context.exposures), len(detectors)
    values = np.full((*size, len(AMPLIFIERS), 2), np.nan)
    readable, unlit = np.zeros(size, bool), np.zeros((*size, len(AMPLIFIERS)), bool)
    for (exposure, detector), measured in levels.items():
        place = context.exposures.index(exposure), detectors.index(detector)
        readable[place] = bool(measured[0])
        unlit[place] = not measured[0]
        for column, one in enumerate(measured):
            for name, value in one.items():
                values[(*place, AMPLIFIERS.index(name), column)] = value
    return make_table(context, values=values, readable=readable, unlit=unlit)


def make_facts(context_exposures: Mapping[int, float], **changes: Any) -> FrameFacts:
    """Return facts about frames with some exposure times (seconds), with the shipped limits."""
    known: dict[str, Any] = {
        "limits": make_config().frames,
        "exposure_times": context_exposures,
        "in_product": False,
        "threshold": 8,
        "quiet_noise": 4.0,
    }
    return FrameFacts(**{**known, **changes})
