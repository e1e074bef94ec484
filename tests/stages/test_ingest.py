# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every file of every used frame is accounted for; what is lost is taken again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

import pytest
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.plan.record import ImageIngested, ImageTaken
from lsst.ts.comcamcalib.stages.acquire import acquire
from lsst.ts.comcamcalib.stages.ingest import ingest
from support.services import Gate
from support.world import FIRST_EXPOSURE, Exposure

# Patient enough to be told apart from each other on the leaping clock (seconds).
QUICK = {"oods_timeout": 120, "max_counter_archiver_check": 5}


def losing(bench, lost: dict[str, Collection[int]]) -> Callable[[Exposure], None]:
    """Let all files arrive but those of (type and number from 1: detectors)."""

    def arrive(exposure: Exposure) -> None:
        number = len(bench.observatory.world.of_kind(exposure.kind))
        gone = lost.get(f"{exposure.kind} {number}", ())
        bench.observatory.oods.ingest(exposure.exposure_id, [one for one in range(9) if one not in gone])

    return arrive


async def take_and_ingest(bench, name: str) -> list[str | BaseException]:
    """Run both stages of a type side by side; return how each has ended."""
    tasks = [
        bench.start(acquire(bench.stage(f"{name}.ACQUIRE"), bench.context)),
        bench.start(ingest(bench.stage(f"{name}.INGEST"), bench.context)),
    ]
    async with asyncio.timeout(1e8):
        return await asyncio.gather(*tasks, return_exceptions=True)


def told(bench) -> list[tuple[int, int, int, str]]:
    """Return (number of the exposure from 1, ingested, failed, missing) of each imageIngested."""
    return [
        (one.exposure_id - FIRST_EXPOSURE + 1, one.detectors_ingested, one.detectors_failed, one.missing)
        for one in bench.record.of(ImageIngested)
    ]


async def test_all_files_arrive_and_butler_is_not_asked(make_bench) -> None:
    bench = make_bench(n_bias=3)
    assert (await take_and_ingest(bench, "BIAS"))[1] == "All files of 3 frames are in the repository"
    assert told(bench) == [(1, 3, 0, ""), (2, 3, 0, ""), (3, 3, 0, "")]
    assert bench.observatory.repository.asked == []


async def test_notices_may_come_before_the_run_knows_the_frame(make_bench) -> None:
    bench = make_bench(n_bias=1)
    bench.observatory.oods.ingest(FIRST_EXPOSURE, range(9))
    bench.observatory.camera.arrive = lambda exposure: None
    assert (await take_and_ingest(bench, "BIAS"))[1] == "All files of 1 frames are in the repository"


async def test_only_the_detectors_in_use_are_waited_for(make_bench) -> None:
    bench = make_bench(n_bias=2, detectors=[3, 5])
    bench.observatory.camera.arrive = lambda exposure: bench.observatory.oods.ingest(exposure.exposure_id, [5, 3])
    await take_and_ingest(bench, "BIAS")
    assert told(bench) == [(1, 2, 0, ""), (2, 2, 0, "")]


async def test_files_of_discarded_frames_are_not_waited_for(make_bench) -> None:
    bench = make_bench(n_bias=1, n_discard_bias=1)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": range(9)})
    assert (await take_and_ingest(bench, "BIAS"))[1] == "All files of 1 frames are in the repository"
    assert told(bench) == [(2, 3, 0, "")]


async def test_files_of_other_peoples_exposures_do_not_count(make_bench) -> None:
    bench = make_bench(n_bias=1, max_retakes=0, **QUICK)
    bench.observatory.camera.arrive = lambda exposure: bench.observatory.oods.ingest(exposure.exposure_id + 1, range(9))
    assert isinstance((await take_and_ingest(bench, "BIAS"))[1], StageError)
    assert told(bench) == [(1, 0, 0, "R22_S00,R22_S01,R22_S11")]


