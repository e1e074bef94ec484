# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fact is the same after it was written and read, and nothing else is understood as one."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from lsst.ts.comcamcalib.record import facts
from lsst.ts.comcamcalib.record.facts import Fact, fact_from_json, fact_to_json
from support.facts import KINDS, any_fact
from support.plans import make_plan
from support.records import accepted


@given(any_fact)
def test_any_fact_is_the_same_after_it_was_written_and_read(fact: Fact) -> None:
    again = fact_from_json(fact_to_json(fact))
    assert type(again) is type(fact)
    assert repr(again) == repr(fact), "NaN is not equal to itself, but is written the same"


def test_acceptance_keeps_the_whole_plan() -> None:
    plan = make_plan(do_defects=True, do_ptc=True, do_gain_from_flat_pairs=True)
    again = fact_from_json(fact_to_json(accepted(plan).fact))
    assert isinstance(again, facts.RunAccepted)
    assert again.plan == plan
    assert again.plan.config == plan.config
    assert again.plan.options == plan.options


def test_value_that_was_not_measured_stays_so() -> None:
    fact = facts.GainsMeasured(exposure_id=1, detector=4, gain=(1.5, float("nan")), noise=(6.0, float("inf")))
    again = fact_from_json(fact_to_json(fact))
    assert isinstance(again, facts.GainsMeasured)
    assert math.isnan(again.gain[1])
    assert again.noise == (6.0, float("inf"))


def test_each_kind_has_a_name_of_its_own() -> None:
    names = [kind.model_fields["kind"].default for kind in KINDS]
    assert len(set(names)) == len(names) == len(KINDS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"kind": "run_dreamt"}',
        '{"kind": "frame_absent", "calib_type": 1, "index": 2}',
        '{"kind": "frame_absent", "calib_type": 9, "index": 2, "reason": ""}',
        '{"kind": "frame_absent", "calib_type": 1, "index": 2, "reason": "", "colour": "red"}',
    ],
)
def test_what_is_no_fact_is_not_half_understood(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        fact_from_json(text)


def test_field_that_a_later_release_adds_may_be_missing() -> None:
    """Facts of an earlier release do not have it; its default stands for it."""
    values = json.loads(fact_to_json(facts.Decision(what="abort", who="op@console", why="rain")))
    del values["why"]
    assert fact_from_json(json.dumps(values)) == facts.Decision(what="abort", who="op@console")
