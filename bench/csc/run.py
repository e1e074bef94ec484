# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the CSC acts, and what it costs: ``make bench-csc``.

The CSC is a process of its own in the simulated observatory, whose worker puts recorded products in place. Delays count
from the moment at which their cause was published on the bus to the fact with which the CSC goes on. The processor is
shared with the simulated observatory, so figures of a busy machine are worse.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import pathlib
import random
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests"))

from house import LIMIT_S, House, house, load, quantiles
from lsst.ts import utils
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.record.facts import Entry, FrameTaken, JobIntended
from lsst.ts.comcamcalib.record.fold import fold
from lsst.ts.comcamcalib.record.history import History
from lsst.ts.comcamcalib.simulation.faults import Fault
from support.host_faults import locked

RUNS = 4
KILLS = 5
SEED = 20261126
IDLE_S = 20.0
BURST_FRAMES = 210
BURST_DETECTORS = 9
DATABASE = "gen3.sqlite3"

OPTIONS = {
    "script_mode": "BIAS_DARK_FLAT",
    "n_bias": 3,
    "n_dark": 2,
    "exp_times_dark": 5,
    "n_flat": 4,
    "exp_times_flat": [1.0, 1.0, 2.0, 2.0],
    "do_defects": True,
    "do_ptc": True,
    "n_processes": 1,
    "oods_timeout": 60,
    "max_counter_archiver_check": 3,
}
BURST_OPTIONS = {
    "script_mode": "BIAS",
    "n_bias": BURST_FRAMES,
    "generate_calibrations": False,
    "do_verify": False,
    "oods_timeout": 600,
}

BOOKKEEPING = ("run_moved", "stage_moved", "decision")
"""Facts that are about nothing outside."""


async def runs(one: House) -> None:
    """Have runs; print delays and load."""
    after_job: list[float] = []
    after_file: list[float] = []
    to_exposure: list[float] = []
    async with one.csc() as process:
        await asyncio.sleep(5.0)  # until what is loaded at the beginning is loaded
        idle = load(process.pid)
        await asyncio.sleep(IDLE_S)
        print(f"  idle                             {load(process.pid).since(idle)}")
        began = load(process.pid)
        for number in range(RUNS):
            collection = f"LSSTComCam/calib/u/bench/{number}"
            run_id, sent_s = await one.start_run(**OPTIONS, calib_collection=collection)
            say_if_bad(await one.operator.until_ended(run_id, LIMIT_S))
            entries = one.facts(run_id)
            history = fold(entries)
            first = next(entry.fact for entry in entries if isinstance(entry.fact, FrameTaken))
            to_exposure.append(first.taken_s - sent_s)
            for_jobs, for_files = delays(entries, history, one)
            after_job += for_jobs
            after_file += for_files
        print(f"  in a run                         {load(process.pid).since(began)}")
        heartbeats(one)
    print(f"  end of a job to next submission  {quantiles(after_job)}")
    print(f"  last file to submission          {quantiles(after_file)}")
    print(f"  command to first exposure        {quantiles(to_exposure)}")


def delays(entries: Sequence[Entry], history: History, one: House) -> tuple[list[float], list[float]]:
    """Return how long each job was late after what it waited for last: the end of another job, or a file (seconds)."""
    plans = {job.label: job for stage in history.plan.stages for job in stage.jobs}
    after_job, after_file = [], []
    for entry in entries:
        if not isinstance(entry.fact, JobIntended):
            continue
        plan = plans[entry.fact.label]
        names = {frame.exposure_id: frame.obs_id for kind in plan.frames for frame in history.used(kind)}
        file_s = max((one.files.get(names[exposure], 0.0) for exposure in entry.fact.exposures), default=0.0)
        jobs = [history.job(label) for label in plan.needs]
        job_s = max((one.ends.get(job.job_id, 0.0) for job in jobs if job is not None), default=0.0)
        if max(file_s, job_s):
            (after_job if job_s > file_s else after_file).append(entry.at - max(job_s, file_s))
    return after_job, after_file


def say_if_bad(ended: Any) -> None:
    """Say why a run was not COMPLETED: the figures are then those of a part of it."""
    if ended.state != RunState.COMPLETED:
        print(f"  a run ended {RunState(ended.state).name}: {ended.reason[:300]}")


