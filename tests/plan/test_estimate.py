# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a run takes: the schedule of its jobs, its critical path, and what is left of it."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsst.ts.comcamcalib.enums import StageKind
from lsst.ts.comcamcalib.plan.estimate import (
    ALMOST_DONE,
    Work,
    durations,
    fraction_done,
    remaining_s,
    schedule,
    urgency,
)
from lsst.ts.comcamcalib.plan.plan import RunPlan
from support.plans import make_config, make_plan

ESTIMATES = {"readout_s": 2.0, "ingest_s": 10.0, "job_s": 100.0}
CERTIFICATION_S = 1.0


def test_bias_run_takes_exposures_then_ingest_then_two_jobs() -> None:
    plan = make_plan(make_config(estimates=ESTIMATES), script_mode="BIAS")
    assert plan.estimated_duration_s == pytest.approx(2 * 2.0 + 10.0 + 2 * 100.0 + CERTIFICATION_S)


def test_jobs_on_biases_run_while_darks_are_taken() -> None:
    plan = make_plan(make_config(estimates=ESTIMATES), script_mode="BIAS_DARK", n_dark=20)
    exposures = 2 * 2.0 + 20 * 32.0
    # The darks take longer than all that is done with the biases.
    assert plan.estimated_duration_s == pytest.approx(exposures + 10.0 + 2 * 100.0 + CERTIFICATION_S)


def test_flats_wait_for_the_products_before_them_but_not_for_their_verdicts() -> None:
    plan = make_plan(make_config(estimates=ESTIMATES))
    assert plan.estimated_duration_s == pytest.approx(2 * 2.0 + 10.0 + 4 * 100.0 + CERTIFICATION_S)


def test_pauses_between_exposures_count_but_not_after_the_last() -> None:
    config = make_config(estimates=ESTIMATES)
    plan, paused = (
        make_plan(config, script_mode="BIAS"),
        make_plan(config, script_mode="BIAS", wait_between_exposures=7),
    )
    assert paused.estimated_duration_s - plan.estimated_duration_s == pytest.approx(7.0)


def test_durations_of_jobs_and_of_what_stages_do_beside_them() -> None:
    seconds = durations(make_plan(make_config(estimates=ESTIMATES), do_defects=True))
    assert seconds["DARK.ACQUIRE"] == pytest.approx(2 * 32.0)
    assert seconds["DARK.INGEST"] == 10.0
    assert seconds["cpDefects"] == seconds["verifyFlat"] == 100.0
    assert seconds["DEFECTS.GENERATE"] == seconds["FLAT.VERIFY"] == 0.0
    assert seconds["DEFECTS.VERIFY"] == seconds["DEFECTS.CERTIFY"] == CERTIFICATION_S


EVERYTHING = {"do_defects": True, "do_ptc": True, "do_gain_from_flat_pairs": True}


def test_schedule_of_a_whole_run() -> None:
    """Two biases end at 4 s, two darks at 68 s, four flats at 82 s; ingest takes 10 s."""
    done = schedule(make_plan(make_config(estimates=ESTIMATES, max_jobs=20), **EVERYTHING))
    assert {label: (span.begin_s, span.end_s) for label, span in done.jobs.items()} == {
        "cpBias": (14, 114),
        "cpBiasBootstrap": (14, 114),
        "verifyBias": (114, 214),
        "cpDark": (114, 214),
        "cpDarkBootstrap": (114, 214),
        "verifyDark": (214, 314),
        "cpFlat": (214, 314),
        "cpFlatBootstrap": (214, 314),
        "cpPtc": (214, 314),
        "cpPtcGainFromFlatPairs": (214, 314),
        "verifyFlat": (314, 414),
        "verifyPtc": (314, 414),
        "cpDefects": (314, 414),
    }
    assert (done.stages["BIAS.INGEST"].begin_s, done.stages["BIAS.INGEST"].end_s) == (0, 14)
    assert (done.stages["DEFECTS.GENERATE"].begin_s, done.stages["DEFECTS.GENERATE"].end_s) == (14, 414)
    assert done.stages["FLAT.CERTIFY"].begin_s == 414
    assert done.makespan_s == 416


def test_critical_path_names_what_determines_the_end_of_the_run() -> None:
    config = make_config(estimates=ESTIMATES)
    jobs = ("cpBias", "cpDark", "cpFlat", "verifyFlat")
    assert schedule(make_plan(config)).critical_path == ("BIAS.ACQUIRE", "BIAS.INGEST", *jobs, "FLAT.CERTIFY")
    slow = schedule(make_plan(config, exp_times_dark=500))
    frames = ("BIAS.ACQUIRE", "DARK.ACQUIRE", "DARK.INGEST")
    assert slow.critical_path == (*frames, "cpDark", "cpFlat", "verifyFlat", "FLAT.CERTIFY")


