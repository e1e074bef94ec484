# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Photon transfer curves are verified by cp_verify and by their own values, and share the fate of their flats."""

from __future__ import annotations

import pytest
from lsst.ts.comcamcalib.enums import CalibType, StageKind, StageState, Verdict
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.record.events import DetectorVerification, VerificationResult
from lsst.ts.comcamcalib.record.facts import FramesBlamed, JobDistrusted, StageMoved, VerdictGiven
from lsst.ts.comcamcalib.stages.verify import verify
from support.bias_job import turn


@pytest.fixture
def made(make_bench, expose_all):
    """Return what makes a bench with curves that are about to be verified; the flats are judged already."""

    async def make(flats: StageState | None = StageState.SUCCEEDED, **options):
        bench = make_bench(do_ptc=True, **options)
        expose_all(bench)
        for stage in bench.context.plan.stages:
            if stage.kind is StageKind.INGEST:
                bench.record.move(stage.name, StageState.SUCCEEDED)
        for name in ("BIAS", "DARK", "PTC"):
            await bench.generate(name)
        if flats is not None:
            await bench.record.note(judged(flats))
        return bench

    return make


def judged(state: StageState) -> StageMoved:
    return StageMoved(stage_name="FLAT.VERIFY", attempt=1, state=state, reason="")


async def judge(bench) -> str:
    return await bench.done(bench.start(verify(bench.stage("PTC.VERIFY"), bench.context)))


async def test_good_curves_pass_both_and_the_job_has_the_flats_and_the_curves(made) -> None:
    bench = await made()
    reason = await judge(bench)
    assert reason.startswith("PASSED: All tests of 3 detectors passed, and PTC is plausible. Not compared with what")
    assert reason.endswith("Not counted, as configured: PTC_TURNOFF 48 x.")
    world = bench.observatory.world
    job = world.job("verifyPtc")
    assert job.inputs[0] == f"u/ocps/{world.job('cpPtc').job_id}"
    assert not {f"u/ocps/{world.job(label).job_id}" for label in ("cpBias", "cpDark")} & set(job.inputs)
    assert job.exposures == list(bench.context.history.exposure_ids(CalibType.FLAT))
    (result,) = bench.record.published(VerificationResult)
    assert (result.job_id, result.physical_filter) == (job.job_id, "")
    assert (result.exposures_expected, result.detectors_expected, result.detectors_verified) == (0, 3, 3)
    assert [one.noise for one in bench.record.published(DetectorVerification)] == [world.read_noise] * 3


async def test_a_detector_off_its_nominal_gain_fails_though_its_values_are_plausible(made) -> None:
    bench = await made(number_verification_tests_threshold_flat=11)
    bench.observatory.world.bad_amplifiers["PTC", 4] = 12
    with pytest.raises(StageError, match=r"^PTC is FAILED: 1 of 3 detectors failed a test, as a whole or "):
        await judge(bench)
    (result,) = bench.record.published(VerificationResult)
    assert (result.verdict, result.tests_failed) == (Verdict.FAILED, 12)
    assert bench.context.history.blamed == {}, "curves say nothing about frames of their own"


async def test_the_threshold_of_the_flats_holds_for_the_curves_that_are_made_of_them(made) -> None:
    bench = await made(number_verification_tests_threshold_flat=12)
    bench.observatory.world.bad_amplifiers["PTC", 4] = 12
    assert (await judge(bench)).startswith("PASSED_WITH_FAILURES: Of 3 detectors none failed, but single tests did")


async def test_values_that_can_not_be_right_fail_though_all_tests_passed(made) -> None:
    bench = await made()
    bench.observatory.world.gain = 17.0
    with pytest.raises(StageError, match=r"^PTC is FAILED: PTC is not plausible: R22_S00 \(C10 gain 17"):
        await judge(bench)


