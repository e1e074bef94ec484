# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""An operator decides: what failed its verification is accepted and certified, and withdrawn again."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler
from lsst.ts.comcamcalib.enums import CalibType, CertificationState, RunState, StageState, Verdict
from support.run import Site

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

COLLECTION = "LSSTComCam/calib/u/tests/decisions"
OPTIONS: dict[str, Any] = {"script_mode": "BIAS", "n_bias": 2, "calib_collection": COLLECTION}


def answers(repo: Path, exposures: Sequence[int]) -> list[tuple[str, str]]:
    """What a user gets for each exposure and detector from a Butler of his own: UUID and pixels."""
    found = []
    with Butler.from_config(str(repo), writeable=False) as butler:
        for exposure in exposures:
            (record,) = butler.query_dimension_records("exposure", instrument="LSSTComCam", exposure=exposure)
            for detector in range(9):
                data_id = {"instrument": "LSSTComCam", "detector": detector}
                ref = butler.find_dataset("bias", data_id, collections=COLLECTION, timespan=record.timespan)
                assert ref is not None
                bias = butler.get("bias", {**data_id, "exposure": exposure}, collections=COLLECTION)
                found.append((str(ref.id), hashlib.sha256(bias.image.array.tobytes()).hexdigest()))
    return found


async def test_a_failed_run_is_accepted_certified_and_withdrawn_and_all_is_as_before(site: Site) -> None:
    first = await site.complete(**OPTIONS)
    exposures = [one.exposureId for one in first.samples("imageTaken")]
    repo = site.observatory.repo
    before = await asyncio.to_thread(answers, repo, exposures)
    rows = await first.certified()

    site.observatory.set_scenarios(["noisy-detector"])
    run = await site.start(**OPTIONS)
    await run.ended(RunState.FAILED)
    (seen,) = run.samples("verificationResult")
    assert seen.verdict == Verdict.FAILED and await asyncio.to_thread(answers, repo, exposures) == before
    (refusal,) = await site.operator.refused(
        "acceptVerification", runId=run.run_id, calibType=CalibType.BIAS, attempt=seen.attempt + 1, reason="tests"
    )
    assert f"that stands is that of attempt {seen.attempt} (FAILED: " in refusal

    ack = await site.operator.command(
        "acceptVerification",
        runId=run.run_id,
        calibType=CalibType.BIAS,
        attempt=seen.attempt,
        reason="the detector is known",
    )
    assert "stages to be done: BIAS.CERTIFY" in ack.result
    await run.hear("runState", state=RunState.COMPLETED)
    accepted = await run.hear("verificationResult", verdict=Verdict.ACCEPTED_BY_OPERATOR)
    assert ": the detector is known. It was FAILED: " in accepted.reason
    assert run.stages["BIAS.CERTIFY"] is StageState.SUCCEEDED
    (certified,) = run.samples("certification")
    assert ": the detector is known" in certified.reason and "replaces 9 datasets" in certified.reason
    now = await asyncio.to_thread(answers, repo, exposures)
    assert not {name for name, _ in now} & {name for name, _ in before}

    # The first one can't be withdrawn now: the second stands there.
    (refusal,) = await site.operator.refused("decertify", runId=first.run_id, calibType=0, reason="tests")
    assert f"(run {run.run_id})" in refusal and "Nothing was withdrawn" in refusal
    assert await asyncio.to_thread(answers, repo, exposures) == now

    ack = await site.operator.command("decertify", runId=run.run_id, calibType=0, reason="it was not good enough")
    assert "9 datasets are out of" in ack.result and "back with the former ranges: 9 datasets" in ack.result
    withdrawn = await run.hear("certification", state=CertificationState.DECERTIFIED)
    assert withdrawn.reason.startswith("withdrawn by ") and ": it was not good enough; " in withdrawn.reason
    assert await asyncio.to_thread(answers, repo, exposures) == before
    assert await run.certified() == rows
    (again,) = await site.operator.refused("decertify", runId=run.run_id, calibType=CalibType.BIAS, reason="tests")
    assert "There is nothing to withdraw" in again and "it was not good enough" in again
    state = run.samples("runState")[-1]
    assert state.state == RunState.COMPLETED and ": it was not good enough" in state.reason

    # A run that must replace nothing is refused before it begins, and the run that stands there is named.
    site.observatory.set_scenarios([])
    (refusal,) = await site.operator.refused(
        "startCalibrationRun", config=f"{{script_mode: BIAS, calib_collection: {COLLECTION}, on_conflict: fail}}"
    )
    assert "BIAS: on_conflict is fail, and " in refusal and f"(run {first.run_id})" in refusal
