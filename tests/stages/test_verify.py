# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Only a good verdict passes, and each verdict is recorded and published with what it rests on."""

from __future__ import annotations

import json
import re
import threading

import pytest
from lsst.ts.comcamcalib.enums import CalibType, StageKind, StageState, Verdict
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.findings import Outcome
from lsst.ts.comcamcalib.record.events import DetectorVerification, VerificationResult
from lsst.ts.comcamcalib.record.facts import JobIntended, StageMoved, VerdictGiven
from lsst.ts.comcamcalib.stages.verify import verify
from lsst.ts.comcamcalib.verification import judge_statistics
from support.plans import make_config


@pytest.fixture
def made(make_bench, expose_all):
    """Return what makes a bench on which products have been made."""

    async def make(*names: str, **options):
        bench = make_bench(**options)
        expose_all(bench)
        for stage in bench.context.plan.stages:
            if stage.kind is StageKind.INGEST:
                bench.record.move(stage.name, StageState.SUCCEEDED)
        for name in names:
            await bench.generate(name)
        return bench

    return make


async def test_good_bias_passes_and_the_verdict_is_published(made) -> None:
    bench = await made("BIAS")
    reason = await verify(bench.stage("BIAS.VERIFY"), bench.context)
    assert reason.startswith("PASSED: ")
    (result,) = bench.record.published(VerificationResult)
    assert (result.verdict, result.physical_filter, result.job_id) == (Verdict.PASSED, "", "job-02")
    assert result.output_collection == "u/ocps/job-02"
    assert (result.exposures_expected, result.exposures_verified) == (2, 2)
    assert (result.detectors_expected, result.detectors_verified) == (3, 3)
    assert [one.detector_name for one in bench.record.published(DetectorVerification)] == [
        "R22_S00",
        "R22_S01",
        "R22_S11",
    ]
    assert bench.observatory.world.job("verifyBias").inputs[0] == "u/ocps/job-01"


async def test_few_bad_amplifiers_pass_with_failures(made) -> None:
    bench = await made("BIAS")
    bench.observatory.world.bad_amplifiers["BIAS", 4] = 3
    assert (await verify(bench.stage("BIAS.VERIFY"), bench.context)).startswith("PASSED_WITH_FAILURES: ")
    (result,) = bench.record.published(VerificationResult)
    assert result.verdict is Verdict.PASSED_WITH_FAILURES
    assert json.loads(result.failures_by_test) == {"NOISE": 6}
    bad = next(one for one in bench.record.published(DetectorVerification) if one.detector == 4)
    assert (bad.amplifiers_failed, bad.tests_failed) == (3, 6)


async def test_bad_detector_fails_the_product(made) -> None:
    bench = await made("BIAS")
    bench.observatory.world.bad_amplifiers["BIAS", 4] = 9
    with pytest.raises(StageError, match=r"^BIAS is FAILED: .*R22_S11"):
        await verify(bench.stage("BIAS.VERIFY"), bench.context)
    assert [one.verdict for one in bench.record.published(VerificationResult)] == [Verdict.FAILED]


async def test_operators_threshold_counts(made) -> None:
    bench = await made("BIAS", number_verification_tests_threshold_bias=9)
    bench.observatory.world.bad_amplifiers["BIAS", 4] = 9
    assert (await verify(bench.stage("BIAS.VERIFY"), bench.context)).startswith("PASSED_WITH_FAILURES")


async def test_missing_detector_is_unknown_and_does_not_pass(made) -> None:
    bench = await made("BIAS")
    bench.observatory.world.missing.add(("verifyBias", 1))
    with pytest.raises(StageError, match=r"^BIAS is UNKNOWN: .*R22_S01"):
        await verify(bench.stage("BIAS.VERIFY"), bench.context)
    assert [one.verdict for one in bench.record.published(VerificationResult)] == [Verdict.UNKNOWN]


