# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""A frame is taken exactly once, though the process is killed at any moment and somebody else uses the camera."""

from __future__ import annotations

import asyncio
import datetime

import pytest
from lsst.ts.comcamcalib.enums import CalibType, RunState
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.record.facts import FrameAbsent, FrameIntended, FrameStray, FrameTaken, RunMoved
from lsst.ts.comcamcalib.services.camera import TakenFrame
from lsst.ts.comcamcalib.stages.acquire import expose
from support.mortal import next_process
from support.services import Gate

GROUP = "20261122-001-DARK"
EXPOSURE_S, PATIENCE_S = 30.0, 120.0
OWN_S = EXPOSURE_S + PATIENCE_S


def intended(index: int = 1, exposure_time_s: float = EXPOSURE_S) -> FrameIntended:
    return FrameIntended(calib_type=CalibType.DARK, index=index, exposure_time_s=exposure_time_s)


def take(bench, index: int = 1, exposure_time_s: float = EXPOSURE_S):
    """Take a frame, as the stages do."""
    return expose(intended(index, exposure_time_s), "DARK.ACQUIRE", bench.context)


def expose_in_world(bench, group_id: str = GROUP) -> TakenFrame:
    """Have the camera take an exposure of which the run has heard nothing, and no event shows."""
    one = bench.observatory.world.expose("DARK", EXPOSURE_S, group_id)
    return TakenFrame(one.exposure_id, one.obs_id, 1.8e9)


def show(bench, *taken: TakenFrame, group_id: str = GROUP) -> None:
    """Show exposures in the camera's events."""
    bench.observatory.camera.read_out = [(group_id, one) for one in taken]


@pytest.fixture
async def bench(make_bench):
    """A run whose process was killed when the first dark was intended."""
    bench = make_bench(oods_timeout=PATIENCE_S)
    bench.record.put(intended())
    return bench


async def test_what_was_taken_before_is_not_taken_again(make_bench) -> None:
    bench = make_bench()
    first = await take(bench)
    assert await take(bench) == first == await take(next_process(bench))
    assert len(bench.observatory.camera.requests) == 1


async def test_exposure_that_the_camera_shows_is_the_frame_at_once(bench, caplog: pytest.LogCaptureFixture) -> None:
    taken = expose_in_world(bench)
    show(bench, taken)
    begin = asyncio.get_running_loop().time()
    frame = await take(bench)
    assert asyncio.get_running_loop().time() - begin < 1
    assert (frame.exposure_id, frame.obs_id, frame.taken_s) == (taken.exposure_id, taken.obs_id, 1.8e9)
    assert bench.record.of(FrameTaken)[0].found
    assert bench.observatory.camera.requests == []
    assert f"DARK frame 1 was taken before the run was interrupted: it is {taken.obs_id}" in caplog.text


async def test_exposure_that_only_the_repository_shows_is_the_frame(bench) -> None:
    """Somebody else has used the camera since, so that its events show another image."""
    taken = expose_in_world(bench)
    show(bench, TakenFrame(2026112200099, "CC_O_20261122_000099", 1.8e9), group_id="somebody else")
    bench.observatory.oods.ingest(taken.exposure_id, [7])
    frame = await take(bench)
    begin = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=frame.taken_s)
    assert frame.exposure_id == taken.exposure_id
    assert begin == datetime.datetime(2026, 11, 22, 20), "when it began comes from the repository"
    assert bench.observatory.camera.requests == []


async def test_exposure_whose_first_file_comes_last_of_all_is_the_frame(bench) -> None:
    """Its files come until oods_timeout after its end, and not after the intent."""
    taken = expose_in_world(bench)
    loop = asyncio.get_running_loop()
    loop.call_later(OWN_S - 2, bench.observatory.oods.ingest, taken.exposure_id, [0])
    assert (await take(bench)).exposure_id == taken.exposure_id
    assert bench.observatory.camera.requests == []


async def test_exposure_that_both_show_is_one(bench) -> None:
    taken = expose_in_world(bench)
    show(bench, taken)
    bench.observatory.oods.ingest(taken.exposure_id, range(9))
    assert (await take(bench)).exposure_id == taken.exposure_id
    assert bench.record.of(FrameStray) == []


async def test_exposure_in_progress_is_waited_for(bench) -> None:
    camera, loop = bench.observatory.camera, asyncio.get_running_loop()
    camera.busy = "CCCamera is taking an image: CC_O_20261122_000001 of 30 s."
    begin = loop.time()

    def end() -> None:
        camera.busy = ""
        show(bench, expose_in_world(bench))

    loop.call_later(200, end)
    frame = await take(bench)
    assert 200 <= loop.time() - begin < 202, "it is not given up while the camera is at work"
    assert frame.exposure_id and camera.requests == []
    assert bench.record.of(FrameAbsent) == []


