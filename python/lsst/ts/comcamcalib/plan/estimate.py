# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a run will take, what determines that, and which job is the most urgent; pure.

The estimate goes through the same graph as the run: a job begins when the stages and jobs that it needs have succeeded
and fewer than ``max_jobs`` are at the UWS, the most urgent first. All times are seconds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping

from ..enums import StageKind
from .plan import REPORT_STAGE, RunPlan, StagePlan

__all__ = [
    "Schedule",
    "Span",
    "Work",
    "critical_chain",
    "durations",
    "fraction_done",
    "remaining_s",
    "schedule",
    "urgency",
]

WITHOUT_JOBS_S = 1.0
"""Duration of a stage without jobs, which reads or certifies some datasets in the repository (seconds). It is not zero,
because a run is not complete before its last certification."""

ALMOST_DONE = 0.95
"""What takes longer than estimated counts as done only up to this fraction, until it has ended."""


@dataclasses.dataclass(frozen=True)
class Span:
    """From when to when something is done, from the beginning of the run (seconds)."""

    begin_s: float
    end_s: float


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When everything in a plan will be done."""

    stages: Mapping[str, Span]
    """By stage name. A stage with jobs lasts from the begin of its first job to the end of its last."""
    jobs: Mapping[str, Span]
    """By label."""
    critical_path: tuple[str, ...]
    """Stages and jobs that determine when the run ends, one after the other; each begins when the one before it ends,
    because it needs it or takes its place at the UWS."""
    makespan_s: float
    """From the beginning of the run to its end."""


@dataclasses.dataclass(frozen=True)
class Work:
    """How far a run is; names are those of stages and the labels of jobs."""

    succeeded: Collection[str] = frozenset()
    """What has ended well; the jobs of a stage need not be named."""
    given_up: Collection[str] = frozenset()
    """What has ended in another way or will not be done any more, and with it what is left of a stage's jobs."""
    elapsed_s: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """For how long all that has begun and has not succeeded has been going on, or was until it ended; an ingest stage
    begins after the last exposure."""


@dataclasses.dataclass(frozen=True)
class _Step:
    """A job, or what a stage does beside its jobs."""

    name: str
    stage_name: str
    duration_s: float
    waits_for: tuple[str, ...]
    is_job: bool = False


def schedule(plan: RunPlan) -> Schedule:
    """Estimate when each stage and job of a plan begins and ends.

    Parameters
    ----------
    plan
        A plan; the ``estimates`` and ``max_jobs`` of its configuration are used.

    Returns
    -------
    schedule
        If nothing fails and each thing begins as soon as it may.
    """
    steps = list(_steps(plan))
    spans, path = _place(steps, plan.config.max_jobs)
    return Schedule(
        stages={stage.name: _stage_span(stage, spans) for stage in plan.stages}
        | {step.name: spans[step.name] for step in steps if step.name == REPORT_STAGE},
        jobs={step.name: spans[step.name] for step in steps if step.is_job},
        critical_path=tuple(name for name in path if spans[name].end_s > spans[name].begin_s),
        makespan_s=_end_s(spans, spans),
    )


def critical_chain(plan: RunPlan, spans: Mapping[str, Span]) -> tuple[str, ...]:
    """Return what determined when a run ended.

    Parameters
    ----------
    plan
        Of the run.
    spans
        When its stages and jobs really were done; those that were not are left out.

    Returns
    -------
    names
        Stages and jobs: each waited for the one before it, which of all that it waited for ended last.
    """
    delayed_by = {step.name: _last_of(step.waits_for, spans) for step in _steps(plan)}
    done = {name: span for name, span in spans.items() if name in delayed_by}
    return _chain(done, delayed_by)


def urgency(plan: RunPlan) -> dict[str, float]:
    """Return how long it takes at least from the begin of each job to the end of the run.

    Parameters
    ----------
    plan
        A plan.

    Returns
    -------
    urgency
        Seconds, by label. If not all jobs can run at once, those with the greatest number should begin first.
    """
    steps = list(_steps(plan))
    lengths = _lengths_to_the_end(steps)
    return {step.name: lengths[step.name] for step in steps if step.is_job}


def durations(plan: RunPlan) -> dict[str, float]:
    """Return the estimated duration of each job and of what each stage does beside its jobs.

    Returns
    -------
    durations
        Seconds, by stage name and job label. An ingest stage counts only what it needs after the last exposure.
    """
    return {step.name: step.duration_s for step in _steps(plan)}


def fraction_done(plan: RunPlan, work: Work) -> float:
    """Return which part of a run's work is done (0 to 1); only a run of which everything succeeded has 1."""
    steps = list(_steps(plan))
    total = sum(step.duration_s for step in steps)
    return sum(_done_s(step, work) for step in steps) / total if total else 0.0


def remaining_s(plan: RunPlan, work: Work) -> float:
    """Estimate how long a run that has begun will still take.

    Parameters
    ----------
    plan
        Of the run.
    work
        How far it is.

    Returns
    -------
    remaining
        Seconds from now.
    """
    left = [
        dataclasses.replace(
            step,
            duration_s=step.duration_s - _done_s(step, work),
            waits_for=() if step.is_job and step.name in work.elapsed_s else step.waits_for,
        )
        for step in _steps(plan)
        if not _is_among(step, work.succeeded) and not _is_among(step, work.given_up)
    ]
    spans, _ = _place(left, plan.config.max_jobs, work.elapsed_s)
    return _end_s(spans, spans)


