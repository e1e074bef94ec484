# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan is DESIGN's table of stages, for every combination of options."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsst.ts.comcamcalib.enums import CalibType, StageKind
from lsst.ts.comcamcalib.plan.plan import JobPlan, RunPlan
from support.plans import RUN_ID, make_config, make_plan

FLAGS = ("generate_calibrations", "do_verify", "certify_unverified", "do_defects", "do_ptc", "do_gain_from_flat_pairs")
MODES = ("BIAS", "BIAS_DARK", "BIAS_DARK_FLAT", "DARK")
EXTRA = {"DEFECTS": "do_defects", "PTC": "do_ptc", "GAIN": "do_gain_from_flat_pairs"}
BUILDS_ON = {"DARK": ["BIAS"], "FLAT": ["BIAS", "DARK"], "PTC": ["BIAS", "DARK"], "GAIN": ["BIAS", "DARK"]}
FRAMES = {"DEFECTS": ["BIAS", "DARK", "FLAT"], "PTC": ["FLAT"], "GAIN": ["FLAT"]}

CASES = [
    {"script_mode": mode, **dict(zip(FLAGS, flags, strict=True))}
    for mode in MODES
    for flags in itertools.product([False, True], repeat=len(FLAGS))
    # The options' own checks refuse these products in other modes.
    if mode == "BIAS_DARK_FLAT" or not any(flags[3:])
]
SOME_OPTIONS = st.sampled_from(CASES)


def plan_of(case: dict[str, Any], **more: Any) -> RunPlan:
    return make_plan(**{**case, **more})


def table(case: dict[str, Any]) -> dict[str, set[str]]:
    """Return what DESIGN says: stages by name, each with the stages that must have SUCCEEDED before."""
    taken = case["script_mode"].split("_")
    made = taken if case["generate_calibrations"] else []
    made = made + [name for name, flag in EXTRA.items() if case[flag]]
    good = "VERIFY" if case["do_verify"] else "GENERATE"
    stages: dict[str, set[str]] = {}
    for name in taken:
        stages |= {f"{name}.ACQUIRE": set(), f"{name}.INGEST": set()}
    for name in made:
        frames = {f"{one}.INGEST" for one in FRAMES.get(name, [name])}
        usable = "GENERATE" if case.get("speculate", True) else good
        products = {f"{one}.{usable}" for one in BUILDS_ON.get(name, []) if one in made}
        stages[f"{name}.GENERATE"] = frames | products
    if case["do_verify"]:
        for name in dict.fromkeys([*taken, *made]):
            stages[f"{name}.VERIFY"] = {f"{name}.{'GENERATE' if name in made else 'INGEST'}"}
    if case["generate_calibrations"] and (case["do_verify"] or case["certify_unverified"]):
        for name in set(made) - {"GAIN"}:
            bases = {f"{one}.VERIFY" for one in BUILDS_ON.get(name, []) if one in made and case["do_verify"]}
            stages[f"{name}.CERTIFY"] = {f"{name}.{good}"} | bases
    return stages


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: "-".join([case["script_mode"], *(n for n in FLAGS if case[n])])
)
def test_stages_are_those_of_the_table(case: dict[str, Any]) -> None:
    plan = plan_of(case)
    assert {stage.name: set(stage.needs) for stage in plan.stages} == table(case)


