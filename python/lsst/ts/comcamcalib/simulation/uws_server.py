# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The UWS server of the simulated observatory: the REST API of the real one, with its quirks.

The quirks that clients have to live with:

- Results are positions in a walk of the output folder, and move while a job runs.
- A failed job has neither an end time nor a message.
- A job that was deleted, or ended some time ago, is answered with 404 and the JSON text ``""``; a missing file with 404
  and a sentence; an unknown path with 404 and a traceback in plain text. Only the first says anything of a job.
- Most other errors have status 500 whatever the cause, and are plain text.
- A job starts, for the server, when it is made: its start time, its duration and its deadline count the time in which
  it is queued.
- A variable that is empty is null in the job object.
- A list of jobs is in the order of their random ids, and reads the output folders of all jobs, whatever is asked for.
- DELETE answers before the job has stopped, and a DELETE without an id removes the files of all jobs.

Known limitations: a job that waits for a place is queued, while Kubernetes counts a pod that waits for a node as
active, so that the real server calls the job executing; a deleted job stops at once, while a real pod may go on writing
for its grace period of 30 s; a run_id of more than 63 characters is not refused.
"""

from __future__ import annotations

import asyncio
import dataclasses
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

from .faults import Fault, Faults
from .http_faults import fault_middleware
from .loopback import LoopbackServer
from .uws_http import add_cors, json_reply, paste_environment, read_arguments, text_reply, tornado_middleware
from .uws_job import VALID_PHASES, JobRecord, not_found_text
from .worker import Job, Worker, WorkerPhase, pipeline_name

__all__ = ["UwsLimits", "UwsServer"]

BASE_PATH = "/api/v1"
_SCRIPT = "bin/pipetask.sh"
_PROPERTIES = ("phase", "results", "parameters")
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
        cpBias), ``run_id`` and ``number`` (of the job, from 1). These effects are the server's: ``expire`` (the job is
        forgotten ``value`` seconds after its end), ``init_error`` (the pod's init container fails, as without network
        to fetch the worker's script: an error without any file), ``queue`` (no machine has room for its pod: it is
        queued for ever), ``deadline`` (it hangs, and Kubernetes stops it ``value`` seconds after its start), ``delete``
        (somebody deletes it ``value`` seconds after its start).
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

    async def settle(self) -> None:
        """Wait until nothing of the jobs that were deleted runs any more."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
        app = web.Application(middlewares=[fault_middleware(self._faults), tornado_middleware()])
        app.on_response_prepare.append(add_cors)
        job = BASE_PATH + "/job"
        app.add_routes(
            [
                web.put(job, self._put, name="submit"),
                web.get(job, self._list, name="list", allow_head=False),
                web.get(job + "/", self._list, name="list_too", allow_head=False),
                web.get(job + "/result/{id:.*}/{result:.*}", self._get_result, name="result", allow_head=False),
                web.get(job + "/{id}/{property:.*}", self._get_property, name="property", allow_head=False),
                web.get(job + "/{id}", self._get, name="job", allow_head=False),
                web.delete(job + "/{id:[^/]*}", self._delete, name="delete"),
                web.options(job, self._options),
            ]
        )
        return app

    async def _options(self, request: web.Request) -> web.Response:
        return web.Response(status=204)

    async def _put(self, request: web.Request) -> web.Response:
        try:
            arguments = await read_arguments(request)
            command = str(arguments["command"])
        except (ValueError, KeyError) as exc:
            # The real server writes the text once when it finds the mistake and once when it gives up.
            return text_reply(2 * str(exc).strip(), 500)
        run_id = arguments.get("run_id", "")
        if run_id and (not isinstance(run_id, str) or not re.fullmatch(r"[a-zA-Z0-9][-._a-zA-Z0-9]*", run_id)):
            return text_reply(_BAD_RUN_ID, 400)
        try:
            environment = paste_environment(arguments.get("environment", []))
        except (yaml.YAMLError, TypeError, KeyError) as exc:
            return text_reply(str(exc), 500)
        if _SCRIPT not in command:
            return text_reply(f"This simulated server runs {_SCRIPT} only, not: {command}", 500)
        source = {"SRC_GIT_URL": arguments.get("url", ""), "GIT_COMMIT_REF": arguments.get("commit_ref", "")}
        record = await self._create(command, run_id, source, environment)
        return json_reply(await self._describe(record))

    async def _create(
        self, command: str, run_id: str, source: dict[str, str], environment: dict[str, str]
    ) -> JobRecord:
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
        # In the real server's order. A client's value replaces the server's own of the same name.
        variables = _server_environment(job_id, folder, source) | environment
        job = Job(job_id, variables, folder / "out", fault, tuple(self._faults.at("focal_plane")))
        for path in (job.output_dir, folder / "src"):
            await asyncio.to_thread(path.mkdir, parents=True)
        record = self._records[job_id] = JobRecord(job, run_id or job_id, command)
        self._after(self._limits.deadline_s, job_id, self._reach_deadline)
        await self._hand_over(job)
        return record

    async def _hand_over(self, job: Job) -> None:
        """Give a new job to the worker, unless its fault says otherwise."""
        loop = asyncio.get_running_loop()
        match job.fault:
            case Fault(effect="init_error"):
                loop.call_soon(self._update, job.job_id, "error")
            case Fault(effect="queue"):
                loop.call_soon(self._update, job.job_id, "queued")
            case Fault(effect="deadline", value=seconds):
                self._after(seconds, job.job_id, self._reach_deadline)
                await self._worker.submit(dataclasses.replace(job, fault=Fault("worker", "hang")))
            case Fault(effect="delete", value=seconds):
                self._after(seconds, job.job_id, self._be_deleted)
                await self._worker.submit(dataclasses.replace(job, fault=Fault("worker", "hang")))
            case _:
                await self._worker.submit(job)

    async def _list(self, request: web.Request) -> web.Response:
        phase = (await read_arguments(request)).get("phase", "")
        if phase and phase not in VALID_PHASES:
            return text_reply(f"Valid job categories are: {list(VALID_PHASES)}", 400)
        jobs = [await self._describe(self._records[job_id]) for job_id in sorted(self._records)]
        return json_reply([job for job in jobs if not phase or job["phase"] == phase])

    async def _get(self, request: web.Request) -> web.Response:
        record = self._records.get(request.match_info["id"])
        return json_reply("", 404) if record is None else json_reply(await self._describe(record))

    async def _get_property(self, request: web.Request) -> web.Response:
        name = request.match_info["property"]
        if name not in _PROPERTIES:
            return json_reply(f"Invalid job property requested. Supported properties are {', '.join(_PROPERTIES)}", 400)
        record = self._records.get(request.match_info["id"])
        return json_reply("", 404) if record is None else json_reply((await self._describe(record))[name])

    async def _get_result(self, request: web.Request) -> web.Response:
        if not request.match_info["result"]:
            return json_reply("Invalid result ID.", 400)
        out = self._jobs_dir / request.match_info["id"] / "out"
        try:
            path = (await asyncio.to_thread(_walk, out))[int(request.match_info["result"])]
            content = await asyncio.to_thread(Path(path).read_bytes)
        except (ValueError, IndexError, FileNotFoundError):
            return text_reply("Result file not found.", 404)
        # The real server adds the guessed type to tornado's own instead of replacing it. Clients see the first one.
        reply = text_reply("", 200)
        reply.body = content
        reply.headers.add("Content-Type", mimetypes.guess_type(path)[0] or "application/octet-stream")
        return reply

    async def _delete(self, request: web.Request) -> web.Response:
        job_id = request.match_info["id"]
        record = self._delete_job(job_id)
        if re.fullmatch(r"[0-9a-f]{32}|", job_id):  # anything else may be a path that leads out of the jobs' folder
            await asyncio.to_thread(shutil.rmtree, self._jobs_dir / job_id, ignore_errors=True)
        if record is None:
            return text_reply(not_found_text(job_id), 404)
        return json_reply({"status": record.describe_status(), "message": "", "code": 200})

    def _be_deleted(self, job_id: str) -> None:
        """Do what somebody's DELETE does."""
        self._delete_job(job_id)
        self._spawn(asyncio.to_thread(shutil.rmtree, self._jobs_dir / job_id, ignore_errors=True))

    def _delete_job(self, job_id: str) -> JobRecord | None:
        """Forget a job, and stop what runs of it."""
        record = self._forget(job_id)
        if record is not None:
            self._spawn(self._worker.abort(job_id))
        return record

    def _update(self, job_id: str, phase: WorkerPhase) -> None:
        """Record the phase that the worker reports."""
        record = self._records.get(job_id)
        if record is None or record.ended:
            return
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
        self._log.warning("Job %s reached its deadline", job_id)
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


def _server_environment(job_id: str, folder: Path, source: dict[str, str]) -> dict[str, str]:
    """Return what the server puts before a job's own environment."""
    return {
        "JOB_SOURCE_DIR": str(folder / "src"),
        **source,
        "JOB_OUTPUT_DIR": str(folder / "out"),
        "JOB_ID": job_id,
    }
