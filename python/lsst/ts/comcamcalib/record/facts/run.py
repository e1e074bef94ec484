# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is, and how it, its stages and people moved it."""

from __future__ import annotations

from typing import Literal

from ...enums import RunState, StageState
from ...plan.plan import RunPlan
from .base import FactModel

__all__ = [
    "Decision",
    "RunAccepted",
    "RunMoved",
    "StageMoved",
]


class RunAccepted(FactModel):
    """A run was accepted, with the whole plan that it follows to its end, whatever the configuration says later."""

    kind: Literal["run_accepted"] = "run_accepted"
    plan: RunPlan
    day_obs: int
    requested_by: str
    why: str = ""


class RunMoved(FactModel):
    """The run went to another state."""

    kind: Literal["run_moved"] = "run_moved"
    state: RunState
    reason: str


class StageMoved(FactModel):
    """A stage went to another state, or to another attempt."""

    kind: Literal["stage_moved"] = "stage_moved"
    stage_name: str
    attempt: int
    state: StageState
    reason: str


class Decision(FactModel):
    """Somebody decided something about the run."""

    kind: Literal["decision"] = "decision"
    what: Literal["abort", "resume"]
    who: str
    why: str = ""
