# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run whose process is killed again and again ends as one that nobody disturbed, with real parts throughout.

Real are the CSC's process and ``kill -9``, Kafka's protocol, the simulated observatory's CSCs, UWS, Butler repository
and files; the worker puts recorded products in place. ``KILLS`` (default 5) is how often the process is killed in all,
in runs with up to ``KILLS_A_RUN`` kills each; ``make crashtest`` takes 40. ``SEED`` draws the moments: some count from
the start or resumption of the run, others from that of the process, which then reads the journal or resumes the run.

No frame is taken twice, also not one that was being exposed at the kill: the camera completes it whatever becomes of
the process, and the next one finds it by its group id before it takes another (decision 0028). So the number of images
that the camera reads out for the run is that of an undisturbed one.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from lsst.ts import salobj
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from lsst.ts.comcamcalib.simulation.world import Image
from support.observatory import CSC_PROGRAM, running_csc_process
from support.operator import ENDED, Operator
from support.outcome import Outcome, outcome_of

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

KILLS = int(os.environ.get("KILLS", "5"))
KILLS_A_RUN = 5
SEED = int(os.environ.get("SEED", "20261122"))
LIMIT_S = 240.0

OPTIONS = {
    "script_mode": "BIAS_DARK_FLAT",
    "n_bias": 3,
    "n_dark": 2,
    "exp_times_dark": 5,
    "n_flat": 4,
    "exp_times_flat": [1.0, 1.0, 2.0, 2.0],
    "detectors": [0, 4],
    "do_defects": True,
    "do_ptc": True,
    "oods_timeout": 10,
    "max_counter_archiver_check": 3,
}

# Searches are conclusive after seconds instead of minutes, as this observatory is faster than the real one; but a busy
# machine needs some seconds for what takes tenths of one on an idle one.
LIMITS = {"job_submission": 10, "exposure_overhead": 20, "readout": 10}


@dataclasses.dataclass(frozen=True)
class Kill:
    """When a process is killed: some time (seconds) after its start, or after that of the run in it."""

    since: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s after the start of the {self.since}"


@dataclasses.dataclass
class House:
    """The observatory, who commands the CSC, who hears all that it publishes, and all images of the camera."""

    observatory: Observatory
    operator: Operator
    witness: Operator
    journal_path: Path
    log: Path
    images: list[Image]


@pytest.fixture
def configured(observatory: Observatory) -> None:
    """Give the CSC of this observatory the shorter limits."""
    folder = Path(os.environ["TS_CONFIG_OCS_DIR"]) / "ComCamCalib" / "v1"
    init = yaml.safe_load((folder / "_init.yaml").read_text())
    site = folder / "_test.yaml"
    values = yaml.safe_load(site.read_text())
    site.write_text(yaml.safe_dump({**values, "limits": {**init["limits"], **LIMITS}}, sort_keys=False))


@pytest_asyncio.fixture(loop_scope="session")
async def house(
    observatory: Observatory, operator: Operator, journal_path: Path, configured: None, tmp_path: Path
) -> AsyncIterator[House]:
    images: list[Image] = []
    observatory.world.add_listener(images.append)
    async with salobj.Domain() as domain, Operator(domain) as witness:
        yield House(observatory, operator, witness, journal_path, tmp_path / "csc.log", images)


