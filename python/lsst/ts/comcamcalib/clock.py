# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one clock from which the service takes its times."""

from __future__ import annotations

import asyncio
import datetime

from lsst.ts import utils

__all__ = ["TAI_MINUS_UTC_S", "Clock", "iso_utc", "moment_tai", "moment_utc", "tai_of_utc"]

EPOCH = datetime.datetime(1970, 1, 1)

TAI_MINUS_UTC_S = 37
"""Since 2017, and no other leap second is planned (seconds)."""


class Clock:
    """The time of day and a time for limits; tests can give another clock, with which waiting costs nothing."""

    def tai(self) -> float:
        """Return the time, TAI unix (seconds); it may be set back."""
        return float(utils.current_tai())

    def monotonic(self) -> float:
        """Return a time that never goes back (seconds of the event loop)."""
        return asyncio.get_running_loop().time()


# Not with astropy: before its first conversion to UTC it looks for a newer table of leap seconds, and loads one from
# the internet if its own is about half a year old. The event loop would wait for that.


def moment_tai(tai_s: float) -> datetime.datetime:
    """Return the date and the time of day on the TAI scale of TAI unix seconds."""
    return EPOCH + datetime.timedelta(seconds=tai_s)


def moment_utc(tai_s: float) -> datetime.datetime:
    """Return the date and the time of day on the UTC scale of TAI unix seconds."""
    try:
        utc_s = utils.utc_from_tai_unix(tai_s)
    except ValueError:  # the table of leap seconds has expired, which a machine without internet can't mend
        utc_s = tai_s - TAI_MINUS_UTC_S
    return EPOCH + datetime.timedelta(seconds=utc_s)


def tai_of_utc(utc_s: float) -> float:
    """Return TAI unix seconds of UTC unix seconds."""
    try:
        return float(utils.tai_from_utc_unix(utc_s))
    except ValueError:  # as in `moment_utc`
        return utc_s + TAI_MINUS_UTC_S


def iso_utc(tai_s: float) -> str:
    """Return TAI unix seconds as ISO 8601, UTC, to the second; "" for 0."""
    return f"{moment_utc(tai_s).isoformat(timespec='seconds')}Z" if tai_s else ""
