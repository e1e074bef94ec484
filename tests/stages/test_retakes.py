# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lost frames are taken again, flats in pairs; a kill at any moment changes nothing of that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from lsst.ts.comcamcalib.enums import CalibType, RunState
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.record.events import ImageIngested, ImageTaken
from lsst.ts.comcamcalib.record.facts import (
    Fact,
    FrameAbsent,
    FrameGivenUp,
    FrameIntended,
    FrameSettled,
    FrameTaken,
    RunMoved,
)
from support.arrivals import QUICK, losing, published
from support.mortal import both, live, next_process
from support.services import Gate
from support.world import FIRST_EXPOSURE, Exposure


async def test_silent_file_is_looked_for_again_and_again_then_taken_again(make_bench) -> None:
    bench = make_bench(n_bias=2, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [4]})
    begin = asyncio.get_running_loop().time()
    _, reason = await both(bench, "BIAS")
    assert reason == "All files of 2 frames are in the repository, 1 of them taken again"
    # 120 s of silence, and four pauses of a second between the five looks.
    assert 124 <= asyncio.get_running_loop().time() - begin < 125
    assert bench.observatory.repository.looks == [(FIRST_EXPOSURE,)] * 5
    assert published(bench) == [(2, 3, 0, ""), (1, 2, 0, "R22_S11"), (3, 3, 0, "")]
    assert bench.context.history.exposure_ids(CalibType.BIAS) == (FIRST_EXPOSURE + 1, FIRST_EXPOSURE + 2)
    lost = next(one for one in bench.record.published(ImageIngested) if one.missing)
    assert lost.reason == "no event reported them within 120 s, and Butler does not have them"
    retake = bench.record.published(ImageTaken)[-1]
    assert (retake.image_index, retake.images_in_sequence, retake.discarded) == (3, 3, False)


async def test_too_many_lost_frames_fail_the_stage_and_say_what_to_do(make_bench) -> None:
    bench = make_bench(n_bias=1, max_retakes=2, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [0], "BIAS 2": [1], "BIAS 3": [4]})
    taken, error = await both(bench, "BIAS")
    assert taken == "1 frames were taken"
    assert isinstance(error, StageError)
    assert str(error) == (
        "CC_O_20261122_000003 is lost (R22_S11 did not arrive in the repository: no event reported them within 120 s, "
        "and Butler does not have them). 3 BIAS frames are lost now, more than may be taken again (max_retakes 2). "
        "Look at the OODS, then resume the run"
    )
    assert bench.observatory.camera.taken("BIAS") == 3
    assert bench.context.history.exposure_ids(CalibType.BIAS) == ()


async def test_each_type_has_retakes_of_its_own(make_bench) -> None:
    bench = make_bench(n_bias=1, n_dark=1, max_retakes=1, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [0], "DARK 1": [0]})
    results = await asyncio.gather(both(bench, "BIAS"), both(bench, "DARK"))
    assert [reason for _, reason in results] == [
        "All files of 1 frames are in the repository, 1 of them taken again"
    ] * 2


async def test_nothing_is_taken_again_for_an_acquisition_that_failed(make_bench) -> None:
    bench = make_bench(n_bias=4, **QUICK)
    bench.observatory.camera.errors["BIAS", 3] = "CCCamera went to FAULT"
    bench.observatory.camera.arrive = losing(bench, {"BIAS 2": [1]})
    error = (await both(bench, "BIAS"))[1]
    assert str(error).endswith("; lost, and not taken again: CC_O_20261122_000002")
    assert bench.observatory.camera.taken("BIAS") == 3


async def test_frame_that_can_not_be_taken_again_fails_the_stage(make_bench) -> None:
    bench = make_bench(n_bias=1, **QUICK)
    bench.observatory.camera.arrive = lambda exposure: None
    bench.observatory.camera.errors["BIAS", 2] = "the camera is off"
    assert str((await both(bench, "BIAS"))[1]) == "BIAS frame 2 of 2 was not taken: the camera is off"


async def test_lost_frame_is_not_taken_again_after_a_stop(make_bench) -> None:
    bench = make_bench(n_bias=1, **QUICK)
    bench.observatory.camera.arrive = lambda exposure: None
    tasks = asyncio.create_task(both(bench, "BIAS"))
    await bench.record.until(lambda history: len(history.taken(CalibType.BIAS)) == 1)
    bench.record.put(RunMoved(state=RunState.ABORTING, reason="Aborted by op@console"))
    assert "No further exposure was taken, because the run is ABORTING" in str((await tasks)[1])
    assert bench.observatory.camera.taken("BIAS") == 1


async def test_lost_flat_is_taken_again_together_with_its_partner(make_bench) -> None:
    """cp_pipe pairs only flats that follow each other: a single one at the end would find no partner."""
    bench = make_bench(do_ptc=True, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"FLAT 2": [0]})
    _, reason = await both(bench, "FLAT")
    assert reason == "All files of 4 frames are in the repository, 2 of them taken again"
    used = bench.context.history.used(CalibType.FLAT)
    assert [image.exposure_id - FIRST_EXPOSURE + 1 for image in used] == [3, 4, 5, 6]
    assert [image.exposure_time_s for image in used] == [2.0, 2.0, 1.0, 1.0]
    assert bench.context.flat_pairs == 2


