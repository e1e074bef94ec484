# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The light of the first flats is looked at as soon as they are there; what can't be seen is not certain."""

from __future__ import annotations

import asyncio

import pytest
from lsst.ts.comcamcalib.enums import CalibType, StageState, Verdict
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.record.events import VerificationResult
from lsst.ts.comcamcalib.record.facts import FramesBlamed, StageMoved, VerdictGiven
from lsst.ts.comcamcalib.stages.acquire import acquire
from lsst.ts.comcamcalib.stages.ingest import ingest
from support.mortal import both, live, next_process
from support.services import Gate
from support.world import FIRST_EXPOSURE

FLATS = {"n_flat": 6, "exp_times_flat": 5}
ARRIVED = "All files of 6 frames are in the repository"


async def take_and_ingest(bench) -> str | BaseException:
    """Take all flats and see them arrive; return how the ingest has ended."""
    return (await both(bench, "FLAT"))[1]


async def test_good_light_is_looked_at_twice_and_nothing_is_said(make_bench) -> None:
    bench = make_bench(**FLATS)
    assert await take_and_ingest(bench) == ARRIVED
    assert bench.observatory.repository.asked.count("raw_levels") == 2 * 3
    assert bench.record.published(VerificationResult) == []
    assert bench.context.history.blamed == {}


@pytest.mark.parametrize(
    ("lamp", "words"),
    [(0.0, "lamp off"), (0.02, "too dark"), (2.0, "saturated")],
)
async def test_light_that_is_in_vain_is_published_at_once_and_the_run_goes_on(
    make_bench, caplog: pytest.LogCaptureFixture, lamp: float, words: str
) -> None:
    bench = make_bench(**FLATS)
    bench.observatory.world.lamp = lamp
    assert await take_and_ingest(bench) == ARRIVED
    (result,) = bench.record.published(VerificationResult)
    assert (result.calib_type, result.verdict, result.physical_filter) == (CalibType.FLAT, Verdict.FAILED, "r_03")
    assert (result.exposures_expected, result.exposures_verified, result.job_id) == (6, 0, "")
    assert result.reason.startswith("2 of 6 flats are in the repository, and ")
    assert words in result.reason and f"exposures {FIRST_EXPOSURE}, {FIRST_EXPOSURE + 1}" in result.reason
    assert bench.context.history.blamed == {CalibType.FLAT: result.reason}
    assert words in caplog.text


async def test_with_stop_the_ingest_fails_before_the_last_flat(make_bench) -> None:
    bench = make_bench(**FLATS, on_failure="stop")
    bench.observatory.world.lamp = 0.0
    gate = bench.observatory.camera.gates["FLAT", 4] = Gate()
    bench.start(acquire(bench.stage("FLAT.ACQUIRE"), bench.context))
    with pytest.raises(StageError, match=r"2 of 6 flats .* lamp off.* More flats will not help"):
        await bench.done(bench.start(ingest(bench.stage("FLAT.INGEST"), bench.context)))
    assert bench.observatory.camera.taken("FLAT") <= 4
    gate.open()


async def test_a_ramp_that_begins_in_the_dark_is_not_in_vain(make_bench) -> None:
    bench = make_bench(n_flat=6, exp_times_flat=[0.1, 0.1, 0.6, 0.6, 1, 1])
    assert await take_and_ingest(bench) == ARRIVED
    assert bench.record.published(VerificationResult) == []


async def test_a_lamp_that_goes_off_in_the_middle_is_seen_by_the_verification_only(make_bench) -> None:
    bench = make_bench(**FLATS)
    bench.observatory.world.lamp_of = {FIRST_EXPOSURE + 3: 0.0}
    assert await take_and_ingest(bench) == ARRIVED
    assert bench.record.published(VerificationResult) == []


