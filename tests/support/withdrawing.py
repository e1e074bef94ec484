# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Withdrawals in the fake worlds, by the product's own rule, which is tested with a real repository."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from lsst.ts.comcamcalib.butler_data import DatasetFound, TypedRange, UndoneCertification, Withdrawal
from lsst.ts.comcamcalib.errors import ConflictError
from lsst.ts.comcamcalib.services.undoing import Former, Held, InTheWayError, Span, undo

__all__ = ["Row", "after", "planned"]


@dataclasses.dataclass(frozen=True)
class Row:
    """A dataset that a collection has for a range (ISO 8601 TAI, "": open)."""

    collection: str
    dataset_type: str
    begin: str
    end: str
    dataset: DatasetFound


def planned(rows: Iterable[Row], known: Iterable[DatasetFound], wanted: Withdrawal) -> Withdrawal:
    """Return what must change to undo certifications."""
    out: list[TypedRange] = []
    back: list[TypedRange] = []
    datasets = {one.dataset_id: one for one in (*known, *(row.dataset for row in rows))}
    for dataset_type in dict.fromkeys(one.dataset_type for one in wanted.certifications):
        there = [
            _held(row.dataset, row.begin, row.end)
            for row in rows
            if (row.collection, row.dataset_type) == (wanted.calib_collection, dataset_type)
        ]
        done = [one for one in wanted.certifications if one.dataset_type == dataset_type]
        own = [_held(datasets[name], one.begin_iso_tai, one.end_iso_tai) for one in done for name in one.dataset_ids]
        formers = [former for one in done for former in _formers(one, datasets)]
        try:
            changes = undo(there, own, formers)
        except InTheWayError as error:
            names = ", ".join(one.dataset_id for one in error.held)
            raise ConflictError(f"Something else is certified there by now: {names}.") from error
        out += [_typed(one, dataset_type, datasets) for one in changes.out]
        back += [_typed(one, dataset_type, datasets) for one in changes.back]
    return dataclasses.replace(wanted, out=tuple(sorted(out, key=str)), back=tuple(sorted(back, key=str)))


def after(rows: Iterable[Row], known: Iterable[DatasetFound], done: Withdrawal) -> list[Row]:
    """Return what the collections have after a withdrawal."""
    rows = list(rows)
    datasets = {one.dataset_id: one for one in (*known, *(row.dataset for row in rows))}
    out = {(one.dataset_id, one.begin_iso_tai, one.end_iso_tai) for one in done.out}
    kept = [
        row
        for row in rows
        if row.collection != done.calib_collection or (row.dataset.dataset_id, row.begin, row.end) not in out
    ]
    return [
        *kept,
        *(
            Row(done.calib_collection, one.dataset_type, one.begin_iso_tai, one.end_iso_tai, datasets[one.dataset_id])
            for one in done.back
        ),
    ]


def _held(dataset: DatasetFound, begin: str, end: str) -> Held:
    return Held(dataset.dataset_id, (dataset.detector, dataset.physical_filter), Span(begin, end))


def _formers(one: UndoneCertification, datasets: dict[str, DatasetFound]) -> list[Former]:
    taken = Span(one.begin_iso_tai, "" if one.truncated else one.end_iso_tai)
    return [Former(_held(datasets[old.dataset_id], old.begin_iso_tai, old.end_iso_tai), taken) for old in one.replaced]


def _typed(held: Held, dataset_type: str, datasets: dict[str, DatasetFound]) -> TypedRange:
    one = datasets[held.dataset_id]
    return TypedRange(dataset_type, one.dataset_id, one.detector, one.physical_filter, held.span.begin, held.span.end)