def test_without_speculation_a_product_waits_for_the_verdicts_on_its_bases() -> None:
    done = schedule(make_plan(make_config(estimates=ESTIMATES), speculate=False))
    assert done.jobs["cpDark"].begin_s == done.jobs["verifyBias"].end_s == 214
    assert done.jobs["cpFlat"].begin_s == done.jobs["verifyDark"].end_s == 414
    assert done.makespan_s == 615


def test_verification_job_does_not_wait_for_the_gains_that_are_heard_before_its_verdict() -> None:
    config = make_config(estimates=ESTIMATES, max_jobs=2)
    done = schedule(make_plan(config, do_gain_from_flat_pairs=True))
    assert done.jobs["verifyFlat"].begin_s < done.jobs["cpPtcGainFromFlatPairs"].end_s
    assert done.stages["FLAT.VERIFY"].end_s == done.jobs["cpPtcGainFromFlatPairs"].end_s


def test_one_place_at_the_uws_is_given_to_the_most_urgent_job() -> None:
    """And is on the critical path, although the jobs do not need each other."""
    plan = make_plan(make_config(estimates=ESTIMATES, max_jobs=1), do_defects=True)
    done = schedule(plan)
    begins = sorted(done.jobs, key=lambda label: done.jobs[label].begin_s)
    assert begins[0] == "cpBias"
    assert done.critical_path[:3] == ("BIAS.ACQUIRE", "BIAS.INGEST", "cpBias")
    assert [name for name in done.critical_path if name in done.jobs] == begins
    assert done.makespan_s == pytest.approx(14 + 100 * len(begins) + 2 * CERTIFICATION_S)


def test_urgency_is_the_way_to_the_end_of_the_run() -> None:
    urgencies = urgency(make_plan(make_config(estimates=ESTIMATES), do_defects=True))
    # FLAT.VERIFY is heard before the verdict on the defects, which are certified after that.
    assert urgencies["verifyFlat"] == urgencies["cpDefects"] == 100 + 2 * CERTIFICATION_S
    assert urgencies["cpBias"] == 400 + 2 * CERTIFICATION_S
    assert urgencies["cpBiasBootstrap"] == 400 + 2 * CERTIFICATION_S
    assert urgencies["verifyDark"] == 100 + 2 * CERTIFICATION_S


CASES = st.fixed_dictionaries(
    {
        "script_mode": st.just("BIAS_DARK_FLAT"),
        "speculate": st.booleans(),
        "do_verify": st.booleans(),
        "generate_calibrations": st.booleans(),
        "do_defects": st.booleans(),
        "do_ptc": st.booleans(),
        "do_gain_from_flat_pairs": st.booleans(),
    }
)
SECONDS = st.sampled_from([0.5, 1.0, 7.0, 20.0, 300.0])


@st.composite
def plans(draw: st.DrawFn) -> RunPlan:
    estimates = {"readout_s": draw(SECONDS), "ingest_s": draw(SECONDS), "job_s": draw(SECONDS)}
    config = make_config(estimates=estimates, max_jobs=draw(st.integers(1, 9)))
    return make_plan(config, exp_times_dark=draw(SECONDS), **draw(CASES))


@settings(max_examples=60, deadline=None)
@given(plans())
def test_nothing_begins_before_what_it_needs_has_ended(plan: RunPlan) -> None:
    done = schedule(plan)
    for stage in plan.stages:
        span = done.stages[stage.name]
        for name in stage.waits_for:
            assert span.end_s >= done.stages[name].end_s
        for job in stage.jobs:
            begin_s = done.jobs[job.label].begin_s
            assert all(done.jobs[label].end_s <= begin_s for label in job.needs)
            assert all(done.stages[name].end_s <= begin_s for name in job.needs_stages)
            assert span.begin_s <= begin_s < done.jobs[job.label].end_s <= span.end_s
        if stage.kind is StageKind.ACQUIRE:
            assert all(done.stages[name].end_s <= span.begin_s for name in stage.after)


@settings(max_examples=60, deadline=None)
@given(plans())
def test_never_more_jobs_than_places_and_no_place_stays_free_without_need(plan: RunPlan) -> None:
    done = schedule(plan)
    jobs = {job.label: job for stage in plan.stages for job in stage.jobs}
    for label, span in done.jobs.items():
        together = [other for other in done.jobs.values() if other.begin_s <= span.begin_s < other.end_s]
        assert len(together) <= plan.config.max_jobs
        needs = [done.jobs[name].end_s for name in jobs[label].needs]
        needs += [done.stages[name].end_s for name in jobs[label].needs_stages]
        if span.begin_s > max(needs, default=0.0):
            just_before = [other for other in done.jobs.values() if other.begin_s < span.begin_s <= other.end_s]
            assert len(just_before) == plan.config.max_jobs


@settings(max_examples=60, deadline=None)
@given(plans())
def test_critical_path_fills_the_time_from_begin_to_end(plan: RunPlan) -> None:
    done = schedule(plan)
    seconds = durations(plan)
    assert sum(seconds[name] for name in done.critical_path) == pytest.approx(done.makespan_s)
    assert plan.estimated_duration_s == done.makespan_s
    spans = {**done.stages, **done.jobs}
    ends = [spans[name].end_s for name in done.critical_path]
    assert ends == sorted(ends)
    assert ends[-1] == max(span.end_s for span in spans.values()) == done.makespan_s


