# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Products that share frames share their fate: what one finds bad, none may call good."""

from __future__ import annotations

from typing import Any

import pytest
from lsst.ts.comcamcalib.butler_data import AmplifierValues, StatisticsTypes
from lsst.ts.comcamcalib.enums import CalibType, RunState, StageState
from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.record.events import Certification, StageStatus, VerificationResult
from lsst.ts.comcamcalib.run.acceptance import AcceptRequest
from support.house import House
from support.services import Gate
from support.world import AMPLIFIERS, FIRST_EXPOSURE

ALL = {"do_defects": True, "do_ptc": True, "do_gain_from_flat_pairs": True}


def verdicts(house: House) -> dict[str, str]:
    """Return the last verdict on each product."""
    return {one.calib_type.name: one.verdict.name for one in house.of(VerificationResult)}


def reason(house: House, name: str) -> str:
    return [one.reason for one in house.of(VerificationResult) if one.calib_type is CalibType[name]][-1]


async def test_good_frames_are_good_for_all(house: House) -> None:
    await house.start(**ALL)
    await house.ended()
    assert house.status.state is RunState.COMPLETED
    assert verdicts(house) == dict.fromkeys(("BIAS", "DARK", "FLAT", "DEFECTS", "PTC", "GAIN"), "PASSED")
    assert house.certified == {"bias", "dark", "flat", "defects", "ptc"}


@pytest.mark.parametrize(("lamp", "words"), [(0.0, "lamp off"), (0.02, "too dark"), (20.0, "saturated")])
async def test_bad_light_is_bad_for_all_that_is_made_of_flats(house: House, lamp: float, words: str) -> None:
    house.observatory.world.lamp = lamp
    await house.start(**ALL)
    await house.ended()
    assert house.status.state is RunState.FAILED
    good = {"BIAS": "PASSED", "DARK": "PASSED"}
    assert verdicts(house) == good | dict.fromkeys(("FLAT", "DEFECTS", "PTC", "GAIN"), "FAILED")
    assert house.certified == {"bias", "dark"}
    assert reason(house, "FLAT").startswith(f"Light: {words}, ")
    for name in ("DEFECTS", "PTC", "GAIN"):
        assert reason(house, name).startswith("The FLAT frames that it is made from are bad: ")
        assert words in reason(house, name)
    assert house.alarms.verification_failed and house.alarms.operator_decision_needed


async def test_alarm_comes_while_the_flats_are_still_being_taken(house: House) -> None:
    house.observatory.world.lamp = 0.0
    gate = house.observatory.camera.gates["FLAT", 4] = Gate()
    await house.start(n_flat=4)
    await house.until(lambda: any(one.calib_type is CalibType.FLAT for one in house.of(VerificationResult)))
    await house.runner.update_alarms()
    assert house.alarms.verification_failed and not house.alarms.run_failed
    assert "lamp off" in house.alarms.reason
    gate.open()
    await house.ended()


async def test_with_stop_no_more_flats_are_taken(house: House) -> None:
    house.observatory.world.lamp = 0.0
    gate = house.observatory.camera.gates["FLAT", 3] = Gate()
    looking = house.observatory.repository.gates["raw_levels"] = Gate()
    await house.start(n_flat=20, exp_times_flat=5, on_failure="stop")
    await gate.until_reached()
    looking.open()
    await house.until(lambda: house.states.get("FLAT.INGEST") is StageState.FAILED)
    gate.open()
    await house.ended()
    assert house.observatory.camera.taken("FLAT") == 3
    assert house.states["FLAT.GENERATE"] is StageState.SKIPPED
    assert "lamp off" in house.status.reason
    assert house.alarms.verification_failed and "lamp off" in house.alarms.reason
    assert house.certified == {"bias", "dark"}


