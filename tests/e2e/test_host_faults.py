# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults of the machine of the CSC, by their real mechanism: its disk, signals, the clock."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lsst.ts import salobj
from lsst.ts.comcamcalib.enums import ErrorCode, RunState
from lsst.ts.comcamcalib.services.butler import ButlerService
from lsst.ts.comcamcalib.simulation.faults import Fault
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from support.host_faults import (
    CSC_WITH_A_CLOCK,
    certify_by_hand,
    damage,
    fill,
    locked,
    paused,
    read_only,
    small_disk,
)
from support.observatory import running_csc, running_csc_process
from support.operator import ENDED, Operator
from support.run import Site, SiteRun

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

BIAS = {"script_mode": "BIAS", "n_bias": 3}
# The checks before a run want 100 MB.
DISK_BYTES = 110 << 20
LOCK_S = 3.0
SLOW_JOB = Fault("worker", "slow", match={"pipeline": "cpBias"}, value=4.0)


@contextlib.asynccontextmanager
async def csc_with_journal(
    observatory: Observatory, operator: Operator, journal: Path, state: salobj.State = salobj.State.ENABLED
) -> AsyncIterator[Site]:
    """A CSC with its journal at another place."""
    config = observatory.work_directory / "config" / "ocs" / "ComCamCalib" / "v1" / "journal.yaml"
    config.write_text(yaml.safe_dump({"journal_path": str(journal)}))
    async with running_csc(initial_state=salobj.State.ENABLED, override="journal.yaml") as csc:
        assert csc.summary_state is state
        yield Site(observatory, operator, csc)


async def in_order(run: SiteRun) -> None:
    taken = [one.exposureId for one in run.samples("imageTaken")]
    assert len(taken) == len(set(taken)) == 3
    assert sorted(one.detector for one in await run.certified()) == list(range(9))


async def test_full_disk_stops_nothing_for_good_and_the_run_ends_when_there_is_room(
    observatory: Observatory, operator: Operator, tmp_path: Path
) -> None:
    observatory.world.faults.set([SLOW_JOB])
    with small_disk(tmp_path / "disk", DISK_BYTES) as disk:
        async with csc_with_journal(observatory, operator, disk / "journal.sqlite3") as site:
            run = await site.start(**BIAS)
            await run.hear("imageTaken")
            filling = fill(disk)
            await operator.hear("alarms", journalDegraded=True)
            filling.unlink()
            await operator.hear("alarms", journalDegraded=False)
            await run.ended(RunState.COMPLETED)
            await in_order(run)


async def test_read_only_journal_is_a_fault_with_a_sentence(
    observatory: Observatory, operator: Operator, tmp_path: Path
) -> None:
    folder = tmp_path / "journal"
    async with csc_with_journal(observatory, operator, folder / "journal.sqlite3"):
        pass
    with read_only(folder):
        async with csc_with_journal(observatory, operator, folder / "journal.sqlite3", salobj.State.FAULT):
            error = await operator.hear("errorCode", errorCode=ErrorCode.JOURNAL_UNUSABLE)
            assert str(folder) in error.errorReport