async def test_statistics_that_can_not_be_read_are_unknown(made) -> None:
    bench = await made("BIAS")
    bench.observatory.repository.errors["statistics"] = "no such file"
    with pytest.raises(
        StageError, match="BIAS is UNKNOWN: the statistics of job job-02 could not be read: no such file"
    ):
        await verify(bench.stage("BIAS.VERIFY"), bench.context)
    (result,) = bench.record.published(VerificationResult)
    assert (result.verdict, result.job_id) == (Verdict.UNKNOWN, "job-02")


async def test_verification_job_that_fails_is_unknown_and_published_with_its_job(made) -> None:
    bench = await made("BIAS")
    bench.observatory.jobs.failing["verifyBias"] = "KeyError: LSST ISR OVERSCAN"
    with pytest.raises(
        StageError, match=r"^BIAS is UNKNOWN: The job verifyBias \(job-02\) failed .*KeyError: LSST ISR"
    ):
        await verify(bench.stage("BIAS.VERIFY"), bench.context)
    (result,) = bench.record.published(VerificationResult)
    assert (result.verdict, result.job_id, result.output_collection) == (Verdict.UNKNOWN, "job-02", "u/ocps/job-02")
    assert "KeyError" in result.reason


async def test_verification_job_that_is_refused_is_unknown_without_a_job(made) -> None:
    bench = await made("BIAS")
    bench.observatory.jobs.refused["verifyBias"] = "OCPS:2 is gone"
    with pytest.raises(StageError, match="UNKNOWN"):
        await verify(bench.stage("BIAS.VERIFY"), bench.context)
    (result,) = bench.record.published(VerificationResult)
    assert (result.verdict, result.job_id, result.output_collection) == (Verdict.UNKNOWN, "", "")


async def test_verification_that_looked_at_another_product_is_unknown(made) -> None:
    bench = await made("BIAS")
    world = bench.observatory.world
    complete = world.complete

    def complete_without_ours(job) -> None:
        complete(job)
        world.chains[f"u/ocps/{job.job_id}"] = [job.run_collection, "LSSTComCam/calib"]

    world.complete = complete_without_ours
    with pytest.raises(StageError, match="BIAS is UNKNOWN: The job verifyBias \\(job-02\\) did not use this run's own"):
        await verify(bench.stage("BIAS.VERIFY"), bench.context)


async def test_flats_are_judged_by_filter_and_one_bad_filter_fails_them(made) -> None:
    bench = await made("BIAS", "DARK", "FLAT")
    world = bench.observatory.world
    for exposure in world.of_kind("FLAT")[2:]:
        world.filters[exposure.exposure_id] = "i_06"
    statistics = world.statistics

    def bad_in_i(run_collection: str, physical_filter: str | None):
        world.bad_amplifiers["FLAT", 0] = 12 if physical_filter == "i_06" else 0
        return statistics(run_collection, physical_filter)

    world.statistics = bad_in_i
    with pytest.raises(StageError, match=r"^FLAT is FAILED: [^;]*$"):
        await verify(bench.stage("FLAT.VERIFY"), bench.context)
    assert [(one.physical_filter, one.verdict.name) for one in bench.record.published(VerificationResult)] == [
        ("i_06", "FAILED"),
        ("r_03", "PASSED"),
    ]
    assert [one.physical_filter for one in bench.record.published(DetectorVerification)] == ["i_06"] * 3 + ["r_03"] * 3


async def test_flats_of_which_the_filter_can_not_be_known_are_unknown(made) -> None:
    bench = await made("BIAS", "DARK", "FLAT")
    bench.observatory.repository.errors["physical_filters"] = "the database is down"
    with pytest.raises(StageError, match="FLAT is UNKNOWN"):
        await verify(bench.stage("FLAT.VERIFY"), bench.context)


async def test_flats_of_which_none_counts_are_unknown_and_no_job_is_submitted(make_bench) -> None:
    bench = make_bench(generate_calibrations=False)
    with pytest.raises(StageError, match=r"^FLAT is UNKNOWN: .*the run has no exposure of FLAT that counts"):
        await verify(bench.stage("FLAT.VERIFY"), bench.context)
    (result,) = bench.record.published(VerificationResult)
    assert result.verdict is Verdict.UNKNOWN
    assert bench.observatory.jobs.labels == []