async def test_gains_that_can_not_be_speak_against_the_flats(house: House) -> None:
    """3.8e5 electron/adu of flats without any noise, seen by GAIN alone."""
    world = house.observatory.world
    amplifiers = world.amplifiers

    def impossible(run_collection: str, dataset_type: str):
        found = amplifiers(run_collection, dataset_type)
        if dataset_type != "cpPtcPartial":
            return found
        values = AmplifierValues(dict.fromkeys(AMPLIFIERS, 3.8e5), dict.fromkeys(AMPLIFIERS, 6.5))
        return dict.fromkeys(found, values)

    world.amplifiers = impossible
    await house.start(**ALL)
    await house.ended()
    assert verdicts(house) == {
        **{"BIAS": "PASSED", "DARK": "PASSED"},
        **dict.fromkeys(("FLAT", "DEFECTS", "PTC", "GAIN"), "FAILED"),
    }
    assert reason(house, "FLAT").startswith("GAIN, which was made from the same flats, shows that they are bad: ")
    assert "3.8e+05" in reason(house, "PTC")
    assert house.certified == {"bias", "dark"}


async def test_one_impossible_gain_is_named_and_fails_only_its_own_product(house: House) -> None:
    world = house.observatory.world
    amplifiers = world.amplifiers

    def one_wrong(run_collection: str, dataset_type: str):
        found = amplifiers(run_collection, dataset_type)
        return {
            key: AmplifierValues({**one.gain, "C12": 9.0} if key[1] == 4 else one.gain, one.noise)
            for key, one in found.items()
        }

    world.amplifiers = one_wrong
    await house.start(do_ptc=True, do_defects=True)
    await house.ended()
    assert verdicts(house) == {
        **{"BIAS": "PASSED", "DARK": "PASSED", "FLAT": "PASSED_WITH_FAILURES"},
        **{"PTC": "FAILED", "DEFECTS": "PASSED"},
    }
    assert "R22_S11 (C12 gain 9 electron/adu)" in reason(house, "FLAT")
    assert house.certified == {"bias", "dark", "flat", "defects"}


@pytest.mark.parametrize("kind", ["BIAS", "DARK"])
async def test_a_leak_in_a_bias_or_dark_is_bad_for_the_defects_too(house: House, kind: str) -> None:
    first = {"BIAS": FIRST_EXPOSURE, "DARK": FIRST_EXPOSURE + 3}[kind]
    house.observatory.world.leaks = {first + 1: 2000.0}
    await house.start(n_bias=3, n_dark=3, do_defects=True)
    await house.ended()
    assert verdicts(house)[kind] == verdicts(house)["DEFECTS"] == "FAILED"
    assert f"Exposures stand out: 1 of 3 exposures ({first + 1}; 3 of 3 detectors)" in reason(house, kind)
    assert str(first + 1) in reason(house, "DEFECTS")
    assert "defects" not in house.certified and kind.lower() not in house.certified


async def accept(house: House, run_id: str, calib_type: CalibType) -> str:
    request = AcceptRequest(run_id, calib_type, "", 0, "seen on the screen", "op@console")
    return (await house.runner.decisions.accept(request))["plan"]


NOBODY = "Nobody knows whether the FLAT frames that it is made from are good: "


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("job", "FLAT is UNKNOWN: The job verifyFlat"),
        ("statistics", "FLAT is UNKNOWN: The verification is not complete: "),
        ("flat", "FLAT.VERIFY is SKIPPED: FLAT.GENERATE, which it needs, is FAILED"),
    ],
)
async def test_what_is_made_of_flats_that_nobody_could_judge_is_unknown(house: House, broken: str, words: str) -> None:
    if broken == "statistics":
        house.observatory.world.missing.add(("verifyFlat", 4))
    else:
        house.observatory.jobs.failing["verifyFlat" if broken == "job" else "cpFlat"] = "out of memory"
    await house.start(**ALL)
    await house.ended()
    assert house.status.state is RunState.FAILED
    judged = verdicts(house)
    assert judged.pop("FLAT", "UNKNOWN") == "UNKNOWN"
    unknown = dict.fromkeys(("DEFECTS", "PTC", "GAIN"), "UNKNOWN")
    assert judged == {"BIAS": "PASSED", "DARK": "PASSED", **unknown}
    assert house.certified == {"bias", "dark"}
    for name in unknown:
        assert reason(house, name).startswith(f"{NOBODY}{words}"), reason(house, name)
        assert "Its own result: " in reason(house, name)


