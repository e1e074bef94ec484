# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run that is aborted ends ABORTED, and nothing of it is certified from then on, whatever becomes of the process.

The last test takes that away where the CSC resumes by itself, and sees that the nights notice it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.run.auto_resume import AUTO_RESUME, AutoResume
from lsst.ts.comcamcalib.run.run import Run

from .faults import Happening, NightPlan
from .night import NightResult, folder_for_nights, night

BIASES = (("script_mode", "BIAS"),)


def have(at_s: float, then: str, after_s: float = 0.3, auto_resume: bool = True, seed: int = 1) -> NightResult:
    """Abort a run at a time, and kill the process or leave ENABLED soon after (seconds)."""
    what = Happening("command", then, 0, at_s + after_s)
    if then == "kill":
        what = Happening("kill", "at", 0, at_s + after_s, 5.0)
    plan = NightPlan(seed, BIASES, (Happening("command", "abort", 0, at_s), what), auto_resume)
    with folder_for_nights() as folder:
        return night(plan, Path(folder))


def was_interrupted(result: NightResult) -> bool:
    return any('"state":7' in body for _, body in result.facts)


@pytest.mark.parametrize("then", ["kill", "interrupt"])
def test_an_abort_that_is_interrupted_is_finished_by_itself(then: str) -> None:
    interrupted = 0
    for at_s in range(2, 160, 8):
        result = have(float(at_s), then)
        assert (result.problems, result.state) == ([], RunState.ABORTED), result.plan
        interrupted += was_interrupted(result)
    assert interrupted > 3, "the abort takes longer than that in some of them"


def test_without_that_the_operator_finishes_the_abort_or_names_the_run() -> None:
    states = set()
    for at_s in range(2, 100, 3):
        result = have(float(at_s), "kill", 0.1, auto_resume=False, seed=at_s)
        assert result.problems == [], result.plan
        states.add(result.state)
    assert states == {RunState.ABORTED, RunState.COMPLETED}


def test_an_abort_that_is_undone_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go_on(self: AutoResume, run: Run) -> None:
        await self._resume(run.history.run_id, AUTO_RESUME)

    monkeypatch.setattr(AutoResume, "_go_on", go_on)
    assert have(20.0, "kill").problems == [
        "bias was certified, although the run had been aborted at 20.0 s",
        "the run is COMPLETED, although it was aborted at 20.0 s",
    ]
