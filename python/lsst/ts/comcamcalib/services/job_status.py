# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs as the stages see them, and how a job's end follows from the reports of UWS and OCPS."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Collection
from typing import Protocol

from ..plan.request import JobRequest
from .uws_job import Phase, UwsJob

__all__ = [
    "ABORTED_EXIT_CODE",
    "Backend",
    "JobEnd",
    "JobStatus",
    "Jobs",
    "OnChange",
    "ignore",
    "judge",
    "reported_end",
]

ABORTED_EXIT_CODE = 255
"""Exit code that the OCPS reports for a job that it aborted."""


@dataclasses.dataclass(frozen=True)
class JobStatus:
    """The state of a job.

    Parameters
    ----------
    job_id
        Id at the UWS.
    phase
        Its phase in the UWS's words, such as ``executing``.
    exit_code
        0: it succeeded; -1: it has not ended yet; otherwise it failed.
    message
        One sentence; for a failed job, the cause from its log.
    timestamp_submitted_s, timestamp_ended_s
        TAI unix seconds; 0: not yet, or not known.
    """

    job_id: str
    phase: str
    exit_code: int = -1
    message: str = ""
    timestamp_submitted_s: float = 0.0
    timestamp_ended_s: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether the job has ended, well or not."""
        return self.timestamp_ended_s > 0

    @property
    def succeeded(self) -> bool:
        """Whether the job has ended well."""
        return self.ended and self.exit_code == 0


OnChange = Callable[[JobStatus], Awaitable[None]]
Backend = Callable[[bool, str], Awaitable[None]]


async def ignore(_status: JobStatus) -> None:
    """Do nothing; a callback for jobs whose status nobody needs."""


class Jobs(Protocol):
    """What the stages need to have pipelines run."""

    async def run(self, request: JobRequest, on_change: OnChange) -> JobStatus:
        """Submit a job and follow it to its end.

        Cancelling this does not stop the job, only the following of it. A submission in progress goes on; `abort_all`
        stops it, too. A job that is returned as lost or late is stopped in the background as soon as possible, and its
        end is then passed to ``on_change``.

        Parameters
        ----------
        request
            The job.
        on_change
            Awaited with each new status: first as soon as the job id is known, last with the status that is returned.

        Returns
        -------
        status
            How the job ended. A failed job is no exception.

        Raises
        ------
        NotEnabledError
            If the OCPS refused it because it is not ENABLED: there is no job.
        ServiceError
            If the job could not be submitted; the sentence says whether a job exists all the same.
        """

    async def attach(self, job_id: str, on_change: OnChange, timestamp_submitted_s: float = 0.0) -> JobStatus:
        """Follow a job that was submitted earlier to its end; like `run` otherwise."""

    async def abort(self, job_id: str, on_change: OnChange = ignore) -> JobStatus:
        """Abort one job, unless it has ended, and make sure at the UWS that it has.

        The UWS is asked for the phase first, because it deletes an aborted job with all logs.

        Parameters
        ----------
        job_id
            The job.
        on_change
            Awaited with the job's end, even if this has raised an exception or was cancelled before.

        Returns
        -------
        status
            How it ended: by itself, or aborted with exit code 255.

        Raises
        ------
        ServiceError
            If it is not stopped yet. The service keeps trying in the background until it is, or until it is closed.
        """

    async def abort_all(self, limit_s: float, run_id: str | None = None) -> list[str]:
        """Abort every open job of a run, as `abort` does, including those that are still being submitted.

        Parameters
        ----------
        limit_s
            How long this waits (seconds). The service keeps trying in the background to stop jobs that remain.
        run_id
            The run; the jobs of others are left alone. None: all runs.

        Returns
        -------
        problems
            A sentence for each job that is not stopped yet.
        """

    def is_submitting(self, mark: str) -> bool:
        """Return whether a job with a mark is being submitted right now, so that its id is not known yet."""

    async def find(self, mark: str, intended_s: float, limit_s: float) -> list[UwsJob]:
        """Search the UWS for the jobs with a mark; return them, the oldest first.

        Parameters
        ----------
        mark
            The mark of one submission.
        intended_s
            When it was about to be submitted (TAI unix seconds); older jobs are not its.
        limit_s
            How long to search if there is none (seconds); the last look comes after that.

        Raises
        ------
        UnreachableError
            If the UWS could not be asked at the last look, so that nothing is certain.
        """

    def stop_late_job(self, mark: str, intended_s: float, on_change: OnChange) -> None:
        """Stop jobs with a mark that appear after they were searched for in vain.

        Parameters
        ----------
        mark
            The mark of one submission.
        intended_s
            When it was about to be submitted (TAI unix seconds); older jobs are not its.
        on_change
            Awaited with the states of a job that appears.

        Notes
        -----
        This goes on in the background, for ``uws_unreachable`` seconds of a UWS that answers.
        """

    def stop_late(
        self, run_id: str, since_s: float, known: Collection[str], on_found: Callable[[UwsJob], OnChange]
    ) -> None:
        """Stop jobs of a run that appear after it is closed, because the answer to their submission was lost.

        Parameters
        ----------
        run_id
            The run.
        since_s
            When it was accepted; older jobs belong to others (TAI unix seconds).
        known
            Ids of its other jobs.
        on_found
            Called with each job that appears; returns who wants to know what becomes of it.

        Notes
        -----
        This goes on in the background, for ``uws_unreachable`` seconds of a UWS that answers.
        """


@dataclasses.dataclass(frozen=True)
class JobEnd:
    """How a job ended, according to UWS and OCPS.

    Parameters
    ----------
    phase
        Last phase; `Phase.UNKNOWN`: the UWS has forgotten it.
    exit_code
        0 if it succeeded.
    certain
        Whether the two agree, or only one of them knows the end.
    """

    phase: Phase
    exit_code: int
    certain: bool


def judge(phase: Phase | None, reported: int | None) -> JobEnd | None:
    """Return how a job ended, None if it has not.

    Parameters
    ----------
    phase
        Phase at the UWS; None: it does not know the job (any more).
    reported
        Exit code that the OCPS reported; None: it reported none.

    Notes
    -----
    A job is good only if one of them says so and the other does not contradict it. If the OCPS reports the end of a job
    that the UWS still calls running, the UWS was asked a moment too early: there is no end yet, and it is asked again.
    """
    if phase is None:
        if reported is None:
            return JobEnd(Phase.UNKNOWN, 1, certain=False)
        return reported_end(reported)
    if not phase.ended:
        return None
    good = phase is Phase.COMPLETED
    exit_code = reported or 0 if good else reported or 1
    return JobEnd(phase, exit_code, certain=reported is None or (reported == 0) == good)


def reported_end(reported: int) -> JobEnd:
    """Return the end of a job that only the OCPS has reported."""
    if reported == 0:
        return JobEnd(Phase.COMPLETED, 0, certain=True)
    return JobEnd(Phase.ABORTED if reported == ABORTED_EXIT_CODE else Phase.ERROR, reported, certain=True)