async def test_file_that_only_butler_knows_of_is_found(make_bench) -> None:
    bench = make_bench(n_bias=1, **QUICK)
    bench.observatory.camera.arrive = lambda exposure: bench.observatory.oods.ingest(
        exposure.exposure_id, range(9), silently=True
    )
    begin = asyncio.get_running_loop().time()
    assert (await take_and_ingest(bench, "BIAS"))[1] == "All files of 1 frames are in the repository"
    assert 120 <= asyncio.get_running_loop().time() - begin < 121
    assert bench.observatory.repository.looks == [(FIRST_EXPOSURE,)]
    assert bench.observatory.camera.taken("BIAS") == 1


async def test_silent_file_is_looked_for_again_and_again_then_taken_again(make_bench) -> None:
    bench = make_bench(n_bias=2, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [4]})
    begin = asyncio.get_running_loop().time()
    _, reason = await take_and_ingest(bench, "BIAS")
    assert reason == "All files of 2 frames are in the repository, 1 of them taken again"
    # 120 s of silence, and four pauses of a second between the five looks.
    assert 124 <= asyncio.get_running_loop().time() - begin < 125
    assert bench.observatory.repository.looks == [(FIRST_EXPOSURE,)] * 5
    assert told(bench) == [(2, 3, 0, ""), (1, 2, 0, "R22_S11"), (3, 3, 0, "")]
    assert bench.context.exposure_ids(CalibType.BIAS) == (FIRST_EXPOSURE + 1, FIRST_EXPOSURE + 2)
    lost = next(one for one in bench.record.of(ImageIngested) if one.missing)
    assert lost.reason == "no event reported them within 120 s, and Butler does not have them"
    retake = bench.record.of(ImageTaken)[-1]
    assert (retake.image_index, retake.images_in_sequence, retake.discarded) == (3, 3, False)


async def test_file_that_comes_late_ends_the_looking(make_bench) -> None:
    bench = make_bench(n_bias=1, oods_timeout=120, max_counter_archiver_check=1000)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [4]})
    loop = asyncio.get_running_loop()
    loop.call_later(500, bench.observatory.oods.ingest, FIRST_EXPOSURE, [4])
    begin = loop.time()
    assert (await take_and_ingest(bench, "BIAS"))[1] == "All files of 1 frames are in the repository"
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
    await take_and_ingest(bench, "BIAS")
    assert looked == [120], "only the silent frame was looked for"
    assert bench.observatory.repository.looks == [(FIRST_EXPOSURE + 1,)]
    assert [one[:2] for one in told(bench)] == [(2, 0), (3, 3), (1, 3)]


async def test_file_that_the_oods_failed_on_is_looked_for_at_once_and_taken_again(make_bench) -> None:
    bench = make_bench(n_bias=1)

    def arrive(exposure: Exposure) -> None:
        bench.observatory.oods.ingest(
            exposure.exposure_id, [0, 1] if exposure.exposure_id == FIRST_EXPOSURE else range(9)
        )
        if exposure.exposure_id == FIRST_EXPOSURE:
            bench.observatory.oods.tell(exposure.exposure_id, 4, ok=False, text="could not read header")

    bench.observatory.camera.arrive = arrive
    begin = asyncio.get_running_loop().time()
    await take_and_ingest(bench, "BIAS")
    assert asyncio.get_running_loop().time() - begin < 1
    assert bench.observatory.repository.looks == [(FIRST_EXPOSURE,)]
    assert told(bench) == [(1, 2, 1, "R22_S11"), (2, 3, 0, "")]
    assert bench.record.of(ImageIngested)[0].reason == "the OODS says: could not read header"


async def test_failure_that_butler_does_not_confirm_is_no_failure(make_bench) -> None:
    """The OODS failed first and then succeeded, and only the failure was heard."""
    bench = make_bench(n_bias=1)

    def arrive(exposure: Exposure) -> None:
        bench.observatory.oods.ingest(exposure.exposure_id, [0, 1])
        bench.observatory.oods.ingest(exposure.exposure_id, [4], silently=True)
        bench.observatory.oods.tell(exposure.exposure_id, 4, ok=False, text="locked")

    bench.observatory.camera.arrive = arrive
    await take_and_ingest(bench, "BIAS")
    assert told(bench) == [(1, 3, 0, "")]
    assert bench.observatory.camera.taken("BIAS") == 1


