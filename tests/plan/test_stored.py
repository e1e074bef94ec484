# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan is stored with its run, and read back as it was, or not at all."""

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
from lsst.ts.comcamcalib.plan.stored import plan_from_json, plan_to_json
from support.plans import make_config, make_plan


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
    """Return a stored plan with some fields changed; None removes one."""
    content = json.loads(plan_to_json(make_plan())) | changes
    return json.dumps({name: value for name, value in content.items() if value is not None})


def with_first_job(**changes: Any) -> str:
    stages = json.loads(plan_to_json(make_plan()))["stages"]
    next(stage for stage in stages if stage["jobs"])["jobs"][0].update(changes)
    return stored(stages=stages)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a plan in JSON"),
        ("{", "not a plan in JSON"),
        ("[]", "it has no version"),
        ("3", "it has no version"),
        ("{}", "it has no version"),
        ("[" * 100_000, "not a plan in JSON"),
        (stored(version=2), "has version 2, but this release reads only version 1; resume"),
        (stored(version=True), "has version True"),
        (stored(version="1"), "has version 1, but"),
        (stored(run_id=None), "wrong content: run_id: Field required"),
        (stored(colour="red"), "wrong content: colour: Unexpected"),
        (stored(sequences={"9": {}}), "wrong content: sequences.9"),
        (with_first_job(colour="red"), "jobs.0.colour: Unexpected"),
        (with_first_job(needs="cpBias"), "jobs.0.needs: Input should be a valid array"),
    ],
    ids=lambda value: value[:40],
)
def test_anything_else_is_refused_with_a_sentence(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="The stored plan") as caught:
        plan_from_json(text)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
