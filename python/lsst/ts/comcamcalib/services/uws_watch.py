# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The UWS as the job service sees it: an answer for each request, and one notice when it stops answering."""

from __future__ import annotations

import asyncio
import contextlib

from lsst.ts import utils

from ..errors import ServiceError, UnknownJobError
from .job_status import Backend
from .uws import Uws
from .uws_job import UwsJob

__all__ = ["UwsWatch"]


class UwsWatch:
    """Sends requests to the UWS, and reports once when it stops answering and once when it answers again.

    Parameters
    ----------
    uws
        The UWS.
    poll_interval_s
        Time between two requests while it does not answer (seconds).
    backend
        Awaited with (False, sentence) when the UWS stops answering and with (True, "") when it answers again.
    """

    def __init__(self, uws: Uws, poll_interval_s: float, backend: Backend) -> None:
        self._uws = uws
        self._poll_interval_s = poll_interval_s
        self._backend = backend
        self._reachable = True
        # Goes on until the UWS answers again, even if no job is followed any more.
        self.waiting: asyncio.Task[None] = utils.make_done_future()

    async def close(self) -> None:
        """Stop the requests."""
        self.waiting.cancel()
        await asyncio.gather(self.waiting, return_exceptions=True)

    async def look(self, job_id: str) -> UwsJob | ServiceError | None:
        """Ask for a job; None: the UWS itself says that it does not know it."""
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

    async def jobs(self) -> list[UwsJob] | ServiceError:
        """Ask for all jobs."""
        try:
            jobs = await self._uws.jobs()
        except ServiceError as error:
            await self._tell_backend(False, str(error))
            return error
        await self._tell_backend(True, "")
        return jobs

    async def log_text(self, job_id: str) -> str:
        """Return the end of the log of a job; see `Uws.log_text`."""
        return await self._uws.log_text(job_id)

    async def _tell_backend(self, reachable: bool, sentence: str) -> None:
        """Report that the UWS stopped answering, or answers again."""
        if reachable is not self._reachable:
            self._reachable = reachable
            if not reachable and self.waiting.done():
                self.waiting = asyncio.create_task(self._wait_for_uws(), name="wait for the UWS to answer again")
            await self._backend(reachable, sentence)

    async def _wait_for_uws(self) -> None:
        """Ask until the UWS answers again."""
        while not self._reachable:
            await asyncio.sleep(self._poll_interval_s)
            with contextlib.suppress(ServiceError):  # it was already reported that the UWS does not answer
                await self._uws.ping()
                await self._tell_backend(True, "")
