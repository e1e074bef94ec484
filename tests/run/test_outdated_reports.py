# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""After a decision about a run that has ended, its report tells of it: also after a kill, and never at its cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from lsst.ts.comcamcalib.enums import CalibType, RunState, StageState
from lsst.ts.comcamcalib.record.events import LargeFile, RunStatus, StageStatus
from lsst.ts.comcamcalib.record.facts import Decertified, ReportWritten, VerdictAccepted
from lsst.ts.comcamcalib.run.acceptance import AcceptRequest
from lsst.ts.comcamcalib.run.decertification import DecertifyRequest
from support.gate import Gate
from support.house import House
from support.plans import make_config

pytestmark = pytest.mark.usefixtures("quick_looks")

BIAS = CalibType.BIAS
BAD = 12
OPTIONS: dict[str, Any] = {"script_mode": "BIAS", "oods_timeout": 0.1}


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A CSC that writes reports."""
    monkeypatch.setattr("lsst.ts.comcamcalib.run.outdated_reports.RETRY_INTERVAL_S", 0.01)
    config = make_config(report={"directory": "/reports", "s3_instance": ""})
    house = await House(config, tmp_path / "journal.sqlite").open()
    yield house
    await house.close()


async def completed(house: House, **options: Any) -> str:
    run_id = await house.start(**{**OPTIONS, **options})
    assert (await house.ended()).state is RunState.COMPLETED
    return run_id


async def decertify(house: House, run_id: str, calib_type: int = 0) -> str:
    request = DecertifyRequest(run_id, calib_type, "a crack in the window", "op@console")
    return (await house.runner.decisions.decertify(request))["plan"]


async def with_two_bad_verdicts(house: House) -> str:
    """Return a run that does not go on if one of its verdicts is accepted, and so has no other end with a report."""
    house.observatory.world.bad_amplifiers["FLAT", 0] = BAD
    run_id = await house.start(**OPTIONS | {"script_mode": "BIAS_DARK_FLAT"})
    assert (await house.ended()).state is RunState.FAILED
    run = house.runner.run
    assert run is not None
    given = run.history.verdicts[CalibType.FLAT, "r_03"]
    await run.record.note(given.model_copy(update={"physical_filter": "i_06"}))
    return run_id


async def accept_one(house: House, run_id: str) -> str:
    request = AcceptRequest(run_id, CalibType.FLAT, "r_03", 0, "good", "op@console")
    return (await house.runner.decisions.accept(request))["plan"]


async def at_rest(house: House) -> None:
    """Wait until no report is outdated any more, or could not be written."""
    await asyncio.wait([house.runner.decisions.reports.task], timeout=20)
    assert house.runner.decisions.reports.task.done()


async def reports(house: House, run_id: str) -> list[ReportWritten]:
    return [one.fact for one in await house.journal.read(run_id) if isinstance(one.fact, ReportWritten)]


async def test_after_decertify_the_report_is_written_anew_and_told(house: House) -> None:
    run_id = await completed(house)
    house.published.clear()
    await decertify(house, run_id)
    await at_rest(house)
    first, second = house.observatory.reporter.requests
    assert (second.run_id, second.attempt, second.state) == (run_id, first.attempt, RunState.COMPLETED)
    assert second.reason == f"{first.reason}. BIAS was withdrawn by op@console: a crack in the window"
    assert len(await reports(house, run_id)) == 2
    assert [(one.id, one.mime_type) for one in house.of(LargeFile)] == [
        (run_id, "text/html"),
        (run_id, "application/json"),
    ]
    assert not house.of(StageStatus), "the run has ended, and its stages stay as they are"


async def test_after_a_verdict_was_accepted_and_another_is_still_bad(house: House) -> None:
    run_id = await with_two_bad_verdicts(house)
    assert "is FAILED still" in await accept_one(house, run_id)
    await at_rest(house)
    assert [one.state for one in house.observatory.reporter.requests] == [RunState.FAILED] * 2
    assert len(await reports(house, run_id)) == 2


async def test_a_run_that_goes_on_writes_its_own(house: House) -> None:
    house.observatory.world.bad_amplifiers["BIAS", 0] = BAD
    run_id = await house.start(**OPTIONS)
    await house.ended()
    await house.runner.decisions.accept(AcceptRequest(run_id, BIAS, "", 0, "good", "op@console"))
    assert (await house.ended()).state is RunState.COMPLETED
    await at_rest(house)
    assert [one.state for one in house.observatory.reporter.requests] == [RunState.FAILED, RunState.COMPLETED]
    facts = [one.fact for one in await house.journal.read(run_id)]
    accepted = next(place for place, one in enumerate(facts) if isinstance(one, VerdictAccepted))
    assert sum(isinstance(one, ReportWritten) for one in facts[accepted:]) == 1


async def test_a_report_that_can_not_be_written_costs_nothing_but_itself(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = await completed(house)
    house.observatory.reporter.error = "The directory of reports /reports can't be written (No space left on device)"
    plan = await decertify(house, run_id)
    assert plan.startswith("BIAS: 3 datasets are out of ")
    await at_rest(house)
    assert (
        f"The report of run {run_id} does not have what was decided since: The directory of reports /reports can't be "
        f"written (No space left on device). Write it with: comcamcalib report {run_id} --again" in caplog.text
    )
    assert len(await reports(house, run_id)) == 1
    assert house.status.state is RunState.COMPLETED and house.states["REPORT"] is StageState.SUCCEEDED
    house.observatory.reporter.error = ""
    await completed(house)


async def test_a_bug_in_it_costs_nothing_but_itself(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = await completed(house), await completed(house)

    async def broken(request: object) -> None:
        raise KeyError("median")

    with monkeypatch.context() as patch:
        patch.setattr(house.observatory.reporter, "write", broken)
        await decertify(house, second)
        await at_rest(house)
    await decertify(house, first)
    await at_rest(house)
    assert [len(await reports(house, one)) for one in (first, second)] == [2, 1]


async def test_of_an_older_run_while_the_next_one_is_going_on(house: House) -> None:
    older, newer = await completed(house), await completed(house)
    await decertify(house, newer)
    await at_rest(house)
    gate = house.observatory.reporter.gate = Gate()
    await decertify(house, older)
    await gate.until_reached()
    jobs = house.observatory.jobs
    held = jobs.hold("cpBias")
    going_on = await house.start(**OPTIONS)
    await jobs.until_executing("cpBias")
    house.observatory.reporter.gate = None
    gate.open()
    await at_rest(house)
    assert len(await reports(house, older)) == 2
    assert house.of(RunStatus)[-1].run_id == going_on, "a client that joins late hears of the run that is going on"
    held.set()
    assert (await house.ended()).state is RunState.COMPLETED


async def test_what_is_decided_while_it_is_written_is_in_it_all_the_same(house: House) -> None:
    run_id = await completed(house, script_mode="BIAS_DARK")
    gate = house.observatory.reporter.gate = Gate()
    await decertify(house, run_id, CalibType.DARK)
    await gate.until_reached()
    house.observatory.reporter.gate = None
    await decertify(house, run_id, BIAS)
    gate.open()
    await at_rest(house)
    assert "BIAS was withdrawn" in house.observatory.reporter.requests[-1].reason
    facts = [one.fact for one in await house.journal.read(run_id)]
    assert [type(one) for one in facts if isinstance(one, Decertified | ReportWritten)] == [
        *(ReportWritten, Decertified, Decertified, ReportWritten)
    ], "the one without the second decision is not told"


async def test_the_run_is_resumed_while_it_is_written(house: House) -> None:
    house.observatory.jobs.failing["verifyDark"] = "RuntimeError: boom"
    run_id = await house.start(**OPTIONS | {"script_mode": "BIAS_DARK"})
    assert (await house.ended()).state is RunState.FAILED
    gate = house.observatory.reporter.gate = Gate()
    await decertify(house, run_id)
    await gate.until_reached()
    house.observatory.reporter.gate = None
    house.observatory.jobs.failing.clear()
    await house.runner.resume(run_id, "op")
    gate.open()
    await at_rest(house)
    await house.ended()
    written = await reports(house, run_id)
    assert [one.attempt for one in written] == [1, 2]


async def test_a_command_in_progress_is_not_disturbed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    older, newer = await completed(house), await completed(house)
    gate = house.observatory.reporter.gate = Gate()
    await decertify(house, newer)
    await gate.until_reached()
    looks = house.observatory.repository.gates["look_withdrawal"] = Gate()
    withdrawing = asyncio.create_task(decertify(house, older))
    await looks.until_reached()
    house.observatory.reporter.gate = None
    gate.open()
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(await reports(house, newer)) == 1, "it waits for the command"
    looks.open()
    assert (await withdrawing).startswith("BIAS: ")
    await at_rest(house)
    assert [len(await reports(house, one)) for one in (older, newer)] == [2, 2]


async def test_leaving_enabled_while_it_is_written(house: House) -> None:
    run_id = await completed(house)
    gate = house.observatory.reporter.gate = Gate()
    await decertify(house, run_id)
    await gate.until_reached()
    await house.runner.disconnect("The CSC went to DISABLED")
    assert house.runner.decisions.reports.task.done() and len(await reports(house, run_id)) == 1
    house.observatory.reporter.gate = None
    house.runner.connect(house.observatory.services)
    await at_rest(house)
    assert len(await reports(house, run_id)) == 2


@pytest.mark.parametrize(("ended", "decide"), [(completed, decertify), (with_two_bad_verdicts, accept_one)])
async def test_killed_before_it_was_written_the_next_process_writes_it(
    house: House, ended: Callable[[House], Awaitable[str]], decide: Callable[[House, str], Awaitable[str]]
) -> None:
    run_id = await ended(house)
    gate = house.observatory.reporter.gate = Gate()
    await decide(house, run_id)
    await gate.until_reached()
    house.observatory.reporter.gate = None
    after = await house.reborn()
    await at_rest(after)
    assert len(await reports(after, run_id)) == 2
    last = await after.reborn()
    await at_rest(last)
    assert len(await reports(last, run_id)) == 2, "once"
    await last.close()


async def test_without_a_place_for_reports_nothing_is_written(tmp_path: Path) -> None:
    house = await House(make_config(), tmp_path / "other.sqlite").open()
    run_id = await completed(house)
    await decertify(house, run_id)
    await at_rest(house)
    after = await house.reborn()
    await at_rest(after)
    assert after.observatory.reporter.requests == []
    await after.close()
