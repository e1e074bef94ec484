# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A product counts as made only if every job did its work, all datasets are there, and this run's own were used."""

from __future__ import annotations

import asyncio
import math

import pytest
from lsst.ts.comcamcalib.butler_data import AmplifierValues
from lsst.ts.comcamcalib.enums import CalibType, StageKind, StageState
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.record.events import GainEstimate, JobState
from lsst.ts.comcamcalib.stages.generate import generate
from support.world import AMPLIFIERS, FIRST_EXPOSURE


@pytest.fixture
def make(make_bench, expose_all):
    """Return what makes a bench with all its frames."""

    def make_with_frames(**options):
        bench = make_bench(**options)
        expose_all(bench)
        for stage in bench.context.plan.stages:
            if stage.kind is StageKind.INGEST:
                bench.record.move(stage.name, StageState.SUCCEEDED)
        return bench

    return make_with_frames


async def make_product(bench, *names: str) -> str:
    for name in names:
        reason = await bench.generate(name)
    return reason


async def test_job_is_asked_for_as_the_ocps_takes_it(make) -> None:
    bench = make(script_mode="BIAS", n_discard_bias=1, n_processes=4, config_options_bias="-c cpBiasCombine:x=1")
    assert await make_product(bench, "BIAS") == "3 datasets of type bias are in u/ocps/job-01/run"
    request = bench.observatory.world.job("cpBias").request
    assert request.pipeline == "${CP_PIPE_DIR}/pipelines/LSSTComCam/cpBias.yaml"
    assert request.data_query == (
        "instrument='LSSTComCam' AND detector IN (0, 1, 4) "
        f"AND exposure IN ({FIRST_EXPOSURE + 1}, {FIRST_EXPOSURE + 2})"
    )
    # LSSTComCam/calib/daily does not exist yet, so it can't be named.
    assert request.config == "-j 4 -i LSSTComCam/calib --register-dataset-types -c cpBiasCombine:x=1"
    assert request.output_dataset_types == "bias,20261122-001_BIAS.GENERATE_cpBias_1*"


async def test_job_without_any_input_collection_has_no_empty_option(make) -> None:
    bench = make(script_mode="BIAS", input_collections_bias="")
    await make_product(bench, "BIAS")
    assert bench.observatory.world.job("cpBias").request.config == "-j 8 --register-dataset-types"


async def test_this_runs_products_come_first_among_the_inputs(make) -> None:
    bench = make()
    bench.observatory.world.collections.add("LSSTComCam/calib/daily")
    await make_product(bench, "BIAS", "DARK", "FLAT")
    assert bench.observatory.world.job("cpFlat").inputs == [
        "u/ocps/job-02",
        "u/ocps/job-01",
        "LSSTComCam/calib/daily",
        "LSSTComCam/calib",
    ]


async def test_every_state_of_a_job_is_published(make) -> None:
    bench = make(script_mode="BIAS")
    await make_product(bench, "BIAS")
    jobs = bench.record.published(JobState)
    assert [(job.phase, job.exit_code, job.timestamp_ended > 0) for job in jobs] == [
        ("pending", -1, False),
        ("executing", -1, False),
        ("completed", 0, True),
    ]
    assert jobs[0].stage_name == "BIAS.GENERATE"
    assert jobs[0].output_collection == "u/ocps/job-01"
    assert jobs[0].log_path == "/scratch/uws/job-01/outs/ocps.log"
    assert jobs[0].log_url.endswith("/job/job-01/results")
    waits = [wait.for_what for wait in bench.record.waits]
    assert waits == [
        "the OCPS to accept cpBias",
        "the job cpBias (job-01), pending",
        "the job cpBias (job-01), executing",
    ]


async def test_job_that_fails_is_published_with_the_line_that_says_why(make) -> None:
    bench = make(script_mode="BIAS")
    bench.observatory.jobs.failing["cpBias"] = "Job job-01 failed: RuntimeError: no raws"
    with pytest.raises(StageError) as caught:
        await make_product(bench, "BIAS")
    assert str(caught.value) == (
        "The job cpBias (job-01) failed with exit code 1 in phase error: Job job-01 failed: RuntimeError: no raws"
    )
    assert bench.record.published(JobState)[-1].message == "Job job-01 failed: RuntimeError: no raws"
    assert bench.context.history.product(CalibType.BIAS) is None


async def test_job_that_is_refused_is_published(make) -> None:
    bench = make(script_mode="BIAS")
    bench.observatory.jobs.refused["cpBias"] = "OCPS:2 refused to execute: it is in FAULT."
    with pytest.raises(StageError, match=r"The job cpBias could not be run: OCPS:2 refused to execute: it is in FAULT"):
        await make_product(bench, "BIAS")
    assert bench.record.published(JobState) == []


