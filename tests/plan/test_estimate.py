# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a run takes: the critical path of its graph."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.enums import CalibType, StageKind
from lsst.ts.comcamcalib.plan.estimate import critical_path, stage_durations
from lsst.ts.comcamcalib.plan.plan import StagePlan
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


def test_durations_of_the_stages() -> None:
    plan = make_plan(make_config(estimates=ESTIMATES), do_defects=True)
    durations = stage_durations(plan.stages, plan.sequences, plan.config)
    assert durations["DARK.ACQUIRE"] == pytest.approx(2 * 32.0)
    assert durations["DARK.INGEST"] == 10.0
    assert durations["DEFECTS.GENERATE"] == 400.0
    assert durations["DEFECTS.VERIFY"] == durations["DEFECTS.CERTIFY"] == CERTIFICATION_S


@st.composite
def graphs(draw: st.DrawFn) -> list[StagePlan]:
    """Draw stages of which each may wait for any before it, in any way."""
    stages: list[StagePlan] = []
    for number in range(draw(st.integers(0, 8))):
        earlier = (
            st.lists(st.sampled_from([stage.name for stage in stages]), unique=True, max_size=3)
            if stages
            else st.just([])
        )
        needs, after = draw(earlier), draw(earlier)
        alongside = draw(st.sampled_from(["", *(stage.name for stage in stages)]))
        stages.append(
            StagePlan(
                str(number),
                StageKind.GENERATE,
                CalibType.BIAS,
                needs=tuple(needs),
                after=tuple(after),
                alongside=alongside,
            )
        )
    return stages


@given(graphs(), st.lists(st.floats(0, 1000), min_size=8, max_size=8))
def test_critical_path_is_the_longest_of_all_chains(stages: list[StagePlan], seconds: list[float]) -> None:
    durations = {stage.name: seconds[number] for number, stage in enumerate(stages)}
    by_name = {stage.name: stage for stage in stages}

    def chains(name: str) -> list[float]:
        stage = by_name[name]
        waits_for = [*stage.needs, *stage.after, *([stage.alongside] if stage.alongside else [])]
        return [durations[name] + rest for other in waits_for for rest in chains(other)] or [durations[name]]

    longest = max((length for stage in stages for length in chains(stage.name)), default=0.0)
    assert critical_path(stages, durations) == pytest.approx(longest)
