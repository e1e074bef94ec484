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
from lsst.ts.comcamcalib.enums import CalibType, StageKind, StageState
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.plan.plan import RunPlan, StagePlan
from lsst.ts.comcamcalib.record.facts import JobFound, JobIntended, ProductMade, StageMoved
from lsst.ts.comcamcalib.run.scheduler import Scheduler
from lsst.ts.comcamcalib.services.uws_job import Phase, UwsJob
from lsst.ts.comcamcalib.stages.context import RunContext
from support.plans import make_config, make_plan
from support.records import MemoryRecord
from support.services import Observatory
from support.world import World

ALL = {"do_defects": True, "do_ptc": True, "do_gain_from_flat_pairs": True}


class Play:
    """A scheduler whose stages end as the test says."""

    def __init__(self, fails: set[str] = frozenset(), plan: RunPlan | None = None, **options) -> None:
        self.record = MemoryRecord(plan or make_plan(**options))
        self.observatory = Observatory.of(World(make_config()))
        self.context = RunContext(self.record, self.observatory.services, self.record.clock)
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
        for job in stage.jobs if stage.kind is StageKind.GENERATE else ():
            await self.record.note(
                ProductMade(
                    label=job.label,
                    attempt=1,
                    job_id=job.label,
                    calib_type=stage.calib_type,
                    dataset_type="x",
                    run_collection="x",
                    datasets=(),
                )
            )
        return "done"

    @property
    def states(self) -> dict[str, str]:
        return {stage.name: stage.state.name for stage in self.record.history.stages.values()}

    @property
    def reasons(self) -> dict[str, str]:
        return {stage.name: stage.reason for stage in self.record.history.stages.values()}

    @property
    def failures(self) -> list[str]:
        return [f"{stage.name}: {stage.reason}" for stage in self.record.history.stages_in(StageState.FAILED)]

    async def run(self) -> list[str]:
        """Run all stages; return what failed."""
        await self.scheduler.run()
        return self.failures

    def begun_before(self, first: str, second: str) -> bool:
        return self.log.index(f"{first} ends") < self.log.index(f"{second} begins")


async def test_all_stages_run_once_and_nothing_fails() -> None:
    play = Play(**ALL)
    assert set(play.states.values()) == {"PENDING"}
    assert await play.run() == []
    assert set(play.states.values()) == {"SUCCEEDED"}
    for name in play.states:
        moves = [fact.state.name for fact in play.record.of(StageMoved) if fact.stage_name == name]
        assert moves == ["RUNNING", "SUCCEEDED"]


async def test_no_stage_starts_before_what_it_waits_for() -> None:
    play = Play(**ALL)
    await play.run()
    for stage in play.context.plan.stages:
        # A product begins with the first of its jobs that can; a verification waits before its verdict.
        for other in () if stage.jobs else (*stage.needs, *stage.after):
            assert play.begun_before(other, stage.name)
        first = [job for job in stage.jobs if job.needs_stages]
        assert not first or any(all(play.begun_before(name, stage.name) for name in job.needs_stages) for job in first)


async def test_product_of_several_jobs_begins_with_the_first_of_them_that_can() -> None:
    """The bootstrap of the defects' biases runs while the darks are taken."""
    play = Play(**ALL)
    held = play.held["DARK.ACQUIRE"] = asyncio.Event()
    running = asyncio.create_task(play.run())
    await play.record.until(lambda history: "DEFECTS.GENERATE begins" in play.log)
    assert play.states["DARK.ACQUIRE"] == "RUNNING"
    held.set()
    await running


async def test_next_product_is_made_while_its_base_is_verified() -> None:
    play = Play()
    held = play.held["BIAS.VERIFY"] = asyncio.Event()
    running = asyncio.create_task(play.run())
    await play.record.until(lambda history: play.states["FLAT.VERIFY"] == "SUCCEEDED")
    assert play.states["BIAS.VERIFY"] == "RUNNING"
    assert play.states["DARK.CERTIFY"] == play.states["FLAT.CERTIFY"] == "PENDING"
    held.set()
    assert await running == []
    assert play.begun_before("BIAS.VERIFY", "DARK.CERTIFY")


