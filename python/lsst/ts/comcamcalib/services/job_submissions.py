# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Submissions of jobs, and the search for jobs whose submission got no good answer."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any

from ..clock import Clock
from ..config import Limits
from ..errors import NotEnabledError, UnreachableError
from ..marks import is_of_run, mark_among
from ..plan.request import JobRequest
from .job_search import JobSearch
from .job_status import OnChange
from .job_stopper import JobStopper
from .ocps import Ocps
from .tracked_job import TrackedJob
from .uws import is_job_id
from .uws_job import UwsJob
from .uws_watch import UwsWatch

__all__ = ["JobSubmissions", "Submission"]


@dataclasses.dataclass(frozen=True)
class Submission:
    """A requested job, and the callback for its states."""

    request: JobRequest
    on_change: OnChange
    began_s: float
    """When it was submitted (TAI unix seconds)."""

    @property
    def mark(self) -> str:
        """The mark that identifies the job at the UWS."""
        return mark_among(self.request.output_dataset_types)

    def belongs_to(self, run_id: str | None) -> bool:
        """Return whether it belongs to a run; None: to any run."""
        return run_id is None or is_of_run(self.mark, run_id)


class JobSubmissions:
    """Submits jobs; a submission goes on even if the task that requested it is cancelled.

    Parameters
    ----------
    ocps, uws
        Services to which jobs are submitted, and in which they are searched for.
    stopper
        Stops the jobs that no stage waits for any more.
    poll_interval_s
        Shortest time between two searches (seconds).
    limits
        Limits of time: ``job_submission``, ``uws_unreachable``.
    clock
        The clock.
    track
        Called with a job that the service follows from now on.
    """

    def __init__(
        self,
        ocps: Ocps,
        uws: UwsWatch,
        stopper: JobStopper,
        poll_interval_s: float,
        limits: Limits,
        clock: Clock,
        track: Callable[[TrackedJob], TrackedJob],
    ) -> None:
        self._ocps = ocps
        self._uws = uws
        self._stopper = stopper
        self._poll_interval_s = poll_interval_s
        self._limits = limits
        self._clock = clock
        self._track = track
        self._log = logging.getLogger(__name__)
        self._known_ids: set[str] = set()
        self.in_progress: dict[asyncio.Task[TrackedJob], Submission] = {}
        """Submissions whose job has no id yet."""
        self._late: set[asyncio.Task[None]] = set()  # searches that go on after the submission has failed

    async def close(self) -> None:
        """End all tasks; log each submission and search that may still lead to a job."""
        for task, submission in self.in_progress.items():
            if not task.done():
                self._log.warning(
                    "Closed while %s was being submitted; look for the mark %s at the UWS",
                    submission.request.pipeline,
                    submission.mark,
                )
        for search in self._late:
            self._log.warning("Closed during the %s; look for it at the UWS", search.get_name())
        tasks: list[asyncio.Task[Any]] = [*self.in_progress, *self._late]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def start(self, request: JobRequest, on_change: OnChange) -> tuple[Submission, asyncio.Task[TrackedJob]]:
        """Begin to submit a job."""
        submission = Submission(request, on_change, self._clock.tai())
        task = asyncio.create_task(self._submit(submission), name=f"submission of {request.pipeline}")
        self.in_progress[task] = submission
        task.add_done_callback(self._submitted)
        return submission, task

    async def find(self, submission: Submission, trouble: str) -> TrackedJob:
        """Return the job that was made although the answer to its submission did not say so.

        Parameters
        ----------
        submission
            The submission.
        trouble
            The answer, in a sentence.

        Raises
        ------
        UnreachableError
            If it is not found; then the search goes on in the background, and a job that appears is stopped.
        """
        search = self._search(submission)
        found = await search.find(self._limits.job_submission)
        if not found:
            self._search_on(self._stop_late(search, submission.on_change), f"search for {submission.mark}")
            raise UnreachableError(f"{trouble.removesuffix('.')}. {search.outcome}")
        return self._adopt(found, submission, trouble)

    async def look(self, submission: Submission, trouble: str) -> TrackedJob | None:
        """Look once for a job that is not known yet and still goes on, or is the only one that has ended.

        Parameters
        ----------
        submission
            The submission.
        trouble
            Why it is looked for, in a sentence.

        Raises
        ------
        UnreachableError
            If the UWS can't be asked.
        """
        search = self._search(submission)
        found = await search.look()
        if search.trouble:
            raise UnreachableError(search.trouble)
        going_on = [job for job in found if not job.phase.ended]
        if not going_on and len(found) > 1:
            return None  # which of them was asked for last is not known
        return self._adopt(going_on or found, submission, trouble) if found else None

    async def find_by_mark(self, mark: str, intended_s: float, limit_s: float) -> list[UwsJob]:
        """Search for the jobs with a mark; see `lsst.ts.comcamcalib.services.job_status.Jobs.find`."""
        search = JobSearch(mark, intended_s, self._uws, self._poll_interval_s, self._limits, ())
        found = await search.find(limit_s)
        if not found and search.trouble:
            raise UnreachableError(f"The UWS can't be asked for a job with the mark {mark}: {search.trouble}")
        return found

    def _adopt(self, found: Sequence[UwsJob], submission: Submission, trouble: str) -> TrackedJob:
        """Follow the first of the jobs that were found, and stop the others."""
        first, *others = found
        self._log.warning(
            "%s The job exists all the same: it is %s, by its mark %s", trouble, first.job_id, submission.mark
        )
        for other in others:
            self._log.warning(
                "Job %s has the same mark as job %s, %s: it is one too many, and is aborted",
                other.job_id,
                first.job_id,
                submission.mark,
            )
            job = self._made(other.job_id, submission)
            job.reason = f"Job {job.job_id} has the same mark as job {first.job_id}, and is one too many"
            self._stopper.stop(job, wanted=True)
        return self._made(first.job_id, submission)

    async def _submit(self, submission: Submission) -> TrackedJob:
        """Submit a job and follow it, even if nothing waits for it any more."""
        try:
            job_id = await self._ocps.submit(submission.request)
        except UnreachableError as error:
            return await self.find(submission, str(error))
        if not is_job_id(job_id):
            return await self.find(submission, f"The OCPS gave {job_id[:200]!r}, which is no job id of the UWS.")
        return self._made(job_id, submission)

    def _submitted(self, task: asyncio.Task[TrackedJob]) -> None:
        """Note that a submission is over; log its error, because its caller may be gone."""
        submission = self.in_progress.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # After a refusal because of the state, the caller may send it again, and then logs that itself.
            level = logging.INFO if isinstance(error, NotEnabledError) else logging.WARNING
            self._log.log(level, "Submission of %s failed: %s", submission.request.pipeline, error)

    async def _stop_late(self, search: JobSearch, on_change: OnChange) -> None:
        """Stop the jobs of a submission that appear after its stage has given it up."""
        found = await search.find_late()
        if not found:
            self._log.warning("No job with the mark %s has appeared at the UWS; the search is over", search.mark)
        for seen in found:
            self._log.warning("Job %s, which no stage waits for any more, has appeared, and is stopped", seen.job_id)
            self._known_ids.add(seen.job_id)
            job = self._track(TrackedJob(seen.job_id, search.mark, on_change, seen.timestamp_created_s))
            job.reason = f"Job {job.job_id} appeared after its submission was given up"
            self._stopper.stop(job, wanted=True)

    def stop_late_by_mark(self, mark: str, intended_s: float, on_change: OnChange) -> None:
        """Stop jobs with a mark that appear later; see `lsst.ts.comcamcalib.services.job_status.Jobs.stop_late_job`."""
        search = JobSearch(mark, intended_s, self._uws, self._poll_interval_s, self._limits, self._known_ids)
        self._search_on(self._stop_late(search, on_change), f"search for {mark}")

    def stop_late_of_run(
        self, run_id: str, since_s: float, known: Collection[str], on_found: Callable[[UwsJob], OnChange]
    ) -> None:
        """Stop jobs of a run that appear after it is closed; see `Jobs.stop_late`."""
        self._search_on(
            self._stop_late_of_run(run_id, since_s, set(known), on_found), f"search for jobs of run {run_id}"
        )

    def _search_on(self, search: Coroutine[Any, Any, None], name: str) -> None:
        """Search in the background."""
        late = asyncio.create_task(search, name=name)
        self._late.add(late)
        late.add_done_callback(self._searched)

    async def _stop_late_of_run(
        self, run_id: str, since_s: float, known: set[str], on_found: Callable[[UwsJob], OnChange]
    ) -> None:
        search = JobSearch(run_id, since_s, self._uws, self._poll_interval_s, self._limits, known, of_run=True)
        while found := await search.find_late():
            for seen in found:
                known.add(seen.job_id)
                if not seen.phase.ended:
                    self._log.warning(
                        "Job %s of run %s, which is closed, has appeared, and is stopped", seen.job_id, run_id
                    )
                    job = self._track(TrackedJob(seen.job_id, run_id, on_found(seen), seen.timestamp_created_s))
                    job.reason = f"Job {job.job_id} appeared after its run was closed"
                    self._stopper.stop(job, wanted=True)
        self._log.info("No further job of run %s has appeared at the UWS; the search is over", run_id)

    def _searched(self, late: asyncio.Task[None]) -> None:
        """Note that a search in the background is over."""
        self._late.discard(late)
        if not late.cancelled() and (error := late.exception()) is not None:
            self._log.error("Bug: the %s broke off", late.get_name(), exc_info=error)

    def _search(self, submission: Submission) -> JobSearch:
        return JobSearch(
            submission.mark, submission.began_s, self._uws, self._poll_interval_s, self._limits, self._known_ids
        )

    def _made(self, job_id: str, submission: Submission) -> TrackedJob:
        """Follow a job that was submitted."""
        self._known_ids.add(job_id)
        return self._track(TrackedJob(job_id, submission.mark, submission.on_change, submission.began_s, fresh=True))