async def test_pair_of_which_both_are_lost_is_taken_again_once(make_bench) -> None:
    bench = make_bench(do_gain_from_flat_pairs=True, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"FLAT 1": [0], "FLAT 2": [1]})
    await both(bench, "FLAT")
    assert bench.observatory.camera.taken("FLAT") == 6
    assert bench.context.flat_pairs == 2


async def test_pair_that_was_taken_again_and_is_lost_again_is_taken_a_third_time(make_bench) -> None:
    bench = make_bench(do_ptc=True, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"FLAT 1": [0], "FLAT 5": [4]})
    _, reason = await both(bench, "FLAT")
    assert reason == "All files of 4 frames are in the repository, 2 of them taken again"
    used = bench.context.history.used(CalibType.FLAT)
    assert [image.exposure_id - FIRST_EXPOSURE + 1 for image in used] == [3, 4, 6, 7], (
        "the second of the new pair is still the last flat"
    )
    assert bench.context.flat_pairs == 2


async def test_pair_is_taken_again_only_when_no_other_flat_can_come_between(make_bench) -> None:
    bench = make_bench(do_ptc=True)
    gate = bench.observatory.camera.gates["FLAT", 4] = Gate()

    def arrive(exposure: Exposure) -> None:
        number = len(bench.observatory.world.of_kind("FLAT"))
        bench.observatory.oods.ingest(exposure.exposure_id, range(1, 9) if number == 1 else range(9))
        if number == 1:
            bench.observatory.oods.notify(exposure.exposure_id, 0, ok=False, text="no")

    bench.observatory.camera.arrive = arrive
    task = asyncio.create_task(both(bench, "FLAT"))
    await gate.until_reached()
    await bench.record.until(lambda history: any(frame.given_up for frame in history.frames.values()))
    gate.open()
    assert (await task)[1] == "All files of 4 frames are in the repository, 2 of them taken again"
    times = [request.exposure_time_s for request in bench.observatory.camera.requests]
    assert times == [1.0, 1.0, 2.0, 2.0, 1.0, 1.0]


async def test_flat_without_need_of_a_partner_is_taken_again_alone(make_bench) -> None:
    bench = make_bench(**QUICK)
    bench.observatory.camera.arrive = losing(bench, {"FLAT 2": [0]})
    await both(bench, "FLAT")
    assert bench.observatory.camera.taken("FLAT") == 5


async def test_frame_that_is_taken_again_is_what_the_stage_waits_for(make_bench) -> None:
    """It may wait for the camera, which takes the next type already, and then for a long exposure."""
    bench = make_bench(n_bias=1, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [0]})
    taking = bench.context.camera_lock
    settle = bench.observatory.repository.raws_present

    async def somebody_takes_a_frame(*args: Any) -> set[tuple[int, int]]:
        if not taking.locked():
            await taking.acquire()
            asyncio.get_running_loop().call_later(1000, taking.release)
        return await settle(*args)

    bench.observatory.repository.raws_present = somebody_takes_a_frame
    await both(bench, "BIAS")
    waits = [wait.for_what for wait in bench.record.waits if wait.who == "BIAS.INGEST"]
    again = waits.index("the camera, which takes another frame of the run")
    assert waits[again + 1] == "BIAS frame 2 of 2, 0 s"


# Attempts


async def test_each_attempt_may_take_as_many_frames_again(make_bench) -> None:
    """Whoever resumes the run has looked at the cause."""
    bench = make_bench(n_bias=1, max_retakes=1, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {f"BIAS {n}": [d] for n, d in ((1, 0), (2, 1), (3, 4), (4, 0))})
    assert "2 BIAS frames are lost now, more than may be taken again (max_retakes 1)" in str(
        (await both(bench, "BIAS"))[1]
    )
    second = next_process(bench)
    assert not isinstance((await both(second, "BIAS"))[0], StageError)
    assert second.context.history.stages["BIAS.INGEST"].reason.startswith("CC_O_20261122_000004 is lost")
    third = next_process(second)
    reason = (await both(third, "BIAS"))[1]
    assert reason == "All files of 1 frames are in the repository, 1 of them taken again"
    frames = third.context.history.taken(CalibType.BIAS)
    assert [(frame.index, frame.given_up_in) for frame in frames] == [(1, 1), (2, 1), (3, 2), (4, 2), (5, 0)]


