# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Frames are taken one by one; what the camera began is known to its end."""

from __future__ import annotations

import asyncio

import pytest
from lsst.ts.comcamcalib.enums import CalibType, RunState, StageState
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.record.events import ImageTaken
from lsst.ts.comcamcalib.record.facts import FrameIntended, FrameTaken, RunMoved
from lsst.ts.comcamcalib.stages.acquire import acquire, expose
from support.mortal import kill, next_process
from support.services import Gate


async def test_all_frames_are_taken_in_order_and_recorded(make_bench) -> None:
    bench = make_bench(n_discard_dark=1, program="CALIB", note="hello")
    reason = await acquire(bench.stage("DARK.ACQUIRE"), bench.context)
    assert reason == "3 frames were taken"
    images = bench.record.published(ImageTaken)
    assert [(image.image_index, image.images_in_sequence, image.discarded) for image in images] == [
        (1, 3, True),
        (2, 3, False),
        (3, 3, False),
    ]
    assert {image.image_type for image in images} == {CalibType.DARK}
    first = bench.observatory.camera.requests[0]
    assert (first.image_type, first.exposure_time_s, first.group_id) == ("DARK", 30.0, "20261122-001-DARK")
    assert (first.program, first.note) == ("CALIB", "hello")
    assert bench.context.history.exposure_ids(CalibType.DARK) == tuple(image.exposure_id for image in images[1:])


async def test_frame_that_can_not_be_taken_ends_the_sequence_and_is_named(make_bench) -> None:
    bench = make_bench(n_bias=5)
    bench.observatory.camera.errors["BIAS", 3] = "CCCamera went to FAULT"
    with pytest.raises(StageError, match="BIAS frame 3 of 5 was not taken: CCCamera went to FAULT"):
        await acquire(bench.stage("BIAS.ACQUIRE"), bench.context)
    assert len(bench.context.history.taken(CalibType.BIAS)) == 2
    assert bench.observatory.camera.taken("BIAS") == 3
    assert bench.context.history.frames[CalibType.BIAS, 3].open, "it may have been taken all the same"


async def test_filter_is_set_before_the_flats_and_only_then(make_bench) -> None:
    bench = make_bench(filter="i_06")
    for name in ("BIAS", "DARK", "FLAT"):
        await acquire(bench.stage(f"{name}.ACQUIRE"), bench.context)
    assert bench.observatory.camera.filters == ["i_06"]


async def test_filter_that_is_not_there_fails_the_flats_before_any_is_taken(make_bench) -> None:
    bench = make_bench(filter="x")
    bench.observatory.camera.filter_error = "The camera has no filter x; it has r_03."
    with pytest.raises(StageError, match=r"The filter for the flats could not be put in place: .* it has r_03"):
        await acquire(bench.stage("FLAT.ACQUIRE"), bench.context)
    assert bench.observatory.camera.taken("FLAT") == 0
    assert bench.context.history.frames_of(CalibType.FLAT) == []


async def test_pause_is_made_between_exposures_only(make_bench) -> None:
    bench = make_bench(n_bias=3, wait_between_exposures=100)
    loop = asyncio.get_running_loop()
    begin = loop.time()
    await acquire(bench.stage("BIAS.ACQUIRE"), bench.context)
    assert 200 <= loop.time() - begin < 210
    assert [wait.limit_s for wait in bench.record.waits if "pause" in wait.for_what] == [100.0, 100.0]


async def test_every_wait_for_a_frame_is_named_with_its_limit(make_bench) -> None:
    bench = make_bench()
    await acquire(bench.stage("DARK.ACQUIRE"), bench.context)
    assert [(wait.who, wait.for_what) for wait in bench.record.waits] == [
        ("DARK.ACQUIRE", "DARK frame 1 of 2, 30 s"),
        ("DARK.ACQUIRE", "DARK frame 2 of 2, 30 s"),
    ]
    assert all(wait.limit_s == 30 + 120 + 2 * 30 for wait in bench.record.waits)


async def test_one_frame_at_a_time_whoever_wants_it(make_bench) -> None:
    bench = make_bench(n_bias=4, n_dark=4)
    retake = FrameIntended(calib_type=CalibType.BIAS, index=5, exposure_time_s=0.0, replaces=1)
    await asyncio.gather(
        acquire(bench.stage("BIAS.ACQUIRE"), bench.context),
        acquire(bench.stage("DARK.ACQUIRE"), bench.context),
        expose(retake, "BIAS.INGEST", bench.context),
    )
    assert len(bench.observatory.camera.requests) == 9
    assert bench.observatory.camera.most_at_once == 1


