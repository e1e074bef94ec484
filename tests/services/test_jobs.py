# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs from submission to their end, with an OCPS and a UWS that the test drives."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts import utils
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.errors import ServiceError, UnknownJobError, UnreachableError
from lsst.ts.comcamcalib.services.job_status import judge
from lsst.ts.comcamcalib.services.jobs import MAX_DOUBTS, MAX_TOLD, JobService, JobStatus
from lsst.ts.comcamcalib.services.ocps import JobRequest
from lsst.ts.comcamcalib.services.uws import UwsJob
from lsst.ts.comcamcalib.services.uws_job import Phase

BIAS = JobRequest("${CP_PIPE_DIR}/pipelines/LSSTComCam/cpBias.yaml", "instrument='LSSTComCam'", "-j 8", "bias,mark-1")
SOON_S = 0.001
NEVER_S = 1000.0
LIMIT_S = 10.0
LOG = """\
Traceback (most recent call last):
  File "x.py", line 1, in run
RuntimeError: too few flats
"""

T = TypeVar("T")
Seen = str | Exception | None


class FakeOcps:
    """Gives job ids when the test says so, and tells results that the test makes up."""

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

    def tell(self, job_id: str, exit_code: int) -> None:
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

    def prepare(self, *answers: Seen) -> None:
        self.answers = list(answers)

    async def job(self, job_id: str) -> UwsJob:
        self.looks += 1
        self.looked.set()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            raise UnknownJobError(f"The UWS does not know job {job_id}.")
        if isinstance(answer, Exception):
            raise answer
        return UwsJob(job_id, "1", Phase.of(answer), answer, 1.0, 2.0, self.ended_s, "bias,mark-1", ())

    async def jobs(self) -> list[UwsJob]:
        raise AssertionError("nobody asks for all jobs")

    async def log_text(self, job_id: str) -> str:
        if isinstance(self.log, Exception):
            raise self.log
        return self.log

    async def ping(self) -> None:
        self.pings += 1
        if isinstance(self.answers[0], UnreachableError):
            raise self.answers[0]


@dataclasses.dataclass
class World:
    """The service, and what surrounds it."""

    ocps: FakeOcps
    uws: FakeUws
    limits: Limits
    told: list[JobStatus] = dataclasses.field(default_factory=list)
    backend: list[tuple[bool, str]] = dataclasses.field(default_factory=list)
    services: list[JobService] = dataclasses.field(default_factory=list)

    def service(self, poll_interval_s: float = SOON_S, **limits: float) -> JobService:
        service = JobService(
            self.ocps, self.uws, poll_interval_s, self.limits.model_copy(update=limits), self.on_backend
        )
        self.services.append(service)
        return service

    async def on_change(self, status: JobStatus) -> None:
        self.told.append(status)

    async def on_backend(self, reachable: bool, sentence: str) -> None:
        self.backend.append((reachable, sentence))

    def start(self, service: JobService) -> asyncio.Task[JobStatus]:
        return asyncio.create_task(service.run(BIAS, self.on_change))

    async def run(self, service: JobService) -> JobStatus:
        if not self.ocps.answer.done():
            self.ocps.answer.set_result("job1")
        async with asyncio.timeout(LIMIT_S):
            return await service.run(BIAS, self.on_change)


@pytest.fixture
async def world(limits: Limits) -> AsyncIterator[World]:
    world = World(FakeOcps(), FakeUws(), limits)
    yield world
    for service in world.services:
        await service.close()
    assert world.ocps.callbacks == []
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def within_limit(task: asyncio.Task[T]) -> T:
    async with asyncio.timeout(LIMIT_S):
        return await task


DOWN = UnreachableError("The UWS did not answer.")


