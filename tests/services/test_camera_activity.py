# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the camera is at work, from what its events say, in whatever order they arrive."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.services.camera_activity import MAX_BEGUN, CameraActivity
from lsst.ts.comcamcalib.services.exposure import TakenFrame
from support.plans import make_config

INSTRUMENT = make_config().instrument
NOW = 1_795_953_600.0  # 2026-11-28T12:00:00 TAI
READOUT_S = 30.0
IDLE, BUSY = 1, 2
INTEGRATING, READING_OUT, QUIESCENT, CLEARING = 3, 4, 5, 2
DARK = "CC_O_20261128_000007"


class StillClock(Clock):
    """It is always now."""

    def tai(self) -> float:
        return NOW


@pytest.fixture
def activity() -> CameraActivity:
    return CameraActivity(INSTRUMENT, READOUT_S, StillClock())


def began(name: str, ago_s: float, exposure_time_s: float = 600.0, group: str | None = "20261128-001-DARK") -> Any:
    return SimpleNamespace(
        imageName=name,
        exposureTime=exposure_time_s,
        additionalKeys="groupId" if group else "",
        additionalValues=group or "",
        timestampAcquisitionStart=NOW - ago_s - 0.5,
        private_sndStamp=NOW - ago_s,
    )


def ended(name: str, ago_s: float = 0.0) -> Any:
    return SimpleNamespace(imageName=name, private_sndStamp=NOW - ago_s)


def substate(value: int, ago_s: float) -> Any:
    return SimpleNamespace(substate=value, private_sndStamp=NOW - ago_s)


def test_camera_in_the_middle_of_a_long_dark_is_named_with_its_end(activity: CameraActivity) -> None:
    activity.on_command_state(substate(BUSY, 101))
    activity.on_start(began(DARK, ago_s=100))
    assert activity.obstacle() == (
        "CCCamera is taking an image: CC_O_20261128_000007 of 600 s, until 12:08:50 TAI at the latest. Wait until its "
        "ccsCommandState is IDLE, then start again."
    )


def test_camera_that_has_read_out_its_image_is_idle(activity: CameraActivity) -> None:
    activity.on_start(began(DARK, ago_s=700))
    activity.on_end(ended(DARK))
    activity.on_command_state(substate(IDLE, 1))
    assert activity.obstacle() == ""


def test_order_of_arrival_does_not_matter(activity: CameraActivity) -> None:
    """Kafka keeps it within a topic only."""
    samples = [
        (activity.on_command_state, substate(BUSY, 101)),
        (activity.on_start, began(DARK, ago_s=100)),
        (activity.on_rafts_state, substate(INTEGRATING, 100)),
    ]
    for order in itertools.permutations(samples):
        fresh = CameraActivity(INSTRUMENT, READOUT_S, StillClock())
        for take_note, sample in order:
            getattr(fresh, take_note.__name__)(sample)
        assert fresh.obstacle().startswith(f"CCCamera is taking an image: {DARK}")
    early = CameraActivity(INSTRUMENT, READOUT_S, StillClock())
    early.on_end(ended(DARK))
    early.on_start(began(DARK, ago_s=1))
    assert early.obstacle() == ""


def test_image_whose_command_is_over_is_not_waited_for(activity: CameraActivity) -> None:
    """After a fault in mid-exposure there never is an endReadout."""
    activity.on_start(began(DARK, ago_s=100))
    activity.on_command_state(substate(IDLE, 50))
    assert activity.obstacle() == ""


def test_idle_from_before_the_image_proves_nothing(activity: CameraActivity) -> None:
    activity.on_command_state(substate(IDLE, 101))
    activity.on_start(began(DARK, ago_s=100))
    assert DARK in activity.obstacle()


def test_image_whose_time_is_over_does_not_stand_in_the_way_for_ever(activity: CameraActivity) -> None:
    activity.on_start(began(DARK, ago_s=631))
    assert activity.obstacle() == ""
    activity.on_start(began("CC_O_20261128_000008", ago_s=629))
    assert "CC_O_20261128_000008" in activity.obstacle()


def test_busy_without_a_known_image_is_an_obstacle(activity: CameraActivity) -> None:
    activity.on_command_state(substate(BUSY, 5))
    assert activity.obstacle().startswith("CCCamera is doing a command.")


@pytest.mark.parametrize(("state", "word"), [(INTEGRATING, "INTEGRATING"), (READING_OUT, "READING_OUT")])
def test_rafts_at_work_are_an_obstacle_though_no_command_is_being_done(
    activity: CameraActivity, state: int, word: str
) -> None:
    """An image that was begun with startImage goes on when that command is over."""
    activity.on_command_state(substate(IDLE, 5))
    activity.on_rafts_state(substate(state, 6))
    assert activity.obstacle() == (
        f"CCCamera is busy: its rafts are {word}. Wait until its raftsDetailedState is QUIESCENT, then start again; if "
        "it never is, check CCCamera."
    )


