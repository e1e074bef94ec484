# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The validity of products: by default, the days of observation of the frames; pure."""

from __future__ import annotations

import dataclasses
import datetime
import zoneinfo
from collections.abc import Collection

from ..clock import TAI_MINUS_UTC_S, moment_tai
from ..options import NO_END, RunOptions, day_obs_range

__all__ = ["Validity", "day_obs_of", "days_of", "noon_notice", "tai_unix", "validity_of"]

EARLIEST = datetime.datetime(1970, 1, 1)
"""Butler stores a range that begins here as one without a beginning."""


@dataclasses.dataclass(frozen=True)
class Validity:
    """A validity range as Butler stores it (ISO 8601 TAI, "": unbounded)."""

    begin_iso_tai: str
    end_iso_tai: str

    def contains(self, other: Validity) -> bool:
        """Whether this is valid for all of another range."""
        begins = not self.begin_iso_tai or (
            bool(other.begin_iso_tai) and _moment(self.begin_iso_tai) <= _moment(other.begin_iso_tai)
        )
        ends = not self.end_iso_tai or (
            bool(other.end_iso_tai) and _moment(self.end_iso_tai) >= _moment(other.end_iso_tai)
        )
        return begins and ends

    def covers(self, begin_iso_tai: str, end_iso_tai: str) -> bool:
        """Whether Butler finds a calibration of this validity for an exposure, which it does if the two overlap."""
        begin, end = _moment(begin_iso_tai), _moment(end_iso_tai)
        return (not self.end_iso_tai or begin < _moment(self.end_iso_tai)) and (
            not self.begin_iso_tai or end > _moment(self.begin_iso_tai)
        )

    def ended(self, now_tai_s: float) -> bool:
        """Whether it is over at some time, TAI unix (seconds)."""
        return bool(self.end_iso_tai) and _moment(self.end_iso_tai) <= moment_tai(now_tai_s)

    @property
    def words(self) -> str:
        """The range in words."""
        begin = f"from {self.begin_iso_tai}" if self.begin_iso_tai else "without a begin"
        return f"{begin} {f'to {self.end_iso_tai}' if self.end_iso_tai else 'without an end'} (TAI)"


def day_obs_of(tai_s: float) -> int:
    """Return the day of observation, YYYYMMDD, of a time (TAI unix seconds): the date 12 hours earlier (LSE-400)."""
    return int(f"{moment_tai(tai_s - 12 * 3600):%Y%m%d}")


def days_of(day_obs: int, end_iso_tai: str) -> set[int]:
    """Return the days of observation that an exposure is in, such as {20261122}.

    An exposure belongs to the day in which it begins. For one that lasts past noon both days count, because
    Butler needs a single calibration that is valid for all of it.

    Parameters
    ----------
    day_obs
        The day that it belongs to.
    end_iso_tai
        When it ended (ISO 8601 TAI).
    """
    last = _moment(end_iso_tai) - datetime.timedelta(hours=12, microseconds=1)
    return {day_obs, max(day_obs, int(f"{last:%Y%m%d}"))}


def validity_of(options: RunOptions, days: Collection[int]) -> Validity:
    """Return the validity with which a product is certified.

    If the operator gives no beginning, it is the noon at which the day of observation of the first used frame begins.
    If the operator gives no end, it is the noon at which the day of observation of the last used frame ends. All frames
    of the run count, not only those from which the product is made, because Butler must find it for all of them.

    Parameters
    ----------
    options
        Of the run.
    days
        Days of observation of the frames that the run has used so far, as `days_of` has them.

    Raises
    ------
    ValueError
        If the range is empty; the message says why.
    """
    begin, end = options.certify_calib_begin_date, options.certify_calib_end_date
    first = _moment(begin) if begin else day_obs_range(min(days))[0]
    if end == NO_END:
        return Validity(_bound(first), "")
    last = _moment(end) if end else day_obs_range(max(days))[1]
    if first >= last:
        what = "certify_calib_begin_date" if begin else "the noon before the run's first frame"
        other = "certify_calib_end_date" if end else "the noon after the run's last frame"
        raise ValueError(
            f"the validity would be empty: {what}, {first.isoformat()}, is not before {other}, {last.isoformat()}"
        )
    return Validity(_bound(first), last.isoformat())


def noon_notice(options: RunOptions, now_tai_s: float, duration_s: float) -> str:
    """Return a notice if a run will probably last past noon TAI, when the day of observation changes; otherwise "".

    Parameters
    ----------
    options
        Of the run.
    now_tai_s
        The time, TAI unix (seconds).
    duration_s
        How long the run will take (seconds).
    """
    now = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=now_tai_s)
    noon = now.replace(hour=12, minute=0, second=0, microsecond=0)
    noon += datetime.timedelta(days=1) if noon <= now else datetime.timedelta()
    end = now + datetime.timedelta(seconds=duration_s)
    if end <= noon:
        return ""
    given = [
        name for name in ("certify_calib_begin_date", "certify_calib_end_date") if getattr(options, name) is not None
    ]
    validity = (
        "The validity of each product follows the frames: if none is taken after that noon, it ends then, and the "
        "coming night does not find them."
    )
    if not (options.generate_calibrations and (options.do_verify or options.certify_unverified)):
        validity = "The run certifies nothing."
    elif given:
        validity = f"The validity does not follow them where it was given, by {' and '.join(given)}."
    return (
        f"The run will probably end at {_both(end)}, after the noon TAI of {_both(noon)}: frames that are taken after "
        f"that noon belong to day_obs {noon:%Y%m%d}. {validity}"
    )


def _both(moment: datetime.datetime) -> str:
    """Return a time (TAI) in words, in TAI and in Chilean time."""
    # Only for the time of day in a notice; no validity is computed with it.
    utc = moment.replace(tzinfo=datetime.UTC) - datetime.timedelta(seconds=TAI_MINUS_UTC_S)
    try:
        chile = f"{utc.astimezone(zoneinfo.ZoneInfo('America/Santiago')):%H:%M} in Chile"
    except zoneinfo.ZoneInfoNotFoundError:  # a machine without a database of time zones
        chile = f"{utc - datetime.timedelta(hours=3):%H:%M} in Chile's summer, an hour less in its winter"
    return f"{moment:%Y-%m-%dT%H:%M:%S} TAI ({chile})"


def tai_unix(iso_tai: str) -> float:
    """Return a time (ISO 8601 TAI) as TAI unix (seconds)."""
    return (_moment(iso_tai) - EARLIEST).total_seconds()


def _moment(iso_tai: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(iso_tai)


def _bound(begin: datetime.datetime) -> str:
    return begin.isoformat() if begin > EARLIEST else ""
