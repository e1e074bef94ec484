# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Times in words are those of astropy, which the event loop must not ask."""

from __future__ import annotations

import subprocess
import sys

import pytest
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts import utils
from lsst.ts.comcamcalib.clock import iso_utc, moment_tai, moment_utc, tai_of_utc

LEAP_SECOND = 1_483_228_836.0
"""TAI unix seconds of 2016-12-31T23:59:60 UTC, the last leap second until now."""


@given(st.integers(LEAP_SECOND + 1, 1_900_000_000) | st.integers(100_000_000, LEAP_SECOND - 100))
def test_a_moment_is_that_of_astropy(tai_s: int) -> None:
    moment = Time(tai_s, format="unix_tai", scale="tai")
    assert moment_tai(tai_s).isoformat(timespec="milliseconds") == moment.tai.isot
    assert moment_utc(tai_s).isoformat(timespec="milliseconds") == moment.utc.isot
    assert iso_utc(tai_s) == f"{moment.utc.isot[:19]}Z"


@pytest.mark.parametrize(
    ("tai_s", "words"),
    [
        (0.0, ""),
        (LEAP_SECOND - 0.5, "2016-12-31T23:59:59Z"),
        (LEAP_SECOND + 1.0, "2017-01-01T00:00:00Z"),
        (1_795_000_037.999, "2026-11-18T11:06:40Z"),
    ],
)
def test_seconds_are_cut_and_no_time_is_no_words(tai_s: float, words: str) -> None:
    assert iso_utc(tai_s) == words


def test_an_expired_table_of_leap_seconds_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def expired(_seconds: float) -> float:
        raise ValueError("within one day of the expiration date of the leap second table")

    utc_s = 1_795_000_000.0
    expected = iso_utc(utc_s + 37), tai_of_utc(utc_s)
    monkeypatch.setattr(utils, "utc_from_tai_unix", expired)
    monkeypatch.setattr(utils, "tai_from_utc_unix", expired)
    assert (iso_utc(utc_s + 37), tai_of_utc(utc_s)) == expected == ("2026-11-18T11:06:40Z", utc_s + 37)


def test_no_table_of_leap_seconds_is_looked_for() -> None:
    """Because it could be on the internet."""
    program = (
        "import lsst.ts.comcamcalib.clock as clock; from astropy.utils import iers; "
        "iers.LeapSeconds.auto_open = lambda *_: print('looked for'); clock.iso_utc(1.8e9); clock.moment_tai(1.8e9)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert not answer.stdout
