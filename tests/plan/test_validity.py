# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Validity belongs to the frames; who starts a run before noon TAI is warned."""

from __future__ import annotations

import datetime
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.plan.build import build_plan
from lsst.ts.comcamcalib.plan.validity import Validity, days_of, noon_notice, validity_of
from support.plans import RUN_ID, make_config, make_options

EPOCH = datetime.datetime(1970, 1, 1)
MOMENTS = st.datetimes(datetime.datetime(2020, 1, 1), datetime.datetime(2040, 1, 1))


def tai_s(text: str) -> float:
    return (datetime.datetime.fromisoformat(text) - EPOCH).total_seconds()


@pytest.mark.parametrize(
    ("days", "validity"),
    [
        ([20261122], ("2026-11-22T12:00:00", "2026-11-23T12:00:00")),
        ([20261123, 20261122], ("2026-11-22T12:00:00", "2026-11-24T12:00:00")),
        ([20261231], ("2026-12-31T12:00:00", "2027-01-01T12:00:00")),
        ([20280228, 20280229], ("2028-02-28T12:00:00", "2028-03-01T12:00:00")),
    ],
)
def test_default_is_from_the_noon_before_the_runs_first_frame_to_that_after_its_last(
    days: list[int], validity: tuple[str, str]
) -> None:
    assert validity_of(make_options(), days) == Validity(*validity)


@pytest.mark.parametrize(
    ("begin", "end", "days"),
    [
        ("2026-11-23T11:59:00", "2026-11-23T12:00:00", {20261122}),
        ("2026-11-23T11:59:50", "2026-11-23T12:00:20.5", {20261122, 20261123}),
        ("2026-11-23T12:00:00", "2026-11-23T12:00:00", {20261123}),
        ("2026-11-23T12:00:00", "2026-11-23T12:00:30.123456789", {20261123}),
    ],
)
def test_an_exposure_over_noon_is_in_both_days(begin: str, end: str, days: set[int]) -> None:
    day_obs = int(f"{datetime.datetime.fromisoformat(begin) - datetime.timedelta(hours=12):%Y%m%d}")
    assert days_of(day_obs, end) == days


@given(st.lists(st.tuples(MOMENTS, st.floats(0, 900)), min_size=1, max_size=5))
def test_the_default_covers_every_frame_and_nothing_of_the_noons_around(
    frames: list[tuple[datetime.datetime, float]],
) -> None:
    ends = [(begin, begin + datetime.timedelta(seconds=length)) for begin, length in frames]
    days = {
        day
        for begin, end in ends
        for day in days_of(int(f"{begin - datetime.timedelta(hours=12):%Y%m%d}"), end.isoformat())
    }
    validity = validity_of(make_options(), days)
    assert all(validity.covers(begin.isoformat(), end.isoformat()) for begin, end in ends)
    assert datetime.datetime.fromisoformat(validity.begin_iso_tai).hour == 12
    first, last = min(begin for begin, _ in ends), max(end for _, end in ends)
    assert first - datetime.datetime.fromisoformat(validity.begin_iso_tai) < datetime.timedelta(days=1)
    assert datetime.datetime.fromisoformat(validity.end_iso_tai) - last < datetime.timedelta(days=1, seconds=1)


@pytest.mark.parametrize(
    ("validity", "covered"),
    [
        (("2026-11-22T20:00:00", "2026-11-22T21:00:00"), True),
        (("2026-11-22T20:10:05", ""), True),
        (("2026-11-22T20:10:10", ""), False),
        (("", "2026-11-22T20:10:00"), False),
        (("", "2026-11-22T20:10:00.1"), True),
        (("", ""), True),
    ],
)
def test_a_calibration_is_found_for_exposures_that_overlap_its_validity(
    validity: tuple[str, str], covered: bool
) -> None:
    assert Validity(*validity).covers("2026-11-22T20:10:00", "2026-11-22T20:10:10") is covered


def test_an_empty_validity_is_an_error_that_says_why() -> None:
    options = make_options(certify_calib_begin_date="2026-11-23T12:00:00")
    with pytest.raises(ValueError, match="certify_calib_begin_date, 2026-11-23T12:00:00, is not before the noon after"):
        validity_of(options, [20261122])
    options = make_options(certify_calib_end_date="2026-11-23T12:00:00")
    with pytest.raises(ValueError, match=r"the noon before the run's first frame, .* is not before certify_calib_end"):
        validity_of(options, [20261123])


# Notices


def test_a_run_that_goes_on_after_noon_is_accepted_with_a_notice_of_both_times() -> None:
    notice = noon_notice(make_options(), tai_s("2026-11-23T11:59:36"), 1000)
    assert notice == (
        "The run will probably end at 2026-11-23T12:16:16 TAI (09:15 in Chile), after the noon TAI of "
        "2026-11-23T12:00:00 TAI (08:59 in Chile): frames that are taken after that noon belong to day_obs 20261123. "
        "The validity of each product follows the frames."
    )


def test_in_winter_noon_tai_is_eight_in_chile() -> None:
    assert "2026-07-01T12:00:00 TAI (07:59 in Chile)" in noon_notice(make_options(), tai_s("2026-07-01T11:59:00"), 100)


def test_a_machine_without_time_zones_says_both_times_of_the_year(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_zone(name: str) -> None:
        raise zoneinfo.ZoneInfoNotFoundError(name)

    monkeypatch.setattr(zoneinfo, "ZoneInfo", no_zone)
    notice = noon_notice(make_options(), tai_s("2026-11-23T11:59:36"), 1000)
    assert "2026-11-23T12:00:00 TAI (08:59 in Chile's summer, an hour less in its winter)" in notice


def test_dates_that_were_given_do_not_follow_the_frames() -> None:
    options = make_options(certify_calib_begin_date="2026-11-22", certify_calib_end_date="open")
    notice = noon_notice(options, tai_s("2026-11-23T11:00:00"), 4000)
    assert "given, by certify_calib_begin_date and certify_calib_end_date" in notice


@pytest.mark.parametrize("options", [{"generate_calibrations": False}, {"do_verify": False}])
def test_a_run_that_certifies_nothing_has_no_validity_that_could_follow(options: dict[str, bool]) -> None:
    notice = noon_notice(make_options(**options), tai_s("2026-11-23T11:00:00"), 4000)
    assert notice.endswith("belong to day_obs 20261123. The run certifies nothing.")
    unverified = make_options(do_verify=False, certify_unverified=True)
    assert "follows the frames" in noon_notice(unverified, tai_s("2026-11-23T11:00:00"), 4000)


@pytest.mark.parametrize("now", ["2026-11-22T12:00:00", "2026-11-22T20:00:00", "2026-11-23T11:00:00"])
def test_a_run_that_ends_before_noon_has_no_notice(now: str) -> None:
    assert noon_notice(make_options(), tai_s(now), 3599) == ""


def test_the_plan_has_the_notices_of_the_options_and_of_noon() -> None:
    options, config = make_options(certify_calib_begin_date="2026-11-23"), make_config()
    plan = build_plan(RUN_ID, options, config, tai_s("2026-11-23T11:59:36"))
    assert plan.notices == (*options.notices, plan.notices[-1])
    assert "covers only a part of day_obs" in plan.notices[0] and "after the noon TAI" in plan.notices[1]
    assert build_plan(RUN_ID, options, config, tai_s("2026-11-22T20:00:00")).notices == options.notices
