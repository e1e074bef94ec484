# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The UWS server's REST API over real HTTP: what it answers, its quirks and its faults."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from lsst.ts.comcamcalib.simulation.faults import Fault, Faults
from lsst.ts.comcamcalib.simulation.scenarios import scenario_faults
from lsst.ts.comcamcalib.simulation.uws_server import UwsLimits, UwsServer
from lsst.ts.comcamcalib.simulation.worker import Job, Notify, WorkerPhase, pipeline_name

LIMIT_S = 10.0
DROPS = 2  # aiohttp's client repeats a request, PUT too, once by itself when the server drops the connection
COMMAND = "cd $JOB_SOURCE_DIR && bash bin/pipetask.sh"
PIPELINE = "${CP_PIPE_DIR}/pipelines/LSSTComCam/cpBias.yaml"


class ScriptedWorker:
    """Does with jobs what the test says."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.aborted: list[str] = []
        self.submitted = asyncio.Event()
        self.closed = False
        self.notify: Notify = lambda job_id, phase: None

    async def start(self, notify: Notify) -> None:
        self.notify = notify

    async def submit(self, job: Job) -> None:
        self.jobs[job.job_id] = job
        self.submitted.set()

    async def abort(self, job_id: str) -> None:
        self.aborted.append(job_id)

    async def close(self) -> None:
        self.closed = True

    def write(self, job_id: str, name: str, text: str) -> None:
        path = self.jobs[job_id].output_dir / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


@pytest.fixture
def worker() -> ScriptedWorker:
    return ScriptedWorker()


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
async def server(worker: ScriptedWorker, faults: Faults, tmp_path: Path) -> AsyncIterator[UwsServer]:
    async with UwsServer(worker, tmp_path, faults) as server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(LIMIT_S)) as session:
        yield session


Ask = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def ask(server: UwsServer, session: aiohttp.ClientSession) -> Ask:
    """Send a request and return status and text of the answer."""

    async def ask(method: str, path: str, **arguments: Any) -> tuple[int, str]:
        async with session.request(method, server.url + path, **arguments) as reply:
            return reply.status, await reply.text()

    return ask


def submission(**environment: str) -> dict[str, Any]:
    """Return the body of a submission as the OCPS makes it."""
    values = {"IMAGE_TAG": "d_latest", "PIPELINE_URL": PIPELINE, "OUTPUT_GLOB": "bias", **environment}
    return {
        "run_id": "1234",
        "command": COMMAND,
        "url": "https://github.com/lsst-dm/uws_scripts",
        "commit_ref": "main",
        "environment": [{"name": name, "value": value} for name, value in values.items()],
    }


async def submit(ask: Ask, **environment: str) -> str:
    status, text = await ask("PUT", "/job", json=submission(**environment))
    assert status == 200, text
    job_id: str = json.loads(text)["jobId"]
    return job_id


async def phase_of(ask: Ask, job_id: str) -> str:
    status, text = await ask("GET", f"/job/{job_id}/phase")
    assert status == 200
    phase: str = json.loads(text)
    return phase


async def until_gone(ask: Ask, job_id: str) -> None:
    """Wait until a job answers 404."""
    async with asyncio.timeout(LIMIT_S):
        while (await ask("GET", f"/job/{job_id}"))[0] != 404:
            pass


async def test_submitted_job_is_described_as_the_real_server_does(
    ask: Ask, worker: ScriptedWorker, tmp_path: Path
) -> None:
    status, text = await ask("PUT", "/job", json=submission(RUN_OPTIONS="-i LSSTComCam/raw/all -j 1"))
    assert status == 200
    job = json.loads(text)
    assert re.fullmatch("[0-9a-f]{32}", job["jobId"])
    assert job == await get_job(ask, job["jobId"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00", job.pop("creationTime"))
    parameters = job.pop("parameters")
    assert job == {
        "jobId": job["jobId"],
        "runId": "1234",
        "ownerId": "",
        "phase": "pending",
        "startTime": None,
        "endTime": None,
        "executionDuration": None,
        "destruction": None,
        "results": [],
        "errorSummary": {"message": ""},
        "jobInfo": {},
    }
    assert parameters["command"] == ["/bin/bash", "-c", COMMAND]
    environment = {item["name"]: item["value"] for item in parameters["environment"]}
    assert environment["PIPELINE_URL"] == PIPELINE
    assert environment["RUN_OPTIONS"] == "-i LSSTComCam/raw/all -j 1"
    assert environment["GIT_COMMIT_REF"] == "main"
    assert environment["JOB_ID"] == job["jobId"]
    assert worker.jobs[job["jobId"]].environment.items() <= environment.items()
    assert {path.name for path in (tmp_path / "jobs" / job["jobId"]).iterdir()} == {"out", "src"}


async def test_environment_has_the_order_of_the_real_one_and_null_for_what_is_empty(
    ask: Ask, worker: ScriptedWorker
) -> None:
    job_id = await submit(ask, IMAGE_TAG="", DATA_QUERY="detector=0")
    environment = [(item["name"], item["value"]) for item in await get_environment(ask, job_id)]
    assert [name for name, _ in environment] == [
        *("JOB_SOURCE_DIR", "SRC_GIT_URL", "GIT_COMMIT_REF", "JOB_OUTPUT_DIR", "JOB_ID"),
        *("IMAGE_TAG", "PIPELINE_URL", "OUTPUT_GLOB", "DATA_QUERY"),
        *("DAF_BUTLER_REPOSITORY_INDEX", "PGPASSFILE", "PGUSER"),
    ]
    assert dict(environment)["IMAGE_TAG"] is None
    assert worker.jobs[job_id].environment["IMAGE_TAG"] == "", "in the container it is empty, as it was given"


async def get_environment(ask: Ask, job_id: str) -> list[dict[str, str | None]]:
    status, text = await ask("GET", f"/job/{job_id}/parameters")
    assert status == 200
    environment: list[dict[str, str | None]] = json.loads(text)["environment"]
    return environment


async def test_queued_job_has_started_when_it_was_made(ask: Ask, worker: ScriptedWorker) -> None:
    job_id = await submit(ask)
    worker.notify(job_id, "queued")
    job = await get_job(ask, job_id)
    assert (job["phase"], job["startTime"]) == ("queued", job["creationTime"])
    worker.notify(job_id, "executing")
    assert (await get_job(ask, job_id))["startTime"] == job["creationTime"]


async def get_job(ask: Ask, job_id: str) -> dict[str, Any]:
    status, text = await ask("GET", f"/job/{job_id}")
    assert status == 200
    job: dict[str, Any] = json.loads(text)
    return job


async def test_good_job_goes_through_its_phases(ask: Ask, worker: ScriptedWorker) -> None:
    job_id = await submit(ask)
    phases: tuple[WorkerPhase, ...] = ("queued", "executing", "completed")
    assert await phase_of(ask, job_id) == "pending"
    for phase in phases:
        worker.notify(job_id, phase)
        assert await phase_of(ask, job_id) == phase
    job = await get_job(ask, job_id)
    assert job["creationTime"] <= job["startTime"] <= job["endTime"]
    assert job["executionDuration"] >= 0


async def test_failed_job_has_neither_end_time_nor_message(ask: Ask, worker: ScriptedWorker) -> None:
    job_id = await submit(ask)
    worker.notify(job_id, "executing")
    worker.notify(job_id, "error")
    worker.notify(job_id, "completed")  # what has failed stays so
    job = await get_job(ask, job_id)
    assert job["phase"] == "error"
    assert job["startTime"] is not None
    assert (job["endTime"], job["executionDuration"], job["errorSummary"]) == (None, None, {"message": ""})


async def test_job_whose_init_container_fails_has_no_file_at_all(
    ask: Ask, worker: ScriptedWorker, faults: Faults
) -> None:
    faults.set([Fault("worker", "init_error", match={"pipeline": "cpBias"})])
    status, text = await ask("PUT", "/job", json=submission())
    assert status == 200
    job = await get_job(ask, json.loads(text)["jobId"])
    assert (job["phase"], job["results"], job["endTime"]) == ("error", [], None)
    assert worker.jobs == {}


async def test_results_are_positions_that_move_while_a_job_runs(ask: Ask, worker: ScriptedWorker) -> None:
    job_id = await submit(ask)
    worker.write(job_id, "ocps.log", "+ pipetask --long-log run\n")
    worker.write(job_id, ".hidden", "x")
    assert await get_log(ask, job_id) == "+ pipetask --long-log run\n"
    for i in range(20):
        worker.write(job_id, f"bias_{i}.fits", str(i))
    worker.write(job_id, "plots/mosaic.png", "picture")
    job = await get_job(ask, job_id)
    names = {Path(result["uri"]).name for result in job["results"]}
    assert names == {"ocps.log", "mosaic.png", *(f"bias_{i}.fits" for i in range(20))}
    assert [result["id"] for result in job["results"]] == list(range(22))
    assert await get_log(ask, job_id) == "+ pipetask --long-log run\n"


async def get_log(ask: Ask, job_id: str) -> str:
    results = (await get_job(ask, job_id))["results"]
    position = next(result["id"] for result in results if result["uri"].endswith("/ocps.log"))
    status, text = await ask("GET", f"/job/result/{job_id}/{position}")
    assert status == 200
    return text


async def test_type_of_a_result_is_guessed_from_its_name(
    server: UwsServer, ask: Ask, worker: ScriptedWorker, session: aiohttp.ClientSession
) -> None:
    job_id = await submit(ask)
    worker.write(job_id, "ocps.log", "x")
    async with session.get(f"{server.url}/job/result/{job_id}/0") as reply:
        types = reply.headers.getall("Content-Type")
        assert types[0] == "text/html; charset=utf-8", "tornado's own type comes first"
        assert types[1] in ("text/plain", "application/octet-stream")  # mimetypes asks the system
    (worker.jobs[job_id].output_dir / "ocps.log").unlink()
    worker.write(job_id, "stats.json", "{}")
    async with session.get(f"{server.url}/job/result/{job_id}/0") as reply:
        assert reply.headers.getall("Content-Type")[1] == "application/json"


@pytest.mark.parametrize("result", ["1", "-7", "ocps.log", "99999999999"])
async def test_missing_result_is_404_in_plain_text(ask: Ask, worker: ScriptedWorker, result: str) -> None:
    job_id = await submit(ask)
    worker.write(job_id, "ocps.log", "x")
    assert await ask("GET", f"/job/result/{job_id}/{result}") == (404, "Result file not found.")
    assert await ask("GET", f"/job/result/{'0' * 32}/0") == (404, "Result file not found.")
    assert await ask("GET", f"/job/result/{job_id}/") == (400, '"Invalid result ID."')


async def test_unknown_job_is_404_with_an_empty_json_string(ask: Ask) -> None:
    assert await ask("GET", "/job/0123") == (404, '""')
    assert await ask("GET", "/job/0123/phase") == (404, '""')


@pytest.mark.parametrize(
    ("method", "path", "status", "last_line"),
    [
        ("GET", "/", 404, "tornado.web.HTTPError: HTTP 404: Not Found"),
        ("GET", "/jobs", 404, "tornado.web.HTTPError: HTTP 404: Not Found"),
        ("OPTIONS", "/jobs", 404, "tornado.web.HTTPError: HTTP 404: Not Found"),
        ("POST", "/job", 405, "tornado.web.HTTPError: HTTP 405: Method Not Allowed"),
    ],
)
async def test_unknown_path_and_method_are_tracebacks_in_plain_text(
    server: UwsServer, session: aiohttp.ClientSession, method: str, path: str, status: int, last_line: str
) -> None:
    async with session.request(method, server.url + path) as reply:
        assert (reply.status, reply.headers["Content-Type"]) == (status, "text/plain")
        lines = (await reply.text()).splitlines()
        assert ("Access-Control-Allow-Origin" in reply.headers) == (status != 404)
    assert (lines[0], lines[-1]) == ("Traceback (most recent call last):", last_line)


async def test_wrong_base_path_is_no_404_of_a_job(server: UwsServer, session: aiohttp.ClientSession) -> None:
    async with session.get(server.url.replace("/api/v1", "") + f"/job/{'0' * 32}") as reply:
        assert (reply.status, reply.content_type) == (404, "text/plain")
        assert await reply.text() != '""'


async def test_head_is_not_allowed_anywhere(server: UwsServer, session: aiohttp.ClientSession) -> None:
    for path in ("/job", "/job/", "/job/1", "/job/1/phase", "/job/result/1/0"):
        async with session.head(server.url + path) as reply:
            assert reply.status == 405, path


async def test_property_without_a_name_is_refused(ask: Ask) -> None:
    assert (await ask("GET", f"/job/{'0' * 32}/"))[0] == 400


async def test_deletion_without_an_id_removes_the_files_of_all_jobs(ask: Ask, worker: ScriptedWorker) -> None:
    """What `abort_job` with an empty id does at the real server."""
    job_id = await submit(ask)
    worker.write(job_id, "ocps.log", "x")
    assert (await ask("DELETE", "/job/"))[0] == 404
    assert (await get_job(ask, job_id))["results"] == []
    assert worker.aborted == []
    await submit(ask)


async def test_deletion_is_answered_while_the_job_still_stops(
    server: UwsServer, ask: Ask, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = asyncio.Event()

    async def abort(job_id: str) -> None:
        await stopped.wait()
        worker.aborted.append(job_id)

    monkeypatch.setattr(worker, "abort", abort)
    job_id = await submit(ask)
    assert (await ask("DELETE", f"/job/{job_id}"))[0] == 200
    assert await ask("GET", f"/job/{job_id}") == (404, '""')
    settling = asyncio.create_task(server.settle())
    assert worker.aborted == []
    stopped.set()
    async with asyncio.timeout(LIMIT_S):
        await settling
    assert worker.aborted == [job_id]


async def test_list_of_jobs_can_be_filtered_by_phase(ask: Ask, worker: ScriptedWorker) -> None:
    first, second = await submit(ask), await submit(ask)
    worker.notify(second, "executing")

    async def jobs(query: str) -> list[str]:
        status, text = await ask("GET", f"/job{query}")
        assert status == 200
        return [job["jobId"] for job in json.loads(text)]

    assert await jobs("") == await jobs("/") == sorted([first, second])
    assert await jobs("?phase=executing") == [second]
    assert await jobs("?phase=aborted") == []
    status, text = await ask("GET", "/job?phase=running")
    assert status == 400
    assert text.startswith("Valid job categories are: ['pending', 'queued', 'executing'")


async def test_properties_are_answered_alone(ask: Ask, worker: ScriptedWorker) -> None:
    job_id = await submit(ask)
    job = await get_job(ask, job_id)
    for name in ("phase", "results", "parameters"):
        assert await ask("GET", f"/job/{job_id}/{name}") == (200, json.dumps(job[name], indent=2))
    status, text = await ask("GET", f"/job/{job_id}/quote")
    assert status == 400
    assert json.loads(text).startswith("Invalid job property requested.")


async def test_deleted_job_is_stopped_and_gone_with_its_files(ask: Ask, worker: ScriptedWorker, tmp_path: Path) -> None:
    job_id = await submit(ask)
    worker.notify(job_id, "executing")
    worker.write(job_id, "ocps.log", "x")
    status, text = await ask("DELETE", f"/job/{job_id}")
    reply = json.loads(text)
    assert (status, set(reply), reply["code"]) == (200, {"status", "message", "code"}, 200)
    assert "'active': 1" in reply["status"]
    assert await ask("GET", f"/job/{job_id}") == (404, '""')
    assert worker.aborted == [job_id]
    assert await ask("GET", f"/job/result/{job_id}/0") == (404, "Result file not found.")
    assert list((tmp_path / "jobs").iterdir()) == []
    worker.notify(job_id, "completed")  # too late; nobody minds
    status, text = await ask("DELETE", f"/job/{job_id}")
    assert status == 404
    assert text.startswith("(404)\nReason: Not Found\n") and f'jobs.batch \\"uws-job-{job_id}\\" not found' in text


async def test_delete_touches_nothing_outside_its_jobs(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    assert (await ask("DELETE", "/job/..%2F"))[0] == 404
    assert (await ask("DELETE", "/job/%2E%2E"))[0] in (404, 405)
    assert (tmp_path / "precious").exists()
    assert (tmp_path / "jobs").is_dir()


async def test_bad_submissions_are_500_in_plain_text(ask: Ask, worker: ScriptedWorker) -> None:
    body = submission()
    assert await ask("PUT", "/job", json={**body, "environment": None}) == (500, "'NoneType' object is not iterable")
    del body["command"]
    assert await ask("PUT", "/job", json=body) == (500, "'command''command'")
    status, text = await ask("PUT", "/job", data="{", headers={"Content-Type": "application/json"})
    assert status == 500
    assert text.count("Expecting property name") == 2
    # JSON counts as such only under exactly these names.
    charset = {"Content-Type": "application/json; charset=utf-8"}
    status, text = await ask("PUT", "/job", data=json.dumps(submission()), headers=charset)
    assert status == 500
    assert "Missing argument command" in text
    status, text = await ask("PUT", "/job", json={"command": "rm -rf /"})
    assert status == 500
    assert "runs bin/pipetask.sh only" in text
    assert worker.jobs == {}


@pytest.mark.parametrize("run_id", ["-1", "a b", "_x", "x;y", "é", 7])
async def test_bad_run_id_is_400(ask: Ask, run_id: object) -> None:
    status, text = await ask("PUT", "/job", json={**submission(), "run_id": run_id})
    assert (status, text[:15]) == (400, "Invalid run_id.")


async def test_run_id_is_the_job_id_when_not_given(ask: Ask) -> None:
    body = submission()
    del body["run_id"]
    status, text = await ask("PUT", "/job", json=body)
    job = json.loads(text)
    assert status == 200
    assert job["runId"] == job["jobId"]


async def test_quote_breaks_the_job_and_backslash_changes_it(ask: Ask, worker: ScriptedWorker) -> None:
    status, text = await ask("PUT", "/job", json=submission(DATA_QUERY='instrument="LSSTComCam"'))
    assert status == 500
    assert "while parsing" in text
    job_id = await submit(ask, DATA_QUERY=r"a\tb")
    assert worker.jobs[job_id].environment["DATA_QUERY"] == "a\tb"


async def test_every_answer_allows_other_origins(server: UwsServer, session: aiohttp.ClientSession) -> None:
    async with session.options(f"{server.url}/job") as reply:
        assert reply.status == 204
        assert reply.headers["Access-Control-Allow-Origin"] == "*"
    async with session.get(f"{server.url}/job/x") as reply:
        assert reply.status == 404
        assert reply.headers["Access-Control-Allow-Origin"] == "*"


@contextlib.asynccontextmanager
async def limited(worker: ScriptedWorker, path: Path, **limits: float) -> AsyncIterator[Ask]:
    """Serve with limits of a fraction of a second."""
    async with UwsServer(worker, path, limits=UwsLimits(**limits)) as server, aiohttp.ClientSession() as session:

        async def ask(method: str, path: str, **arguments: Any) -> tuple[int, str]:
            async with session.request(method, server.url + path, **arguments) as reply:
                return reply.status, await reply.text()

        yield ask


async def test_ended_job_is_forgotten_after_its_time_but_its_files_stay(worker: ScriptedWorker, tmp_path: Path) -> None:
    async with limited(worker, tmp_path, ttl_s=0.1) as ask:
        job_id, other = await submit(ask), await submit(ask)
        worker.notify(job_id, "executing")
        worker.notify(other, "executing")
        worker.write(job_id, "ocps.log", "kept")
        worker.notify(job_id, "completed")
        await until_gone(ask, job_id)
        assert await phase_of(ask, other) == "executing"
        assert await ask("GET", f"/job/result/{job_id}/0") == (200, "kept")
        assert (await ask("DELETE", f"/job/{job_id}"))[0] == 404
        assert await ask("GET", f"/job/result/{job_id}/0") == (404, "Result file not found.")  # deleted all the same


@pytest.mark.parametrize("phase", ["executing", "queued"])
async def test_job_that_takes_too_long_is_stopped_and_failed_though_it_only_waits(
    worker: ScriptedWorker, tmp_path: Path, phase: WorkerPhase
) -> None:
    async with limited(worker, tmp_path, deadline_s=0.1) as ask:
        job_id = await submit(ask)
        worker.notify(job_id, phase)
        async with asyncio.timeout(LIMIT_S):
            while await phase_of(ask, job_id) != "error":
                pass
        assert worker.aborted == [job_id]


async def test_job_that_expires_answers_404_at_its_end(ask: Ask, worker: ScriptedWorker, faults: Faults) -> None:
    faults.set([Fault("worker", "expire", match={"pipeline": "cpBias", "run_id": "1234"})])
    job_id = await submit(ask)
    worker.notify(job_id, "executing")
    assert await phase_of(ask, job_id) == "executing"
    worker.notify(job_id, "completed")
    await until_gone(ask, job_id)


async def test_worker_gets_the_fault_of_its_job(ask: Ask, worker: ScriptedWorker, faults: Faults) -> None:
    on_dark = Fault("worker", "error", match={"pipeline": "cpDark"})
    on_third = Fault("worker", "hang", match={"number": 3})
    faults.set([on_dark, on_third])
    struck = []
    for pipeline in ("cpBias", "cpDark", "cpFlat", "cpDark"):
        job_id = await submit(ask, PIPELINE_URL=PIPELINE.replace("cpBias", pipeline))
        struck.append(worker.jobs[job_id].fault)
    assert struck == [None, on_dark, on_third, None]


async def test_http_faults_strike_and_pass(ask: Ask, worker: ScriptedWorker, faults: Faults) -> None:
    job_id = await submit(ask)
    faults.set(
        [
            Fault("http", "status", match={"resource": "job"}, value=503, text="no server available"),
            Fault("http", "garbage", match={"method": "GET", "resource": "job"}, skip=1),
            Fault("http", "drop", match={"path": f"/api/v1/job/{job_id}"}, skip=2, times=DROPS),
        ]
    )
    assert await ask("GET", f"/job/{job_id}") == (503, "no server available")
    status, text = await ask("GET", f"/job/{job_id}")
    assert status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)
    with pytest.raises(aiohttp.ClientConnectionError):
        await ask("GET", f"/job/{job_id}")
    assert (await ask("GET", f"/job/{job_id}"))[0] == 200


async def test_submission_whose_answer_is_lost_exists_all_the_same(
    ask: Ask, worker: ScriptedWorker, faults: Faults
) -> None:
    drop_the_repeated_one = Fault("http", "drop", match={"method": "PUT"}, skip=1, times=DROPS - 1)
    faults.set([Fault("http", "drop_reply", match={"resource": "submit"}), drop_the_repeated_one])
    with pytest.raises(aiohttp.ClientConnectionError):
        await submit(ask)
    assert len(worker.jobs) == 1


async def test_slow_submission_goes_on_when_the_client_gives_up(
    ask: Ask, worker: ScriptedWorker, faults: Faults
) -> None:
    faults.set([Fault("http", "delay", match={"resource": "submit"}, value=0.3)])
    with pytest.raises(TimeoutError):
        await ask("PUT", "/job", json=submission(), timeout=aiohttp.ClientTimeout(0.1))
    async with asyncio.timeout(LIMIT_S):
        await worker.submitted.wait()
    assert len(worker.jobs) == 1


async def test_server_closes_its_worker_and_the_port(worker: ScriptedWorker, tmp_path: Path) -> None:
    async with UwsServer(worker, tmp_path) as server:
        url = server.url
    assert worker.closed
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"{url}/job")


async def test_taken_port_ends_the_start_and_the_worker(
    server: UwsServer, worker: ScriptedWorker, tmp_path: Path
) -> None:
    port = int(server.url.split(":")[2].split("/")[0])
    other = ScriptedWorker()
    with pytest.raises(OSError, match="in use"):
        await UwsServer(other, tmp_path, port=port).start()
    assert other.closed
    assert not worker.closed


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (PIPELINE, "cpBias"),
        ("${CP_PIPE_DIR}/pipelines/LSSTComCam/cpPtc.yaml#cpPtcGainFromFlatPairs", "cpPtc#cpPtcGainFromFlatPairs"),
        ("cpDark.yaml", "cpDark"),
        ("", ""),
    ],
)
def test_pipeline_is_known_by_its_file_and_subset(url: str, name: str) -> None:
    assert pipeline_name(url) == name


async def test_job_is_made_although_the_submission_is_answered_with_an_error(
    ask: Ask, worker: ScriptedWorker, faults: Faults
) -> None:
    faults.set(scenario_faults(["ocps-500-job-exists"]))
    first = await submit(ask)
    status, text = await ask("PUT", "/job", json=submission())
    assert (status, text) == (500, "Job creation timed out.")
    (second,) = set(worker.jobs) - {first}
    assert (await get_job(ask, second))["runId"] == "1234"
    assert await submit(ask) not in (first, second)


async def test_ingress_answers_in_place_of_the_server_for_a_while(
    ask: Ask, server: UwsServer, session: aiohttp.ClientSession, faults: Faults
) -> None:
    faults.set(scenario_faults(["ingress-404"]))
    job_id = await submit(ask)
    assert await get_job(ask, job_id) == await get_job(ask, job_id)
    for _ in range(8):
        async with session.get(f"{server.url}/job/{job_id}") as reply:
            assert (reply.status, reply.content_type) == (404, "text/plain")
            assert await reply.text() == "default backend - 404"
    assert (await get_job(ask, job_id))["jobId"] == job_id
