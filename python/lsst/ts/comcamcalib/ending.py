# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Things that are closed side by side and within a limit, because a process must end in time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine

__all__ = ["close_within"]


async def close_within(limit_s: float, closing: dict[str, Coroutine[None, None, None]]) -> None:
    """Close things side by side; what can't be closed, or not in time, is logged.

    Parameters
    ----------
    limit_s
        Longest wait (seconds). What is not closed by then goes on closing, until the process ends.
    closing
        What closes each thing, by its name.
    """
    log = logging.getLogger(__name__)
    tasks = [asyncio.create_task(one, name=name) for name, one in closing.items()]
    await asyncio.wait(tasks, timeout=limit_s)
    for task in tasks:
        if not task.done():
            log.warning(
                "The %s is not closed after %.1f s; it is left to the end of the process", task.get_name(), limit_s
            )
        elif not task.cancelled() and (error := task.exception()) is not None:
            log.error("The %s could not be closed properly: %r", task.get_name(), error, exc_info=error)
