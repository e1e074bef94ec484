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
from typing import Any

from lsst.ts import utils

from ..config import Limits
from ..errors import ServiceError, UnknownJobError, UnreachableError
from .job_status import ABORTED_EXIT_CODE, Backend, JobEnd, Jobs, JobStatus, OnChange, judge, told_end
from .joblog import explain_failure
from .ocps import JobRequest, Ocps
from .uws import Uws
from .uws_job import Phase, UwsJob

__all__ = ["Backend", "JobService", "JobStatus", "Jobs", "OnChange"]

MAX_DOUBTS = 2
"""How often the UWS is asked again when it does not know a job, or tells another end than the OCPS does."""

MAX_TOLD = 1000
"""How many ends that the OCPS told are remembered."""


class JobService:
    """Has pipelines run by the OCPS, and follows each job at the UWS and by the OCPS's job_result.

    Parameters
    ----------
    ocps, uws
        Where jobs are submitted, and where they are looked at.
    poll_interval_s
        Time between two looks at a job (seconds).
    limits
        Limits of time: ``job``, ``job_abort``, ``job_log``, ``uws_unreachable``.
    backend
        Awaited with (False, sentence) when the UWS stops answering and with (True, "") when it answers again.

    Notes
    -----
    The end of the OCPS's execute command is of no use: it says "Done" for a failed job, and never comes if the OCPS was
    restarted. A job is known by its id alone.
    """

    def __init__(self, ocps: Ocps, uws: Uws, poll_interval_s: float, limits: Limits, backend: Backend) -> None:
        self._ocps = ocps
        self._uws = uws
        self._poll_interval_s = poll_interval_s
        self._limits = limits
        self._backend = backend
        self._log = logging.getLogger(__name__)
        self._reachable = True
        self._open: set[str] = set()  # not known to have ended, followed or not
        self._told: dict[str, int] = {}  # exit codes by job id, those of unknown jobs too: they may come before the id
        self._news: dict[str, asyncio.Event] = {}  # set when the OCPS has told the end of a job that is followed
        self._submitting: dict[asyncio.Task[str], JobRequest] = {}  # they go on when whoever wanted them is cancelled
        self._stopping: set[asyncio.Task[str]] = set()  # aborts that go on when whoever wanted them has no more time
        self._waiting_for_uws: asyncio.Task[None] = utils.make_done_future()  # goes on until the UWS answers again
        self._unsubscribe = ocps.on_result(self._on_result)

    async def close(self) -> None:
        """Stop all that goes on here; jobs go on at the UWS."""
        self._unsubscribe()
        for task, request in self._submitting.items():
            if not task.done():
                self._log.warning("Closed while %s was being submitted; look for it at the UWS", request.pipeline)
        tasks: list[asyncio.Task[Any]] = [*self._submitting, *self._stopping, self._waiting_for_uws]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def open_jobs(self) -> frozenset[str]:
        """Ids of the jobs that are not known to have ended."""
        return frozenset(self._open)

    @property
    def submissions_in_progress(self) -> tuple[JobRequest, ...]:
        """Jobs that are being submitted and have no id yet."""
        return tuple(self._submitting.values())

    async def run(self, request: JobRequest, on_change: OnChange) -> JobStatus:
        """Submit a job and follow it to its end; see `Jobs.run`."""
        submission = asyncio.create_task(self._submit(request), name=f"submission of {request.pipeline}")
        self._submitting[submission] = request
        submission.add_done_callback(self._submitted)
        job_id = await asyncio.shield(submission)
        return await self.attach(job_id, on_change, utils.current_tai())

    async def attach(self, job_id: str, on_change: OnChange, timestamp_submitted_s: float = 0.0) -> JobStatus:
        """Follow a job that was submitted earlier to its end; see `Jobs.attach`."""
        self._open.add(job_id)
        self._news.setdefault(job_id, asyncio.Event())
        status = JobStatus(job_id, Phase.PENDING, timestamp_submitted_s=timestamp_submitted_s)
        await on_change(status)
        ended = await self._follow(status, on_change)
        await on_change(ended)
        return ended

    async def abort(self, job_id: str) -> None:
        """Abort one job and make sure at the UWS that it has ended; see `Jobs.abort`."""
        problem = await self._abort(job_id)
        if problem:
            raise ServiceError(problem)

    async def abort_all(self, limit_s: float) -> list[str]:
        """Abort every open job, those that are still being submitted too; see `Jobs.abort_all`."""
        tasks = [asyncio.create_task(self._abort(job_id), name=f"Job {job_id}") for job_id in sorted(self._open)]
        for submission, request in self._submitting.items():
            name = f"The job for {request.pipeline}, which is being submitted"
            tasks.append(asyncio.create_task(self._abort_submission(submission), name=name))
        if not tasks:
            return []
        self._stopping.update(tasks)
        for task in tasks:
            task.add_done_callback(self._stopping.discard)
        done, _ = await asyncio.wait(tasks, timeout=limit_s)
        late = f"was not stopped within {limit_s:g} s; that it stops is still being tried"
        problems = [task.result() if task in done else f"{task.get_name()}, {late}." for task in tasks]
        return [problem for problem in problems if problem]

    # Submitting

    async def _submit(self, request: JobRequest) -> str:
        """Submit a job, and take note of its id, whoever still wants it."""
        job_id = await self._ocps.submit(request)
        self._open.add(job_id)
        return job_id

    def _submitted(self, submission: asyncio.Task[str]) -> None:
        """Take note that a submission is over; its error is its caller's, who may be gone."""
        request = self._submitting.pop(submission)
        if not submission.cancelled() and (error := submission.exception()) is not None:
            self._log.warning("Submission of %s failed: %s", request.pipeline, error)

    # Following

    def _on_result(self, job_id: str, exit_code: int) -> None:
        """Take note of the end of a job, ours or not."""
        self._told[job_id] = exit_code
        while len(self._told) > MAX_TOLD:
            del self._told[next(iter(self._told))]
        if job_id in self._news:
            self._news[job_id].set()

    async def _follow(self, status: JobStatus, on_change: OnChange) -> JobStatus:
        """Look at a job again and again until it has ended, or its time is over; return the last status."""
        clock = asyncio.get_running_loop().time
        age_s = utils.current_tai() - status.timestamp_submitted_s if status.timestamp_submitted_s else 0.0
        deadline = clock() + self._limits.job - age_s
        answered = clock()
        doubts = 0
        while True:
            seen = await self._look(status.job_id)
            told = self._told.get(status.job_id)
            if isinstance(seen, ServiceError):
                end = None if told is None else told_end(told)
                if end is None and clock() - answered > self._limits.uws_unreachable:
                    return self._lost(status, seen)
            else:
                answered = clock()
                end = judge(seen.phase if seen else None, told)
                doubts = doubts if end is not None else 0
                if seen and seen.phase_word != status.phase and end is None:
                    status = dataclasses.replace(status, phase=seen.phase_word)
                    await on_change(status)
            if end is not None and (end.certain or doubts >= MAX_DOUBTS):
                return await self._ended(status, end, seen if isinstance(seen, UwsJob) else None)
            if clock() > deadline:
                return await self._give_up(status)
            if end is not None:
                doubts += 1
            await self._pause(status.job_id)

    async def _look(self, job_id: str) -> UwsJob | ServiceError | None:
        """Ask the UWS for a job, and tell whether it answers; None: it does not know the job."""
        seen: UwsJob | None = None
        try:
            seen = await self._uws.job(job_id)
        except UnknownJobError:
            pass
        except ServiceError as error:
            await self._tell_backend(False, str(error))
            return error
        await self._tell_backend(True, "")
        return seen

    async def _tell_backend(self, reachable: bool, sentence: str) -> None:
        """Tell that the UWS stopped answering, or answers again; each once."""
        if reachable is not self._reachable:
            self._reachable = reachable
            if not reachable and self._waiting_for_uws.done():
                self._waiting_for_uws = asyncio.create_task(
                    self._wait_for_uws(), name="wait for the UWS to answer again"
                )
            await self._backend(reachable, sentence)

    async def _wait_for_uws(self) -> None:
        """Ask until the UWS answers again, whether any job is still followed or not."""
        while not self._reachable:
            await asyncio.sleep(self._poll_interval_s)
            with contextlib.suppress(ServiceError):  # told already
                await self._uws.ping()
                await self._tell_backend(True, "")

    async def _pause(self, job_id: str) -> None:
        """Wait until it is time for another look, or the OCPS tells something about the job."""
        news = self._news.setdefault(job_id, asyncio.Event())
        try:
            async with asyncio.timeout(self._poll_interval_s):
                await news.wait()
        except TimeoutError:
            return
        news.clear()

    # Endings

    async def _ended(self, status: JobStatus, end: JobEnd, job: UwsJob | None) -> JobStatus:
        """Return the last status of a job that has ended."""
        if end.phase is not Phase.UNKNOWN:  # what was only forgotten may still run
            self._open.discard(status.job_id)
        self._news.pop(status.job_id, None)
        return dataclasses.replace(
            status,
            phase=job.phase_word if job and job.phase is end.phase else end.phase,
            exit_code=end.exit_code,
            message="" if end.exit_code == 0 else await self._reason(status.job_id, end),
            # The server's time has whole seconds only; a job must not seem to have ended before it was submitted.
            timestamp_ended_s=max((job and job.timestamp_ended_s) or utils.current_tai(), status.timestamp_submitted_s),
        )

    async def _reason(self, job_id: str, end: JobEnd) -> str:
        """Return a sentence that says why a job failed."""
        if end.phase is Phase.COMPLETED:
            return (
                f"The UWS calls job {job_id} completed, but the OCPS told exit code {end.exit_code}; what contradicts "
                "itself is not taken for good."
            )
        if end.phase is Phase.ABORTED:
            return f"Job {job_id} was aborted."
        if end.phase is Phase.UNKNOWN:
            return (
                f"The UWS does not know job {job_id} (any more), and the OCPS has told nothing of its end: it was "
                "deleted, or its time at the UWS is over."
            )
        try:
            async with asyncio.timeout(self._limits.job_log):
                log_text = await self._uws.log_text(job_id)
            explanation = await asyncio.to_thread(explain_failure, log_text)
        except Exception as error:  # whatever it is, that the job failed must be told
            return f"Job {job_id} failed; its log could not be read: {str(error) or 'there was no time left for it'}"
        return f"Job {job_id} failed: {explanation}"

    async def _give_up(self, status: JobStatus) -> JobStatus:
        """Abort a job whose time is over."""
        problem = await self._abort(status.job_id)
        self._news.pop(status.job_id, None)
        sentence = f"Job {status.job_id} had not ended {self._limits.job:g} s after its submission, which is its limit"
        return dataclasses.replace(
            status,
            phase=status.phase if problem else Phase.ABORTED,
            exit_code=ABORTED_EXIT_CODE,
            message=f"{sentence}. {problem}" if problem else f"{sentence}; it was aborted.",
            timestamp_ended_s=utils.current_tai(),
        )

    def _lost(self, status: JobStatus, error: ServiceError) -> JobStatus:
        """Return the last status of a job of which nothing is heard any more; it stays among the open ones."""
        return dataclasses.replace(
            status,
            phase=Phase.UNKNOWN,
            exit_code=1,
            message=f"Nothing was heard of job {status.job_id} for {self._limits.uws_unreachable:g} s; it may still "
            f"run. {error} When the UWS answers again, resume.",
            timestamp_ended_s=utils.current_tai(),
        )

    # Aborting

    async def _abort(self, job_id: str) -> str:
        """Abort a job and see at the UWS that it has ended; return a sentence if it has not, else ""."""
        clock = asyncio.get_running_loop().time
        refusal = ""
        try:
            await self._ocps.abort_job(job_id)
        except ServiceError as error:
            refusal = str(error)  # it may have ended by itself: the UWS knows
        deadline = clock() + self._limits.job_abort
        unknown = 0
        while True:
            seen = await self._look(job_id)
            # The UWS deletes what is aborted. Where nothing was aborted, one such answer is not enough.
            unknown = unknown + 1 if seen is None else 0
            gone = unknown > (MAX_DOUBTS if refusal else 0)
            if gone or (isinstance(seen, UwsJob) and seen.phase.ended):
                self._open.discard(job_id)
                return ""
            if (refusal and seen is not None) or clock() > deadline:
                break
            await asyncio.sleep(self._poll_interval_s)
        state = f"its phase is {seen.phase_word}." if isinstance(seen, UwsJob) else str(seen or "it knows no such job.")
        return f"Job {job_id} was not stopped: {refusal or 'the OCPS says that it was aborted.'} At the UWS: {state}"

    async def _abort_submission(self, submission: asyncio.Task[str]) -> str:
        """Abort a job as soon as its id is known; return a sentence if it may go on, else ""."""
        try:
            job_id = await asyncio.shield(submission)
        except UnreachableError as error:
            return str(error)
        except ServiceError:
            return ""  # refused: there is no job
        return await self._abort(job_id)
