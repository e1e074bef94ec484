# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ends of jobs that the OCPS has reported."""

from __future__ import annotations

from collections.abc import Callable

from .job_status import ABORTED_EXIT_CODE
from .ocps import Ocps

__all__ = ["MAX_RESULTS", "JobResults"]

MAX_RESULTS = 1000
"""Largest number of results that are kept."""


class JobResults:
    """Keeps the exit codes of all jobs, not only ours, because a result may come before the id of our job.

    Parameters
    ----------
    ocps
        The OCPS, which reports them.
    on_result
        Called with the id of each job that has ended.
    """

    def __init__(self, ocps: Ocps, on_result: Callable[[str], None]) -> None:
        self._on_result = on_result
        self._exit_codes: dict[str, int] = {}
        self.close = ocps.on_result(self._notice)

    def of(self, job_id: str) -> int | None:
        """Return the exit code of a job, None if none was reported."""
        return self._exit_codes.get(job_id)

    def _notice(self, job_id: str, exit_code: int) -> None:
        if exit_code == ABORTED_EXIT_CODE and job_id in self._exit_codes:
            return  # the job was deleted after its end, which is already known
        self._exit_codes[job_id] = exit_code
        while len(self._exit_codes) > MAX_RESULTS:
            del self._exit_codes[next(iter(self._exit_codes))]
        self._on_result(job_id)