async def test_when_the_flats_are_accepted_what_is_made_of_them_is_judged_by_itself(house: House) -> None:
    house.observatory.jobs.failing["verifyFlat"] = "out of memory"
    run_id = await house.start(**ALL)
    await house.ended()
    jobs = list(house.observatory.jobs.labels)
    plan = await accept(house, run_id, CalibType.FLAT)
    again = ("FLAT.CERTIFY", "DEFECTS.VERIFY", "DEFECTS.CERTIFY", "PTC.VERIFY", "PTC.CERTIFY", "GAIN.VERIFY")
    assert plan == f"FLAT.VERIFY SUCCEEDED; stages to be done: {', '.join(again)}"
    await house.ended()
    assert house.status.state is RunState.COMPLETED, house.status.reason
    good = dict.fromkeys(("BIAS", "DARK", "DEFECTS", "PTC", "GAIN"), "PASSED")
    assert verdicts(house) == {**good, "FLAT": "ACCEPTED_BY_OPERATOR"}
    assert house.certified == {"bias", "dark", "flat", "defects", "ptc"}
    assert house.observatory.jobs.labels == jobs, "no job is done again"
    attempts = {one.stage_name: one.attempt for one in house.of(StageStatus)}
    assert {name: attempts[name] for name in again} == dict.fromkeys(again, 2)
    marks = {one.dataset_type: one.reason for one in house.of(Certification)}
    assert marks["ptc"].startswith("made from FLAT frames, which were accepted by op@console: seen on the screen")
    assert "accepted" not in marks["bias"]


async def test_when_the_flats_are_accepted_bad_curves_stay_bad(house: House) -> None:
    house.observatory.jobs.failing["verifyFlat"] = "out of memory"
    house.observatory.world.bad_amplifiers["PTC", 4] = 16
    run_id = await house.start(do_ptc=True)
    await house.ended()
    assert verdicts(house)["PTC"] == "FAILED" and reason(house, "PTC").startswith(NOBODY)
    await accept(house, run_id, CalibType.FLAT)
    await house.ended()
    assert house.status.state is RunState.FAILED and house.certified == {"bias", "dark", "flat"}
    assert verdicts(house)["PTC"] == "FAILED" and "Nobody knows" not in reason(house, "PTC")


async def test_curves_of_flats_that_nobody_could_judge_can_be_accepted_alone(house: House) -> None:
    house.observatory.jobs.failing["verifyFlat"] = "out of memory"
    run_id = await house.start(do_ptc=True)
    await house.ended()
    assert await accept(house, run_id, CalibType.PTC) == "PTC.VERIFY SUCCEEDED; stages to be done: PTC.CERTIFY"
    await house.ended()
    assert house.status.state is RunState.FAILED and house.certified == {"bias", "dark", "ptc"}


async def test_what_is_made_of_bad_flats_must_be_accepted_itself(house: House) -> None:
    """Who accepts a flat of a dim lamp has not looked at the curves."""
    house.observatory.world.lamp = 0.02
    run_id = await house.start(do_ptc=True)
    await house.ended()
    assert await accept(house, run_id, CalibType.FLAT) == "FLAT.VERIFY SUCCEEDED; stages to be done: FLAT.CERTIFY"
    await house.ended()
    assert verdicts(house)["PTC"] == "FAILED" and house.certified == {"bias", "dark", "flat"}


