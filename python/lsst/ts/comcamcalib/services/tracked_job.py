# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""One job that the job service follows until its end is known."""

from __future__ import annotations

import asyncio

from ..marks import is_of_run
from .job_status import JobStatus, OnChange
from .uws_job import Phase

__all__ = ["TrackedJob"]


class TrackedJob:
    """One job, and the callback for its states.

    Parameters
    ----------
    job_id
        Its id at the UWS.
    mark
        The mark that identifies it at the UWS and begins with the run's id; "" if it is not known.
    on_change
        Awaited with each new status.
    timestamp_submitted_s
        When it was submitted (TAI unix seconds); 0: not known.
    fresh
        Whether this process submitted it, and so has received every report of the OCPS about it.
    """

    def __init__(
        self,
        job_id: str,
        mark: str,
        on_change: OnChange,
        timestamp_submitted_s: float = 0.0,
        fresh: bool = False,
    ) -> None:
        self.job_id = job_id
        self.mark = mark
        self.on_change = on_change
        self.fresh = fresh
        self.status = JobStatus(job_id, Phase.PENDING, timestamp_submitted_s=timestamp_submitted_s)
        self.reason = ""
        """Why the service stops it, without a full stop; "" if it does not, or if an operator does."""
        self.known_at_uws = False
        """Whether the UWS has ever shown it."""
        self.news = asyncio.Event()
        """Set when its state should be requested at once."""
        self.concluded = asyncio.Event()
        """Set when its end is known and published."""
        self._concluding = False

    @property
    def ended(self) -> bool:
        """Whether its end is known."""
        return self._concluding

    def belongs_to(self, run_id: str | None) -> bool:
        """Return whether a run submitted it; None: any run."""
        return run_id is None or is_of_run(self.mark, run_id)

    async def notify(self, status: JobStatus) -> None:
        """Publish a status that is not the last one."""
        self.status = status
        await self.on_change(status)

    async def conclude(self, status: JobStatus) -> JobStatus:
        """Publish how the job ended, only once, whichever task finds out first; return the published status."""
        if self._concluding:
            await self.concluded.wait()
            return self.status
        self._concluding = True
        self.status = status
        try:
            await self.on_change(status)
        finally:
            self.concluded.set()
            self.news.set()
        return status

    async def pause(self, limit_s: float) -> None:
        """Wait until it is time for the next request (seconds), or there is news."""
        try:
            async with asyncio.timeout(limit_s):
                await self.news.wait()
        except TimeoutError:
            return
        self.news.clear()
