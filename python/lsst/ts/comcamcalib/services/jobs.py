# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pipeline jobs from submission to their end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import Any, TypeVar

from ..clock import Clock
from ..config import Limits
from ..errors import ServiceError, UnreachableError
from ..plan.request import JobRequest
from .job_endings import JobEndings
from .job_follower import JobFollower
from .job_results import JobResults
from .job_status import Backend, Jobs, JobStatus, OnChange, ignore
from .job_stopper import JobStopper
from .job_submissions import JobSubmissions
from .ocps import Ocps
from .tracked_job import TrackedJob
from .uws import Uws
from .uws_job import UwsJob
from .uws_watch import UwsWatch

__all__ = ["Backend", "JobService", "JobStatus", "Jobs", "OnChange"]

T = TypeVar("T")


class JobService:
    """Has the OCPS run pipelines, and follows each job at the UWS and by the OCPS's job_result.

    Parameters
    ----------
    ocps, uws
        Services to which jobs are submitted, and that show their state.
    poll_interval_s
        Time between two requests for the state of a job (seconds).
    limits
        Limits of time: ``job``, ``job_submission``, ``job_abort``, ``job_log``, ``uws_unreachable``.
    backend
        Awaited with (False, sentence) when the UWS stops answering and with (True, "") when it answers again.
    repo
        Repository that the jobs must use; "": it is not compared.

    Notes
    -----
    The last acknowledgement of the OCPS's execute command is not used: it says "Done" for a failed job, too, and never
    comes if the OCPS was restarted. A job is identified by its id, and before that by its mark, which belongs to one
    run.
    """

    def __init__(
        self,
        ocps: Ocps,
        uws: Uws,
        poll_interval_s: float,
        limits: Limits,
        clock: Clock,
        backend: Backend,
        repo: str = "",
    ) -> None:
        self._log = logging.getLogger(__name__)
        self._uws = UwsWatch(uws, poll_interval_s, backend)
        self._results = JobResults(ocps, self._on_result)
        endings = JobEndings(self._uws, limits, clock)
        self._stopper = JobStopper(ocps, self._uws, self._results, endings, poll_interval_s, limits)
        self._jobs: dict[str, TrackedJob] = {}
        self._submissions = JobSubmissions(ocps, self._uws, self._stopper, poll_interval_s, limits, clock, self._track)
        self._follower = JobFollower(
            self._uws, self._results, endings, self._stopper, self._submissions, poll_interval_s, limits, clock, repo
        )
        self._background: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """End all tasks of this service; jobs run on at the UWS."""
        self._results.close()
        await self._submissions.close()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._stopper.close()
        await self._uws.close()

    @property
    def open_jobs(self) -> frozenset[str]:
        """Ids of the jobs that are not known to have ended."""
        return frozenset(job_id for job_id, job in self._jobs.items() if not job.ended)

    @property
    def submissions_in_progress(self) -> tuple[JobRequest, ...]:
        """Jobs that are being submitted and have no id yet."""
        return tuple(submission.request for submission in self._submissions.in_progress.values())

    async def run(self, request: JobRequest, on_change: OnChange) -> JobStatus:
        """Submit a job and follow it to its end; see `Jobs.run`."""
        submission, task = self._submissions.start(request, on_change)
        try:
            job = await asyncio.shield(task)
        except asyncio.CancelledError:
            # Whoever cancels this may want to stop the job, and needs its id for that.
            self._spawn(self._announce(task), f"id of the job for {request.pipeline}")
            raise
        return await self._follower.follow(job, submission)

    async def attach(self, job_id: str, on_change: OnChange, timestamp_submitted_s: float = 0.0) -> JobStatus:
        """Follow a job that was submitted earlier to its end; see `Jobs.attach`."""
        return await self._follower.follow(self._track(TrackedJob(job_id, "", on_change, timestamp_submitted_s)))

    async def abort(self, job_id: str, on_change: OnChange = ignore) -> JobStatus:
        """Abort one job, unless it has ended; see `Jobs.abort`."""
        job = self._jobs.get(job_id)
        if job is None or job.ended:
            job = self._track(TrackedJob(job_id, "", on_change))
        job.on_change = on_change
        self._stopper.stop(job, wanted=True)
        if problem := await self._stopper.stopped(job):
            raise ServiceError(problem)
        await job.concluded.wait()
        return job.status

    async def abort_all(self, limit_s: float, run_id: str | None = None) -> list[str]:
        """Abort every open job of a run, including those that are still being submitted; see `Jobs.abort_all`."""
        stops: dict[asyncio.Task[str], TrackedJob | None] = {}
        for job in [job for job in self._jobs.values() if job.belongs_to(run_id) and not job.ended]:
            self._stopper.stop(job, wanted=True)
            stops[self._spawn(self._stopper.stopped(job), f"Job {job.job_id}")] = job
        for task, submission in self._submissions.in_progress.items():
            if submission.belongs_to(run_id):
                name = f"The job for {submission.request.pipeline}, which is being submitted,"
                stops[self._spawn(self._abort_submission(task), name)] = None
        if not stops:
            return []
        done, _ = await asyncio.wait(stops, timeout=limit_s)
        problems = []
        for stop, tracked in stops.items():
            if stop in done and (error := stop.exception()):
                self._log.error("Bug: %s could not be stopped", stop.get_name(), exc_info=error)
                problems.append(f"{stop.get_name()} was not stopped: unforeseen {type(error).__name__}: {error}")
            elif stop in done:
                problems.append(stop.result())
            elif tracked:
                stop.cancel()  # cancels only the wait; the stopper goes on
                problems.append(self._stopper.unfinished(tracked))
            else:
                problems.append(
                    f"{stop.get_name()} was not stopped within {limit_s:g} s; if there is such a job, it is "
                    "stopped as soon as it is found, unless the CSC leaves ENABLED before."
                )
        return [problem for problem in problems if problem]

    def is_submitting(self, mark: str) -> bool:
        """Return whether a job with a mark is being submitted right now; see `Jobs.is_submitting`."""
        return any(submission.mark == mark for submission in self._submissions.in_progress.values())

    async def find(self, mark: str, intended_s: float, limit_s: float) -> list[UwsJob]:
        """Search the UWS for the jobs with a mark; see `Jobs.find`."""
        return await self._submissions.find_by_mark(mark, intended_s, limit_s)

    def stop_late_job(self, mark: str, intended_s: float, on_change: OnChange) -> None:
        """Stop jobs with a mark that appear later; see `Jobs.stop_late_job`."""
        self._submissions.stop_late_by_mark(mark, intended_s, on_change)

    def stop_late(
        self, run_id: str, since_s: float, known: Collection[str], on_found: Callable[[UwsJob], OnChange]
    ) -> None:
        """Stop jobs of a run that appear after it is closed; see `Jobs.stop_late`."""
        self._submissions.stop_late_of_run(run_id, since_s, known, on_found)

    async def _abort_submission(self, task: asyncio.Task[TrackedJob]) -> str:
        """Abort a job as soon as its id is known; return a sentence if it may go on."""
        try:
            job = await asyncio.shield(task)
        except UnreachableError as error:
            return str(error)
        except ServiceError:
            return ""  # refused: there is no job
        self._stopper.stop(job, wanted=True)
        return await self._stopper.stopped(job)

    def _track(self, job: TrackedJob) -> TrackedJob:
        """Register a job until its end is known."""
        self._jobs = {job_id: one for job_id, one in self._jobs.items() if not one.ended}
        self._jobs[job.job_id] = job
        return job

    def _spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Start a task that goes on even if its caller is cancelled, until the service is closed."""
        task = asyncio.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def _on_result(self, job_id: str) -> None:
        """Ask for a job's state at once, because the OCPS has reported its end."""
        if job_id in self._jobs:
            self._jobs[job_id].news.set()

    async def _announce(self, task: asyncio.Task[TrackedJob]) -> None:
        """Publish the id of a job as soon as it is known, although nothing follows the job any more."""
        with contextlib.suppress(ServiceError):  # the submission has logged why there is no id
            job = await asyncio.shield(task)
            if not job.ended:
                await job.notify(job.status)