async def test_a_raw_that_can_not_be_read_is_logged_and_the_run_goes_on(
    make_bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench = make_bench(**FLATS, on_failure="stop")
    bench.observatory.world.lamp = 0.0
    bench.observatory.repository.errors["raw_levels"] = "no formatter for raws"
    assert await take_and_ingest(bench) == ARRIVED
    assert bench.record.published(VerificationResult) == []
    assert "could not be checked before its verification: no formatter for raws" in caplog.text


async def test_a_raw_without_amplifiers_is_logged_and_the_run_goes_on(
    make_bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench = make_bench(**FLATS)
    bench.observatory.world.raw_levels = lambda exposure_id: {}
    assert await take_and_ingest(bench) == ARRIVED
    assert "have no amplifiers" in caplog.text


async def test_a_look_that_hangs_holds_nothing_up_for_long(make_bench, caplog: pytest.LogCaptureFixture) -> None:
    bench = make_bench(**FLATS)
    gate = bench.observatory.repository.gates["raw_levels"] = Gate()
    begin = asyncio.get_running_loop().time()
    assert await take_and_ingest(bench) == ARRIVED
    assert asyncio.get_running_loop().time() - begin < 62
    assert "could not be checked within 60 s" in caplog.text
    gate.open()


async def test_without_a_ptc_the_nominal_gain_does(make_bench, caplog: pytest.LogCaptureFixture) -> None:
    bench = make_bench(**FLATS)
    bench.observatory.world.lamp = 0.02
    bench.observatory.repository.errors["certified_ptc"] = "the database is down"
    assert await take_and_ingest(bench) == ARRIVED
    (result,) = bench.record.published(VerificationResult)
    # 15,000 x 5 x 0.02 electron at 1.7 electron/adu, taken for 1.38.
    assert "about 1218 electron" in result.reason
    assert "by which the FLAT frames are judged, could not be read: the database is down" in caplog.text


async def test_without_verification_nobody_looks(make_bench) -> None:
    bench = make_bench(**FLATS, do_verify=False)
    bench.observatory.world.lamp = 0.0
    assert await take_and_ingest(bench) == ARRIVED
    assert "raw_levels" not in bench.observatory.repository.asked


async def test_frames_that_are_lost_fail_the_ingest_whatever_the_light(make_bench) -> None:
    bench = make_bench(**FLATS, max_retakes=0, oods_timeout=120, max_counter_archiver_check=1)
    bench.observatory.camera.arrive = lambda exposure: None
    ended = await take_and_ingest(bench)
    assert isinstance(ended, StageError) and "is lost" in str(ended)


async def test_nothing_goes_on_when_the_ingest_is_cancelled(make_bench) -> None:
    bench = make_bench(**FLATS)
    gate = bench.observatory.repository.gates["raw_levels"] = Gate()
    task = bench.start(ingest(bench.stage("FLAT.INGEST"), bench.context))
    bench.start(acquire(bench.stage("FLAT.ACQUIRE"), bench.context))
    await gate.until_reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bench.done(task)
    assert not [one for one in asyncio.all_tasks() if one.get_name().startswith("FLAT.INGEST")]
    gate.open()


async def test_flats_from_before_an_interruption_are_looked_at(make_bench) -> None:
    """The process was killed when the first flats had arrived, and before anybody looked at their light."""
    bench = next_process(make_bench(**FLATS, on_failure="stop"))
    bench.observatory.world.lamp = 0.0
    gate = bench.observatory.repository.gates["raw_levels"] = Gate()
    bench.record.dies_after = lambda fact: len(bench.context.history.used(CalibType.FLAT)) == 3
    assert await live(bench, "FLAT")
    gate.open()
    ended = await take_and_ingest(next_process(bench))
    assert isinstance(ended, StageError) and "lamp off" in str(ended)


@pytest.mark.parametrize("on_failure", ["stop", "continue"])
@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("kind", [FramesBlamed, VerdictGiven])
async def test_killed_while_it_is_recorded_bad_light_is_known_all_the_same(
    make_bench, kind: type, before: bool, on_failure: str
) -> None:
    bench = next_process(make_bench(**FLATS, on_failure=on_failure))
    bench.observatory.world.lamp = 0.0
    setattr(bench.record, "dies_before" if before else "dies_after", lambda fact: isinstance(fact, kind))
    assert await live(bench, "FLAT")
    resumed = next_process(bench)
    ended = await take_and_ingest(resumed)
    assert isinstance(ended, StageError) == (on_failure == "stop")
    assert "lamp off" in resumed.context.history.blamed[CalibType.FLAT]
    assert len(resumed.record.of(FramesBlamed)) == 1, "the first reason is kept"
    (verdict,) = resumed.context.history.verdicts_of(CalibType.FLAT)
    assert verdict.verdict is Verdict.FAILED
    assert len(resumed.record.of(VerdictGiven)) == 1, "it is published once"


@pytest.mark.parametrize("verify_attempt", [1, 2])
async def test_resumed_ingest_publishes_the_same_bad_light_once(make_bench, verify_attempt: int) -> None:
    bench = next_process(make_bench(**FLATS, on_failure="stop"))
    bench.observatory.world.lamp = 0.0
    assert isinstance(await take_and_ingest(bench), StageError)
    bench.record.put(StageMoved(stage_name="FLAT.INGEST", attempt=2, state=StageState.RUNNING, reason=""))
    bench.record.put(StageMoved(stage_name="FLAT.VERIFY", attempt=verify_attempt, state=StageState.PENDING, reason=""))
    resumed = next_process(bench)
    assert isinstance(await take_and_ingest(resumed), StageError)
    assert len(resumed.record.of(VerdictGiven)) == 1


async def test_other_bad_light_is_published_too(make_bench) -> None:
    """The verification of an earlier attempt found something else."""
    bench = next_process(make_bench(**FLATS))
    bench.observatory.world.lamp = 0.0
    await take_and_ingest(bench)
    (first,) = bench.record.of(VerdictGiven)
    again = next_process(make_bench(**FLATS))
    again.record.put(first.model_copy(update={"reason": "The lamp flickered."}))
    again.record.put(StageMoved(stage_name="FLAT.VERIFY", attempt=2, state=StageState.PENDING, reason=""))
    again.observatory.world.lamp = 0.0
    await take_and_ingest(again)
    assert [one.attempt for one in again.record.of(VerdictGiven)] == [1, 2]
