# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""How close a run comes to its critical path, in virtual time: ``make bench-schedule``.

The real runner, scheduler, stages and job service make a run with everything against the simulated night of the tests,
where each job takes its own drawn time. The critical path is that of the same graph with the durations that the run
showed: no order of the same work could be faster. The same night is then had without building on products that are not
verified yet (speculate: false), and with one job at a time (max_jobs: 1). Virtual time has no noise.
"""

from __future__ import annotations

import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests"))

from lsst.ts.comcamcalib.plan.plan import RunPlan
from lsst.ts.comcamcalib.record.history import History
from nights.faults import NightPlan
from nights.night import LIMITS, folder_for_nights
from nights.process import Killer, Outcome, live
from nights.world import NightWorld
from support.plans import make_config

SEEDS = range(8)
POLL_INTERVAL_S = 1.0
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
    config = make_config(uws_poll_interval_s=POLL_INTERVAL_S, limits=LIMITS, max_jobs=max_jobs)
    plan = NightPlan(seed, (*OPTIONS.items(), ("speculate", speculate)))
    with folder_for_nights() as folder:
        path = pathlib.Path(folder) / "journal.sqlite3"
        csc = live(NightWorld(config, plan), config, path, Killer([]), lambda event: None, Outcome())
    assert csc is not None and csc.runner.run is not None
    history = csc.runner.run.history
    assert history.state.name == "COMPLETED", history.reason
    return history


def critical_path_s(history: History) -> float:
    """Return the length of the longest chain of the graph, with the durations that a run showed (seconds)."""
    plan: RunPlan = history.plan
    ends: dict[str, float] = {}
    for stage in plan.stages:
        known = history.stages[stage.name]
        for job in stage.jobs:
            done = history.job(job.label)
            assert done is not None
            begin = max((ends[name] for name in (*job.needs, *job.needs_stages)), default=0.0)
            ends[job.label] = begin + done.ended_s - done.intended_s
        own = 0.0 if stage.jobs else known.ended_s - known.started_s
        if stage.alongside:  # only what it needs after the last exposure
            own = known.ended_s - max(known.started_s, history.stages[stage.alongside].ended_s)
        labels = [job.label for job in stage.jobs]
        waits = [name for name in (*labels, *stage.needs, *stage.after, *([stage.alongside] * bool(stage.alongside)))]
        ends[stage.name] = max((ends[name] for name in waits), default=0.0) + own
    return max(ends.values())


def main() -> None:
    """Print the makespans, and their ratios to the critical path."""
    kinds = {"as built": (4, True), "verified before use": (4, False), "one job at a time": (1, True)}
    makespans: dict[str, list[float]] = {name: [] for name in kinds}
    ratios = []
    for seed in SEEDS:
        for name, (max_jobs, speculate) in kinds.items():
            history = have(seed, max_jobs, speculate)
            makespans[name].append(history.ended_s - history.started_s)
            if name == "as built":
                ratios.append(makespans[name][-1] / critical_path_s(history))
    built = statistics.median(makespans["as built"])
    print(f"{len(SEEDS)} runs with 50 frames, DEFECTS, PTC and GAIN, 4 places at the UWS; virtual seconds, medians")
    for name, values in makespans.items():
        print(f"  {name:20}{statistics.median(values):7.0f} s   {statistics.median(values) / built:5.2f} x as built")
    print(f"  makespan / critical path of the same graph: {statistics.median(ratios):.3f} (worst {max(ratios):.3f})")


if __name__ == "__main__":
    main()
