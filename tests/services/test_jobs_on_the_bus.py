# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs through the real services: SAL to the simulated OCPS, HTTP to the simulated UWS; the test moves the jobs."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from lsst.ts import salobj
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.errors import NotEnabledError, UnknownJobError, UnreachableError
from lsst.ts.comcamcalib.plan.request import JobRequest
from lsst.ts.comcamcalib.services.jobs import JobService, JobStatus
from lsst.ts.comcamcalib.services.ocps import SalOcps
from lsst.ts.comcamcalib.services.uws import UwsClient
from lsst.ts.comcamcalib.simulation.configuration import write_ocps_configuration
from lsst.ts.comcamcalib.simulation.faults import Fault, Faults
from lsst.ts.comcamcalib.simulation.ocps import OCPS_INDEX, OcpsCsc
from lsst.ts.comcamcalib.simulation.uws_server import UwsServer
from support.bus import HandWorker
from support.permission import allowed

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="module")]

LIMIT_S = 30.0
BIAS = JobRequest("${CP_PIPE_DIR}/pipelines/LSSTComCam/cpBias.yaml", "detector=0", "-j 1", "bias,mark-1")


class Place:
    """All that has to do with jobs, as the CSC has it."""

    def __init__(self, service: JobService, uws: UwsClient, worker: HandWorker, faults: Faults) -> None:
        self.service, self.uws, self.worker, self.faults = service, uws, worker, faults
        self.backend: list[bool] = []
        self.notified: list[JobStatus] = []

    async def on_backend(self, reachable: bool, _sentence: str) -> None:
        self.backend.append(reachable)

    async def on_change(self, status: JobStatus) -> None:
        self.notified.append(status)

    async def made(self, mark: str) -> tuple[asyncio.Task[JobStatus], str]:
        """Submit a job with a mark of its own; return once the worker has it."""
        before = set(self.worker.jobs)
        request = dataclasses.replace(BIAS, output_dataset_types=f"bias,{mark}")
        running = asyncio.create_task(self.service.run(request, self.on_change))
        (job_id,) = set(await self.worker.wait_for_jobs(len(before) + 1)) - before
        return running, job_id

    async def start(self) -> tuple[asyncio.Task[JobStatus], str]:
        """Run a job; return once the worker has it."""
        before = set(self.worker.jobs)
        running = asyncio.create_task(self.service.run(BIAS, self.on_change))
        (job_id,) = set(await self.worker.wait_for_jobs(len(before) + 1)) - before
        return running, job_id


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole_place(bus: None, limits: Limits, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    worker, faults = HandWorker(), Faults()
    async with UwsServer(worker, tmp_path_factory.mktemp("uws"), faults) as server:
        config = write_ocps_configuration(tmp_path_factory.mktemp("config"), server.url, Path("/repo/simulated"))
        async with (
            OcpsCsc(config, salobj.State.ENABLED),
            salobj.Domain() as domain,
            UwsClient(server.url, limits, backoff_s=0.001) as uws,
        ):
            ocps = SalOcps(domain, OCPS_INDEX, limits, allowed)
            await ocps.start()
            yield ocps, uws, worker, faults
            await ocps.close()


@pytest_asyncio.fixture(loop_scope="module")
async def place(whole_place: Any, limits: Limits) -> AsyncIterator[Place]:
    ocps, uws, worker, faults = whole_place

    async def on_backend(reachable: bool, sentence: str) -> None:
        await place.on_backend(reachable, sentence)

    service = JobService(ocps, uws, 0.05, limits, Clock(), on_backend)
    place = Place(service, uws, worker, faults)
    yield place
    faults.set([])
    for job_id in list(worker.jobs):
        worker.move(job_id, "error")
    worker.jobs.clear()
    await service.close()


async def test_a_job_completes(place: Place) -> None:
    running, job_id = await place.start()
    place.worker.move(job_id, "executing")
    await asyncio.sleep(0)
    place.worker.move(job_id, "completed")
    status = await asyncio.wait_for(running, LIMIT_S)
    assert status.succeeded and status.job_id == job_id and place.notified[-1] == status
    assert place.notified[0].job_id == job_id


async def test_a_job_fails_and_its_log_says_why(place: Place) -> None:
    running, job_id = await place.start()
    place.worker.move(job_id, "executing")
    log = Path(__file__).parent / "data" / "failed_quantum.log"
    (place.worker.jobs[job_id].output_dir / "ocps.log").write_text(log.read_text())
    place.worker.move(job_id, "error")
    status = await asyncio.wait_for(running, LIMIT_S)
    assert (status.phase, status.exit_code) == ("error", 1)
    assert status.message == f"Job {job_id} failed: cpBias, detector 7: RuntimeError: simulated failure"


async def test_an_aborted_job_is_gone_at_the_uws_and_its_follower_learns_it(place: Place) -> None:
    running, job_id = await place.start()
    place.worker.move(job_id, "executing")
    assert await place.service.abort_all(LIMIT_S) == []
    status = await asyncio.wait_for(running, LIMIT_S)
    assert (status.phase, status.exit_code) == ("aborted", 255)
    with pytest.raises(UnknownJobError):
        await place.uws.job(job_id)
    assert job_id not in place.worker.jobs


async def test_a_job_is_attached_to_by_another_service_after_the_first_one_was_cancelled(
    place: Place, whole_place: Any, limits: Limits
) -> None:
    running, job_id = await place.start()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    ocps, uws, _, _ = whole_place
    other = JobService(ocps, uws, 0.05, limits, Clock(), place.on_backend)
    attached = asyncio.create_task(other.attach(job_id, place.on_change))
    place.worker.move(job_id, "executing")
    place.worker.move(job_id, "completed")
    assert (await asyncio.wait_for(attached, LIMIT_S)).succeeded
    await other.close()


async def test_of_a_uws_that_is_down_for_a_while_the_csc_is_notified_and_it_is_waited_out(place: Place) -> None:
    running, job_id = await place.start()
    place.worker.move(job_id, "executing")
    # Only the looks at jobs: more of them than one question of the client tries.
    place.faults.set([Fault("http", "status", {"method": "GET"}, times=12, value=503.0, text="down")])
    place.worker.move(job_id, "completed")
    status = await asyncio.wait_for(running, LIMIT_S)
    assert status.job_id == job_id and status.ended
    assert place.backend[:1] == [False]


async def test_a_job_that_the_uws_forgets_is_not_waited_for(place: Place) -> None:
    running, job_id = await place.start()
    place.worker.move(job_id, "executing")
    async with place.uws._session.delete(f"{place.uws.url}/job/{job_id}") as response:  # type: ignore[union-attr]
        assert response.status == 200
    status = await asyncio.wait_for(running, LIMIT_S)
    assert (status.succeeded, status.phase) == (False, "unknown")
    assert "The UWS does not know job" in status.message


@pytest.mark.parametrize(
    "fault",
    [
        Fault("http", "status_reply", {"method": "PUT"}, value=500, text="Job creation timed out."),
        Fault("http", "status_reply", {"method": "PUT"}, value=504, text="<html>504 Gateway Time-out</html>"),
        Fault("http", "garbage", {"method": "PUT"}),
        Fault("http", "garbage", {"method": "PUT"}, text="{}"),
        Fault("http", "drop_reply", {"method": "PUT"}),
    ],
    ids=["500", "504", "page", "empty object", "dropped"],
)
async def test_a_job_that_was_made_behind_an_error_is_found_and_followed(place: Place, fault: Fault) -> None:
    place.faults.set([fault])
    running, job_id = await place.made(f"behind-{uuid.uuid4().hex}*")
    place.worker.move(job_id, "executing")
    place.worker.move(job_id, "completed")
    status = await asyncio.wait_for(running, LIMIT_S)
    assert status.succeeded and status.job_id == job_id


async def test_a_redirection_makes_no_job_and_that_is_not_certain(
    place: Place, whole_place: Any, limits: Limits
) -> None:
    """The OCPS follows it with a GET, and finds no job in what it gets."""
    ocps, uws, _, faults = whole_place
    faults.set([Fault("http", "redirect", {"method": "PUT"}, text=f"{uws.url}/job")])
    service = JobService(ocps, uws, 0.05, limits.model_copy(update={"job_submission": 1.0}), Clock(), place.on_backend)
    request = dataclasses.replace(BIAS, output_dataset_types="bias,redirected*")
    with pytest.raises(UnreachableError, match=r"No job with its mark redirected\* appeared at the UWS"):
        await asyncio.wait_for(service.run(request, place.on_change), LIMIT_S)
    await service.close()


async def test_four_answers_of_an_ingress_do_not_fail_a_good_job(place: Place) -> None:
    running, job_id = await place.made("ingress*")
    place.worker.move(job_id, "executing")
    place.faults.set(
        [
            Fault(
                "http", "status", {"method": "GET", "resource": "job"}, times=8, value=404, text="default backend - 404"
            )
        ]
    )
    await asyncio.sleep(0)
    place.worker.move(job_id, "completed")
    assert (await asyncio.wait_for(running, LIMIT_S)).succeeded


async def test_a_job_that_has_completed_is_still_at_the_uws_after_an_abort(place: Place) -> None:
    running, job_id = await place.made("20261122-009_BIAS.GENERATE_cpBias*")
    place.worker.move(job_id, "executing")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    (place.worker.jobs[job_id].output_dir / "ocps.log").write_text("all is well\n")
    place.worker.move(job_id, "completed")
    assert await place.service.abort_all(LIMIT_S, "20261122-009") == []
    assert (place.notified[-1].phase, place.notified[-1].exit_code) == ("completed", 0)
    assert await place.uws.log_text(job_id) == "all is well\n"


async def test_an_ocps_in_standby_takes_no_job_and_no_abort_and_says_what_to_do(place: Place, whole_place: Any) -> None:
    ocps, _, _, _ = whole_place
    running, job_id = await place.made("20261122-010_BIAS.GENERATE_cpBias*")
    place.worker.move(job_id, "executing")
    async with (
        salobj.Domain() as domain,
        salobj.Remote(domain, "OCPS", OCPS_INDEX, include=["summaryState"]) as remote,
    ):
        await salobj.set_summary_state(remote, salobj.State.STANDBY)
        with pytest.raises(NotEnabledError, match=r"not allowed in state.*It is not ENABLED: enable it\."):
            await ocps.submit(BIAS)
        (problem,) = await place.service.abort_all(LIMIT_S, "20261122-010")
        assert "enable it. At the UWS: its phase is executing. The CSC tries again" in problem
        await salobj.set_summary_state(remote, salobj.State.ENABLED)
        # Asked for once more, it is tried at once.
        assert await place.service.abort_all(LIMIT_S, "20261122-010") == []
    assert (await asyncio.wait_for(running, LIMIT_S)).phase == "aborted"
    assert job_id not in place.worker.jobs
