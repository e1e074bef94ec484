# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a process may do anything outside; see `lsst.ts.comcamcalib.services.permission`."""

from __future__ import annotations

from lsst.ts.comcamcalib.errors import ServiceError

__all__ = ["LOST", "allowed", "refused"]

LOST = "Nothing was done: the journal does not belong to this process any more."


async def allowed() -> None:
    """Let everything be done."""


async def refused() -> None:
    """Let nothing be done, because another process has taken over."""
    raise ServiceError(LOST)
