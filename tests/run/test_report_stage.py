# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report at the end of a run: it is written however the run ends, and can't change how it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.enums import RunState, StageKind, StageState
from lsst.ts.comcamcalib.record.events import LargeFile, StageStatus
from support.gate import Gate
from support.house import House
from support.plans import make_config

pytestmark = pytest.mark.usefixtures("quick_looks")

BIAS = {"script_mode": "BIAS", "oods_timeout": 0.1}


def with_reports() -> CscConfig:
    return make_config(report={"directory": "/reports", "s3_instance": ""})


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = await House(with_reports(), tmp_path / "journal.sqlite").open()
    yield house
    await house.close()


def attempt(house: House) -> int:
    return [one for one in house.of(StageStatus) if one.stage_name == "REPORT"][-1].attempt


async def test_report_is_the_last_stage_and_its_files_are_published(house: House) -> None:
    await house.start(**BIAS)
    status = await house.ended()
    assert status.state is RunState.COMPLETED
    (request,) = house.observatory.reporter.requests
    # It is told how the run ends, before the run has ended.
    assert (request.run_id, request.attempt) == (status.run_id, 1)
    assert (request.state, request.reason) == (RunState.COMPLETED, status.reason)
    assert house.states["REPORT"] is StageState.SUCCEEDED
    assert house.reasons["REPORT"] == f"The report is at file:///reports/ComCamCalib-{status.run_id}.html"
    stages = house.of(StageStatus)
    begun = next(place for place, one in enumerate(stages) if (one.stage_name, one.state.name) == ("REPORT", "RUNNING"))
    others = {one.stage_name: one.state for one in stages[:begun] if one.stage_name != "REPORT"}
    assert set(others.values()) == {StageState.SUCCEEDED}
    assert {(one.stage_kind, one.calib_type) for one in stages if one.stage_name == "REPORT"} == {(StageKind.REPORT, 0)}
    assert [(one.mime_type, one.id) for one in house.of(LargeFile)] == [
        ("text/html", status.run_id),
        ("application/json", status.run_id),
    ]
    assert house.runner.progress().fraction_complete == 1.0


async def test_late_joiner_gets_the_files_again(house: House) -> None:
    await house.start(**BIAS)
    await house.ended()
    house.published.clear()
    snapshot = await house.runner.publish_status("")
    assert len(house.of(LargeFile)) == 2
    assert snapshot["stages"][-1]["stageName"] == "REPORT"


async def test_report_that_can_not_be_written_fails_nothing_else(house: House) -> None:
    house.observatory.reporter.error = "The directory of reports /reports can't be written (No space left on device)"
    await house.start(**BIAS)
    status = await house.ended()
    assert status.state is RunState.COMPLETED and status.reason.startswith("All stages succeeded; certified")
    assert house.states["REPORT"] is StageState.FAILED
    assert house.reasons["REPORT"] == (
        "The directory of reports /reports can't be written (No space left on device). The run is not affected; "
        f"write it with: comcamcalib report {status.run_id} --again"
    )
    assert not house.of(LargeFile)
    assert not house.alarms.run_failed