async def test_without_speculation_nothing_is_built_on_what_is_not_verified() -> None:
    play = Play(speculate=False)
    held = play.held["BIAS.VERIFY"] = asyncio.Event()
    running = asyncio.create_task(play.run())
    await play.record.until(lambda history: play.states["FLAT.INGEST"] == "SUCCEEDED")
    assert play.states["DARK.GENERATE"] == "PENDING"
    held.set()
    assert await running == []
    assert play.begun_before("BIAS.VERIFY", "DARK.GENERATE")


async def executing_darks(play: Play) -> asyncio.Task[list[str]]:
    """Let cpDark execute at the UWS while the biases are verified."""
    play.held["DARK.GENERATE"] = asyncio.Event()
    play.held["BIAS.VERIFY"] = asyncio.Event()
    play.fails = {"BIAS.VERIFY"}
    running = asyncio.create_task(play.run())
    await play.record.until(lambda history: "DARK.GENERATE begins" in play.log and "BIAS.VERIFY begins" in play.log)
    await play.record.note(
        JobIntended(
            label="cpDark",
            attempt=1,
            stage_name="DARK.GENERATE",
            stage_attempt=1,
            calib_type=CalibType.DARK,
            mark="m*",
            exposures=(),
            inputs=(),
            pipeline="p",
            data_query="q",
            config="c",
            output_dataset_types="dark,m*",
        )
    )
    return running


async def test_bad_verdict_stops_what_is_built_on_it_with_its_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    play, stopped = Play(), []
    running = await executing_darks(play)
    await play.record.note(JobFound(label="cpDark", attempt=1, job_id="job-09", submitted_s=1.8e9))

    async def abort(job_id: str, on_change: object) -> None:
        stopped.append(job_id)

    monkeypatch.setattr(play.observatory.jobs, "abort", abort)
    play.held["BIAS.VERIFY"].set()
    assert await running == ["BIAS.VERIFY: it broke"]
    assert stopped == ["job-09"]
    assert "DARK.GENERATE ends" not in play.log
    assert play.states["DARK.GENERATE"] == play.states["FLAT.GENERATE"] == "SKIPPED"
    assert play.reasons["DARK.GENERATE"] == "BIAS.VERIFY, which it is built on, is FAILED"
    assert play.states["FLAT.INGEST"] == "SUCCEEDED", "frames are good all the same"


async def test_job_of_a_dropped_stage_whose_id_is_still_to_come_is_stopped_when_it_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play, stopped = Play(), []
    running = await executing_darks(play)

    async def abort(job_id: str, on_change: object) -> None:
        stopped.append(job_id)

    monkeypatch.setattr(play.observatory.jobs, "abort", abort)
    monkeypatch.setattr(play.observatory.jobs, "is_submitting", lambda _mark: True)
    play.held["BIAS.VERIFY"].set()
    await play.record.until(lambda history: play.states["DARK.GENERATE"] == "SKIPPED")
    assert stopped == []
    await play.record.note(JobFound(label="cpDark", attempt=1, job_id="job-09", submitted_s=1.8e9))
    await running
    assert stopped == ["job-09"]