async def test_statistics_without_an_exposure_that_counts_are_no_verdict(made, monkeypatch) -> None:
    """Whatever the reason is: a verification that judges nothing has not succeeded."""
    bench = await made("BIAS", "DARK", "FLAT")

    async def no_exposures(calib_type, context):
        return {"": ()}

    monkeypatch.setattr("lsst.ts.comcamcalib.stages.judging._exposures", no_exposures)
    with pytest.raises(StageError, match=r"^FLAT is UNKNOWN: .*there is nothing to verify"):
        await verify(bench.stage("FLAT.VERIFY"), bench.context)


async def test_input_collections_are_judged_where_nothing_was_made(made) -> None:
    bench = await made(generate_calibrations=False, input_collections_verify_bias="LSSTComCam/calib")
    await verify(bench.stage("BIAS.VERIFY"), bench.context)
    assert bench.observatory.world.job("verifyBias").inputs == ["LSSTComCam/calib"]
    assert "foreign_inputs" not in bench.observatory.repository.asked


@pytest.mark.parametrize(
    ("name", "option", "spoil"),
    [
        ("DEFECTS", "do_defects", {"defect_pixels": 600}),
        ("PTC", "do_ptc", {"gain": 17.0}),
        ("GAIN", "do_gain_from_flat_pairs", {"gain": 17.0}),
    ],
)
async def test_products_without_a_pipeline_are_judged_by_their_values(made, name: str, option: str, spoil) -> None:
    recipes = make_config().model_dump()["recipes"]
    recipes["PTC"]["verification"] = None
    bench = await made("BIAS", "DARK", name, config={"recipes": recipes}, **{option: True})
    stage = bench.stage(f"{name}.VERIFY")
    assert (await verify(stage, bench.context)).startswith("PASSED: ")
    for field, value in spoil.items():
        setattr(bench.observatory.world, field, value)
    with pytest.raises(StageError, match=f"^{name} is FAILED: {name} is not plausible"):
        await verify(stage, bench.context)
    results = bench.record.published(VerificationResult)
    assert [one.verdict for one in results] == [Verdict.PASSED, Verdict.FAILED]
    assert {one.job_id for one in results} == {bench.context.history.product(CalibType[name]).job_id}


@pytest.mark.parametrize(
    ("name", "option"), [("DEFECTS", "do_defects"), ("PTC", "do_ptc"), ("GAIN", "do_gain_from_flat_pairs")]
)
@pytest.mark.parametrize("method", ["product_values", "predecessors"])
async def test_product_that_can_not_be_read_is_unknown(made, name: str, option: str, method: str) -> None:
    bench = await made("BIAS", "DARK", name, **{option: True})
    for frames in bench.stage(f"{name}.VERIFY").after:
        await bench.record.note(StageMoved(stage_name=frames, attempt=1, state=StageState.SUCCEEDED, reason=""))
    bench.observatory.repository.errors[method] = "the file is broken"
    with pytest.raises(
        StageError, match=rf"^{name} is UNKNOWN: The verification is not complete: .*R22_S00 .*the file is broken"
    ):
        await verify(bench.stage(f"{name}.VERIFY"), bench.context)
    (verdict,) = bench.record.of(VerdictGiven)
    assert {one.outcome for one in verdict.findings if one.rule == "measured"} == {Outcome.UNKNOWN}


