# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A component that a run needs and that is not well is named at once, and named again when it is well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.record.events import ImageTaken
from support.house import House
from support.services import Gate

BIAS = {"script_mode": "BIAS"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.run.surroundings.LOOK_INTERVAL_S", 0.01)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  the watch looks by the clock
            await asyncio.sleep(0.01)


async def waiting_for_files(house: House) -> None:
    """Let a run wait for files that do not come."""
    house.observatory.camera.arrive = lambda exposure: None
    await house.start(**BIAS, n_bias=1)
    await house.until(lambda: len(house.of(ImageTaken)) == 1)


async def test_component_that_fails_in_mid_run_is_named_in_activity_alarm_and_log(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await waiting_for_files(house)
    ill = house.observatory.components.ill
    ill["CCOODS"] = "is in FAULT"
    await until(lambda: house.runner.progress().activity.endswith("; CCOODS is in FAULT: enable it."))
    assert "files of CC_O_20261122_000001" in house.runner.progress().activity
    await house.runner.update_alarms()
    assert house.alarms.reason == "CCOODS is in FAULT: enable it."
    assert not house.alarms.run_failed
    assert "CCOODS is in FAULT: enable it. The run needs it, and waits within its limits." in caplog.text
    ill.clear()
    await until(lambda: "CCOODS" not in house.runner.progress().activity)
    assert "CCOODS has recovered." in caplog.text
    await house.runner.update_alarms()
    assert house.alarms.reason == ""
    house.observatory.oods.ingest(next(iter(house.observatory.world.exposures)), range(9))
    assert (await house.ended()).state is RunState.COMPLETED


async def test_each_component_is_named_once_as_long_as_it_stays_as_it_is(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await waiting_for_files(house)
    ill = house.observatory.components.ill
    ill["CCHeaderService"] = "is in STANDBY"
    await until(lambda: "CCHeaderService is in STANDBY" in caplog.text)
    await asyncio.sleep(0.05)
    assert caplog.text.count("CCHeaderService is in STANDBY") == 1
    ill["CCHeaderService"] = "is in FAULT"
    await until(lambda: "CCHeaderService is in FAULT" in caplog.text)
    assert "has recovered" not in caplog.text


async def test_component_that_the_run_does_not_need_any_more_is_nobodys_business(house: House) -> None:
    """When all frames are taken, the camera may well be disabled; the OCPS may not."""
    house.observatory.jobs.hold("cpBias")
    await house.start(**BIAS)
    await house.observatory.jobs.until_executing("cpBias")
    house.observatory.components.ill = {"CCCamera": "is in STANDBY", "OCPS:2": "is in FAULT"}
    await until(lambda: "OCPS:2 is in FAULT" in house.runner.progress().activity)
    assert "CCCamera" not in house.runner.progress().activity


async def test_run_that_has_ended_watches_nothing(house: House) -> None:
    gate = house.observatory.camera.gates["BIAS", 1] = Gate()
    await house.start(**BIAS)
    await gate.until_reached()
    house.observatory.components.ill["CCCamera"] = "is in FAULT"
    await until(lambda: "CCCamera is in FAULT" in house.runner.progress().activity)
    gate.open()
    await house.ended()
    await house.runner.update_alarms()
    assert house.alarms.reason == ""


async def test_failure_of_an_exposure_says_what_is_wrong_with_the_camera(house: House) -> None:
    house.observatory.components.ill["CCHeaderService"] = "sends no heartbeat any more"
    house.observatory.camera.errors["BIAS", 1] = "no endReadout came within 30 s."
    house.observatory.components.problems = list  # type: ignore[method-assign]  # it was well when the run was accepted
    await house.start(**BIAS)
    assert (await house.ended()).state is RunState.FAILED
    assert house.reasons["BIAS.ACQUIRE"] == (
        "BIAS frame 1 of 2 was not taken: no endReadout came within 30 s. CCHeaderService sends no heartbeat any more: "
        "enable it"
    )
