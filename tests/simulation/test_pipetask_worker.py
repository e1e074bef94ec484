# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pipetask worker behind the UWS server: real command lines of a tiny pipeline, real failures."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from lsst.daf.butler import Butler, CollectionType
from lsst.ts.comcamcalib.simulation.faults import Fault, Faults
from lsst.ts.comcamcalib.simulation.instrument import SimulatedComCam
from lsst.ts.comcamcalib.simulation.pipetask_worker import PipetaskWorker
from lsst.ts.comcamcalib.simulation.uws_server import UwsServer
from lsst.ts.comcamcalib.simulation.worker import Job, Notify, WorkerPhase
from lsst.ts.comcamcalib.simulation.worker_process import commands

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.pipelines]

LIMIT_S = 60.0
TINY = Path(__file__).parent.parent / "data" / "tiny_pipeline"
ENVIRONMENT = {"PYTHONPATH": str(TINY), "TINY_DIR": str(TINY)}


class WatchedWorker(PipetaskWorker):
    """A worker whose words the test can wait for."""

    def __init__(self) -> None:
        super().__init__(max_jobs=2, environment=ENVIRONMENT, modules=["tiny_tasks"])
        self.notified = asyncio.Event()

    async def start(self, notify: Notify) -> None:
        def pass_on(job_id: str, phase: WorkerPhase) -> None:
            notify(job_id, phase)
            self.notified.set()

        await super().start(pass_on)


@dataclasses.dataclass
class Site:
    """A server with its worker, and a client's view of both."""

    repo: Path
    worker: WatchedWorker
    faults: Faults
    server: UwsServer
    session: aiohttp.ClientSession

    async def submit(self, options: str = "", detectors: str = "0..2") -> str:
        environment = {
            "PIPELINE_URL": "${TINY_DIR}/tiny.yaml",
            "BUTLER_REPO": str(self.repo),
            "RUN_OPTIONS": f"-i LSSTComCam/raw/all --register-dataset-types {options}",
            "DATA_QUERY": f"instrument='LSSTComCam' AND detector IN ({detectors})",
            "OUTPUT_GLOB": "tinyStats",
        }
        body = {
            "command": "cd $JOB_SOURCE_DIR && bash bin/pipetask.sh",
            "environment": [{"name": name, "value": value} for name, value in environment.items()],
        }
        async with self.session.put(f"{self.server.url}/job", json=body) as reply:
            assert reply.status == 200
            job_id: str = (await reply.json())["jobId"]
            return job_id

    async def get(self, job_id: str) -> dict[str, Any]:
        async with self.session.get(f"{self.server.url}/job/{job_id}") as reply:
            assert reply.status == 200
            job: dict[str, Any] = await reply.json()
            return job

    async def until(self, job_id: str, *phases: str) -> dict[str, Any]:
        """Wait until a job is in one of these phases."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                self.worker.notified.clear()
                job = await self.get(job_id)
                if job["phase"] in phases:
                    return job
                await self.worker.notified.wait()

    async def log(self, job_id: str) -> str:
        results = (await self.get(job_id))["results"]
        for result in results:
            if result["uri"].endswith("/ocps.log"):
                async with self.session.get(f"{self.server.url}/job/result/{job_id}/{result['id']}") as reply:
                    return await reply.text()
        return ""

    async def until_logged(self, job_id: str, text: str) -> str:
        """Wait until a job's log has a text."""
        async with asyncio.timeout(LIMIT_S):
            while text not in (log := await self.log(job_id)):
                pass
            return log

    def detectors(self, job_id: str) -> list[int]:
        """Return the detectors for which a job put something out."""
        with Butler.from_config(str(self.repo)) as butler:
            refs = butler.query_datasets("tinyStats", collections=f"u/ocps/{job_id}/run", explain=False)
            return sorted(ref.dataId["detector"] for ref in refs)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    root = tmp_path_factory.mktemp("site")
    repo = root / "repo"
    Butler.makeRepo(str(repo))
    with Butler.from_config(str(repo), writeable=True) as butler:
        SimulatedComCam().register(butler.registry)
        butler.collections.register("LSSTComCam/raw/all", CollectionType.RUN)
    worker = WatchedWorker()
    faults = Faults()
    async with UwsServer(worker, root / "uws", faults) as server, aiohttp.ClientSession() as session:
        yield Site(repo, worker, faults, server, session)


