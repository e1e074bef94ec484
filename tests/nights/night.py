# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A night: processes that are killed and started again on one world, until the run has ended; then it is judged."""

from __future__ import annotations

import collections
import dataclasses
import tempfile
from pathlib import Path

from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.record.events import Event
from support.plans import make_config

from .faults import NightPlan
from .invariants import judge
from .process import Killer, Outcome, live
from .virtual_loop import HangError
from .world import NightWorld

__all__ = ["NightResult", "folder_for_nights", "night", "shrink"]

LIMITS = {"uws_unreachable": 300.0}
"""Limits that are shorter than those of the summit, so that a night is shorter."""

POLL_INTERVAL_S = 6.0

MAX_PROCESSES = 60


@dataclasses.dataclass
class NightResult:
    """What came of a night.

    Parameters
    ----------
    plan
        The night.
    problems
        A sentence for each thing that was not as it must be; none: all is well.
    state
        How the run ended; None if there was none.
    seen
        What happened, and how often.
    """

    plan: NightPlan
    problems: list[str] = dataclasses.field(default_factory=list)
    state: RunState | None = None
    seen: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    occasions: dict[str, int] = dataclasses.field(default_factory=dict)
    """How often there was each occasion to be killed."""
    history: list[str] = dataclasses.field(default_factory=list)
    """The facts of the run, in words."""
    processes: int = 0
    virtual_s: float = 0.0
    summary: dict[str, int] = dataclasses.field(default_factory=dict)
    """How many exposures, jobs and certified datasets there are of each kind."""


def folder_for_nights() -> tempfile.TemporaryDirectory[str]:
    """Return a new folder for journals, in memory if there is one."""
    shm = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="nights", dir=shm if shm.is_dir() else None)


def config_of(plan: NightPlan) -> CscConfig:
    """Return the CSC's configuration for a night."""
    reports = {"directory": "/reports", "s3_instance": ""}
    return make_config(auto_resume=plan.auto_resume, uws_poll_interval_s=POLL_INTERVAL_S, limits=LIMITS, report=reports)


def night(plan: NightPlan, folder: Path) -> NightResult:
    """Have a night, and judge it."""
    path = folder / f"{plan.seed}.sqlite3"
    config = config_of(plan)
    world = NightWorld(config, plan)
    killer = Killer(plan.of("kill"))
    killer.plan(world)
    published: list[Event] = []
    outcome, result = Outcome(), NightResult(plan)
    csc = None
    try:
        while not outcome.over and result.processes < MAX_PROCESSES:
            result.processes += 1
            csc = live(world, config, path, killer, published.append, outcome)
            if csc is None:
                world.pass_time(killer.pause_s)
    except HangError as error:
        result.problems.append(f"hang: {error}")
    finally:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
    world.pass_time(10_000.0)
    result.seen = world.seen + collections.Counter(f"kill: {one.what}" for one in killer.done)
    result.occasions, result.virtual_s = killer.counted, world.time_s
    run = csc.runner.run if csc is not None else None
    if run is not None:
        result.state = run.state
        result.problems += judge(run.history, world, published)
        result.history = csc.facts if csc is not None else []
        result.summary = _summary(world)
    elif not result.problems:
        result.problems.append("there is no run")
    return result


def _summary(world: NightWorld) -> dict[str, int]:
    """Count what there is in the world."""
    images = (world.images[one] for one in world.read_out)
    return dict(
        collections.Counter(
            [
                *(f"exposures {image.kind}" for image in images),
                *(f"jobs {job.label}" for job in world.all_jobs),
                *(f"certified {one.dataset_type}" for one in world.validities),
            ]
        )
    )


def shrink(result: NightResult, folder: Path) -> NightResult:
    """Return the same failure with as few things that happen as possible."""
    plan, best = result.plan, result
    going_on = True
    while going_on:
        going_on = False
        for one in plan.happenings:
            smaller = dataclasses.replace(plan, happenings=tuple(kept for kept in plan.happenings if kept is not one))
            tried = night(smaller, folder)
            if tried.problems:
                plan, best, going_on = smaller, tried, True
                break
    return best