async def test_failure_that_names_no_file_is_told_with_the_loss(make_bench) -> None:
    bench = make_bench(n_bias=1, max_retakes=0, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [0]})
    bench.observatory.oods.tell(None, None, ok=False, text="UNDEF: no header at all")
    error = (await take_and_ingest(bench, "BIAS"))[1]
    assert "the OODS also reported failures without naming a file: UNDEF: no header at all" in str(error)


async def test_too_many_lost_frames_fail_the_stage_and_say_what_to_do(make_bench) -> None:
    bench = make_bench(n_bias=1, max_retakes=2, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [0], "BIAS 2": [1], "BIAS 3": [4]})
    taken, error = await take_and_ingest(bench, "BIAS")
    assert taken == "1 frames were taken"
    assert isinstance(error, StageError)
    assert str(error) == (
        "CC_O_20261122_000003 is lost (R22_S11 did not arrive in the repository: no event reported them within 120 s, "
        "and Butler does not have them), and 2 frames were taken again already (max_retakes 2). Look at the OODS, then "
        "start another run"
    )
    assert bench.observatory.camera.taken("BIAS") == 3
    assert bench.context.exposure_ids(CalibType.BIAS) == ()


# Losses that are no chance


def never_from(bench, detectors: Collection[int], since: int = 1) -> Callable[[Exposure], None]:
    """Let all files arrive but those of some detectors, from the frame of this number on."""

    def arrive(exposure: Exposure) -> None:
        number = exposure.exposure_id - FIRST_EXPOSURE + 1
        gone = detectors if number >= since else ()
        bench.observatory.oods.ingest(exposure.exposure_id, [one for one in range(9) if one not in gone])

    return arrive


async def test_detector_that_never_delivers_costs_no_retake_and_the_line_for_the_next_run_is_proposed(
    make_bench,
) -> None:
    bench = make_bench(n_bias=3, n_dark=3, detectors=[0, 1, 4, 7], **QUICK)
    bench.observatory.camera.arrive = never_from(bench, [4])
    error = (await take_and_ingest(bench, "BIAS"))[1]
    assert isinstance(error, StageError)
    assert str(error).endswith(
        "This is not random: no file of R22_S11 has arrived for the last 3 BIAS frames, so no frame is taken again. "
        "Find out why (its readout board, the file transfer, the OODS), or start another run without it: detectors: "
        "[0, 1, 7]"
    )
    assert bench.observatory.camera.taken("BIAS") == 3
    # The next type need not find it out for itself.
    error = (await take_and_ingest(bench, "DARK"))[1]
    assert str(error).endswith("detectors: [0, 1, 7]")
    assert bench.observatory.camera.taken("DARK") == 3


async def test_detector_that_has_recovered_by_the_next_type_gets_its_retake(make_bench) -> None:
    bench = make_bench(n_bias=2, n_dark=3, **QUICK)
    bench.observatory.camera.arrive = never_from(bench, [4])
    await take_and_ingest(bench, "BIAS")
    bench.observatory.camera.arrive = losing(bench, {"DARK 3": [4]})
    reason = (await take_and_ingest(bench, "DARK"))[1]
    assert reason == "All files of 3 frames are in the repository, 1 of them taken again"


