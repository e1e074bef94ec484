# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every file of every used frame is accounted for."""

from __future__ import annotations

import asyncio

import pytest
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.record.events import ImageIngested
from lsst.ts.comcamcalib.record.facts import FrameGivenUp, FrameIntended, FrameSettled, FrameTaken
from support.arrivals import QUICK, losing, published
from support.mortal import both
from support.world import FIRST_EXPOSURE, Exposure


async def test_all_files_arrive_and_butler_is_not_asked(make_bench) -> None:
    bench = make_bench(n_bias=3)
    assert (await both(bench, "BIAS"))[1] == "All files of 3 frames are in the repository"
    assert published(bench) == [(1, 3, 0, ""), (2, 3, 0, ""), (3, 3, 0, "")]
    assert bench.observatory.repository.looks == []


async def test_notices_may_come_before_the_run_knows_the_frame(make_bench) -> None:
    bench = make_bench(n_bias=1)
    bench.observatory.oods.ingest(FIRST_EXPOSURE, range(9))
    bench.observatory.camera.arrive = lambda exposure: None
    assert (await both(bench, "BIAS"))[1] == "All files of 1 frames are in the repository"


async def test_only_the_detectors_in_use_are_waited_for(make_bench) -> None:
    bench = make_bench(n_bias=2, detectors=[3, 5])
    bench.observatory.camera.arrive = lambda exposure: bench.observatory.oods.ingest(exposure.exposure_id, [5, 3])
    await both(bench, "BIAS")
    assert published(bench) == [(1, 2, 0, ""), (2, 2, 0, "")]


async def test_files_of_discarded_frames_are_not_waited_for(make_bench) -> None:
    bench = make_bench(n_bias=1, n_discard_bias=1)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": range(9)})
    assert (await both(bench, "BIAS"))[1] == "All files of 1 frames are in the repository"
    assert published(bench) == [(2, 3, 0, "")]


async def test_files_of_other_peoples_exposures_do_not_count(make_bench) -> None:
    bench = make_bench(n_bias=1, max_retakes=0, **QUICK)
    bench.observatory.camera.arrive = lambda exposure: bench.observatory.oods.ingest(exposure.exposure_id + 1, range(9))
    assert isinstance((await both(bench, "BIAS"))[1], StageError)
    assert published(bench) == [(1, 0, 0, "R22_S00,R22_S01,R22_S11")]


async def test_file_that_only_butler_knows_of_is_found(make_bench) -> None:
    bench = make_bench(n_bias=1, **QUICK)
    bench.observatory.camera.arrive = lambda exposure: bench.observatory.oods.ingest(
        exposure.exposure_id, range(9), silently=True
    )
    begin = asyncio.get_running_loop().time()
    assert (await both(bench, "BIAS"))[1] == "All files of 1 frames are in the repository"
    assert 120 <= asyncio.get_running_loop().time() - begin < 121
    assert bench.observatory.repository.looks == [(FIRST_EXPOSURE,)]
    assert bench.observatory.camera.taken("BIAS") == 1


async def test_file_that_comes_late_ends_the_looking(make_bench) -> None:
    bench = make_bench(n_bias=1, oods_timeout=120, max_counter_archiver_check=1000)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [4]})
    loop = asyncio.get_running_loop()
    loop.call_later(500, bench.observatory.oods.ingest, FIRST_EXPOSURE, [4])
    begin = loop.time()
    assert (await both(bench, "BIAS"))[1] == "All files of 1 frames are in the repository"
    assert 500 <= loop.time() - begin < 501
    assert bench.observatory.camera.taken("BIAS") == 1


async def test_patience_is_for_each_frame_from_its_last_file_on(make_bench) -> None:
    """Files of one frame trickle in, one each 100 s, while another frame is silent from the beginning."""
    bench = make_bench(n_bias=2, oods_timeout=120, max_counter_archiver_check=0)
    bench.observatory.camera.arrive = lambda exposure: None
    loop = asyncio.get_running_loop()
    for number, detector in enumerate((0, 1, 4), start=1):
        loop.call_later(100 * number, bench.observatory.oods.ingest, FIRST_EXPOSURE, [detector])
    begin = loop.time()
    looked: list[float] = []
    look = bench.observatory.repository.raws_present

    async def raws_present(*args):
        looked.append(round(loop.time() - begin))
        if looked == [120]:
            bench.observatory.camera.arrive = bench.observatory.camera.all_files_arrive
        return await look(*args)

    bench.observatory.repository.raws_present = raws_present
    await both(bench, "BIAS")
    assert looked == [120], "only the silent frame was looked for"
    assert bench.observatory.repository.looks == [(FIRST_EXPOSURE + 1,)]
    assert [one[:2] for one in published(bench)] == [(2, 0), (3, 3), (1, 3)]


