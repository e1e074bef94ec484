# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the simulated UWS server asks of a worker, and what it gives it.

There are two workers: `PipetaskWorker` runs the real command lines, `ReplayWorker` puts recorded products in place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from .faults import Fault

__all__ = ["Job", "Notify", "Worker", "WorkerPhase", "pipeline_name"]

WorkerPhase = Literal["queued", "executing", "completed", "error"]
"""What a worker can report of a job; ``queued`` means that it waits for a free place."""

Notify = Callable[[str, WorkerPhase], None]
"""Called by a worker, in the event loop, with the job id and the job's new phase."""


@dataclasses.dataclass(frozen=True)
class Job:
    """A job as a worker gets it.

    Attributes
    ----------
    job_id
        32 hexadecimal digits.
    environment
        The variables of the worker script: PIPELINE_URL, BUTLER_REPO, RUN_OPTIONS, OUTPUT_GLOB and DATA_QUERY from the
        client, JOB_ID, JOB_OUTPUT_DIR and JOB_SOURCE_DIR from the server.
    output_dir
        Existing folder for ``ocps.log`` and for retrieved datasets; JOB_OUTPUT_DIR.
    fault
        How it is to fail; the effects are in `worker_faults`.
    camera_faults
        What was wrong with the focal plane when the job was made: for a worker that does not look at the frames.
    """

    job_id: str
    environment: Mapping[str, str]
    output_dir: Path
    fault: Fault | None = None
    camera_faults: tuple[Fault, ...] = ()


class Worker(Protocol):
    """Runs some jobs at a time, and reports their phases."""

    async def start(self, notify: Notify) -> None:
        """Be ready for jobs.

        Raises
        ------
        RuntimeError
            If it can't be made ready.
        """

    async def submit(self, job: Job) -> None:
        """Take a job; ``notify`` is called with ``executing`` and then with ``completed`` or ``error``."""

    async def abort(self, job_id: str) -> None:
        """End a job, and return when nothing of it runs any more; ``notify`` is not called for it again."""

    async def close(self) -> None:
        """Abort all jobs and end."""


def pipeline_name(url: str) -> str:
    """Return the name by which faults and recordings know a pipeline.

    ``${CP_PIPE_DIR}/pipelines/LSSTComCam/cpPtc.yaml#cpPtcIsr`` is ``cpPtc#cpPtcIsr``.
    """
    path, _, subset = url.partition("#")
    name = PurePosixPath(path).name.removesuffix(".yaml")
    return f"{name}#{subset}" if subset else name