async def test_judging_does_not_hold_up_the_event_loop(made, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def judge(*arguments):
        threads.append(threading.current_thread())
        return judge_statistics(*arguments)

    monkeypatch.setattr("lsst.ts.comcamcalib.stages.judging.judge_statistics", judge)
    bench = await made("BIAS")
    await verify(bench.stage("BIAS.VERIFY"), bench.context)
    assert threads and threading.main_thread() not in threads


async def test_frames_are_judged_by_the_ptc_of_the_verification(made) -> None:
    bench = await made("BIAS")
    bench.observatory.world.read_noise = 4.5
    with pytest.raises(StageError, match=r"^BIAS is FAILED: Dead amplifiers: all 2 exposures \(3 of 3 detectors\)"):
        await verify(bench.stage("BIAS.VERIFY"), bench.context)


UNREAD = (
    "the certified ptc could not be read, so that read noises and turn-offs, by which the frames are judged, are not"
)


@pytest.mark.parametrize(("name", "rule"), [("BIAS", "darkness"), ("FLAT", "light")])
async def test_frames_that_could_not_be_compared_with_the_ptc_are_unknown_and_that_is_told(
    made, name: str, rule: str, caplog: pytest.LogCaptureFixture
) -> None:
    bench = await made("BIAS", "DARK", "FLAT")
    bench.observatory.repository.errors["certified_ptc"] = "the database is down"
    with pytest.raises(
        StageError, match=rf"^{name} is UNKNOWN: .*{UNREAD} known: the database is down\. Repair it, and "
    ):
        await verify(bench.stage(f"{name}.VERIFY"), bench.context)
    (verdict,) = bench.record.of(VerdictGiven)
    assert [
        (one.rule, one.detail.startswith(UNREAD)) for one in verdict.findings if one.outcome is Outcome.UNKNOWN
    ] == [(rule, True)]
    (result,) = bench.record.published(VerificationResult)
    assert UNREAD in result.reason and UNREAD in caplog.text
    assert bench.context.history.blamed == {}, "nothing is known against the frames"
    # When it can be read again, the next attempt passes with the same statistics.
    del bench.observatory.repository.errors["certified_ptc"]
    assert (await verify(bench.stage(f"{name}.VERIFY"), bench.context)).startswith("PASSED: ")
    assert len([one for one in bench.record.of(JobIntended) if one.label == f"verify{name.capitalize()}"]) == 1


async def test_what_the_absolute_limits_find_fails_without_the_ptc_too(made) -> None:
    bench = await made("BIAS")
    bench.observatory.repository.errors["certified_ptc"] = "the database is down"
    bench.observatory.world.read_noise = 2.0
    with pytest.raises(StageError, match=rf"^BIAS is FAILED: Dead amplifiers.*{UNREAD}"):
        await verify(bench.stage("BIAS.VERIFY"), bench.context)


async def test_where_frames_are_not_judged_nobody_misses_the_ptc(made) -> None:
    rules = make_config().model_dump(mode="json")["verification_rules"]
    rules["BIAS"]["frames"] = "off"
    bench = await made("BIAS", config={"verification_rules": rules})
    bench.observatory.repository.errors["certified_ptc"] = "the database is down"
    assert (await verify(bench.stage("BIAS.VERIFY"), bench.context)).startswith("PASSED: ")


async def test_frames_that_stand_out_are_named_in_event_and_log(made, caplog: pytest.LogCaptureFixture) -> None:
    bench = await made("BIAS", n_bias=6)
    exposure = bench.context.history.exposure_ids(CalibType.BIAS)[3]
    bench.observatory.world.leaks = {exposure: 2000.0}
    named = rf"Exposures stand out: 1 of 6 exposures \({exposure}; 3 of 3 detectors\) differ .* up to \+2000"
    with pytest.raises(StageError, match=named):
        await verify(bench.stage("BIAS.VERIFY"), bench.context)
    (result,) = bench.record.published(VerificationResult)
    assert re.search(named, result.reason) and re.search(named, caplog.text)
    assert json.loads(result.failures_by_test) == {"OUTLIER": 48}


async def test_frames_of_an_external_verification_are_judged_too(made) -> None:
    bench = await made(generate_calibrations=False)
    bench.observatory.world.lamp = 0.02
    with pytest.raises(StageError, match="FLAT is FAILED: Light: too dark, all 4 exposures"):
        await verify(bench.stage("FLAT.VERIFY"), bench.context)
