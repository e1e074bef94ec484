# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong in the focal plane or in the statistics gets the right verdict, and a sentence that names it."""

from __future__ import annotations

import re

import pytest
from lsst.ts.comcamcalib.enums import CalibType, RunState, Verdict
from support.run import Site, SiteRun

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

OPTIONS = {"script_mode": "BIAS", "n_bias": 5}
BAD = "R22_S11"


async def run_of(site: Site, scenario: str, **options: object) -> SiteRun:
    site.observatory.set_scenarios([scenario])
    run = await site.start(**{**OPTIONS, **options})
    await site.operator.until_ended(run.run_id, 60.0)
    return run


@pytest.mark.parametrize(
    ("scenario", "verdict", "words"),
    [
        (
            "noisy-detector",
            Verdict.FAILED,
            rf"^1 of 9 detectors failed a test in the majority .*: {BAD} \(.*NOISE 80 x",
        ),
        (
            "noisy-amplifier",
            Verdict.PASSED_WITH_FAILURES,
            rf"none failed, but single tests did: NOISE 5 x, in {BAD} C12\.",
        ),
        ("dead-detector", Verdict.FAILED, rf"^Dead amplifiers: all 5 exposures \({BAD}\) have 0 electron"),
        ("detector-missing", Verdict.UNKNOWN, rf"missing or not usable: {BAD} in all 5 exposures \(no statistics\)"),
        ("bad-exposure", Verdict.PASSED_WITH_FAILURES, r"Exposures that failed as a whole: (\d+) \(.*NOISE on 9 of 9"),
        ("statistics-garbled", Verdict.UNKNOWN, rf"missing or not usable: {BAD} in exposure \d+ \(.*missing"),
    ],
)
async def test_verdict_and_sentence(site: Site, scenario: str, verdict: Verdict, words: str) -> None:
    run = await run_of(site, scenario)
    (result,) = run.samples("verificationResult", calibType=CalibType.BIAS)
    assert Verdict(result.verdict) is verdict, result.reason
    found = re.search(words, result.reason)
    assert found, result.reason
    if scenario == "bad-exposure":
        third = run.samples("imageTaken", imageType=CalibType.BIAS)[2]
        assert int(found[1]) == third.exposureId
    certified = {one.detector for one in await run.certified()}
    assert certified == (set(range(9)) if verdict is Verdict.PASSED_WITH_FAILURES else set())


@pytest.mark.parametrize("scenario", ["noisy-detector", "detector-missing"])
async def test_only_the_good_detectors_are_certified(site: Site, scenario: str) -> None:
    run = await run_of(site, scenario, script_mode="BIAS_DARK", n_dark=3, exp_times_dark=5, certify_good_detectors=True)
    await run.ended(RunState.COMPLETED)
    for calib_type in (CalibType.BIAS, CalibType.DARK):
        result = run.samples("verificationResult", calibType=calib_type)[-1]
        assert result.verdict == Verdict.PASSED_WITH_FAILURES
        certification = run.samples("certification", calibType=calib_type)[-1]
        assert certification.datasetCount == 8
        assert f"left out, because not good: {BAD}" in certification.reason
    assert (
        f"Left out, and not certified: {BAD} ("
        in run.samples("verificationResult", calibType=CalibType.BIAS)[-1].reason
    )
    good = set(range(9)) - {4}
    assert {(one.dataset_type, one.detector) for one in await run.certified()} == {
        (name, detector) for name in ("bias", "dark") for detector in good
    }
