# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Await several things in parallel, and leave no task behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar, cast

__all__ = ["all_of", "both"]

A = TypeVar("A")
B = TypeVar("B")


async def all_of(awaitables: Iterable[Awaitable[A]]) -> list[A]:
    """Wait for all, and return their results in order.

    Raises
    ------
    BaseException
        The first error in order. All have ended by then, as they have not with `asyncio.gather`.
    """
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast(list[A], results)


async def both(first: Awaitable[A], second: Awaitable[B]) -> tuple[A, B]:
    """Wait for two, and return both results; raises as `all_of`."""
    results: list[Any] = await all_of([first, second])
    return results[0], results[1]