def heartbeats(one: House) -> None:
    """Print the time between heartbeats."""
    sent = [sample.private_sndStamp for sample in one.operator.samples("heartbeat")]
    periods = [later - earlier for earlier, later in itertools.pairwise(sent)]
    print(f"  heartbeat period                 {quantiles(periods)}")


async def kills(one: House) -> None:
    """Kill the process in mid-run again and again; print how soon the next one goes on."""
    dice = random.Random(SEED)
    to_enabled: list[float] = []
    to_ack: list[float] = []
    to_act: list[float] = []
    for number in range(KILLS):
        async with one.csc() as process:
            collection = f"LSSTComCam/calib/u/bench/kill{number}"
            run_id, _ = await one.start_run(**OPTIONS, calib_collection=collection)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(dice.uniform(0.5, 10.0)):
                    await one.operator.until_ended(run_id, LIMIT_S)
            process.kill()
            await process.wait()
        killed_s = utils.current_tai()
        async with one.csc():
            to_enabled.append(utils.current_tai() - killed_s)
            resumed_s = await one.resume(run_id)
            to_ack.append(utils.current_tai() - resumed_s)
            say_if_bad(await one.operator.until_ended(run_id, LIMIT_S))
            later = [entry for entry in one.facts(run_id) if entry.at > resumed_s]
            to_act.append(next(entry.at for entry in later if entry.fact.kind not in BOOKKEEPING) - resumed_s)
    print(f"  kill to ENABLED again            {quantiles(to_enabled)}")
    print(f"  resume to acknowledgement        {quantiles(to_ack)}")
    print(f"  resume to first act or find      {quantiles(to_act)}")


async def burst(one: House) -> None:
    """Announce all files of many frames at once while the database is locked; print what that does to the loop."""
    stalls = one.folder / "stalls"
    program = f"import sys; sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r}); import subject; "
    program += f"subject.run({str(stalls)!r})"
    one.observatory.world.faults.set([Fault("oods", "silent", times=None)])
    async with one.csc(program):
        run_id, _ = await one.start_run(**BURST_OPTIONS)
        await one.operator.hear("stageState", LIMIT_S, runId=run_id, stageName="BIAS.ACQUIRE", state=3)
        await one.observatory.oods.drop_images()
        names = [entry.fact.obs_id for entry in one.facts(run_id) if isinstance(entry.fact, FrameTaken)]
        await asyncio.sleep(3.0)
        began = lines(stalls)
        one.operator.heard = [heard for heard in one.operator.heard if heard[0] != "heartbeat"]
        with locked(one.observatory.repo / DATABASE):
            sent_s = utils.current_tai()
            await asyncio.gather(*(announce(one, name) for name in names))
            published_s = utils.current_tai() - sent_s
            await asyncio.sleep(5.0)
        ended = await one.operator.until_ended(run_id, LIMIT_S)
        settled = [entry for entry in one.facts(run_id) if entry.fact.kind == "frame_settled"]
        await asyncio.sleep(2.0)
    files = BURST_FRAMES * BURST_DETECTORS
    assert ended.state == RunState.COMPLETED, ended.reason
    assert len(settled) == BURST_FRAMES, f"only {len(settled)} of {BURST_FRAMES} frames are complete"
    print(
        f"  {files} files announced within {published_s:.1f} s, none lost; all accounted for "
        f"{settled[-1].at - sent_s:.1f} s after the first"
    )
    during = lines(stalls)[len(began) :]
    print(
        f"  longest stall of the loop        {1e3 * max(one[1] for one in during):.0f} ms "
        f"({1e3 * max(one[2] for one in during):.0f} ms of it the loop's own processor time)"
    )
    heartbeats(one)


def lines(file: pathlib.Path) -> list[list[float]]:
    """Return what the subject has written."""
    return [json.loads(line) for line in file.read_text().splitlines()]


async def announce(one: House, obs_id: str) -> None:
    """Let the OODS say that all files of an image were ingested."""
    image = type("Announced", (), {"name": obs_id})
    for detector in range(BURST_DETECTORS):
        await one.observatory.oods._publish_ingested(image, detector)  # type: ignore[arg-type]


PARTS = {"runs": runs, "kills": kills, "burst": burst}


async def main(names: Sequence[str]) -> None:
    """Print all figures, or those of some parts."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        async with house(pathlib.Path(folder)) as one:
            for name in names or PARTS:
                print(f"{name}:", flush=True)
                await PARTS[name](one)
                await one.observatory.reset()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(main(sys.argv[1:]))
