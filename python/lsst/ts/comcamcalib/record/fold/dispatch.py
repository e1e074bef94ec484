# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history after one more fact: a function for each kind of fact, which the other modules of this package have."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TypeVar

from ..facts import Fact
from ..history import History

__all__ = ["after", "with_item"]

Key = TypeVar("Key")
Value = TypeVar("Value")


@functools.singledispatch
def after(fact: Fact, history: History, at: float) -> History:
    """Return the history that follows from a fact, which was recorded at some time (TAI unix seconds)."""
    raise TypeError(f"Bug: the history does not know the fact {fact!r}")


def with_item(mapping: Mapping[Key, Value], key: Key, value: Value) -> dict[Key, Value]:
    """Return a mapping with one item added or replaced."""
    return {**mapping, key: value}
