# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""lsst.ts.utils: scales of time, numbers without end, environments for tests."""

from __future__ import annotations

import os
import subprocess
import time

import astropy.time
import pytest
from lsst.ts import utils


def test_now_is_37_seconds_later_in_tai() -> None:
    assert utils.current_tai() - time.time() == pytest.approx(37, abs=0.1)


@pytest.mark.parametrize("date", ["1980-01-01T00:00:01", "2012-07-01T12:00:00", "2017-01-01T00:00:00", "2026-11-22"])
def test_astropy_agrees(date: str) -> None:
    instant = astropy.time.Time(date, scale="utc")
    expected = (instant.tai.mjd - 40587) * 86400
    assert utils.tai_from_utc(date, format=None) == pytest.approx(expected, abs=1e-4)
    with pytest.raises(ValueError, match="format class unix"):  # such text is no number of seconds
        utils.tai_from_utc(date)
    assert utils.tai_from_utc(instant) == pytest.approx(expected, abs=1e-4)
    tai = utils.tai_from_utc_unix(instant.unix)
    assert tai == pytest.approx(expected, abs=1e-4)
    assert utils.tai_from_utc(instant.unix) == tai
    assert utils.utc_from_tai_unix(tai) == pytest.approx(instant.unix, abs=1e-6)
    assert abs((utils.astropy_time_from_tai_unix(tai) - instant).sec) < 1e-6
    assert utils.astropy_time_from_tai_unix(tai).scale == "tai"


def test_the_last_leap_second_began_with_2017() -> None:
    new_year = 1483228800.0
    assert utils.tai_from_utc_unix(new_year - 0.5) == new_year - 0.5 + 36
    assert utils.tai_from_utc_unix(new_year) == new_year + 37
    assert utils.utc_from_tai_unix(new_year + 37) == new_year


def test_an_index_generator_starts_again_after_its_last_number() -> None:
    generator = utils.index_generator(imin=2, imax=4, i0=3)
    assert [next(generator) for _ in range(5)] == [3, 4, 2, 3, 4]
    assert next(utils.index_generator()) == 1


@pytest.mark.parametrize("kwargs", [{"imin": 1, "imax": 1}, {"imin": 2, "imax": 5, "i0": 1}, {"imax": 5, "i0": 6}])
def test_an_index_generator_refuses_an_empty_range_and_a_start_outside(kwargs: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        utils.index_generator(**kwargs)


def test_the_environment_is_put_back() -> None:
    os.environ["STANDINS_TEST"] = "before"
    try:
        with utils.modify_environ(STANDINS_TEST=None, STANDINS_NEW="new"):
            assert "STANDINS_TEST" not in os.environ
            assert os.environ["STANDINS_NEW"] == "new"
            os.environ["STANDINS_THIRD"] = "set in between"
            inherited = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
            assert "STANDINS_NEW" not in inherited, "as with the original"
        assert os.environ["STANDINS_TEST"] == "before"
        assert "STANDINS_NEW" not in os.environ
        assert "STANDINS_THIRD" not in os.environ
    finally:
        del os.environ["STANDINS_TEST"]


def test_a_number_is_no_value_of_an_environment_variable() -> None:
    with pytest.raises(RuntimeError, match="must be strings"), utils.modify_environ(STANDINS_TEST=5):
        pass


async def test_a_done_future_is_done() -> None:
    assert utils.make_done_future().done()
