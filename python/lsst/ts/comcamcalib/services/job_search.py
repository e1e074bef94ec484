# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find out whether a submission without a good answer has made a job."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Collection

from ..config import Limits
from ..errors import ServiceError
from .uws_job import UwsJob
from .uws_watch import UwsWatch

__all__ = ["JobSearch"]

CLOCK_TOLERANCE_S = 60.0
"""How much the clocks of Kubernetes and of this machine may differ (seconds). A job with the mark that was created
earlier than this before its submission is from an earlier journal that gave the same run id."""

SHARE, LATE_SHARE = 0.5, 0.1
"""How much of its time the UWS may spend with lists of all jobs, while somebody waits for a job and later. It does
nothing else meanwhile, and neither does an OCPS that asks it."""


class JobSearch:
    """Searches all jobs of the UWS for those of one submission or of a run, by their mark.

    Parameters
    ----------
    mark
        The mark of the submission; for a run its id.
    submitted_s
        When the submission or the run began (TAI unix seconds).
    uws
        The UWS.
    poll_interval_s
        Shortest time between two searches (seconds).
    limits
        Limits of time: ``job_submission``, ``uws_unreachable``.
    known
        Ids of the jobs that are already known, which are not searched for.
    of_run
        Whether all jobs of a run are looked for.
    """

    def __init__(
        self,
        mark: str,
        submitted_s: float,
        uws: UwsWatch,
        poll_interval_s: float,
        limits: Limits,
        known: Collection[str],
        of_run: bool = False,
    ) -> None:
        self._of_run = of_run
        self.mark = mark
        self._submitted_s = submitted_s
        self._uws = uws
        self._poll_interval_s = poll_interval_s
        self._limits = limits
        self._known = known
        self._log = logging.getLogger(__name__)
        self.trouble = ""
        """Why the last request to the UWS failed; empty if it did not."""
        self._answers = 0  # number of lists without the job

    async def find(self, limit_s: float) -> list[UwsJob]:
        """Search for some time (seconds); return the jobs, the oldest first, none if there is none yet."""
        return await self._look_until(limit_s, SHARE)

    async def find_late(self) -> list[UwsJob]:
        """Search for another ``uws_unreachable`` seconds during which the UWS answers."""
        found = await self._look_until(self._limits.uws_unreachable, LATE_SHARE)
        while not found and self.trouble:
            await asyncio.sleep(self._poll_interval_s)
            found = await self._look_until(self._limits.uws_unreachable, LATE_SHARE)
        return found

    @property
    def outcome(self) -> str:
        """Return a sentence about a search that found nothing."""
        goes_on = "The search goes on, and a job that appears is stopped."
        if self.trouble and not self._answers:
            return f"Whether the job exists is not known, because the UWS can't be asked: {self.trouble} {goes_on}"
        return (
            f"No job with its mark {self.mark} appeared at the UWS in the {self._limits.job_submission:g} s after "
            f"that; one may still appear. {goes_on}"
        )

    async def _look_until(self, limit_s: float, share: float) -> list[UwsJob]:
        """Look for some time (seconds), of which the lists themselves take no more than a share."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + limit_s
        while True:
            began = clock()
            if found := await self.look():
                return found
            if clock() > deadline:
                return []
            pause_s = max(self._poll_interval_s, (clock() - began) * (1 / share - 1))
            await asyncio.sleep(min(pause_s, max(deadline - clock(), 0.0)))

    async def look(self) -> list[UwsJob]:
        """Search once; return the jobs, the oldest first."""
        jobs = await self._uws.jobs()
        if isinstance(jobs, ServiceError):
            self.trouble = str(jobs)
            return []
        self.trouble = ""
        self._answers += 1
        found = []
        for job in jobs:
            wanted = job.belongs_to_run(self.mark) if self._of_run else job.has_mark(self.mark)
            if not wanted or job.job_id in self._known:
                continue
            age_s = self._submitted_s - job.timestamp_created_s
            if job.timestamp_created_s and age_s > CLOCK_TOLERANCE_S:
                self._log.warning(
                    "Job %s has the mark %s, but is %.0f s older than its submission: it belongs to an earlier run of "
                    "the same name",
                    job.job_id,
                    self.mark,
                    age_s,
                )
                continue
            found.append(job)
        return sorted(found, key=lambda job: job.timestamp_created_s or math.inf)
