# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of which frames arrive in the repository, and what is published of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from lsst.ts.comcamcalib.record.events import ImageIngested

from support.world import FIRST_EXPOSURE, Exposure

__all__ = ["QUICK", "losing", "never_from", "published"]

QUICK = {"oods_timeout": 120, "max_counter_archiver_check": 5}
"""Options of an ingest that soon gives up."""


def losing(bench: Any, lost: dict[str, Collection[int]]) -> Callable[[Exposure], None]:
    """Let all files arrive but those of (type and number from 1: detectors)."""

    def arrive(exposure: Exposure) -> None:
        number = len(bench.observatory.world.of_kind(exposure.kind))
        gone = lost.get(f"{exposure.kind} {number}", ())
        bench.observatory.oods.ingest(exposure.exposure_id, [one for one in range(9) if one not in gone])

    return arrive


def never_from(bench: Any, detectors: Collection[int], since: int = 1) -> Callable[[Exposure], None]:
    """Let all files arrive but those of some detectors, from the frame of this number on."""

    def arrive(exposure: Exposure) -> None:
        number = exposure.exposure_id - FIRST_EXPOSURE + 1
        gone = detectors if number >= since else ()
        bench.observatory.oods.ingest(exposure.exposure_id, [one for one in range(9) if one not in gone])

    return arrive


def published(bench: Any) -> list[tuple[int, int, int, str]]:
    """Return (number of the exposure from 1, ingested, failed, missing) of each imageIngested."""
    return [
        (one.exposure_id - FIRST_EXPOSURE + 1, one.detectors_ingested, one.detectors_failed, one.missing)
        for one in bench.record.published(ImageIngested)
    ]