async def test_each_detector_that_is_named_has_delivered_nothing_of_so_many_frames(make_bench) -> None:
    bench = make_bench(n_bias=4, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 2": [4], "BIAS 3": [4, 1], "BIAS 4": [4, 1]})
    error = (await take_and_ingest(bench, "BIAS"))[1]
    assert "no file of R22_S01, R22_S11 has arrived for the last 2 BIAS frames" in str(error)
    assert str(error).endswith("detectors: [0]"), "the next run must not fail by the other one"


async def test_single_frame_of_the_next_type_is_enough_for_a_detector_that_is_known(make_bench) -> None:
    bench = make_bench(n_bias=2, n_dark=1, **QUICK)
    bench.observatory.camera.arrive = never_from(bench, [4])
    await take_and_ingest(bench, "BIAS")
    error = (await take_and_ingest(bench, "DARK"))[1]
    assert "no file of R22_S11 has arrived for the last DARK frame, as of earlier ones, so" in str(error)
    assert bench.observatory.camera.taken("DARK") == 1


async def test_detector_that_dies_in_the_middle_of_a_sequence_is_recognised_too(make_bench) -> None:
    bench = make_bench(n_bias=5, **QUICK)
    bench.observatory.camera.arrive = never_from(bench, [1], since=4)
    error = (await take_and_ingest(bench, "BIAS"))[1]
    assert "no file of R22_S01 has arrived for the last 2 BIAS frames" in str(error)
    assert "detectors: [0, 4]" in str(error)
    assert bench.observatory.camera.taken("BIAS") == 5


async def test_single_frame_is_taken_again_once_before_a_detector_counts_as_dead(make_bench) -> None:
    bench = make_bench(n_bias=1, max_retakes=5, **QUICK)
    bench.observatory.camera.arrive = never_from(bench, [0])
    error = (await take_and_ingest(bench, "BIAS"))[1]
    assert "detectors: [1, 4]" in str(error)
    assert bench.observatory.camera.taken("BIAS") == 2


async def test_dead_detector_is_found_among_losses_at_random(make_bench) -> None:
    bench = make_bench(n_bias=2, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [4, 0], "BIAS 2": [4]})
    error = (await take_and_ingest(bench, "BIAS"))[1]
    assert "no file of R22_S11 has arrived for the last 2 BIAS frames" in str(error)
    assert "detectors: [0, 1]" in str(error)
    assert bench.observatory.camera.taken("BIAS") == 2


async def test_same_detector_lost_now_and_then_is_chance(make_bench) -> None:
    bench = make_bench(n_bias=3, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [4], "BIAS 3": [4]})
    reason = (await take_and_ingest(bench, "BIAS"))[1]
    assert reason == "All files of 3 frames are in the repository, 2 of them taken again"


async def test_when_nothing_arrives_at_all_no_detectors_are_proposed(make_bench) -> None:
    bench = make_bench(n_bias=2, **QUICK)
    bench.observatory.camera.arrive = lambda exposure: None
    error = (await take_and_ingest(bench, "BIAS"))[1]
    assert "For the last 2 BIAS frames, no file of any detector in use has arrived" in str(error)
    assert "Check CCOODS" in str(error)
    assert "detectors: [" not in str(error)
    assert bench.observatory.camera.taken("BIAS") == 2


async def test_nothing_is_taken_again_while_the_oods_is_not_well_and_the_failure_says_so(make_bench) -> None:
    bench = make_bench(n_bias=1, **QUICK)
    bench.observatory.camera.arrive = lambda exposure: None
    bench.observatory.components.ill = {"CCOODS": "is in FAULT", "OCPS:2": "is in STANDBY"}
    error = (await take_and_ingest(bench, "BIAS"))[1]
    assert str(error).endswith(
        "No frame is taken again until this is repaired: CCOODS is in FAULT: enable it. Then start another run"
    )
    assert bench.observatory.camera.taken("BIAS") == 1


async def test_oods_that_recovers_in_time_costs_nothing(make_bench) -> None:
    bench = make_bench(n_bias=1, **QUICK)
    bench.observatory.camera.arrive = lambda exposure: None
    bench.observatory.components.ill = {"CCOODS": "is in FAULT"}

    def recover() -> None:
        bench.observatory.components.ill.clear()
        bench.observatory.oods.ingest(FIRST_EXPOSURE, range(9))

    asyncio.get_running_loop().call_later(100, recover)
    reason = (await take_and_ingest(bench, "BIAS"))[1]
    assert reason == "All files of 1 frames are in the repository"


