# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Detectors summed up, so that a camera of 205 can be read as well as one of nine; pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from . import data

__all__ = [
    "MANY",
    "STATUSES",
    "CellGroup",
    "SquareGroup",
    "cell_groups",
    "marks_of",
    "names_in_words",
    "rafts_of",
    "square_groups",
]

MANY = 30
"""A camera with more detectors than this is large: a table has no column or row for each."""


MAX_NAMES = 12
"""Longest list of names."""

STATUSES = ("OK", "EXPIRING", "EXPIRED", "MISSING", "UNKNOWN")
"""States of a calibration on the board, from the best to the worst."""


def rafts_of(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the names of detectors by raft, which is the part of a name before its underscore, as in ``R22_S11``."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.partition("_")[0], []).append(name)
    return {raft: tuple(some) for raft, some in found.items()}


def names_in_words(some: Iterable[str], every: Iterable[str]) -> str:
    """Return the names of some detectors of a camera; if they are many, how many there are in each raft."""
    chosen, there = list(some), list(every)
    if len(there) > 1 and set(chosen) >= set(there):
        return f"all {len(there)} detectors"
    if len(chosen) <= MAX_NAMES:
        return ", ".join(chosen)
    whole = {raft: len(names) for raft, names in rafts_of(there).items()}
    counts = {raft: len(names) for raft, names in rafts_of(chosen).items()}
    return ", ".join(f"{raft} ({number} of {whole.get(raft, number)})" for raft, number in counts.items())


@dataclasses.dataclass(frozen=True)
class SquareGroup:
    """Detectors of which a verdict says the same."""

    outcome: str
    remark: str
    number: int
    names: str


OUTCOMES = ("FAILED", "UNKNOWN", "PASSED_WITH_FAILURES", "ACCEPTED_BY_OPERATOR", "PASSED")
"""The worst first."""


def square_groups(squares: Sequence[data.DetectorSquare]) -> tuple[SquareGroup, ...]:
    """Return what a verdict says of detectors, the worst first; detectors of which it says the same are together."""
    every = [one.name for one in squares]
    found: dict[tuple[str, str], list[str]] = {}
    for one in squares:
        found.setdefault((one.outcome, one.remark), []).append(one.name)
    groups = [
        SquareGroup(outcome, remark, len(names), names_in_words(names, every))
        for (outcome, remark), names in found.items()
    ]
    return tuple(sorted(groups, key=lambda one: OUTCOMES.index(one.outcome)))


CERTIFIED_ALL_THE_SAME = {
    "ACCEPTED_BY_OPERATOR": "accepted by an operator",
    "NOT_VERIFIED": "certified without verification",
}
"""What is to be said of a calibration that did not pass by itself, by its verdict."""


def marks_of(cell: data.BoardCell) -> tuple[str, ...]:
    """Return what else is to be known of a detector's calibration: people let it pass, or a run left it out."""
    marks = [
        CERTIFIED_ALL_THE_SAME.get(cell.verdict, ""),
        f"left out of {cell.left_out_of}" if cell.left_out_of else "",
    ]
    return tuple(mark for mark in marks if mark)


@dataclasses.dataclass(frozen=True)
class CellGroup:
    """Detectors whose calibrations are in the same state."""

    status: str
    number: int
    names: str
    ends: str
    """The earliest end of their validity (ISO 8601 TAI); empty: it is open, or there is none."""
    age_days: float | None
    """The greatest age among them (days)."""
    marks: tuple[tuple[str, str], ...] = ()
    """What else is to be known of them, each with the names of the detectors of which it is said."""


def cell_groups(cells: Sequence[data.BoardCell]) -> tuple[CellGroup, ...]:
    """Return the detectors by the state of their calibrations, the worst first."""
    every = [one.name for one in cells]
    by_status = {status: [one for one in cells if one.status == status] for status in reversed(STATUSES)}
    return tuple(
        CellGroup(
            status=status,
            number=len(some),
            names=names_in_words([one.name for one in some], every),
            ends=min((one.end for one in some if one.end), default=""),
            age_days=max((one.age_days for one in some if one.age_days is not None), default=None),
            marks=_marks(some, every),
        )
        for status, some in by_status.items()
        if some
    )


def _marks(cells: Iterable[data.BoardCell], every: Sequence[str]) -> tuple[tuple[str, str], ...]:
    found: dict[str, list[str]] = {}
    for cell in cells:
        for mark in marks_of(cell):
            found.setdefault(mark, []).append(cell.name)
    return tuple((mark, names_in_words(names, every)) for mark, names in found.items())
