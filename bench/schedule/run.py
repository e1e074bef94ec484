# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""How close a run comes to its critical path, in virtual time: ``make bench-schedule``.

The real runner, scheduler, stages and job service make a run with everything against the simulated night of the tests,
where each job takes its own drawn time. The critical path is that of the same graph with the durations that the run
showed, as if each job had a place at the UWS at once: no order of the same work could be faster, and four places may
not be enough for it. The same night is then had with a place for each job, without building on products that are not
verified yet (speculate: false), and with one job at a time (max_jobs: 1). How long the work takes stage by stage, and
one after the other, is computed from the durations that the run showed. Virtual time has no noise.
"""

from __future__ import annotations

import collections
import logging
import pathlib
import statistics
import sys
from collections.abc import Collection

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests"))

from lsst.ts.comcamcalib.enums import CalibType, StageKind
from lsst.ts.comcamcalib.plan.plan import StagePlan
from lsst.ts.comcamcalib.record.history import History
from nights.faults import NightPlan
from nights.journal import surroundings
from nights.night import LIMITS, folder_for_nights
from nights.operating import Outcome
from nights.processes import Processes
from nights.service import Service
from nights.world import NightWorld
from support.plans import make_config

SEEDS = range(8)
POLL_INTERVAL_S = 1.0
PHOTOGRAPHED = (CalibType.BIAS, CalibType.DARK, CalibType.FLAT)
PROCESSING = (StageKind.GENERATE, StageKind.VERIFY, StageKind.CERTIFY)
OPTIONS = {
    "script_mode": "BIAS_DARK_FLAT",
    "do_defects": True,
    "do_ptc": True,
    "do_gain_from_flat_pairs": True,
    "n_bias": 20,
    "n_dark": 10,
    "exp_times_dark": 30,
    "n_flat": 20,
    "exp_times_flat": [0.5 + number // 2 * 0.5 for number in range(20)],
}


def have(seed: int, max_jobs: int, speculate: bool) -> History:
    """Have a run without faults, and return its history."""
    plan = NightPlan(seed, (*OPTIONS.items(), ("speculate", speculate)))
    services: list[Service] = []
    with folder_for_nights() as folder:
        config = make_config(
            uws_poll_interval_s=POLL_INTERVAL_S,
            limits=LIMITS,
            max_jobs=max_jobs,
            journal_path=str(pathlib.Path(folder) / "journal.sqlite3"),
        )
        world = NightWorld(config, plan)

        def program(_number: int) -> Service:
            services.append(Service(world, config, lambda event: None, Outcome()))
            return services[-1]

        processes = Processes(world, [], program)
        with surroundings(processes, world):
            processes.run()
    (service,) = services
    assert service.run is not None
    history = service.run.history
    assert history.state.name == "COMPLETED", history.reason
    return history


def job_s(label: str, history: History) -> float:
    """Return how long a job took, from its submission to its end (seconds)."""
    done = history.job(label)
    assert done is not None
    return done.ended_s - done.intended_s


def own_s(stage: StagePlan, history: History) -> float:
    """Return how long a stage took beside its jobs (seconds); an ingest stage counts from the last exposure."""
    known = history.stages[stage.name]
    if stage.jobs:
        return 0.0
    began_s = known.started_s
    if stage.alongside:
        began_s = max(began_s, history.stages[stage.alongside].ended_s)
    return known.ended_s - began_s


def critical_path_s(history: History) -> float:
    """Return the length of the longest chain of the graph, with the durations that a run showed (seconds)."""
    ends: dict[str, float] = {}
    for stage in history.plan.stages:
        for job in stage.jobs:
            begin = max((ends[name] for name in (*job.needs, *job.needs_stages)), default=0.0)
            ends[job.label] = begin + job_s(job.label, history)
        waits = [*(job.label for job in stage.jobs), *stage.waits_for]
        ends[stage.name] = max((ends[name] for name in waits), default=0.0) + own_s(stage, history)
    return max(ends.values())


def chain_s(kind: CalibType, history: History, kinds: Collection[StageKind] = tuple(StageKind)) -> float:
    """Return how long stages of a type take one after the other, with their jobs one after the other (seconds)."""
    stages = [one for one in history.plan.stages if one.calib_type is kind and one.kind in kinds]
    return sum(own_s(one, history) + sum(job_s(job.label, history) for job in one.jobs) for one in stages)


def stage_wise_s(history: History) -> float:
    """Return how long the same work takes in the order of today's script, if that waited for what it builds on.

    Each type is generated, verified and certified in the background while the camera goes on with the next, but not
    before the product before it is certified; the other products begin when all that is done.
    """
    camera_s = ready_s = 0.0
    for kind in PHOTOGRAPHED:
        camera_s += chain_s(kind, history, [StageKind.ACQUIRE])
        ingested_s = camera_s + chain_s(kind, history, [StageKind.INGEST])
        ready_s = max(ready_s, ingested_s) + chain_s(kind, history, PROCESSING)
    return ready_s + max(chain_s(kind, history) for kind in CalibType if kind not in PHOTOGRAPHED)


def main() -> None:
    """Print the makespans, and their ratios to the critical path."""
    logging.disable(logging.WARNING)
    kinds = {"as built": (4, True), "a place for each": (20, True), "verified before use": (4, False)}
    kinds["one job at a time"] = (1, True)
    makespans: dict[str, list[float]] = collections.defaultdict(list)
    ratios: dict[str, list[float]] = collections.defaultdict(list)
    for seed in SEEDS:
        for name, (max_jobs, speculate) in kinds.items():
            history = have(seed, max_jobs, speculate)
            makespans[name].append(history.ended_s - history.started_s)
            ratios[name].append(makespans[name][-1] / critical_path_s(history))
            if name == "as built":
                makespans["stage by stage"].append(stage_wise_s(history))
                makespans["strict sequence"].append(sum(chain_s(kind, history) for kind in CalibType))
    built = statistics.median(makespans["as built"])
    print(f"{len(SEEDS)} runs with 50 frames, DEFECTS, PTC and GAIN; virtual seconds, medians")
    for name, values in makespans.items():
        print(f"  {name:20}{statistics.median(values):7.0f} s   {statistics.median(values) / built:5.2f} x as built")
    for name in ("as built", "a place for each"):
        text = f"{statistics.median(ratios[name]):.3f} (worst {max(ratios[name]):.3f})"
        print(f"  makespan / critical path, {name} ({kinds[name][0]} places at the UWS): {text}")


if __name__ == "__main__":
    main()