async def test_a_job_is_followed_to_its_good_end(world: World) -> None:
    world.uws.prepare("pending", "queued", "queued", "executing", "completed")
    world.uws.ended_s = ended_s = utils.current_tai() + 60.0
    status = await world.run(world.service())
    assert status.succeeded and status.message == ""
    assert (status.job_id, status.phase, status.exit_code, status.timestamp_ended_s) == (
        "job1",
        "completed",
        0,
        ended_s,
    )
    assert [one.phase for one in world.told] == ["pending", "queued", "executing", "completed"]
    assert world.told[0].timestamp_submitted_s > 1.7e9 and not world.told[2].ended
    assert world.told[-1] == status
    assert world.backend == []


@pytest.mark.parametrize("word", ["error", "ERROR", "aborted", "archived"])
async def test_every_bad_end_is_a_failure(world: World, word: str) -> None:
    world.uws.prepare(word)
    status = await world.run(world.service())
    assert status.ended and not status.succeeded and status.phase == word and status.exit_code == 1
    assert "job1" in status.message


async def test_a_failed_job_says_what_its_log_says(world: World) -> None:
    world.uws.prepare("executing", "error")
    status = await world.run(world.service())
    assert status.message == "Job job1 failed: RuntimeError: too few flats"


@pytest.mark.parametrize("trouble", [DOWN, UnknownJobError("gone"), ServiceError("no log"), RuntimeError("bug")])
async def test_a_log_that_can_not_be_read_does_not_hide_the_failure(world: World, trouble: Exception) -> None:
    world.uws.prepare("error")
    world.uws.log = trouble
    status = await world.run(world.service())
    assert (status.phase, status.exit_code) == ("error", 1)
    assert status.message == f"Job job1 failed; its log could not be read: {trouble}"


@pytest.mark.parametrize("word", ["held", "suspended", "unknown", "daydreaming"])
async def test_a_strange_phase_is_shown_and_waited_out(world: World, word: str) -> None:
    world.uws.prepare(word, word, "completed")
    assert (await world.run(world.service())).succeeded
    assert [one.phase for one in world.told] == ["pending", word, "completed"]


async def test_job_result_is_news_that_ends_the_pause(world: World) -> None:
    service = world.service(poll_interval_s=NEVER_S)
    world.uws.prepare("executing", "completed")
    world.ocps.answer.set_result("job1")
    following = world.start(service)
    await asyncio.wait_for(world.uws.looked.wait(), LIMIT_S)
    world.ocps.tell("another job", 1)
    world.ocps.tell("job1", 0)
    assert (await within_limit(following)).succeeded
    assert world.uws.looks == 2


async def test_a_result_that_comes_before_the_id_is_not_lost(world: World) -> None:
    service = world.service(poll_interval_s=SOON_S)
    world.ocps.tell("job1", 0)
    world.uws.prepare(None)  # already deleted at the UWS
    assert (await world.run(service)).succeeded
    assert world.uws.looks == 1


async def test_only_so_many_results_are_remembered(world: World) -> None:
    service = world.service()
    world.ocps.tell("job1", 0)
    for i in range(MAX_TOLD):
        world.ocps.tell(f"other{i}", 1)
    world.uws.prepare(None)
    assert not (await world.run(service)).succeeded


async def test_completed_at_the_uws_is_not_good_when_the_ocps_denies_it(world: World) -> None:
    world.uws.prepare("completed")
    service = world.service()
    world.ocps.tell("job1", 1)
    status = await world.run(service)
    assert (status.phase, status.exit_code, status.succeeded) == ("completed", 1, False)
    assert "the OCPS told exit code 1" in status.message
    assert world.uws.looks == 1 + MAX_DOUBTS


async def test_error_at_the_uws_wins_over_exit_code_zero_but_only_when_asked_again(world: World) -> None:
    service = world.service()
    world.ocps.tell("job1", 0)
    world.uws.prepare("error")
    status = await world.run(service)
    assert (status.phase, status.exit_code, status.succeeded) == ("error", 1, False)
    assert world.uws.looks == 1 + MAX_DOUBTS


async def test_the_uws_that_corrects_itself_is_believed(world: World) -> None:
    service = world.service()
    world.ocps.tell("job1", 0)
    world.uws.prepare("executing", "error", "completed")
    assert (await world.run(service)).succeeded
    assert world.uws.looks == 3


