# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests of exposures, and how they are merged: the shapes and quirks of cp_verify."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from lsst.ts.comcamcalib.simulation.layout import AMPLIFIER_NAMES
from lsst.ts.comcamcalib.simulation.tasks.verify import CpVerifyBiasTask, CpVerifyDarkTask, CpVerifyFlatTask
from lsst.ts.comcamcalib.simulation.tasks.verify_merge import (
    CpVerifyExpMergeTask,
    CpVerifyFlatExpMergeTask,
    CpVerifyRunMergeByFilterTask,
    CpVerifyRunMergeTask,
)


def run(task: Any, argument: Any, **options: Any) -> Any:
    config = task.ConfigClass()
    config.update(**options)
    return task(config=config).run(argument).outputStats


@pytest.fixture
def quiet(make_handle: Any) -> Any:
    """An exposure whose noise is well below the nominal 5 electron."""
    return make_handle(1, noise=4.5).exposure


def test_good_bias_passes_everything(quiet: Any) -> None:
    statistics = run(CpVerifyBiasTask, quiet)
    assert statistics["SUCCESS"] is True
    assert set(statistics["AMP"]["C10"]) == {"MEAN", "NOISE", "CR_NOISE", "AMP_CORNER"}
    assert statistics["METADATA"]["READ_NOISE_ADU"]["C00"] == 2.5
    assert (statistics["CATALOG"], statistics["DET"]) == ({}, {})
    assert statistics["VERIFY"]["AMP"]["C10"] == dict.fromkeys(
        ["MEAN", "NOISE", "CR_NOISE", "SUCCESS", "READ_NOISE_CONSISTENT"], True
    )


def test_noisy_amplifier_fails_noise_alone(quiet: Any, layout: Any) -> None:
    quiet.image.array[layout.image_section("C13")] *= 1.5
    statistics = run(CpVerifyDarkTask, quiet)
    assert statistics["SUCCESS"] is False
    failed = {name for name, tests in statistics["VERIFY"]["AMP"].items() if not tests["SUCCESS"]}
    assert failed == {"C13"}
    assert statistics["VERIFY"]["AMP"]["C13"]["NOISE"] is False
    assert "AMP_CORNER" not in statistics["AMP"]["C13"]


def test_an_offset_larger_than_the_noise_fails_mean(quiet: Any, layout: Any) -> None:
    quiet.image.array[layout.image_section("C02")] += 10.0
    assert run(CpVerifyBiasTask, quiet)["VERIFY"]["AMP"]["C02"]["MEAN"] is False


def test_inconsistent_read_noise_does_not_fail_an_amplifier_but_is_listed_with_other_failures(quiet: Any) -> None:
    for name in ("C10", "C11"):
        quiet.metadata[f"LSST ISR OVERSCAN RESIDUAL SERIAL STDEV {name}"] = 3.0
    statistics = run(CpVerifyBiasTask, quiet)
    assert statistics["SUCCESS"] is True
    assert statistics["VERIFY"]["AMP"]["C10"]["READ_NOISE_CONSISTENT"] is False
    statistics["VERIFY"]["AMP"]["C11"].update(NOISE=False, SUCCESS=False)
    statistics["SUCCESS"] = False
    merged = run(CpVerifyExpMergeTask, {4: statistics})
    assert merged["R22_S11"]["FAILURES"] == ["C11 NOISE", "C11 READ_NOISE_CONSISTENT"]


def test_too_many_cosmic_rays_fail_processing(quiet: Any) -> None:
    quiet.image.array[2:4, 2:4] = 2000.0
    statistics = run(CpVerifyBiasTask, quiet, nCrPixelMax=3)
    assert all(tests["PROCESSING"] is False for tests in statistics["VERIFY"]["AMP"].values())
    assert "PROCESSING" not in run(CpVerifyBiasTask, quiet)["VERIFY"]["AMP"]["C00"]