@contextlib.asynccontextmanager
async def new_process(house: House) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a CSC, which goes to ENABLED, in a process of its own."""
    house.operator.forget()
    async with running_csc_process(house.log, "--state", "enabled", program=CSC_PROGRAM) as process:
        yield process


async def start(house: House, collection: str) -> str:
    """Start a run as soon as the CSC is ENABLED; return its identifier."""
    await house.operator.hear("summaryState", LIMIT_S, summaryState=salobj.State.ENABLED)
    return await house.operator.start_run(**OPTIONS, calib_collection=collection)


async def go_on(house: House, run_id: str) -> None:
    """Resume the run as soon as the CSC is ENABLED and has read of it, unless it is over."""
    await house.operator.hear("summaryState", LIMIT_S, summaryState=salobj.State.ENABLED)

    def found() -> list[object]:
        states = house.operator.samples("runState", runId=run_id)
        return [one for one in states if one.state in (RunState.INTERRUPTED, *ENDED)]

    last = (await house.operator.wait_for("the run of the earlier process", found, LIMIT_S))[-1]
    if last.state == RunState.INTERRUPTED:
        assert "resumeCalibrationRun" in last.reason
        await house.operator.command("resumeCalibrationRun", runId="", reason="after kill -9")


async def killed(process: asyncio.subprocess.Process, doing: asyncio.Task[None], after_s: float) -> bool:
    """Kill a process after a time (seconds), unless what is being done ends before; return whether it was killed."""
    await asyncio.wait([doing], timeout=max(after_s, 0.0))
    if doing.done():
        doing.result()
        return False
    process.kill()
    await process.wait()
    doing.cancel()
    await asyncio.gather(doing, return_exceptions=True)
    return True


async def run_with_kills(house: House, kills: list[Kill], collection: str) -> tuple[Outcome, int]:
    """Have a run, and kill its processes, one after the other.

    Returns
    -------
    outcome
        What is left of it.
    done
        How many processes were killed before the run had ended.
    """
    done, run_id = 0, ""
    for kill in kills:
        async with new_process(house) as process:
            if kill.since == "run":
                run_id = await begin(house, run_id, collection)
                doing = asyncio.create_task(until_ended(house, run_id))
            else:
                doing = asyncio.create_task(go_on_to_the_end(house, run_id))
            if not await killed(process, doing, kill.seconds):
                break
            done += 1
    else:
        async with new_process(house):
            run_id = await begin(house, run_id, collection)
            await until_ended(house, run_id)
    return await outcome_of(
        house.observatory, house.witness, house.images, house.journal_path, run_id, collection
    ), done


async def begin(house: House, run_id: str, collection: str) -> str:
    """Start a run, or have one go on; return its identifier."""
    if not run_id:
        return await start(house, collection)
    await go_on(house, run_id)
    return run_id


async def until_ended(house: House, run_id: str) -> None:
    await house.operator.until_ended(run_id, LIMIT_S)


async def go_on_to_the_end(house: House, run_id: str) -> None:
    await go_on(house, run_id)
    await until_ended(house, run_id)


def draw(dice: random.Random, number: int, process_s: float, run_s: float) -> list[Kill]:
    """Draw when the processes of one run are killed.

    Parameters
    ----------
    dice
        Draws.
    number
        How often.
    process_s, run_s
        How long a process takes until it is ENABLED and the run goes on, and an undisturbed run (seconds).
    """
    # Later moments are soon after the resumption, because less and less is left to be done.
    kills = [Kill("run", dice.uniform(0.0, run_s / number))]
    for place in range(1, number):
        if place % 2:
            kills.append(Kill("process", dice.uniform(0.0, process_s)))
        else:
            kills.append(Kill("run", dice.uniform(0.0, run_s / number)))
    return kills


async def test_run_that_is_killed_again_and_again_ends_as_if_undisturbed(house: House) -> None:
    began = time.monotonic()
    async with new_process(house):
        run_id = await start(house, "LSSTComCam/calib/u/crash/0")
        started = time.monotonic()
        await until_ended(house, run_id)
        run_s, process_s = time.monotonic() - started, started - began
    site = (house.observatory, house.witness, house.images, house.journal_path)
    undisturbed = await outcome_of(*site, run_id, "LSSTComCam/calib/u/crash/0")
    assert undisturbed.state is RunState.COMPLETED
    assert undisturbed.exposed == {"BIAS": 3, "DARK": 2, "FLAT": 4}
    dice = random.Random(SEED)
    total, number = 0, 0
    while total < KILLS:
        number += 1
        assert number <= KILLS + 1, f"of {number} runs, some ended before any kill"
        kills = draw(dice, min(KILLS - total, KILLS_A_RUN), process_s, run_s)
        outcome, done = await run_with_kills(house, kills, f"LSSTComCam/calib/u/crash/{number}")
        moments = ", ".join(map(str, kills[:done]))
        assert outcome == undisturbed, f"run {number}, killed {moments} (SEED={SEED}); see {house.log}"
        total += done
        print(f"run {number}: killed {done} times, {moments}: as undisturbed")
    print(f"{total} kills in {number} runs")
