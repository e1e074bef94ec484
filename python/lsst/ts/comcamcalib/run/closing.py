# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a run: how it ends, and its report, which can't change that."""

from __future__ import annotations

import asyncio
import logging

from ..enums import RunState, StageKind, StageState
from ..errors import StageError
from ..plan.plan import REPORT_STAGE
from ..record.history import History
from ..stages.context import RunContext
from ..stages.report import report
from .moves import move_stage

__all__ = ["how_it_ends", "write_report"]


def how_it_ends(history: History, broke_off: str = "") -> tuple[RunState, str]:
    """Return how a run ends of which all stages have ended but the report, and why.

    Parameters
    ----------
    history
        The run.
    broke_off
        Why it broke off; empty if it did not.
    """
    if failures := broke_off or _failures(history):
        return RunState.FAILED, f"Failed{_skipped(len(history.stages_in(StageState.SKIPPED)))}: {failures}"
    return RunState.COMPLETED, _praise(history)


def _skipped(number: int) -> str:
    match number:
        case 0:
            return ""
        case 1:
            return " (1 stage that needs them was skipped)"
        case _:
            return f" ({number} stages that need them were skipped)"


async def write_report(context: RunContext, state: RunState, reason: str) -> None:
    """Carry out the stage REPORT, if the run has one; its failure changes nothing else.

    Parameters
    ----------
    context
        What the stages share.
    state, reason
        How the run is about to end.
    """
    stage = context.history.stages.get(REPORT_STAGE)
    if stage is None or stage.state is not StageState.PENDING:
        return
    log = logging.getLogger(__name__)
    await move_stage(context.record, REPORT_STAGE, StageState.RUNNING, "")
    try:
        said = await report(context, state, reason)
    except asyncio.CancelledError:
        await move_stage(context.record, REPORT_STAGE, StageState.PENDING, "Interrupted")
        raise
    except StageError as error:
        log.warning("Run %s, %s failed: %s", context.run_id, REPORT_STAGE, error)
        await move_stage(context.record, REPORT_STAGE, StageState.FAILED, str(error))
    except Exception as error:
        log.exception("Bug: run %s, %s failed in an unforeseen way", context.run_id, REPORT_STAGE)
        sentence = f"Unforeseen {type(error).__name__}: {error}. The CSC's log has the traceback"
        await move_stage(context.record, REPORT_STAGE, StageState.FAILED, sentence)
    else:
        await move_stage(context.record, REPORT_STAGE, StageState.SUCCEEDED, said)


def _failures(history: History) -> str:
    """Return sentences about the stages that failed; empty if every stage but the report SUCCEEDED."""
    stages = [stage for stage in history.stages.values() if stage.kind is not StageKind.REPORT]
    failed = [f"{one.name}: {one.reason}" for one in stages if one.state is StageState.FAILED]
    left = [f"{one.name} is {one.state.name}" for one in stages if one.state is not StageState.SUCCEEDED]
    # A stage that did not succeed needs one that failed; if there is none, the run must still not look successful.
    return "; ".join(failed or left)


def _praise(history: History) -> str:
    certified = [
        stage.name.removesuffix(f".{StageKind.CERTIFY.name}")
        for stage in history.stages_in(StageState.SUCCEEDED)
        if stage.kind is StageKind.CERTIFY
    ]
    where = f"certified in {history.plan.options.calib_collection}: {', '.join(certified)}"
    return f"All stages succeeded; {where if certified else 'nothing was to be certified'}"