def is_alive(process: int) -> bool:
    """Return whether a process exists and is not just waiting for its parent to read its status."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
    return state.stdout.strip()[:1] not in ("", "Z")


async def until_dead(process: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while await asyncio.to_thread(is_alive, process):
            pass


async def test_good_job_leaves_log_results_and_collections(site: Site) -> None:
    job_id = await site.submit("-c tiny:number=7 -j 1")
    job = await site.until(job_id, "completed", "error")
    log = await site.log(job_id)
    assert job["phase"] == "completed", log
    lines = [line for line in log.splitlines() if line.startswith("+ ")]
    output = f"u/ocps/{job_id}"
    assert lines[0].startswith(f"+ pipetask --long-log run -p '${{TINY_DIR}}/tiny.yaml' -b {site.repo} -o {output} -i ")
    assert f"-c tiny:number=7 -j 1 --output-run {output}/run -d " in lines[0]
    assert lines[1].startswith(f"+ butler retrieve-artifacts --collections {output}/run --dataset-type tinyStats ")
    names = {Path(result["uri"]).name for result in job["results"]}
    assert "ocps.log" in names
    assert sum(name.startswith("tinyStats_LSSTComCam_R22_S0") for name in names) == 3
    with Butler.from_config(str(site.repo)) as butler:
        info = butler.collections.get_info(output)
        assert info.type is CollectionType.CHAINED
        assert info.children == (f"{output}/run", "LSSTComCam/raw/all")
        assert butler.get("tinyStats", instrument="LSSTComCam", detector=2, collections=output) == {"number": 7}


async def test_quanta_in_processes_of_their_own(site: Site) -> None:
    job_id = await site.submit("-j 2", detectors="0, 1")
    assert (await site.until(job_id, "completed", "error"))["phase"] == "completed", await site.log(job_id)
    assert len(set(re.findall(r"Running in process (\d+)", await site.log(job_id)))) == 2
    assert site.detectors(job_id) == [0, 1]


async def test_third_job_waits_for_a_place(site: Site) -> None:
    jobs = [await site.submit() for _ in range(3)]
    assert (await site.get(jobs[2]))["phase"] == "queued"
    for job_id in jobs:
        assert (await site.until(job_id, "completed", "error"))["phase"] == "completed"
    starts = [(await site.get(job_id))["endTime"] for job_id in jobs]
    assert starts[2] >= min(starts)
    with Butler.from_config(str(site.repo)) as butler:
        runs = [f"u/ocps/{job_id}/run" for job_id in jobs]
        refs = {ref.id for run in runs for ref in butler.query_datasets("tinyStats", collections=run)}
        assert len(refs) == 9  # forks of one process must not make the same UUIDs


async def test_error_after_some_quanta_leaves_their_output_and_a_traceback(site: Site) -> None:
    site.faults.set([Fault("worker", "error", match={"pipeline": "tiny"}, value=1, text="no usable pixels")])
    job_id = await site.submit("-j 4")
    job = await site.until(job_id, "completed", "error")
    assert (job["phase"], job["endTime"], job["errorSummary"]["message"]) == ("error", None, "")
    log = await site.log(job_id)
    assert "Traceback (most recent call last):" in log
    assert re.search(r"Execution of task 'tiny' on quantum .* failed\. Exception RuntimeError: no usable pixels", log)
    assert "butler retrieve-artifacts" not in log
    assert len(site.detectors(job_id)) == 1
    assert (await site.until(await site.submit(), "completed", "error"))["phase"] == "completed"


async def test_one_failed_quantum_leaves_the_other_detectors(site: Site) -> None:
    site.faults.set([Fault("worker", "fail_quantum", value=1)])
    job_id = await site.submit()
    assert (await site.until(job_id, "completed", "error"))["phase"] == "error"
    assert len(site.detectors(job_id)) == 2


async def test_killed_job_is_in_error_without_a_word(site: Site) -> None:
    site.faults.set([Fault("worker", "die", value=2)])
    job_id = await site.submit()
    assert (await site.until(job_id, "completed", "error"))["phase"] == "error"
    log = await site.log(job_id)
    assert "Executed 2 quanta successfully" in log
    assert "Traceback" not in log
    assert len(site.detectors(job_id)) == 2


async def test_slow_job_takes_longer_and_is_good(site: Site) -> None:
    site.faults.set([Fault("worker", "slow", value=0.4)])
    loop = asyncio.get_running_loop()
    begin = loop.time()
    assert (await site.until(await site.submit(), "completed", "error"))["phase"] == "completed"
    assert loop.time() - begin > 1.2


async def test_hanging_job_runs_until_it_is_deleted_with_all_its_processes(site: Site) -> None:
    site.faults.set([Fault("worker", "hang", value=1)])
    job_id = await site.submit()
    log = await site.until_logged(job_id, "Executed 1 quanta successfully")
    found = re.search(r"Running in process (\d+)", log)
    assert found is not None
    process = int(found[1])
    assert is_alive(process)
    assert (await site.get(job_id))["phase"] == "executing"
    async with site.session.delete(f"{site.server.url}/job/{job_id}") as reply:
        assert reply.status == 200
    await until_dead(process)
    async with site.session.get(f"{site.server.url}/job/{job_id}") as reply:
        assert (reply.status, await reply.json()) == (404, "")
    assert len(site.detectors(job_id)) == 1  # what it has put out stays


async def test_queued_job_can_be_deleted(site: Site) -> None:
    site.faults.set([Fault("worker", "hang", times=2)])
    jobs = [await site.submit() for _ in range(3)]
    for job_id in (jobs[2], jobs[0], jobs[1]):
        async with site.session.delete(f"{site.server.url}/job/{job_id}") as reply:
            assert reply.status == 200
    assert (await site.until(await site.submit(), "completed", "error"))["phase"] == "completed"
    with Butler.from_config(str(site.repo)) as butler:
        assert not butler.collections.query(f"u/ocps/{jobs[2]}*")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("-c tiny:nothing=1", "AttributeError: tiny_tasks.TinyConfig has no attribute nothing"),
        ("-i no/such/collection", "no/such/collection"),
        ("-c 'tiny:number=1'", "'tiny"),  # the shell does not take away quotes that a variable holds
        ("--no-such-option", "No such option"),
    ],
)
async def test_bad_options_are_explained_in_the_log(site: Site, options: str, reason: str) -> None:
    job_id = await site.submit(options)
    assert (await site.until(job_id, "completed", "error"))["phase"] == "error"
    assert reason in await site.log(job_id)
    assert "butler retrieve-artifacts" not in await site.log(job_id)


async def test_unknown_fault_fails_the_job_and_says_why(site: Site) -> None:
    site.faults.set([Fault("worker", "explode")])
    job_id = await site.submit()
    assert (await site.until(job_id, "completed", "error"))["phase"] == "error"
    assert "There is no fault 'explode' of the worker" in await site.log(job_id)


async def test_death_of_the_workers_process_fails_its_jobs_and_the_next_one_runs(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.faults.set([Fault("worker", "hang", value=1)])
    job_id = await site.submit()
    log = await site.until_logged(job_id, "Executed 1 quanta successfully")
    found = re.search(r"Running in process (\d+)", log)
    assert found is not None
    former = site.worker.pid
    with caplog.at_level(logging.ERROR):
        os.kill(former, signal.SIGKILL)
        assert (await site.until(job_id, "error"))["phase"] == "error"
    assert f"process {former} died with status -9; its 1 jobs are in error" in caplog.text
    job_id = await site.submit()
    assert (await site.until(job_id, "completed", "error"))["phase"] == "completed"
    assert site.worker.pid not in (0, former)
    await until_dead(int(found[1]))


async def test_close_kills_what_runs(tmp_path: Path) -> None:
    worker = PipetaskWorker(environment=ENVIRONMENT, modules=["tiny_tasks"])
    phases: list[tuple[str, str]] = []
    await worker.start(lambda job_id, phase: phases.append((job_id, phase)))
    process = worker.pid
    out, src = tmp_path / "out", tmp_path / "src"
    out.mkdir()
    src.mkdir()
    environment = {"JOB_ID": "j", "JOB_OUTPUT_DIR": str(out), "JOB_SOURCE_DIR": str(src), "BUTLER_REPO": str(tmp_path)}
    await worker.submit(Job("j", {**environment, "PIPELINE_URL": "none.yaml"}, out))
    await worker.close()
    assert not is_alive(process)
    assert phases == [("j", "executing"), ("j", "error")]
    assert worker.pid == 0
    await worker.close()


async def test_worker_that_cannot_import_its_pipelines_says_so() -> None:
    worker = PipetaskWorker(modules=["no_such_tasks"])
    with pytest.raises(RuntimeError, match="ended with status 1 before it had imported what jobs need"):
        await worker.start(lambda job_id, phase: None)
    await worker.close()


async def test_command_lines_are_those_of_the_real_script() -> None:
    environment = {
        "JOB_ID": "0a",
        "JOB_OUTPUT_DIR": "/uws/jobs/0a/out",
        "BUTLER_REPO": "/repo/LSSTComCam",
        "PIPELINE_URL": "${CP_PIPE_DIR}/pipelines/LSSTComCam/cpBias.yaml",
        "RUN_OPTIONS": "-i LSSTComCam/raw/all,LSSTComCam/calib  -i u/ocps/09\t-j 8 ",
        "DATA_QUERY": "instrument='LSSTComCam' AND exposure IN (1, 2)",
        "OUTPUT_GLOB": "bias,mark_1*",
    }
    pipetask, retrieve = commands(environment)
    assert pipetask == [
        *("pipetask", "--long-log", "run", "-p", "${CP_PIPE_DIR}/pipelines/LSSTComCam/cpBias.yaml"),
        *("-b", "/repo/LSSTComCam", "-o", "u/ocps/0a", "-i", "LSSTComCam/raw/all,LSSTComCam/calib", "-i", "u/ocps/09"),
        *("-j", "8", "--output-run", "u/ocps/0a/run", "-d", "instrument='LSSTComCam' AND exposure IN (1, 2)"),
    ]
    assert retrieve == [
        *("butler", "retrieve-artifacts", "--collections", "u/ocps/0a/run", "--dataset-type", "bias,mark_1*"),
        *("--transfer", "auto", "--no-preserve-path", "/repo/LSSTComCam", "/uws/jobs/0a/out"),
    ]
