# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Losses that are no chance are recognised; then nothing is taken again in vain."""

from __future__ import annotations

import asyncio

from lsst.ts.comcamcalib.errors import StageError
from support.arrivals import QUICK, losing, never_from
from support.mortal import both
from support.world import FIRST_EXPOSURE


async def test_detector_that_never_delivers_costs_no_retake_and_the_line_for_the_next_run_is_proposed(
    make_bench,
) -> None:
    bench = make_bench(n_bias=3, n_dark=3, detectors=[0, 1, 4, 7], **QUICK)
    bench.observatory.camera.arrive = never_from(bench, [4])
    error = (await both(bench, "BIAS"))[1]
    assert isinstance(error, StageError)
    assert str(error).endswith(
        "This is not random: no file of R22_S11 has arrived for the last 3 BIAS frames, so no frame is taken again. "
        "Find out why (its readout board, the file transfer, the OODS) and resume the run, or start another run "
        "without it: detectors: [0, 1, 7]"
    )
    assert bench.observatory.camera.taken("BIAS") == 3
    # The next type need not find it out for itself.
    error = (await both(bench, "DARK"))[1]
    assert str(error).endswith("detectors: [0, 1, 7]")
    assert bench.observatory.camera.taken("DARK") == 3


async def test_detector_that_has_recovered_by_the_next_type_gets_its_retake(make_bench) -> None:
    bench = make_bench(n_bias=2, n_dark=3, **QUICK)
    bench.observatory.camera.arrive = never_from(bench, [4])
    await both(bench, "BIAS")
    bench.observatory.camera.arrive = losing(bench, {"DARK 3": [4]})
    reason = (await both(bench, "DARK"))[1]
    assert reason == "All files of 3 frames are in the repository, 1 of them taken again"


async def test_each_detector_that_is_named_has_delivered_nothing_of_so_many_frames(make_bench) -> None:
    bench = make_bench(n_bias=4, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 2": [4], "BIAS 3": [4, 1], "BIAS 4": [4, 1]})
    error = (await both(bench, "BIAS"))[1]
    assert "no file of R22_S01, R22_S11 has arrived for the last 2 BIAS frames" in str(error)
    assert str(error).endswith("detectors: [0]"), "the next run must not fail by the other one"


async def test_single_frame_of_the_next_type_is_enough_for_a_detector_that_is_known(make_bench) -> None:
    bench = make_bench(n_bias=2, n_dark=1, **QUICK)
    bench.observatory.camera.arrive = never_from(bench, [4])
    await both(bench, "BIAS")
    error = (await both(bench, "DARK"))[1]
    assert "no file of R22_S11 has arrived for the last DARK frame, as of earlier ones, so" in str(error)
    assert bench.observatory.camera.taken("DARK") == 1


async def test_detector_that_dies_in_the_middle_of_a_sequence_is_recognised_too(make_bench) -> None:
    bench = make_bench(n_bias=5, **QUICK)
    bench.observatory.camera.arrive = never_from(bench, [1], since=4)
    error = (await both(bench, "BIAS"))[1]
    assert "no file of R22_S01 has arrived for the last 2 BIAS frames" in str(error)
    assert "detectors: [0, 4]" in str(error)
    assert bench.observatory.camera.taken("BIAS") == 5


async def test_single_frame_is_taken_again_once_before_a_detector_counts_as_dead(make_bench) -> None:
    bench = make_bench(n_bias=1, max_retakes=5, **QUICK)
    bench.observatory.camera.arrive = never_from(bench, [0])
    error = (await both(bench, "BIAS"))[1]
    assert "detectors: [1, 4]" in str(error)
    assert bench.observatory.camera.taken("BIAS") == 2


async def test_dead_detector_is_found_among_losses_at_random(make_bench) -> None:
    bench = make_bench(n_bias=2, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [4, 0], "BIAS 2": [4]})
    error = (await both(bench, "BIAS"))[1]
    assert "no file of R22_S11 has arrived for the last 2 BIAS frames" in str(error)
    assert "detectors: [0, 1]" in str(error)
    assert bench.observatory.camera.taken("BIAS") == 2


async def test_same_detector_lost_now_and_then_is_chance(make_bench) -> None:
    bench = make_bench(n_bias=3, **QUICK)
    bench.observatory.camera.arrive = losing(bench, {"BIAS 1": [4], "BIAS 3": [4]})
    reason = (await both(bench, "BIAS"))[1]
    assert reason == "All files of 3 frames are in the repository, 2 of them taken again"


async def test_when_nothing_arrives_at_all_no_detectors_are_proposed(make_bench) -> None:
    bench = make_bench(n_bias=2, **QUICK)
    bench.observatory.camera.arrive = lambda exposure: None
    error = (await both(bench, "BIAS"))[1]
    assert "For the last 2 BIAS frames, no file of any detector in use has arrived" in str(error)
    assert "Check CCOODS" in str(error)
    assert "detectors: [" not in str(error)
    assert bench.observatory.camera.taken("BIAS") == 2


async def test_nothing_is_taken_again_while_the_oods_is_not_well_and_the_failure_says_so(make_bench) -> None:
    bench = make_bench(n_bias=1, **QUICK)
    bench.observatory.camera.arrive = lambda exposure: None
    bench.observatory.components.ill = {"CCOODS": "is in FAULT", "OCPS:2": "is in STANDBY"}
    error = (await both(bench, "BIAS"))[1]
    assert str(error).endswith(
        "No frame is taken again until this is repaired: CCOODS is in FAULT: enable it. Then resume the run"
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
    reason = (await both(bench, "BIAS"))[1]
    assert reason == "All files of 1 frames are in the repository"
