# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever happens while a job is to be stopped: it gets one end, the true one, and no logs are lost for nothing."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.errors import ServiceError, UnknownJobError, UnreachableError
from lsst.ts.comcamcalib.services.jobs import JobService, JobStatus
from lsst.ts.comcamcalib.services.uws import UwsJob
from support.job_world import LIMIT_S, FakeOcps, FakeUws, uws_job


@dataclasses.dataclass
class Life:
    """What becomes of a job, and of those that know of it."""

    looks_until_end: int
    """After so many looks it has ended by itself; a negative number: it never does."""
    end: str
    silences: set[int]
    """Looks that the UWS does not answer."""
    answers: list[str]
    """What the OCPS makes of each abort; the last one for ever."""
    expires_after: int
    """Looks after its end at which the UWS has forgotten it; a negative number: never."""
    looks: int = 0
    ended: bool = False
    deleted: bool = False
    logs_lost: bool = False
    confirmed: bool = False


class LivingUws(FakeUws):
    """Shows a life."""

    def __init__(self, life: Life) -> None:
        super().__init__()
        self.life = life

    async def job(self, job_id: str) -> UwsJob:
        life = self.life
        life.looks += 1
        if not life.deleted and 0 <= life.looks_until_end < life.looks:
            life.ended = True
        if life.looks in life.silences:
            raise UnreachableError("The UWS is silent.")
        expired = life.ended and 0 <= life.expires_after < life.looks - life.looks_until_end
        if life.deleted or expired:
            raise UnknownJobError(f"The UWS does not know job {job_id}.")
        return uws_job(job_id, life.end if life.ended else "executing")


class LivingOcps(FakeOcps):
    """Aborts jobs, or does not, or says that it did not."""

    def __init__(self, life: Life) -> None:
        super().__init__()
        self.life = life

    async def abort_job(self, job_id: str) -> None:
        life = self.life
        answer = life.answers.pop(0) if len(life.answers) > 1 else life.answers[0]
        if answer != "refused":
            life.logs_lost |= life.ended
            life.deleted = True
        if answer == "done":
            life.confirmed = True
            self.publish_result(job_id, 255)
        else:
            raise ServiceError(f"OCPS:2 could not abort job {job_id}.")


lives = st.builds(
    Life,
    looks_until_end=st.integers(0, 12),
    end=st.sampled_from(["completed", "error"]),
    # The UWS is away for a while at the beginning, or now and then.
    silences=st.integers(1, 12).map(lambda last: set(range(1, last + 1))) | st.sets(st.integers(1, 15), max_size=8),
    answers=st.lists(st.sampled_from(["done", "refused", "done, but not confirmed"]), min_size=1, max_size=4),
    expires_after=st.sampled_from([-1, -1, 0, 5]),
)


@given(lives)
async def test_a_job_that_is_stopped_gets_one_end_and_that_is_the_true_one(limits: Limits, life: Life) -> None:
    notified: list[JobStatus] = []
    ended = asyncio.Event()

    async def on_change(status: JobStatus) -> None:
        notified.append(status)
        if status.ended:
            ended.set()

    async def on_backend(_reachable: bool, _sentence: str) -> None:
        """Nobody minds."""

    limits = limits.model_copy(update={"job_abort": 0.001})
    service = JobService(LivingOcps(life), LivingUws(life), 0.0001, limits, Clock(), on_backend)
    with contextlib.suppress(ServiceError):  # not yet: it goes on in the background
        await service.abort("old", on_change)
    async with asyncio.timeout(LIMIT_S):
        await ended.wait()
    await service.close()
    (status,) = [one for one in notified if one.ended]
    assert not life.logs_lost, "what has ended is not deleted"
    if status.phase == "aborted":
        assert status.exit_code == 255 and life.confirmed
    elif status.phase == "unknown":
        assert status.exit_code == 1 and (life.deleted or life.expires_after >= 0)
    else:
        assert status.phase == life.end and life.ended and not life.deleted
        assert status.exit_code == (0 if life.end == "completed" else 1)
