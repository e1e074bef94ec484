# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What clients see of a UWS server, a schema registry and a broker that fail, and that they come back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import confluent_kafka
import pytest
from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker
from lsst.ts.comcamcalib.simulation.faults import Fault, Faults
from lsst.ts.comcamcalib.simulation.registry import SchemaRegistry
from lsst.ts.comcamcalib.simulation.scenarios import scenario_faults
from lsst.ts.comcamcalib.simulation.uws_server import UwsServer
from support.bus import HandWorker

LIMIT_S = 10.0
SUBMISSION = {
    "command": "cd $JOB_SOURCE_DIR && bash bin/pipetask.sh",
    "environment": [{"name": "PIPELINE_URL", "value": "${CP_PIPE_DIR}/pipelines/LSSTComCam/cpBias.yaml"}],
}


class Client:
    """Asks the UWS server as the CSC does."""

    def __init__(self, server: UwsServer, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session

    async def submit(self) -> str:
        async with self._session.put(f"{self._server.url}/job", json=SUBMISSION) as reply:
            return str((await reply.json())["jobId"])

    async def look(self, job_id: str, **keywords: str) -> tuple[int, str]:
        """Return status and text of the answer about a job."""
        async with self._session.get(f"{self._server.url}/job/{job_id}", headers=keywords) as reply:
            return reply.status, await reply.text()

    async def phase(self, job_id: str) -> str:
        return str(json.loads((await self.look(job_id))[1])["phase"])


@pytest.fixture
def worker() -> HandWorker:
    return HandWorker()


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
async def server(worker: HandWorker, faults: Faults, tmp_path: Path) -> AsyncIterator[UwsServer]:
    async with UwsServer(worker, tmp_path, faults) as server:
        yield server


@pytest.fixture
async def client(server: UwsServer) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(LIMIT_S)) as session:
        yield Client(server, session)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110  # nothing reports it
            await asyncio.sleep(0.01)


async def test_server_that_is_down_refuses_connections_and_has_its_jobs_when_it_is_back(
    client: Client, faults: Faults
) -> None:
    job_id = await client.submit()
    faults.set([Fault("http", "down", match={"resource": "job"})])
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.look(job_id)
    for _ in range(3):
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.look(job_id)
    faults.set([])
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                assert (await client.look(job_id))[0] == 200
                break
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.01)


async def test_server_comes_back_by_itself_after_its_time(client: Client, faults: Faults) -> None:
    job_id = await client.submit()
    faults.set([Fault("http", "down", match={"resource": "job"}, value=0.3)])
    begin = time.monotonic()
    answers: list[int] = []
    async with asyncio.timeout(LIMIT_S):
        while not answers:
            try:
                answers.append((await client.look(job_id))[0])
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.01)
    assert answers == [200]
    assert time.monotonic() - begin >= 0.3


async def test_server_that_is_down_can_be_closed(worker: HandWorker, tmp_path: Path) -> None:
    faults = Faults([Fault("http", "down")])
    async with UwsServer(worker, tmp_path, faults) as server, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await Client(server, session).submit()


async def test_truncated_answer_is_half_of_a_job_with_status_200(client: Client, faults: Faults) -> None:
    job_id = await client.submit()
    whole = (await client.look(job_id))[1]
    faults.set([Fault("http", "truncate", match={"resource": "job"})])
    assert await client.look(job_id) == (200, whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(whole[: len(whole) // 2])


async def test_fault_can_be_for_the_ocps_alone(client: Client, faults: Faults) -> None:
    job_id = await client.submit()
    faults.set(scenario_faults(["ocps-loses-job"]))
    assert (await client.look(job_id))[0] == 200
    assert (await client.look(job_id, **{"User-Agent": "python-requests/2.32.5"}))[0] == 500


@pytest.mark.parametrize("scenario", ["uws-500", "uws-html", "uws-truncated", "ingress-404"])
async def test_bad_answers_about_a_job_end_after_a_while(client: Client, faults: Faults, scenario: str) -> None:
    job_id = await client.submit()
    whole = (await client.look(job_id))[1]
    faults.set(scenario_faults([scenario]))
    good = [await client.look(job_id) == (200, whole) for _ in range(12)]
    assert good[:3] == [True, True, False]
    assert good[-1] is True


async def test_job_without_a_machine_is_queued_until_somebody_deletes_it(
    client: Client, faults: Faults, worker: HandWorker
) -> None:
    faults.set(scenario_faults(["job-stays-queued"]))
    job_id = await client.submit()
    assert await client.phase(job_id) == "queued"
    assert worker.jobs == {}
    assert await client.phase(await client.submit()) == "pending", "only the first job stays queued"


async def test_job_that_reaches_its_deadline_is_in_error_without_an_end_time(
    client: Client, faults: Faults, worker: HandWorker
) -> None:
    faults.set([Fault("worker", "deadline", value=0.2)])
    job_id = await client.submit()
    assert worker.jobs[job_id].fault == Fault("worker", "hang")
    worker.move(job_id, "executing")
    assert await client.phase(job_id) == "executing"
    await until(lambda: job_id not in worker.jobs)
    job = json.loads((await client.look(job_id))[1])
    assert (job["phase"], job["endTime"], job["errorSummary"]) == ("error", None, {"message": ""})


async def test_job_that_somebody_deletes_is_not_known_any_more(
    client: Client, faults: Faults, worker: HandWorker
) -> None:
    faults.set([Fault("worker", "delete", value=0.2)])
    job_id = await client.submit()
    output = worker.jobs[job_id].output_dir
    worker.move(job_id, "executing")
    await until(lambda: not output.exists())
    assert job_id not in worker.jobs
    assert await client.look(job_id) == (404, '""')


async def test_registry_that_is_down_refuses_connections_until_the_fault_is_lifted() -> None:
    faults = Faults(scenario_faults(["registry-down"]))
    async with SchemaRegistry(faults=faults) as registry, aiohttp.ClientSession() as session:

        async def subjects() -> int:
            async with session.get(f"{registry.url}/subjects") as reply:
                return reply.status

        with pytest.raises(aiohttp.ClientConnectionError):
            await subjects()
        with pytest.raises(aiohttp.ClientConnectorError):
            await subjects()
        faults.set([])
        async with asyncio.timeout(LIMIT_S):
            while True:
                try:
                    assert await subjects() == 200
                    break
                except aiohttp.ClientConnectorError:
                    await asyncio.sleep(0.01)


def test_broker_that_is_down_comes_back_with_its_messages() -> None:
    with EmbeddedBroker() as broker:
        broker.create_topics(["lsst.test"])
        undelivered: list[object] = []
        producer = confluent_kafka.Producer({"bootstrap.servers": broker.address, "acks": 1})

        def produce() -> int:
            """Send a message; return how many are undelivered after half a second."""
            producer.produce("lsst.test", b"x", on_delivery=lambda error, _: undelivered.append(error) if error else 0)
            return int(producer.flush(0.5))

        assert produce() == 0
        broker.apply([Fault("kafka", "down", value=2.0)])
        assert produce() == 1
        assert producer.flush(LIMIT_S) == 0, "it is delivered when the broker is back"
        assert undelivered == []


def test_broker_that_is_down_can_be_closed_and_repaired() -> None:
    with EmbeddedBroker() as broker:
        broker.apply([Fault("kafka", "down", value=60.0)])
        broker.apply([])
        broker.apply([Fault("kafka", "down", value=60.0)])
