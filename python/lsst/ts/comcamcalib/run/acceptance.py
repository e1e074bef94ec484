# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator may accept, and what follows from it; pure."""

from __future__ import annotations

import dataclasses

from ..enums import CalibType, StageKind, StageState
from ..errors import BadInputError
from ..plan.plan import StagePlan
from ..record.facts import VerdictAccepted, VerdictGiven
from ..record.history import STAGE_ENDED, History
from ..record.things import GOOD_VERDICTS, Stage
from ..stages.fate import SHARED, judged_meanwhile

__all__ = [
    "AcceptRequest",
    "acceptances",
    "calib_type_of",
    "goes_on",
    "is_verified",
    "kinds_after",
    "still_bad",
    "to_take_up",
]


@dataclasses.dataclass(frozen=True)
class AcceptRequest:
    """What an operator sends with acceptVerification.

    Parameters
    ----------
    run_id, calib_type
        Whose verdict; the type as a number.
    physical_filter
        Only the verdict on flats in this filter; empty: all.
    attempt
        That of the verdict that the operator has seen; 0: the one that stands.
    reason, who
        Why it is good enough, and who says so.
    """

    run_id: str
    calib_type: int
    physical_filter: str
    attempt: int
    reason: str
    who: str


def calib_type_of(number: int) -> CalibType:
    """Return a type of calibration.

    Raises
    ------
    BadInputError
        If there is no such type.
    """
    try:
        return CalibType(number)
    except ValueError:
        known = ", ".join(f"{int(one)} {one.name}" for one in CalibType)
        raise BadInputError([f"calibType: there is no type {number}; the types are {known}."]) from None


def acceptances(history: History, request: AcceptRequest) -> list[VerdictAccepted]:
    """Return the facts of an acceptance; none if it was recorded before, but what follows from it was not done.

    Raises
    ------
    BadInputError
        If there is no such verdict, it is good already, or another one stands than the operator has seen.
    """
    calib_type = calib_type_of(request.calib_type)
    stage = _judged_stage(history, calib_type)
    chosen = _chosen(history, calib_type, request.physical_filter)
    for one in chosen:
        if request.attempt not in (0, one.attempt):
            raise BadInputError(
                [
                    f"The verdict on {_named(one)} that stands is that of attempt {one.attempt} ({one.verdict.name}: "
                    f"{one.reason}), not that of attempt {request.attempt}. Look at it, and accept it if it is good "
                    "enough."
                ]
            )
    bad = [one for one in chosen if one.verdict not in GOOD_VERDICTS]
    if not bad and not (stage.state is StageState.FAILED and is_verified(history, calib_type)):
        others = [one for one in history.verdicts_of(calib_type) if one.verdict not in GOOD_VERDICTS]
        hint = f" {' and '.join(f'{_named(one)} is {one.verdict.name}' for one in others)}." if others else ""
        raise BadInputError(
            [f"{_named(chosen[0])} is {chosen[0].verdict.name} already, so there is nothing to accept.{hint}"]
        )
    if stale := [one for one in bad if one.attempt != stage.attempt]:
        raise BadInputError(
            [
                f"{stage.name} failed in attempt {stage.attempt} without a verdict ({stage.reason}); the one on "
                f"{_named(stale[0])} is that of attempt {stale[0].attempt}. Resume the run, and accept the next one."
            ]
        )
    return [
        VerdictAccepted(
            calib_type=calib_type,
            physical_filter=one.physical_filter,
            attempt=one.attempt,
            who=request.who,
            why=request.reason.strip(),
        )
        for one in bad
    ]


def _judged_stage(history: History, calib_type: CalibType) -> Stage:
    """Return the VERIFY stage of a product that has a verdict."""
    stage = history.stage(calib_type, StageKind.VERIFY)
    if stage is None or not history.verdicts_of(calib_type):
        judged = sorted({one.calib_type.name for one in history.verdicts.values()})
        raise BadInputError(
            [
                f"Run {history.run_id} has no verdict on {calib_type.name}; it has "
                f"{'verdicts on ' + ', '.join(judged) if judged else 'none at all'}."
            ]
        )
    if stage.state not in (StageState.FAILED, StageState.SUCCEEDED):
        what = "wait for its verdict" if stage.state in (StageState.PENDING, StageState.RUNNING) else "resume the run"
        raise BadInputError(
            [
                f"{stage.name} is {stage.state.name}{f' ({stage.reason})' if stage.reason else ''}: the verdict that "
                f"stands is not its own. {what.capitalize()}, and accept the verdict that it gives then."
            ]
        )
    return stage


