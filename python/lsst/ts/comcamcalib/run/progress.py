# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Progress and alarms, derived from a run's record at any time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from lsst.ts import utils

from ..enums import RunState, StageKind, StageState, Verdict
from ..plan.estimate import Work, fraction_done, remaining_s
from ..plan.plan import RunPlan
from ..plan.record import Alarms, ImageIngested, ImageTaken, JobState, RunStatus, StageStatus, VerificationResult
from .log import RunLog, Wait
from .states import STAGE_ENDED

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


def progress_of(log: RunLog, plan: RunPlan | None) -> Progress:
    """Derive a run's progress from its record.

    Parameters
    ----------
    log
        The record.
    plan
        The run's plan; None for a run of an earlier process, of which no estimate is made.
    """
    status = log.status
    jobs = log.of(JobState)
    stages = log.of(StageStatus)
    fraction, remaining = _estimate(log, plan)
    end = status.timestamp_ended or utils.current_tai()
    return Progress(
        run_id=status.run_id,
        state=int(status.state),
        activity=_activity(log),
        images_taken=len(log.of(ImageTaken)),
        images_ingested=sum(
            1 for image in log.of(ImageIngested) if image.detectors_ingested == image.detectors_expected
        ),
        images_expected=max(status.images_expected, len(log.of(ImageTaken))),
        jobs_running=sum(1 for job in jobs if not job.timestamp_ended),
        jobs_completed=sum(1 for job in jobs if job.timestamp_ended and job.exit_code == 0),
        jobs_expected=plan.jobs_expected if plan else len(jobs),
        stages_completed=len(log.stages_in(StageState.SUCCEEDED)),
        stages_total=len(stages),
        fraction_complete=fraction,
        elapsed=end - status.timestamp_started if status.timestamp_started else 0.0,
        remaining=remaining,
    )


def _activity(log: RunLog) -> str:
    """Return one line with what each running stage is waiting for and until when, and which component has failed."""
    status = log.status
    if status.state is RunState.ABORTING:
        # All but the exposure in progress is cut short.
        exposing = {who: wait for who, wait in log.waits.items() if who.endswith(f".{StageKind.ACQUIRE.name}")}
        return "; ".join([status.reason, *_in_words(exposing)])
    if status.state is not RunState.RUNNING:
        return status.reason
    return "; ".join([*_in_words(log.waits), *(str(one) for one in log.unwell)])


def _in_words(waits: Mapping[str, Wait]) -> list[str]:
    parts = []
    for who, wait in waits.items():
        until = ""
        if wait.until:
            until = f" (until {utils.astropy_time_from_tai_unix(wait.until).isot[11:19]} TAI at the latest)"
        parts.append(f"{who}: {wait.for_what}{until}")
    return parts


def _estimate(log: RunLog, plan: RunPlan | None) -> tuple[float, float]:
    """Return the fraction of the work that is done, and the estimated seconds until the end."""
    status = log.status
    if status.state is RunState.COMPLETED:
        return 1.0, 0.0
    if plan is None:
        return 0.0, 0.0
    work = _work(log, plan, status.timestamp_ended or utils.current_tai())
    fraction = fraction_done(plan, work)
    return fraction, remaining_s(plan, work) if status.state in (RunState.ACCEPTED, RunState.RUNNING) else 0.0


def _work(log: RunLog, plan: RunPlan, now: float) -> Work:
    """Return how far the run is."""
    stages = {stage.stage_name: stage for stage in log.of(StageStatus)}
    succeeded = {name for name, stage in stages.items() if stage.state is StageState.SUCCEEDED}
    given_up = {name for name, stage in stages.items() if stage.state in STAGE_ENDED} - succeeded
    last_frames = {image.image_type: image.timestamp_taken for image in log.of(ImageTaken)}
    begun = {name: (stage.timestamp_started, stage.timestamp_ended) for name, stage in stages.items()}
    for plan_of_stage in plan.stages:
        stage = stages[plan_of_stage.name]
        if stage.stage_kind is StageKind.INGEST:
            frames_taken = plan_of_stage.alongside in succeeded | given_up
            begun[stage.stage_name] = (
                last_frames.get(stage.calib_type, 0.0) if frames_taken else 0.0,
                stage.timestamp_ended,
            )
        states = [job for job in log.of(JobState) if job.stage_name == stage.stage_name]
        for job, state in zip(plan_of_stage.jobs, states, strict=False):
            begun[job.label] = (state.timestamp_submitted, state.timestamp_ended)
            if state.timestamp_ended and state.exit_code == 0:
                succeeded.add(job.label)
    elapsed_s = {name: (ended or now) - started for name, (started, ended) in begun.items() if started}
    return Work(succeeded, given_up, elapsed_s)


def alarms_of(log: RunLog | None, backend_problem: str = "") -> Alarms:
    """Derive the alarms from the latest run's record.

    Parameters
    ----------
    log
        The record; None if this process has had no run.
    backend_problem
        Why the services behind the OCPS count as unreachable; empty if they answer.
    """
    if log is None:
        return Alarms(backend_unreachable=bool(backend_problem), reason=backend_problem)
    status: RunStatus = log.status
    failed = log.stages_in(StageState.FAILED)
    verification = [stage for stage in failed if stage.stage_kind is StageKind.VERIFY]
    # A verdict may come before any job has run, if the first flats show that no good product can be made.
    early = [result for result in log.of(VerificationResult) if result.verdict is Verdict.FAILED and not result.job_id]
    certification = [stage for stage in failed if stage.stage_kind is StageKind.CERTIFY]
    reasons = [status.reason] if status.state is RunState.FAILED else []
    reasons += [f"{stage.stage_name}: {stage.reason}" for stage in (*verification, *certification)]
    reasons += [f"{result.calib_type.name}: {result.reason}" for result in early]
    reasons += [*(str(one) for one in log.unwell), log.journal_problem, backend_problem]
    return Alarms(
        run_id=status.run_id,
        run_failed=status.state is RunState.FAILED,
        verification_failed=bool(verification or early),
        certification_failed=bool(certification),
        backend_unreachable=bool(backend_problem),
        operator_decision_needed=bool(verification) and status.state in (RunState.RUNNING, RunState.FAILED),
        journal_degraded=bool(log.journal_problem),
        reason=_each_once(reasons),
    )


def _each_once(sentences: list[str]) -> str:
    """Join sentences, without those that an earlier one contains: the run's sentence contains those of its stages."""
    kept: list[str] = []
    for sentence in sentences:
        if sentence and not any(sentence in other for other in kept):
            kept.append(sentence)
    return " ".join(kept)
