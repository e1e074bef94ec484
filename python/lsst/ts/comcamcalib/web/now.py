# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run and the CSC as the status page shows them, made of the history of a run; pure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping

from .. import __version__
from ..clock import iso_utc
from ..enums import StageState, Verdict
from ..findings import Finding, Outcome
from ..plan.estimate import Span, critical_chain, schedule
from ..plan.plan import RunPlan
from ..record import facts
from ..record.events import Alarms
from ..record.history import STAGE_ENDED, History
from ..record.things import Certification, Stage
from ..report import story
from ..run.progress import Progress
from ..run.recorder import Wait
from . import data

__all__ = ["NO_JOURNAL", "Seen", "now_document", "progress_section", "run_document", "wait_rows"]

NO_JOURNAL = "The journal of runs is not open"

# What a finding about a detector makes of it.
OUTCOMES: Mapping[Outcome, Verdict] = {
    Outcome.FAILED: Verdict.FAILED,
    Outcome.UNKNOWN: Verdict.UNKNOWN,
    Outcome.FAILURE: Verdict.PASSED_WITH_FAILURES,
}

# The names of the alarms, as people say them.
ALARMS: Mapping[str, str] = {
    "run_failed": "run failed",
    "verification_failed": "verification failed",
    "certification_failed": "certification failed",
    "backend_unreachable": "backend unreachable",
    "operator_decision_needed": "operator decision needed",
    "journal_degraded": "journal degraded",
}


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the page sees of the CSC at one moment; nothing in it changes any more, so that threads may read it."""

    at_s: float
    """TAI unix seconds."""
    state: str
    """Summary state."""
    journal_owned: bool
    connected: bool
    problem: str
    """Why the journal can't be used; empty if it can."""
    history: History | None = None
    progress: Progress | None = None
    waits: Mapping[str, Wait] = dataclasses.field(default_factory=dict)
    unwell: tuple[str, ...] = ()
    alarms: Alarms = dataclasses.field(default_factory=Alarms)


def now_document(seen: Seen) -> data.Now:
    """Return what happens now."""
    history = seen.history
    return data.Now(
        written=iso_utc(seen.at_s),
        csc=data.CscSection(
            state=seen.state,
            version=__version__,
            journal_owned=seen.journal_owned,
            connected=seen.connected,
            problems=(seen.problem,) if seen.problem else (),
        ),
        alarms=tuple(data.AlarmRow(name=words, on=getattr(seen.alarms, name)) for name, words in ALARMS.items()),
        alarm_reason=seen.alarms.reason,
        progress=progress_section(seen.progress),
        waits=wait_rows(seen.waits),
        unwell=seen.unwell,
        run=run_document(history, seen.at_s) if history is not None else None,
    )


def progress_section(progress: Progress | None) -> data.ProgressSection | None:
    """Return how far the run is; None if there is no run."""
    if progress is None or not progress.run_id:
        return None
    return data.ProgressSection(
        fraction=progress.fraction_complete,
        elapsed_s=progress.elapsed,
        remaining_s=progress.remaining,
        images_taken=progress.images_taken,
        images_ingested=progress.images_ingested,
        images_expected=progress.images_expected,
        jobs_running=progress.jobs_running,
        jobs_completed=progress.jobs_completed,
        jobs_expected=progress.jobs_expected,
        stages_completed=progress.stages_completed,
        stages_total=progress.stages_total,
    )


def wait_rows(waits: Mapping[str, Wait]) -> tuple[data.WaitRow, ...]:
    """Return what is done or waited for."""
    return tuple(data.WaitRow(stage=who, what=wait.for_what, until=iso_utc(wait.until)) for who, wait in waits.items())


def run_document(history: History, now_s: float) -> data.RunDocument:
    """Return a run.

    Parameters
    ----------
    history
        Of the run.
    now_s
        The time, for what has not ended (TAI unix seconds).
    """
    plan, options = history.plan, history.plan.options
    critical = critical_path(history, now_s)
    return data.RunDocument(
        run_id=history.run_id,
        state=history.state.name,
        reason=history.reason,
        script_mode=options.script_mode.value,
        requested_by=history.accepted.requested_by,
        why=history.accepted.why or options.reason,
        program=options.program,
        test_case=options.test_case,
        note=options.note,
        instrument=plan.config.instrument.name,
        detectors=plan.detector_names,
        repo=plan.config.repo,
        calib_collection=options.calib_collection,
        accepted=iso_utc(history.accepted_s),
        started=iso_utc(history.started_s),
        ended=iso_utc(history.ended_s),
        estimated_duration_s=plan.estimated_duration_s,
        notices=plan.notices,
        decisions=tuple(_decisions(history)),
        stages=tuple(_stages(history, critical, now_s)),
        critical_path=critical,
        jobs=story.jobs(history, critical, now_s),
        exposures=story.exposures(history),
        verdicts=tuple(_verdict(one, history) for one in history.verdicts.values()),
        certifications=tuple(map(_certification, history.certifications.values())),
        has_report=history.report is not None,
    )


def critical_path(history: History, now_s: float) -> tuple[str, ...]:
    """Return the stages and jobs that the end of the run depends on: as it was, or while it is open as estimated."""
    if history.open:
        return schedule(history.plan).critical_path
    spans = {one.name: Span(one.started_s, one.ended_s or now_s) for one in history.stages.values() if one.started_s}
    jobs = {job.label: Span(job.submitted_s, job.ended_s or now_s) for job in history.jobs.values() if job.submitted_s}
    return critical_chain(history.plan, spans | jobs)