async def test_each_type_has_retakes_of_its_own(make_bench) -> None:
    bench = make_bench(n_bias=1, n_dark=1, max_retakes=1, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [0], "DARK 1": [0]})
    results = await asyncio.gather(take_and_ingest(bench, "BIAS"), take_and_ingest(bench, "DARK"))
    assert [reason for _, reason in results] == [
        "All files of 1 frames are in the repository, 1 of them taken again"
    ] * 2


async def test_two_types_at_the_same_time_do_not_take_each_others_news(make_bench) -> None:
    """All files come as single notices, in turns for both types; nothing else ends a wait but the end of patience."""
    bench = make_bench(n_bias=3, n_dark=3, max_retakes=0)
    waiting: list[tuple[int, int]] = []
    bench.observatory.camera.arrive = lambda exposure: waiting.extend((exposure.exposure_id, one) for one in (0, 1, 4))
    both = [asyncio.create_task(take_and_ingest(bench, name)) for name in ("BIAS", "DARK")]
    await bench.record.until(lambda record: len(record.of(ImageTaken)) == 6)
    for exposure_id, detector in sorted(waiting, key=lambda file: file[1]):
        bench.observatory.oods.ingest(exposure_id, [detector])
        await asyncio.sleep(0)
    results = await asyncio.gather(*both)
    assert [reason for _, reason in results] == ["All files of 3 frames are in the repository"] * 2
    assert bench.observatory.repository.looks == []


async def test_butler_that_can_not_be_asked_for_long_fails_the_stage_and_gives_up_no_frame(make_bench) -> None:
    bench = make_bench(n_bias=1, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [0]})
    bench.observatory.repository.errors["raws_present"] = "The repository is not there"
    error = (await take_and_ingest(bench, "BIAS"))[1]
    assert str(error) == (
        "Whether the missing files are in the repository could not be checked 10 times in a row: The repository is not "
        "there"
    )
    assert bench.observatory.camera.taken("BIAS") == 1


async def test_acquisition_that_fails_half_way_fails_the_ingest_but_its_frames_are_accounted_for(make_bench) -> None:
    bench = make_bench(n_bias=4)
    bench.observatory.camera.errors["BIAS", 3] = "CCCamera went to FAULT"
    taken, error = await take_and_ingest(bench, "BIAS")
    assert isinstance(taken, StageError)
    assert str(error) == "There are only 2 of 4 BIAS frames, because the acquisition ended early"
    assert told(bench) == [(1, 3, 0, ""), (2, 3, 0, "")]


async def test_nothing_is_taken_again_for_an_acquisition_that_failed(make_bench) -> None:
    bench = make_bench(n_bias=4, **QUICK)
    bench.observatory.camera.errors["BIAS", 3] = "CCCamera went to FAULT"
    bench.observatory.camera.arrive = losing(bench, {"BIAS 2": [1]})
    error = (await take_and_ingest(bench, "BIAS"))[1]
    assert str(error).endswith("; lost, and not taken again: CC_O_20261122_000002")
    assert bench.observatory.camera.taken("BIAS") == 3


async def test_frame_that_can_not_be_taken_again_fails_the_stage(make_bench) -> None:
    bench = make_bench(n_bias=1, **QUICK)
    bench.observatory.camera.arrive = lambda exposure: None
    bench.observatory.camera.errors["BIAS", 2] = "the camera is off"
    assert str((await take_and_ingest(bench, "BIAS"))[1]) == "BIAS frame 2 of 2 was not taken: the camera is off"


async def test_lost_frame_is_not_taken_again_after_a_stop(make_bench) -> None:
    bench = make_bench(n_bias=1, **QUICK)
    bench.observatory.camera.arrive = lambda exposure: None
    tasks = asyncio.create_task(take_and_ingest(bench, "BIAS"))
    await bench.record.until(lambda record: len(record.of(ImageTaken)) == 1)
    bench.context.no_more_exposures = "the run is being aborted"
    assert "No further exposure was taken, because the run is being aborted" in str((await tasks)[1])
    assert bench.observatory.camera.taken("BIAS") == 1


