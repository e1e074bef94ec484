# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from the facts about the run itself, its stages, its report and who decided."""

from __future__ import annotations

import dataclasses

from ...enums import RunState, StageState
from .. import facts
from ..history import OPEN_RUN_STATES, STAGE_ENDED, History
from .dispatch import after, with_item


@after.register
def _(_fact: facts.RunAccepted, history: History, _at: float) -> History:
    return history  # only the first one counts, and it began the history


@after.register
def _(fact: facts.RunMoved, history: History, at: float) -> History:
    begins = fact.state is RunState.RUNNING and not history.started_s
    return dataclasses.replace(
        history,
        state=fact.state,
        reason=fact.reason,
        started_s=at if begins else history.started_s,
        ended_s=0.0 if fact.state in OPEN_RUN_STATES else at,
        abort=None if fact.state is RunState.RUNNING else history.abort,
    )


@after.register
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
    return dataclasses.replace(history, stages=with_item(history.stages, fact.stage_name, new))


@after.register
def _(fact: facts.Decision, history: History, _at: float) -> History:
    abort = fact if fact.what == "abort" else None
    return dataclasses.replace(history, decisions=(*history.decisions, fact), abort=abort)


@after.register
def _(fact: facts.ReportWritten, history: History, _at: float) -> History:
    return dataclasses.replace(history, report=fact, report_outdated=False)
