# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the facts of a run to its history; pure.

No order of facts breaks it: a fact about something unknown makes it known, or is passed over.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from ..enums import CalibType, RunState, StageKind, StageState, Verdict
from ..plan.plan import REPORT_STAGE, RunPlan
from . import facts
from .facts import Entry, Fact
from .history import OPEN_RUN_STATES, STAGE_ENDED, History
from .things import GOOD_VERDICTS, Certification, Frame, Job, Product, Stage, Stray, Withdrawal

__all__ = ["apply", "begin", "fold"]

Key = TypeVar("Key")
Value = TypeVar("Value")


def begin(entry: Entry) -> History:
    """Return the history of a run of which only the acceptance is known.

    Raises
    ------
    ValueError
        If the first fact is another one.
    """
    if not isinstance(entry.fact, facts.RunAccepted):
        raise ValueError(f"the first fact of a run is its acceptance, not {entry.fact.kind}")
    plan = entry.fact.plan
    return History(
        accepted=entry.fact,
        accepted_s=entry.at,
        seq=entry.seq,
        reason=". ".join(["The run was accepted", *(notice.rstrip(".") for notice in plan.notices)]),
        stages={stage.name: stage for stage in _stages(plan)},
    )


def _stages(plan: RunPlan) -> Iterator[Stage]:
    for stage in plan.stages:
        yield Stage(stage.name, stage.calib_type, stage.kind)
    if plan.report:
        yield Stage(REPORT_STAGE, None, StageKind.REPORT)


def apply(history: History, entry: Entry) -> History:
    """Return the history with one more fact."""
    return dataclasses.replace(_fold(entry.fact, history, entry.at), seq=entry.seq)


def fold(entries: Iterable[Entry]) -> History:
    """Return what follows from the facts of a run.

    Raises
    ------
    ValueError
        If there are none, or the first one is not the acceptance.
    """
    first, *rest = entries
    return functools.reduce(apply, rest, begin(first))


def _with(mapping: Mapping[Key, Value], key: Key, value: Value) -> dict[Key, Value]:
    return {**mapping, key: value}


# One function for each kind of fact: the history that follows from it


@functools.singledispatch
def _fold(fact: Fact, history: History, at: float) -> History:
    raise TypeError(f"Bug: the history does not know the fact {fact!r}")


@_fold.register
def _(_fact: facts.RunAccepted, history: History, _at: float) -> History:
    return history  # only the first one counts, and it began the history


@_fold.register
def _(fact: facts.RunMoved, history: History, at: float) -> History:
    begins = fact.state is RunState.RUNNING and not history.started_s
    return dataclasses.replace(
        history,
        state=fact.state,
        reason=fact.reason,
        started_s=at if begins else history.started_s,
        ended_s=0.0 if fact.state in OPEN_RUN_STATES else at,
    )


@_fold.register
def _(fact: facts.StageMoved, history: History, at: float) -> History:
    old = history.stages.get(fact.stage_name)
    if old is None:
        return history  # no stage of the plan
    again = fact.attempt != old.attempt
    new = dataclasses.replace(
        old,
        attempt=fact.attempt,
        state=fact.state,
        reason=fact.reason,
        started_s=at if fact.state is StageState.RUNNING else 0.0 if again else old.started_s,
        ended_s=at if fact.state in STAGE_ENDED else 0.0,
    )
    return dataclasses.replace(history, stages=_with(history.stages, fact.stage_name, new))


@_fold.register
def _(fact: facts.Decision, history: History, _at: float) -> History:
    return dataclasses.replace(history, decisions=(*history.decisions, fact))