def test_an_exposure_that_is_its_own_master_can_not_pass(quiet: Any) -> None:
    quiet.image.array[:] = 0.0
    statistics = run(CpVerifyBiasTask, quiet)
    assert not any(tests["SUCCESS"] for tests in statistics["VERIFY"]["AMP"].values())


def test_missing_overscan_noise_is_an_error(quiet: Any) -> None:
    for key in [key for key in quiet.metadata if "OVERSCAN" in key]:
        del quiet.metadata[key]
    with pytest.raises(KeyError, match="no amplifier has 'LSST ISR OVERSCAN RESIDUAL SERIAL STDEV'"):
        run(CpVerifyBiasTask, quiet)


def test_flat_is_compared_with_its_photon_noise(make_handle: Any, layout: Any) -> None:
    flat = make_handle(1, level=10_000.0, noise=70.0).exposure
    statistics = run(CpVerifyFlatTask, flat)
    assert statistics["SUCCESS"] is True
    assert statistics["VERIFY"]["DET"] == {"SCATTER": True, "SUCCESS": True}
    flat.image.array[layout.image_section("C07")] += np.random.default_rng(1).normal(0, 150, (16, 8))
    flat.image.array[layout.image_section("C17")] *= 2
    statistics = run(CpVerifyFlatTask, flat)
    assert statistics["VERIFY"]["AMP"]["C07"] == {"NOISE": False, "SUCCESS": False}
    assert statistics["VERIFY"]["DET"]["SCATTER"] is False


def failed_detector(*tests: str) -> dict[str, Any]:
    amplifiers = {name: {"MEAN": True, "NOISE": True, "SUCCESS": True} for name in AMPLIFIER_NAMES}
    for test in tests:
        amplifier, name = test.split()
        amplifiers[amplifier].update({name: False, "SUCCESS": False})
    return {"VERIFY": {"AMP": amplifiers}, "SUCCESS": not tests, "DET": {"MEAN": 1000.0}}


def test_failures_of_a_run_name_detector_amplifier_and_test() -> None:
    first = run(CpVerifyExpMergeTask, {0: failed_detector(), 7: failed_detector("C17 NOISE", "C00 MEAN")})
    assert first == {
        "R22_S00": {"SUCCESS": True},
        "R22_S21": {"SUCCESS": False, "FAILURES": ["C17 NOISE", "C00 MEAN"]},
        "SUCCESS": False,
    }
    second = run(CpVerifyExpMergeTask, {0: failed_detector()})
    assert run(CpVerifyRunMergeTask, {2026112200002: second, 2026112200001: first}) == {
        2026112200001: {"SUCCESS": False, "FAILURES": ["R22_S21 C17 NOISE", "R22_S21 C00 MEAN"]},
        2026112200002: {"SUCCESS": True},
        "SUCCESS": False,
    }


def test_a_missing_detector_is_missing_and_not_good_or_bad() -> None:
    merged = run(CpVerifyExpMergeTask, {3: failed_detector()})
    assert set(merged) == {"R22_S10", "SUCCESS"}


def test_flats_failures_of_amplifiers_are_hidden_at_the_runs_level() -> None:
    flats = {0: failed_detector("C10 NOISE"), 1: failed_detector()}
    even = run(CpVerifyFlatExpMergeTask, flats)
    assert even["R22_S00"]["FAILURES"] == ["C10 NOISE"]
    assert even["EXP"] == {"SCATTER": 0.0}
    assert even["VERIFY"] == {"EXP": {"SCATTER": True}}
    flats[1]["DET"]["MEAN"] = 1000.2  # the limit is 0.05 electron, not 5 %
    uneven = run(CpVerifyFlatExpMergeTask, flats)
    assert uneven["VERIFY"] == {"EXP": {"SCATTER": False}}
    assert run(CpVerifyRunMergeByFilterTask, {1: even, 2: uneven}) == {
        1: {"SUCCESS": False, "FAILURES": []},
        2: {"SUCCESS": False, "FAILURES": ["SCATTER"]},
        "SUCCESS": False,
    }
