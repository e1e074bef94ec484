# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Conversions between TAI and UTC, both as unix seconds."""

from __future__ import annotations

import bisect
import datetime
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import astropy.time

__all__ = ["astropy_time_from_tai_unix", "current_tai", "tai_from_utc", "tai_from_utc_unix", "utc_from_tai_unix"]

SECONDS_PER_DAY = 86400.0

MJD_MINUS_UNIX_DAYS = 40587.0
"""Modified Julian Date of 1970-01-01T00:00:00."""

# Years and months (first day, 0 h UTC) from which TAI-UTC has grown by one more second (IERS Bulletin C), from 10 s on.
# A table of our own because importing astropy takes longer than everything else a CSC imports.
_LEAP_SECOND_DATES = (
    *((1972, 1), (1972, 7), (1973, 1), (1974, 1), (1975, 1), (1976, 1), (1977, 1), (1978, 1), (1979, 1), (1980, 1)),
    *((1981, 7), (1982, 7), (1983, 7), (1985, 7), (1988, 1), (1990, 1), (1991, 1), (1992, 7), (1993, 7), (1994, 7)),
    *((1996, 1), (1997, 7), (1999, 1), (2006, 1), (2009, 1), (2012, 7), (2015, 7), (2017, 1)),
)
_FIRST_TAI_MINUS_UTC = 10

_UTC_STEPS = [datetime.datetime(year, month, 1, tzinfo=datetime.UTC).timestamp() for year, month in _LEAP_SECOND_DATES]
_TAI_STEPS = [utc + _FIRST_TAI_MINUS_UTC + i for i, utc in enumerate(_UTC_STEPS)]
_CURRENT_TAI_MINUS_UTC = _FIRST_TAI_MINUS_UTC + len(_UTC_STEPS) - 1


def _tai_minus_utc(steps: list[float], seconds: float) -> int:
    """TAI-UTC (seconds) at an instant counted on the scale of ``steps``; before 1972 that of 1972."""
    return _FIRST_TAI_MINUS_UTC + max(bisect.bisect_right(steps, seconds) - 1, 0)


def current_tai() -> float:
    """Return the current TAI as unix seconds."""
    return time.time() + _CURRENT_TAI_MINUS_UTC


def tai_from_utc_unix(utc_unix: float) -> float:
    """Return TAI unix seconds of an instant given as UTC unix seconds."""
    return utc_unix + _tai_minus_utc(_UTC_STEPS, utc_unix)


def utc_from_tai_unix(tai_unix: float) -> float:
    """Return UTC unix seconds of an instant given as TAI unix seconds."""
    return tai_unix - _tai_minus_utc(_TAI_STEPS, tai_unix)


def tai_from_utc(utc: float | str | astropy.time.Time, format: str | None = "unix") -> float:
    """Return TAI unix seconds of an instant.

    Parameters
    ----------
    utc : `float` or `str` or `astropy.time.Time`
        The instant: a number or text on the UTC scale, or an astropy time, whose own scale counts.
    format : `str` or `None`
        Astropy's name of the format of ``utc``; not used for an astropy time. `None`: let astropy guess.

    Raises
    ------
    ValueError
        If ``utc`` has not that format; ISO text is none of the default format.
    """
    if format == "unix" and isinstance(utc, (int, float)):
        return tai_from_utc_unix(float(utc))
    import astropy.time

    instant = utc if isinstance(utc, astropy.time.Time) else astropy.time.Time(utc, scale="utc", format=format)
    tai = instant.tai
    days = (tai.jd1 - 2400000.5 - MJD_MINUS_UNIX_DAYS) + tai.jd2
    return float(days * SECONDS_PER_DAY)


def astropy_time_from_tai_unix(tai_unix: float) -> astropy.time.Time:
    """Return an astropy time, on the TAI scale, of an instant given as TAI unix seconds."""
    import astropy.time

    return astropy.time.Time(MJD_MINUS_UNIX_DAYS, tai_unix / SECONDS_PER_DAY, scale="tai", format="mjd")
