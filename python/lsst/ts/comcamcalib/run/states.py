# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state changes that runs and stages may make: a table for each, and one function that checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from ..enums import RunState, StageState

__all__ = ["RUN_MOVES", "STAGE_MOVES", "check_move"]

RUN_MOVES: Mapping[RunState, frozenset[RunState]] = {
    RunState.ACCEPTED: frozenset({RunState.RUNNING, RunState.ABORTING, RunState.INTERRUPTED, RunState.FAILED}),
    RunState.RUNNING: frozenset({RunState.COMPLETED, RunState.FAILED, RunState.ABORTING, RunState.INTERRUPTED}),
    RunState.ABORTING: frozenset({RunState.ABORTED, RunState.INTERRUPTED}),
    RunState.INTERRUPTED: frozenset({RunState.ABORTING, RunState.RUNNING}),
    RunState.COMPLETED: frozenset(),
    # It is resumed.
    RunState.FAILED: frozenset({RunState.RUNNING}),
    RunState.ABORTED: frozenset({RunState.RUNNING}),
}

STAGE_MOVES: Mapping[StageState, frozenset[StageState]] = {
    StageState.PENDING: frozenset({StageState.RUNNING, StageState.SKIPPED, StageState.ABORTED}),
    StageState.RUNNING: frozenset(
        {
            StageState.SUCCEEDED,
            StageState.FAILED,
            StageState.ABORTED,
            # A stage that it trusts or needs has failed meanwhile.
            StageState.SKIPPED,
            # The run was interrupted, and the stage goes on when it is resumed.
            StageState.PENDING,
        }
    ),
    # Only the report, which is written anew when the run goes on.
    StageState.SUCCEEDED: frozenset({StageState.PENDING}),
    # With the next attempt, when the run is resumed; a VERIFY stage SUCCEEDED when its verdict is accepted.
    StageState.FAILED: frozenset({StageState.PENDING, StageState.SUCCEEDED}),
    StageState.SKIPPED: frozenset({StageState.PENDING}),
    StageState.ABORTED: frozenset({StageState.PENDING}),
}

State = TypeVar("State", RunState, StageState)


def check_move(moves: Mapping[State, frozenset[State]], what: str, old: State, new: State) -> None:
    """Check that a state may follow another.

    Parameters
    ----------
    moves
        `RUN_MOVES` or `STAGE_MOVES`.
    what
        The run or stage, for the message.
    old, new
        The states.

    Raises
    ------
    RuntimeError
        If not; this is a bug in this package.
    """
    if new not in moves[old]:
        raise RuntimeError(f"Bug: {what} may not go from {old.name} to {new.name}")
