# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A night: processes that are killed and started again on one world, until the run has ended; then it is judged."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import sqlite3
import tempfile
from pathlib import Path

from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.record.events import Event
from lsst.ts.comcamcalib.record.facts import fact_from_json
from support.plans import make_config

from .faults import NightPlan
from .invariants import judge
from .journal import Ownership, surroundings
from .operating import Outcome
from .processes import Processes
from .service import Service
from .virtual_loop import HangError
from .world import NightWorld

__all__ = ["NightResult", "folder_for_nights", "night", "shrink"]

LIMITS = {"uws_unreachable": 300.0}
"""Limits that are shorter than those of the summit, so that a night is shorter."""

POLL_INTERVAL_S = 6.0


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
    epoch_s: float = 0.0
    """When the night began (TAI unix seconds)."""
    facts: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    """When each fact of the run was recorded (TAI unix seconds), and its text in the journal."""
    processes: int = 0
    virtual_s: float = 0.0
    summary: dict[str, int] = dataclasses.field(default_factory=dict)
    """How many exposures, jobs and certified datasets there are of each kind."""

    @property
    def history(self) -> list[str]:
        """The facts of the run, in words."""
        return [f"{at - self.epoch_s:9.1f} s {fact_from_json(body)!r}" for at, body in self.facts]


def folder_for_nights() -> tempfile.TemporaryDirectory[str]:
    """Return a new folder for journals, in memory if there is one."""
    shm = Path("/dev/shm")
    return tempfile.TemporaryDirectory(prefix="nights", dir=shm if shm.is_dir() else None)


def config_of(plan: NightPlan, path: Path) -> CscConfig:
    """Return the CSC's configuration for a night."""
    reports = {"directory": "/reports", "s3_instance": ""}
    return make_config(
        auto_resume=plan.auto_resume,
        uws_poll_interval_s=POLL_INTERVAL_S,
        limits=LIMITS,
        report=reports,
        journal_path=str(path),
    )


def night(plan: NightPlan, folder: Path) -> NightResult:
    """Have a night, and judge it."""
    path = folder / f"{plan.seed}.sqlite3"
    config = config_of(plan, path)
    world = NightWorld(config, plan)
    published: list[Event] = []
    outcome, result, services = Outcome(), NightResult(plan), []

    def program(_number: int) -> Service:
        services.append(Service(world, config, published.append, outcome))
        return services[-1]

    processes = Processes(world, [*plan.of("kill"), *plan.of("second process")], program)
    ownership = Ownership(path, processes, world)
    try:
        with surroundings(processes, world):
            processes.run()
        run = next((one.run for one in reversed(services) if one.over), None)
        if run is not None:
            result.facts = _facts(path, run.history.run_id)
    except HangError as error:
        run = None
        result.problems.append(f"hang: {error}")
    except Exception as error:  # of a night among thousands, which must be named
        run = None
        result.problems.append(f"{type(error).__name__}: {error}")
    finally:
        ownership.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
    world.pass_time(10_000.0)
    result.epoch_s = world.epoch_s
    result.seen, result.processes = world.seen, len(processes.all)
    result.occasions, result.virtual_s = processes.counted, world.time_s
    result.problems += ownership.problems
    result.problems += [f"process {one} has lost the journal, and did not say so" for one in processes.silent]
    if run is not None:
        result.state = run.state
        result.problems += judge(run.history, world, published)
        result.summary = _summary(world)
    elif not result.problems:
        result.problems.append("there is no run")
    return result


def _facts(path: Path, run_id: str) -> list[tuple[float, str]]:
    """Return the facts of a run in the journal."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT at, body FROM facts WHERE run_id = ? ORDER BY seq", (run_id,)).fetchall()


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