async def test_exposure_that_ends_while_it_is_looked_for_is_not_missed(bench) -> None:
    """The camera becomes idle just at the end of the patience; what it took shows from then on."""
    camera = bench.observatory.camera
    asked: list[float] = []

    async def obstacle() -> str:
        asked.append(bench.context.clock.monotonic())
        if asked[-1] - asked[0] < OWN_S:
            return "CCCamera is taking an image."
        if not bench.observatory.world.exposures:
            show(bench, expose_in_world(bench))
        return ""

    camera.obstacle = obstacle
    assert (await take(bench)).exposure_id
    assert camera.requests == []


async def test_frame_of_which_nothing_is_seen_is_absent_after_its_patience_and_then_taken(bench) -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    frame = await take(bench)
    assert OWN_S <= loop.time() - begin < OWN_S + 2
    kinds = [type(entry.fact) for entry in bench.record.entries[-3:]]
    assert kinds == [FrameAbsent, FrameIntended, FrameTaken]
    assert not bench.record.of(FrameTaken)[0].found
    assert [one.group_id for one in bench.observatory.camera.requests] == [GROUP]
    assert frame.used
    wait = bench.record.waits[0]
    assert wait.who == "DARK.ACQUIRE"
    assert wait.for_what == "news of DARK frame 1 of 2, which was being taken when the run was interrupted"
    assert wait.limit_s == pytest.approx(OWN_S, abs=1)


async def test_frame_that_was_intended_long_ago_is_absent_at_once(bench) -> None:
    await asyncio.sleep(OWN_S + 1)
    begin = asyncio.get_running_loop().time()
    await take(bench)
    assert asyncio.get_running_loop().time() - begin < 1
    assert len(bench.record.of(FrameAbsent)) == len(bench.observatory.camera.requests) == 1


@pytest.mark.parametrize("by_s", [3600.0, -3600.0])
async def test_clock_that_was_set_makes_the_wait_no_longer_than_its_patience(
    bench, monkeypatch: pytest.MonkeyPatch, by_s: float
) -> None:
    clock = bench.context.clock
    real = clock.tai
    monkeypatch.setattr(clock, "tai", lambda: real() - by_s)
    begin = asyncio.get_running_loop().time()
    await take(bench)
    assert asyncio.get_running_loop().time() - begin < OWN_S + 2
    assert len(bench.observatory.camera.requests) == 1


async def test_camera_that_does_not_become_idle_ends_the_search_and_nothing_is_taken(bench) -> None:
    camera = bench.observatory.camera
    camera.busy = "CCCamera is doing a command. Wait until its ccsCommandState is IDLE."
    with pytest.raises(
        StageError, match=r"Whether DARK frame 1 of 2 was taken .* could not be found out: CCCamera is doing"
    ):
        await take(bench)
    assert camera.requests == [] and bench.record.of(FrameAbsent) == []
    # Whoever resumes the run when the camera is well again finds out.
    camera.busy = ""
    assert (await take(next_process(bench))).exposure_id
    assert len(camera.requests) == 1


async def test_without_the_repository_nothing_is_taken_and_nothing_is_called_absent(bench) -> None:
    taken = expose_in_world(bench)
    bench.observatory.oods.ingest(taken.exposure_id, [0])
    bench.observatory.repository.errors["exposures_of_group"] = "Butler did not answer within 60 s"
    with pytest.raises(StageError, match=r"DARK frame 1 was taken .* could not be found out: Butler did not answer"):
        await take(bench)
    assert bench.observatory.camera.requests == [] and bench.record.of(FrameAbsent) == []
    del bench.observatory.repository.errors["exposures_of_group"]
    assert (await take(next_process(bench))).exposure_id == taken.exposure_id


