# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pipeline jobs from submission to their end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import Any, TypeVar

from ..clock import Clock
from ..config import Limits
from ..errors import ServiceError, UnreachableError
from ..plan.request import JobRequest
from .job_endings import JobEndings
from .job_origin import foreign_repository
from .job_results import JobResults
from .job_status import Backend, Jobs, JobStatus, OnChange, ignore, judge, reported_end
from .job_stopper import MAX_DOUBTS, JobStopper
from .job_submissions import JobSubmissions, Submission
from .ocps import Ocps
from .tracked_job import TrackedJob
from .uws import Uws
from .uws_job import Phase, UwsJob
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
        self._ocps = ocps
        self._poll_interval_s = poll_interval_s
        self._limits = limits
        self._clock = clock
        self._repo = repo
        self._log = logging.getLogger(__name__)
        self._uws = UwsWatch(uws, poll_interval_s, backend)
        self._results = JobResults(ocps, self._on_result)
        self._endings = JobEndings(self._uws, limits, clock)
        self._stopper = JobStopper(ocps, self._uws, self._results, self._endings, poll_interval_s, limits)
        self._jobs: dict[str, TrackedJob] = {}
        self._submissions = JobSubmissions(ocps, self._uws, self._stopper, poll_interval_s, limits, clock, self._track)
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
        return await self._attend(job, submission)

    async def attach(self, job_id: str, on_change: OnChange, timestamp_submitted_s: float = 0.0) -> JobStatus:
        """Follow a job that was submitted earlier to its end; see `Jobs.attach`."""
        return await self._attend(self._track(TrackedJob(job_id, "", on_change, timestamp_submitted_s)))

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

    # Following

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

    async def _attend(self, job: TrackedJob, submission: Submission | None = None) -> JobStatus:
        """Follow a job to its end, from its first status."""
        await job.notify(job.status)
        return await self._follow(job, submission)

    async def _follow(self, job: TrackedJob, submission: Submission | None) -> JobStatus:
        """Ask for a job's state until it has ended or its time is over; return the last status."""
        clock = asyncio.get_running_loop().time
        submitted_s = job.status.timestamp_submitted_s
        deadline = clock() + self._limits.job - (self._clock.tai() - submitted_s if submitted_s else 0.0)
        answered = clock()
        doubts = 0
        while not job.ended:
            if job in self._stopper:  # the stopper finds out how it ends
                if clock() > deadline:
                    return await self._give_up(job)
                await job.pause(self._poll_interval_s)
                continue
            seen = await self._uws.look(job.job_id)
            reported = self._results.of(job.job_id)
            if isinstance(seen, ServiceError):
                end = None if reported is None else reported_end(reported)
                if end is None and clock() - answered > self._limits.uws_unreachable:
                    return await self._lose(job, seen)
            else:
                answered = clock()
                if seen is not None and not job.known_at_uws:
                    job.known_at_uws = True
                    if other := await self._not_ours(job, seen, submission):
                        return await self._attend(other, submission)
                end = judge(seen.phase if seen else None, reported)
                doubts = doubts if end is not None else 0
                if seen and seen.phase_word != job.status.phase and end is None:
                    await job.notify(dataclasses.replace(job.status, phase=seen.phase_word))
            if end is not None and (end.certain or doubts >= MAX_DOUBTS):
                if end.phase is Phase.UNKNOWN and submission is not None and not job.known_at_uws:
                    return await self._elsewhere(job, submission)
                remark = ""
                if end.phase is Phase.ABORTED and job not in self._stopper:
                    remark = "This CSC did not abort it."
                status = await self._endings.last_status(job, end, seen if isinstance(seen, UwsJob) else None, remark)
                return await job.conclude(status)
            if clock() > deadline:
                return await self._give_up(job)
            doubts += end is not None
            await job.pause(self._poll_interval_s)
        await job.concluded.wait()
        return job.status

    async def _not_ours(self, job: TrackedJob, seen: UwsJob, submission: Submission | None) -> TrackedJob | None:
        """Compare a job with its submission; return the right job if this is another one, None if it is the right one.

        Raises
        ------
        ServiceError
            If it uses another repository, or is another job and the right one is not found.
        """
        if submission is not None and seen.output_glob and not seen.has_mark(job.mark):
            sentence = (
                f"The OCPS gave the id {job.job_id} for the job with the mark {job.mark}, but at the UWS that is "
                f"another job, with the outputs {seen.output_glob}"
            )
            await self._disown(job, f"{sentence}.")
            return await self._submissions.find(submission, sentence)
        if problem := await asyncio.to_thread(foreign_repository, seen, self._repo):
            await self._refuse(job, problem)
        return None

    async def _elsewhere(self, job: TrackedJob, submission: Submission) -> JobStatus:
        """Follow the right job instead of one that the UWS has never known; if there is none, abort that one."""
        unknown = f"The UWS does not know job {job.job_id}, which the OCPS has just submitted"
        mark = f"a job with its mark {job.mark}"
        try:
            if other := await self._submissions.look(submission, f"{unknown}."):
                await self._disown(job, f"{unknown}; the job with its mark is {other.job_id}.")
                return await self._attend(other, submission)
            job.reason = f"{unknown}, nor {mark}"
        except UnreachableError as error:
            job.reason = f"{unknown}; it is not known whether there is {mark} ({error})"
        job.reason += ". The OCPS probably uses a UWS other than uws_url of this CSC: compare them"
        return await self._abandon(job)

    async def _disown(self, job: TrackedJob, sentence: str) -> None:
        """Stop following an id that is not that of the submitted job."""
        ended_s = self._clock.tai()
        await job.conclude(
            dataclasses.replace(
                job.status, phase=Phase.UNKNOWN, exit_code=1, message=sentence, timestamp_ended_s=ended_s
            )
        )

    async def _refuse(self, job: TrackedJob, problem: str) -> None:
        """Abort a job that can't be used.

        Raises
        ------
        ServiceError
            Always.
        """
        job.reason = problem
        unfinished = await self._stop_for_a_while(job)
        raise ServiceError(f"{problem}. {unfinished}" if unfinished else job.status.message or f"{problem}.")

    # Endings

    async def _lose(self, job: TrackedJob, error: ServiceError) -> JobStatus:
        """Give up a job of which there is no news, but stop it as soon as that is possible."""
        job.reason = f"There had been no news of job {job.job_id} for {self._limits.uws_unreachable:g} s"
        status = dataclasses.replace(
            job.status,
            phase=Phase.UNKNOWN,
            exit_code=1,
            message=f"There was no news of job {job.job_id} for {self._limits.uws_unreachable:g} s; it may still run. "
            f"{error} As soon as the UWS answers, the job is checked, and aborted if it still runs. Check the UWS, "
            "then resume the run.",
            timestamp_ended_s=self._clock.tai(),
        )
        await job.notify(status)
        self._stopper.stop(job, wanted=False)
        return status

    async def _give_up(self, job: TrackedJob) -> JobStatus:
        """Abort a job whose time is over."""
        job.reason = f"Job {job.job_id} had not ended {self._limits.job:g} s after its submission, which is its limit"
        if Phase.of(job.status.phase) in (Phase.PENDING, Phase.QUEUED):
            job.reason += (
                ", and it had not even begun to execute (look with kubectl at the pods in the namespace of the UWS: "
                "was there a machine for its pod, and could its image be pulled?)"
            )
        return await self._abandon(job)

    async def _abandon(self, job: TrackedJob) -> JobStatus:
        """Stop a job that is not needed any more, and return its last known status."""
        unfinished = await self._stop_for_a_while(job)
        if not unfinished:
            return job.status
        status = dataclasses.replace(
            job.status, exit_code=1, message=f"{job.reason}. {unfinished}", timestamp_ended_s=self._clock.tai()
        )
        await job.notify(status)
        return status

    async def _stop_for_a_while(self, job: TrackedJob) -> str:
        """Stop a job; return a sentence if that takes too long, and goes on in the background."""
        self._stopper.stop(job, wanted=True)
        try:
            # Time for the OCPS's answer, and for the request to the UWS that shows the outcome.
            async with asyncio.timeout(2 * self._limits.job_abort):
                return await self._stopper.stopped(job)
        except TimeoutError:
            return self._stopper.unfinished(job)