async def test_file_that_the_oods_failed_on_is_looked_for_at_once_and_taken_again(make_bench) -> None:
    bench = make_bench(n_bias=1)

    def arrive(exposure: Exposure) -> None:
        bench.observatory.oods.ingest(
            exposure.exposure_id, [0, 1] if exposure.exposure_id == FIRST_EXPOSURE else range(9)
        )
        if exposure.exposure_id == FIRST_EXPOSURE:
            bench.observatory.oods.notify(exposure.exposure_id, 4, ok=False, text="could not read header")

    bench.observatory.camera.arrive = arrive
    begin = asyncio.get_running_loop().time()
    await both(bench, "BIAS")
    assert asyncio.get_running_loop().time() - begin < 1
    assert bench.observatory.repository.looks == [(FIRST_EXPOSURE,)]
    assert published(bench) == [(1, 2, 1, "R22_S11"), (2, 3, 0, "")]
    assert bench.record.published(ImageIngested)[0].reason == "the OODS says: could not read header"


async def test_failure_that_butler_does_not_confirm_is_no_failure(make_bench) -> None:
    """The OODS failed first and then succeeded, and only the failure was heard."""
    bench = make_bench(n_bias=1)

    def arrive(exposure: Exposure) -> None:
        bench.observatory.oods.ingest(exposure.exposure_id, [0, 1])
        bench.observatory.oods.ingest(exposure.exposure_id, [4], silently=True)
        bench.observatory.oods.notify(exposure.exposure_id, 4, ok=False, text="locked")

    bench.observatory.camera.arrive = arrive
    await both(bench, "BIAS")
    assert published(bench) == [(1, 3, 0, "")]
    assert bench.observatory.camera.taken("BIAS") == 1


async def test_failure_that_names_no_file_is_named_with_the_loss(make_bench) -> None:
    bench = make_bench(n_bias=1, max_retakes=0, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [0]})
    bench.observatory.oods.notify(None, None, ok=False, text="UNDEF: no header at all")
    error = (await both(bench, "BIAS"))[1]
    assert "the OODS also reported failures without naming a file: UNDEF: no header at all" in str(error)


async def test_two_types_at_the_same_time_do_not_take_each_others_news(make_bench) -> None:
    """All files come as single notices, in turns for both types; nothing else ends a wait but the end of patience."""
    bench = make_bench(n_bias=3, n_dark=3, max_retakes=0)
    waiting: list[tuple[int, int]] = []
    bench.observatory.camera.arrive = lambda exposure: waiting.extend((exposure.exposure_id, one) for one in (0, 1, 4))
    tasks = [asyncio.create_task(both(bench, name)) for name in ("BIAS", "DARK")]
    await bench.record.until(lambda history: len(history.known_exposures) == 6)
    for exposure_id, detector in sorted(waiting, key=lambda file: file[1]):
        bench.observatory.oods.ingest(exposure_id, [detector])
        await asyncio.sleep(0)
    results = await asyncio.gather(*tasks)
    assert [reason for _, reason in results] == ["All files of 3 frames are in the repository"] * 2
    assert bench.observatory.repository.looks == []


async def test_butler_that_can_not_be_asked_for_long_fails_the_stage_and_gives_up_no_frame(make_bench) -> None:
    bench = make_bench(n_bias=1, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [0]})
    bench.observatory.repository.errors["raws_present"] = "The repository is not there"
    error = (await both(bench, "BIAS"))[1]
    assert str(error) == (
        "Whether the missing files are in the repository could not be checked 10 times in a row: The repository is not "
        "there"
    )
    assert bench.observatory.camera.taken("BIAS") == 1


async def test_acquisition_that_fails_half_way_fails_the_ingest_but_its_frames_are_accounted_for(make_bench) -> None:
    bench = make_bench(n_bias=4)
    bench.observatory.camera.errors["BIAS", 3] = "CCCamera went to FAULT"
    taken, error = await both(bench, "BIAS")
    assert isinstance(taken, StageError)
    assert str(error) == "There are only 2 of 4 BIAS frames, because the acquisition ended early"
    assert published(bench) == [(1, 3, 0, ""), (2, 3, 0, "")]


async def test_what_is_waited_for_is_named_with_its_limit(make_bench) -> None:
    bench = make_bench(n_bias=1, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [0]})
    await both(bench, "BIAS")
    waits = [wait for wait in bench.record.waits if wait.who == "BIAS.INGEST"]
    assert (waits[0].for_what, waits[0].limit_s) == ("the next frame", None)
    quiet = next(wait for wait in waits if "files of" in wait.for_what)
    assert quiet.for_what == "files of CC_O_20261122_000001"
    assert quiet.limit_s == pytest.approx(120, abs=1)


# After an interruption


def frames_taken(bench, number: int) -> None:
    """Record that the frames of the biases were taken before, without their files."""
    for index in range(1, number + 1):
        one = bench.observatory.world.expose("BIAS", 0.0, "20261122-001-BIAS")
        bench.record.put(FrameIntended(calib_type=CalibType.BIAS, index=index, exposure_time_s=0.0))
        bench.record.put(
            FrameTaken(
                calib_type=CalibType.BIAS, index=index, exposure_id=one.exposure_id, obs_id=one.obs_id, taken_s=1.8e9
            )
        )


