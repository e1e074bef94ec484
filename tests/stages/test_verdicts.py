# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verdicts are facts: which one stands follows from them alone, and only a good one makes a product certifiable."""

from __future__ import annotations

import asyncio

import pytest
from lsst.ts.comcamcalib.enums import CalibType, StageKind, StageState, Verdict
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.findings import Outcome
from lsst.ts.comcamcalib.record.facts import FramesBlamed, JobDistrusted, JobIntended, StageMoved, VerdictGiven
from lsst.ts.comcamcalib.stages.verify import verify
from support.bias_job import kill, turn


@pytest.fixture
def made(make_bench, expose_all):
    """Return what makes a bench on which products have been made and are about to be verified."""

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


def start(bench, name: str) -> asyncio.Task[str]:
    return bench.start(verify(bench.stage(f"{name}.VERIFY"), bench.context))


async def judge(bench, name: str) -> str:
    return await bench.done(start(bench, name))


def move(name: str, state: StageState, attempt: int = 1) -> StageMoved:
    return StageMoved(stage_name=name, attempt=attempt, state=state, reason="")


def standing(bench, calib_type: CalibType) -> list[tuple[str, str, int]]:
    """Return filter, verdict and attempt of the verdicts that stand."""
    return [
        (one.physical_filter, one.verdict.name, one.attempt) for one in bench.context.history.verdicts_of(calib_type)
    ]


def first_look(bench) -> None:
    """Record what a first look at the flats found."""
    bench.record.put(FramesBlamed(calib_type=CalibType.FLAT, reason="2 of 4 flats are without any light: lamp off."))
    bench.record.put(
        VerdictGiven(
            calib_type=CalibType.FLAT,
            physical_filter="r_03",
            attempt=1,
            verdict=Verdict.FAILED,
            job_id="",
            reason="2 of 4 flats are without any light: lamp off.",
        )
    )


async def test_a_verdict_is_recorded_with_all_that_it_rests_on(made) -> None:
    bench = await made("BIAS")
    bench.observatory.world.bad_amplifiers["BIAS", 4] = 3
    await judge(bench, "BIAS")
    (fact,) = bench.record.of(VerdictGiven)
    assert (fact.calib_type, fact.physical_filter, fact.attempt, fact.job_id) == (CalibType.BIAS, "", 1, "job-02")
    assert (fact.verdict, fact.failures_by_test, fact.tests_failed) == (Verdict.PASSED_WITH_FAILURES, {"NOISE": 6}, 6)
    assert (fact.exposures_verified, fact.detectors_verified, fact.tests_failed_threshold) == (2, 3, 16)
    assert [(one.detector, one.detector_name, one.amplifiers_failed) for one in fact.detectors] == [
        *((0, "R22_S00", 0), (1, "R22_S01", 0)),
        (4, "R22_S11", 3),
    ]
    found = [(one.outcome, one.detector, one.amplifier, one.quantity, one.value) for one in fact.findings]
    assert found[:3] == [(Outcome.FAILURE, 4, name, "NOISE", 2) for name in ("C10", "C11", "C12")]
    assert {outcome for outcome, *_ in found[3:]} == {Outcome.NOTED}
    assert (fact.findings_dropped, fact.left_out) == (0, ())
    assert bench.context.history.verdicts[CalibType.BIAS, ""] == fact


