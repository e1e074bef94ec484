# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pipeline jobs handed to the OCPS."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

__all__ = ["JobRequest", "Ocps"]


@dataclasses.dataclass(frozen=True)
class JobRequest:
    """One pipeline job, as the OCPS's ``execute`` takes it.

    Parameters
    ----------
    pipeline
        Pipeline file, may begin with ``${CP_PIPE_DIR}``, which is expanded where the job runs.
    data_query
        Butler expression: which data.
    config
        Further pipetask options, such as ``-i …`` and ``-j 8``.
    output_dataset_types
        Comma-separated globs: what is copied out of the repository; also carries the mark by which the job is
        recognised at the UWS.
    """

    pipeline: str
    data_query: str
    config: str
    output_dataset_types: str


class Ocps(Protocol):
    """What the job service needs of the OCPS."""

    async def submit(self, request: JobRequest) -> str:
        """Submit a job and return its id, without waiting for its end.

        Raises
        ------
        ServiceError
            If the OCPS refused it, or gave no job id.
        UnreachableError
            If the OCPS did not answer within the limit: whether the job exists is then unknown.
        """

    async def abort_job(self, job_id: str) -> None:
        """Abort a job.

        Raises
        ------
        ServiceError
            If the OCPS could not do it.
        """

    def on_result(self, callback: Callable[[str, int], None]) -> Callable[[], None]:
        """Call back with (job id, exit code) for every job that ended; the returned function ends it."""
