# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the journal says of a run, its stages, jobs and exposures, as sections of the report; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ..clock import iso_utc
from ..enums import RunState, StageKind
from ..plan.estimate import Span, critical_chain
from ..plan.request import job_collection
from ..record import facts
from ..record.facts import Entry
from ..record.history import History
from ..record.things import Frame, Job, Stage
from . import data

__all__ = ["critical_stages", "exposures", "jobs", "run_section", "timeline"]


def run_section(history: History, entries: Sequence[Entry], state: RunState, reason: str) -> data.RunSection:
    """Return what was run, by whom and why, and how it ended."""
    plan, options = history.plan, history.plan.options
    end_s = history.ended_s or entries[-1].at
    return data.RunSection(
        run_id=history.run_id,
        state=state.name,
        reason=reason,
        day_obs=history.accepted.day_obs,
        script_mode=options.script_mode.value,
        instrument=plan.config.instrument.name,
        detectors=plan.detector_names,
        requested_by=history.accepted.requested_by,
        why=history.accepted.why or options.reason,
        program=options.program,
        test_case=options.test_case,
        note=options.note,
        accepted=iso_utc(history.accepted_s),
        started=iso_utc(history.started_s),
        ended=iso_utc(history.ended_s),
        duration_s=end_s - history.started_s if history.started_s else None,
        estimated_duration_s=plan.estimated_duration_s,
        repo=plan.config.repo,
        calib_collection=options.calib_collection,
        notices=plan.notices,
        decisions=tuple(_decisions(entries)),
    )


def _decisions(entries: Sequence[Entry]) -> Iterator[data.DecisionRow]:
    for entry in entries:
        fact = entry.fact
        if isinstance(fact, facts.Decision):
            yield data.DecisionRow(at=iso_utc(entry.at), what=fact.what, who=fact.who, why=fact.why)
        elif isinstance(fact, facts.VerdictAccepted):
            what = f"accept {fact.calib_type.name} {fact.physical_filter}".strip()
            yield data.DecisionRow(at=iso_utc(entry.at), what=what, who=fact.who, why=fact.why)
        elif isinstance(fact, facts.DecertifyIntended):
            numbers = ", ".join(map(str, fact.certifications))
            what = f"withdraw certification {numbers} from {fact.collection}"
            yield data.DecisionRow(at=iso_utc(entry.at), what=what, who=fact.who, why=fact.why)


def timeline(history: History, entries: Sequence[Entry]) -> tuple[tuple[data.StageRow, ...], tuple[str, ...]]:
    """Return the stages, and the names of all stages and jobs on the critical path."""
    chain = critical_chain(history.plan, dict(_spans(history, entries)))
    critical = set(critical_stages(chain, history))
    work = [stage for stage in history.stages.values() if stage.kind is not StageKind.REPORT]
    return tuple(_stage(one, history, one.name in critical) for one in work), chain


def critical_stages(chain: Iterable[str], history: History) -> tuple[str, ...]:
    """Return the critical path in stages only: one that is on it by some of its jobs is named once."""
    stages = {job.label: stage.name for stage in history.plan.stages for job in stage.jobs}
    return tuple(dict.fromkeys(stages.get(name, name) for name in chain))


def _spans(history: History, entries: Sequence[Entry]) -> Iterator[tuple[str, Span]]:
    now_s = history.ended_s or entries[-1].at
    for stage in history.stages.values():
        if stage.started_s and stage.kind is not StageKind.REPORT:
            yield stage.name, Span(stage.started_s, stage.ended_s or now_s)
        for job in history.jobs_of(stage.name):
            if job.submitted_s:
                yield job.label, Span(job.submitted_s, job.ended_s or now_s)


def _from_start(history: History) -> Callable[[float], float | None]:
    begin_s = history.started_s or history.accepted_s
    return lambda at_s: at_s - begin_s if at_s else None


def _stage(stage: Stage, history: History, critical: bool) -> data.StageRow:
    since = _from_start(history)
    return data.StageRow(
        name=stage.name,
        kind=stage.kind.name,
        state=stage.state.name,
        attempt=stage.attempt,
        reason=stage.reason,
        begin_s=since(stage.started_s),
        end_s=since(stage.ended_s) if stage.started_s else None,
        critical=critical,
    )


