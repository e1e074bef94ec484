# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""OCPS and UWS: jobs that run on whatever becomes of the client."""

from __future__ import annotations

import dataclasses
import itertools

from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.plan.request import JobRequest
from support.world import FakeJob

from .camera_world import CameraWorld
from .faults import NightPlan

__all__ = ["NOT_ENABLED", "Job", "UwsWorld"]

NOT_ENABLED = "it is not ENABLED"
"""The answer to a command that the OCPS does not do in its state."""


@dataclasses.dataclass
class Job(FakeJob):
    """A job at the UWS; times are TAI unix seconds, 0: not yet."""

    created_s: float = 0.0
    started_s: float = 0.0
    ended_s: float = 0.0
    known: bool = True
    """Whether the UWS still knows it."""
    stopped: bool = False
    """Whether it was deleted while it ran."""
    faults: frozenset[str] = frozenset()

    @property
    def running(self) -> bool:
        """Whether it may still make something."""
        return not self.ended and not self.stopped


class UwsWorld(CameraWorld):
    """A world with an OCPS and a UWS, too.

    Parameters
    ----------
    config
        Configuration of the pipelines.
    plan
        What goes wrong.
    """

    def __init__(self, config: CscConfig, plan: NightPlan) -> None:
        super().__init__(config, plan)
        self.command_numbers = itertools.count(1)
        """Numbers of commands, so that no client takes the answer to another's command for its own."""
        self.last_result: tuple[str, int] | None = None
        """The last job_result, which a process that starts gets again."""

    def submit_for(self, request: JobRequest, number: int) -> None:
        """Do execute: the OCPS has the UWS make a job, and answers; whatever becomes of the client.

        Parameters
        ----------
        request
            The job.
        number
            What the client calls its command.
        """
        if "OCPS disabled" in self.down:
            self._answer(0.01, number, error=NOT_ENABLED)
            return
        faults, dice = self.faults_of_next("job"), self.dice("ocps")
        made_s = dice.uniform(130.0, 400.0) if "made late" in faults else dice.uniform(0.5, 9.0)
        self.after(self.bus_delay_s + made_s, lambda: self._make(request, number, faults))
        self.on_act("execute")

    def _make(self, request: JobRequest, number: int, faults: frozenset[str]) -> None:
        dice = self.dice("ocps")
        answer_s = dice.uniform(20.0, 105.0) if "answer late" in faults else dice.uniform(0.01, 0.5)
        job_id, error = "", ""
        if "refused" in faults or "UWS down" in self.down:
            error = "500 Server Error: k8s failure"
        else:
            jobs = [self._make_job(request, faults) for _ in range(2 if "doubled" in faults else 1)]
            job_id = dice.choice(jobs).job_id
        if "called failed" in faults:
            job_id, error = "", "500 Server Error: Job creation timed out."
        if not faults & {"answer lost", "doubled"}:
            self._answer(answer_s, number, job_id, error)
        if not error:
            self.on_act("job made")

    def _make_job(self, request: JobRequest, faults: frozenset[str]) -> Job:
        """Make a job at the UWS; it runs to its end whatever becomes of the client, unless it is deleted."""
        mark = request.output_dataset_types.split(",")[-1]
        label = mark.split("_")[2]  # run, stage, label, attempt
        job = Job(self.hex_id("job ids"), request, label, created_s=self.true_tai_s, faults=faults)
        self.jobs[job.job_id] = job
        dice = self.dice("jobs")
        queue_s, work_s = dice.uniform(1.0, 20.0), dice.uniform(10.0, 120.0)
        self.after(queue_s, lambda: self._execute(job))
        if "hangs" not in faults:
            self.after(queue_s + work_s, lambda: self._finish(job))
        return job

    def _execute(self, job: Job) -> None:
        if job.running:
            job.phase, job.started_s = "executing", self.true_tai_s

    def _finish(self, job: Job) -> None:
        if not job.running:
            return
        job.ended, job.ended_s = True, self.true_tai_s
        job.phase = "error" if "ends in error" in job.faults else "completed"
        if job.phase == "completed":
            self.complete(job)
        if "expired" in job.faults:
            self.after(5.0, lambda: setattr(job, "known", False))
        if "result lost" not in job.faults:
            for _ in range(2 if "result doubled" in job.faults else 1):
                poll_s = self.dice("polls").uniform(0.1, 3.0)
                self.after(poll_s, lambda: self._report(job))

    def _report(self, job: Job) -> None:
        """The OCPS sees the end; if the job is not there any more, its command fails without a result."""
        if job.known and "OCPS disabled" not in self.down:
            self._publish_result(job.job_id, 0 if job.phase == "completed" else 1)

    def _publish_result(self, job_id: str, exit_code: int) -> None:
        self.last_result = (job_id, exit_code)
        self.publish(self.dice("results").uniform(0.01, 0.3), lambda audience: audience.on_result(job_id, exit_code))

    def abort_for(self, job_id: str, number: int) -> None:
        """Do abort_job: the OCPS has the UWS delete a job, and answers; whatever becomes of the client."""
        job = self.jobs.get(job_id)
        if "OCPS disabled" in self.down:
            self._answer(0.01, number, error=NOT_ENABLED)
        elif "UWS down" in self.down:
            return  # the OCPS waits for it, and does not answer
        elif not isinstance(job, Job) or not job.known:
            self._answer(0.1, number, error="404 Client Error")
        else:
            job.stopped, job.known = not job.ended, False
            self._publish_result(job_id, 255)
            if "abort unanswered" not in job.faults:
                self._answer(self.dice("ocps").uniform(0.05, 1.0), number)
            self.on_act("job deleted")

    def _answer(self, delay_s: float, number: int, result: str = "", error: str = "") -> None:
        self.publish(delay_s, lambda audience: audience.on_answer(number, result, error))

    @property
    def all_jobs(self) -> list[Job]:
        """All jobs that there ever were, in the order of their creation."""
        return [job for job in self.jobs.values() if isinstance(job, Job)]

    def hex_id(self, stream: str) -> str:
        """Return a new id of the UWS's form."""
        return f"{self.dice(stream).getrandbits(128):032x}"

    def strike(self, what: str) -> None:
        """Let the OCPS report the end of somebody else's job."""
        assert what == "strange result", what
        self._publish_result(self.hex_id("stranger"), 0)
