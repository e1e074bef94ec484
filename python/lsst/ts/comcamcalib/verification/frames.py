# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings made of the faults of frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from ..findings import Finding, Outcome
from .arrays import Booleans
from .context import RuleContext
from .counted import bad_mask
from .faults import Faults, Kind
from .table import StatisticsTable

__all__ = ["findings_of", "with_faults"]


def with_faults(faults: Sequence[Faults], table: StatisticsTable) -> StatisticsTable:
    """Return the table with the faults as failures of the CSC's own tests."""
    tests = tuple(sorted({one.kind.test for one in faults}))
    failures = np.zeros((*table.results.shape[:3], len(tests)), bool)
    for one in faults:
        failures[..., tests.index(one.kind.test)] |= one.where
    return dataclasses.replace(table, faults=tuple(faults), own_tests=tests, own_failures=failures)


def findings_of(rule: str, table: StatisticsTable, context: RuleContext) -> Iterator[Finding]:
    """Make findings of the faults of frames: one for a detector that has it as a whole, else one for each amplifier.

    If it spoils the product on most of the detectors of an exposure, it is no fault of theirs, but of the frame.

    If the ptc could not be read, nobody knows whether the frames are within the limits that follow from it.
    """
    if context.frames is not None and context.frames.ptc_unread:
        yield Finding(
            rule,
            Outcome.UNKNOWN,
            "ptc",
            detail="the certified ptc could not be read, so that read noises and turn-offs, by which the frames are "
            f"judged, are not known: {context.frames.ptc_unread.rstrip('.')}. Repair it, and resume the run",
        )
    bad = bad_mask(table, context)
    for one in table.faults:
        where = one.where & ~bad
        if not where.any():
            continue
        spoils = one.spoils & where
        whole = where[..., -1] | (where[..., :-1].sum(axis=2) > context.threshold)
        spoilt = spoils[..., -1] | (spoils[..., :-1].sum(axis=2) > context.threshold)
        value, limit = np.broadcast_to(one.value, where.shape), np.broadcast_to(one.limit, where.shape)
        yield from _of_frames(rule, one.kind, spoilt, table)
        for exposure, detector in table.places(whole):
            there = where[exposure, detector]
            values, limits = value[exposure, detector][there], limit[exposure, detector][there]
            worst = values[np.argmax(np.abs(values))] if one.kind.is_change else np.median(values)
            outcome = Outcome.FAILED if spoilt[exposure, detector] else Outcome.FAILURE
            yield _finding(rule, one.kind, outcome, table, (exposure, detector, -1), worst, np.median(limits))
        for place in table.places(where & ~whole[:, :, None]):
            yield _finding(rule, one.kind, Outcome.FAILURE, table, place, value[place], limit[place])


def _of_frames(rule: str, kind: Kind, spoilt: Booleans, table: StatisticsTable) -> Iterator[Finding]:
    for index, count in enumerate(spoilt.sum(axis=1)):
        if 2 * count > len(table.detectors):
            yield Finding(
                rule,
                Outcome.FAILED,
                kind.test,
                exposure=table.exposures[index],
                value=float(count),
                limit=len(table.detectors) / 2,
                unit="detectors",
                kind=f"{kind.name} frame",
            )


def _finding(
    rule: str,
    kind: Kind,
    outcome: Outcome,
    table: StatisticsTable,
    place: tuple[int, ...],
    value: np.floating | float,
    limit: np.floating | float,
) -> Finding:
    exposure, detector, amplifier = place
    name = (*table.amplifiers, "")[amplifier]
    return Finding(
        rule,
        outcome,
        kind.test,
        detector=table.detectors[detector],
        amplifier=name,
        exposure=table.exposures[exposure],
        value=float(value),
        limit=float(limit),
        unit=kind.unit,
        kind=kind.name,
    )
