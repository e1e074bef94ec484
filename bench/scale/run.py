# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What grows with the size of a run: ``make bench-scale``.

A run with 9 and with 205 detectors (all that LSSTCam has), each with 20 and with 500 exposures. All of it happens in
the event loop, so the figures are also for how long the loop stands still.
"""

from __future__ import annotations

import pathlib
import sys
import time
from collections.abc import Callable, Iterator

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests"))

from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.plan.estimate import schedule
from lsst.ts.comcamcalib.plan.plan import RunPlan
from lsst.ts.comcamcalib.record.facts import (
    Entry,
    Fact,
    FrameIntended,
    FrameSettled,
    FrameTaken,
    RunAccepted,
    fact_from_json,
    fact_to_json,
)
from lsst.ts.comcamcalib.record.fold import apply, begin
from lsst.ts.comcamcalib.record.history import History
from lsst.ts.comcamcalib.record.views import all_events, events_after
from lsst.ts.comcamcalib.services.oods import IngestNotice
from lsst.ts.comcamcalib.stages.ledger import IngestLedger
from support.plans import make_config, make_plan

DETECTORS = (9, 205)
EXPOSURES = (20, 500)
REPEATS = 3


def configuration(detectors: int) -> CscConfig:
    """Return the shipped configuration with another number of detectors."""
    shipped = make_config()
    names = [f"R{raft:02d}_S{sensor // 3}{sensor % 3}" for raft in range(100) for sensor in range(9)]
    all_of_them = [{"id": number, "name": names[number], "amplifiers": 16} for number in range(detectors)]
    return make_config(instrument={**shipped.instrument.model_dump(), "detectors": all_of_them})


def plan_of(config: CscConfig, exposures: int) -> RunPlan:
    """Return a run with all products and, in all, so many exposures."""
    biases, darks = exposures // 4, exposures // 4
    flats = exposures - biases - darks
    return make_plan(
        config,
        script_mode="BIAS_DARK_FLAT",
        n_bias=biases,
        n_dark=darks,
        exp_times_dark=30,
        n_flat=flats,
        exp_times_flat=[0.5 + number // 2 * 0.5 for number in range(flats)],
        do_defects=True,
        do_ptc=True,
        do_gain_from_flat_pairs=True,
        detectors=[],
    )


def facts(plan: RunPlan) -> Iterator[Fact]:
    """Yield what a run notes of its frames."""
    number = 0
    for kind, sequence in plan.sequences.items():
        for frame in sequence.frames:
            number += 1
            yield FrameIntended(calib_type=kind, index=frame.index, exposure_time_s=frame.exposure_time_s)
            obs_id = f"CC_O_20261122_{number:06d}"
            yield FrameTaken(
                calib_type=kind, index=frame.index, exposure_id=2026112200000 + number, obs_id=obs_id, taken_s=1.8e9
            )
            count = len(plan.options.detectors)
            yield FrameSettled(calib_type=kind, index=frame.index, detectors_ingested=count, detectors_failed=0)


def best_s(work: Callable[[], object]) -> float:
    """Return the shortest time that some work takes (seconds)."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def history_of(plan: RunPlan, entries: list[Entry]) -> History:
    """Fold the facts of a run."""
    history = begin(Entry(1, 1.8e9, RunAccepted(plan=plan, day_obs=20261122, requested_by="bench")))
    for entry in entries:
        history = apply(history, entry)
    return history


def publish(plan: RunPlan, entries: list[Entry]) -> int:
    """Make all events of a run, as they are made one fact after the other; return how many."""
    history = begin(Entry(1, 1.8e9, RunAccepted(plan=plan, day_obs=20261122, requested_by="bench")))
    count = 0
    for entry in entries:
        history = apply(history, entry)
        count += len(events_after(entry.fact, history))
    return count


def fill(ledger: IngestLedger, detectors: int, exposures: int) -> None:
    """Enter a notice of each file."""
    for exposure in range(exposures):
        for detector in range(detectors):
            ledger.notice(IngestNotice(exposure, detector, True, "file ingested"))
        assert not ledger.missing(exposure)


def measure(detectors: int, exposures: int) -> None:
    """Print the figures of one size."""
    config = configuration(detectors)
    plan = plan_of(config, exposures)
    entries = [Entry(number, 1.8e9, fact) for number, fact in enumerate(facts(plan), start=2)]
    accepted = RunAccepted(plan=plan, day_obs=20261122, requested_by="bench")
    text = fact_to_json(accepted)
    history = history_of(plan, entries)
    assert len(history.used(CalibType.BIAS)) == exposures // 4
    files = detectors * exposures
    fold_s = best_s(lambda: history_of(plan, entries))
    publish_s = best_s(lambda: publish(plan, entries)) - fold_s
    ledger_s = best_s(lambda: fill(IngestLedger(range(detectors)), detectors, exposures))
    plan_s = best_s(lambda: plan_of(config, exposures))
    print(
        f"  {detectors:4} detectors, {exposures:4} exposures: plan {1e3 * plan_s:5.0f} ms, "
        f"schedule {1e3 * best_s(lambda: schedule(plan)):5.1f} ms, "
        f"accepted {len(text) / 1e3:5.0f} kB (write {1e3 * best_s(lambda: fact_to_json(accepted)):4.0f} ms, "
        f"read {1e3 * best_s(lambda: fact_from_json(text)):4.0f} ms)\n"
        f"{'':34}fold {1e6 * fold_s / len(entries):5.0f} us a fact, "
        f"events {1e6 * publish_s / len(entries):5.0f} us a fact, "
        f"all {len(list(all_events(history)))} events again {1e3 * best_s(lambda: list(all_events(history))):5.1f} ms, "
        f"ledger {1e6 * ledger_s / files:4.1f} us a file"
    )


def main() -> None:
    """Print the figures of all sizes."""
    for detectors in DETECTORS:
        for exposures in EXPOSURES:
            measure(detectors, exposures)


if __name__ == "__main__":
    main()