async def test_of_two_exposures_the_first_is_the_frame_and_the_other_is_never_used(
    bench, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that was paused has gone on taking frames after another one took over."""
    first, second, third = (expose_in_world(bench) for _ in range(3))
    show(bench, third)
    for one in (second, first):
        bench.observatory.oods.ingest(one.exposure_id, [0])
    assert (await take(bench)).exposure_id == first.exposure_id
    strays = bench.record.of(FrameStray)
    assert [(one.exposure_id, one.obs_id) for one in strays] == [
        (one.exposure_id, one.obs_id) for one in (second, third)
    ]
    assert strays[0].reason == f"{first.obs_id} is the frame that was intended"
    assert bench.context.history.exposure_ids(CalibType.DARK) == (first.exposure_id,)
    assert f"{third.obs_id} is one too many, and is never used" in caplog.text
    # They are not taken for the next frame either.
    bench.record.put(intended(2))
    assert (await take(bench, 2)).exposure_id > third.exposure_id
    assert len(bench.observatory.camera.requests) == 1


async def test_exposures_of_other_frames_and_groups_are_not_the_frame(make_bench) -> None:
    bench = make_bench(oods_timeout=PATIENCE_S)
    first = await take(bench)
    other = expose_in_world(bench, "20261122-001-FLAT")
    bench.observatory.oods.ingest(other.exposure_id, [0])
    bench.record.put(intended(2))
    frame = await take(bench, 2)
    assert frame.exposure_id not in (first.exposure_id, other.exposure_id)
    assert len(bench.record.of(FrameAbsent)) == 1


async def test_it_is_found_out_first_what_became_of_another_frame_of_the_group(bench) -> None:
    """A frame to be taken again was being taken when the process was killed; the sequence comes before it."""
    bench.record.put(FrameIntended(calib_type=CalibType.DARK, index=3, exposure_time_s=EXPOSURE_S, replaces=1))
    bench.record.put(FrameAbsent(calib_type=CalibType.DARK, index=1, reason="it was looked for"))
    again = expose_in_world(bench)
    bench.observatory.oods.ingest(again.exposure_id, [0])
    frame = await take(bench, 2, 5.0)
    third = bench.context.history.frames[CalibType.DARK, 3]
    assert (third.exposure_id, third.replaces, third.exposure_time_s) == (again.exposure_id, 1, EXPOSURE_S)
    assert frame.exposure_id > again.exposure_id
    assert [type(entry.fact) for entry in bench.record.entries[-3:]] == [FrameTaken, FrameIntended, FrameTaken]


async def test_nothing_is_taken_while_it_is_not_known_what_became_of_another_frame(bench) -> None:
    bench.observatory.repository.errors["exposures_of_group"] = "the database is down"
    with pytest.raises(StageError, match="DARK frame 1 was taken"):
        await take(bench, 2)
    assert bench.observatory.camera.requests == []
    assert (CalibType.DARK, 2) not in bench.context.history.frames


async def test_frames_of_other_types_are_no_reason_to_wait(bench) -> None:
    begin = asyncio.get_running_loop().time()
    wanted = FrameIntended(calib_type=CalibType.BIAS, index=1, exposure_time_s=0.0)
    assert (await expose(wanted, "BIAS.ACQUIRE", bench.context)).exposure_id
    assert asyncio.get_running_loop().time() - begin < 1


async def test_intent_that_can_not_be_written_sends_nothing_to_the_camera(make_bench) -> None:
    bench = make_bench()
    bench.record.refuses = lambda fact: isinstance(fact, FrameIntended)
    with pytest.raises(StageError, match="could not be written down, so it was not done"):
        await take(bench)
    assert bench.observatory.camera.requests == []
    # The intent may be written later all the same, but so is that it was not begun: nobody has to look for it.
    assert "could not be written down" in bench.context.history.frames[CalibType.DARK, 1].absent
    bench.record.refuses = lambda fact: False
    begin = asyncio.get_running_loop().time()
    assert (await take(next_process(bench))).exposure_id
    assert asyncio.get_running_loop().time() - begin < 1
    assert len(bench.observatory.camera.requests) == 1


async def test_cancelled_while_the_intent_is_written_it_is_not_begun_and_not_open(make_bench) -> None:
    bench = make_bench()
    gate, real = Gate(), bench.record.intend

    async def intend(fact) -> None:
        await real(fact)
        await gate.pass_through()

    bench.record.intend = intend
    bench.context.finish_exposure = False
    task = asyncio.create_task(take(bench))
    await gate.until_reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.observatory.camera.requests == []
    assert bench.context.history.frames[CalibType.DARK, 1].absent == "it was stopped before it was begun"


async def test_abort_while_the_intent_is_written_sends_nothing_to_the_camera(make_bench) -> None:
    bench = make_bench()
    real = bench.record.intend

    async def intend(fact) -> None:
        await real(fact)
        bench.record.put(RunMoved(state=RunState.ABORTING, reason="Aborted by op@console"))

    bench.record.intend = intend
    with pytest.raises(StageError, match="No further exposure was taken, because the run is ABORTING"):
        await take(bench)
    assert bench.observatory.camera.requests == []
    frame = bench.context.history.frames[CalibType.DARK, 1]
    assert frame.absent == "no further exposure was taken, because the run is ABORTING", "nobody has to look for it"


async def test_exposure_whose_answer_was_lost_is_found_by_the_next_attempt(make_bench) -> None:
    """The camera took it, but endReadout did not come."""
    bench = make_bench(oods_timeout=PATIENCE_S)
    bench.observatory.camera.errors["DARK", 1] = "no endReadout came within 60 s."
    with pytest.raises(StageError, match="DARK frame 1 of 2 was not taken: no endReadout came within 60 s"):
        await take(bench)
    assert bench.context.history.frames[CalibType.DARK, 1].open
    taken = expose_in_world(bench)
    bench.observatory.oods.ingest(taken.exposure_id, [0])
    assert (await take(bench)).exposure_id == taken.exposure_id
    assert len(bench.observatory.camera.requests) == 1