STANDBY = "OCPS:2 is in STANDBY: enable it."


async def test_an_ocps_that_left_enabled_between_two_jobs_is_waited_for_and_the_run_goes_on(
    make, caplog: pytest.LogCaptureFixture
) -> None:
    bench = make(script_mode="BIAS")
    components = bench.observatory.components
    components.sentences = ["CCOODS is in FAULT: look at it.", "OCPS:20 is in FAULT: look at it.", STANDBY]
    caplog.set_level("INFO")
    making = bench.start(generate(bench.stage("BIAS.GENERATE"), bench.context))
    while not bench.record.waits:  # noqa: ASYNC110, a turn of the loop is all that is slept
        await asyncio.sleep(0)
    (waiting,) = bench.record.waits
    assert (waiting.who, waiting.for_what) == ("BIAS.GENERATE", f"the OCPS, for cpBias: {STANDBY}")
    assert 0 < waiting.limit_s <= bench.context.config.limits.ocps_enabled
    assert bench.observatory.jobs.labels == [], "nothing is sent to an OCPS that can't take it"
    components.sentences = ["CCOODS is in FAULT: look at it."]
    assert (await bench.done(making)).startswith("3 datasets of type bias")
    assert "BIAS.GENERATE waits: OCPS:2 is in STANDBY: enable it." in caplog.text
    assert "the OCPS is ENABLED again, the run goes on" in caplog.text


async def test_an_ocps_that_refuses_because_of_its_state_is_asked_again(make) -> None:
    bench = make(script_mode="BIAS")
    bench.observatory.jobs.not_enabled["cpBias"] = 3
    assert (await make_product(bench, "BIAS")).startswith("3 datasets of type bias")
    assert bench.observatory.jobs.labels == ["cpBias"]


@pytest.mark.parametrize("known", [True, False], ids=["seen", "only refused"])
async def test_an_ocps_that_is_not_enabled_in_time_fails_the_stage(make, known: bool) -> None:
    bench = make(script_mode="BIAS")
    if known:
        bench.observatory.components.sentences = [STANDBY]
        sentence = "OCPS:2 is in STANDBY: enable it. The run waited for that for 600 s; the job was not submitted."
    else:
        bench.observatory.jobs.not_enabled["cpBias"] = 10**6
        sentence = "OCPS:2 refused to execute. It is not ENABLED: enable it."
    with pytest.raises(StageError, match=f"The job cpBias could not be run: {sentence}"):
        await make_product(bench, "BIAS")
    assert bench.observatory.jobs.labels == []


async def test_detector_of_which_a_completed_job_left_nothing_is_named(make) -> None:
    bench = make(script_mode="BIAS")
    bench.observatory.world.missing.add(("cpBias", 4))
    with pytest.raises(
        StageError, match=r"cpBias \(job-01\) completed, but u/ocps/job-01/run does not have all of its bias"
    ):
        await make_product(bench, "BIAS")


async def test_job_that_completes_without_any_dataset_fails_the_stage(make) -> None:
    bench = make(script_mode="BIAS")
    bench.observatory.world.missing |= {("cpBias", detector) for detector in (0, 1, 4)}
    with pytest.raises(StageError, match="R22_S00, R22_S01, R22_S11 is missing"):
        await make_product(bench, "BIAS")
    assert bench.context.history.job("cpBias").distrusted, "another attempt must do it again"


async def test_detector_of_which_nothing_was_made_is_left_out_on_request(make, caplog) -> None:
    bench = make(script_mode="BIAS_DARK", certify_good_detectors=True)
    bench.observatory.world.missing.add(("cpBias", 4))
    reason = await make_product(bench, "BIAS")
    assert reason == ("2 datasets of type bias are in u/ocps/job-01/run, without R22_S11, for which none was made")
    assert "the job cpBias (job-01) completed, but made no bias for R22_S11, which is left out" in caplog.text
    # The dark of that detector would be made with an older bias, or not at all.
    reason = await make_product(bench, "DARK")
    assert reason.endswith("without R22_S11, for which none was made")
    assert {one.detector for one in bench.context.history.product(CalibType.DARK).datasets} == {0, 1}


async def test_without_a_single_detector_the_request_does_not_help(make) -> None:
    bench = make(script_mode="BIAS", certify_good_detectors=True)
    bench.observatory.world.missing |= {("cpBias", detector) for detector in (0, 1, 4)}
    with pytest.raises(StageError, match="R22_S00, R22_S01, R22_S11 is missing"):
        await make_product(bench, "BIAS")
    assert bench.context.history.job("cpBias").distrusted


