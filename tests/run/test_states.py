# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every pair of every table of moves."""

from __future__ import annotations

import itertools

import pytest
from lsst.ts.comcamcalib.enums import RunState, StageState
from lsst.ts.comcamcalib.record.history import OPEN_RUN_STATES, STAGE_ENDED
from lsst.ts.comcamcalib.run.states import RUN_MOVES, STAGE_MOVES, check_move

ALLOWED_RUN_MOVES = {
    "ACCEPTED": "RUNNING ABORTING INTERRUPTED FAILED",
    "RUNNING": "COMPLETED FAILED ABORTING INTERRUPTED",
    "ABORTING": "ABORTED INTERRUPTED",
    "INTERRUPTED": "ABORTING RUNNING",
    "COMPLETED": "",
    "FAILED": "RUNNING",
    "ABORTED": "RUNNING",
}
ALLOWED_STAGE_MOVES = {
    "PENDING": "RUNNING SKIPPED ABORTED",
    "RUNNING": "SUCCEEDED FAILED ABORTED SKIPPED PENDING",
    "SUCCEEDED": "PENDING",
    "FAILED": "PENDING SUCCEEDED",
    "SKIPPED": "PENDING",
    "ABORTED": "PENDING",
}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(RunState, repeat=2)))
def test_run_makes_only_the_moves_of_its_table(old: RunState, new: RunState) -> None:
    if new.name in ALLOWED_RUN_MOVES[old.name].split():
        check_move(RUN_MOVES, "run 20261122-001", old, new)
    else:
        with pytest.raises(RuntimeError, match=f"run 20261122-001 may not go from {old.name} to {new.name}"):
            check_move(RUN_MOVES, "run 20261122-001", old, new)


@pytest.mark.parametrize(("old", "new"), list(itertools.product(StageState, repeat=2)))
def test_stage_makes_only_the_moves_of_its_table(old: StageState, new: StageState) -> None:
    if new.name in ALLOWED_STAGE_MOVES[old.name].split():
        check_move(STAGE_MOVES, "stage BIAS.VERIFY", old, new)
    else:
        with pytest.raises(RuntimeError, match="Bug"):
            check_move(STAGE_MOVES, "stage BIAS.VERIFY", old, new)


def test_runs_that_have_not_ended_are_open() -> None:
    assert {state.name for state in RunState} - {state.name for state in OPEN_RUN_STATES} == {
        "COMPLETED",
        "FAILED",
        "ABORTED",
    }


def test_completed_run_is_the_only_one_that_can_not_go_on() -> None:
    assert {state for state in RunState if not RUN_MOVES[state]} == {RunState.COMPLETED}


def test_stage_that_has_ended_can_only_begin_again() -> None:
    assert {state.name for state in STAGE_ENDED} == {"SUCCEEDED", "FAILED", "SKIPPED", "ABORTED"}
    for state in STAGE_ENDED - {StageState.FAILED}:
        assert STAGE_MOVES[state] == {StageState.PENDING}
    # Only when its verdict is accepted, a stage that failed has succeeded after all.
    assert STAGE_MOVES[StageState.FAILED] == {StageState.PENDING, StageState.SUCCEEDED}
