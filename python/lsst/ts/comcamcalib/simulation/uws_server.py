# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The UWS server of the simulated observatory: the REST API of the real one, with its quirks.

The quirks that clients have to live with: results are positions in a walk of the output folder and move while a job
runs; a failed job has neither an end time nor a message; a job that was deleted, or ended some time ago, is answered
with 404 and the JSON text ``""``; other errors are plain text, most of them with status 500 whatever the cause.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import mimetypes
import os
import re
import shutil
import uuid
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from aiohttp import web

from .faults import Faults
from .http_faults import fault_middleware
from .loopback import LoopbackServer
from .uws_job import VALID_PHASES, JobRecord, not_found_text
from .worker import Job, Worker, WorkerPhase, pipeline_name

__all__ = ["UwsLimits", "UwsServer"]

BASE_PATH = "/api/v1"
_SCRIPT = "bin/pipetask.sh"
_JSON_TYPES = ("application/json", "application/javascript")
_PROPERTIES = ("phase", "results", "parameters")
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Origin, X-Requested-With, Content-Type, Accept, Authorization",
    "Access-Control-Allow-Methods": " POST, PUT, DELETE, OPTIONS, GET",
}
_BAD_RUN_ID = (
    "Invalid run_id. It must begin with a letter or digit and may have letters, digits, dashes, underscores and dots."
)


@dataclasses.dataclass(frozen=True)
class UwsLimits:
    """How long jobs live.

    Attributes
    ----------
    deadline_s
        Seconds from a job's start until it is stopped; the server's own default.
    ttl_s
        Seconds from a job's end until it is forgotten and answered with 404, though its files stay; the summit's value.
    """

    deadline_s: float = 3600.0
    ttl_s: float = 7200.0


