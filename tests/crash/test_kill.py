# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run whose process is killed again and again ends as one that nobody disturbed, with real parts throughout.

Real are the CSC's process and ``kill -9``, Kafka's protocol, the simulated observatory's CSCs, UWS, Butler repository
and files; the worker puts recorded products in place. ``KILLS`` (default 5) is how often the process is killed in all,
in runs with up to ``KILLS_A_RUN`` kills each; ``make crashtest`` takes 40. ``SEED`` draws the moments.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import os
import random
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lsst.ts import salobj
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.enums import CalibType, RunState, StageState
from lsst.ts.comcamcalib.record.fold import fold
from lsst.ts.comcamcalib.record.history import History
from lsst.ts.comcamcalib.run.journal import Journal
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from support.observatory import CSC_PROGRAM, running_csc_process
from support.operator import Operator
from support.repository import certified
from support.run import uws_jobs

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
class Outcome:
    """What is left of a run, without what differs from run to run: identifiers and times."""

    state: RunState
    stages: dict[str, StageState]
    used: dict[str, list[float]]
    """Exposure times of the used frames, by type."""
    jobs: list[str]
    """Labels of the jobs whose outputs the run uses."""
    certified: dict[tuple[str, int], int]
    """How many datasets are certified, by type and detector."""


@pytest.fixture
def configured(observatory: Observatory) -> None:
    """Give the CSC of this observatory the shorter limits."""
    folder = Path(os.environ["TS_CONFIG_OCS_DIR"]) / "ComCamCalib" / "v1"
    init = yaml.safe_load((folder / "_init.yaml").read_text())
    site = folder / "_test.yaml"
    values = yaml.safe_load(site.read_text())
    site.write_text(yaml.safe_dump({**values, "limits": {**init["limits"], **LIMITS}}, sort_keys=False))


@contextlib.asynccontextmanager
async def enabled_process(operator: Operator, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a CSC in a process of its own, and wait until it is ENABLED."""
    operator.forget()
    async with running_csc_process(log, "--state", "enabled", program=CSC_PROGRAM) as process:
        await operator.hear("summaryState", LIMIT_S, summaryState=salobj.State.ENABLED)
        yield process


async def resume(operator: Operator) -> None:
    """Resume the interrupted run; the process may not have read the journal yet."""
    await operator.command("resumeCalibrationRun", runId="", reason="after kill -9")


async def history_of(journal_path: Path, run_id: str) -> History:
    journal = Journal(journal_path, Clock(), lambda sentence: None)
    await journal.open()
    try:
        return fold(await journal.read(run_id))
    finally:
        await journal.close()


async def outcome_of(observatory: Observatory, journal_path: Path, run_id: str, collection: str) -> Outcome:
    """Look at the journal and at what is outside; check what must hold after any run."""
    history = await history_of(journal_path, run_id)
    used_ids = {one.exposure_id for kind in CalibType for one in history.used(kind)}
    products = [history.product(kind) for kind in CalibType]
    used_jobs = [job for job in history.jobs.values() if job.succeeded]
    for job in await uws_jobs(observatory):
        environment = {item["name"]: item["value"] for item in job["parameters"]["environment"]}
        if not str(environment["OUTPUT_GLOB"]).rpartition(",")[2].startswith(f"{run_id}_"):
            continue
        known = {one.job_id for one in history.jobs.values()} | set(history.stray_jobs)
        assert job["jobId"] in known, f"nobody knows of {environment['OUTPUT_GLOB']}"
        assert job["phase"] in ("completed", "error", "aborted"), f"{environment['OUTPUT_GLOB']} still runs"
        exposures = re.search(r"exposure IN \(([^)]*)\)", environment["DATA_QUERY"])
        if exposures and job["jobId"] in {one.job_id for one in used_jobs}:
            assert {int(one) for one in exposures[1].split(",")} <= used_ids, "a job has used other exposures"
    there = await asyncio.to_thread(certified, observatory.repo, collection)
    made = {one for product in products if product is not None for one in product.ids}
    assert {one.dataset_id for one in there} <= made, "something else than the run's own products is certified"
    return Outcome(
        history.state,
        {name: stage.state for name, stage in history.stages.items()},
        {kind.name: [one.exposure_time_s for one in history.used(kind)] for kind in CalibType},
        sorted(job.label for job in used_jobs),
        dict(collections.Counter((one.dataset_type, one.detector) for one in there)),
    )


async def run_with_kills(
    observatory: Observatory,
    operator: Operator,
    journal_path: Path,
    log: Path,
    moments: list[float],
    collection: str,
) -> tuple[Outcome, float]:
    """Have a run, and kill its process at some moments (seconds after the start or resumption of the run).

    Returns
    -------
    outcome
        What is left of it.
    duration
        How long it took (seconds), if nothing was killed.
    """
    run_id, began = "", time.monotonic()
    for moment in [*moments, None]:
        async with enabled_process(operator, log) as process:
            if not run_id:
                run_id = await operator.start_run(**OPTIONS, calib_collection=collection)
                began = time.monotonic()
            else:
                found = await operator.hear("runState", LIMIT_S, runId=run_id, state=RunState.INTERRUPTED)
                assert "resumeCalibrationRun" in found.reason
                await resume(operator)
            if moment is None:
                await until_ended(operator, run_id)
                break
            if await ended_within(operator, run_id, moment):
                break
            process.kill()
            await process.wait()
    duration = time.monotonic() - began
    return await outcome_of(observatory, journal_path, run_id, collection), duration


async def until_ended(operator: Operator, run_id: str) -> Any:
    return await operator.until_ended(run_id, LIMIT_S)


async def ended_within(operator: Operator, run_id: str, limit_s: float) -> bool:
    """Wait; return whether the run has ended meanwhile."""
    try:
        async with asyncio.timeout(limit_s):
            await until_ended(operator, run_id)
    except TimeoutError:
        return False
    return True


async def test_run_that_is_killed_again_and_again_ends_as_if_undisturbed(
    observatory: Observatory, operator: Operator, journal_path: Path, configured: None, tmp_path: Path
) -> None:
    log = tmp_path / "csc.log"
    site = (observatory, operator, journal_path, log)
    undisturbed, duration = await run_with_kills(*site, [], "LSSTComCam/calib/u/crash/0")
    assert undisturbed.state is RunState.COMPLETED
    dice = random.Random(SEED)
    left, number = KILLS, 0
    while left:
        kills = min(left, KILLS_A_RUN)
        left, number = left - kills, number + 1
        # Later moments are soon after the resumption, because less and less is left to be done.
        moments = [dice.uniform(0.0, duration / kills) for _ in range(kills)]
        collection = f"LSSTComCam/calib/u/crash/{number}"
        outcome, _ = await run_with_kills(*site, moments, collection)
        assert outcome == undisturbed, f"run {number} with kills after {moments} (SEED={SEED}); see {log}"
        print(
            f"run {number}: killed {kills} times, after {', '.join(f'{one:.2f}' for one in moments)} s: as undisturbed"
        )
