# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Noisy detectors, found by real pipelines: what is verified decides what is certified."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from lsst.ts import salobj
from lsst.ts.comcamcalib.enums import CalibType, RunState, StageState, Verdict
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from support.observatory import running_csc
from support.operator import Operator
from support.run import Site

pytestmark = [pytest.mark.observatory, pytest.mark.pipelines, pytest.mark.asyncio(loop_scope="session")]

LIMIT_S = 600.0
NOISY = "R22_S11"
OPTIONS = {"script_mode": "BIAS_DARK", "n_bias": 3, "n_dark": 3, "exp_times_dark": 10}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def real_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """An observatory of its own for these tests, with the real command lines behind its UWS."""
    repo = tmp_path_factory.mktemp("noise") / "repo"
    async with (
        Observatory(repo, speed=20.0, ocps_state=salobj.State.ENABLED) as observatory,
        salobj.Domain() as domain,
        Operator(domain) as operator,
        running_csc(initial_state=salobj.State.ENABLED) as csc,
    ):
        yield Site(observatory, operator, csc)


async def test_noisy_detector_is_not_certified_nor_what_builds_on_it(real_site: Site) -> None:
    real_site.observatory.set_scenarios(["noisy-detector"])
    run = await real_site.start(**OPTIONS)
    state = await run.ended(RunState.FAILED, LIMIT_S)
    assert "BIAS.VERIFY" in state.reason and NOISY in state.reason
    (result,) = run.samples("verificationResult", calibType=CalibType.BIAS)
    assert result.verdict == Verdict.FAILED
    assert (result.exposuresVerified, result.detectorsVerified) == (3, 9)
    # 16 of 16 amplifiers of one detector are far below the procedure's 40: it would not have seen this.
    assert result.exposuresFailed < result.exposuresFailedThreshold
    detectors = run.samples("detectorVerification", calibType=CalibType.BIAS)
    (noisy,) = [one for one in detectors if one.detectorName == NOISY]
    others = [one for one in detectors if one.detectorName != NOISY]
    assert (noisy.exposuresFailed, noisy.amplifiersFailed) == (3, 16)
    assert json.loads(noisy.failuresByTest)["NOISE"] == 3 * 16
    assert all(one.exposuresFailed == 0 for one in others)
    assert noisy.noise > 1.3 * max(one.noise for one in others)
    assert run.in_state(StageState.FAILED) == {"BIAS.VERIFY"}
    # Darks are made beside the verification of the biases, so whether they are there when the verdict comes is chance.
    in_vain = run.in_state(StageState.SKIPPED) - {"DARK.GENERATE"}
    assert in_vain == {"BIAS.CERTIFY", "DARK.VERIFY", "DARK.CERTIFY"}
    assert len(run.samples("imageTaken", imageType=CalibType.DARK)) == 3
    assert await run.certified() == []
    alarms = await run.hear("alarms", runFailed=True)
    assert alarms.verificationFailed and alarms.operatorDecisionNeeded and NOISY in alarms.reason


async def test_noisy_amplifier_is_published_and_its_detector_certified(real_site: Site) -> None:
    real_site.observatory.set_scenarios(["noisy-amplifier"])
    run = await real_site.start(script_mode="BIAS", n_bias=3)
    await run.ended(RunState.COMPLETED, LIMIT_S)
    (result,) = run.samples("verificationResult", calibType=CalibType.BIAS)
    assert result.verdict == Verdict.PASSED_WITH_FAILURES
    assert json.loads(result.failuresByTest)["NOISE"] >= 3
    detectors = run.samples("detectorVerification", calibType=CalibType.BIAS)
    (noisy,) = [one for one in detectors if one.detectorName == NOISY]
    assert noisy.amplifiersFailed == 1 and noisy.exposuresFailed == 0
    assert {(one.dataset_type, one.detector) for one in await run.certified()} == {("bias", one) for one in range(9)}
    assert not (await real_site.operator.hear("alarms")).runFailed
