# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Index generators and finished futures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

__all__ = ["index_generator", "make_done_future"]

MAX_INDEX = (1 << 31) - 1


def index_generator(imin: int = 1, imax: int = MAX_INDEX, i0: int | None = None) -> Iterator[int]:
    """Count from ``i0`` to ``imax`` and go on at ``imin``, without end.

    Parameters
    ----------
    imin, imax : `int`
        Smallest and largest value, both included.
    i0 : `int` or `None`
        First value; `None` means ``imin``.

    Raises
    ------
    ValueError
        If ``imax <= imin`` or ``i0`` is outside the range.
    """
    imin, imax = int(imin), int(imax)
    first = imin if i0 is None else int(i0)
    if imax <= imin:
        raise ValueError(f"imax={imax} must be > imin={imin}")
    if not imin <= first <= imax:
        raise ValueError(f"i0={first} must be >= {imin} and <= {imax}")
    return _count(imin, imax, first)


def _count(imin: int, imax: int, first: int) -> Iterator[int]:
    i = first
    while True:
        yield i
        i = i + 1 if i < imax else imin


def make_done_future() -> asyncio.Future[None]:
    """Return a future that is done, with result `None`."""
    future: asyncio.Future[None] = asyncio.Future()
    future.set_result(None)
    return future
