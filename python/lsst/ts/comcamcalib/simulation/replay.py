# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A worker that puts recorded products into the repository, for tests of what is around it in seconds."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import shlex
import traceback
from collections.abc import Mapping
from pathlib import Path

from lsst.daf.butler import Butler

from .recording import RECORDED
from .replay_job import JobLog, JobReplay
from .worker import Job, Notify, pipeline_name
from .worker_process import commands

__all__ = ["ReplayWorker"]

_DEFAULT_DURATION_S = 0.5
_FOREVER_S = 24 * 3600.0


class ReplayWorker:
    """Does as if it ran pipelines: after a given time their recorded products are there; a `Worker`.

    Collections, data ids and ``ocps.log`` are as with the real pipelines. What is in the products is not: it does
    not depend on the raws, nor on the configuration, but only on the faults of detectors in force (see
    `replay_retouch`); images have the recorded shape. Verifications are measured on the raws (see `replay_verify`).
    Retrieved datasets are not put beside the log. Faults have the effects of `worker_faults`, with ``value``
    counting detectors instead of quanta, and seconds for the whole job.

    Parameters
    ----------
    durations_s
        How long the job of a pipeline takes, by its name; those not named take ``duration_s``.
    duration_s
        How long other jobs take, seconds.
    max_jobs
        How many jobs run at a time; the others are queued.
    recordings
        Directory with the recordings.
    """

    def __init__(
        self,
        durations_s: Mapping[str, float] | None = None,
        duration_s: float = _DEFAULT_DURATION_S,
        max_jobs: int = 2,
        recordings: Path = RECORDED,
    ) -> None:
        self._durations_s = dict(durations_s or {})
        self._duration_s = duration_s
        self._recordings = recordings
        self._max_jobs = max_jobs
        self._places = asyncio.Semaphore(max_jobs)
        self._notify: Notify = lambda job_id, phase: None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # Set when a job need not take its time any more.
        self._finish: dict[str, asyncio.Event] = {}
        # One thread, because an open Butler may be used by only one at a time.
        self._thread: concurrent.futures.ThreadPoolExecutor | None = None

    async def start(self, notify: Notify) -> None:
        """Be ready for jobs."""
        self._notify = notify
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="replay")

    async def submit(self, job: Job) -> None:
        """Queue a job; it runs as soon as there is a place."""
        if len(self._tasks) >= self._max_jobs:
            self._notify(job.job_id, "queued")
        self._finish[job.job_id] = asyncio.Event()
        task = asyncio.create_task(self._run(job), name=f"replay job {job.job_id}")
        self._tasks[job.job_id] = task
        task.add_done_callback(lambda _: self._forget(job.job_id))

    def finish(self, job_id: str) -> None:
        """Let a job end now, however long it should take; one that hangs goes on hanging.

        Raises
        ------
        KeyError
            If there is no such job, or it has ended.
        """
        self._finish[job_id].set()

    def _forget(self, job_id: str) -> None:
        self._tasks.pop(job_id, None)
        self._finish.pop(job_id, None)

    async def abort(self, job_id: str) -> None:
        """Stop a job; products that are being put in place are put to their end first."""
        if job_id in self._tasks:
            task = self._tasks[job_id]
            task.cancel()
            await asyncio.wait([task])

    async def close(self) -> None:
        """Stop all jobs."""
        for job_id in list(self._tasks):
            await self.abort(job_id)
        if self._thread is not None:
            thread, self._thread = self._thread, None
            await asyncio.to_thread(thread.shutdown)

    async def _run(self, job: Job) -> None:
        async with self._places:
            self._notify(job.job_id, "executing")
            effect = "" if job.fault is None else job.fault.effect
            name = pipeline_name(job.environment.get("PIPELINE_URL", ""))
            duration_s = self._durations_s.get(name, self._duration_s)
            if job.fault is not None and effect == "slow":
                duration_s += job.fault.value
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._finish[job.job_id].wait(), duration_s)
            is_good = await self._in_thread(job)
            if effect == "hang":
                await asyncio.sleep(_FOREVER_S)
        self._notify(job.job_id, "completed" if is_good else "error")

    async def _in_thread(self, job: Job) -> bool:
        """Replay a job in the thread; a cancellation waits until that is done, as a thread can't be stopped."""
        work = asyncio.get_running_loop().run_in_executor(self._thread, replay, job, self._recordings)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # It may fail, because the server has removed the folder of a job that had not begun.
            await asyncio.gather(work, return_exceptions=True)
            raise


def replay(job: Job, recordings: Path = RECORDED) -> bool:
    """Put a job's products into the repository and write its log; return whether it has succeeded."""
    with (job.output_dir / "ocps.log").open("a") as file:
        log = JobLog(file)
        try:
            pipetask, retrieve = commands(dict(job.environment))
            log.write_line(f"+ {shlex.join(pipetask)}")
            with Butler.from_config(job.environment["BUTLER_REPO"], writeable=True) as butler:
                JobReplay(butler, job, recordings, log).put_all()
            if job.fault is not None and job.fault.effect in ("die", "hang"):
                return False
            log.write_line(f"+ {shlex.join(retrieve)}")
        except Exception:
            log.error("lsst.daf.butler.cli.utils", "", "Caught an exception, details are in traceback:")
            log.write_line(traceback.format_exc())
            return False
    return True