@pytest.mark.parametrize("state", [QUIESCENT, CLEARING, 1, 99])
def test_rafts_at_rest_are_none(activity: CameraActivity, state: int) -> None:
    activity.on_rafts_state(substate(state, 6))
    assert activity.obstacle() == ""


def test_camera_that_has_said_nothing_is_not_refused_but_known_as_silent(activity: CameraActivity) -> None:
    """The broker forgets what a camera said that has been idle for days."""
    assert activity.obstacle() == ""
    assert not activity.known
    activity.on_command_state(substate(IDLE, 5))
    assert activity.known


def test_the_last_images_are_remembered_in_their_order_and_not_for_ever(activity: CameraActivity) -> None:
    names = [f"CC_O_20261128_{number:06d}" for number in range(MAX_BEGUN + 50)]
    for name in names:
        activity.on_start(began(name, ago_s=0, group=None if name.endswith("0") else "g"))
        activity.on_end(ended(name))
    assert list(activity.images_begun) == names[50:]
    assert activity.images_begun[names[60]] is None
    assert activity.images_begun[names[61]] == "g"
    assert activity.obstacle() == ""


def test_images_of_others_have_ended_or_are_in_progress_and_are_not_lost(
    activity: CameraActivity,
) -> None:
    ours, theirs, lost, now = (f"CC_O_20261128_{number:06d}" for number in range(4))
    for name, group, ago_s in ((ours, "ours", 900), (theirs, "theirs", 800), (lost, None, 700)):
        activity.on_start(began(name, ago_s=ago_s, group=group))
    activity.on_end(ended(ours))
    activity.on_end(ended(theirs))
    assert activity.images_of_others({"ours"}) == ({theirs}, set())
    activity.on_start(began(now, ago_s=0, group=None))
    assert activity.images_of_others({"ours"}) == ({theirs}, {now})


GROUP = "20261128-001-DARK"


def test_an_exposure_counts_as_taken_when_it_is_read_out_with_the_time_of_its_integration(
    activity: CameraActivity,
) -> None:
    activity.on_start(began(DARK, ago_s=100))
    assert activity.taken_for(GROUP) == [], "it is in progress"
    activity.on_end(ended(DARK))
    assert activity.taken_for(GROUP) == [TakenFrame(2026112800007, DARK, NOW - 100.5)]
    assert activity.taken_for("20261128-001-FLAT") == []


def test_the_end_of_an_exposure_may_be_read_before_its_begin(activity: CameraActivity) -> None:
    activity.on_end(ended(DARK))
    assert activity.taken_for(GROUP) == []
    activity.on_start(began(DARK, ago_s=100))
    assert [one.obs_id for one in activity.taken_for(GROUP)] == [DARK]


def test_exposures_of_a_group_come_in_their_order_without_those_of_others(activity: CameraActivity) -> None:
    for number, group in enumerate((GROUP, None, GROUP, "somebody", GROUP), start=1):
        activity.on_start(began(f"CC_O_20261128_{number:06d}", ago_s=10 - number, group=group))
        activity.on_end(ended(f"CC_O_20261128_{number:06d}"))
    assert [one.exposure_id for one in activity.taken_for(GROUP)] == [2026112800001, 2026112800003, 2026112800005]


def test_time_of_sending_stands_in_for_a_time_that_the_camera_left_out(activity: CameraActivity) -> None:
    start = began(DARK, ago_s=100)
    start.timestampAcquisitionStart = 0.0
    activity.on_start(start)
    activity.on_end(ended(DARK))
    assert activity.taken_for(GROUP) == [TakenFrame(2026112800007, DARK, NOW - 100)]


def test_image_whose_name_gives_no_exposure_id_is_left_out(activity: CameraActivity) -> None:
    """Nothing of it can be in the repository, so nobody would ever use it."""
    for name in ("something else", DARK):
        activity.on_start(began(name, ago_s=10))
        activity.on_end(ended(name))
    assert [one.obs_id for one in activity.taken_for(GROUP)] == [DARK]


def test_ends_of_forgotten_images_are_forgotten_too(activity: CameraActivity) -> None:
    for number in range(5 * MAX_BEGUN):
        activity.on_start(began(f"CC_O_20261128_{number:06d}", ago_s=0, group=GROUP))
        activity.on_end(ended(f"CC_O_20261128_{number:06d}"))
        activity.on_end(ended(f"an image that began before the start, {number}"))
    assert [one.exposure_id for one in activity.taken_for(GROUP)] == [
        2026112800000 + number for number in range(4 * MAX_BEGUN, 5 * MAX_BEGUN)
    ]
