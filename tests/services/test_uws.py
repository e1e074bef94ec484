# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The UWS client against a server that fails in every way that one does."""

from __future__ import annotations

import asyncio
import json
import string
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts import utils
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.errors import ServiceError, UnknownJobError, UnreachableError
from lsst.ts.comcamcalib.services import uws_job
from lsst.ts.comcamcalib.services.uws import ATTEMPTS, LOG_TAIL_BYTES, LOG_TRIES, Phase, UwsClient
from lsst.ts.comcamcalib.services.uws_job import NonsenseError, UwsJob, parse_job, parse_jobs
from lsst.ts.comcamcalib.simulation.faults import Fault, Faults
from lsst.ts.comcamcalib.simulation.uws_server import UwsServer
from support.bus import HandWorker

JOB = "0123456789abcdef0123456789abcdef"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def job_object(phase: str = "executing", *, files: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    return {
        "jobId": JOB,
        "runId": "17",
        "ownerId": "",
        "phase": phase,
        "creationTime": "2026-11-22 12:00:00+00:00",
        "startTime": "2026-11-22 12:00:05+00:00",
        "endTime": None,
        "executionDuration": None,
        "destruction": None,
        "parameters": {
            "command": ["/bin/bash", "-c", "cd $JOB_SOURCE_DIR && bash bin/pipetask.sh"],
            "environment": [{"name": "IMAGE_TAG", "value": ""}, {"name": "OUTPUT_GLOB", "value": "bias,mark-1"}],
        },
        "results": [{"id": i, "uri": uri} for i, uri in enumerate(files)],
        "errorSummary": {"message": ""},
        "jobInfo": {},
        **changes,
    }


def says(value: Any, status: int = 200) -> Answer:
    """Answer with a JSON value."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response(value, status=status)

    return answer


def says_text(text: str, status: int = 200) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status)

    return answer


async def hangs_up(request: web.Request) -> web.StreamResponse:
    """Close the connection in the middle of the body."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"jobId": "')
    assert request.transport is not None
    request.transport.abort()
    return response


class ScriptedServer:
    """A server that gives the answers that a test has prepared, in order; the last one for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[str] = []

    def prepare(self, path: str, *answers: Answer) -> None:
        self.answers[path] = list(answers)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/api/v1/")
        self.asked.append(path)
        answers = self.answers.get(path)
        if not answers:
            return web.json_response("", status=404)
        return await (answers.pop(0) if len(answers) > 1 else answers[0])(request)


@pytest.fixture
async def server() -> AsyncIterator[tuple[ScriptedServer, str]]:
    scripted = ScriptedServer()
    app = web.Application()
    app.router.add_get("/{path:.*}", scripted.answer)
    async with TestServer(app) as listening:
        yield scripted, str(listening.make_url("/api/v1"))


@pytest.fixture
async def client(server: tuple[ScriptedServer, str], limits: Limits) -> AsyncIterator[UwsClient]:
    async with UwsClient(server[1], limits, backoff_s=0.001) as client:
        yield client


@pytest.fixture
def scripted(server: tuple[ScriptedServer, str]) -> ScriptedServer:
    return server[0]


async def test_a_job_is_understood_with_its_times_in_tai_and_its_mark(
    scripted: ScriptedServer, client: UwsClient
) -> None:
    scripted.prepare(f"job/{JOB}", says(job_object("executing", files=("/uws/jobs/x/out/ocps.log",))))
    job = await client.job(JOB)
    assert (job.job_id, job.run_id, job.phase, job.output_glob) == (JOB, "17", Phase.EXECUTING, "bias,mark-1")
    assert job.timestamp_created_s == pytest.approx(utils.tai_from_utc("2026-11-22T12:00:00", format="isot"))
    assert job.timestamp_started_s - job.timestamp_created_s == pytest.approx(5)
    assert job.timestamp_ended_s == 0
    assert [(result.result_id, result.uri) for result in job.results] == [(0, "/uws/jobs/x/out/ocps.log")]


@pytest.mark.parametrize(
    ("word", "phase", "ended"),
    [
        ("pending", Phase.PENDING, False),
        ("queued", Phase.QUEUED, False),
        ("EXECUTING", Phase.EXECUTING, False),
        ("completed", Phase.COMPLETED, True),
        ("error", Phase.ERROR, True),
        ("aborted", Phase.ABORTED, True),
        ("held", Phase.HELD, False),
        ("suspended", Phase.SUSPENDED, False),
        ("archived", Phase.ARCHIVED, True),
        ("unknown", Phase.UNKNOWN, False),
        ("daydreaming", Phase.UNHEARD_OF, False),
        ("", Phase.UNHEARD_OF, False),
    ],
)
async def test_every_phase_has_a_meaning_and_keeps_its_word(
    scripted: ScriptedServer, client: UwsClient, word: str, phase: Phase, ended: bool
) -> None:
    scripted.prepare(f"job/{JOB}", says(job_object(word)))
    job = await client.job(JOB)
    assert (job.phase, job.phase.ended, job.phase_word) == (phase, ended, word)


async def test_the_uws_s_own_404_is_an_unknown_job_and_is_not_asked_again(
    scripted: ScriptedServer, client: UwsClient
) -> None:
    scripted.prepare(f"job/{JOB}", says("", status=404))
    with pytest.raises(UnknownJobError, match=JOB):
        await client.job(JOB)
    assert scripted.asked == [f"job/{JOB}"]


def says_page(body: str, content_type: str, status: int = 404) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body.encode(), status=status, headers={"Content-Type": content_type})

    return answer


FOREIGN_404 = {
    "ingress": says_page("default backend - 404", "text/plain"),
    "nginx": says_page("<html><head><title>404 Not Found</title></head></html>", "text/html"),
    "route": says_page("Traceback (most recent call last):\ntornado.web.HTTPError: HTTP 404: Not Found", "text/plain"),
    "text": says_page('""', "text/plain"),
    "gateway": says({"message": "no Route matched with those values"}, status=404),
    "file": says_page("Result file not found.", "text/html; charset=UTF-8"),
    "nothing": says_page("", "application/json"),
}


@pytest.mark.parametrize("foreign", FOREIGN_404.values(), ids=FOREIGN_404)
async def test_a_404_that_is_not_the_uws_s_own_says_nothing_of_a_job(
    scripted: ScriptedServer, client: UwsClient, foreign: Answer
) -> None:
    scripted.prepare(f"job/{JOB}", *[foreign] * (ATTEMPTS - 1), says(job_object("completed")))
    assert (await client.job(JOB)).phase is Phase.COMPLETED
    scripted.prepare(f"job/{JOB}", foreign)
    with pytest.raises(UnreachableError, match=r"status 404 .*, but not by the UWS") as caught:
        await client.job(JOB)
    assert not isinstance(caught.value, UnknownJobError)
    with pytest.raises(UnreachableError):
        await client.log_text(JOB)


async def test_a_404_of_an_ingress_does_not_mean_that_a_log_is_gone(
    scripted: ScriptedServer, client: UwsClient
) -> None:
    scripted.prepare(f"job/{JOB}", says(job_object("error", files=("/out/ocps.log",))))
    scripted.prepare(f"job/result/{JOB}/0", FOREIGN_404["ingress"], says_text("the log"))
    assert await client.log_text(JOB) == "the log"
    scripted.prepare(f"job/result/{JOB}/0", FOREIGN_404["ingress"])
    with pytest.raises(UnreachableError, match="default backend - 404"):
        await client.log_text(JOB)


@pytest.mark.parametrize(
    "trouble",
    [
        says_text("upstream connect error", status=503),
        says_text("k8s failure", status=500),
        says_text("slow down", status=429),
        says_text("<html>It works!</html>"),
        says_text('{"jobId": '),
        says_text("[" * 100_000),
        says(["not", "a", "job"]),
        says({"phase": "executing"}),
        says(job_object(phase=None)),  # type: ignore[arg-type]
        says(job_object(jobId=7)),
        hangs_up,
    ],
    ids=["503", "500", "429", "html", "cut", "deep", "list", "no-id", "no-phase", "number-id", "hangs-up"],
)
async def test_trouble_that_passes_is_overcome(scripted: ScriptedServer, client: UwsClient, trouble: Answer) -> None:
    scripted.prepare(f"job/{JOB}", trouble, trouble, says(job_object("completed")))
    assert (await client.job(JOB)).phase is Phase.COMPLETED
    assert len(scripted.asked) == 3


@pytest.mark.parametrize("trouble", [says_text("down", status=503), says_text("no JSON"), hangs_up])
async def test_trouble_that_stays_is_told_after_the_last_try(
    scripted: ScriptedServer, client: UwsClient, trouble: Answer
) -> None:
    scripted.prepare(f"job/{JOB}", trouble)
    with pytest.raises(UnreachableError, match=f"UWS .*GET http.*{JOB}"):
        await client.job(JOB)
    assert len(scripted.asked) == ATTEMPTS


async def test_a_refusal_that_would_be_the_same_again_is_told_at_once(
    scripted: ScriptedServer, client: UwsClient
) -> None:
    scripted.prepare(f"job/{JOB}", says_text("Forbidden:\n no such user", status=403))
    with pytest.raises(ServiceError, match=r"status 403: Forbidden: no such user\.") as caught:
        await client.job(JOB)
    assert not isinstance(caught.value, UnreachableError)
    assert len(scripted.asked) == 1


async def test_another_jobs_answer_is_not_taken(scripted: ScriptedServer, client: UwsClient) -> None:
    scripted.prepare(f"job/{JOB}", says(job_object(jobId="f" * 32)))
    with pytest.raises(UnreachableError, match=f"asked for job {JOB} and answered with ffff"):
        await client.job(JOB)


async def test_a_server_that_does_not_answer_is_given_up(server: tuple[ScriptedServer, str], limits: Limits) -> None:
    asked = asyncio.Event()
    released = asyncio.Event()

    async def waits(_request: web.Request) -> web.StreamResponse:
        asked.set()
        await released.wait()
        return web.Response()

    server[0].prepare(f"job/{JOB}", waits)
    limits = limits.model_copy(update={"uws_request": 0.05})
    async with UwsClient(server[1], limits, backoff_s=0.001) as client:
        with pytest.raises(UnreachableError, match=r"within 0\.05 s"):
            await client.job(JOB)
    released.set()
    assert asked.is_set() and len(server[0].asked) == ATTEMPTS


async def test_nobody_listening_is_unreachable(limits: Limits, unused_tcp_port: int) -> None:
    async with UwsClient(f"http://127.0.0.1:{unused_tcp_port}/api/v1", limits, backoff_s=0.001) as client:
        with pytest.raises(UnreachableError, match="could not be asked"):
            await client.job(JOB)
        with pytest.raises(UnreachableError):
            await client.ping()


async def test_ping_asks_once_and_for_nothing_that_costs_the_server_a_look_at_files(
    scripted: ScriptedServer, client: UwsClient
) -> None:
    await client.ping()
    (asked,) = scripted.asked
    assert asked.startswith("job/") and "result" not in asked
    scripted.prepare(asked, says_text("down", status=502))
    with pytest.raises(UnreachableError):
        await client.ping()
    assert scripted.asked == [asked, asked]


@pytest.mark.parametrize("path", ["", "/api", "/api/v2", "/api/v1/job", "/api/v1/job/result", "/api/v1/api/v1"])
async def test_every_wrong_base_path_of_the_uws_itself_is_told(
    simulated: tuple[UwsClient, HandWorker, Faults, UwsServer], limits: Limits, path: str
) -> None:
    root = simulated[3].url.removesuffix("/api/v1")
    async with UwsClient(f"{root}/api/v1", limits, backoff_s=0.001) as client:
        await client.ping()
    async with UwsClient(root + path, limits, backoff_s=0.001) as client:
        with pytest.raises(UnreachableError, match=r"Check uws_url, its path included \(such as /api/v1\)"):
            await client.ping()


@pytest.mark.parametrize(
    "answer",
    [*FOREIGN_404.values(), says_page("<html>It works!</html>", "text/html", 200), says([], 200)],
    ids=[*FOREIGN_404, "page", "list"],
)
async def test_what_is_not_the_uws_is_told_with_where_to_look(
    scripted: ScriptedServer, client: UwsClient, answer: Answer
) -> None:
    """A base path without /api/v1, a proxy, another server."""
    await client.ping()
    scripted.prepare(scripted.asked[0], answer)
    with pytest.raises(UnreachableError, match=r"Check uws_url, its path included \(such as /api/v1\)"):
        await client.ping()


async def test_a_server_that_has_every_job_is_not_the_uws(scripted: ScriptedServer, client: UwsClient) -> None:
    await client.ping()
    scripted.prepare(scripted.asked[0], says(job_object(jobId="0" * 32)))
    with pytest.raises(UnreachableError, match="but it is not the UWS"):
        await client.ping()


async def test_the_cause_of_a_kubernetes_error_is_told(scripted: ScriptedServer, client: UwsClient) -> None:
    text = (
        "(403)\nReason: Forbidden\nHTTP response headers: HTTPHeaderDict({'Audit-Id': '" + "0" * 900 + "'})\n"
        'HTTP response body: {"kind":"Status","message":"jobs.batch is forbidden: exceeded quota: uws"}\n'
    )
    scripted.prepare(f"job/{JOB}", says_text(text, status=500))
    with pytest.raises(
        UnreachableError,
        match=r"status 500: Kubernetes answered 403 Forbidden: jobs\.batch is forbidden: exceeded quota: uws\.",
    ):
        await client.job(JOB)


async def test_the_list_of_all_jobs_has_a_limit_of_its_own(server: tuple[ScriptedServer, str], limits: Limits) -> None:
    released = asyncio.Event()

    async def waits(_request: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.json_response([])

    server[0].prepare("job", waits)
    limits = limits.model_copy(update={"uws_list": 0.05})
    async with UwsClient(server[1], limits, backoff_s=0.001) as client:
        with pytest.raises(UnreachableError, match=r"within 0\.05 s"):
            await client.jobs()
    released.set()


async def test_all_tries_of_the_list_together_keep_its_limit(
    server: tuple[ScriptedServer, str], limits: Limits
) -> None:
    """A server that answers each try with an error just in time must not multiply the wait."""
    answers = 0

    async def fails(_request: web.Request) -> web.StreamResponse:
        nonlocal answers
        answers += 1
        if answers > 1:
            await asyncio.Event().wait()
        return web.Response(status=503)

    server[0].prepare("job", fails)
    limits = limits.model_copy(update={"uws_list": 1.0})
    async with UwsClient(server[1], limits, backoff_s=0.001) as client:
        with pytest.raises(UnreachableError, match=r"did not list its jobs within 1 s"):
            await client.jobs()
    assert answers > 1


async def test_long_list_of_jobs_is_understood_outside_of_the_event_loop(
    scripted: ScriptedServer, client: UwsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = [{"id": number, "uri": f"file:///uws/jobs/{JOB}/out/bias_{number}.fits"} for number in range(500)]
    scripted.prepare("job", says([job_object("executing", jobId=f"{one:032x}", results=results) for one in range(20)]))
    threads: list[threading.Thread] = []
    parse = uws_job.parse_job

    def parse_and_note(value: Any) -> UwsJob:
        threads.append(threading.current_thread())
        return parse(value)

    monkeypatch.setattr(uws_job, "parse_job", parse_and_note)
    assert [len(job.results) for job in await client.jobs()] == [500] * 20
    assert threading.main_thread() not in threads


def test_an_empty_value_of_the_environment_is_null_and_means_not_told() -> None:
    environment = [
        {"name": "IMAGE_TAG", "value": None},
        {"name": "BUTLER_REPO", "value": "/repo/LSSTComCam"},
        {"name": "OUTPUT_GLOB", "value": None},
    ]
    job = parse_job(job_object(parameters={"environment": environment}))
    assert (job.butler_repo, job.output_glob) == ("/repo/LSSTComCam", "")
    assert not job.has_mark("None")


async def test_a_closed_client_says_so(server: tuple[ScriptedServer, str], limits: Limits) -> None:
    client = UwsClient(server[1], limits, backoff_s=0.001)
    with pytest.raises(ServiceError, match="closed"):
        await client.job(JOB)


@pytest.mark.parametrize("job_id", ["", "../job", "a/b", "x?phase=error", "a" * 200, "j\n"])
async def test_what_is_no_job_id_does_not_become_an_address(
    scripted: ScriptedServer, client: UwsClient, job_id: str
) -> None:
    with pytest.raises(ServiceError, match="no job id"):
        await client.job(job_id)
    assert scripted.asked == []


async def test_all_jobs_are_listed_and_one_that_makes_no_sense_spoils_the_list(
    scripted: ScriptedServer, client: UwsClient
) -> None:
    scripted.prepare("job", says([job_object("queued"), job_object("error", jobId="b" * 32)]))
    assert [(job.job_id, job.phase) for job in await client.jobs()] == [(JOB, Phase.QUEUED), ("b" * 32, Phase.ERROR)]
    scripted.prepare("job", says([job_object("queued"), {"phase": "error"}]))
    with pytest.raises(UnreachableError):
        await client.jobs()


async def test_the_end_of_a_log_is_read_wherever_it_is_among_the_results(
    scripted: ScriptedServer, client: UwsClient
) -> None:
    scripted.prepare(f"job/{JOB}", says(job_object("error", files=("/out/bias_1.fits", "/out/ocps.log"))))
    scripted.prepare(f"job/result/{JOB}/1", says_text("".join(f"line {i} of the log\n" for i in range(100_000))))
    text = await client.log_text(JOB)
    assert text.endswith("line 99999 of the log\n")
    assert text.startswith("line ")  # not in the middle of a line
    assert 0 < len(text.encode()) <= LOG_TAIL_BYTES


async def test_a_short_log_is_whole_and_bytes_that_are_no_text_do_no_harm(
    scripted: ScriptedServer, client: UwsClient
) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"first \xff\xfe\nlast\n")

    scripted.prepare(f"job/{JOB}", says(job_object("error", files=("/out/ocps.log",))))
    scripted.prepare(f"job/result/{JOB}/0", answer)
    assert await client.log_text(JOB) == "first \ufffd\ufffd\nlast\n"


async def test_a_log_that_moved_while_it_was_read_is_read_again(scripted: ScriptedServer, client: UwsClient) -> None:
    early = says(job_object("error", files=("/out/ocps.log",)))
    late = says(job_object("error", files=("/out/bias.fits", "/out/ocps.log")))
    scripted.prepare(f"job/{JOB}", early, late)
    scripted.prepare(f"job/result/{JOB}/0", says_text("SIMPLE  =  T"))
    scripted.prepare(f"job/result/{JOB}/1", says_text("the log"))
    assert await client.log_text(JOB) == "the log"


async def test_a_log_that_keeps_moving_is_given_up(scripted: ScriptedServer, client: UwsClient) -> None:
    listings = [says(job_object("error", files=("/x",) * n + ("/out/ocps.log",))) for n in range(LOG_TRIES + 2)]
    scripted.prepare(f"job/{JOB}", *listings)
    with pytest.raises(ServiceError, match="keep changing"):
        await client.log_text(JOB)


async def test_no_log_and_no_job_are_told_apart(scripted: ScriptedServer, client: UwsClient) -> None:
    scripted.prepare(f"job/{JOB}", says(job_object("error", files=("/out/bias.fits",))))
    with pytest.raises(ServiceError, match=r"left no ocps\.log"):
        await client.log_text(JOB)
    scripted.prepare(f"job/{JOB}", says("", status=404))
    with pytest.raises(UnknownJobError):
        await client.log_text(JOB)


# The simulated observatory's server, whose quirks are the real one's


@pytest.fixture
async def simulated(tmp_path: Path, limits: Limits) -> AsyncIterator[tuple[UwsClient, HandWorker, Faults, UwsServer]]:
    worker, faults = HandWorker(), Faults()
    async with (
        UwsServer(worker, tmp_path, faults) as server,
        UwsClient(server.url, limits, backoff_s=0.001) as client,
    ):
        yield client, worker, faults, server


async def submit(server: UwsServer) -> str:
    """Submit a job as the OCPS does; return its id."""
    names = {"PIPELINE_URL": "cpBias.yaml", "BUTLER_REPO": "/repo", "RUN_OPTIONS": "-i a", "OUTPUT_GLOB": "bias,mark-1"}
    environment = [{"name": name, "value": value} for name, value in {**names, "DATA_QUERY": "detector=0"}.items()]
    body = {
        "run_id": "17",
        "command": "cd $JOB_SOURCE_DIR && bash bin/pipetask.sh",
        "url": "https://github.com/lsst-dm/uws_scripts",
        "commit_ref": "main",
        "environment": environment,
    }
    async with aiohttp.ClientSession() as session, session.put(f"{server.url}/job", json=body) as response:
        assert response.status == 200, await response.text()
        return str((await response.json())["jobId"])


async def test_a_job_of_the_simulated_server_from_its_submission_to_its_deletion(
    simulated: tuple[UwsClient, HandWorker, Faults, UwsServer],
) -> None:
    client, worker, faults, server = simulated
    await client.ping()
    assert await client.jobs() == []
    job_id = await submit(server)
    (job,) = await client.jobs()
    assert (job.job_id, job.run_id, job.output_glob) == (job_id, "17", "bias,mark-1")
    assert not job.phase.ended and abs(job.timestamp_created_s - utils.current_tai()) < 60
    worker.move(job_id, "executing")
    assert (await client.job(job_id)).phase is Phase.EXECUTING
    output = worker.jobs[job_id].output_dir
    (output / "a_bias.fits").write_text("SIMPLE  =  T")
    (output / "ocps.log").write_text("first line\nRuntimeError: too few flats\n")
    (output / "z_bias.fits").write_text("SIMPLE  =  T")
    worker.move(job_id, "error")
    failed = await client.job(job_id)
    # The server tells no end time of a failed job.
    assert (failed.phase, failed.timestamp_ended_s) == (Phase.ERROR, 0.0)
    for effect in ("drop", "garbage", "status"):
        faults.set([Fault("http", effect, value=503.0, times=2)])
        assert await client.log_text(job_id) == "first line\nRuntimeError: too few flats\n"
    (output / "ocps.log").unlink()
    with pytest.raises(ServiceError, match=r"left no ocps\.log"):
        await client.log_text(job_id)
    async with aiohttp.ClientSession() as session, session.delete(f"{server.url}/job/{job_id}") as response:
        assert response.status == 200
    with pytest.raises(UnknownJobError):
        await client.job(job_id)
    with pytest.raises(UnknownJobError):
        await client.log_text(job_id)


async def test_a_good_job_of_the_simulated_server_has_its_times(
    simulated: tuple[UwsClient, HandWorker, Faults, UwsServer],
) -> None:
    client, worker, _, server = simulated
    job_id = await submit(server)
    worker.move(job_id, "executing")
    worker.move(job_id, "completed")
    job = await client.job(job_id)
    assert job.phase is Phase.COMPLETED
    assert job.timestamp_created_s <= job.timestamp_started_s <= job.timestamp_ended_s


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(string.printable, max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@given(json_values)
def test_no_answer_whatever_is_mistaken_for_jobs_unless_it_has_id_and_phase(value: Any) -> None:
    for parse in (parse_job, parse_jobs):
        try:
            parse(value)
        except NonsenseError:
            continue
        assert value == [] or (isinstance(value, dict) and {"jobId", "phase"} <= value.keys())


@given(
    st.fixed_dictionaries(
        {"jobId": st.text(min_size=1), "phase": st.text()},
        optional={
            name: json_values
            for name in ("runId", "creationTime", "startTime", "endTime", "parameters", "results", "errorSummary")
        },
    )
)
def test_a_job_with_id_and_phase_is_understood_however_strange_the_rest(value: dict[str, Any]) -> None:
    job = parse_job(json.loads(json.dumps(value)))
    assert (job.job_id, job.phase_word) == (value["jobId"], value["phase"])