async def test_a_detector_without_statistics_is_unknown_and_the_next_attempt_runs_the_job_again(made) -> None:
    bench = await made()
    bench.observatory.world.missing.add(("verifyPtc", 4))
    with pytest.raises(StageError, match=r"^PTC is UNKNOWN: The verification is not complete: .*R22_S11 \(no stat"):
        await judge(bench)
    (distrusted,) = bench.record.of(JobDistrusted)
    assert distrusted.label == "verifyPtc"


async def test_a_bad_detector_can_be_left_out(made) -> None:
    bench = await made(certify_good_detectors=True)
    bench.observatory.world.bad_amplifiers["PTC", 4] = 16
    assert "Left out, and not certified: R22_S11 (PTC_GAIN 16 x)" in await judge(bench)
    (verdict,) = bench.record.of(VerdictGiven)
    assert verdict.left_out == (4,)


async def test_a_job_that_fails_is_unknown(made) -> None:
    bench = await made()
    bench.observatory.jobs.failing["verifyPtc"] = "RuntimeError: Detector type STA not one of 'ITL' or 'E2V'"
    with pytest.raises(StageError, match=r"^PTC is UNKNOWN: The job verifyPtc .*STA not one of"):
        await judge(bench)


async def test_a_job_that_tested_older_curves_is_unknown(made) -> None:
    bench = await made()
    world = bench.observatory.world
    complete = world.complete

    def complete_without_ours(job) -> None:
        complete(job)
        world.chains[f"u/ocps/{job.job_id}"] = [job.run_collection, "LSSTComCam/calib"]

    world.complete = complete_without_ours
    with pytest.raises(StageError, match=r"PTC is UNKNOWN: The job verifyPtc .*did not use this run's own products"):
        await judge(bench)


async def test_the_job_does_not_wait_for_the_verdict_on_the_flats_but_that_on_the_curves_does(made) -> None:
    bench = await made(flats=None)
    judging = bench.start(verify(bench.stage("PTC.VERIFY"), bench.context))
    await turn()
    assert bench.observatory.world.job("verifyPtc").phase == "completed"
    assert bench.record.of(VerdictGiven) == [] and not judging.done()
    await bench.record.note(judged(StageState.SUCCEEDED))
    assert (await bench.done(judging)).startswith("PASSED: ")


@pytest.mark.parametrize("flats", [StageState.FAILED, StageState.SKIPPED])
async def test_curves_of_flats_without_a_verdict_are_unknown(made, flats) -> None:
    bench = await made(flats=flats)
    with pytest.raises(
        StageError, match=r"PTC is UNKNOWN: Nobody knows .* FLAT frames .*\. Its own result: All tests of 3 detectors"
    ):
        await judge(bench)


async def test_plausible_curves_of_flats_that_were_found_bad_in_the_meantime_fail(made) -> None:
    """The reason why the verdict waits: nothing in the curves shows that a lamp drifted."""
    bench = await made(flats=None)
    judging = bench.start(verify(bench.stage("PTC.VERIFY"), bench.context))
    await turn()
    await bench.record.note(FramesBlamed(calib_type=CalibType.FLAT, reason="Light: lamp drifting by +9 %."))
    await bench.record.note(judged(StageState.FAILED))
    with pytest.raises(
        StageError,
        match=r"PTC is FAILED: The FLAT frames that it is made from are bad: Light: lamp drifting by \+9 %\. Its own "
        r"result: All tests of 3 detectors passed",
    ):
        await bench.done(judging)


async def test_curves_are_verified_where_the_run_only_verifies_everything_else(make_bench, expose_all) -> None:
    bench = make_bench(do_ptc=True, generate_calibrations=False, input_collections_verify_ptc="LSSTComCam/calib/x")
    expose_all(bench)
    for stage in bench.context.plan.stages:
        if stage.kind is StageKind.INGEST:
            bench.record.move(stage.name, StageState.SUCCEEDED)
    await bench.generate("PTC")
    await bench.record.note(judged(StageState.SUCCEEDED))
    assert (await judge(bench)).startswith("PASSED: ")
    assert bench.observatory.world.job("verifyPtc").inputs[0] == "u/ocps/job-01"