@pytest.mark.parametrize("appeared", [True, False])
async def test_job_of_a_dropped_stage_that_an_earlier_process_submitted_is_searched_for(
    appeared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    play, stopped = Play(), []
    running = await executing_darks(play)
    jobs = play.observatory.jobs

    async def find(mark: str, intended_s: float, limit_s: float) -> list[UwsJob]:
        return [UwsJob("job-09", "", Phase.EXECUTING, "executing", 0.0, 0.0, 0.0, "dark,m*", ())] if appeared else []

    async def abort(job_id: str, on_change: object) -> None:
        stopped.append(job_id)

    monkeypatch.setattr(jobs, "find", find)
    monkeypatch.setattr(jobs, "abort", abort)
    play.held["BIAS.VERIFY"].set()
    await running
    assert stopped == (["job-09"] if appeared else [])
    assert play.record.history.jobs["cpDark", 1].job_id == ("job-09" if appeared else "")
    assert set(jobs.late_jobs) == (set() if appeared else {"m*"}), "one that appears later is stopped then"


async def test_stage_in_progress_whose_prerequisite_fails_is_stopped() -> None:
    """The defects wait for the flats' bootstrap when it turns out that there will be no flats."""
    play = Play({"FLAT.INGEST"}, do_defects=True)
    play.held["DEFECTS.GENERATE"] = asyncio.Event()
    await play.run()
    assert play.reasons["DEFECTS.GENERATE"] == "FLAT.INGEST, which it needs, is FAILED"
    assert play.states["DEFECTS.GENERATE"] == play.states["DEFECTS.CERTIFY"] == "SKIPPED"
    assert play.states["DARK.CERTIFY"] == "SUCCEEDED"


async def test_resumed_run_does_only_what_has_not_succeeded() -> None:
    play = Play()
    for name in ("BIAS.ACQUIRE", "BIAS.INGEST"):
        play.record.move(name, StageState.RUNNING)
        play.record.move(name, StageState.SUCCEEDED)
    assert await play.run() == []
    assert not {"BIAS.ACQUIRE begins", "BIAS.INGEST begins"} & set(play.log)
    assert "DARK.ACQUIRE begins" in play.log
    assert set(play.states.values()) == {"SUCCEEDED"}


async def test_darks_are_taken_while_the_biases_are_worked_on() -> None:
    play = Play()
    play.held["BIAS.GENERATE"] = asyncio.Event()
    running = asyncio.create_task(play.run())
    await play.record.until(lambda record: play.states.get("FLAT.INGEST") == "SUCCEEDED")
    assert play.states["BIAS.GENERATE"] == "RUNNING"
    assert "DARK.GENERATE begins" not in play.log
    play.held["BIAS.GENERATE"].set()
    assert await running == []


async def test_ingest_runs_alongside_the_acquisition() -> None:
    play = Play(script_mode="BIAS")
    play.held["BIAS.ACQUIRE"] = asyncio.Event()
    running = asyncio.create_task(play.run())
    await play.record.until(lambda record: play.states.get("BIAS.INGEST") == "SUCCEEDED")
    play.held["BIAS.ACQUIRE"].set()
    assert await running == []


async def test_failed_verification_skips_what_builds_on_it_and_the_rest_goes_on() -> None:
    play = Play({"DARK.VERIFY"}, speculate=False, **ALL)
    assert await play.run() == ["DARK.VERIFY: it broke"]
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
    await play.run()
    assert play.states["DARK.ACQUIRE"] == play.states["FLAT.ACQUIRE"] == "SUCCEEDED"
    assert play.states["DARK.GENERATE"] == "SKIPPED"


async def test_stop_on_failure_takes_no_further_exposure() -> None:
    play = Play({"BIAS.GENERATE"}, on_failure="stop")
    play.held["DARK.ACQUIRE"] = asyncio.Event()
    running = asyncio.create_task(play.run())
    await play.record.until(lambda record: play.states.get("BIAS.GENERATE") == "FAILED")
    play.held["DARK.ACQUIRE"].set()
    await running
    assert play.record.history.no_more_exposures == "BIAS.GENERATE failed and on_failure is stop"
    assert play.states["FLAT.ACQUIRE"] == play.states["FLAT.INGEST"] == "SKIPPED"
    assert play.reasons["FLAT.ACQUIRE"] == (
        "No further exposure is taken, because BIAS.GENERATE failed and on_failure is stop"
    )


async def test_unforeseen_error_fails_its_stage_only(caplog: pytest.LogCaptureFixture) -> None:
    play = Play()
    play.errors["DARK.GENERATE"] = KeyError("cpDark")
    failures = await play.run()
    assert failures == ["DARK.GENERATE: Unforeseen KeyError: 'cpDark'. The CSC's log has the traceback"]
    assert play.states["BIAS.CERTIFY"] == "SUCCEEDED"
    assert "Traceback" in caplog.text


async def test_stage_that_is_cancelled_by_something_else_fails_and_does_not_hang_the_run() -> None:
    play = Play(script_mode="BIAS")
    play.errors["BIAS.GENERATE"] = asyncio.CancelledError()
    assert await play.run() == ["BIAS.GENERATE: A connection that it needs was closed; look at the CSC's log"]
    assert play.states["BIAS.VERIFY"] == "SKIPPED"


async def test_cancelling_ends_the_stages_and_starts_no_more() -> None:
    play = Play()
    play.held["BIAS.ACQUIRE"] = asyncio.Event()
    running = asyncio.create_task(play.run())
    await play.record.until(lambda record: play.states.get("BIAS.INGEST") == "SUCCEEDED")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await play.scheduler.settle(StageState.ABORTED, "Aborted by op")
    assert play.states.pop("BIAS.INGEST") == "SUCCEEDED"
    assert {state for name, state in play.states.items() if name != "BIAS.INGEST"} == {"ABORTED"}
    assert play.reasons["FLAT.CERTIFY"] == "Aborted by op"


async def test_stage_that_had_ended_when_the_run_was_cancelled_keeps_its_outcome() -> None:
    """It has ended all the same, and the truth has to be recorded."""
    play = Play({"BIAS.INGEST"}, script_mode="BIAS")

    async def finish_all_the_same(stage: StagePlan, context: RunContext) -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if stage.name == "BIAS.INGEST":
                raise StageError("it broke") from None
        return "done after all"

    play.scheduler = Scheduler(play.context, dict.fromkeys(StageKind, finish_all_the_same))
    running = asyncio.create_task(play.run())
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
    running = asyncio.create_task(play.run())
    await play.record.until(lambda record: play.states.get("BIAS.INGEST") == "SUCCEEDED")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await play.scheduler.settle(StageState.PENDING, "Interrupted")
    assert play.states["BIAS.ACQUIRE"] == "PENDING"
    assert play.states["BIAS.INGEST"] == "SUCCEEDED"


async def test_times_of_a_stage() -> None:
    play = Play({"BIAS.VERIFY"}, script_mode="BIAS")
    await play.run()
    stages = play.record.history.stages
    assert 0 < stages["BIAS.VERIFY"].started_s <= stages["BIAS.VERIFY"].ended_s
    assert stages["BIAS.CERTIFY"].started_s == 0 < stages["BIAS.CERTIFY"].ended_s


NAMES = [stage.name for stage in make_plan(**ALL).stages]


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from(NAMES), max_size=4), st.booleans())
def test_failures_skip_exactly_their_dependents(fails: set[str], speculate: bool) -> None:
    async def check() -> None:
        play = Play(fails, **ALL, speculate=speculate)
        failures = await play.run()
        for stage in play.context.plan.stages:
            state = play.states[stage.name]
            broken = [name for name in (*stage.needs, *stage.trusts) if play.states[name] != "SUCCEEDED"]
            assert state in ("SUCCEEDED", "FAILED", "SKIPPED")
            if state == "SKIPPED":
                assert broken
                assert " which it " in play.reasons[stage.name]
            else:
                assert (state == "FAILED") == (stage.name in fails)
            # A stage with jobs may have ended, or failed, before what its other jobs need.
            assert state == "SKIPPED" or stage.jobs or not set(broken) & set(stage.needs)
            if stage.kind is StageKind.CERTIFY and broken:
                assert state == "SKIPPED", "nothing is certified that is built on what is not good"
        assert [text.split(":")[0] for text in failures] == [
            name for name, state in play.states.items() if state == "FAILED"
        ]

    asyncio.run(check())
