# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Follow a job to its end, at the UWS and by the OCPS's report."""

from __future__ import annotations

import asyncio
import dataclasses

from ..clock import Clock
from ..config import Limits
from ..errors import ServiceError, UnreachableError
from .job_endings import JobEndings
from .job_origin import foreign_repository
from .job_results import JobResults
from .job_status import JobEnd, JobStatus, judge, reported_end
from .job_stopper import MAX_DOUBTS, JobStopper
from .job_submissions import JobSubmissions, Submission
from .tracked_job import TrackedJob
from .uws_job import Phase, UwsJob
from .uws_watch import UwsWatch

__all__ = ["JobFollower"]


class JobFollower:
    """Follows jobs; one that is not what was submitted, or whose time is over, is left or stopped.

    Parameters
    ----------
    uws, results
        Services that know the phases of jobs, and that keep their reported ends.
    endings
        Finds out how jobs ended.
    stopper
        Stops jobs.
    submissions
        Finds the job that was made for a submission.
    poll_interval_s
        Time between two requests for the state of a job (seconds).
    limits
        Limits of time: ``job``, ``job_abort``, ``uws_forgotten``, ``uws_unreachable``.
    clock
        The clock.
    repo
        Repository that the jobs must use; "": it is not compared.
    """

    def __init__(
        self,
        uws: UwsWatch,
        results: JobResults,
        endings: JobEndings,
        stopper: JobStopper,
        submissions: JobSubmissions,
        poll_interval_s: float,
        limits: Limits,
        clock: Clock,
        repo: str,
    ) -> None:
        self._uws = uws
        self._results = results
        self._endings = endings
        self._stopper = stopper
        self._submissions = submissions
        self._poll_interval_s = poll_interval_s
        self._limits = limits
        self._clock = clock
        self._repo = repo

    async def follow(self, job: TrackedJob, submission: Submission | None = None) -> JobStatus:
        """Notify of a job's first status, and follow it until it or its time has ended; return its last status.

        Parameters
        ----------
        job
            The job.
        submission
            What was submitted; None if that was done by an earlier process.

        Raises
        ------
        ServiceError
            If it is not the submitted job, which is not found, or uses another repository.
        """
        await job.notify(job.status)
        return await self._follow(job, submission)

    async def _follow(self, job: TrackedJob, submission: Submission | None) -> JobStatus:
        """Ask for a job's state until it has ended or its time is over; return the last status."""
        clock = asyncio.get_running_loop().time
        submitted_s = job.status.timestamp_submitted_s
        deadline = clock() + self._limits.job - (self._clock.tai() - submitted_s if submitted_s else 0.0)
        answered = certain = clock()
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
                        return await self.follow(other, submission)
                end = judge(seen.phase if seen else None, reported)
                if end is None:
                    doubts, certain = 0, clock()
                if seen and seen.phase_word != job.status.phase and end is None:
                    await job.notify(dataclasses.replace(job.status, phase=seen.phase_word))
            # Of a new id that the UWS has never shown, nobody need be patient: it may be that of another UWS.
            was_there = job.known_at_uws or not job.fresh
            patience_s = self._limits.uws_forgotten if seen is None and was_there else 0.0
            if end is not None and (end.certain or (doubts >= MAX_DOUBTS and clock() - certain >= patience_s)):
                return await self._conclude(job, end, seen if isinstance(seen, UwsJob) else None, submission)
            if clock() > deadline:
                return await self._give_up(job)
            doubts += end is not None
            await job.pause(self._poll_interval_s)
        await job.concluded.wait()
        return job.status

    async def _conclude(
        self, job: TrackedJob, end: JobEnd, seen: UwsJob | None, submission: Submission | None
    ) -> JobStatus:
        """Return the last status of a job that has ended; if the UWS has never known it, that of the right job."""
        if end.phase is Phase.UNKNOWN and submission is not None and not job.known_at_uws:
            return await self._elsewhere(job, submission)
        remark = ""
        if end.phase is Phase.ABORTED and job not in self._stopper:
            remark = "This CSC did not abort it."
        return await job.conclude(await self._endings.last_status(job, end, seen, remark))

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
                return await self.follow(other, submission)
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
