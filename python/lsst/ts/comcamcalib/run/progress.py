# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Progress and alarms, derived from a run's record at any time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ..clock import moment_tai
from ..enums import RunState, StageKind, StageState, Verdict
from ..plan.estimate import Work, fraction_done, remaining_s
from ..record.events import Alarms
from ..record.history import STAGE_ENDED, History
from .recorder import Recorder, Wait

__all__ = ["Progress", "alarms_of", "progress_of"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """The telemetry topic of this name; times in seconds."""

    run_id: str = ""
    state: int = 0
    activity: str = ""
    images_taken: int = 0
    images_ingested: int = 0
    images_expected: int = 0
    jobs_running: int = 0
    jobs_completed: int = 0
    jobs_expected: int = 0
    stages_completed: int = 0
    stages_total: int = 0
    fraction_complete: float = 0.0
    elapsed: float = 0.0
    remaining: float = 0.0


def progress_of(record: Recorder, now_s: float) -> Progress:
    """Derive a run's progress from its record.

    Parameters
    ----------
    record
        The record.
    now_s
        The time (TAI unix seconds).
    """
    history = record.history
    jobs = [job for job in history.jobs.values() if job.job_id]
    frames = [frame for frame in history.frames.values() if frame.exposure_id]
    fraction, remaining = _estimate(history, now_s)
    end = history.ended_s or now_s
    return Progress(
        run_id=history.run_id,
        state=int(history.state),
        activity=_activity(record),
        images_taken=len(frames),
        images_ingested=sum(1 for one in frames if one.complete),
        images_expected=max(history.plan.images_expected, len(frames)),
        jobs_running=sum(1 for job in jobs if job.running),
        jobs_completed=sum(1 for job in jobs if job.succeeded),
        jobs_expected=history.plan.jobs_expected,
        stages_completed=len(history.stages_in(StageState.SUCCEEDED)),
        stages_total=len(history.stages),
        fraction_complete=fraction,
        elapsed=end - history.started_s if history.started_s else 0.0,
        remaining=remaining,
    )


def _activity(record: Recorder) -> str:
    """Return one line with what each running stage is waiting for and until when, and which component has failed."""
    history = record.history
    if history.state is RunState.ABORTING:
        # All but the exposure in progress is cut short.
        exposing = {who: wait for who, wait in record.waits.items() if who.endswith(f".{StageKind.ACQUIRE.name}")}
        return "; ".join([history.reason, *_in_words(exposing)])
    if history.state is not RunState.RUNNING:
        return history.reason
    return "; ".join([*_in_words(record.waits), *(str(one) for one in record.unwell)])


def _in_words(waits: Mapping[str, Wait]) -> list[str]:
    parts = []
    for who, wait in waits.items():
        until = ""
        if wait.until:
            until = f" (until {moment_tai(wait.until):%H:%M:%S} TAI at the latest)"
        parts.append(f"{who}: {wait.for_what}{until}")
    return parts


def _estimate(history: History, now_s: float) -> tuple[float, float]:
    """Return the fraction of the work that is done, and the estimated seconds until the end."""
    if history.state is RunState.COMPLETED:
        return 1.0, 0.0
    work = _work(history, history.ended_s or now_s)
    going_on = history.state in (RunState.ACCEPTED, RunState.RUNNING)
    return fraction_done(history.plan, work), remaining_s(history.plan, work) if going_on else 0.0


def _work(history: History, now_s: float) -> Work:
    """Return how far a run is."""
    stages = history.stages
    succeeded = {name for name, stage in stages.items() if stage.state is StageState.SUCCEEDED}
    given_up = {name for name, stage in stages.items() if stage.state in STAGE_ENDED} - succeeded
    begun = {name: (stage.started_s, stage.ended_s) for name, stage in stages.items()}
    for plan in history.plan.stages:
        if plan.kind is StageKind.INGEST:
            taken = history.taken(plan.calib_type)
            all_taken = bool(taken) and plan.alongside in succeeded | given_up
            begun[plan.name] = (taken[-1].taken_s if all_taken else 0.0, stages[plan.name].ended_s)
        for label in (job.label for job in plan.jobs):
            if (job := history.job(label)) is None:
                continue
            begun[label] = (job.submitted_s, job.ended_s)
            if job.succeeded:
                succeeded.add(label)
    elapsed_s = {name: (ended or now_s) - started for name, (started, ended) in begun.items() if started}
    return Work(succeeded, given_up, elapsed_s)


def alarms_of(record: Recorder | None, backend_problem: str = "", withdrawal_problem: str = "") -> Alarms:
    """Derive the alarms from the latest run's record.

    Parameters
    ----------
    record
        The record; None if there is no run that matters to this process.
    backend_problem
        Why the services behind the OCPS count as unreachable; empty if they answer.
    withdrawal_problem
        What is being withdrawn and is not finished; empty if there is nothing.
    """
    if record is None:
        return Alarms(
            certification_failed=bool(withdrawal_problem),
            backend_unreachable=bool(backend_problem),
            reason=" ".join(filter(None, [withdrawal_problem, backend_problem])),
        )
    history = record.history
    failed = history.stages_in(StageState.FAILED)
    verification = [stage for stage in failed if stage.kind is StageKind.VERIFY]
    # A verdict may come before any job has run, if the first flats show that no good product can be made.
    early = [one for one in history.verdicts.values() if one.verdict is Verdict.FAILED and not one.job_id]
    certification = [stage for stage in failed if stage.kind is StageKind.CERTIFY]
    interrupted = history.state is RunState.INTERRUPTED
    reasons = [history.reason] if history.state in (RunState.FAILED, RunState.INTERRUPTED) else []
    reasons += [f"{stage.name}: {stage.reason}" for stage in (*verification, *certification)]
    reasons += [f"{one.calib_type.name}: {one.reason}" for one in early]
    journal_problem = record.lost or record.journal_problem
    reasons += [
        *record.doubts,
        *(str(one) for one in record.unwell),
        journal_problem,
        withdrawal_problem,
        backend_problem,
    ]
    undecided = bool(verification) and history.state in (RunState.RUNNING, RunState.FAILED)
    return Alarms(
        run_id=history.run_id,
        run_failed=history.state is RunState.FAILED,
        verification_failed=bool(verification or early),
        certification_failed=bool(certification or record.doubts or withdrawal_problem),
        backend_unreachable=bool(backend_problem),
        operator_decision_needed=undecided or interrupted,
        journal_degraded=bool(journal_problem),
        reason=_each_once(reasons),
    )


def _each_once(sentences: list[str]) -> str:
    """Join sentences, without those that an earlier one contains: the run's sentence contains those of its stages."""
    kept: list[str] = []
    for sentence in sentences:
        if sentence and not any(sentence in other for other in kept):
            kept.append(sentence)
    return " ".join(kept)