def jobs(history: History, critical: Sequence[str], now_s: float) -> tuple[data.JobRow, ...]:
    """Return all attempts at jobs, and the jobs that were one too many.

    Parameters
    ----------
    history
        Of the run.
    critical
        Stages and jobs that the end of the run depends on.
    now_s
        The time, for jobs that run (TAI unix seconds).
    """
    found = [_job(job, history, job.label in critical, now_s) for job in history.jobs.values()]
    strays = [_stray(stray, history, now_s) for stray in history.stray_jobs.values()]
    return (*found, *strays)


def _job(job: Job, history: History, critical: bool, now_s: float) -> data.JobRow:
    since, config = _from_start(history), history.plan.config
    latest = history.job(job.label)
    # While the run is interrupted, nobody follows the job.
    followed = history.open and history.state is not RunState.INTERRUPTED
    end_s = job.ended_s or (now_s if job.running and followed else 0.0)
    return data.JobRow(
        label=job.label,
        attempt=job.attempt,
        stage_name=job.stage_name,
        job_id=job.job_id,
        phase=job.phase,
        exit_code=job.exit_code,
        message=job.message,
        problem=job.absent or job.distrusted,
        submitted=iso_utc(job.submitted_s),
        begin_s=since(job.submitted_s),
        end_s=since(job.ended_s),
        duration_s=max(0.0, end_s - job.submitted_s) if job.submitted_s and end_s else None,
        critical=critical and latest is not None and latest.attempt == job.attempt,
        exposures=job.exposures,
        output_collection=job_collection(job.job_id) if job.job_id else "",
        results_url=f"{config.uws_url.rstrip('/')}/job/{job.job_id}/results" if job.job_id else "",
        log_path=config.log_path_pattern.format(job_id=job.job_id) if job.job_id else "",
    )


def _stray(stray: facts.JobStray, history: History, now_s: float) -> data.JobRow:
    job = Job(
        label="",
        attempt=0,
        stage_name=stray.stage_name,
        job_id=stray.job_id,
        phase=stray.phase,
        exit_code=stray.exit_code,
        message=stray.message,
        submitted_s=stray.submitted_s,
        ended_s=stray.ended_s,
        distrusted="It is one too many, was stopped, and nothing of it is used",
    )
    return _job(job, history, critical=False, now_s=now_s)


def exposures(history: History) -> tuple[data.ExposureRow, ...]:
    """Return all frames, and the exposures that were one too many."""
    expected = len(history.plan.options.detectors)
    strays = tuple(
        data.ExposureRow(
            calib_type=one.calib_type.name,
            index=0,
            exposure_id=one.exposure_id,
            obs_id=one.obs_id,
            exposure_time_s=None,
            taken="",
            fate="one too many",
            reason=one.reason,
            files=None,
            files_expected=expected,
            missing=(),
        )
        for one in history.stray_frames
    )
    return (*(_exposure(frame, history) for frame in history.frames.values()), *strays)


def _exposure(frame: Frame, history: History) -> data.ExposureRow:
    settled, names = frame.settled, history.plan.detector_names
    fate, reason = _fate(frame)
    return data.ExposureRow(
        calib_type=frame.calib_type.name,
        index=frame.index,
        exposure_id=frame.exposure_id or None,
        obs_id=frame.obs_id,
        exposure_time_s=frame.exposure_time_s,
        taken=iso_utc(frame.taken_s),
        fate=fate,
        reason=reason,
        files=None if settled is None else settled.detectors_ingested,
        files_expected=len(names),
        missing=() if settled is None else tuple(names.get(one, str(one)) for one in settled.missing),
    )


def _fate(frame: Frame) -> tuple[str, str]:
    settled = frame.settled.reason if frame.settled is not None else ""
    if frame.given_up:
        return "given up", frame.given_up
    if frame.absent:
        return "not taken", frame.absent
    if not frame.exposure_id:
        return "unknown", "it was commanded, and nothing is known of it"
    return ("discarded" if frame.discarded else "used"), settled
