# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stop jobs, and keep trying until they have ended."""

from __future__ import annotations

import asyncio
import dataclasses
import logging

from ..config import Limits
from ..errors import ServiceError
from .job_endings import JobEndings, still_tried
from .job_results import JobResults
from .job_status import ABORTED_EXIT_CODE, JobEnd, judge, reported_end
from .ocps import Ocps
from .tracked_job import TrackedJob
from .uws_job import Phase, UwsJob
from .uws_watch import UwsWatch

__all__ = ["MAX_DOUBTS", "JobStopper"]

MAX_DOUBTS = 2
"""How often the UWS is asked again if it does not know a job, or shows a different end from the OCPS's report."""

MAX_RETRY_PAUSE_S = 30.0
"""Longest time between two commands to abort a job (seconds)."""

CLOSE_S = 1.0
"""Longest time that `JobStopper.close` takes to publish the jobs that it gives up (seconds)."""


@dataclasses.dataclass
class _Attempt:
    """The attempts to stop a job so far."""

    task: asyncio.Task[None]
    wanted: bool
    """Whether an operator wants it stopped; then it may be aborted although the UWS does not answer."""
    failed: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    """Set when the first attempt since the last request has failed."""
    end: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    """Set when the job is known to have ended; reading its log may take a while longer."""
    obstacle: str = "the UWS has not said yet whether it still runs."
    refusal: str = ""
    accepted: bool = False
    """Whether the OCPS has said that it deleted the job."""
    doubts: int = 0
    next_s: float = 0.0
    """When the OCPS may be asked again, and when it was last asked (seconds of the loop's clock)."""
    asked_s: float = 0.0
    pause_s: float = 0.0


