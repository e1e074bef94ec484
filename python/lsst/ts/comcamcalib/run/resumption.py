# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs of the past: their histories from the journal, what keeps one from being resumed, and what is left of it."""

from __future__ import annotations

from collections.abc import Callable

from ..config import CscConfig
from ..enums import RunState, StageKind, StageState
from ..errors import BadInputError
from ..plan.plan import RunPlan
from ..record.fold import fold
from ..record.history import History
from .journal import Journal
from .journal_file import no_such_run
from .owner import JournalError
from .run import Run

__all__ = ["differences", "find_history", "other_repository", "read_history", "run_to_resume", "what_is_left"]


async def find_history(journal: Journal, run_id: str) -> History:
    """Return the history of a run that an operator names.

    Raises
    ------
    BadInputError
        If there is no such run, or its facts are damaged, which does not affect other runs.
    """
    try:
        entries = await journal.read(run_id)
        if not entries:
            raise BadInputError([f"{no_such_run(run_id, await journal.latest())}."])
        return fold(entries)
    except (JournalError, ValueError) as error:
        raise BadInputError([str(error)]) from error


async def read_history(journal: Journal, run_id: str) -> History:
    """Return the history of a run that the journal lists.

    Raises
    ------
    JournalError
        If it can't be read, or makes no sense.
    """
    entries = await journal.read(run_id)
    try:
        return fold(entries)
    except ValueError as error:
        raise JournalError(
            f"What the journal {journal.path} has of run {run_id} can't be understood ({error}); move the file away, a "
            "new one is made"
        ) from error


async def run_to_resume(run_id: str, current: Run | None, journal: Journal, run_of: Callable[[History], Run]) -> Run:
    """Return the run that is to be resumed.

    Parameters
    ----------
    run_id
        The run; "" for the latest that was interrupted or failed.
    current
        The open run, otherwise the latest; None if there never was one.
    journal
        The journal.
    run_of
        Makes the run with a history.

    Raises
    ------
    BadInputError
        If there is none, or it can't be resumed.
    """
    if current is not None:
        await current.record.flush()  # its end may not be in the journal yet
    wanted = run_id or await journal.latest([RunState.INTERRUPTED, RunState.FAILED])
    if not wanted:
        raise BadInputError(
            ["No run was interrupted or has failed, so there is none to resume. An aborted run must be named."]
        )
    run = current
    if run is None or run.history.run_id != wanted:
        run = run_of(await find_history(journal, wanted))
    if not run.resumable:
        raise BadInputError([f"Run {wanted} is {run.state.name}: there is nothing to resume."])
    return run


def differences(plan: RunPlan, config: CscConfig) -> list[str]:
    """Say in what the CSC's configuration differs from that of a run, where it must not.

    The run goes on with its own recipes and rules, but through today's connections and with most of today's limits.
    """
    found = []
    if plan.config.instrument.name != config.instrument.name:
        found.append(_differs(plan, "instrument", plan.config.instrument.name, config.instrument.name))
    found += other_repository(plan, config)
    for name in ("raw_collection", "uws_url"):
        if getattr(plan.config, name) != getattr(config, name):
            found.append(_differs(plan, name, getattr(plan.config, name), getattr(config, name)))
    if not found and plan.config.instrument != config.instrument:
        found.append(
            f"The description of {config.instrument.name} in the CSC's configuration has changed since run "
            f"{plan.run_id} was begun. Configure the earlier one again, or start another run."
        )
    return found


def other_repository(plan: RunPlan, config: CscConfig) -> list[str]:
    """Say that a run used another Butler repository than the CSC; nothing if it is one of its names."""
    if config.option_rules().is_repo(plan.config.repo):
        return []
    # No word of another run: whoever withdraws something has no use for one.
    remedy = f"If both are the same repository, list {plan.config.repo} in repo_names; otherwise configure it again."
    return [_differs(plan, "repo", plan.config.repo, config.repo, remedy)]


def _differs(
    plan: RunPlan, name: str, then: str, now: str, remedy: str = "Configure that again, or start another run."
) -> str:
    return f"Run {plan.run_id} was begun with {name} {then}, but the CSC is configured for {now}. {remedy}"


def what_is_left(history: History) -> str:
    """Return a sentence about what a resumed run will do."""
    frames = 0
    for calib_type, sequence in history.plan.sequences.items():
        taken = {frame.index for frame in history.taken(calib_type)}
        frames += sum(1 for frame in sequence.frames if frame.index not in taken)
    work = [stage for stage in history.stages.values() if stage.kind is not StageKind.REPORT]
    stages = [stage.name for stage in work if stage.state is not StageState.SUCCEEDED]
    again = [stage.name for stage in work if stage.state in (StageState.FAILED, StageState.ABORTED)]
    parts = [f"{frames} frames are still to be taken" if frames else "No frame of the plan is taken again"]
    parts.append(f"stages to be done: {', '.join(stages) or 'none'}")
    if again:
        parts.append(f"of these done again: {', '.join(again)}")
    return "; ".join(parts)