async def test_cancelled_acquisition_waits_for_the_exposure_in_progress_and_knows_it(make_bench) -> None:
    bench = make_bench(n_bias=3)
    gate = bench.observatory.camera.gates["BIAS", 2] = Gate()
    task = bench.start(acquire(bench.stage("BIAS.ACQUIRE"), bench.context))
    await gate.until_reached()
    task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done(), "the exposure is still in progress"
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(bench.record.published(ImageTaken)) == 2
    assert bench.observatory.camera.taken("BIAS") == 2


async def test_interrupted_acquisition_does_not_wait_for_the_exposure(make_bench) -> None:
    bench = make_bench(n_bias=3)
    gate = bench.observatory.camera.gates["BIAS", 2] = Gate()
    task = bench.start(acquire(bench.stage("BIAS.ACQUIRE"), bench.context))
    await gate.until_reached()
    bench.context.finish_exposure = False
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bench.done(task)
    assert len(bench.record.published(ImageTaken)) == 1


async def test_exposure_in_progress_that_fails_during_the_cancelling_is_still_a_cancelling(make_bench) -> None:
    bench = make_bench(n_bias=3)
    gate = bench.observatory.camera.gates["BIAS", 1] = Gate()
    bench.observatory.camera.errors["BIAS", 1] = "no endReadout came"
    task = bench.start(acquire(bench.stage("BIAS.ACQUIRE"), bench.context))
    await gate.until_reached()
    task.cancel()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.record.of(FrameTaken) == []


async def test_no_further_exposure_is_taken_after_a_failure_with_stop(make_bench) -> None:
    bench = make_bench(n_bias=3, on_failure="stop")
    gate = bench.observatory.camera.gates["BIAS", 1] = Gate()
    task = bench.start(acquire(bench.stage("BIAS.ACQUIRE"), bench.context))
    await gate.until_reached()
    bench.record.move("DARK.GENERATE", StageState.FAILED)
    gate.open()
    with pytest.raises(StageError, match=r"No further exposure was taken, because DARK.GENERATE failed and on_failure"):
        await task
    assert len(bench.record.published(ImageTaken)) == len(bench.record.of(FrameIntended)) == 1


async def test_frame_that_waits_for_the_camera_is_not_taken_after_a_stop(make_bench) -> None:
    bench = make_bench()
    gate = bench.observatory.camera.gates["BIAS", 1] = Gate()
    first = bench.start(acquire(bench.stage("BIAS.ACQUIRE"), bench.context))
    await gate.until_reached()
    second = bench.start(acquire(bench.stage("DARK.ACQUIRE"), bench.context))
    await asyncio.sleep(0)
    bench.record.put(RunMoved(state=RunState.ABORTING, reason="Aborted by op@console"))
    gate.open()
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert all(isinstance(result, StageError) for result in results)
    assert bench.observatory.camera.taken("DARK") == 0


async def test_resumed_acquisition_takes_only_what_is_missing(make_bench) -> None:
    bench = make_bench(n_bias=5)
    bench.observatory.camera.errors["BIAS", 3] = "CCCamera went to FAULT"
    with pytest.raises(StageError):
        await acquire(bench.stage("BIAS.ACQUIRE"), bench.context)
    resumed = next_process(bench)
    reason = await acquire(resumed.stage("BIAS.ACQUIRE"), resumed.context)
    assert reason == "5 frames were taken, 2 of them before the run was interrupted"
    # The failed one was asked for twice, the two before it once.
    assert bench.observatory.camera.taken("BIAS") == 6
    assert len(bench.observatory.world.of_kind("BIAS")) == 5
    frames = resumed.context.history.taken(CalibType.BIAS)
    assert [frame.index for frame in frames] == [1, 2, 3, 4, 5]
    assert len({frame.exposure_id for frame in frames}) == 5