class UwsServer:
    """Takes jobs over HTTP on loopback and gives them to a worker; use it as an async context manager.

    Parameters
    ----------
    worker
        What runs the jobs; started and closed with the server.
    directory
        Where jobs have their folders: ``jobs/<job id>/out`` and ``src``.
    faults
        Faults of the places "http" (see `http_faults`) and "worker". The occasion of a worker is ``pipeline`` (such as
        cpBias), ``run_id`` and ``number`` (of the job, from 1). The effect ``expire`` is the server's: the job is
        forgotten ``value`` seconds after its end.
    limits
        How long jobs live.
    port
        Where to listen; 0 lets the system choose.
    """

    def __init__(
        self,
        worker: Worker,
        directory: Path,
        faults: Faults | None = None,
        limits: UwsLimits | None = None,
        port: int = 0,
    ) -> None:
        self._log = logging.getLogger(__name__)
        self._worker = worker
        self._jobs_dir = directory.absolute() / "jobs"
        self._faults = faults or Faults()
        self._limits = limits or UwsLimits()
        self._records: dict[str, JobRecord] = {}
        self._count = 0
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = LoopbackServer(self._application(), port)

    async def __aenter__(self) -> UwsServer:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """The address that clients need, without a slash at the end."""
        return self._server.url + BASE_PATH

    async def start(self) -> None:
        """Start the worker, then answer requests.

        Raises
        ------
        RuntimeError
            If the worker can't be made ready.
        OSError
            If the port is taken.
        """
        await asyncio.to_thread(self._jobs_dir.mkdir, parents=True, exist_ok=True)
        await self._worker.start(self._update)
        try:
            await self._server.start()
        except OSError:
            await self._worker.close()
            raise
        self._log.info("UWS server listens on %s; jobs in %s", self.url, self._jobs_dir)

    async def close(self) -> None:
        """Stop answering, and abort what runs."""
        await self._server.close()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        await self._worker.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[fault_middleware(self._faults)])
        app.on_response_prepare.append(_add_cors)
        job = BASE_PATH + "/job"
        app.add_routes(
            [
                web.put(job, self._put, name="submit"),
                web.get(job, self._list, name="list"),
                web.get(job + "/result/{id}/{result:.*}", self._get_result, name="result"),
                web.get(job + "/{id}", self._get, name="job"),
                web.get(job + "/{id}/{property}", self._get_property, name="property"),
                web.delete(job + "/{id}", self._delete, name="delete"),
                web.options(BASE_PATH + "/{any:.*}", self._options),
            ]
        )
        return app

    async def _options(self, request: web.Request) -> web.Response:
        return web.Response(status=204)

    async def _put(self, request: web.Request) -> web.Response:
        try:
            arguments = await _read_arguments(request)
            command = str(arguments["command"])
        except (ValueError, KeyError) as exc:
            # The real server writes the text once when it finds the mistake and once when it gives up.
            return _text(2 * str(exc).strip(), 500)
        run_id = arguments.get("run_id", "")
        if run_id and (not isinstance(run_id, str) or not re.fullmatch(r"[a-zA-Z0-9][-._a-zA-Z0-9]*", run_id)):
            return _text(_BAD_RUN_ID, 400)
        try:
            environment = _paste_environment(arguments.get("environment", []))
        except (yaml.YAMLError, TypeError, KeyError) as exc:
            return _text(str(exc), 500)
        if _SCRIPT not in command:
            return _text(f"This simulated server runs {_SCRIPT} only, not: {command}", 500)
        source = {"SRC_GIT_URL": arguments.get("url", ""), "GIT_COMMIT_REF": arguments.get("commit_ref", "")}
        record = await self._create(command, run_id, environment | source)
        return _json(await self._describe(record))

    async def _create(self, command: str, run_id: str, environment: dict[str, str]) -> JobRecord:
        """Make a job and give it to the worker; it is pending until the worker says otherwise."""
        self._count += 1
        job_id = uuid.uuid4().hex
        folder = self._jobs_dir / job_id
        fault = self._faults.strike(
            "worker",
            pipeline=pipeline_name(environment.get("PIPELINE_URL", "")),
            run_id=run_id or job_id,
            number=self._count,
        )
        job = Job(job_id, environment | _server_environment(job_id, folder), folder / "out", fault)
        for path in (job.output_dir, folder / "src"):
            await asyncio.to_thread(path.mkdir, parents=True)
        record = self._records[job_id] = JobRecord(job, run_id or job_id, command)
        await self._worker.submit(job)
        return record

    async def _list(self, request: web.Request) -> web.Response:
        phase = (await _read_arguments(request)).get("phase", "")
        if phase and phase not in VALID_PHASES:
            return _text(f"Valid job categories are: {list(VALID_PHASES)}", 400)
        chosen = [record for record in self._records.values() if not phase or record.phase == phase]
        return _json([await self._describe(record) for record in chosen])

    async def _get(self, request: web.Request) -> web.Response:
        record = self._records.get(request.match_info["id"])
        return _json("", 404) if record is None else _json(await self._describe(record))

    async def _get_property(self, request: web.Request) -> web.Response:
        name = request.match_info["property"]
        if name not in _PROPERTIES:
            return _json(f"Invalid job property requested. Supported properties are {', '.join(_PROPERTIES)}", 400)
        record = self._records.get(request.match_info["id"])
        return _json("", 404) if record is None else _json((await self._describe(record))[name])

    async def _get_result(self, request: web.Request) -> web.Response:
        if not request.match_info["result"]:
            return _json("Invalid result ID.", 400)
        out = self._jobs_dir / request.match_info["id"] / "out"
        try:
            path = (await asyncio.to_thread(_walk, out))[int(request.match_info["result"])]
            content = await asyncio.to_thread(Path(path).read_bytes)
        except (ValueError, IndexError, FileNotFoundError):
            return _text("Result file not found.", 404)
        content_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
        return web.Response(body=content, headers={"Content-Type": content_type})

    async def _delete(self, request: web.Request) -> web.Response:
        job_id = request.match_info["id"]
        record = self._forget(job_id)
        if record is not None:
            await self._worker.abort(job_id)
        if re.fullmatch(r"[0-9a-f]{32}", job_id):  # else it may be a path to somewhere else
            await asyncio.to_thread(shutil.rmtree, self._jobs_dir / job_id, ignore_errors=True)
        if record is None:
            return _text(not_found_text(job_id), 404)
        return _json({"status": record.describe_status(), "message": "", "code": 200})

    def _update(self, job_id: str, phase: WorkerPhase) -> None:
        """Note what the worker tells of a job."""
        record = self._records.get(job_id)
        if record is None or record.ended:
            return
        if record.start_time is None:
            self._after(self._limits.deadline_s, job_id, self._reach_deadline)
        record.update(phase)
        self._log.info("Job %s (%s): %s", job_id, record.run_id, record.phase)
        if record.ended:
            fault = record.job.fault
            expires = fault is not None and fault.effect == "expire"
            self._after(fault.value if fault and expires else self._limits.ttl_s, job_id, self._forget)

    def _after(self, delay_s: float, job_id: str, action: Any) -> None:
        """Do something with a job later, instead of what was to be done with it before."""
        if job_id in self._timers:
            self._timers.pop(job_id).cancel()
        self._timers[job_id] = asyncio.get_running_loop().call_later(delay_s, action, job_id)

    def _reach_deadline(self, job_id: str) -> None:
        """Stop a job that has run for too long; Kubernetes counts it as failed."""
        self._log.warning("Job %s reached its deadline of %.0f s", job_id, self._limits.deadline_s)
        self._spawn(self._worker.abort(job_id))
        self._update(job_id, "error")

    def _forget(self, job_id: str) -> JobRecord | None:
        """Remove a job from the list, but not its files."""
        if job_id in self._timers:
            self._timers.pop(job_id).cancel()
        return self._records.pop(job_id, None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _describe(self, record: JobRecord) -> dict[str, Any]:
        return record.describe(await asyncio.to_thread(_walk, record.job.output_dir))


def _walk(folder: Path) -> list[str]:
    """Return the paths of all files below a folder that don't begin with a dot, in the order of a walk."""
    return [
        os.path.join(root, name) for root, _, names in os.walk(folder) for name in names if not name.startswith(".")
    ]


async def _read_arguments(request: web.Request) -> dict[str, Any]:
    """Return what a request asks for: its JSON body if the content type is exactly right, else its query and form.

    Raises
    ------
    ValueError
        If the body is not a JSON object.
    """
    if request.headers.get("Content-Type") in _JSON_TYPES:
        arguments = json.loads(await request.read())
        if not isinstance(arguments, dict):
            raise ValueError("the body is not a JSON object")
        return arguments
    arguments = {**request.query, **(await request.post())}
    if request.method == "PUT" and "command" not in arguments:
        raise ValueError("HTTP 400: Bad Request (Missing argument command)")
    return arguments


def _paste_environment(environment: list[dict[str, str]]) -> dict[str, str]:
    """Return names and values as they come out of the YAML template that the real server pastes them into.

    The template has them between double quotes and escapes nothing: a quote ends the value, a backslash begins an
    escape.

    Raises
    ------
    yaml.YAMLError, TypeError, KeyError
        If what comes out is no YAML, or the environment is not a list of names and values.
    """
    pasted = "".join(f'- name: "{item["name"]}"\n  value: "{item["value"]}"\n' for item in environment)
    return {item["name"]: item["value"] for item in yaml.safe_load(pasted) or []}


def _server_environment(job_id: str, folder: Path) -> dict[str, str]:
    """Return what the server adds to a job's environment."""
    return {"JOB_SOURCE_DIR": str(folder / "src"), "JOB_OUTPUT_DIR": str(folder / "out"), "JOB_ID": job_id}


def _json(value: object, status: int = 200) -> web.Response:
    return web.json_response(value, status=status, dumps=lambda data: json.dumps(data, indent=2))


def _text(text: str, status: int) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html")  # as tornado does with what is not JSON


async def _add_cors(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_CORS)
