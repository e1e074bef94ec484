# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The job service with an OCPS and a UWS that the test drives."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import TypeVar

from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.errors import ServiceError, UnknownJobError, UnreachableError
from lsst.ts.comcamcalib.plan.request import JobRequest
from lsst.ts.comcamcalib.services.jobs import JobService, JobStatus
from lsst.ts.comcamcalib.services.uws import UwsJob
from lsst.ts.comcamcalib.services.uws_job import Phase

from support.clock import patience_s

__all__ = [
    "BIAS",
    "DOWN",
    "LIMIT_S",
    "MARK",
    "NEVER_S",
    "RUN",
    "SOON_S",
    "FakeOcps",
    "FakeUws",
    "JobWorld",
    "uws_job",
    "within_limit",
]

RUN = "20261122-001"
MARK = f"{RUN}_BIAS.GENERATE_cpBias*"
BIAS = JobRequest("${CP_PIPE_DIR}/pipelines/LSSTComCam/cpBias.yaml", "instrument='LSSTComCam'", "-j 8", f"bias,{MARK}")
DOWN = UnreachableError("The UWS did not answer.")
SOON_S = 0.001
NEVER_S = 1000.0
LIMIT_S = 10.0
LOG = """\
Traceback (most recent call last):
  File "x.py", line 1, in run
RuntimeError: too few flats
"""

T = TypeVar("T")
Seen = str | UwsJob | Exception | None


def uws_job(job_id: str, word: str = "executing", mark: str = MARK, **changes: object) -> UwsJob:
    """Make a job as the UWS shows it."""
    return dataclasses.replace(
        UwsJob(job_id, "1", Phase.of(word), word, 0.0, 0.0, 0.0, f"bias,{mark}", ()),
        **changes,  # type: ignore[arg-type]
    )


async def within_limit(task: asyncio.Task[T]) -> T:
    """Wait for a task, but not for ever."""
    async with asyncio.timeout(patience_s()):
        return await task


class FakeOcps:
    """Gives job ids when the test says so, and publishes results that the test makes up."""

    def __init__(self) -> None:
        self.submitted: list[JobRequest] = []
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.asked = asyncio.Event()
        self.aborted: list[str] = []
        self.refusal: ServiceError | None = None
        self.on_abort: Callable[[str], None] = lambda _job_id: None
        self.callbacks: list[Callable[[str, int], None]] = []

    async def submit(self, request: JobRequest) -> str:
        self.submitted.append(request)
        self.asked.set()
        return await self.answer

    async def abort_job(self, job_id: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.aborted.append(job_id)
        self.on_abort(job_id)

    def on_result(self, callback: Callable[[str, int], None]) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def publish_result(self, job_id: str, exit_code: int) -> None:
        for callback in self.callbacks:
            callback(job_id, exit_code)


class FakeUws:
    """Answers what the test has prepared, in order; the last for ever. None: it does not know the job."""

    def __init__(self) -> None:
        self.answers: list[Seen] = ["executing"]
        self.log: str | Exception = LOG
        self.looks = 0
        self.looked = asyncio.Event()
        self.ended_s = 0.0
        self.pings = 0
        self.by_id: dict[str, list[Seen]] = {}
        """Answers for single jobs; the others share `answers`."""
        self.listing: list[UwsJob] | Exception = []
        self.listed = asyncio.Event()
        self.lists = 0

    def prepare(self, *answers: Seen) -> None:
        self.answers = list(answers)

    async def job(self, job_id: str) -> UwsJob:
        self.looks += 1
        self.looked.set()
        answers = self.by_id.get(job_id, self.answers)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is None:
            raise UnknownJobError(f"The UWS does not know job {job_id}.")
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, UwsJob):
            return answer
        return uws_job(job_id, answer, timestamp_ended_s=self.ended_s)

    async def jobs(self) -> list[UwsJob]:
        self.lists += 1
        self.listed.set()
        if isinstance(self.listing, Exception):
            raise self.listing
        return list(self.listing)

    async def log_text(self, job_id: str) -> str:
        if isinstance(self.log, Exception):
            raise self.log
        return self.log

    async def ping(self) -> None:
        self.pings += 1
        if isinstance(self.answers[0], UnreachableError):
            raise self.answers[0]


@dataclasses.dataclass
class JobWorld:
    """The service, and what surrounds it."""

    ocps: FakeOcps
    uws: FakeUws
    limits: Limits
    notified: list[JobStatus] = dataclasses.field(default_factory=list)
    backend: list[tuple[bool, str]] = dataclasses.field(default_factory=list)
    services: list[JobService] = dataclasses.field(default_factory=list)
    changed: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    def service(self, poll_interval_s: float = SOON_S, repo: str = "", **limits: float) -> JobService:
        service = JobService(
            *(self.ocps, self.uws, poll_interval_s),
            self.limits.model_copy(update={"uws_forgotten": SOON_S, **limits}),
            *(Clock(), self.on_backend, repo),
        )
        self.services.append(service)
        return service

    async def on_change(self, status: JobStatus) -> None:
        self.notified.append(status)
        self.changed.set()

    async def on_backend(self, reachable: bool, sentence: str) -> None:
        self.backend.append((reachable, sentence))

    def start(self, service: JobService, request: JobRequest = BIAS) -> asyncio.Task[JobStatus]:
        return asyncio.create_task(service.run(request, self.on_change))

    async def following(self, service: JobService, job_id: str = "job1") -> asyncio.Task[JobStatus]:
        """Run a job; return when the UWS was asked for it."""
        if not self.ocps.answer.done():
            self.ocps.answer.set_result(job_id)
        self.uws.looked.clear()
        following = self.start(service)
        await asyncio.wait_for(self.uws.looked.wait(), LIMIT_S)
        return following

    async def until_concluded(self, job_id: str) -> JobStatus:
        """Wait until the last status of a job with an end was published; return it."""
        async with asyncio.timeout(patience_s()):
            while True:
                ended = [one for one in self.notified if one.job_id == job_id and one.ended]
                if ended:
                    return ended[-1]
                self.changed.clear()
                await self.changed.wait()

    async def run(self, service: JobService) -> JobStatus:
        if not self.ocps.answer.done():
            self.ocps.answer.set_result("job1")
        async with asyncio.timeout(LIMIT_S):
            return await service.run(BIAS, self.on_change)
