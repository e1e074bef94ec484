# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run does not end, and no other begins, while Butler does not say whether something was certified."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from lsst.ts.comcamcalib.butler_data import CertifiedRange
from lsst.ts.comcamcalib.enums import CertificationState, RunState, StageState
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.record.events import Certification
from support.clock import patience_s
from support.house import House

pytestmark = pytest.mark.usefixtures("quick_looks")

BIAS = {"script_mode": "BIAS"}


@pytest.fixture
async def unsettled(stored_house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """Return the house with a run of which Butler has certified something, and does not answer any more."""
    monkeypatch.setattr("lsst.ts.comcamcalib.stages.certify.LOOK_INTERVAL_S", 0.01)
    repository = stored_house.observatory.repository
    repository.unreachable.add("certify")
    repository.errors |= dict.fromkeys(("read_back", "certified_ranges"), "the database is down")
    looked_again, original = asyncio.Event(), repository.certified_ranges

    async def look(*arguments: Any) -> list[CertifiedRange]:
        looked_again.set()
        return await original(*arguments)

    monkeypatch.setattr(repository, "certified_ranges", look)
    await stored_house.start(**BIAS)
    async with asyncio.timeout(patience_s()):
        await looked_again.wait()
    return stored_house


async def test_the_run_stays_open_and_says_so_until_it_is_settled(
    unsettled: House, caplog: pytest.LogCaptureFixture
) -> None:
    house, run_id = unsettled, unsettled.status.run_id
    assert house.status.state is RunState.RUNNING and house.states["BIAS.CERTIFY"] is StageState.RUNNING
    assert house.runner.progress().activity.startswith("BIAS.CERTIFY: Butler to ")
    await house.runner.update_alarms()
    alarms = house.runner.alarms
    assert alarms.certification_failed and not alarms.run_failed
    assert alarms.reason.startswith("BIAS.CERTIFY: ") and " in LSSTComCam/calib/daily" in alarms.reason
    assert alarms.reason.endswith("The run waits until Butler says it, or the run is aborted.")
    with pytest.raises(BadInputError) as refusal:
        await house.start(**BIAS)
    assert str(refusal.value) == (
        f"Run {run_id} is open (RUNNING); there can be only one. Wait for its end, or stop it with abort."
    )
    house.observatory.repository.errors.clear()
    assert (await house.ended()).state is RunState.COMPLETED
    await house.runner.update_alarms()
    assert not house.runner.alarms.certification_failed and not house.runner.alarms.reason
    logged = [one.getMessage() for when in ("setup", "call") for one in caplog.get_records(when)]
    assert [one.partition("certified in")[0] for one in logged if "LSSTComCam/calib/daily" in one] == [
        f"Run {run_id}, BIAS.CERTIFY: bias of job job-01 may have been ",
        f"Run {run_id}, BIAS.CERTIFY: Whether bias of job job-01 was ",
    ], "each sentence once"
    (told,) = house.of(Certification)
    assert (told.state, told.dataset_count) == (CertificationState.CERTIFIED, 3)
    assert "found in the collection afterwards" in told.reason
    assert house.observatory.repository.asked.count("certify") == 1
    house.observatory.repository.unreachable.clear()
    await house.start(**BIAS)
    assert (await house.ended()).state is RunState.COMPLETED


async def test_what_is_not_there_is_certified_then(unsettled: House) -> None:
    repository = unsettled.observatory.repository
    unsettled.observatory.world.certificates.clear()  # Butler has dropped it after all
    repository.unreachable.clear()
    repository.errors.clear()
    assert (await unsettled.ended()).state is RunState.COMPLETED
    assert repository.asked.count("certify") == 2 and len(unsettled.of(Certification)) == 1


async def test_a_resumed_stage_raises_no_alarm_of_the_attempt_before(unsettled: House) -> None:
    await unsettled.runner.disconnect("The CSC went to DISABLED")
    repository = unsettled.observatory.repository
    repository.errors.clear()
    run = unsettled.runner.run
    assert run is not None and not any(run.record._not_known.values())
    unsettled.runner.connect(unsettled.observatory.services)
    await unsettled.runner.resume("", "op")
    assert (await unsettled.ended()).state is RunState.COMPLETED


async def test_abort_ends_it_and_names_what_is_not_known(unsettled: House) -> None:
    await unsettled.runner.abort("op")
    assert (await unsettled.ended()).state is RunState.ABORTED
    assert "Not known: whether bias of u/ocps/job-01/run was certified in LSSTComCam/calib/daily" in (
        unsettled.status.reason
    )


async def test_killed_meanwhile_it_is_interrupted_and_settled_when_it_is_resumed(unsettled: House) -> None:
    after = await unsettled.reborn()
    assert after.status.state is RunState.INTERRUPTED
    with pytest.raises(BadInputError, match=r"is open \(INTERRUPTED\)"):
        await after.start(**BIAS)
    repository = after.observatory.repository
    repository.errors.clear()
    await after.runner.resume("", "op")
    assert (await after.ended()).state is RunState.COMPLETED
    assert repository.asked.count("certify") == 1 and len(after.of(Certification)) == 1
    await after.close()