async def test_lost_flat_is_taken_again_together_with_its_partner(make_bench) -> None:
    """cp_pipe pairs only flats that follow each other: a single one at the end would find no partner."""
    bench = make_bench(do_ptc=True, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"FLAT 2": [0]})
    _, reason = await take_and_ingest(bench, "FLAT")
    assert reason == "All files of 4 frames are in the repository, 1 of them taken again"
    used = bench.context.frames[CalibType.FLAT].used
    assert [image.exposure_id - FIRST_EXPOSURE + 1 for image in used] == [3, 4, 5, 6]
    assert [image.exposure_time for image in used] == [2.0, 2.0, 1.0, 1.0]
    assert bench.context.flat_pairs == 2


async def test_pair_of_which_both_are_lost_is_taken_again_once(make_bench) -> None:
    bench = make_bench(do_gain_from_flat_pairs=True, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"FLAT 1": [0], "FLAT 2": [1]})
    await take_and_ingest(bench, "FLAT")
    assert bench.observatory.camera.taken("FLAT") == 6
    assert bench.context.flat_pairs == 2


async def test_pair_that_was_taken_again_and_is_lost_again_is_taken_a_third_time(make_bench) -> None:
    bench = make_bench(do_ptc=True, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"FLAT 1": [0], "FLAT 5": [4]})
    _, reason = await take_and_ingest(bench, "FLAT")
    assert reason == "All files of 4 frames are in the repository, 2 of them taken again"
    used = bench.context.frames[CalibType.FLAT].used
    assert [image.exposure_id - FIRST_EXPOSURE + 1 for image in used] == [3, 4, 7, 8]
    assert bench.context.flat_pairs == 2


async def test_pair_is_taken_again_only_when_no_other_flat_can_come_between(make_bench) -> None:
    bench = make_bench(do_ptc=True)
    gate = bench.observatory.camera.gates["FLAT", 4] = Gate()

    def arrive(exposure: Exposure) -> None:
        number = len(bench.observatory.world.of_kind("FLAT"))
        bench.observatory.oods.ingest(exposure.exposure_id, range(1, 9) if number == 1 else range(9))
        if number == 1:
            bench.observatory.oods.tell(exposure.exposure_id, 0, ok=False, text="no")

    bench.observatory.camera.arrive = arrive
    both = asyncio.create_task(take_and_ingest(bench, "FLAT"))
    await gate.until_reached()
    await bench.record.until(lambda record: any(one.missing for one in record.of(ImageIngested)))
    gate.open()
    assert (await both)[1] == "All files of 4 frames are in the repository, 1 of them taken again"
    times = [request.exposure_time_s for request in bench.observatory.camera.requests]
    assert times == [1.0, 1.0, 2.0, 2.0, 1.0, 1.0]


async def test_flat_without_need_of_a_partner_is_taken_again_alone(make_bench) -> None:
    bench = make_bench(**QUICK)
    bench.observatory.camera.arrive = losing(bench, {"FLAT 2": [0]})
    await take_and_ingest(bench, "FLAT")
    assert bench.observatory.camera.taken("FLAT") == 5


async def test_what_is_waited_for_is_told_with_its_limit(make_bench) -> None:
    bench = make_bench(n_bias=1, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [0]})
    await take_and_ingest(bench, "BIAS")
    waits = [wait for wait in bench.record.waits if wait.who == "BIAS.INGEST"]
    assert (waits[0].for_what, waits[0].limit_s) == ("the next frame", None)
    quiet = next(wait for wait in waits if "files of" in wait.for_what)
    assert quiet.for_what == "files of CC_O_20261122_000001"
    assert quiet.limit_s == pytest.approx(120, abs=1)


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
    await take_and_ingest(bench, "BIAS")
    waits = [wait.for_what for wait in bench.record.waits if wait.who == "BIAS.INGEST"]
    again = waits.index("the camera, which takes another frame of the run")
    assert waits[again + 1] == "BIAS frame 2 of 2, 0 s"