def _is_among(step: _Step, names: Collection[str]) -> bool:
    return step.name in names or step.stage_name in names


def _done_s(step: _Step, work: Work) -> float:
    if _is_among(step, work.succeeded):
        return step.duration_s
    elapsed_s = max(work.elapsed_s.get(step.name, 0.0), 0.0)
    return min(elapsed_s, ALMOST_DONE * step.duration_s)


def _steps(plan: RunPlan) -> Iterator[_Step]:
    """Yield what is to be done, each step after those that it waits for."""
    job_s = plan.config.estimates.job_s
    for stage in plan.stages:
        for job in stage.jobs:
            yield _Step(job.label, stage.name, job_s, (*job.needs, *job.needs_stages), is_job=True)
        labels = [job.label for job in stage.jobs]
        yield _Step(stage.name, stage.name, _beside_jobs_s(stage, plan), (*labels, *stage.waits_for))
    if plan.report:
        all_else = tuple(stage.name for stage in plan.stages)
        yield _Step(REPORT_STAGE, REPORT_STAGE, plan.config.estimates.report_s, all_else)


def _beside_jobs_s(stage: StagePlan, plan: RunPlan) -> float:
    """Return the duration of what a stage does beside its jobs (seconds)."""
    estimates = plan.config.estimates
    if stage.kind is StageKind.ACQUIRE:
        sequence = plan.sequences[stage.calib_type]
        exposures_s = sum(frame.exposure_time_s + estimates.readout_s for frame in sequence.frames)
        return exposures_s + sequence.pause_s * (len(sequence.frames) - 1)
    if stage.kind is StageKind.INGEST:
        return estimates.ingest_s
    return 0.0 if stage.jobs else WITHOUT_JOBS_S


def _stage_span(stage: StagePlan, spans: Mapping[str, Span]) -> Span:
    if stage.alongside:
        begin_s = spans[stage.alongside].begin_s
    else:
        begin_s = min(spans[name].begin_s for name in [job.label for job in stage.jobs] or [stage.name])
    return Span(begin_s, spans[stage.name].end_s)


def _lengths_to_the_end(steps: list[_Step]) -> dict[str, float]:
    """Return the length of the longest chain of steps that begins with each (seconds)."""
    lengths: dict[str, float] = {}
    after: dict[str, float] = {}
    for step in reversed(steps):
        lengths[step.name] = step.duration_s + after.get(step.name, 0.0)
        for name in step.waits_for:
            after[name] = max(after.get(name, 0.0), lengths[step.name])
    return lengths


def _place(steps: list[_Step], max_jobs: int, begun: Collection[str] = ()) -> tuple[dict[str, Span], tuple[str, ...]]:
    """Give each step its time.

    Parameters
    ----------
    steps
        Each after those that it waits for; names that are not among them are not waited for.
    max_jobs
        Most jobs at once.
    begun
        Jobs that have a place at the UWS already.

    Returns
    -------
    spans
        By name of the step.
    critical_path
        Names of the steps of which each delayed the next, to the one that ends last.
    """
    lengths = _lengths_to_the_end(steps)
    left = {step.name: step for step in steps}
    spans: dict[str, Span] = {}
    delayed_by: dict[str, str] = {}
    last_jobs = [""] * max_jobs  # the last job at each place
    while left:
        ready = [step for step in left.values() if not any(name in left for name in step.waits_for)]
        without_job = [step for step in ready if not step.is_job]
        for step in without_job:
            spans[step.name] = _from(_end_s(step.waits_for, spans), step)
            delayed_by[step.name] = _last_of(step.waits_for, spans)
            del left[step.name]
        if without_job:
            continue
        # All that is ready are jobs, and no other can become ready before one of them has a place.
        before = min(last_jobs, key=lambda job: _end_s([job], spans))
        begin_s = max(_end_s([before], spans), min(_end_s(job.waits_for, spans) for job in ready))
        able = [job for job in ready if _end_s(job.waits_for, spans) <= begin_s]
        job = min(able, key=lambda one: (one.name not in begun, -lengths[one.name]))
        spans[job.name] = _from(begin_s, job)
        has_waited = _end_s(job.waits_for, spans) < begin_s
        delayed_by[job.name] = before if has_waited else _last_of(job.waits_for, spans)
        last_jobs[last_jobs.index(before)] = job.name
        del left[job.name]
    return spans, _chain(spans, delayed_by)


def _from(begin_s: float, step: _Step) -> Span:
    return Span(begin_s, begin_s + step.duration_s)


def _end_s(names: Iterable[str], spans: Mapping[str, Span]) -> float:
    """Return when the last of some steps ends; those without a time are over."""
    return max((spans[name].end_s for name in names if name in spans), default=0.0)


def _last_of(names: Iterable[str], spans: Mapping[str, Span]) -> str:
    """Return the step that ends last, "" if there is none."""
    return max((name for name in names if name in spans), key=lambda name: spans[name].end_s, default="")


def _chain(spans: Mapping[str, Span], delayed_by: Mapping[str, str]) -> tuple[str, ...]:
    """Return the chain of steps that ends with the last one."""
    chain: list[str] = []
    name = max(spans, key=lambda one: spans[one].end_s, default="")
    while name:
        chain.append(name)
        name = delayed_by[name]
    return tuple(reversed(chain))
