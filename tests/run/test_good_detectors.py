# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""certify_good_detectors: a bad detector is left out of its product and of all that is built on it."""

from __future__ import annotations

import pytest
from lsst.ts.comcamcalib.enums import CalibType, RunState, Verdict
from lsst.ts.comcamcalib.record.events import Certification, VerificationResult
from support.house import House

ALL = {"do_defects": True, "do_ptc": True, "certify_good_detectors": True}
TYPES = ("bias", "dark", "flat", "defects", "ptc")


def verdict(house: House, name: str) -> VerificationResult:
    return [one for one in house.of(VerificationResult) if one.calib_type is CalibType[name]][-1]


def certified(house: House) -> dict[str, set[int | None]]:
    """Return the detectors of which each type is certified."""
    return {name: {one.detector for one in house.observatory.world.certified(name)} for name in TYPES}


async def test_a_bad_detector_is_left_out_of_all_that_is_built_on_it(house: House) -> None:
    house.observatory.world.bad_amplifiers["BIAS", 4] = 9
    await house.start(**ALL)
    await house.ended()
    assert house.status.state is RunState.COMPLETED
    assert certified(house) == {name: {0, 1} for name in TYPES}
    bias = verdict(house, "BIAS")
    assert bias.verdict is Verdict.PASSED_WITH_FAILURES
    assert bias.reason.startswith(
        "Left out, and not certified: R22_S11 (NOISE 18 x). All tests of 2 detectors in 2 exposures passed."
    )
    assert all("left out, because not good: R22_S11" in one.reason for one in house.of(Certification))
    assert {one.dataset_count for one in house.of(Certification)} == {2}
    run = house.runner.run
    assert run is not None
    assert {one.intent.left_out for one in run.history.certifications.values()} == {(4,)}
    assert "R22_S11" in house.reasons["FLAT.CERTIFY"]


async def test_a_detector_that_was_left_out_of_the_bias_may_be_bad_in_the_dark_as_well(house: House) -> None:
    world = house.observatory.world
    world.bad_amplifiers["BIAS", 4] = 16
    world.bad_amplifiers["DARK", 4] = 16
    world.bad_amplifiers["DARK", 0] = 16
    await house.start(script_mode="BIAS_DARK", certify_good_detectors=True, speculate=False)
    await house.ended()
    assert house.status.state is RunState.COMPLETED
    assert certified(house)["bias"] == {0, 1}
    assert certified(house)["dark"] == {1}
    assert "R22_S11 (left out of BIAS)" in verdict(house, "DARK").reason
    assert "R22_S00 (NOISE 32 x)" in verdict(house, "DARK").reason


async def test_a_detector_without_statistics_is_left_out_and_named(house: House) -> None:
    house.observatory.world.missing.add(("verifyDark", 1))
    await house.start(**ALL)
    await house.ended()
    assert house.status.state is RunState.COMPLETED
    assert certified(house) == {"bias": {0, 1, 4}, **{name: {0, 4} for name in TYPES[1:]}}
    reason = verdict(house, "DARK").reason
    assert reason.startswith("Left out, and not certified: R22_S01 (missing or not usable: R22_S01 in all 2 exposures")


async def test_a_detector_of_which_no_bias_was_made_is_left_out_of_everything_and_the_rest_goes_on(
    house: House,
) -> None:
    house.observatory.world.missing.add(("cpBias", 4))
    await house.start(**ALL)
    await house.ended()
    assert house.status.state is RunState.COMPLETED, house.status.reason
    assert certified(house) == {"bias": {0, 1}, "dark": {0, 1}, "flat": {0, 1}, "defects": {0, 1}, "ptc": {0, 1}}
    assert "without R22_S11, for which none was made" in house.reasons["BIAS.GENERATE"]
    assert verdict(house, "BIAS").verdict is Verdict.PASSED_WITH_FAILURES
    for name in ("BIAS", "DARK", "FLAT", "PTC"):
        assert "Left out, and not certified: R22_S11 (no bias was made)" in verdict(house, name).reason, name
    # Its defects were found in frames that are not corrected by the bias.
    why = {one.calib_type.name: one.reason.partition(";")[0] for one in house.of(Certification)}
    nothing = dict.fromkeys(("BIAS", "DARK", "FLAT", "PTC"), "left out, because nothing was made for them: R22_S11")
    assert why == {**nothing, "DEFECTS": "left out, because not good: R22_S11"}
    assert "DEFECTS is complete and plausible for 2 detectors." in verdict(house, "DEFECTS").reason


async def test_without_the_option_a_detector_of_which_no_bias_was_made_fails_the_run(house: House) -> None:
    house.observatory.world.missing.add(("cpBias", 4))
    await house.start(script_mode="BIAS")
    await house.ended()
    assert house.status.state is RunState.FAILED and house.certified == set()
    assert "does not have all of its bias: R22_S11 is missing" in house.reasons["BIAS.GENERATE"]


@pytest.mark.parametrize("detectors", [(0, 1, 4)])
async def test_without_a_single_good_detector_nothing_is_certified(house: House, detectors: tuple[int, ...]) -> None:
    for detector in detectors:
        house.observatory.world.bad_amplifiers["BIAS", detector] = 16
    await house.start(script_mode="BIAS", certify_good_detectors=True)
    await house.ended()
    assert house.status.state is RunState.FAILED
    assert verdict(house, "BIAS").verdict is Verdict.FAILED
    assert certified(house)["bias"] == set()


async def test_a_bad_frame_is_no_reason_to_leave_all_but_one_detector_out(house: House) -> None:
    house.observatory.world.lamp = 20.0
    await house.start(**ALL)
    await house.ended()
    assert verdict(house, "FLAT").verdict is Verdict.FAILED
    assert house.certified == {"bias", "dark"}


async def test_without_the_option_a_bad_detector_fails_the_product(house: House) -> None:
    house.observatory.world.bad_amplifiers["BIAS", 4] = 9
    await house.start(script_mode="BIAS")
    await house.ended()
    assert house.status.state is RunState.FAILED and house.certified == set()
    assert verdict(house, "BIAS").verdict is Verdict.FAILED