def _chosen(history: History, calib_type: CalibType, physical_filter: str) -> list[VerdictGiven]:
    verdicts = history.verdicts_of(calib_type)
    filters = sorted(one.physical_filter for one in verdicts if one.physical_filter)
    if not physical_filter:
        return verdicts
    chosen = [one for one in verdicts if one.physical_filter == physical_filter]
    if not chosen:
        known = f"it has one in {', '.join(filters)}" if filters else "it has one for all; leave physicalFilter empty"
        raise BadInputError([f"physicalFilter: {calib_type.name} has no verdict in {physical_filter}; {known}."])
    return chosen


def _named(verdict: VerdictGiven) -> str:
    return verdict.calib_type.name + (f" in {verdict.physical_filter}" if verdict.physical_filter else "")


def goes_on(history: History, request: AcceptRequest) -> bool:
    """Whether no verdict on the product is bad any more after an acceptance, so that the run goes on.

    Raises
    ------
    BadInputError
        As `acceptances` raises it.
    """
    accepted = {one.physical_filter for one in acceptances(history, request)}
    bad = [one for one in history.verdicts_of(CalibType(request.calib_type)) if one.verdict not in GOOD_VERDICTS]
    return all(one.physical_filter in accepted for one in bad)


def still_bad(history: History, calib_type: CalibType) -> str:
    """Name the verdicts on a product that are not good; "" if all are."""
    bad = [one for one in history.verdicts_of(calib_type) if one.verdict not in GOOD_VERDICTS]
    return " and ".join(f"{_named(one)} is {one.verdict.name}" for one in bad)


def is_verified(history: History, calib_type: CalibType) -> bool:
    """Whether all verdicts of the latest attempt to verify a product are good, because they were accepted."""
    stage, verdicts = history.stage(calib_type, StageKind.VERIFY), history.verdicts_of(calib_type)
    accepted = any(key[0] is calib_type for key in history.accepted_verdicts)
    return (
        stage is not None
        and accepted
        and all(one.verdict in GOOD_VERDICTS and one.attempt == stage.attempt for one in verdicts)
    )


def kinds_after(history: History, request: AcceptRequest) -> frozenset[StageKind]:
    """Return the kinds of the stages that are done if a run goes on after an acceptance.

    A run that has ended does only what was skipped because of the verdict, and its report; but if a product waits for
    its frames to be judged, more may follow from the acceptance than can be seen here.
    """
    findings = (finding for verdict in history.verdicts.values() for finding in verdict.findings)
    if history.open or any(finding.rule == SHARED for finding in findings):
        return frozenset(StageKind)
    verified = f"{CalibType(request.calib_type).name}.{StageKind.VERIFY.name}"
    names = set(to_take_up(history, verified))
    return frozenset(stage.kind for stage in history.plan.stages if stage.name in names)


def to_take_up(history: History, verified: str = "") -> list[str]:
    """Name the stages that have no obstacle any more, or only one that goes with it.

    They were SKIPPED, or verify a product that could not be good as long as nobody knew whether its frames are.

    Parameters
    ----------
    history
        What has happened in the run.
    verified
        A VERIFY stage that is no obstacle, because its verdict is about to be accepted.
    """
    again = judged_meanwhile(history)
    skipped = {
        stage.name: stage
        for stage in history.plan.stages
        if _state(history, stage.name) is StageState.SKIPPED or stage.name in again
    }
    failed = [stage for stage in history.stages_in(StageState.FAILED) if stage.name != verified]
    stopped = history.plan.options.on_failure == "stop" and bool(failed)
    going_on = True
    while going_on:
        hopeless = [
            name
            for name, stage in skipped.items()
            if (stopped and stage.kind is StageKind.ACQUIRE) or _obstacles(history, stage) - {verified, *skipped}
        ]
        for name in hopeless:
            del skipped[name]
        going_on = bool(hopeless)
    return list(skipped)


def _obstacles(history: History, stage: StagePlan) -> set[str]:
    """Name the stages because of which another can't be done."""
    names = (*stage.needs, *stage.trusts, *((stage.alongside,) if stage.alongside else ()))
    return {
        name
        for name in names
        if _state(history, name) in STAGE_ENDED and _state(history, name) is not StageState.SUCCEEDED
    }


def _state(history: History, name: str) -> StageState:
    return history.stages[name].state
