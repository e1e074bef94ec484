# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scenarios: named faults, which can be combined."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsst.ts.comcamcalib.simulation.faults import Faults
from lsst.ts.comcamcalib.simulation.scenarios import SCENARIOS, scenario_faults


def test_scenarios_combine() -> None:
    faults = scenario_faults(["noisy-detector", "job-errors"])
    assert [fault.place for fault in faults] == ["focal_plane", "worker"]
    assert scenario_faults([]) == []


def test_every_scenario_has_faults() -> None:
    assert all(scenario_faults([name]) for name in SCENARIOS)


def test_unknown_scenarios_are_all_named() -> None:
    with pytest.raises(ValueError, match=r"no scenario noisy, image_lost.*noisy-detector, noisy-amplifier"):
        scenario_faults(["noisy", "job-errors", "image_lost"])


def test_lost_image_is_the_third_bias_and_its_retake_is_sound() -> None:
    faults = Faults(scenario_faults(["image-lost"]))
    lost = [
        exposure
        for exposure in range(1, 8)
        for detector in range(9)
        if faults.strike("oods", image_type="BIAS", detector=detector, exposure_id=exposure)
    ]
    assert lost == [3]
    assert faults.strike("oods", image_type="DARK", detector=4, exposure_id=9) is None


def test_detector_that_never_delivers_fails_whatever_is_taken() -> None:
    faults = Faults(scenario_faults(["detector-never-delivers"]))
    lost = {
        detector
        for image_type in ("BIAS", "DARK", "FLAT")
        for exposure in range(20)
        for detector in range(9)
        if faults.strike("oods", image_type=image_type, detector=detector, exposure_id=exposure)
    }
    assert lost == {4}


def test_developer_guide_describes_every_scenario(repository_root: Path) -> None:
    page = (repository_root / "doc" / "developer_guide.rst").read_text()
    assert [name for name in SCENARIOS if f"``{name}``" not in page] == []


@pytest.mark.parametrize(("scenario", "effect"), [("detector-missing", "no_work"), ("statistics-garbled", "garble")])
def test_verifications_only_are_spoilt(scenario: str, effect: str) -> None:
    faults = Faults(scenario_faults([scenario]))
    for pipeline in ("verifyBias", "verifyDark", "verifyFlat", "verifyBias"):
        fault = faults.strike("worker", pipeline=pipeline, run_id="x", number=1)
        assert fault is not None and (fault.effect, fault.value) == (effect, 4)
    assert faults.strike("worker", pipeline="cpBias", run_id="x", number=1) is None