async def test_a_kill_gives_no_further_retakes(make_bench) -> None:
    """An interrupted attempt goes on; nobody has looked at the cause."""
    bench = next_process(make_bench(n_bias=1, max_retakes=1, **QUICK))
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [0], "BIAS 2": [1]})
    bench.record.dies_after = lambda fact: isinstance(fact, FrameGivenUp) and fact.index == 2
    assert await live(bench, "BIAS")
    resumed = next_process(bench)
    error = (await both(resumed, "BIAS"))[1]
    assert str(error).startswith("CC_O_20261122_000002 is lost (R22_S01 did not arrive")
    assert str(error).endswith("more than may be taken again (max_retakes 1). Look at the OODS, then resume the run")
    assert bench.observatory.camera.taken("BIAS") == 2


# Kills


FRAME_FACTS = (FrameIntended, FrameTaken, FrameAbsent, FrameSettled, FrameGivenUp)
STORIES: dict[str, tuple[str, dict[str, Any], dict[str, list[int]]]] = {
    "a bias is lost": ("BIAS", {"n_bias": 3}, {"BIAS 2": [4]}),
    "two biases are lost": ("BIAS", {"n_bias": 3}, {"BIAS 1": [0], "BIAS 3": [4]}),
    "a retake is lost": ("BIAS", {"n_bias": 2}, {"BIAS 2": [0], "BIAS 3": [4]}),
    "the first of a pair is lost": ("FLAT", {"do_ptc": True}, {"FLAT 1": [0]}),
    "the second of a pair is lost": ("FLAT", {"do_ptc": True}, {"FLAT 4": [0]}),
    "both of a pair are lost": ("FLAT", {"do_ptc": True}, {"FLAT 1": [0], "FLAT 2": [4]}),
    "the first of a new pair is lost": ("FLAT", {"do_ptc": True}, {"FLAT 1": [0], "FLAT 5": [4]}),
    "the second of a new pair is lost": ("FLAT", {"do_ptc": True}, {"FLAT 1": [0], "FLAT 6": [4]}),
}


def begin_story(make_bench, story: str) -> tuple[str, Any]:
    calib_type, options, lost = STORIES[story]
    bench = next_process(make_bench(**options, **QUICK))
    bench.observatory.camera.arrive = losing(bench, lost)
    return calib_type, bench


def check_outcome(bench: Any, calib_type: str, exposures: int) -> None:
    """Check that all frames are good, all exposures known, and no more taken than without a kill."""
    history = bench.context.history
    used = history.used(CalibType[calib_type])
    planned = bench.context.plan.sequences[CalibType[calib_type]].frames
    assert sorted(one.exposure_time_s for one in used) == sorted(one.exposure_time_s for one in planned)
    taken = bench.observatory.world.exposures
    assert all((one.exposure_id, detector) in bench.observatory.world.raws for one in used for detector in (0, 1, 4))
    assert history.known_exposures == set(taken) and history.stray_frames == ()
    assert all(one.exposure_time_s == taken[one.exposure_id].exposure_time_s for one in history.frames.values())
    assert len(taken) <= exposures
    if calib_type == "FLAT":
        assert bench.context.flat_pairs == 2


@pytest.mark.parametrize("story", STORIES)
async def test_retakes_go_on_after_a_kill_at_any_fact(make_bench, story: str) -> None:
    calib_type, undisturbed = begin_story(make_bench, story)
    assert not await live(undisturbed, calib_type)
    exposures = len(undisturbed.observatory.world.exposures)
    check_outcome(undisturbed, calib_type, exposures)
    for number in range(2, len(undisturbed.record.entries) + 1):
        for before in (True, False):
            _, bench = begin_story(make_bench, story)
            at_fact(bench, number, before)
            while await live(bench, calib_type):
                bench = next_process(bench)
            check_outcome(bench, calib_type, exposures)


def at_fact(bench: Any, number: int, before: bool) -> None:
    """Kill the process before or after it records the fact of this number."""
    entries = bench.record.entries
    if before:
        bench.record.dies_before = lambda fact: len(entries) + 1 == number
    else:
        bench.record.dies_after = lambda fact: len(entries) == number


@pytest.mark.parametrize("story", STORIES)
async def test_retakes_go_on_though_each_process_records_only_one_thing_about_frames(make_bench, story: str) -> None:
    calib_type, undisturbed = begin_story(make_bench, story)
    await live(undisturbed, calib_type)
    _, bench = begin_story(make_bench, story)
    killed: set[tuple[type, int]] = set()

    def once_for_each(before: bool) -> Callable[[Fact], bool]:
        def dies(fact: Fact) -> bool:
            if not isinstance(fact, FRAME_FACTS) or (before != isinstance(fact, FrameTaken)):
                return False
            key = (type(fact), fact.index)
            return key not in killed and not killed.add(key)

        return dies

    lives = 0
    while True:
        bench.record.dies_before, bench.record.dies_after = once_for_each(True), once_for_each(False)
        if not await live(bench, calib_type):
            break
        bench, lives = next_process(bench), lives + 1
    assert lives == len(killed) > 3 * len(bench.context.history.frames)
    check_outcome(bench, calib_type, len(undisturbed.observatory.world.exposures))