async def test_a_job_that_the_uws_has_forgotten_fails_unless_the_ocps_tells_its_end_meanwhile(world: World) -> None:
    world.uws.prepare("executing", None)
    status = await world.run(world.service())
    assert status.phase == "unknown" and not status.succeeded and status.exit_code == 1
    assert "deleted, or its time at the UWS is over" in status.message
    assert world.uws.looks == 2 + MAX_DOUBTS

    service = world.service(poll_interval_s=NEVER_S)
    world.uws.looked.clear()
    world.uws.prepare(None)
    following = world.start(service)
    await asyncio.wait_for(world.uws.looked.wait(), LIMIT_S)
    world.ocps.tell("job1", 0)
    assert (await within_limit(following)).succeeded


@pytest.mark.parametrize(("exit_code", "phase"), [(255, "aborted"), (1, "error")])
async def test_a_deleted_job_has_the_end_that_the_ocps_told(world: World, exit_code: int, phase: str) -> None:
    service = world.service()
    world.ocps.tell("job1", exit_code)
    world.uws.prepare(None)
    status = await world.run(service)
    assert (status.phase, status.exit_code) == (phase, exit_code)
    assert ("was aborted" in status.message) == (exit_code == 255)


async def test_an_unreachable_uws_is_told_once_and_tried_on(world: World) -> None:
    world.uws.prepare("executing", DOWN, DOWN, DOWN, "executing", DOWN, "completed")
    assert (await world.run(world.service())).succeeded
    assert world.backend == [(False, str(DOWN)), (True, ""), (False, str(DOWN)), (True, "")]


async def test_a_uws_that_stays_away_ends_the_following_but_not_the_job(world: World) -> None:
    service = world.service(uws_unreachable=0.01)
    world.uws.prepare("executing", DOWN)
    status = await world.run(service)
    assert (status.phase, status.exit_code, status.succeeded, status.ended) == ("unknown", 1, False, True)
    assert "it may still run" in status.message and str(DOWN) in status.message
    assert service.open_jobs == {"job1"} and world.ocps.aborted == []


async def test_while_the_uws_is_away_the_ocps_is_believed(world: World) -> None:
    service = world.service()
    world.ocps.tell("job1", 0)
    world.uws.prepare(DOWN)
    assert (await world.run(service)).succeeded
    world.ocps.tell("job1", 1)
    status = await world.run(service)
    assert (status.phase, status.exit_code) == ("error", 1)


async def test_a_job_that_takes_too_long_is_aborted(world: World) -> None:
    service = world.service(job=0.01)
    world.ocps.on_abort = lambda _job_id: world.uws.prepare(None)
    status = await world.run(service)
    assert world.ocps.aborted == ["job1"]
    assert (status.phase, status.exit_code, status.succeeded) == ("aborted", 255, False)
    assert "had not ended 0.01 s after its submission" in status.message and "it was aborted" in status.message
    assert service.open_jobs == frozenset()


async def test_a_job_that_takes_too_long_and_can_not_be_aborted_stays_open(world: World) -> None:
    service = world.service(job=0.01)
    world.ocps.refusal = ServiceError("OCPS:2 could not abort job job1: it is tired.")
    status = await world.run(service)
    assert status.phase == "executing" and "was not stopped: OCPS:2 could not abort" in status.message
    assert service.open_jobs == {"job1"}


async def test_a_submission_that_fails_is_an_error(world: World) -> None:
    world.ocps.answer.set_exception(ServiceError("OCPS:2 refused."))
    service = world.service()
    with pytest.raises(ServiceError, match=r"OCPS:2 refused\."):
        await service.run(BIAS, world.on_change)
    assert world.told == [] and service.open_jobs == frozenset() and service.submissions_in_progress == ()


