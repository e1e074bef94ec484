# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The worker that runs the real command lines, in a process that has imported their code already."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from .layout import PIPELINE_ENVIRONMENT
from .worker import Job, Notify

__all__ = ["PipetaskWorker"]

_PACKAGE = __name__.rpartition(".")[0]
_START_LIMIT_S = 120.0  # its imports take 3 s on an idle machine
_END_LIMIT_S = 10.0
# So that no thread of a mathematics library exists when the process forks, and jobs share the cores fairly.
_ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


@dataclasses.dataclass
class _Running:
    """A job that runs.

    Attributes
    ----------
    process_group
        Of all its processes; 0 until it is known.
    aborted
        Whether its end is nobody's business.
    ended
        Set when nothing of it runs any more.
    """

    process_group: int = 0
    aborted: bool = False
    ended: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)


class PipetaskWorker:
    """Runs ``pipetask`` and ``butler retrieve-artifacts`` for each job; a `Worker`.

    Its process may die (the system kills what needs too much memory): the jobs that ran are in error then, and a new
    process takes the next ones.

    Parameters
    ----------
    max_jobs
        How many jobs run at a time; the others are queued.
    environment
        What the process's environment has besides this process's own; by default where the simulated pipelines are.
    modules
        Modules and packages that the process imports beforehand; by default the simulated pipelines' tasks.
    """

    def __init__(
        self,
        max_jobs: int = 2,
        environment: Mapping[str, str] = PIPELINE_ENVIRONMENT,
        modules: Sequence[str] = (f"{_PACKAGE}.tasks", f"{_PACKAGE}.instrument", f"{_PACKAGE}.formatters"),
    ) -> None:
        self._log = logging.getLogger(__name__)
        self._max_jobs = max_jobs
        self._environment = dict(environment)
        self._modules = tuple(modules)
        self._notify: Notify = lambda job_id, phase: None
        self._process: asyncio.subprocess.Process | None = None
        self._running: dict[str, _Running] = {}
        self._queue: deque[Job] = deque()
        self._reader: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def pid(self) -> int:
        """The id of the process that forks; 0 while there is none."""
        return 0 if self._process is None else self._process.pid

    async def start(self, notify: Notify) -> None:
        """Start the process and wait until it has imported everything.

        Raises
        ------
        RuntimeError
            If it does not get that far; the sentence has the last of what it said.
        """
        self._notify = notify
        self._closing = False
        process = await self._start_process()
        self._reader = asyncio.create_task(self._follow(process), name="follow the pipetask worker")

    async def submit(self, job: Job) -> None:
        """Queue a job; it runs as soon as there is a place."""
        self._queue.append(job)
        self._start_jobs()
        if job in self._queue:
            self._notify(job.job_id, "queued")

    async def abort(self, job_id: str) -> None:
        """Kill a job's processes, and wait until they are gone; nothing if it is not known."""
        self._queue = deque(job for job in self._queue if job.job_id != job_id)
        running = self._running.get(job_id)
        if running is None:
            return
        running.aborted = True
        self._order(kill=job_id)
        try:
            async with asyncio.timeout(_END_LIMIT_S):
                await running.ended.wait()
        except TimeoutError:
            self._log.error("Job %s is still not gone %.0f s after it was killed", job_id, _END_LIMIT_S)

    async def close(self) -> None:
        """Kill all jobs, and end the process."""
        self._closing = True
        self._queue.clear()
        process, reader = self._process, self._reader
        self._process = self._reader = None
        if process is not None and process.stdin is not None:
            process.stdin.close()  # which makes it kill its jobs and end
            try:
                async with asyncio.timeout(_END_LIMIT_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        self._fail_all()

    async def _start_process(self) -> asyncio.subprocess.Process:
        arguments = (sys.executable, "-m", f"{_PACKAGE}.worker_process", *self._modules)
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **_ONE_THREAD, **self._environment},
            start_new_session=True,  # Ctrl-C in the terminal is for the observatory, which ends its worker itself
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_START_LIMIT_S):
                ready = await process.stdout.readline()
        except TimeoutError:
            process.kill()
            ready = b""
        except BaseException:
            process.kill()
            raise
        if not ready:
            status = await process.wait()
            raise RuntimeError(
                f"The worker's process (pid {process.pid}) ended with status {status} before it had imported what jobs "
                "need. Its standard error, above, says why."
            )
        self._process = process
        self._log.info("The worker's process %d is ready for jobs", process.pid)
        return process

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        """Read what the process says; when it dies, start another one."""
        while True:
            assert process.stdout is not None
            async for line in process.stdout:
                self._note(json.loads(line))
            status = await process.wait()
            if self._closing:
                return
            self._process = None
            self._log.error(
                "The worker's process %d died with status %d; its %d jobs are in error. Starting another one.",
                process.pid,
                status,
                len(self._running),
            )
            self._fail_all()
            try:
                process = await self._start_process()
            except (RuntimeError, OSError):
                self._log.exception("The worker's process can't be started again; all further jobs stay queued")
                return
            self._start_jobs()

    def _note(self, said: dict[str, Any]) -> None:
        """Act on a line that the process said."""
        if "started" in said:
            self._running[said["started"]].process_group = said["pid"]
        elif "ended" in said:
            self._end(said["ended"], said["status"])
            self._start_jobs()

    def _start_jobs(self) -> None:
        while self._queue and len(self._running) < self._max_jobs and self._process is not None:
            job = self._queue.popleft()
            self._running[job.job_id] = _Running()
            fault = None
            if job.fault is not None and job.fault.effect != "expire":  # which is the server's
                fault = {"effect": job.fault.effect, "value": job.fault.value, "text": job.fault.text}
            self._order(run={"job_id": job.job_id, "environment": dict(job.environment), "fault": fault})
            self._notify(job.job_id, "executing")

    def _order(self, **order: Any) -> None:
        """Send the process what to do; if it is dead, `_follow` deals with that."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(ConnectionError):
                self._process.stdin.write(json.dumps(order).encode() + b"\n")

    def _end(self, job_id: str, status: int) -> None:
        running = self._running.pop(job_id)
        running.ended.set()
        if not running.aborted:
            self._log.info("Job %s ended with status %d", job_id, status)
            self._notify(job_id, "completed" if status == 0 else "error")

    def _fail_all(self) -> None:
        """Kill the jobs that a dead process has left running, and report that they failed."""
        for job_id, running in list(self._running.items()):
            if running.process_group:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(running.process_group, signal.SIGKILL)
            self._end(job_id, -signal.SIGKILL)