class JobStopper:
    """Stops jobs that have not ended; each has a task that ends with the job.

    Parameters
    ----------
    ocps, uws, results
        Services that abort jobs, that know their phases, and that keep their reported ends.
    endings
        Finds out how they ended.
    poll_interval_s
        Time between two requests for the state of a job (seconds).
    limits
        Limits of time: ``job_abort``.
    """

    def __init__(
        self,
        ocps: Ocps,
        uws: UwsWatch,
        results: JobResults,
        endings: JobEndings,
        poll_interval_s: float,
        limits: Limits,
    ) -> None:
        self._ocps = ocps
        self._uws = uws
        self._results = results
        self._endings = endings
        self._poll_interval_s = poll_interval_s
        self._limits = limits
        self._log = logging.getLogger(__name__)
        self._attempts: dict[TrackedJob, _Attempt] = {}

    def __contains__(self, job: TrackedJob) -> bool:
        """Return whether a job is being stopped."""
        return job in self._attempts

    async def close(self) -> None:
        """End all attempts, and publish which jobs were not stopped."""
        attempts = dict(self._attempts)
        for attempt in attempts.values():
            attempt.task.cancel()
        await asyncio.gather(*(attempt.task for attempt in attempts.values()), return_exceptions=True)
        given_up = []
        for job, attempt in attempts.items():
            if not attempt.end.is_set():
                sentence = (
                    f"Job {job.job_id} was not stopped: {attempt.obstacle} The CSC has left ENABLED and does not "
                    "try any more. Look at the UWS, and delete the job there if it still runs."
                )
                self._log.warning("%s", sentence)
                status = dataclasses.replace(job.status, message=sentence)
                given_up.append(asyncio.create_task(job.notify(status), name=f"give up {job.job_id}"))
        if given_up:
            await asyncio.wait(given_up, timeout=CLOSE_S)

    def stop(self, job: TrackedJob, wanted: bool) -> None:
        """Begin to stop a job; if that is in progress, try again at once.

        Parameters
        ----------
        job
            The job.
        wanted
            Whether an operator wants that; if not, nothing is sent as long as the UWS does not answer.
        """
        attempt = self._attempts.get(job)
        if attempt is None or attempt.task.done():
            task = asyncio.create_task(self._stop(job), name=f"stop job {job.job_id}")
            self._attempts[job] = _Attempt(task, wanted)
            return
        attempt.wanted |= wanted
        attempt.failed.clear()
        attempt.next_s = attempt.pause_s = 0.0
        job.news.set()

    async def stopped(self, job: TrackedJob) -> str:
        """Wait until a job has ended or an attempt has failed; return the sentence about it if it has not ended."""
        attempt = self._attempts.get(job)
        if attempt is None:
            return ""
        signs = [asyncio.create_task(sign.wait()) for sign in (attempt.failed, job.concluded)]
        try:
            await asyncio.wait([*signs, attempt.task], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for sign in signs:
                sign.cancel()
        return self.unfinished(job)

    def unfinished(self, job: TrackedJob) -> str:
        """Return the sentence about a job that is being stopped."""
        attempt = self._attempts.get(job)
        return still_tried(job.job_id, attempt.obstacle) if attempt and not attempt.end.is_set() else ""

    async def _stop(self, job: TrackedJob) -> None:
        """Try until the job has ended."""
        attempt = self._attempts[job]
        try:
            while not job.ended:
                seen = await self._uws.look(job.job_id)
                job.known_at_uws |= isinstance(seen, UwsJob)
                if end := self._end(job, seen, attempt):
                    attempt.end.set()
                    remark = self._remark(seen, attempt) if end.phase is Phase.UNKNOWN else ""
                    job_seen = seen if isinstance(seen, UwsJob) else None
                    status = await self._endings.last_status(job, end, job_seen, remark)
                    await job.conclude(status)
                    if attempt.failed.is_set():
                        self._log.warning(
                            "Job %s, which could not be stopped at first, has ended: %s", job.job_id, status.phase
                        )
                    return
                if self._may_ask(job, seen, attempt) and asyncio.get_running_loop().time() >= attempt.next_s:
                    await self._ask(job, attempt)
                    continue  # whatever the answer is, the UWS shows the outcome
                self._take_stock(job, seen, attempt)
                await job.pause(self._poll_interval_s)
        except Exception:
            attempt.obstacle = "an unforeseen error; the CSC's log has the traceback."
            attempt.failed.set()
            self._log.exception("Bug: job %s could not be stopped", job.job_id)
        finally:
            if attempt.end.is_set() or job.ended:
                self._attempts.pop(job, None)

    def _end(self, job: TrackedJob, seen: UwsJob | ServiceError | None, attempt: _Attempt) -> JobEnd | None:
        """Return how a job ended, None if it has not or if that is not certain."""
        reported = self._results.of(job.job_id)
        if isinstance(seen, UwsJob):
            attempt.doubts = 0
            if seen.phase is Phase.ABORTED and attempt.accepted:
                return JobEnd(Phase.ABORTED, ABORTED_EXIT_CODE, certain=True)
            # 255 only says that the OCPS deleted the job, which may have completed before.
            return judge(seen.phase, None if reported == ABORTED_EXIT_CODE else reported)
        if reported is not None:
            return reported_end(reported)
        if seen is not None:
            return None
        attempt.doubts += 1
        if attempt.accepted:  # the UWS deletes a job that is aborted
            return JobEnd(Phase.ABORTED, ABORTED_EXIT_CODE, certain=True)
        if attempt.doubts > MAX_DOUBTS and (attempt.refusal or job.known_at_uws or not job.fresh):
            return JobEnd(Phase.UNKNOWN, 1, certain=False)
        return None

    def _may_ask(self, job: TrackedJob, seen: UwsJob | ServiceError | None, attempt: _Attempt) -> bool:
        """Return whether the OCPS may be asked to abort, which deletes the logs of a job that has completed.

        It may if the UWS shows that the job has not ended. If the UWS does not answer, it may only for a job that this
        process has submitted, because then the OCPS would have reported its end.
        """
        if isinstance(seen, UwsJob):
            return True
        if seen is None:
            return job.fresh and not job.known_at_uws and attempt.doubts > MAX_DOUBTS
        return job.fresh and attempt.wanted

    async def _ask(self, job: TrackedJob, attempt: _Attempt) -> None:
        """Ask the OCPS to abort a job."""
        clock = asyncio.get_running_loop().time
        if not attempt.refusal:
            attempt.obstacle = "the OCPS has been asked to abort it, and has not answered yet."
        try:
            await self._ocps.abort_job(job.job_id)
            attempt.accepted, attempt.refusal = True, ""
        except ServiceError as error:
            attempt.refusal = str(error)
        attempt.asked_s = clock()
        attempt.pause_s = min(MAX_RETRY_PAUSE_S, max(2 * attempt.pause_s, self._limits.job_abort))
        attempt.next_s = attempt.asked_s + attempt.pause_s

    def _take_stock(self, job: TrackedJob, seen: UwsJob | ServiceError | None, attempt: _Attempt) -> None:
        """Note why a job is not stopped yet, and whether this attempt counts as failed."""
        asked = attempt.pause_s > 0
        if isinstance(seen, UwsJob):
            state = f"its phase is {seen.phase_word}."
        else:
            state = "it knows no such job." if seen is None else str(seen)
        if asked:
            said = attempt.refusal or "the OCPS says that it was aborted."
            waited = asyncio.get_running_loop().time() > attempt.asked_s + self._limits.job_abort
            over = (bool(attempt.refusal) and seen is not None) or waited
        else:
            said = "nothing was sent, because it may have completed, and an abort would delete its logs."
            over = isinstance(seen, ServiceError)
        attempt.obstacle = f"{said} At the UWS: {state}"
        if over and not attempt.failed.is_set():
            self._log.warning("Job %s is not stopped yet: %s", job.job_id, attempt.obstacle)
            attempt.failed.set()

    @staticmethod
    def _remark(seen: UwsJob | ServiceError | None, attempt: _Attempt) -> str:
        """Return a sentence about the abort of a job that the UWS does not know any more."""
        if not attempt.refusal or seen is not None:
            return ""
        return f"The CSC tried to abort it; the answer was: {attempt.refusal}"