async def test_of_very_many_findings_the_worst_are_recorded_and_the_others_counted(
    made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.stages.verify.MAX_FINDINGS", 5)
    bench = await made("BIAS")
    bench.observatory.world.bad_amplifiers["BIAS", 4] = 9
    with pytest.raises(StageError):
        await judge(bench, "BIAS")
    (fact,) = bench.record.of(VerdictGiven)
    assert fact.findings[0].outcome is Outcome.FAILED
    assert len(fact.findings) == 5 and fact.findings_dropped >= 1 + 9 - 5


async def test_amplifiers_known_to_be_bad_are_named_and_do_not_count(make_bench, expose_all) -> None:
    bad = [
        {"detector": "R22_S11", "amplifier": name, "reason": "noisy", "since": "2026-11-01"} for name in ("C10", "C11")
    ]
    bench = make_bench({"bad_amplifiers": bad}, number_verification_tests_threshold_bias=1)
    expose_all(bench)
    for stage in bench.context.plan.stages:
        if stage.kind is StageKind.INGEST:
            bench.record.move(stage.name, StageState.SUCCEEDED)
    await bench.generate("BIAS")
    bench.observatory.world.bad_amplifiers["BIAS", 4] = 2
    assert (await judge(bench, "BIAS")).startswith(
        "PASSED: All tests of 3 detectors in 2 exposures passed. Known to be bad, and not counted: R22_S11 C10 (noisy, "
        "since 2026-11-01; NOISE 2 x), R22_S11 C11 (noisy, since 2026-11-01; NOISE 2 x)."
    )
    bench.observatory.world.bad_amplifiers["BIAS", 4] = 4
    with pytest.raises(StageError, match=r"BIAS is FAILED: .*R22_S11 \(NOISE 4 x\)"):
        await judge(bench, "BIAS")


async def test_a_good_verdict_alone_does_not_do_its_stage_must_have_succeeded(made) -> None:
    bench = await made("BIAS")
    with pytest.raises(ValueError, match="BIAS is not verified"):
        bench.context.history.good_product(CalibType.BIAS)
    await judge(bench, "BIAS")
    with pytest.raises(ValueError, match="the verification of BIAS has not succeeded"):
        bench.context.history.good_product(CalibType.BIAS)
    bench.record.move("BIAS.VERIFY", StageState.SUCCEEDED)
    good = bench.context.history.good_product(CalibType.BIAS)
    assert (good.product.job_id, good.verdict) == ("job-01", Verdict.PASSED)


@pytest.mark.parametrize("spoil", ["bad amplifiers", "missing detector"])
async def test_a_bad_verdict_makes_no_good_product(made, spoil: str) -> None:
    bench = await made("BIAS")
    if spoil == "bad amplifiers":
        bench.observatory.world.bad_amplifiers["BIAS", 4] = 9
    else:
        bench.observatory.world.missing.add(("verifyBias", 4))
    with pytest.raises(StageError):
        await judge(bench, "BIAS")
    bench.record.move("BIAS.VERIFY", StageState.SUCCEEDED)
    with pytest.raises(ValueError, match=r"BIAS is (FAILED|UNKNOWN)"):
        bench.context.history.good_product(CalibType.BIAS)


async def test_one_bad_filter_is_enough_and_the_worst_good_verdict_counts(made) -> None:
    bench = await made("BIAS", "DARK", "FLAT")
    world = bench.observatory.world
    for exposure in world.of_kind("FLAT")[2:]:
        world.filters[exposure.exposure_id] = "i_06"
    statistics = world.statistics
    bad = 3

    def bad_in_i(run_collection: str, physical_filter: str | None):
        world.bad_amplifiers["FLAT", 0] = bad if physical_filter == "i_06" else 0
        return statistics(run_collection, physical_filter)

    world.statistics = bad_in_i
    await judge(bench, "FLAT")
    assert standing(bench, CalibType.FLAT) == [("i_06", "PASSED_WITH_FAILURES", 1), ("r_03", "PASSED", 1)]
    bench.record.move("FLAT.VERIFY", StageState.SUCCEEDED)
    assert bench.context.history.good_product(CalibType.FLAT).verdict is Verdict.PASSED_WITH_FAILURES
    bad = 12
    with pytest.raises(StageError, match="FLAT is FAILED"):
        await judge(bench, "FLAT")
    assert standing(bench, CalibType.FLAT) == [("i_06", "FAILED", 1), ("r_03", "PASSED", 1)]
    with pytest.raises(ValueError, match="FLAT is FAILED"):
        bench.context.history.good_product(CalibType.FLAT)


# The first look


async def test_the_verification_that_saw_good_frames_replaces_the_verdict_of_the_first_look(made) -> None:
    bench = await made("BIAS", "DARK", "FLAT")
    first_look(bench)
    assert standing(bench, CalibType.FLAT) == [("r_03", "FAILED", 1)]
    assert (await judge(bench, "FLAT")).startswith("PASSED: ")
    assert standing(bench, CalibType.FLAT) == [("r_03", "PASSED", 1)]
    assert CalibType.FLAT not in bench.context.history.blamed
    assert [bool(one.reason) for one in bench.record.of(FramesBlamed)] == [True, False]


async def test_a_first_look_in_another_filter_does_not_stand_beside_the_verification(made) -> None:
    """When it looked, the repository did not know the filter yet."""
    bench = await made("BIAS", "DARK", "FLAT")
    first_look(bench)
    bench.record.put(bench.record.of(VerdictGiven)[-1].model_copy(update={"physical_filter": ""}))
    await judge(bench, "FLAT")
    assert standing(bench, CalibType.FLAT) == [("r_03", "PASSED", 1)]


async def test_the_first_look_stands_where_the_verification_can_say_nothing(made) -> None:
    bench = await made("BIAS", "DARK", "FLAT")
    first_look(bench)
    bench.observatory.jobs.failing["verifyFlat"] = "out of memory"
    with pytest.raises(StageError, match=r"The FLAT frames are bad: .*lamp off.*out of memory"):
        await judge(bench, "FLAT")
    assert standing(bench, CalibType.FLAT) == [("", "FAILED", 1)]
    assert CalibType.FLAT in bench.context.history.blamed


async def test_an_incomplete_verification_does_not_clear_the_frames(made) -> None:
    bench = await made("BIAS", "DARK", "FLAT")
    first_look(bench)
    bench.observatory.world.missing.add(("verifyFlat", 1))
    with pytest.raises(StageError):
        await judge(bench, "FLAT")
    assert "lamp off" in bench.context.history.blamed[CalibType.FLAT]


# Waiting for those that use the same frames


@pytest.mark.parametrize("end", [StageState.SUCCEEDED, StageState.FAILED, StageState.SKIPPED])
async def test_the_job_does_not_wait_for_the_others_but_the_verdict_does(made, end: StageState) -> None:
    bench = await made("BIAS", "DARK", "FLAT", "PTC", do_ptc=True, do_gain_from_flat_pairs=True)
    assert bench.stage("FLAT.VERIFY").after == ("PTC.GENERATE", "GAIN.GENERATE")
    bench.record.move("PTC.GENERATE", StageState.RUNNING)
    judging = start(bench, "FLAT")
    await turn()
    assert bench.observatory.world.job("verifyFlat").phase == "completed"
    assert bench.record.of(VerdictGiven) == [] and not judging.done()
    assert bench.record.waits[-1].for_what == "PTC.GENERATE and GAIN.GENERATE, which may find these frames bad"
    await bench.record.note(move("GAIN.GENERATE", end))
    await turn()
    assert bench.record.of(VerdictGiven) == [], "PTC.GENERATE goes on"
    await bench.record.note(move("PTC.GENERATE", end))
    assert (await bench.done(judging)).startswith("PASSED: ")


async def test_gains_that_come_while_it_waits_count_against_the_flats(made) -> None:
    bench = await made("BIAS", "DARK", "FLAT", do_ptc=True)
    bench.observatory.world.gain = 17.0
    judging = start(bench, "FLAT")
    await turn()
    await bench.generate("PTC")
    await bench.record.note(move("PTC.GENERATE", StageState.SUCCEEDED))
    with pytest.raises(StageError, match="FLAT is FAILED: PTC, which was made from the same flats, shows that they"):
        await bench.done(judging)
    assert "PTC" in bench.context.history.blamed[CalibType.FLAT]


# Kills and further attempts


async def test_a_verification_that_was_killed_before_its_verdict_runs_no_second_job(made) -> None:
    bench = await made("BIAS", "DARK", "FLAT", do_ptc=True)
    judging = start(bench, "FLAT")
    await turn()
    assert bench.observatory.world.job("verifyFlat").phase == "completed"
    bench = await kill(bench, judging)
    bench.record.move("PTC.GENERATE", StageState.SKIPPED)
    assert (await judge(bench, "FLAT")).startswith("PASSED: ")
    assert bench.observatory.jobs.labels.count("verifyFlat") == 1
    assert len(bench.record.of(VerdictGiven)) == 1


async def test_a_verification_that_was_killed_while_its_job_ran_follows_it(made) -> None:
    bench = await made("BIAS")
    going_on = bench.observatory.jobs.hold("verifyBias")
    judging = start(bench, "BIAS")
    await bench.observatory.jobs.until_executing("verifyBias")
    bench = await kill(bench, judging)
    assert bench.record.of(VerdictGiven) == [], "a kill is no verdict"
    going_on.set()
    assert (await judge(bench, "BIAS")).startswith("PASSED: ")
    assert bench.observatory.jobs.labels == ["cpBias", "verifyBias"]


async def test_another_attempt_replaces_the_verdict_and_runs_a_failed_job_again(made) -> None:
    bench = await made("BIAS")
    bench.observatory.jobs.failing["verifyBias"] = "out of memory"
    with pytest.raises(StageError, match="BIAS is UNKNOWN"):
        await judge(bench, "BIAS")
    assert standing(bench, CalibType.BIAS) == [("", "UNKNOWN", 1)]
    bench.observatory.jobs.failing.clear()
    bench.record.put(move("BIAS.VERIFY", StageState.RUNNING, attempt=2))
    assert (await judge(bench, "BIAS")).startswith("PASSED: ")
    assert standing(bench, CalibType.BIAS) == [("", "PASSED", 2)]
    assert [one.attempt for one in bench.record.of(JobIntended) if one.label == "verifyBias"] == [1, 2]


async def test_another_attempt_judges_the_same_statistics_if_only_reading_them_failed(made) -> None:
    bench = await made("BIAS")
    bench.observatory.repository.errors["statistics"] = "no such file"
    with pytest.raises(StageError, match="BIAS is UNKNOWN"):
        await judge(bench, "BIAS")
    bench.observatory.repository.errors.clear()
    bench.record.put(move("BIAS.VERIFY", StageState.RUNNING, attempt=2))
    assert (await judge(bench, "BIAS")).startswith("PASSED: ")
    assert bench.observatory.jobs.labels == ["cpBias", "verifyBias"]


@pytest.mark.parametrize("spoil", ["another bias", "missing detector"])
async def test_a_verification_of_which_the_output_can_not_be_used_is_done_again(made, spoil: str) -> None:
    bench = await made("BIAS")
    world = bench.observatory.world
    complete = world.complete

    def complete_without_ours(job) -> None:
        complete(job)
        world.chains[f"u/ocps/{job.job_id}"] = [job.run_collection, "LSSTComCam/calib"]

    if spoil == "another bias":
        world.complete = complete_without_ours
    else:
        world.missing.add(("verifyBias", 1))
    with pytest.raises(StageError, match="BIAS is UNKNOWN"):
        await judge(bench, "BIAS")
    (distrusted,) = bench.record.of(JobDistrusted)
    assert (distrusted.label, distrusted.attempt) == ("verifyBias", 1)
    world.complete = complete
    world.missing.clear()
    bench.record.put(move("BIAS.VERIFY", StageState.RUNNING, attempt=2))
    assert (await judge(bench, "BIAS")).startswith("PASSED: ")
    assert [(one.job_id, one.attempt) for one in bench.record.of(VerdictGiven)] == [("job-02", 1), ("job-03", 2)]


async def test_verdicts_of_an_earlier_attempt_in_other_filters_stand_no_more(made) -> None:
    bench = await made("BIAS", "DARK", "FLAT")
    bench.observatory.repository.errors["physical_filters"] = "the database is down"
    with pytest.raises(StageError, match="FLAT is UNKNOWN"):
        await judge(bench, "FLAT")
    assert standing(bench, CalibType.FLAT) == [("", "UNKNOWN", 1)]
    bench.observatory.repository.errors.clear()
    bench.record.put(move("FLAT.VERIFY", StageState.RUNNING, attempt=2))
    await judge(bench, "FLAT")
    assert standing(bench, CalibType.FLAT) == [("r_03", "PASSED", 2)]
