# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How jobs end, in sentences: from their logs, and from what UWS and OCPS report."""

from __future__ import annotations

import asyncio
import dataclasses

from ..clock import Clock
from ..config import Limits
from .job_status import JobEnd, JobStatus
from .joblog import explain_failure
from .tracked_job import TrackedJob
from .uws import NoLogError
from .uws_job import Phase, UwsJob
from .uws_watch import UwsWatch

__all__ = ["JobEndings", "still_tried"]


def still_tried(job_id: str, obstacle: str) -> str:
    """Return the sentence about a job that is not stopped yet."""
    return (
        f"Job {job_id} was not stopped: {obstacle} The CSC tries again until the job has ended or the CSC leaves "
        "ENABLED; jobState shows its end."
    )


class JobEndings:
    """Finds out how a job ended, and why.

    Parameters
    ----------
    uws
        Where logs are read.
    limits
        Limits of time: ``job_log``.
    clock
        The clock.
    """

    def __init__(self, uws: UwsWatch, limits: Limits, clock: Clock) -> None:
        self._uws = uws
        self._limits = limits
        self._clock = clock

    async def last_status(self, job: TrackedJob, end: JobEnd, seen: UwsJob | None, remark: str = "") -> JobStatus:
        """Return the last status of a job that has ended.

        Parameters
        ----------
        job
            The job.
        end
            How it ended.
        seen
            The job as the UWS shows it; None if it does not.
        remark
            Further sentence for the message.
        """
        if end.exit_code == 0:
            message = ""
        elif job.reason and end.phase is Phase.ABORTED:
            message = f"{job.reason}; it was aborted."
        elif job.reason and end.phase is Phase.UNKNOWN and not job.known_at_uws:
            message = f"{job.reason}. How the job ended is unknown."  # the reason already says that it was never seen
        else:
            message = await self._reason(job.job_id, end)
            message = f"{job.reason}. {message}" if job.reason else message
        ended_s = (seen and seen.timestamp_ended_s) or self._clock.tai()
        return dataclasses.replace(
            job.status,
            phase=seen.phase_word if seen and seen.phase is end.phase else end.phase,
            exit_code=end.exit_code,
            message=" ".join(filter(None, (message, remark))),
            # The server's time has only whole seconds; a job must not appear to have ended before it was submitted.
            timestamp_ended_s=max(ended_s, job.status.timestamp_submitted_s),
        )

    async def _reason(self, job_id: str, end: JobEnd) -> str:
        """Return a sentence that says why a job failed."""
        if end.phase is Phase.COMPLETED:
            return (
                f"The UWS calls job {job_id} completed, but the OCPS reported exit code {end.exit_code}, so "
                "the job does not count as good."
            )
        if end.phase is Phase.ABORTED:
            return f"Job {job_id} was aborted."
        if end.phase is Phase.UNKNOWN:
            return (
                f"The UWS does not know job {job_id} (any more), and the OCPS has not reported its end: it was "
                "deleted, or its time at the UWS is over. How it ended is unknown."
            )
        try:
            async with asyncio.timeout(self._limits.job_log):
                log_text = await self._uws.log_text(job_id)
            explanation = await asyncio.to_thread(explain_failure, log_text)
        except NoLogError as error:
            return f"Job {job_id} failed before it could write a log. {error} {_where_to_look(job_id)}"
        except Exception as error:  # whatever the error is, the failure of the job must be published
            return f"Job {job_id} failed; its log could not be read: {str(error) or 'there was no time left for it'}"
        return f"Job {job_id} failed: {explanation}"


def _where_to_look(job_id: str) -> str:
    """Return where to look for the cause of a failure without a log, which the UWS does not pass on."""
    return (
        "Possible causes: its image can't be pulled, there is no machine for its pod, or its init container (which "
        "clones uws_scripts) failed. Look with kubectl in the namespace of the UWS: describe job "
        f"uws-job-{job_id}, describe pod -l jobId={job_id}, logs -l jobId={job_id} --all-containers."
    )
