# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""With auto_resume, an interrupted run goes on by itself."""

from __future__ import annotations

import asyncio

import pytest
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.record.events import RunStatus
from support.house import House
from support.plans import make_config

pytestmark = pytest.mark.usefixtures("quick_looks")


async def test_auto_resume_goes_on_without_anybody(stored_house: House, caplog: pytest.LogCaptureFixture) -> None:
    await stored_house.interrupted()
    after = await stored_house.reborn(make_config(auto_resume=True))
    await after.until(lambda: after.status.state is RunState.COMPLETED)
    running = [one.reason for one in after.of(RunStatus) if one.state is RunState.RUNNING]
    assert running == ["Resumed by the CSC itself (auto_resume)"]
    assert "was resumed by itself: No frame of the plan is taken again" in caplog.text
    await after.close()


async def test_auto_resume_waits_until_all_that_it_needs_is_there(
    stored_house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.run.auto_resume.AUTO_RESUME_INTERVAL_S", 0.01)
    await stored_house.interrupted()
    uws, pings = stored_house.observatory.uws, 0
    original = uws.ping

    async def ping() -> None:
        nonlocal pings
        pings += 1
        uws.error = "Connection refused" if pings < 4 else ""
        await original()

    monkeypatch.setattr(uws, "ping", ping)
    after = await stored_house.reborn(make_config(auto_resume=True))
    await after.until(lambda: after.status.state is RunState.COMPLETED)
    assert pings == 4
    assert caplog.text.count("can't be resumed yet, and is tried again: The UWS, which runs the jobs") == 1
    await after.close()


async def test_failed_run_does_not_go_on_by_itself(stored_house: House) -> None:
    stored_house.observatory.jobs.failing["cpBias"] = "RuntimeError: boom"
    await stored_house.start(script_mode="BIAS")
    assert (await stored_house.ended()).state is RunState.FAILED
    after = await stored_house.reborn(make_config(auto_resume=True))
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("auto_resume")]
    assert (await after.runner.publish_status(""))["runState"] == RunState.FAILED
    await after.close()


async def test_run_that_waits_to_be_resumed_by_itself_can_be_aborted(
    stored_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.run.auto_resume.AUTO_RESUME_INTERVAL_S", 0.01)
    await stored_house.interrupted()
    stored_house.observatory.components.sentences = ["CCCamera is in STANDBY: enable it."]
    after = await stored_house.reborn(make_config(auto_resume=True))
    await after.runner.abort("op")
    await after.until(lambda: after.status.state is RunState.ABORTED)
    await after.close()
