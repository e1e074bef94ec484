# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan is stored with the acceptance of its run, and read back as it was, or not at all."""

from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.options.values import NotAllowedError, plain_text
from lsst.ts.comcamcalib.plan.plan import RunPlan
from lsst.ts.comcamcalib.record.facts import RunAccepted, fact_from_json, fact_to_json
from support.plans import make_config, make_plan
from support.records import accepted


def plan_to_json(plan: RunPlan) -> str:
    return fact_to_json(accepted(plan).fact)


def plan_from_json(text: str) -> RunPlan:
    fact = fact_from_json(text)
    assert isinstance(fact, RunAccepted)
    return fact.plan


def is_allowed(text: str) -> bool:
    try:
        plain_text(text)
    except NotAllowedError:
        return False
    return True


SECONDS = st.floats(0.1, 3600)


@st.composite
def some_options(draw: st.DrawFn) -> dict[str, Any]:
    """Draw options of every kind: numbers, lists, texts, dates and those that decide which stages there are."""
    options: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "n_bias": st.integers(1, 5),
                "n_discard_dark": st.integers(0, 3),
                "exp_times_dark": SECONDS,
                "detectors": st.lists(st.integers(0, 8), min_size=1, unique=True),
                "generate_calibrations": st.booleans(),
                "do_verify": st.booleans(),
                "certify_unverified": st.booleans(),
                "speculate": st.booleans(),
                "certify_calib_begin_date": st.dates(datetime.date(2020, 1, 1), datetime.date(2026, 1, 1)).map(str),
                "certify_calib_end_date": st.just("open"),
                "oods_timeout": SECONDS,
                "filter": st.sampled_from(["r_03", "2"]),
                "note": st.text(max_size=20).filter(is_allowed),
                "input_collections_flat": st.sampled_from(["LSSTComCam/calib", "a/b,c/d"]),
            },
        )
    )
    mode = draw(st.sampled_from(["BIAS", "DARK", "BIAS_DARK", "BIAS_DARK_FLAT"]))
    if mode == "BIAS_DARK_FLAT":
        times = draw(st.lists(SECONDS, min_size=1, max_size=3, unique_by=round))
        options |= {"n_flat": 2 * len(times), "exp_times_flat": [time for time in times for _ in range(2)]}
        options |= draw(st.fixed_dictionaries({f"do_{name}": st.booleans() for name in ("defects", "ptc")}))
    return {**options, "script_mode": mode}


@settings(max_examples=60, deadline=None)
@given(some_options())
def test_plan_is_read_back_as_it_was(options: dict[str, Any]) -> None:
    plan = make_plan(**options)
    read = plan_from_json(plan_to_json(plan))
    assert read == plan
    assert plan_to_json(read) == plan_to_json(plan)
    assert all(type(calib_type) is CalibType for calib_type in read.sequences)
    assert [type(stage.kind) for stage in read.stages] == [type(stage.kind) for stage in plan.stages]


def test_notices_and_estimate_are_kept() -> None:
    plan = dataclasses.replace(make_plan(), notices=("A notice.", "Ein zweiter, mit \N{DEGREE SIGN}."))
    assert plan_from_json(plan_to_json(plan)) == plan


def test_defaults_of_the_configuration_that_yaml_reads_as_dates_are_kept() -> None:
    """A date would come back from JSON as text, so the configuration itself has it as text."""
    defaults = make_config().run_defaults | {
        "certify_calib_begin_date": datetime.date(2026, 11, 1),
        "certify_calib_end_date": datetime.datetime(2030, 1, 1, 12),
        "exp_times_flat": (5.0, 5.0),
        "n_flat": None,
        "background_task_timeout": float("inf"),
    }
    config = make_config(run_defaults=defaults)
    plan = make_plan(config)
    assert plan.options.certify_calib_begin_date == "2026-11-01T00:00:00"
    assert plan.options.certify_calib_end_date == "2030-01-01T12:00:00"
    assert plan_from_json(plan_to_json(plan)) == plan


def stored(**changes: Any) -> str:
    """Return an acceptance whose plan has some fields changed; None removes one."""
    fact = json.loads(plan_to_json(make_plan()))
    content = fact["plan"] | changes
    fact["plan"] = {name: value for name, value in content.items() if value is not None}
    return json.dumps(fact)


def with_first_job(**changes: Any) -> str:
    stages = json.loads(plan_to_json(make_plan()))["plan"]["stages"]
    next(stage for stage in stages if stage["jobs"])["jobs"][0].update(changes)
    return stored(stages=stages)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (stored(version=2), "plan.version"),
        (stored(version="1"), "plan.version"),
        (stored(run_id=None), "plan.run_id\n  Field required"),
        (stored(colour="red"), "plan.colour"),
        (stored(sequences={"9": {}}), "plan.sequences.9"),
        (with_first_job(colour="red"), "jobs.0.colour"),
        (with_first_job(needs="cpBias"), "jobs.0.needs"),
    ],
    ids=lambda value: value[:40],
)
def test_anything_else_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="validation error") as caught:
        plan_from_json(text)
    assert words in str(caught.value)
