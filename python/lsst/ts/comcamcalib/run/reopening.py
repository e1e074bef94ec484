# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be done again when a run goes on that had stopped, or of which a verdict was accepted."""

from __future__ import annotations

from ..enums import CalibType, RunState, StageKind, StageState
from ..plan.plan import REPORT_STAGE
from ..record.facts import Decision, StageMoved
from ..record.history import STAGE_ENDED, History
from ..record.things import Stage
from ..services.uws_job import Phase
from .acceptance import is_verified, to_take_up
from .moves import move_run, move_stage
from .recorder import Recorder

__all__ = ["reopen", "report_anew", "take_up"]


async def reopen(record: Recorder, who: str, why: str) -> None:
    """Let a run go on that was interrupted, failed or was aborted, and all that did not succeed be done again."""
    await move_run(record, RunState.RUNNING, f"Resumed by {who}" + (f": {why}" if why else ""))
    await record.note(Decision(what="resume", who=who, why=why))
    for stage in record.history.stages.values():
        if record.history.state is not RunState.RUNNING:
            return
        if (accepted := _accepted(record.history, stage)) is not None:
            await _succeed(record, accepted)
        elif stage.state in STAGE_ENDED and (stage.state is not StageState.SUCCEEDED or stage.kind is StageKind.REPORT):
            await move_stage(record, stage.name, StageState.PENDING, "The run was resumed")
        elif stage.state is StageState.PENDING and _was_aborted(record.history, stage):
            await record.note(
                StageMoved(
                    stage_name=stage.name,
                    attempt=stage.attempt + 1,
                    state=StageState.PENDING,
                    reason="The run was resumed",
                )
            )


async def take_up(record: Recorder, calib_type: CalibType) -> list[str]:
    """Let a VERIFY stage succeed and what was skipped because of it be done; return the names of these stages."""
    if record.history.state is not RunState.RUNNING:
        return []
    await _succeed(record, calib_type)
    await report_anew(record)
    names: list[str] = []
    # One by one, because meanwhile others may still be skipped that need one of these.
    while record.history.state is RunState.RUNNING and (skipped := to_take_up(record.history)):
        names.append(skipped[0])
        reason = f"The verdict on {calib_type.name} was accepted"
        await move_stage(record, skipped[0], StageState.PENDING, reason)
    return names


async def report_anew(record: Recorder) -> None:
    """Let the report be written anew, because the run goes on."""
    report = record.history.stages.get(REPORT_STAGE)
    if report is not None and report.state in STAGE_ENDED:
        await move_stage(record, REPORT_STAGE, StageState.PENDING, "The run goes on")


async def _succeed(record: Recorder, calib_type: CalibType) -> None:
    """Let a VERIFY stage succeed that failed, because its verdict was accepted."""
    reasons = [one.reason for one in record.history.verdicts_of(calib_type)]
    name = f"{calib_type.name}.{StageKind.VERIFY.name}"
    if record.history.stages[name].state is StageState.FAILED:
        await move_stage(record, name, StageState.SUCCEEDED, f"ACCEPTED_BY_OPERATOR: {'; '.join(reasons)}")


def _accepted(history: History, stage: Stage) -> CalibType | None:
    """Return the product of a VERIFY stage that failed, and whose verdict was accepted when the process ended."""
    failed = stage.kind is StageKind.VERIFY and stage.state is StageState.FAILED
    if failed and stage.calib_type is not None and is_verified(history, stage.calib_type):
        return stage.calib_type
    return None


def _was_aborted(history: History, stage: Stage) -> bool:
    """Whether an abort that was not finished had already aborted a job of a stage, which must be done again."""
    if not any(decision.what == "abort" for decision in history.decisions):
        return False
    jobs = [job for job in history.jobs_of(stage.name) if job.stage_attempt == stage.attempt]
    return any(job.ended_s and Phase.of(job.phase) is Phase.ABORTED for job in jobs)