def _frame(history: History, calib_type: CalibType, index: int, **changes: object) -> History:
    key = (calib_type, index)
    old = history.frames.get(key)
    if old is None:
        old = Frame(facts.FrameIntended(calib_type=calib_type, index=index, exposure_time_s=0.0))
    new = dataclasses.replace(old, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(history, frames=_with(history.frames, key, new))


@_fold.register
def _(fact: facts.FrameIntended, history: History, at: float) -> History:
    known = history.frames.get((fact.calib_type, fact.index))
    if known is not None and known.exposure_id:
        return history
    return _frame(history, fact.calib_type, fact.index, intent=fact, intended_s=at, absent="")


@_fold.register
def _(fact: facts.FrameTaken, history: History, _at: float) -> History:
    return _frame(
        history,
        fact.calib_type,
        fact.index,
        exposure_id=fact.exposure_id,
        obs_id=fact.obs_id,
        taken_s=fact.taken_s,
        found=fact.found,
        absent="",
    )


@_fold.register
def _(fact: facts.FrameAbsent, history: History, _at: float) -> History:
    return _frame(history, fact.calib_type, fact.index, absent=fact.reason or "it was not taken")


@_fold.register
def _(fact: facts.FrameSettled, history: History, _at: float) -> History:
    return _frame(history, fact.calib_type, fact.index, settled=fact)


@_fold.register
def _(fact: facts.FrameGivenUp, history: History, _at: float) -> History:
    stage = history.stage(fact.calib_type, StageKind.INGEST)
    attempt = stage.attempt if stage is not None else 1
    reason = fact.reason or "it was given up"
    return _frame(history, fact.calib_type, fact.index, given_up=reason, given_up_in=attempt)


@_fold.register
def _(fact: facts.FrameStray, history: History, _at: float) -> History:
    stray = Stray(fact.calib_type, fact.exposure_id, fact.obs_id, fact.reason)
    return dataclasses.replace(history, stray_frames=(*history.stray_frames, stray))


@_fold.register
def _(fact: facts.FramesBlamed, history: History, _at: float) -> History:
    blamed = {one: reason for one, reason in history.blamed.items() if one is not fact.calib_type}
    if fact.reason:
        blamed[fact.calib_type] = fact.reason
    return dataclasses.replace(history, blamed=blamed)


def _job(history: History, label: str, attempt: int, **changes: object) -> History:
    key = (label, attempt)
    old = history.jobs.get(key, Job(label, attempt))
    new = dataclasses.replace(old, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(history, jobs=_with(history.jobs, key, new))


@_fold.register
def _(fact: facts.JobIntended, history: History, at: float) -> History:
    return _job(
        history,
        fact.label,
        fact.attempt,
        stage_name=fact.stage_name,
        stage_attempt=fact.stage_attempt,
        calib_type=fact.calib_type,
        mark=fact.mark,
        exposures=fact.exposures,
        inputs=fact.inputs,
        intended_s=at,
    )


@_fold.register
def _(fact: facts.JobFound, history: History, _at: float) -> History:
    # It may be another job than was believed at first, so what was known of that one counts no more.
    return _job(
        history,
        fact.label,
        fact.attempt,
        job_id=fact.job_id,
        submitted_s=fact.submitted_s,
        phase="pending",
        exit_code=-1,
        message="",
        ended_s=0.0,
        absent="",
    )


@_fold.register
def _(fact: facts.JobMoved, history: History, _at: float) -> History:
    return _job(history, fact.label, fact.attempt, job_id=fact.job_id, phase=fact.phase)


@_fold.register
def _(fact: facts.JobEnded, history: History, _at: float) -> History:
    return _job(
        history,
        fact.label,
        fact.attempt,
        job_id=fact.job_id,
        phase=fact.phase,
        exit_code=fact.exit_code,
        message=fact.message,
        ended_s=fact.ended_s,
    )


@_fold.register
def _(fact: facts.JobAbsent, history: History, _at: float) -> History:
    return _job(history, fact.label, fact.attempt, absent=fact.reason or "there is none")


@_fold.register
def _(fact: facts.JobDistrusted, history: History, _at: float) -> History:
    return _job(history, fact.label, fact.attempt, distrusted=fact.reason or "its output can't be used")


@_fold.register
def _(fact: facts.JobStray, history: History, _at: float) -> History:
    return dataclasses.replace(history, stray_jobs=_with(history.stray_jobs, fact.job_id, fact))


@_fold.register
def _(fact: facts.ProductMade, history: History, _at: float) -> History:
    product = Product(fact.label, fact.calib_type, fact.dataset_type, fact.job_id, fact.run_collection, fact.datasets)
    return dataclasses.replace(history, made=_with(history.made, fact.label, product))


@_fold.register
def _(fact: facts.GainsMeasured, history: History, _at: float) -> History:
    return dataclasses.replace(history, gains=_with(history.gains, (fact.exposure_id, fact.detector), fact))


@_fold.register
def _(fact: facts.VerdictGiven, history: History, _at: float) -> History:
    # A new attempt judges the product anew, perhaps in other filters, so what an earlier one found stands no more.
    standing = {
        key: one
        for key, one in history.verdicts.items()
        # A verdict without a job is that of a first look, which the verification overrides.
        if one.calib_type is not fact.calib_type or (one.attempt == fact.attempt and one.job_id)
    }
    accepted = {key: one for key, one in history.accepted_verdicts.items() if key in standing}
    key = (fact.calib_type, fact.physical_filter)
    if key in accepted:  # what somebody has accepted stands until the next attempt
        fact = _accepted(fact, accepted[key])
    return dataclasses.replace(history, verdicts=_with(standing, key, fact), accepted_verdicts=accepted)


def _accepted(verdict: facts.VerdictGiven, acceptance: facts.VerdictAccepted) -> facts.VerdictGiven:
    """Return a verdict as it stands after somebody has accepted it."""
    reason = f"Accepted by {acceptance.who}: {acceptance.why}. It was {verdict.verdict.name}: {verdict.reason}"
    return verdict.model_copy(update={"verdict": Verdict.ACCEPTED_BY_OPERATOR, "reason": reason})


@_fold.register
def _(fact: facts.VerdictAccepted, history: History, _at: float) -> History:
    key = (fact.calib_type, fact.physical_filter)
    verdict = history.verdicts.get(key)
    if verdict is None or verdict.attempt != fact.attempt or verdict.verdict in GOOD_VERDICTS:
        return history  # another verdict stands by now
    return dataclasses.replace(
        history,
        verdicts=_with(history.verdicts, key, _accepted(verdict, fact)),
        accepted_verdicts=_with(history.accepted_verdicts, key, fact),
    )


@_fold.register
def _(fact: facts.Measured, history: History, _at: float) -> History:
    return dataclasses.replace(history, measured=_with(history.measured, (fact.calib_type, fact.physical_filter), fact))


@_fold.register
def _(fact: facts.CertifyIntended, history: History, at: float) -> History:
    certification = Certification(fact, at)
    return dataclasses.replace(history, certifications=_with(history.certifications, fact.number, certification))


def _concluded(fact: facts.Certified | facts.CertifyAbsent, history: History) -> History:
    known = history.certifications.get(fact.number)
    if known is None:
        return history  # nothing says what it is about
    new = dataclasses.replace(known, outcome=fact)
    return dataclasses.replace(history, certifications=_with(history.certifications, fact.number, new))


@_fold.register
def _(fact: facts.Certified, history: History, _at: float) -> History:
    return _concluded(fact, history)


@_fold.register
def _(fact: facts.CertifyAbsent, history: History, _at: float) -> History:
    return _concluded(fact, history)


@_fold.register
def _(fact: facts.DecertifyIntended, history: History, at: float) -> History:
    return dataclasses.replace(history, withdrawals=_with(history.withdrawals, fact.number, Withdrawal(fact, at)))


@_fold.register
def _(fact: facts.Decertified, history: History, _at: float) -> History:
    known = history.withdrawals.get(fact.number)
    if known is None:
        return history  # nothing says what it is about
    new = dataclasses.replace(known, outcome=fact)
    undone = set(known.intent.certifications)
    certifications = {
        number: dataclasses.replace(one, withdrawn=new) if number in undone else one
        for number, one in history.certifications.items()
    }
    types = dict.fromkeys(
        one.intent.calib_type.name for number, one in history.certifications.items() if number in undone
    )
    return dataclasses.replace(
        history,
        withdrawals=_with(history.withdrawals, fact.number, new),
        certifications=certifications,
        reason=f"{history.reason.rstrip('.')}. {', '.join(types) or 'What it certified'} was {new.words}",
    )


@_fold.register
def _(fact: facts.DecertifyAbsent, history: History, _at: float) -> History:
    known = history.withdrawals.get(fact.number)
    if known is None:
        return history
    new = dataclasses.replace(known, outcome=fact)
    return dataclasses.replace(history, withdrawals=_with(history.withdrawals, fact.number, new))


@_fold.register
def _(fact: facts.ReportWritten, history: History, _at: float) -> History:
    return dataclasses.replace(history, report=fact)