@settings(max_examples=60, deadline=None)
@given(plans())
def test_no_run_is_shorter_than_the_most_urgent_job_says_and_places_enough_make_it_that_short(plan: RunPlan) -> None:
    done, urgencies = schedule(plan), urgency(plan)
    for label, span in done.jobs.items():
        assert span.begin_s + urgencies[label] <= done.makespan_s + 1e-6
    free = dataclasses.replace(plan, config=plan.config.model_copy(update={"max_jobs": 99}))
    unbounded = schedule(free)
    assert unbounded.makespan_s <= done.makespan_s + 1e-6
    if path := [name for name in unbounded.critical_path if name in urgencies]:
        first = path[0]
        assert unbounded.jobs[first].begin_s + urgencies[first] == pytest.approx(unbounded.makespan_s)


# Runs that have begun


@settings(max_examples=40, deadline=None)
@given(plans())
def test_before_it_begins_all_is_left_and_at_its_end_nothing(plan: RunPlan) -> None:
    assert remaining_s(plan, Work()) == pytest.approx(plan.estimated_duration_s)
    assert fraction_done(plan, Work()) == 0.0
    stages = {stage.name for stage in plan.stages}
    assert (remaining_s(plan, Work(stages)), fraction_done(plan, Work(stages))) == (0.0, 1.0)
    assert remaining_s(plan, Work(given_up=stages)) == 0.0


@settings(max_examples=60, deadline=None)
@given(plans(), st.floats(0, 1))
def test_in_between_the_rest_of_the_schedule_is_left(plan: RunPlan, part: float) -> None:
    """As long as everything takes as long as estimated."""
    done = schedule(plan)
    now_s = part * done.makespan_s
    spans = {**done.stages, **done.jobs}
    elapsed_s = {name: now_s - span.begin_s for name, span in spans.items() if span.begin_s < now_s < span.end_s}
    for stage in plan.stages:
        if stage.name in elapsed_s and stage.alongside:
            elapsed_s[stage.name] = max(now_s - done.stages[stage.alongside].end_s, 0.0)
    work = Work({name for name, span in spans.items() if span.end_s <= now_s}, elapsed_s=elapsed_s)
    almost = max(durations(plan).values()) * (1 - ALMOST_DONE)
    assert remaining_s(plan, work) == pytest.approx(done.makespan_s - now_s, abs=almost + 1e-6)
    assert 0.0 <= fraction_done(plan, work) <= 1.0


def test_job_that_takes_longer_than_estimated_is_almost_done_until_it_has_ended() -> None:
    plan = make_plan(make_config(estimates=ESTIMATES), script_mode="BIAS")
    frames = {"BIAS.ACQUIRE", "BIAS.INGEST"}
    assert remaining_s(plan, Work(frames, elapsed_s={"cpBias": 99_999.0})) == pytest.approx(5 + 100 + CERTIFICATION_S)
    assert remaining_s(plan, Work({*frames, "cpBias"})) == pytest.approx(100 + CERTIFICATION_S)


def test_jobs_at_the_uws_keep_their_places() -> None:
    """A run that was resumed with a less urgent job running does not count on its place."""
    plan = make_plan(make_config(estimates=ESTIMATES, max_jobs=1), do_defects=True)
    frames = {f"{name}.{kind}" for name in ("BIAS", "DARK", "FLAT") for kind in ("ACQUIRE", "INGEST")}
    made = {*frames, "cpBias", "cpDark", "cpFlat", "BIAS.VERIFY", "DARK.VERIFY", "FLAT.VERIFY"}
    made |= {f"{name}.{kind}" for name in ("BIAS", "DARK", "FLAT") for kind in ("GENERATE", "CERTIFY")}
    work = Work({*made, "cpBiasBootstrap", "cpDarkBootstrap"}, elapsed_s={"cpFlatBootstrap": 60.0})
    assert remaining_s(plan, work) == pytest.approx(40 + 100 + 2 * CERTIFICATION_S)


def test_what_was_given_up_is_neither_left_nor_done() -> None:
    plan = make_plan(make_config(estimates=ESTIMATES), script_mode="BIAS")
    total = sum(durations(plan).values())
    skipped = {"BIAS.VERIFY", "BIAS.CERTIFY"}
    work = Work({"BIAS.ACQUIRE", "BIAS.INGEST"}, {"BIAS.GENERATE", *skipped}, {"cpBias": 50.0})
    assert remaining_s(plan, work) == 0.0
    assert fraction_done(plan, work) == pytest.approx((4 + 10 + 50) / total)
    late = dataclasses.replace(work, elapsed_s={"cpBias": 5000.0})
    assert fraction_done(plan, late) == pytest.approx((4 + 10 + 95) / total)
