# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stages run as soon as they may; a failure takes along exactly what needs it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsst.ts.comcamcalib.enums import StageKind, StageState
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.plan.plan import RunPlan, StagePlan
from lsst.ts.comcamcalib.plan.record import StageStatus
from lsst.ts.comcamcalib.run.scheduler import Scheduler
from lsst.ts.comcamcalib.stages.context import RunContext
from support.plans import make_config, make_plan
from support.records import FakeRecord
from support.services import Observatory
from support.world import World

ALL = {"do_defects": True, "do_ptc": True, "do_gain_from_flat_pairs": True}


class Play:
    """A scheduler whose stages end as the test says."""

    def __init__(self, fails: set[str] = frozenset(), plan: RunPlan | None = None, **options) -> None:
        self.record = FakeRecord()
        services = Observatory.of(World(make_config())).services
        self.context = RunContext(plan or make_plan(**options), services, self.record)
        self.fails = fails
        self.errors: dict[str, BaseException] = {}
        self.held: dict[str, asyncio.Event] = {}
        self.log: list[str] = []
        self.scheduler = Scheduler(self.context, dict.fromkeys(StageKind, self.stage))

    async def stage(self, stage: StagePlan, context: RunContext) -> str:
        self.log.append(f"{stage.name} begins")
        if stage.name in self.held:
            await self.held[stage.name].wait()
        else:
            await asyncio.sleep(0)
        self.log.append(f"{stage.name} ends")
        if stage.name in self.errors:
            raise self.errors[stage.name]
        if stage.name in self.fails:
            raise StageError("it broke")
        return "done"

    @property
    def states(self) -> dict[str, str]:
        return {entry.stage_name: entry.state.name for entry in self.record.of(StageStatus)}

    @property
    def reasons(self) -> dict[str, str]:
        return {entry.stage_name: entry.reason for entry in self.record.of(StageStatus)}

    def begun_before(self, first: str, second: str) -> bool:
        return self.log.index(f"{first} ends") < self.log.index(f"{second} begins")


async def test_all_stages_are_announced_then_run_and_nothing_fails() -> None:
    play = Play(**ALL)
    await play.scheduler.announce()
    assert set(play.states.values()) == {"PENDING"}
    assert await play.scheduler.run() == []
    assert set(play.states.values()) == {"SUCCEEDED"}
    for name in play.states:
        moves = [entry.state.name for entry in play.record.of(StageStatus) if entry.stage_name == name]
        assert moves == ["PENDING", "RUNNING", "SUCCEEDED"]


async def test_no_stage_starts_before_what_it_waits_for() -> None:
    play = Play(**ALL)
    await play.scheduler.run()
    for stage in play.context.plan.stages:
        for other in (*stage.needs, *stage.after):
            assert play.begun_before(other, stage.name)


async def test_darks_are_taken_while_the_biases_are_worked_on() -> None:
    play = Play()
    play.held["BIAS.GENERATE"] = asyncio.Event()
    running = asyncio.create_task(play.scheduler.run())
    await play.record.until(lambda record: play.states.get("FLAT.INGEST") == "SUCCEEDED")
    assert play.states["BIAS.GENERATE"] == "RUNNING"
    assert "DARK.GENERATE begins" not in play.log
    play.held["BIAS.GENERATE"].set()
    assert await running == []


async def test_ingest_runs_alongside_the_acquisition() -> None:
    play = Play(script_mode="BIAS")
    play.held["BIAS.ACQUIRE"] = asyncio.Event()
    running = asyncio.create_task(play.scheduler.run())
    await play.record.until(lambda record: play.states.get("BIAS.INGEST") == "SUCCEEDED")
    play.held["BIAS.ACQUIRE"].set()
    assert await running == []


async def test_failed_verification_skips_what_builds_on_it_and_the_rest_goes_on() -> None:
    play = Play({"DARK.VERIFY"}, speculate=False, **ALL)
    assert await play.scheduler.run() == ["DARK.VERIFY: it broke"]
    skipped = {name for name, state in play.states.items() if state == "SKIPPED"}
    assert skipped == {
        "DARK.CERTIFY",
        *(f"FLAT.{kind}" for kind in ("GENERATE", "VERIFY", "CERTIFY")),
        *(f"PTC.{kind}" for kind in ("GENERATE", "VERIFY", "CERTIFY")),
        *(f"GAIN.{kind}" for kind in ("GENERATE", "VERIFY")),
    }
    assert play.states["BIAS.CERTIFY"] == play.states["DEFECTS.CERTIFY"] == "SUCCEEDED"
    assert play.states["FLAT.INGEST"] == "SUCCEEDED"
    assert play.reasons["DARK.CERTIFY"] == "DARK.VERIFY, which it needs, is FAILED"
    assert play.reasons["FLAT.VERIFY"] == "FLAT.GENERATE, which it needs, is SKIPPED"


async def test_failed_acquisition_does_not_keep_the_next_type_from_the_camera() -> None:
    play = Play({"BIAS.ACQUIRE", "BIAS.INGEST"})
    await play.scheduler.run()
    assert play.states["DARK.ACQUIRE"] == play.states["FLAT.ACQUIRE"] == "SUCCEEDED"
    assert play.states["DARK.GENERATE"] == "SKIPPED"


