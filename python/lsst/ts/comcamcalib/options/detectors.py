# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the run options name detectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from .shown import shown
from .values import NotAllowedError, finite, items_of

__all__ = ["detectors"]

RANGE = re.compile(r"(?P<first>[^-.]+)(?:\.\.|-)(?P<last>[^-.]+)")
"""``0..8`` or ``0-8``, with ids or names."""


def detectors(instrument: str, names: Sequence[str]) -> Callable[[Any], tuple[int, ...]]:
    """Return a reader of detectors by id, full name, raft or range; an empty list means all of them.

    Parameters
    ----------
    instrument
        The instrument's name, for the sentence.
    names
        Full names of its detectors, such as ``R22_S00``; the position is the id.
    """
    spellings = f"write ids or names as (0,1,2), 0..2, 0-2, [0, 1, 2] or {names[0]}, or all"
    ids = {name: (index,) for index, name in enumerate(names)}
    for index, name in enumerate(names):
        raft = name.partition("_")[0]
        ids[raft] = (*ids.get(raft, ()), index)

    def read_one(value: Any) -> tuple[int, ...]:
        """Return the ids that an id or a name stands for."""
        known = ids.get(value.strip(" ").upper()) if isinstance(value, str) else None
        if known is not None:
            return known
        number = finite(value)
        if number is None or not number.is_integer():
            raise NotAllowedError(f"has {shown(value)}, which is no detector of {instrument}; {spellings}")
        if not 0 <= number < len(names):
            raise NotAllowedError(
                f"has {shown(value)}, but {instrument} has the detectors 0 to {len(names) - 1} "
                f"({names[0]} to {names[-1]})"
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
        return tuple(range(first, last + 1))

    def read(value: Any) -> tuple[int, ...]:
        try:
            items = items_of(value)
        except NotAllowedError as error:
            raise NotAllowedError(f"{error}; {spellings}") from None
        if len(items) == 1 and isinstance(items[0], str) and items[0].strip(" ").lower() == "all":
            items = []
        chosen = {one for item in items for one in read_item(item)}
        return tuple(sorted(chosen)) or tuple(range(len(names)))

    return read
