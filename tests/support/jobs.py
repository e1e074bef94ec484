# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A fake of what has pipelines run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from lsst.ts.comcamcalib.errors import NotEnabledError, ServiceError, UnreachableError
from lsst.ts.comcamcalib.plan.request import JobRequest
from lsst.ts.comcamcalib.services.job_status import JobStatus, OnChange, ignore
from lsst.ts.comcamcalib.services.uws_job import Phase, UwsJob

from support.clock import patience_s
from support.gate import Gate
from support.world import FakeJob, World

__all__ = ["FakeJobs"]

TAI = 1_800_000_000.0


class FakeJobs:
    """Jobs that complete at once, fail, or wait for the test; by their labels."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.refused: dict[str, str] = {}
        """Why a job is not accepted."""
        self.not_enabled: dict[str, int] = {}
        """How often a job is refused because the OCPS is not ENABLED."""
        self.failing: dict[str, str] = {}
        """What the log of a job says that fails."""
        self.held: dict[str, asyncio.Event] = {}
        """Jobs that execute until the event is set."""
        self.submitting: dict[str, asyncio.Event] = {}
        """Jobs whose submission is answered only when the event is set."""
        self.unstoppable: set[str] = set()
        """Labels of the jobs that can't be aborted."""
        self.finding: Gate | None = None
        """Where a search stops."""
        self.unreachable = ""
        """Why the UWS can't be asked."""
        self.aborted: list[str] = []
        self.searches: list[tuple[str, float]] = []
        """Marks that were searched for, each with the time that the search could take (seconds)."""
        self.late: dict[str, tuple[set[str], Callable[[UwsJob], OnChange]]] = {}
        """Runs whose jobs are looked for when they are closed: the jobs that are known, and who hears of others."""
        self.late_jobs: dict[str, OnChange] = {}
        """Marks of jobs that may still appear, and who hears of them."""
        self.executing: dict[str, asyncio.Event] = {}
        """Set when a job of the label executes."""
        self._on_change: dict[str, OnChange] = {}
        """Who wants to know of each job."""
        self._submissions: dict[asyncio.Task[FakeJob], str] = {}

    def hold(self, label: str) -> asyncio.Event:
        """Let a job execute until the returned event is set."""
        self.held[label] = asyncio.Event()
        self.executing[label] = asyncio.Event()
        return self.held[label]

    async def until_executing(self, label: str) -> None:
        """Wait until a held job executes."""
        async with asyncio.timeout(patience_s()):
            await self.executing[label].wait()

    @property
    def labels(self) -> list[str]:
        """Labels of all jobs, in the order of their submission."""
        return [job.label for job in self.world.jobs.values()]

    async def run(self, request: JobRequest, on_change: OnChange) -> JobStatus:
        label = request.output_dataset_types.rsplit("_", 2)[-2]
        submission = asyncio.create_task(self._submit(request, label, on_change), name=f"submission of {label}")
        self._submissions[submission] = label
        submission.add_done_callback(lambda task: self._submissions.pop(task))
        job = await asyncio.shield(submission)
        return await self.attach(job.job_id, on_change, TAI)

    async def _submit(self, request: JobRequest, label: str, on_change: OnChange) -> FakeJob:
        if label in self.submitting:
            await self.submitting[label].wait()
        if self.not_enabled.get(label, 0) > 0:
            self.not_enabled[label] -= 1
            raise NotEnabledError("OCPS:2 refused to execute. It is not ENABLED: enable it.")
        if label in self.refused:
            raise ServiceError(self.refused[label])
        job = self.world.submit(request)
        self._on_change[job.job_id] = on_change  # the real service knows it, too, if nobody waits any more
        return job

    async def attach(self, job_id: str, on_change: OnChange, timestamp_submitted_s: float = 0.0) -> JobStatus:
        self._on_change[job_id] = on_change
        await on_change(JobStatus(job_id, "pending", timestamp_submitted_s=timestamp_submitted_s))
        job = self.world.jobs.get(job_id)
        if job is None or job.ended:
            status = self._found_ended(job_id, timestamp_submitted_s)
            await on_change(status)
            return status
        job.phase = "executing"
        await on_change(JobStatus(job_id, "executing", timestamp_submitted_s=timestamp_submitted_s))
        if job.label in self.held:
            self.executing[job.label].set()
            await self.held[job.label].wait()
        status = self._end(job, timestamp_submitted_s)
        await on_change(status)
        return status

    def lose_commands(self) -> None:
        """Let no submission that is in progress arrive at the OCPS."""
        for submission in list(self._submissions):
            submission.cancel()

    def end(self, label: str) -> None:
        """Let the last job with a label end, with nobody who follows it."""
        self._end(self.world.job(label), TAI)

    def _found_ended(self, job_id: str, submitted_s: float) -> JobStatus:
        """Return the end of a job that ended while nobody followed it; the UWS deletes those that were aborted."""
        job = self.world.jobs.get(job_id)
        if job is None or job.phase == "aborted":
            return JobStatus(job_id, "unknown", 1, f"How {job_id} ended is not known.", submitted_s, TAI + 60)
        failed = job.phase != "completed"
        message = self.failing.get(job.label, "") if failed else ""
        return JobStatus(job_id, job.phase, int(failed), message, submitted_s, TAI + 60)

    def _end(self, job: FakeJob, submitted_s: float) -> JobStatus:
        job.ended = True
        if job.phase == "aborted" or job.label in self.failing:
            job.phase = "aborted" if job.phase == "aborted" else "error"
            message = self.failing.get(job.label, "it was aborted")
            return JobStatus(job.job_id, job.phase, 1, message, submitted_s, TAI + 60)
        job.phase = "completed"
        self.world.complete(job)
        return JobStatus(job.job_id, "completed", 0, "", submitted_s, TAI + 60)

    async def abort(self, job_id: str, on_change: OnChange = ignore) -> JobStatus:
        if job_id not in self.world.jobs:
            status = JobStatus(job_id, "unknown", 1, f"How {job_id} ended is not known.", TAI, TAI + 60)
            await on_change(status)
            return status
        job = self.world.jobs[job_id]
        if job.label in self.unstoppable:
            raise ServiceError(f"job {job_id} can't be stopped")
        if not job.ended:
            self.aborted.append(job_id)
            job.phase, job.ended = "aborted", True
        status = JobStatus(job_id, job.phase, 0 if job.phase == "completed" else 255, "", TAI, TAI + 60)
        await on_change(status)
        return status

    def is_submitting(self, mark: str) -> bool:
        return any(f"_{label}_" in mark for label in self._submissions.values())

    async def find(self, mark: str, intended_s: float, limit_s: float) -> list[UwsJob]:
        self.searches.append((mark, limit_s))
        if self.finding is not None:
            await self.finding.pass_through()
        if self.unreachable:
            raise UnreachableError(self.unreachable)
        found = [job for job in self.world.jobs.values() if job.request.output_dataset_types.endswith(f",{mark}")]
        return [
            UwsJob(one.job_id, "", Phase.of(one.phase), one.phase, TAI, TAI, 0.0, one.request.output_dataset_types, ())
            for one in found
            if one.phase != "aborted"  # the UWS has deleted it
        ]

    def stop_late_job(self, mark: str, intended_s: float, on_change: OnChange) -> None:
        self.late_jobs[mark] = on_change

    def forget(self) -> None:
        """Forget who wants to know of the jobs, because that process has died."""
        self._on_change.clear()

    def stop_late(
        self, run_id: str, since_s: float, known: Collection[str], on_found: Callable[[UwsJob], OnChange]
    ) -> None:
        self.late[run_id] = (set(known), on_found)

    async def abort_all(self, limit_s: float, run_id: str | None = None) -> list[str]:
        problems = []
        if self._submissions:
            _, late = await asyncio.wait(list(self._submissions), timeout=limit_s)
            problems += [f"{self._submissions[task]} is still being submitted" for task in late]
        # Only those that this process knows.
        for job in [self.world.jobs[job_id] for job_id in self._on_change if job_id in self.world.jobs]:
            try:
                await self.abort(job.job_id, ignore if job.ended else self._on_change[job.job_id])
            except ServiceError as error:
                problems += [str(error)] if not job.ended else []
        return problems