async def test_an_attached_job_is_followed_and_its_age_counts(world: World) -> None:
    service = world.service()
    world.uws.prepare("executing", "completed")
    submitted_s = utils.current_tai() - 5
    status = await service.attach("old", world.on_change, submitted_s)
    assert status.succeeded and (status.job_id, status.timestamp_submitted_s) == ("old", submitted_s)
    assert world.ocps.submitted == []
    world.uws.prepare("executing")
    world.ocps.on_abort = lambda _job_id: world.uws.prepare("aborted")
    status = await service.attach("ancient", world.on_change, 1000.0)
    assert status.phase == "aborted" and world.ocps.aborted == ["ancient"]


async def test_a_journal_that_fails_stops_the_following(world: World) -> None:
    async def fail(_status: JobStatus) -> None:
        raise OSError("disk full")

    service = world.service()
    world.ocps.answer.set_result("job1")
    with pytest.raises(OSError, match="disk full"):
        await service.run(BIAS, fail)
    assert service.open_jobs == {"job1"}  # abort_all still reaches it


# Aborting


async def test_aborting_all_stops_what_is_followed_and_the_follower_learns_it(world: World) -> None:
    service = world.service()
    world.ocps.answer.set_result("job1")
    following = world.start(service)
    await asyncio.wait_for(world.uws.looked.wait(), LIMIT_S)

    def abort(job_id: str) -> None:
        world.uws.prepare(None)
        world.ocps.tell(job_id, 255)

    world.ocps.on_abort = abort
    assert await service.abort_all(LIMIT_S) == []
    status = await within_limit(following)
    assert (status.phase, status.exit_code, status.message) == ("aborted", 255, "Job job1 was aborted.")
    assert service.open_jobs == frozenset()
    assert await service.abort_all(LIMIT_S) == []
    assert world.ocps.aborted == ["job1"]


async def test_a_submission_goes_on_when_its_caller_is_cancelled_and_is_aborted_as_soon_as_its_id_is_known(
    world: World,
) -> None:
    service = world.service()
    running = world.start(service)
    await asyncio.wait_for(world.ocps.asked.wait(), LIMIT_S)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert service.submissions_in_progress == (BIAS,)
    world.ocps.on_abort = lambda _job_id: world.uws.prepare("aborted")
    aborting = asyncio.create_task(service.abort_all(LIMIT_S))
    await asyncio.sleep(0)
    world.ocps.answer.set_result("job1")
    assert await within_limit(aborting) == []
    assert world.ocps.aborted == ["job1"] and world.told == []


async def test_a_submission_that_got_its_id_after_the_cancel_and_before_the_abort_is_aborted_too(
    world: World,
) -> None:
    service = world.service()
    running = world.start(service)
    await asyncio.wait_for(world.ocps.asked.wait(), LIMIT_S)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    world.ocps.answer.set_result("job1")
    for _ in range(10):  # turns of the loop, not time
        await asyncio.sleep(0)
    assert service.submissions_in_progress == ()
    world.ocps.on_abort = lambda _job_id: world.uws.prepare(None)
    assert await service.abort_all(LIMIT_S) == []
    assert world.ocps.aborted == ["job1"]


async def test_a_submission_that_is_late_is_named_and_still_aborted_when_it_comes(world: World) -> None:
    service = world.service()
    running = world.start(service)
    await asyncio.wait_for(world.ocps.asked.wait(), LIMIT_S)
    running.cancel()
    (problem,) = await service.abort_all(0.01)
    assert "cpBias.yaml, which is being submitted, was not stopped within 0.01 s" in problem
    stopped = asyncio.Event()

    def abort(_job_id: str) -> None:
        world.uws.prepare("aborted")
        stopped.set()

    world.ocps.on_abort = abort
    world.ocps.answer.set_result("job1")
    await asyncio.wait_for(stopped.wait(), LIMIT_S)
    assert world.ocps.aborted == ["job1"]