async def test_bug_in_the_report_fails_nothing_else(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(request: object) -> None:
        raise KeyError("median")

    monkeypatch.setattr(house.observatory.reporter, "write", broken)
    await house.start(**BIAS)
    assert (await house.ended()).state is RunState.COMPLETED
    assert house.states["REPORT"] is StageState.FAILED
    assert "Unforeseen KeyError" in house.reasons["REPORT"]


async def test_what_is_missing_in_a_report_is_said(house: House) -> None:
    house.observatory.reporter.remarks = ("The repository /repo could not be opened: it is locked.",)
    await house.start(**BIAS)
    await house.ended()
    assert house.reasons["REPORT"].endswith(".html. The repository /repo could not be opened: it is locked")


async def test_failed_run_has_a_report_and_a_new_one_when_it_was_resumed(house: House) -> None:
    house.observatory.jobs.failing["cpBias"] = "RuntimeError: boom"
    await house.start(**BIAS)
    status = await house.ended()
    assert status.state is RunState.FAILED and "boom" in status.reason
    assert "REPORT" not in status.reason
    assert [(one.state, one.attempt) for one in house.observatory.reporter.requests] == [(RunState.FAILED, 1)]
    house.observatory.jobs.failing.clear()
    result = await house.runner.resume("", "op@console")
    assert "REPORT" not in str(result["plan"])
    assert (await house.ended()).state is RunState.COMPLETED
    assert house.observatory.reporter.requests[-1].state is RunState.COMPLETED
    assert (attempt(house), house.states["REPORT"]) == (2, StageState.SUCCEEDED)


async def test_aborted_run_has_a_report_that_says_what_the_abort_found(house: House) -> None:
    jobs = house.observatory.jobs
    jobs.hold("cpBias")
    jobs.unstoppable.add("cpBias")
    await house.start(**BIAS)
    await jobs.until_executing("cpBias")
    await house.runner.abort("op@console")
    status = await house.ended()
    assert status.state is RunState.ABORTED
    (request,) = house.observatory.reporter.requests
    assert (request.state, request.reason) == (RunState.ABORTED, status.reason)
    assert "job-01" in request.reason
    assert house.states["REPORT"] is StageState.SUCCEEDED


async def test_interrupted_run_has_its_report_when_it_has_ended(house: House) -> None:
    await house.interrupted()
    assert house.observatory.reporter.requests == []
    assert house.states["REPORT"] is StageState.PENDING
    await house.runner.resume("", "op@console")
    assert (await house.ended()).state is RunState.COMPLETED
    assert len(house.observatory.reporter.requests) == 1
    assert attempt(house) == 1


async def test_interruption_while_the_report_is_written(house: House) -> None:
    gate = house.observatory.reporter.gate = Gate()
    await house.start(**BIAS)
    await gate.until_reached()
    await house.runner.disconnect("The CSC went to DISABLED")
    assert house.status.state is RunState.INTERRUPTED
    assert house.states["REPORT"] is StageState.PENDING
    house.runner.connect(house.observatory.services)
    gate.open()
    await house.runner.resume("", "op@console")
    assert (await house.ended()).state is RunState.COMPLETED
    assert house.states["REPORT"] is StageState.SUCCEEDED


async def test_abort_while_the_report_is_written(house: House) -> None:
    gate = house.observatory.reporter.gate = Gate()
    await house.start(**BIAS)
    await gate.until_reached()
    await house.runner.abort("op@console")
    gate.open()
    assert (await house.ended()).state is RunState.ABORTED
    assert [one.state for one in house.observatory.reporter.requests] == [RunState.COMPLETED, RunState.ABORTED]
    assert house.states["REPORT"] is StageState.SUCCEEDED


async def test_process_that_dies_while_the_report_is_written(house: House) -> None:
    gate = house.observatory.reporter.gate = Gate()
    await house.start(**BIAS)
    await gate.until_reached()
    after = await house.reborn()
    assert after.status.state is RunState.INTERRUPTED
    gate.open()
    await after.runner.resume("", "op@console")
    assert (await after.ended()).state is RunState.COMPLETED
    assert after.states["REPORT"] is StageState.SUCCEEDED
    assert after.observatory.jobs.labels == ["cpBias", "verifyBias"], "nothing but the report was done again"
    await after.close()


async def test_without_a_place_for_reports_there_is_no_stage(tmp_path: Path) -> None:
    house = await House(make_config(), tmp_path / "journal.sqlite").open()
    await house.start(**BIAS)
    assert (await house.ended()).state is RunState.COMPLETED
    assert "REPORT" not in house.states
    assert house.observatory.reporter.requests == []
    await house.close()