async def test_stop_on_failure_takes_no_further_exposure() -> None:
    play = Play({"BIAS.GENERATE"}, on_failure="stop")
    play.held["DARK.ACQUIRE"] = asyncio.Event()
    running = asyncio.create_task(play.scheduler.run())
    await play.record.until(lambda record: play.states.get("BIAS.GENERATE") == "FAILED")
    play.held["DARK.ACQUIRE"].set()
    await running
    assert play.context.no_more_exposures == "BIAS.GENERATE failed and on_failure is stop"
    assert play.states["FLAT.ACQUIRE"] == play.states["FLAT.INGEST"] == "SKIPPED"
    assert play.reasons["FLAT.ACQUIRE"] == (
        "No further exposure is taken, because BIAS.GENERATE failed and on_failure is stop"
    )


async def test_unforeseen_error_fails_its_stage_only(caplog: pytest.LogCaptureFixture) -> None:
    play = Play()
    play.errors["DARK.GENERATE"] = KeyError("cpDark")
    failures = await play.scheduler.run()
    assert failures == ["DARK.GENERATE: Unforeseen KeyError: 'cpDark'. The CSC's log has the traceback"]
    assert play.states["BIAS.CERTIFY"] == "SUCCEEDED"
    assert "Traceback" in caplog.text


async def test_stage_that_is_cancelled_by_something_else_fails_and_does_not_hang_the_run() -> None:
    play = Play(script_mode="BIAS")
    play.errors["BIAS.GENERATE"] = asyncio.CancelledError()
    assert await play.scheduler.run() == ["BIAS.GENERATE: A connection that it needs was closed; look at the CSC's log"]
    assert play.states["BIAS.VERIFY"] == "SKIPPED"


async def test_cancelling_ends_the_stages_and_starts_no_more() -> None:
    play = Play()
    play.held["BIAS.ACQUIRE"] = asyncio.Event()
    running = asyncio.create_task(play.scheduler.run())
    await play.record.until(lambda record: play.states.get("BIAS.INGEST") == "SUCCEEDED")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await play.scheduler.settle(StageState.ABORTED, "Aborted by op")
    assert play.states.pop("BIAS.INGEST") == "SUCCEEDED"
    assert {state for name, state in play.states.items() if name != "BIAS.INGEST"} == {"ABORTED"}
    assert play.reasons["FLAT.CERTIFY"] == "Aborted by op"


async def test_stage_that_had_ended_when_the_run_was_cancelled_keeps_its_outcome() -> None:
    """It has ended all the same, and the truth has to be told."""
    play = Play({"BIAS.INGEST"}, script_mode="BIAS")

    async def finish_all_the_same(stage: StagePlan, context: RunContext) -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if stage.name == "BIAS.INGEST":
                raise StageError("it broke") from None
        return "done after all"

    play.scheduler = Scheduler(play.context, dict.fromkeys(StageKind, finish_all_the_same))
    running = asyncio.create_task(play.scheduler.run())
    await play.record.until(lambda record: play.states.get("BIAS.INGEST") == "RUNNING")
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await play.scheduler.settle(StageState.ABORTED, "Aborted")
    assert play.states["BIAS.ACQUIRE"] == "SUCCEEDED"
    assert play.reasons["BIAS.ACQUIRE"] == "done after all"
    assert play.states["BIAS.INGEST"] == "FAILED"
    assert play.states["BIAS.GENERATE"] == "ABORTED"


async def test_interrupted_stages_are_pending_again() -> None:
    play = Play(script_mode="BIAS")
    play.held["BIAS.ACQUIRE"] = asyncio.Event()
    running = asyncio.create_task(play.scheduler.run())
    await play.record.until(lambda record: play.states.get("BIAS.INGEST") == "SUCCEEDED")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await play.scheduler.settle(StageState.PENDING, "Interrupted")
    assert play.states["BIAS.ACQUIRE"] == "PENDING"
    assert play.states["BIAS.INGEST"] == "SUCCEEDED"


async def test_times_and_job_of_a_stage() -> None:
    play = Play({"BIAS.VERIFY"}, script_mode="BIAS")
    play.context.submitted_jobs += [("BIAS.GENERATE", "job-01"), ("BIAS.GENERATE", "job-02"), ("BIAS.VERIFY", "job-03")]
    await play.scheduler.run()
    last = {entry.stage_name: entry for entry in play.record.of(StageStatus)}
    assert last["BIAS.GENERATE"].job_id == "job-02"
    assert last["BIAS.VERIFY"].job_id == "job-03"
    assert 0 < last["BIAS.VERIFY"].timestamp_started <= last["BIAS.VERIFY"].timestamp_ended
    assert last["BIAS.CERTIFY"].timestamp_started == 0 < last["BIAS.CERTIFY"].timestamp_ended


NAMES = [stage.name for stage in make_plan(**ALL).stages]


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from(NAMES), max_size=4))
def test_failures_skip_exactly_their_dependents(fails: set[str]) -> None:
    async def check() -> None:
        play = Play(fails, **ALL)
        failures = await play.scheduler.run()
        expected: dict[str, str] = {}
        for stage in play.context.plan.stages:
            # An ingest that runs alongside an acquisition has begun before that could fail.
            broken = [name for name in stage.needs if expected[name] != "SUCCEEDED"]
            expected[stage.name] = "SKIPPED" if broken else "FAILED" if stage.name in fails else "SUCCEEDED"
        assert play.states == expected
        assert [text.split(":")[0] for text in failures] == [
            name for name, state in expected.items() if state == "FAILED"
        ]
        for name, state in expected.items():
            assert (state == "SKIPPED") == ("which it needs" in play.reasons[name])

    asyncio.run(check())
