# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put runs and stages into other states; no other code does."""

from __future__ import annotations

import logging

from ..enums import RunState, StageState
from ..record.facts import RunMoved, StageMoved
from ..record.record import Record
from .states import RUN_MOVES, STAGE_MOVES, check_move

__all__ = ["move_run", "move_stage"]


async def move_run(record: Record, state: RunState, reason: str) -> None:
    """Put a run into a state, and log that."""
    history = record.history
    check_move(RUN_MOVES, f"run {history.run_id}", history.state, state)
    level = logging.WARNING if state in (RunState.FAILED, RunState.ABORTED, RunState.INTERRUPTED) else logging.INFO
    logging.getLogger(__name__).log(level, "Run %s is %s. %s", history.run_id, state.name, reason)
    await record.note(RunMoved(state=state, reason=reason))


async def move_stage(record: Record, name: str, state: StageState, reason: str) -> None:
    """Put a stage into a state; one that has ended begins its next attempt with PENDING."""
    stage = record.history.stages[name]
    check_move(STAGE_MOVES, f"stage {name}", stage.state, state)
    attempt = stage.attempt + 1 if stage.ended_s and state is StageState.PENDING else stage.attempt
    await record.note(StageMoved(stage_name=name, attempt=attempt, state=state, reason=reason))
