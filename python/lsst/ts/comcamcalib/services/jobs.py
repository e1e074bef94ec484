# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pipeline jobs from submission to their end."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Protocol

from .ocps import JobRequest

__all__ = ["JobStatus", "Jobs", "OnChange"]


@dataclasses.dataclass(frozen=True)
class JobStatus:
    """What is known of a job.

    Parameters
    ----------
    job_id
        Id at the UWS.
    phase
        The UWS's word for how far it is, such as ``executing``.
    exit_code
        0: it did its work; else it did not; -1: it has not ended yet.
    message
        One sentence: for a failed job what its log says about the cause.
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


class Jobs(Protocol):
    """What the stages need in order to have pipelines run."""

    async def run(self, request: JobRequest, on_change: OnChange) -> JobStatus:
        """Submit a job and follow it to its end.

        Cancelling this ends the following, not the job. A submission in progress goes on; `abort_all` reaches it.

        Parameters
        ----------
        request
            The job.
        on_change
            Awaited with each new status, first as soon as the job id is known, last with the one that is returned.

        Returns
        -------
        status
            How the job ended. A failed job is no exception.

        Raises
        ------
        ServiceError
            If the job could not be submitted.
        """

    async def attach(self, job_id: str, on_change: OnChange, timestamp_submitted_s: float = 0.0) -> JobStatus:
        """Follow a job that was submitted earlier to its end; like `run` otherwise."""

    async def abort(self, job_id: str) -> None:
        """Abort one job and make sure at the UWS that it has ended.

        Raises
        ------
        ServiceError
            If it could not be stopped.
        """

    async def abort_all(self, limit_s: float) -> list[str]:
        """Abort every open job, those that are still being submitted too.

        Returns
        -------
        problems
            A sentence for each that could not be stopped within the limit (seconds).
        """
