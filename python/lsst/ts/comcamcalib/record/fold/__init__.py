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
from collections.abc import Iterable, Iterator

from ...enums import StageKind
from ...plan.plan import REPORT_STAGE, RunPlan
from .. import facts
from ..facts import Entry
from ..history import History
from ..things import Stage
from . import certifications, frames, jobs, products, run  # noqa: F401  they register their functions
from .dispatch import after

__all__ = ["apply", "begin", "fold"]


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
    return dataclasses.replace(after(entry.fact, history, entry.at), seq=entry.seq)


def fold(entries: Iterable[Entry]) -> History:
    """Return what follows from the facts of a run.

    Raises
    ------
    ValueError
        If there are none, or the first one is not the acceptance.
    """
    first, *rest = entries
    return functools.reduce(apply, rest, begin(first))