@pytest.mark.parametrize("case", CASES[:: len(CASES) // 16], ids=str)
def test_stage_names_say_type_and_kind(case: dict[str, Any]) -> None:
    for stage in plan_of(case).stages:
        assert stage.name == f"{stage.calib_type.name}.{stage.kind.name}"
        assert plan_of(case).stage(stage.calib_type, stage.kind) == stage


@settings(max_examples=40, deadline=None)
@given(SOME_OPTIONS)
def test_each_stage_stands_after_all_that_it_waits_for(case: dict[str, Any]) -> None:
    """So the graph has no circle, and nothing that is waited for is missing."""
    seen: set[str] = set()
    for stage in plan_of(case).stages:
        waits_for = {*stage.needs, *stage.after, *([stage.alongside] if stage.alongside else [])}
        assert waits_for <= seen, stage.name
        assert stage.name not in seen
        seen.add(stage.name)


def before(plan: RunPlan, name: str) -> set[str]:
    """Return a stage and all that must have SUCCEEDED before it."""
    stages = {stage.name: stage for stage in plan.stages}
    return {name}.union(*(before(plan, need) for need in stages[name].needs))


def job_plans(plan: RunPlan) -> dict[str, JobPlan]:
    return {job.label: job for stage in plan.stages for job in stage.jobs}


@settings(max_examples=40, deadline=None)
@given(SOME_OPTIONS, st.booleans())
def test_what_a_job_uses_of_this_run_succeeded_before_it(case: dict[str, Any], speculate: bool) -> None:
    """And comes from behind its verification if the run does not speculate."""
    plan = plan_of(case, speculate=speculate)
    made_by = {job.label: stage for stage in plan.stages for job in stage.jobs}
    for stage in plan.stages:
        for job in stage.jobs:
            assert set(job.needs) == set(job.inputs) == set(job.uses.values())
            for label in job.needs:
                maker = made_by[label]
                assert maker.name in before(plan, stage.name)
                verified = f"{maker.calib_type.name}.VERIFY"
                must_be_verified = case["do_verify"] and not speculate and stage.kind is StageKind.GENERATE
                if must_be_verified and maker is not stage:
                    assert verified in before(plan, stage.name)
                    assert verified in job.needs_stages


@settings(max_examples=40, deadline=None)
@given(SOME_OPTIONS, st.booleans())
def test_a_job_waits_for_nothing_that_its_stage_does_not_need(case: dict[str, Any], speculate: bool) -> None:
    plan = plan_of(case, speculate=speculate)
    for stage in plan.stages:
        for job in stage.jobs:
            assert set(job.needs_stages) <= before(plan, stage.name) - {stage.name}
            taken = case["script_mode"].split("_")
            ingests = {name for name in job.needs_stages if name.endswith(".INGEST")}
            assert ingests == {f"{frames.name}.INGEST" for frames in job.frames if frames.name in taken}


@settings(max_examples=40, deadline=None)
@given(SOME_OPTIONS, st.booleans())
def test_a_product_trusts_the_verdicts_on_all_that_it_was_built_on(case: dict[str, Any], speculate: bool) -> None:
    plan = plan_of(case, speculate=speculate)
    for stage in plan.stages:
        if stage.kind is StageKind.CERTIFY:
            verdicts = {name for name in before(plan, stage.name) if name.endswith(".VERIFY")}
            generate = plan.stage(stage.calib_type, StageKind.GENERATE)
            assert generate is not None
            own = {f"{stage.calib_type.name}.VERIFY"} if case["do_verify"] else set()
            assert verdicts == own | set(generate.trusts)
        if stage.kind in (StageKind.GENERATE, StageKind.VERIFY):
            made = {other.calib_type.name for other in plan.stages if other.kind is StageKind.GENERATE}
            bases = [one for one in BUILDS_ON.get(stage.calib_type.name, []) if one in made]
            assert stage.trusts == tuple(f"{one}.VERIFY" for one in bases if case["do_verify"])


@settings(max_examples=40, deadline=None)
@given(SOME_OPTIONS)
def test_only_what_this_run_made_and_verified_is_certified(case: dict[str, Any]) -> None:
    for stage in plan_of(case).stages:
        if stage.kind is not StageKind.CERTIFY:
            continue
        assert stage.calib_type is not CalibType.GAIN
        kinds = {need.split(".")[1] for need in stage.needs}
        assert kinds == ({"VERIFY"} if case["do_verify"] else {"GENERATE"})
        assert case["do_verify"] or case["certify_unverified"]
        assert case["generate_calibrations"]


def test_flats_trust_the_biases_under_their_darks_too() -> None:
    config = make_config()
    recipes = config.model_dump()["recipes"]
    recipes["FLAT"]["builds_on"] = ["DARK"]
    plan = make_plan(make_config(recipes=recipes))
    stage, certify = plan.stage(CalibType.FLAT, StageKind.GENERATE), plan.stage(CalibType.FLAT, StageKind.CERTIFY)
    assert stage is not None and certify is not None
    assert stage.needs == ("FLAT.INGEST", "DARK.GENERATE")
    assert stage.trusts == ("BIAS.VERIFY", "DARK.VERIFY")
    assert certify.needs == ("FLAT.VERIFY", "BIAS.VERIFY", "DARK.VERIFY")


NAMES = [calib_type.name for calib_type in CalibType]


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(*(st.sets(st.sampled_from(NAMES[:position] or ["BIAS"])) for position in range(len(NAMES)))),
    st.booleans(),
    st.booleans(),
)
def test_no_recipes_make_stages_wait_for_each_other(
    builds_on: tuple[set[str], ...], speculate: bool, do_verify: bool
) -> None:
    recipes = make_config().model_dump()["recipes"]
    for name, bases in zip(NAMES[1:], builds_on[1:], strict=True):
        recipes[name]["builds_on"] = sorted(bases)
    extra = dict.fromkeys(EXTRA.values(), True)
    plan = make_plan(make_config(recipes=recipes), speculate=speculate, do_verify=do_verify, **extra)
    seen: set[str] = set()
    for stage in plan.stages:
        assert seen.issuperset(stage.waits_for)
        seen.add(stage.name)


def test_camera_takes_one_type_after_the_other_and_ingest_goes_alongside() -> None:
    stages = {stage.name: stage for stage in make_plan().stages}
    assert stages["BIAS.ACQUIRE"].after == ()
    assert stages["DARK.ACQUIRE"].after == ("BIAS.ACQUIRE",)
    assert stages["FLAT.ACQUIRE"].after == ("DARK.ACQUIRE",)
    for name in ("BIAS", "DARK", "FLAT"):
        assert stages[f"{name}.INGEST"].alongside == f"{name}.ACQUIRE"


def test_what_speaks_against_frames_is_heard_before_a_product_of_theirs_is_called_good() -> None:
    stages = {
        stage.name: stage for stage in make_plan(do_defects=True, do_ptc=True, do_gain_from_flat_pairs=True).stages
    }
    assert stages["FLAT.VERIFY"].after == ("PTC.GENERATE", "GAIN.GENERATE")
    assert stages["DEFECTS.VERIFY"].after == ("BIAS.VERIFY", "DARK.VERIFY", "FLAT.VERIFY")
    assert stages["PTC.VERIFY"].after == stages["GAIN.VERIFY"].after == ("FLAT.VERIFY",)
    assert stages["BIAS.VERIFY"].after == stages["DARK.VERIFY"].after == ()
    assert {stage.name: stage for stage in make_plan().stages}["FLAT.VERIFY"].after == ()


def test_frames_are_numbered_and_grouped_by_run_and_type() -> None:
    sequence = make_plan(n_discard_dark=1, max_retakes=5, wait_between_exposures=3).sequences[CalibType.DARK]
    assert sequence.group_id == f"{RUN_ID}-DARK"
    assert [(frame.index, frame.exposure_time_s, frame.discarded) for frame in sequence.frames] == [
        (1, 30.0, True),
        (2, 30.0, False),
        (3, 30.0, False),
    ]
    assert (sequence.max_retakes, sequence.pause_s) == (5, 3.0)


def test_inputs_come_from_this_run_then_the_calib_collection_then_the_options() -> None:
    plan = make_plan(
        calib_collection="LSSTComCam/calib/daily",
        input_collections_flat="LSSTComCam/calib/flats,LSSTComCam/calib",
        input_collections_verify_flat="LSSTComCam/calib/other",
    )
    generate, verify = plan.stage(CalibType.FLAT, StageKind.GENERATE), plan.stage(CalibType.FLAT, StageKind.VERIFY)
    assert generate is not None and verify is not None
    (job,) = generate.jobs
    assert job.inputs == ("cpDark", "cpBias")
    assert job.collections == ("LSSTComCam/calib/daily", "LSSTComCam/calib/flats", "LSSTComCam/calib")
    assert job.uses == {"bias": "cpBias", "dark": "cpDark"}
    (check,) = verify.jobs
    assert check.inputs == ("cpFlat", "cpDark", "cpBias")
    assert check.collections == ("LSSTComCam/calib/daily", "LSSTComCam/calib/other")
    assert check.uses == {"bias": "cpBias", "dark": "cpDark", "flat": "cpFlat"}


def test_collection_that_is_named_twice_is_searched_once() -> None:
    stage = make_plan(input_collections_bias="LSSTComCam/calib/daily,LSSTComCam/calib").stage(
        CalibType.BIAS, StageKind.GENERATE
    )
    assert stage is not None
    assert stage.jobs[0].collections == ("LSSTComCam/calib/daily", "LSSTComCam/calib")


def test_dark_alone_takes_its_bias_from_the_input_collections() -> None:
    plan = make_plan(script_mode="DARK", input_collections_dark="LSSTComCam/calib/biases")
    stage = plan.stage(CalibType.DARK, StageKind.GENERATE)
    assert stage is not None
    assert stage.needs == ("DARK.INGEST",)
    (job,) = stage.jobs
    assert (job.inputs, job.uses) == ((), {})
    assert job.collections == ("LSSTComCam/calib/daily", "LSSTComCam/calib/biases")


def test_verification_without_generation_judges_the_input_collections_and_nothing_else() -> None:
    plan = make_plan(generate_calibrations=False, input_collections_verify_dark="LSSTComCam/calib/u")
    stage = plan.stage(CalibType.DARK, StageKind.VERIFY)
    assert stage is not None
    assert (stage.jobs[0].inputs, stage.jobs[0].uses, stage.jobs[0].collections) == ((), {}, ("LSSTComCam/calib/u",))


def test_jobs_of_defects_build_on_each_other_only() -> None:
    stage = make_plan(do_defects=True).stage(CalibType.DEFECTS, StageKind.GENERATE)
    assert stage is not None
    jobs = {job.label: job for job in stage.jobs}
    assert list(jobs) == ["cpBiasBootstrap", "cpDarkBootstrap", "cpFlatBootstrap", "cpDefects"]
    assert [job.frames for job in stage.jobs] == [(CalibType.BIAS,), (CalibType.DARK,), (CalibType.FLAT,), ()]
    assert jobs["cpDarkBootstrap"].uses == {"biasBootstrap": "cpBiasBootstrap"}
    assert jobs["cpFlatBootstrap"].inputs == ("cpDarkBootstrap", "cpBiasBootstrap")
    assert jobs["cpDefects"].inputs == ("cpFlatBootstrap", "cpDarkBootstrap", "cpBiasBootstrap")
    assert set(jobs["cpDefects"].uses) == {"biasBootstrap", "darkBootstrap", "flatBootstrap"}


def test_bootstraps_of_defects_do_not_wait_for_frames_of_other_types() -> None:
    jobs = job_plans(make_plan(do_defects=True))
    assert jobs["cpBiasBootstrap"].needs == ()
    assert jobs["cpBiasBootstrap"].needs_stages == ("BIAS.INGEST",)
    assert jobs["cpDarkBootstrap"].needs_stages == ("DARK.INGEST",)
    assert jobs["cpFlatBootstrap"].needs_stages == ("FLAT.INGEST",)
    assert jobs["cpDefects"].needs_stages == ()


def test_jobs_that_do_not_use_each_other_do_not_wait_for_each_other() -> None:
    recipes = make_config().model_dump()["recipes"]
    for job in recipes["DEFECTS"]["jobs"][:3]:
        job["uses"] = []
    jobs = job_plans(make_plan(make_config(recipes=recipes), do_defects=True))
    assert [jobs[label].needs for label in ("cpBiasBootstrap", "cpDarkBootstrap", "cpFlatBootstrap")] == [(), (), ()]
    assert jobs["cpFlatBootstrap"].inputs == ()


@pytest.mark.parametrize("generate", [True, False])
@pytest.mark.parametrize("speculate", [True, False])
def test_ptc_builds_on_this_runs_products_where_there_are_any(generate: bool, speculate: bool) -> None:
    plan = make_plan(do_ptc=True, generate_calibrations=generate, speculate=speculate)
    stage = plan.stage(CalibType.PTC, StageKind.GENERATE)
    assert stage is not None
    (job,) = stage.jobs
    assert job.uses == ({"bias": "cpBias", "dark": "cpDark"} if generate else {})
    kind = "GENERATE" if speculate else "VERIFY"
    assert stage.needs == (("FLAT.INGEST", f"BIAS.{kind}", f"DARK.{kind}") if generate else ("FLAT.INGEST",))
    gates = ("BIAS.VERIFY", "DARK.VERIFY") if generate and not speculate else ()
    assert job.needs_stages == ("FLAT.INGEST", *gates)


@pytest.mark.parametrize("generate", [True, False])
def test_ptc_is_verified_with_the_flats_that_it_is_made_of_and_this_runs_curves_only(generate: bool) -> None:
    plan = make_plan(
        do_ptc=True,
        generate_calibrations=generate,
        calib_collection="LSSTComCam/calib/daily",
        input_collections_verify_ptc="LSSTComCam/calib/other",
    )
    stage = plan.stage(CalibType.PTC, StageKind.VERIFY)
    assert stage is not None
    (job,) = stage.jobs
    assert (job.label, job.dataset_type, job.dimensions) == ("verifyPtc", "verifyPtcStats", "")
    assert job.uses == {"ptc": "cpPtc"} and job.inputs == job.needs == ("cpPtc",)
    assert job.frames == (CalibType.FLAT,) and job.needs_stages == ("FLAT.INGEST",)
    assert job.collections == ("LSSTComCam/calib/daily", "LSSTComCam/calib/other")
    assert stage.needs == ("PTC.GENERATE",) and stage.after == ("FLAT.VERIFY",)


def test_ptc_has_no_verification_job_where_the_recipe_or_the_operator_wants_none() -> None:
    recipes = make_config().model_dump()["recipes"]
    recipes["PTC"]["verification"] = None
    stage = make_plan(make_config(recipes=recipes), do_ptc=True).stage(CalibType.PTC, StageKind.VERIFY)
    assert stage is not None and stage.jobs == ()
    assert make_plan(do_ptc=True, do_verify=False).stage(CalibType.PTC, StageKind.VERIFY) is None


def test_each_job_has_a_label_of_its_own() -> None:
    plan = make_plan(do_defects=True, do_ptc=True, do_gain_from_flat_pairs=True)
    labels = [job.label for stage in plan.stages for job in stage.jobs]
    assert len(set(labels)) == len(labels) == plan.jobs_expected


def test_more_options_of_the_operator_go_to_the_job_that_they_are_for() -> None:
    plan = make_plan(do_defects=True, config_options_defects="-c a:b=1", config_options_bias="-c c:d=2", n_processes=3)
    jobs = {job.label: job for stage in plan.stages for job in stage.jobs}
    assert {label: job.config_options for label, job in jobs.items() if job.config_options} == {
        "cpDefects": "-c a:b=1",
        "cpBias": "-c c:d=2",
    }
    assert {job.n_processes for job in jobs.values()} == {3}


def test_counts_and_names() -> None:
    plan = make_plan(n_discard_bias=1)
    assert plan.images_expected == 3 + 2 + 4
    assert plan.detector_names == {0: "R22_S00", 1: "R22_S01", 4: "R22_S11"}
    assert plan.stage(CalibType.PTC, StageKind.GENERATE) is None
    assert plan.recipe(CalibType.BIAS) is make_config().recipes["BIAS"]