async def test_files_that_arrived_while_nobody_listened_are_found_at_once(make_bench) -> None:
    bench = make_bench(n_bias=3, **QUICK)
    frames_taken(bench, 3)
    for number in range(3):
        bench.observatory.oods.ingest(FIRST_EXPOSURE + number, range(9), silently=True)
    begin = asyncio.get_running_loop().time()
    assert (await both(bench, "BIAS"))[1] == "All files of 3 frames are in the repository"
    assert asyncio.get_running_loop().time() - begin < 1
    assert published(bench) == [(1, 3, 0, ""), (2, 3, 0, ""), (3, 3, 0, "")]


async def test_files_of_a_frame_that_is_found_are_found_at_once(make_bench) -> None:
    bench = make_bench(n_bias=2, **QUICK)
    bench.observatory.world.expose("BIAS", 0.0, "20261122-001-BIAS")
    bench.record.put(FrameIntended(calib_type=CalibType.BIAS, index=1, exposure_time_s=0.0))
    bench.observatory.oods.ingest(FIRST_EXPOSURE, range(9), silently=True)
    begin = asyncio.get_running_loop().time()
    assert (await both(bench, "BIAS"))[1] == "All files of 2 frames are in the repository"
    assert asyncio.get_running_loop().time() - begin < 2
    assert sorted(published(bench)) == [(1, 3, 0, ""), (2, 3, 0, "")]


async def test_files_of_before_that_are_still_on_their_way_get_their_patience(make_bench) -> None:
    bench = make_bench(n_bias=1, **QUICK)
    frames_taken(bench, 1)
    loop = asyncio.get_running_loop()
    begin = loop.time()
    loop.call_later(119, bench.observatory.oods.ingest, FIRST_EXPOSURE, range(9))
    assert (await both(bench, "BIAS"))[1] == "All files of 1 frames are in the repository"
    assert 119 <= loop.time() - begin < 120
    assert bench.observatory.repository.looks == [(FIRST_EXPOSURE,)]
    assert bench.observatory.camera.requests == []


async def test_frame_that_was_settled_before_is_not_looked_for_again(make_bench) -> None:
    bench = make_bench(n_bias=2, **QUICK)
    frames_taken(bench, 2)
    bench.observatory.oods.ingest(FIRST_EXPOSURE + 1, range(9), silently=True)
    bench.record.put(FrameSettled(calib_type=CalibType.BIAS, index=1, detectors_ingested=3, detectors_failed=0))
    assert (await both(bench, "BIAS"))[1] == "All files of 2 frames are in the repository"
    assert bench.observatory.repository.looks == [(FIRST_EXPOSURE + 1,)]


async def test_frame_that_lacks_files_and_was_not_given_up_yet_is_not_used(make_bench) -> None:
    """The process was killed between the two facts."""
    bench = make_bench(n_bias=1, **QUICK)
    frames_taken(bench, 1)
    bench.observatory.oods.ingest(FIRST_EXPOSURE, [0, 1], silently=True)
    bench.record.put(
        FrameSettled(calib_type=CalibType.BIAS, index=1, detectors_ingested=2, detectors_failed=0, missing=(4,))
    )
    reason = (await both(bench, "BIAS"))[1]
    assert reason == "All files of 1 frames are in the repository, 1 of them taken again"
    assert [one.index for one in bench.record.of(FrameGivenUp)] == [1]
    assert bench.context.history.exposure_ids(CalibType.BIAS) == (FIRST_EXPOSURE + 1,)


async def test_frame_that_lacked_files_is_good_if_they_have_come_meanwhile(make_bench) -> None:
    bench = make_bench(n_bias=1, **QUICK)
    frames_taken(bench, 1)
    bench.observatory.oods.ingest(FIRST_EXPOSURE, range(9), silently=True)
    bench.record.put(
        FrameSettled(calib_type=CalibType.BIAS, index=1, detectors_ingested=2, detectors_failed=0, missing=(4,))
    )
    assert (await both(bench, "BIAS"))[1] == "All files of 1 frames are in the repository"
    assert published(bench)[-1] == (1, 3, 0, "")
    assert bench.observatory.camera.requests == [] and bench.record.of(FrameGivenUp) == []


async def test_stray_exposure_of_the_group_is_not_waited_for(make_bench) -> None:
    bench = make_bench(n_bias=1, **QUICK)
    bench.record.put(FrameIntended(calib_type=CalibType.BIAS, index=1, exposure_time_s=0.0))
    for _ in range(2):
        bench.observatory.world.expose("BIAS", 0.0, "20261122-001-BIAS")
    bench.observatory.oods.ingest(FIRST_EXPOSURE, range(9))
    bench.observatory.oods.ingest(FIRST_EXPOSURE + 1, [3])
    assert (await both(bench, "BIAS"))[1] == "All files of 1 frames are in the repository"
    assert published(bench) == [(1, 3, 0, "")]
    assert bench.observatory.camera.requests == []
