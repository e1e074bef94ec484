# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one clock from which the service takes its times."""

from __future__ import annotations

import asyncio

from lsst.ts import utils

__all__ = ["Clock"]


class Clock:
    """The time of day and a time for limits; tests can give another clock, with which waiting costs nothing."""

    def tai(self) -> float:
        """Return the time, TAI unix (seconds); it may be set back."""
        return float(utils.current_tai())

    def monotonic(self) -> float:
        """Return a time that never goes back (seconds of the event loop)."""
        return asyncio.get_running_loop().time()