async def test_defects_leave_out_a_detector_of_which_a_bootstrap_is_missing(make) -> None:
    bench = make(do_defects=True, certify_good_detectors=True)
    bench.observatory.world.missing.add(("cpDarkBootstrap", 1))
    await make_product(bench, "DEFECTS")
    made = {label: {one.detector for one in it.datasets} for label, it in bench.context.history.made.items()}
    assert made == {
        "cpBiasBootstrap": {0, 1, 4},
        **{label: {0, 4} for label in ("cpDarkBootstrap", "cpFlatBootstrap", "cpDefects")},
    }


async def test_older_product_of_a_detector_that_is_left_out_does_no_harm_but_that_of_another_does(make) -> None:
    bench = make(script_mode="BIAS_DARK", certify_good_detectors=True)
    bench.observatory.world.missing.add(("cpBias", 4))
    await make_product(bench, "BIAS")
    asked = []

    async def foreign(collection, dataset_type, exposures, detectors, run):
        asked.append(list(detectors))
        return [f"Detector {one}: an older bias." for one in detectors if one == 4]

    bench.observatory.repository.foreign_inputs = foreign
    await make_product(bench, "DARK")
    assert asked == [[0, 1]]


async def test_flat_that_lacks_a_filter_of_one_detector_leaves_it_out(make) -> None:
    bench = make(certify_good_detectors=True)
    world = bench.observatory.world
    for exposure in world.of_kind("FLAT")[2:]:
        world.filters[exposure.exposure_id] = "i_06"
    await make_product(bench, "BIAS", "DARK")
    complete = world.complete

    def complete_without_one(job) -> None:
        complete(job)
        datasets = world.datasets[job.run_collection, "flat"]
        datasets[:] = [one for one in datasets if (one.detector, one.physical_filter) != (1, "i_06")]

    world.complete = complete_without_one
    assert "without R22_S01, for which none was made" in await make_product(bench, "FLAT")
    assert {one.detector for one in bench.context.history.product(CalibType.FLAT).datasets} == {0, 4}


async def test_job_without_an_exposure_that_counts_is_not_submitted(make_bench) -> None:
    """Its query would name no exposure, and so all that the repository has."""
    bench = make_bench(script_mode="BIAS")
    bench.record.move("BIAS.INGEST", StageState.SUCCEEDED)
    with pytest.raises(
        StageError, match="The job cpBias was not submitted: the run has no exposure of BIAS that counts"
    ):
        await make_product(bench, "BIAS")
    assert bench.observatory.jobs.labels == []


async def test_detector_that_nobody_asked_for_is_not_certified_along(make) -> None:
    bench = make(script_mode="BIAS")
    stage = bench.stage("BIAS.GENERATE")
    world = bench.observatory.world
    complete = world.complete

    def complete_with_more(job) -> None:
        complete(job)
        datasets = world.datasets[job.run_collection, "bias"]
        datasets.append(type(datasets[0])("another", 8, None, None, job.run_collection))

    world.complete = complete_with_more
    await generate(stage, bench.context)
    assert sorted(one.detector for one in bench.context.history.product(CalibType.BIAS).datasets) == [0, 1, 4]


async def test_flats_are_counted_for_each_physical_filter(make) -> None:
    bench = make()
    world = bench.observatory.world
    for exposure in world.of_kind("FLAT")[2:]:
        world.filters[exposure.exposure_id] = "i_06"
    reason = await make_product(bench, "BIAS", "DARK", "FLAT")
    assert reason == "6 datasets of type flat are in u/ocps/job-03/run"


async def test_filter_for_which_no_flats_were_made_is_named(make) -> None:
    bench = make()
    world = bench.observatory.world
    for exposure in world.of_kind("FLAT")[2:]:
        world.filters[exposure.exposure_id] = "i_06"
    world.missing_filters.add("i_06")
    await make_product(bench, "BIAS", "DARK")
    with pytest.raises(StageError, match="R22_S00 in i_06, R22_S01 in i_06, R22_S11 in i_06 is missing"):
        await make_product(bench, "FLAT")


async def test_flat_of_which_the_filter_is_not_known_fails_the_stage(make) -> None:
    bench = make()
    bench.observatory.world.filters[bench.context.history.exposure_ids(CalibType.FLAT)[1]] = ""
    with pytest.raises(StageError, match=f"does not know the filter of the exposures {FIRST_EXPOSURE + 5}"):
        await make_product(bench, "BIAS", "DARK", "FLAT")