def _decisions(history: History) -> Iterator[data.DecisionRow]:
    for one in history.decisions:
        yield data.DecisionRow(what=one.what, who=one.who, why=one.why)
    for accepted in history.accepted_verdicts.values():
        what = f"accept {accepted.calib_type.name} {accepted.physical_filter}".strip()
        yield data.DecisionRow(what=what, who=accepted.who, why=accepted.why)
    for withdrawal in history.withdrawals.values():
        yield data.DecisionRow(what="decertify", who=withdrawal.intent.who, why=withdrawal.intent.why)


def _stages(history: History, critical: tuple[str, ...], now_s: float) -> Iterator[data.StageNode]:
    needs = _needs(history.plan)
    of_jobs = {stage.name for stage in history.plan.stages for job in stage.jobs if job.label in critical}
    for stage in history.stages.values():
        yield data.StageNode(
            name=stage.name,
            calib_type=stage.calib_type.name if stage.calib_type is not None else "",
            kind=stage.kind.name,
            state=stage.state.name,
            attempt=stage.attempt,
            reason=stage.reason,
            needs=needs.get(stage.name, ()),
            critical=stage.name in critical or stage.name in of_jobs,
            started=iso_utc(stage.started_s),
            ended=iso_utc(stage.ended_s),
            duration_s=_duration_s(stage, history, now_s),
        )


def _needs(plan: RunPlan) -> dict[str, tuple[str, ...]]:
    """Return the stages that each waits for, its jobs included."""
    made_by = {job.label: stage.name for stage in plan.stages for job in stage.jobs}
    needs = {}
    for stage in plan.stages:
        of_jobs = [name for job in stage.jobs for name in (*job.needs_stages, *(made_by[label] for label in job.needs))]
        needs[stage.name] = tuple(name for name in dict.fromkeys((*stage.waits_for, *of_jobs)) if name != stage.name)
    return needs


def _duration_s(stage: Stage, history: History, now_s: float) -> float | None:
    if not stage.started_s:
        return None
    if stage.ended_s >= stage.started_s:
        return stage.ended_s - stage.started_s
    return None if stage.state in STAGE_ENDED | {StageState.PENDING} else (history.ended_s or now_s) - stage.started_s


def _verdict(given: facts.VerdictGiven, history: History) -> data.VerdictRow:
    accepted = history.accepted_verdicts.get((given.calib_type, given.physical_filter))
    return data.VerdictRow(
        calib_type=given.calib_type.name,
        physical_filter=given.physical_filter,
        verdict=given.verdict.name,
        reason=given.reason,
        attempt=given.attempt,
        accepted_by=accepted.who if accepted is not None else "",
        accepted_because=accepted.why if accepted is not None else "",
        detectors=tuple(_squares(given, history)),
    )


def _squares(given: facts.VerdictGiven, history: History) -> Iterator[data.DetectorSquare]:
    """Yield what the verdict says of each detector; of one of which it says nothing, nobody knows."""
    worst: dict[int, Finding] = {}
    for finding in given.findings:
        if finding.detector is not None and finding.outcome in OUTCOMES:
            before = worst.get(finding.detector)
            if before is None or finding.outcome > before.outcome:
                worst[finding.detector] = finding
    counted = {one.detector: one for one in given.detectors}
    # A product that is judged by its own values has no counts; all of it was judged if no detector is missing.
    all_judged = 0 < given.detectors_expected <= given.detectors_verified
    all_known = not given.detectors and all_judged and not given.findings_dropped
    for detector, name in history.plan.detector_names.items():
        found, counts = worst.get(detector), counted.get(detector)
        outcome, remark = _square(found, counts, known=all_known)
        if detector in given.left_out:
            remark = f"left out; {remark}" if remark else "left out"
        yield data.DetectorSquare(detector=detector, name=name, outcome=outcome.name, remark=remark)


def _square(found: Finding | None, counts: facts.DetectorVerdict | None, known: bool) -> tuple[Verdict, str]:
    """Return a detector's outcome, and a remark."""
    if found is not None:
        return OUTCOMES[found.outcome], _in_words(found)
    if counts is not None:
        if counts.tests_failed:
            return Verdict.PASSED_WITH_FAILURES, f"{counts.tests_failed} tests failed"
        return Verdict.PASSED, ""
    return (Verdict.PASSED, "") if known else (Verdict.UNKNOWN, "the verdict has nothing of it")


def _in_words(found: Finding) -> str:
    where = " ".join(filter(None, [found.quantity, found.amplifier]))
    if found.detail:
        return f"{where}: {found.detail}" if where else found.detail
    if math.isfinite(found.value) and math.isfinite(found.limit):
        return f"{where} is {found.value:.4g}, limit {found.limit:.4g} {found.unit}".strip()
    return f"{where} ({found.rule})" if where else found.rule


def _certification(one: Certification) -> data.CertificationRow:
    intent = one.intent
    outcome = "unknown" if one.outcome is None else "certified" if one.done else "not certified"
    reason = one.outcome.reason if one.outcome is not None else "Whether it was done is not known yet"
    if one.withdrawn is not None:
        outcome, reason = "withdrawn", one.withdrawn.words
    return data.CertificationRow(
        calib_type=intent.calib_type.name,
        dataset_type=intent.dataset_type,
        collection=intent.collection,
        outcome=outcome,
        datasets=len(intent.dataset_ids),
        validity_begin=intent.validity_begin,
        validity_end=intent.validity_end,
        reason=reason,
    )