async def test_a_submission_that_fails_while_it_is_aborted_leaves_nothing_to_stop_unless_nobody_knows(
    world: World,
) -> None:
    for error, problems in (
        (ServiceError("refused"), []),
        (UnreachableError("whether the job exists is not known"), ["whether the job exists is not known"]),
    ):
        world.ocps.answer = asyncio.get_running_loop().create_future()
        world.ocps.asked.clear()
        service = world.service()
        running = world.start(service)
        await asyncio.wait_for(world.ocps.asked.wait(), LIMIT_S)
        aborting = asyncio.create_task(service.abort_all(LIMIT_S))
        await asyncio.sleep(0)
        world.ocps.answer.set_exception(error)
        assert await within_limit(aborting) == problems
        with pytest.raises(ServiceError, match=str(error)):
            await running


async def test_what_can_not_be_stopped_is_named_with_what_the_uws_says(world: World) -> None:
    service = world.service(job_abort=0.01)
    world.ocps.answer.set_result("job1")
    following = world.start(service)
    await asyncio.wait_for(world.uws.looked.wait(), LIMIT_S)
    (problem,) = await service.abort_all(LIMIT_S)  # the OCPS says yes, the UWS goes on
    assert problem == (
        "Job job1 was not stopped: the OCPS says that it was aborted. At the UWS: its phase is executing."
    )
    world.ocps.refusal = ServiceError("OCPS:2 is not connected.")
    world.uws.prepare(DOWN)
    (problem,) = await service.abort_all(LIMIT_S)
    assert problem == "Job job1 was not stopped: OCPS:2 is not connected. At the UWS: The UWS did not answer."
    with pytest.raises(ServiceError, match="Job job1 was not stopped"):
        await service.abort("job1")
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_job_that_ended_by_itself_needs_no_abort(world: World) -> None:
    service = world.service()
    world.ocps.refusal = ServiceError("OCPS:2 could not abort job job1: 404.")
    for answer in ("completed", "error", None):
        world.uws.prepare(answer)
        await service.abort("job1")


async def test_one_answer_that_there_is_no_such_job_does_not_mean_that_a_refused_abort_worked(world: World) -> None:
    service = world.service()
    world.ocps.refusal = ServiceError("OCPS:2 is in FAULT.")
    world.uws.prepare(None, "executing")
    with pytest.raises(ServiceError, match=r"OCPS:2 is in FAULT\. At the UWS: its phase is executing"):
        await service.abort("job1")


async def test_single_answers_that_there_is_no_such_job_do_not_add_up(world: World) -> None:
    world.uws.prepare(None, "executing", None, "executing", None, "executing", "completed")
    assert (await world.run(world.service())).succeeded


async def test_a_uws_that_comes_back_is_told_though_no_job_is_followed_any_more(world: World) -> None:
    service = world.service(uws_unreachable=0.01)
    world.uws.prepare("executing", DOWN)
    assert (await world.run(service)).phase == "unknown"
    assert world.backend == [(False, str(DOWN))]
    world.uws.prepare("executing")
    async with asyncio.timeout(LIMIT_S):
        await service._waiting_for_uws
    assert world.backend[-1] == (True, "")
    assert world.uws.pings >= 1


async def test_closing_ends_a_submission_and_says_so(world: World, caplog: pytest.LogCaptureFixture) -> None:
    service = world.service()
    running = world.start(service)
    await asyncio.wait_for(world.ocps.asked.wait(), LIMIT_S)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await service.close()
    world.services.clear()
    assert "Closed while ${CP_PIPE_DIR}/pipelines/LSSTComCam/cpBias.yaml was being submitted" in caplog.text


# Judging


@given(st.sampled_from([None, *Phase]), st.none() | st.integers(-1000, 1000))
def test_good_is_only_what_one_calls_good_and_the_other_has_the_last_word_on(
    phase: Phase | None, told: int | None
) -> None:
    end = judge(phase, told)
    if end is None:
        assert phase is not None and not phase.ended
    elif end.exit_code == 0:
        assert phase is Phase.COMPLETED or (phase is None and told == 0)
        assert end.phase is Phase.COMPLETED
    else:
        assert phase is not Phase.COMPLETED or told not in (None, 0)
    if end is not None and phase is not None and told is not None:
        assert end.certain == ((phase is Phase.COMPLETED) == (told == 0))