async def test_damaged_journal_is_a_fault_that_names_the_file_and_is_not_overwritten(
    observatory: Observatory, operator: Operator, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.sqlite3"
    async with csc_with_journal(observatory, operator, journal) as site:
        await site.complete(**BIAS)
    await asyncio.to_thread(damage, journal)
    damaged = journal.read_bytes()
    async with csc_with_journal(observatory, operator, journal, salobj.State.FAULT):
        error = await operator.hear("errorCode", errorCode=ErrorCode.JOURNAL_UNUSABLE)
        assert str(journal) in error.errorReport
    assert journal.read_bytes() == damaged


async def test_journal_that_hangs_for_some_seconds_is_waited_for(
    observatory: Observatory, operator: Operator, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.sqlite3"
    observatory.world.faults.set([SLOW_JOB])
    async with csc_with_journal(observatory, operator, journal) as site:
        run = await site.start(**BIAS)
        await run.hear("imageTaken")
        with locked(journal):
            await operator.hear("alarms", journalDegraded=True)
        await run.ended(RunState.COMPLETED)
        await in_order(run)


@pytest.mark.parametrize("call", ["read_back", "certify"], ids=["look-up", "certify"])
async def test_butler_whose_database_is_locked_for_some_seconds_is_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The lock begins when nothing but this call of the CSC needs the repository: no job runs, all files are in."""
    really: Callable[..., Awaitable[Any]] = getattr(ButlerService, call)
    waited_s: list[float] = []

    async def while_locked(*arguments: Any) -> Any:
        loop, lock = asyncio.get_running_loop(), contextlib.ExitStack()
        lock.enter_context(locked(site.observatory.repo / "gen3.sqlite3"))
        release, began_s = loop.call_later(LOCK_S, lock.close), loop.time()
        try:
            return await really(*arguments)
        finally:
            waited_s.append(loop.time() - began_s)
            release.cancel()
            lock.close()

    monkeypatch.setattr(ButlerService, call, while_locked)
    run = await site.start(**BIAS)
    await run.ended(RunState.COMPLETED)
    await in_order(run)
    assert max(waited_s) >= LOCK_S, "it had to wait for the lock"


async def test_what_somebody_certifies_during_the_run_is_replaced_and_that_is_named(site: Site) -> None:
    first = await site.complete(**BIAS)
    source = first.samples("certification")[-1].outputCollection
    site.observatory.world.faults.set([SLOW_JOB])
    run = await site.start(**BIAS)
    await run.hear("jobState", phase="executing")
    theirs = await asyncio.to_thread(
        certify_by_hand, site.observatory.repo, run.collection, source, "bias", "2026-01-01", "2027-06-01"
    )
    await run.ended(RunState.COMPLETED)
    there = sorted((one.detector, one.begin, one.end, one.dataset_id) for one in await run.certified())
    assert len(there) == 3 * 9, "what somebody certified stays valid before and after the range of the run"
    for before, ours, after in zip(there[::3], there[1::3], there[2::3], strict=True):
        assert before[0] == ours[0] == after[0]
        assert (before[1][:10], before[2], ours[2], after[2][:10]) == ("2026-01-01", ours[1], after[1], "2027-06-01")
        assert before[3] == after[3] in theirs and ours[3] not in theirs
    (published,) = run.samples("certification")
    assert "replace" in published.reason


async def failed_and_mended(site: Site, fault: contextlib.AbstractContextManager[object], cause: str) -> None:
    """Let something befall the repository while a job executes; when it is over, the run is resumed."""
    site.observatory.world.faults.set([SLOW_JOB])
    run = await site.start(**BIAS)
    await run.hear("jobState", phase="executing")
    with fault:
        ended = await run.ended(RunState.FAILED)
        assert "BIAS.GENERATE" in ended.reason
        assert cause in ended.reason
    assert len(run.samples("imageTaken")) == 3
    site.observatory.world.faults.set([])
    site.operator.forget()
    await site.operator.command("resumeCalibrationRun", runId=run.run_id, reason="it was repaired")
    await run.ended(RunState.COMPLETED)
    assert not run.samples("imageTaken"), "no frame is taken again"
    assert sorted(one.detector for one in await run.certified()) == list(range(9))


async def test_run_in_a_repository_that_is_read_only_for_a_while_says_so_and_is_resumed(site: Site) -> None:
    await failed_and_mended(site, read_only(site.observatory.repo), "readonly database")


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """A disk over a folder that is full for the time being, and has room afterwards."""
    filling = fill(folder)
    try:
        yield
    finally:
        filling.unlink()


async def test_run_whose_products_find_no_room_says_so_and_is_resumed(site: Site) -> None:
    with small_disk(site.observatory.repo / "u", DISK_BYTES) as products:
        await failed_and_mended(site, full_disk(products), "No space left on device")


@contextlib.asynccontextmanager
async def enabled_process(site: Site, log: Path, program: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
    """An ENABLED CSC in a process of its own."""
    more = {"program": program} if program else {}
    async with running_csc_process(log, "--state", "enabled", **more) as process:
        await site.operator.hear("summaryState", summaryState=salobj.State.ENABLED)
        yield process


async def start(site: Site) -> SiteRun:
    """Start a run, as often as it takes Butler to be loaded in a process that has just been enabled."""
    while True:
        try:
            return await site.start(**BIAS)
        except salobj.AckError as error:
            if "did not answer within" not in error.ackcmd.result:
                raise


async def resume(site: Site, run: SiteRun) -> None:
    """Resume a run, as often as a process takes that has just been enabled, or has just taken over the journal."""
    while True:
        try:
            await site.operator.command("resumeCalibrationRun", runId=run.run_id, reason="the first hangs")
            return
        except salobj.AckError as error:
            if "did not answer within" not in error.ackcmd.result and "is being read" not in error.ackcmd.result:
                raise


@pytest.fixture
def processes(observatory: Observatory, operator: Operator) -> Site:
    """An observatory and an operator; the test starts the CSC."""
    observatory.world.faults.set([SLOW_JOB])
    return Site(observatory, operator)


async def test_paused_csc_goes_on_where_it_was(processes: Site, tmp_path: Path) -> None:
    """For 20 s of real time; pauses of a minute and more are had in virtual time, in tests/nights."""
    async with enabled_process(processes, tmp_path / "csc.log") as process:
        run = await start(processes)
        await run.hear("jobState", phase="executing")
        with paused(process.pid):
            # Longer than its ownership of the journal lasts without renewal.
            await asyncio.sleep(20.0)
        await run.ended(RunState.COMPLETED)
        await in_order(run)


async def test_paused_csc_that_another_has_taken_over_from_says_so_and_does_nothing_more(
    processes: Site, tmp_path: Path
) -> None:
    operator = processes.operator
    async with enabled_process(processes, tmp_path / "first.log") as first:
        run = await start(processes)
        await run.hear("jobState", phase="executing")
        with contextlib.ExitStack() as pause:
            pause.enter_context(paused(first.pid))
            operator.forget()
            async with enabled_process(processes, tmp_path / "second.log"):
                found = await operator.hear("runState", runId=run.run_id, state=RunState.INTERRUPTED)
                assert "resumeCalibrationRun" in found.reason
                await resume(processes, run)
                await run.ended(RunState.COMPLETED)
                pause.close()
                lost = await operator.hear("errorCode", errorCode=ErrorCode.JOURNAL_LOST)
                assert "has taken it over" in lost.errorReport
                await operator.hear("summaryState", summaryState=salobj.State.FAULT)
    assert [one.state for one in operator.samples("runState", runId=run.run_id)][-1] == RunState.COMPLETED
    assert len({one.exposureId for one in run.samples("imageTaken")}) == 3
    assert sorted(one.detector for one in await run.certified()) == list(range(9))


async def test_clock_that_is_set_back_by_two_hours_changes_no_limit(processes: Site, tmp_path: Path) -> None:
    """Every salobj reader drops what seems to be older than the sample before, so a new client has to ask."""
    async with enabled_process(processes, tmp_path / "csc.log", CSC_WITH_A_CLOCK) as process:
        run = await start(processes)
        await run.hear("imageTaken")
        os.kill(process.pid, signal.SIGUSR1)
        async with salobj.Domain() as domain, Operator(domain) as late, asyncio.timeout(60.0):
            while True:
                status = json.loads((await late.command("status", runId=run.run_id)).result)
                if status["runState"] in ENDED:
                    break
                await asyncio.sleep(0.5)
        assert (status["runState"], status["imagesTaken"]) == (RunState.COMPLETED, 3)
        assert sorted(one.detector for one in await run.certified()) == list(range(9))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_run_of_a_csc_that_was_ended_is_resumed_by_the_next(
    processes: Site, tmp_path: Path, number: signal.Signals
) -> None:
    async with enabled_process(processes, tmp_path / "first.log") as process:
        run = await start(processes)
        await run.hear("jobState", phase="executing")
        process.send_signal(number)
        await asyncio.wait_for(process.wait(), 10.0)
    processes.operator.forget()
    async with enabled_process(processes, tmp_path / "second.log"):
        await run.hear("runState", state=RunState.INTERRUPTED)
        await processes.operator.command("resumeCalibrationRun", runId=run.run_id, reason="tried again")
        await run.ended(RunState.COMPLETED)
    assert sorted(one.detector for one in await run.certified()) == list(range(9))