async def test_accepted_while_what_is_made_of_them_is_still_judged(house: House) -> None:
    jobs = house.observatory.jobs
    jobs.failing["verifyFlat"] = "out of memory"
    verifying = jobs.hold("verifyPtc")
    run_id = await house.start(do_ptc=True)
    await house.until(lambda: house.states["FLAT.CERTIFY"] is StageState.SKIPPED)
    await accept(house, run_id, CalibType.FLAT)
    verifying.set()
    await house.ended()
    assert house.status.state is RunState.COMPLETED, house.status.reason
    assert verdicts(house)["PTC"] == "PASSED" and "ptc" in house.certified


async def test_resumed_and_verified_the_flats_speak_for_what_is_made_of_them(house: House) -> None:
    house.observatory.jobs.failing["verifyFlat"] = "out of memory"
    run_id = await house.start(do_ptc=True)
    await house.ended()
    house.observatory.jobs.failing.clear()
    await house.runner.resume(run_id, "op")
    await house.ended()
    assert house.status.state is RunState.COMPLETED, house.status.reason
    assert "Nobody knows" not in reason(house, "PTC") and "ptc" in house.certified


async def test_without_verification_they_are_certified_as_asked_for(house: House) -> None:
    await house.start(**ALL, do_verify=False, certify_unverified=True)
    await house.ended()
    assert house.status.state is RunState.COMPLETED
    assert house.certified == {"bias", "dark", "flat", "defects", "ptc"}


@pytest.mark.parametrize("broken", ["job", "statistics"])
async def test_what_the_first_look_saw_stands_where_there_are_no_statistics(
    house: House, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = house.observatory.repository
    statistics = repository.statistics

    async def unreadable(collection: str, types: StatisticsTypes, *others: Any) -> Any:
        if types.run == "verifyFlatStats":
            raise ServiceError("a file of them is empty")
        return await statistics(collection, types, *others)

    house.observatory.world.lamp = 0.0
    if broken == "job":
        house.observatory.jobs.failing["verifyFlat"] = "ValueError: array must not contain infs or NaNs"
    else:
        monkeypatch.setattr(repository, "statistics", unreadable)
    await house.start(do_defects=True)
    await house.ended()
    assert verdicts(house) == {"BIAS": "PASSED", "DARK": "PASSED", "FLAT": "FAILED", "DEFECTS": "FAILED"}
    light = "The FLAT frames are bad: 2 of 4 flats are in the repository, and without any light: lamp off"
    assert light in house.reasons["FLAT.VERIFY"]
    assert ("infs or NaNs" if broken == "job" else "a file of them is empty") in house.reasons["FLAT.VERIFY"]
    assert "lamp off" in reason(house, "DEFECTS")
    assert house.certified == {"bias", "dark"}


async def test_a_job_that_fails_for_bad_light_says_so(house: House) -> None:
    house.observatory.world.lamp = 0.0
    house.observatory.jobs.failing["cpFlat"] = "ValueError: scale is not positive"
    await house.start()
    await house.ended()
    assert (
        "The FLAT frames are bad: 2 of 4 flats are in the repository, and without any light: lamp off"
        in (house.reasons["FLAT.GENERATE"])
    )
    assert "scale is not positive" in house.reasons["FLAT.GENERATE"]


async def test_a_verification_that_sees_good_frames_knows_better_than_the_first_look(house: House) -> None:
    world = house.observatory.world
    world.raw_levels = lambda exposure_id: dict.fromkeys(AMPLIFIERS, 1000.0)
    await house.start(**ALL)
    await house.ended()
    assert house.status.state is RunState.COMPLETED
    flats = [one for one in house.of(VerificationResult) if one.calib_type is CalibType.FLAT]
    assert [one.verdict.name for one in flats] == ["FAILED", "PASSED"]
    await house.runner.update_alarms()
    assert not house.alarms.verification_failed
    assert {"flat", "defects", "ptc"} <= house.certified
