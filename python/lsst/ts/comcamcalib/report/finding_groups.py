# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings of a kind in one row: a lamp that is off is one thing to read, not a thousand; pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from . import data

__all__ = ["FindingGroup", "grouped"]

NAMED = 4
"""So many detectors, amplifiers or exposures are named; more are counted."""


@dataclasses.dataclass(frozen=True)
class FindingGroup:
    """Findings with the same outcome, rule, kind, quantity and unit.

    Parameters
    ----------
    outcome, rule, kind, quantity, unit
        What they share.
    count
        How many there are.
    where
        Detectors, amplifiers and exposures, in words.
    values, limits
        The least and the greatest; None: there are none.
    details
        What else they say, each sentence once.
    """

    outcome: str
    rule: str
    kind: str
    quantity: str
    unit: str
    count: int
    where: str
    values: tuple[float, float] | None
    limits: tuple[float, float] | None
    details: tuple[str, ...]


def grouped(findings: Iterable[data.FindingRow]) -> list[FindingGroup]:
    """Return the findings in groups, in the order of the first of each, so that the worst come first."""
    groups: dict[tuple[str, str, str, str, str], list[data.FindingRow]] = {}
    for one in findings:
        groups.setdefault((one.outcome, one.rule, one.kind, one.quantity, one.unit), []).append(one)
    return [
        FindingGroup(
            *key,
            count=len(rows),
            where=_where(rows),
            values=_range(one.value for one in rows),
            limits=_range(one.limit for one in rows),
            details=tuple(dict.fromkeys(one.detail for one in rows if one.detail)),
        )
        for key, rows in groups.items()
    ]


def _where(rows: Sequence[data.FindingRow]) -> str:
    amplifiers = dict.fromkeys(f"{one.detector} {one.amplifier}".strip() for one in rows if one.amplifier)
    parts = [
        _named("detector", [one.detector for one in rows if one.detector and not one.amplifier]),
        _named("amplifier", list(amplifiers)),
        _named("exposure", [str(one.exposure) for one in rows if one.exposure is not None]),
    ]
    return "; ".join(part for part in parts if part)


def _named(what: str, names: Sequence[str]) -> str:
    different = list(dict.fromkeys(names))
    if len(different) > NAMED:
        return f"{len(different)} {what}s"
    return ", ".join(different)


def _range(values: Iterable[float | None]) -> tuple[float, float] | None:
    known = [value for value in values if value is not None]
    return (min(known), max(known)) if known else None
