# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A job of the simulated UWS server, in the words of Kubernetes, on which the real server stands."""

from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Any, Literal

from .worker import Job, WorkerPhase

__all__ = ["VALID_PHASES", "JobRecord", "Phase", "not_found_text"]

Phase = Literal["pending", "queued", "executing", "completed", "error"]
"""The phases that occur: a job that is deleted is gone, never aborted."""

VALID_PHASES = (
    "pending",
    "queued",
    "executing",
    "completed",
    "error",
    "unknown",
    "held",
    "suspended",
    "aborted",
)
"""What a list of jobs can be asked for; the last four match no job."""


_SITE_ENVIRONMENT = {
    "DAF_BUTLER_REPOSITORY_INDEX": "/project/data-repos.yaml",
    "PGPASSFILE": "/home/lsst/.lsst/postgres-credentials.txt",
    "PGUSER": "oods",
}
"""What the real server puts after a job's own environment; the simulated worker has no use for it."""


def _now() -> datetime.datetime:
    """Return the time, UTC, to the second, as Kubernetes keeps it."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


@dataclasses.dataclass
class JobRecord:
    """What Kubernetes knows of a job.

    Attributes
    ----------
    job
        The job as the worker got it.
    run_id
        The client's label; the job id if it gave none.
    command
        What the container runs.
    start_time, completion_time
        UTC. Kubernetes starts a job when it is made, though its pod may wait for hours; only a job that succeeded has a
        completion time.
    active, failed
        Whether a pod runs, and whether one has failed.
    """

    job: Job
    run_id: str
    command: str
    creation_time: datetime.datetime = dataclasses.field(default_factory=_now)
    start_time: datetime.datetime | None = None
    completion_time: datetime.datetime | None = None
    active: bool = False
    failed: bool = False

    @property
    def phase(self) -> Phase:
        """The phase as the real server derives it."""
        if self.completion_time is not None:
            return "completed"
        if self.failed:
            return "error"
        if self.active:
            return "executing"
        return "pending" if self.start_time is None else "queued"

    @property
    def ended(self) -> bool:
        """Whether it can't change any more."""
        return self.failed or self.completion_time is not None

    def update(self, phase: WorkerPhase) -> None:
        """Record the phase that the worker reports."""
        self.start_time = self.creation_time
        self.active = phase == "executing"
        self.failed = phase == "error"
        if phase == "completed":
            self.completion_time = _now()

    def describe(self, output_files: list[str]) -> dict[str, Any]:
        """Return the job object of the REST API, for these output files."""
        environment = {**self.job.environment, **_SITE_ENVIRONMENT}
        duration = None
        if self.start_time is not None and self.completion_time is not None:
            duration = (self.completion_time - self.start_time).total_seconds()
        return {
            "jobId": self.job.job_id,
            "runId": self.run_id,
            "ownerId": "",
            "phase": self.phase,
            "creationTime": str(self.creation_time),
            "startTime": None if self.start_time is None else str(self.start_time),
            "endTime": None if self.completion_time is None else str(self.completion_time),
            "executionDuration": duration,
            "destruction": None,
            "parameters": {
                "command": ["/bin/bash", "-c", self.command],
                # Kubernetes leaves out an empty value, which then is null.
                "environment": [{"name": name, "value": value or None} for name, value in environment.items()],
            },
            "results": [{"id": position, "uri": path} for position, path in enumerate(output_files)],
            # Always empty: the real server looks for a message that none of its code writes.
            "errorSummary": {"message": ""},
            "jobInfo": {},
        }

    def describe_status(self) -> str:
        """Return the text that Kubernetes gives for a job that it deletes."""
        status: dict[str, Any] = {}
        if self.completion_time is not None:
            status["completionTime"] = f"{self.completion_time:%Y-%m-%dT%H:%M:%SZ}"
        if self.start_time is not None:
            status["startTime"] = f"{self.start_time:%Y-%m-%dT%H:%M:%SZ}"
        if self.ended:
            status["failed" if self.failed else "succeeded"] = 1
        elif self.active:
            status["active"] = 1
        return str(status)


def not_found_text(job_id: str) -> str:
    """Return the text of the Kubernetes client's exception for a job that does not exist."""
    name = f"uws-job-{job_id}"
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f'jobs.batch "{name}" not found',
        "reason": "NotFound",
        "details": {"name": name, "group": "batch", "kind": "jobs"},
        "code": 404,
    }
    head = "(404)\nReason: Not Found\nHTTP response headers: HTTPHeaderDict({})\n"
    return f"{head}HTTP response body: {json.dumps(body)}\n"
