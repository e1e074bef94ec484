# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is published again on request, of the current run and of older ones."""

from __future__ import annotations

import pytest
from lsst.ts.comcamcalib.enums import RunState, StageState
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.record.events import (
    Alarms,
    ImageIngested,
    ImageTaken,
    JobState,
    RunConfiguration,
    RunStatus,
    StageStatus,
)
from support.house import House

BIAS = {"script_mode": "BIAS", "oods_timeout": 0.2}


async def test_status_publishes_everything_again(house: House) -> None:
    run_id = await house.start(**BIAS)
    await house.ended()
    newest = {
        (type(entry), getattr(entry, "stage_name", ""), getattr(entry, "exposure_id", 0)): entry
        for entry in house.published
    }
    house.published.clear()
    snapshot = await house.runner.publish_status("")
    assert (snapshot["runId"], snapshot["runState"]) == (run_id, RunState.COMPLETED)
    assert snapshot["imagesTaken"] == snapshot["imagesExpected"] == 2
    assert [stage["state"] for stage in snapshot["stages"]] == [StageState.SUCCEEDED] * 5  # type: ignore[attr-defined]
    assert isinstance(house.published[-1], Alarms)
    again = {
        (type(entry), getattr(entry, "stage_name", ""), getattr(entry, "exposure_id", 0)) for entry in house.published
    }
    assert again >= {key for key in newest if key[0] is not Alarms}


async def two_runs(house: House) -> tuple[str, str]:
    """Let a run fail and another one wait for its job; return their ids."""
    house.observatory.jobs.failing["cpBias"] = "x"
    first = await house.start(**BIAS)
    await house.ended()
    house.observatory.jobs.failing.clear()
    house.observatory.jobs.hold("cpBias")
    second = await house.start(**BIAS)
    await house.observatory.jobs.until_executing("cpBias")
    return first, second


async def test_status_of_an_older_run_comes_from_the_journal(house: House) -> None:
    first, _ = await two_runs(house)
    house.published.clear()
    snapshot = await house.runner.publish_status(first)
    assert (snapshot["runId"], snapshot["runState"]) == (first, RunState.FAILED)
    assert house.of(RunStatus)[0].run_id == first


async def test_status_of_an_older_run_leaves_the_open_one_as_the_last_word_on_each_topic(house: House) -> None:
    """Whoever joins late gets only the last sample of each topic, and must not take the old run for the open one."""
    first, second = await two_runs(house)
    alarms = house.alarms
    house.published.clear()
    await house.runner.publish_status(first)
    last = {type(entry): entry for entry in house.published}
    assert {RunStatus, RunConfiguration, StageStatus, ImageTaken, ImageIngested, JobState, Alarms} <= last.keys()
    assert {getattr(entry, "run_id", second) for entry in last.values()} == {second}
    assert last[Alarms] == alarms
    assert {entry.run_id for entry in house.of(RunStatus)} == {first, second}
    # What of the open run changes meanwhile comes after all of it, too.
    assert house.runner.progress().run_id == second


async def test_status_of_no_run_is_refused(house: House) -> None:
    with pytest.raises(BadInputError, match="There has been no run yet"):
        await house.runner.publish_status("")
    with pytest.raises(BadInputError, match=r"^There is no run 20200101-001; there has been no run yet\.$"):
        await house.runner.publish_status("20200101-001")