async def test_older_product_that_came_first_in_the_chain_fails_the_stage(make) -> None:
    """An older bias, certified in a collection that somebody has put before ours."""
    bench = make()
    await make_product(bench, "BIAS")
    world = bench.observatory.world
    ours = f"u/ocps/{world.job('cpBias').job_id}"
    complete = world.complete

    def complete_with_another_chain(job) -> None:
        complete(job)
        chain = world.chains[f"u/ocps/{job.job_id}"]
        world.datasets["u/somebody/run", "bias"] = [
            type(one)("old", one.detector, None, None, "u/somebody/run")
            for one in world.datasets[f"{ours}/run", "bias"]
        ]
        chain.insert(1, "u/somebody/run")

    world.complete = complete_with_another_chain
    with pytest.raises(StageError) as caught:
        await make_product(bench, "DARK")
    assert "The job cpDark (job-02) did not use this run's own products only, so its output can't be trusted" in str(
        caught.value
    )
    assert "detector 4 used u/somebody/run" in str(caught.value)


async def test_not_knowing_what_a_job_used_is_not_good(make) -> None:
    bench = make()
    await make_product(bench, "BIAS")
    bench.observatory.repository.errors["foreign_inputs"] = "Butler could not look within 60 s"
    with pytest.raises(
        StageError, match="which bias it used could not be looked up: Butler could not look within 60 s"
    ):
        await make_product(bench, "DARK")


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        ("missing_collections", "The job cpBias could not be submitted: the database is down"),
        ("datasets", "What the job cpBias (job-01) made could not be looked up: the database is down"),
    ],
)
async def test_butler_that_does_not_answer_fails_the_stage(make, method: str, sentence: str) -> None:
    bench = make(script_mode="BIAS")
    bench.observatory.repository.errors[method] = "the database is down"
    with pytest.raises(StageError) as caught:
        await make_product(bench, "BIAS")
    assert str(caught.value) == sentence


async def test_gains_of_each_pair_and_detector_are_published(make) -> None:
    bench = make(do_gain_from_flat_pairs=True)
    assert (
        await make_product(bench, "BIAS", "DARK", "GAIN") == "6 datasets of type cpPtcPartial are in u/ocps/job-03/run"
    )
    flats = bench.context.history.exposure_ids(CalibType.FLAT)
    estimates = bench.record.published(GainEstimate)
    assert [(one.exposure_id, one.detector) for one in estimates] == [
        (exposure, detector) for exposure in (flats[0], flats[2]) for detector in (0, 1, 4)
    ]
    assert {one.gain for one in estimates} == {(1.7,) * 16}


async def test_amplifiers_that_were_not_measured_are_nan(make) -> None:
    bench = make(do_gain_from_flat_pairs=True)
    repository = bench.observatory.repository
    some = AmplifierValues({AMPLIFIERS[0]: 1.5, AMPLIFIERS[1]: math.nan}, {AMPLIFIERS[0]: 6.0})

    async def gain_values(*_args):
        return {(FIRST_EXPOSURE + 4, 0): some}

    repository.gain_values = gain_values
    await make_product(bench, "BIAS", "DARK", "GAIN")
    (estimate,) = bench.record.published(GainEstimate)
    assert len(estimate.gain) == len(estimate.noise) == 16
    assert (estimate.gain[0], estimate.noise[0]) == (1.5, 6.0)
    assert all(math.isnan(value) for value in (*estimate.gain[1:], *estimate.noise[1:]))


async def test_only_pairs_that_cp_pipe_makes_are_expected(make) -> None:
    """Of four flats of the same time it makes one pair."""
    bench = make(do_gain_from_flat_pairs=True, exp_times_flat=3.0)
    assert (
        await make_product(bench, "BIAS", "DARK", "GAIN") == "3 datasets of type cpPtcPartial are in u/ocps/job-03/run"
    )


async def test_pair_of_which_nothing_was_made_fails_the_stage(make) -> None:
    bench = make(do_gain_from_flat_pairs=True)
    await make_product(bench, "BIAS", "DARK")
    world = bench.observatory.world
    complete = world.complete

    def complete_but_one(job) -> None:
        complete(job)
        world.datasets[job.run_collection, "cpPtcPartial"].pop()

    world.complete = complete_but_one
    with pytest.raises(StageError, match="does not have all of its cpPtcPartial: R22_S11 is missing"):
        await make_product(bench, "GAIN")


async def test_gains_that_can_not_be_read_fail_the_stage(make) -> None:
    bench = make(do_gain_from_flat_pairs=True)
    bench.observatory.repository.errors["gain_values"] = "the file is broken"
    with pytest.raises(StageError, match="The gains of job job-03 could not be read: the file is broken"):
        await make_product(bench, "BIAS", "DARK", "GAIN")