async def test_acquisition_that_was_complete_takes_nothing_when_it_is_resumed(make_bench) -> None:
    bench = make_bench(n_flat=4, filter="i_06")
    await acquire(bench.stage("FLAT.ACQUIRE"), bench.context)
    resumed = next_process(bench)
    reason = await acquire(resumed.stage("FLAT.ACQUIRE"), resumed.context)
    assert reason == "4 frames were taken, 4 of them before the run was interrupted"
    assert bench.observatory.camera.taken("FLAT") == 4
    assert bench.observatory.camera.filters == ["i_06"], "nothing is to be taken, so no filter is changed"


async def test_filter_is_put_in_place_again_for_the_rest_of_the_flats(make_bench) -> None:
    """Somebody may have changed it meanwhile."""
    bench = make_bench(n_flat=4, filter="i_06")
    bench.observatory.camera.errors["FLAT", 3] = "CCCamera went to FAULT"
    with pytest.raises(StageError):
        await acquire(bench.stage("FLAT.ACQUIRE"), bench.context)
    bench.observatory.world.filter = "g_01"
    resumed = next_process(bench)
    await acquire(resumed.stage("FLAT.ACQUIRE"), resumed.context)
    assert bench.observatory.camera.filters == ["i_06", "i_06"]
    assert {bench.observatory.world.filters[one.exposure_id] for one in bench.observatory.world.of_kind("FLAT")} == {
        "i_06"
    }


async def test_pause_is_made_before_the_first_frame_after_an_interruption_too(make_bench) -> None:
    """An interruption may be shorter than the pause."""
    bench = make_bench(n_bias=4, wait_between_exposures=100)
    bench.observatory.camera.errors["BIAS", 3] = "CCCamera went to FAULT"
    with pytest.raises(StageError):
        await acquire(bench.stage("BIAS.ACQUIRE"), bench.context)
    resumed = next_process(bench)
    await acquire(resumed.stage("BIAS.ACQUIRE"), resumed.context)
    assert len([wait for wait in resumed.record.waits if "pause" in wait.for_what]) == 2
    assert len(bench.observatory.world.of_kind("BIAS")) == 4


@pytest.mark.parametrize("number", range(1, 7))
@pytest.mark.parametrize("when", ["before it is recorded", "after it is recorded"])
async def test_killed_at_any_fact_each_frame_is_taken_once(make_bench, number: int, when: str) -> None:
    bench = next_process(make_bench(n_dark=3))
    at = len(bench.record.entries) + number

    def dies(fact) -> bool:
        return len(bench.record.entries) + (when == "before it is recorded") == at

    setattr(bench.record, "dies_before" if when == "before it is recorded" else "dies_after", dies)
    task = bench.start(acquire(bench.stage("DARK.ACQUIRE"), bench.context))
    await bench.record.died.wait()
    await kill(bench, task)
    resumed = next_process(bench)
    await acquire(resumed.stage("DARK.ACQUIRE"), resumed.context)
    taken = resumed.context.history.taken(CalibType.DARK)
    assert [frame.index for frame in taken] == [1, 2, 3]
    assert [frame.exposure_id for frame in taken] == [
        one.exposure_id for one in bench.observatory.world.of_kind("DARK")
    ]
    assert bench.observatory.camera.taken("DARK") == 3


async def test_exposures_of_an_earlier_run_of_the_same_name_are_never_used(make_bench) -> None:
    """Run identifiers are counted anew after the journal was moved away, and with them the group ids."""
    bench = make_bench(script_mode="BIAS")
    group = bench.context.plan.sequences[CalibType.BIAS].group_id
    earlier = bench.observatory.world.expose("BIAS", 0.0, group)
    bench.observatory.oods.ingest(earlier.exposure_id, [0])
    await acquire(bench.stage("BIAS.ACQUIRE"), bench.context)
    assert [one.exposure_id for one in bench.context.history.stray_frames] == [earlier.exposure_id]
    assert earlier.exposure_id not in bench.context.history.exposure_ids(CalibType.BIAS)
    assert len(bench.context.history.used(CalibType.BIAS)) == 2


async def test_nothing_is_taken_while_it_is_not_known_which_exposures_are_earlier_ones(make_bench) -> None:
    bench = make_bench(script_mode="BIAS")
    bench.observatory.repository.errors["exposures_of_group"] = "the database is down"
    with pytest.raises(StageError, match="the database is down"):
        await acquire(bench.stage("BIAS.ACQUIRE"), bench.context)
    assert bench.observatory.camera.requests == []
