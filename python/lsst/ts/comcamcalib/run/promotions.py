# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file beside the journal in which promotions are written down, a line of JSON each.

It is no part of the journal, which only the CSC may write, while promotions are made from a terminal. These functions
block.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Promoted", "PromotedRange", "note_promotion", "promotions_file", "read_promotions"]

MAX_BYTES = 4_000_000
"""The end of the file that is read: the ids of a whole LSSTCam's five products make a line of 50 kB."""


@dataclasses.dataclass(frozen=True)
class PromotedRange:
    """Datasets that were copied for a range of validity (ISO 8601 TAI, empty = open)."""

    dataset_type: str
    dataset_ids: tuple[str, ...]
    begin: str
    end: str


@dataclasses.dataclass(frozen=True)
class Promoted:
    """A copy of what a run certified into another collection."""

    at: str
    """When, ISO 8601 TAI."""
    who: str
    run_id: str
    source: str
    collection: str
    reason: str
    on_conflict: str
    ranges: tuple[PromotedRange, ...]


def promotions_file(journal: Path) -> Path:
    """Return the file that belongs to a journal."""
    return journal.with_name(f"{journal.stem}-promotions.jsonl")


def note_promotion(file: Path, promoted: Promoted) -> None:
    """Add a promotion to the file.

    Raises
    ------
    OSError
        If it can't be written.
    """
    line = {
        "at": f"{promoted.at} TAI",
        "who": promoted.who,
        "runId": promoted.run_id,
        "from": promoted.source,
        "to": promoted.collection,
        "reason": promoted.reason,
        "onConflict": promoted.on_conflict,
        "certified": [
            {
                "datasetType": one.dataset_type,
                "datasetIds": one.dataset_ids,
                "validityBegin": one.begin,
                "validityEnd": one.end,
            }
            for one in promoted.ranges
        ],
    }
    with file.open("a", encoding="utf-8") as opened:
        opened.write(json.dumps(line) + "\n")


def read_promotions(file: Path) -> tuple[list[Promoted], int]:
    """Return the latest promotions, the latest first, and the number of lines that can't be understood.

    Raises
    ------
    OSError
        If the file is there, but can't be read.
    """
    if not file.exists():
        return [], 0
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(size - MAX_BYTES, 0))
        lines = opened.read(MAX_BYTES).splitlines()
    if size > MAX_BYTES:
        del lines[0]  # its beginning was not read
    found, strange = [], 0
    for line in reversed(lines):
        try:
            found.append(_understood(json.loads(line)))
        except (ValueError, TypeError, KeyError):
            strange += 1
    return found, strange


def _understood(line: Mapping[str, Any]) -> Promoted:
    return Promoted(
        at=str(line["at"]).removesuffix(" TAI"),
        who=str(line["who"]),
        run_id=str(line["runId"]),
        source=str(line["from"]),
        collection=str(line["to"]),
        reason=str(line["reason"]),
        on_conflict=str(line["onConflict"]),
        ranges=tuple(
            PromotedRange(
                dataset_type=str(one["datasetType"]),
                dataset_ids=tuple(one["datasetIds"]),
                begin=str(one["validityBegin"]),
                end=str(one["validityEnd"]),
            )
            for one in line["certified"]
        ),
    )
