# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the run options name detectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from ..instrument import Instrument
from .shown import shown
from .values import NotAllowedError, finite, items_of

__all__ = ["detectors"]

RANGE = re.compile(r"(?P<first>[^-.]+)(?:\.\.|-)(?P<last>[^-.]+)")
"""``0..8`` or ``0-8``, with ids or names."""


def detectors(instrument: Instrument) -> Callable[[Any], tuple[int, ...]]:
    """Return a reader of detectors by id, full name, raft or range; an empty list means all of them.

    A range has all detectors with ids from its first to its last one; the ids may have gaps.

    Parameters
    ----------
    instrument
        The instrument with its detectors.
    """
    names = instrument.detector_names
    spellings = f"write ids or names as (0,1,2), 0..2, 0-2, [0, 1, 2] or {instrument.detectors[0].name}, or all"
    ids = {name: (detector,) for detector, name in names.items()}
    for detector, name in names.items():
        raft = name.partition("_")[0]
        ids[raft] = (*ids.get(raft, ()), detector)

    def read_one(value: Any) -> tuple[int, ...]:
        """Return the ids that an id or a name stands for."""
        known = ids.get(value.strip(" ").upper()) if isinstance(value, str) else None
        if known is not None:
            return known
        number = finite(value)
        if number is None or not number.is_integer():
            raise NotAllowedError(f"has {shown(value)}, which is no detector of {instrument.name}; {spellings}")
        if number not in names:
            raise NotAllowedError(
                f"has {shown(value)}, but {instrument.name} has the detectors {_ranges(names)} "
                f"({instrument.detectors[0].name} to {instrument.detectors[-1].name})"
            )
        return (int(number),)

    def read_item(value: Any) -> tuple[int, ...]:
        """Return the ids that an entry of the list stands for."""
        match = RANGE.fullmatch(value) if isinstance(value, str) and finite(value) is None else None
        if match is None:
            return read_one(value)
        first, last = read_one(match["first"])[0], read_one(match["last"])[-1]
        if first > last:
            raise NotAllowedError(f"has {shown(value)}, which ends before it begins")
        return tuple(detector for detector in names if first <= detector <= last)

    def read(value: Any) -> tuple[int, ...]:
        try:
            items = items_of(value)
        except NotAllowedError as error:
            raise NotAllowedError(f"{error}; {spellings}") from None
        if len(items) == 1 and isinstance(items[0], str) and items[0].strip(" ").lower() == "all":
            items = []
        chosen = {one for item in items for one in read_item(item)}
        return tuple(sorted(chosen)) or tuple(names)

    return read


def _ranges(ids: Iterable[int]) -> str:
    """Return ids as text, those that follow each other as ranges: ``0 to 8, 12``."""
    ranges: list[list[int]] = []
    for one in ids:
        if ranges and one == ranges[-1][-1] + 1:
            ranges[-1].append(one)
        else:
            ranges.append([one])
    return ", ".join(str(some[0]) if len(some) == 1 else f"{some[0]} to {some[-1]}" for some in ranges)
