# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Camera, OODS, OCPS, UWS and other components as one process sees them; they are gone with the process."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Callable, Mapping

from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.errors import NotEnabledError, ServiceError, UnknownJobError, UnreachableError
from lsst.ts.comcamcalib.plan.request import JobRequest
from lsst.ts.comcamcalib.services.camera import FrameRequest, TakenFrame
from lsst.ts.comcamcalib.services.components import Unwell
from lsst.ts.comcamcalib.services.oods import IngestNotice
from lsst.ts.comcamcalib.services.permission import Permission
from lsst.ts.comcamcalib.services.uws import Phase, UwsJob
from lsst.ts.comcamcalib.services.uws_answers import OddStatusError

from .camera_world import Image
from .uws_world import NOT_ENABLED, Job
from .world import NightWorld

__all__ = ["NightCamera", "NightComponents", "NightOcps", "NightOods", "NightUws"]

SETTLE_S = 2.0
OCPS = "OCPS:2"


class NightCamera:
    """The camera through its commands and events; a process that starts gets the last image's events again."""

    def __init__(self, world: NightWorld, limits: Limits, permission: Permission) -> None:
        self._world = world
        self._limits = limits
        self._permission = permission
        self._begun: dict[int, Image] = {}
        self._ended: set[int] = set()
        self._group = ""
        self._started: asyncio.Future[Image] | None = None
        self._read_out = asyncio.Event()
        self._answer: asyncio.Future[str] | None = None
        self._fault: asyncio.Future[str] | None = None
        if world.images:
            self._begun[max(world.images)] = world.images[max(world.images)]
        if world.read_out:
            self._ended.add(max(world.read_out))

    async def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    async def obstacle(self) -> str:
        await asyncio.sleep(min(max(self._world.busy_until_s - self._world.time_s, 0.0), SETTLE_S))
        return "CCCamera is doing a command. Wait until its ccsCommandState is IDLE." if self._world.busy else ""

    def images_begun(self) -> Mapping[str, str | None]:
        return {image.obs_id: image.group_id for image in self._begun.values()}

    def taken_for(self, group_id: str) -> list[TakenFrame]:
        return [
            TakenFrame(one, image.obs_id, image.began_s)
            for one, image in self._begun.items()
            if image.group_id == group_id and one in self._ended
        ]

    async def find_filter(self, wanted: str) -> str:
        await asyncio.sleep(0.1)
        return wanted

    async def set_filter(self, wanted: str) -> None:
        await self._permission()
        self._world.on_made("setFilter")
        await asyncio.sleep(20.0)
        self._world.filter = wanted

    async def take(self, request: FrameRequest) -> TakenFrame:
        if self._started is not None:
            raise ServiceError(f"{request.describe()} can't be taken: another still is.")
        if self._world.camera_fault:
            raise ServiceError("CCCamera is in FAULT: look at its errorCode, send it to STANDBY, enable it.")
        loop = asyncio.get_running_loop()
        self._group, self._started = request.group_id, loop.create_future()
        self._answer, self._fault = loop.create_future(), loop.create_future()
        self._read_out.clear()
        try:
            return await self._take(request)
        finally:
            self._started = self._answer = self._fault = None

    async def _take(self, request: FrameRequest) -> TakenFrame:
        assert self._started is not None and self._answer is not None
        # ComCam waits for the image in progress, whoever has it taken.
        while (rest_s := self._world.busy_until_s - self._world.time_s) > 0:  # noqa: ASYNC110  # another may begin
            await asyncio.sleep(rest_s + 0.01)
        await self._permission()
        self._world.on_made("takeImages")
        # The command is on the bus: it arrives whatever becomes of the process.
        seconds = 0.0 if request.image_type == "BIAS" else request.exposure_time_s
        self._world.after(
            self._world.dice("camera commands").uniform(0.01, 0.2),
            lambda: self._world.expose_for(request.image_type, seconds, request.group_id),
        )
        error = await self._unless_fault(self._answer, seconds + self._limits.exposure_overhead, "takeImages", request)
        if error:
            raise ServiceError(f"{request.describe()} was not taken: the camera said: {error}.")
        image = await self._unless_fault(self._started, self._limits.readout, "startIntegration", request)
        ended = asyncio.ensure_future(self._until_ended(image))
        try:
            await self._unless_fault(ended, self._limits.readout, "endReadout", request)
        finally:
            ended.cancel()
        return TakenFrame(image.exposure_id, image.obs_id, image.began_s)

    async def _unless_fault(self, step: asyncio.Future, limit_s: float, name: str, request: FrameRequest):  # type: ignore[no-untyped-def,type-arg]
        assert self._fault is not None
        await asyncio.wait([step, self._fault], timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if self._fault.done():
            raise ServiceError(f"{request.describe()} was not taken: {self._fault.result()} during it.")
        if not step.done():
            raise ServiceError(f"{request.describe()} was not taken: no {name} came within {limit_s:g} s.")
        return step.result()

    async def _until_ended(self, image: Image) -> None:
        while image.exposure_id not in self._ended:
            self._read_out.clear()
            await self._read_out.wait()

    def on_start(self, image: Image) -> None:
        self._begun[image.exposure_id] = image
        if self._started is not None and not self._started.done() and image.group_id == self._group:
            self._started.set_result(image)

    def on_end(self, image: Image) -> None:
        self._ended.add(image.exposure_id)
        self._read_out.set()

    def on_taken(self, error: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(error)

    def on_camera_fault(self) -> None:
        if self._fault is not None and not self._fault.done():
            self._fault.set_result("CCCamera went to FAULT")


class NightOods:
    """The OODS's events."""

    def __init__(self) -> None:
        self._subscribers: list[Callable[[IngestNotice], None]] = []

    def subscribe(self, callback: Callable[[IngestNotice], None]) -> Callable[[], None]:
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def on_notice(self, notice: IngestNotice) -> None:
        for callback in tuple(self._subscribers):
            callback(notice)


class NightComponents:
    """Which components are not ENABLED."""

    def __init__(self, world: NightWorld) -> None:
        self._world = world

    def unwell(self) -> list[Unwell]:
        found = []
        if self._world.camera_fault:
            found.append(Unwell("CCCamera", "is in FAULT", "look at its errorCode, send it to STANDBY, enable it"))
        if "OODS down" in self._world.down:
            found.append(Unwell("CCOODS", "sends no heartbeat any more", "check it, restart it"))
        if "OCPS disabled" in self._world.down:
            found.append(Unwell(OCPS, "is in DISABLED", "enable it"))
        return found

    def problems(self) -> list[str]:
        return [str(one) for one in self.unwell()]

    def state_of(self, name: str) -> None:
        """Nothing was published."""


class NightOcps:
    """The OCPS through its commands and job_result."""

    def __init__(self, world: NightWorld, limits: Limits, permission: Permission) -> None:
        self._world = world
        self._limits = limits
        self._permission = permission
        self._answers: dict[int, asyncio.Future[tuple[str, str]]] = {}
        self._subscribers: list[Callable[[str, int], None]] = []

    async def submit(self, request: JobRequest) -> str:
        await self._permission()
        self._world.on_made("execute")
        return await self._command("execute", functools.partial(self._world.submit_for, request))

    async def _command(self, what: str, send: Callable[[int], None]) -> str:
        """Send a command, which arrives a bit later whatever becomes of the process; return the answer to it."""
        world, number = self._world, next(self._world.command_numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        world.after(world.dice("ocps commands").uniform(0.01, 0.3), lambda: send(number))
        limit_s = self._limits.job_submission if what == "execute" else self._limits.job_abort
        try:
            async with asyncio.timeout(limit_s):
                result, error = await answer
        except TimeoutError:
            raise UnreachableError(f"{OCPS} did not answer the command to {what} within {limit_s:g} s.") from None
        finally:
            del self._answers[number]
        if error == NOT_ENABLED:
            raise NotEnabledError(f"{OCPS} refused to {what}. It is not ENABLED: enable it.")
        if error:
            raise UnreachableError(f"{OCPS} could not {what}: {error}.")
        return result

    async def abort_job(self, job_id: str) -> None:
        await self._permission()
        self._world.on_made("abort_job")
        await self._command("abort_job", functools.partial(self._world.abort_for, job_id))

    def on_result(self, callback: Callable[[str, int], None]) -> Callable[[], None]:
        self._subscribers.append(callback)
        if self._world.last_result is not None:
            asyncio.get_running_loop().call_soon(callback, *self._world.last_result)
        return lambda: self._subscribers.remove(callback)

    def on_job_result(self, job_id: str, exit_code: int) -> None:
        for callback in tuple(self._subscribers):
            callback(job_id, exit_code)

    def on_answer(self, number: int, result: str, error: str) -> None:
        answer = self._answers.get(number)
        if answer is not None and not answer.done():
            answer.set_result((result, error))


class NightUws:
    """The UWS through its REST interface."""

    def __init__(self, world: NightWorld, limits: Limits) -> None:
        self._world = world
        self._limits = limits

    async def job(self, job_id: str) -> UwsJob:
        await self._request(0.2)
        job = self._world.jobs.get(job_id)
        if not isinstance(job, Job) or not job.known or "UWS answers 404" in self._world.down:
            raise UnknownJobError(f"The UWS does not know job {job_id}.")
        return _as_shown(job)

    async def jobs(self) -> list[UwsJob]:
        await self._request(5.0)
        return [_as_shown(job) for job in self._world.all_jobs if job.known]

    async def log_text(self, job_id: str) -> str:
        job = await self.job(job_id)
        return f"RuntimeError: something was wrong in {job.job_id}"

    async def ping(self) -> None:
        await self._request(0.2)

    async def _request(self, usual_s: float) -> None:
        await asyncio.sleep(self._world.dice("uws").uniform(0.01, usual_s))
        if "UWS down" in self._world.down:
            await asyncio.sleep(self._limits.uws_request)
            raise UnreachableError("The UWS did not answer: Connection refused.")
        if "UWS answers 500" in self._world.down:
            await asyncio.sleep(self._world.dice("uws").uniform(0.5, 4.0))  # it is asked again some times
            raise UnreachableError("The UWS answered with something other than JSON.")
        if "UWS answers 403" in self._world.down:
            raise OddStatusError("The UWS answered with status 403.")


def _as_shown(job: Job) -> UwsJob:
    """Return a job as the UWS shows it: in whole seconds, and a failed one without its end."""
    return UwsJob(
        job.job_id,
        "1",
        Phase.of(job.phase),
        job.phase,
        math.floor(job.created_s),
        math.floor(job.started_s),
        math.floor(job.ended_s) if job.phase == "completed" else 0.0,
        job.request.output_dataset_types,
        (),
    )
