# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is certified is known and told, whatever happens meanwhile; and nothing is certified after an abort."""

from __future__ import annotations

import asyncio

import pytest
from lsst.ts.comcamcalib.enums import CertificationState
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.plan.record import Certification
from lsst.ts.comcamcalib.stages.certify import certify
from lsst.ts.comcamcalib.stages.generate import generate
from support.services import Gate


@pytest.fixture
async def bench(make_bench, expose_all):
    bench = make_bench(script_mode="BIAS")
    expose_all(bench)
    await generate(bench.stage("BIAS.GENERATE"), bench.context)
    return bench


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_exactly_the_runs_datasets_are_certified_and_told(bench) -> None:
    reason = await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    assert reason == "3 datasets of type bias are in LSSTComCam/calib/daily"
    assert [one.run for one in bench.observatory.world.certified("bias")] == ["u/ocps/job-01/run"] * 3
    assert bench.record.of(Certification) == [
        Certification(
            run_id="20261122-001",
            calib_type=bench.stage("BIAS.CERTIFY").calib_type,
            state=CertificationState.CERTIFIED,
            dataset_type="bias",
            collection="LSSTComCam/calib/daily",
            output_collection="u/ocps/job-01/run",
            validity_begin="2026-11-22T12:00:00",
            validity_end="2026-11-23T12:00:00",
            dataset_count=3,
            reason="",
        )
    ]
    assert bench.record.waits[-1].limit_s == 300


async def test_what_makes_room_is_told(bench) -> None:
    await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    old = sorted(one.dataset_id for one in bench.observatory.world.certified("bias"))
    await generate(bench.stage("BIAS.GENERATE"), bench.context)
    await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    reason = bench.record.of(Certification)[-1].reason
    assert reason == f"replaces 3 datasets that were certified before: {', '.join(old)}"


async def test_certification_without_verification_is_told_as_such(make_bench, expose_all) -> None:
    bench = make_bench(script_mode="BIAS", do_verify=False, certify_unverified=True)
    expose_all(bench)
    await generate(bench.stage("BIAS.GENERATE"), bench.context)
    await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    (told,) = bench.record.of(Certification)
    assert told.reason == "certified without verification, as certify_unverified asks"


async def test_conflict_fails_the_stage_and_nothing_is_told_as_certified(bench) -> None:
    bench.observatory.repository.errors["certify"] = "ConflictingDefinitionError: somebody certified meanwhile"
    with pytest.raises(
        StageError, match="bias of job job-01 could not be certified in LSSTComCam/calib/daily: Conflicting"
    ):
        await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    assert bench.record.of(Certification) == []


async def test_certification_that_is_not_found_again_fails_the_stage_but_is_told(bench) -> None:
    bench.observatory.repository.not_found = [bench.context.products[bench.stage("BIAS.CERTIFY").calib_type].ids[0]]
    with pytest.raises(StageError, match=r"bias was certified, but is not found again: .* is not found"):
        await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    assert len(bench.record.of(Certification)) == 1


async def test_certification_that_can_not_be_read_back_is_told_as_done(bench) -> None:
    bench.observatory.repository.errors["read_back"] = "the database is down"
    with pytest.raises(StageError, match=r"was certified in .*, but that could not be read back: the database is down"):
        await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    assert [one.dataset_count for one in bench.record.of(Certification)] == [3]


async def test_abort_before_butler_has_begun_certifies_nothing(bench) -> None:
    """Butler is busy with something else, so the certification stands in the queue."""
    repository = bench.observatory.repository
    gate = repository.gates["missing_collections"] = Gate()
    busy = asyncio.create_task(repository.missing_collections(["x"]))
    await gate.until_reached()
    task = bench.start(certify(bench.stage("BIAS.CERTIFY"), bench.context))
    await settle()
    task.cancel()
    await settle()
    gate.open()
    await busy
    with pytest.raises(asyncio.CancelledError):
        await bench.done(task)
    assert "certify" not in repository.asked
    assert bench.observatory.world.certificates == []
    assert bench.record.of(Certification) == []


async def test_abort_while_butler_certifies_tells_what_was_done(bench) -> None:
    gate = bench.observatory.repository.gates["certify"] = Gate()
    task = bench.start(certify(bench.stage("BIAS.CERTIFY"), bench.context))
    await gate.until_reached()
    task.cancel()
    await settle()
    assert not task.done(), "what Butler has begun has an outcome, and that has to be known"
    gate.open()
    assert await bench.done(task) == "3 datasets of type bias are in LSSTComCam/calib/daily"
    assert len(bench.observatory.world.certified("bias")) == 3
    (told,) = bench.record.of(Certification)
    assert told.dataset_count == 3
    assert told.reason == "the run was stopped meanwhile, so what this replaces is not known here"


async def test_abort_while_a_certification_fails_is_a_cancelling(bench) -> None:
    gate = bench.observatory.repository.gates["certify"] = Gate()
    bench.observatory.repository.errors["certify"] = "conflict"
    task = bench.start(certify(bench.stage("BIAS.CERTIFY"), bench.context))
    await gate.until_reached()
    task.cancel()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await bench.done(task)
    assert bench.record.of(Certification) == []


async def test_abort_during_the_reading_back_does_not_hide_the_certification(bench) -> None:
    gate = bench.observatory.repository.gates["read_back"] = Gate()
    task = bench.start(certify(bench.stage("BIAS.CERTIFY"), bench.context))
    await gate.until_reached()
    for _ in range(3):
        task.cancel()
        await settle()
    gate.open()
    assert await bench.done(task) == "3 datasets of type bias are in LSSTComCam/calib/daily"
    assert len(bench.record.of(Certification)) == 1


async def test_abort_after_which_butler_does_not_answer_leaves_no_false_claim(bench) -> None:
    gate = bench.observatory.repository.gates["certify"] = Gate()
    bench.observatory.repository.errors["read_back"] = "Butler could not read back within 60 s"
    task = bench.start(certify(bench.stage("BIAS.CERTIFY"), bench.context))
    await gate.until_reached()
    task.cancel()
    gate.open()
    with pytest.raises(StageError, match=r"may have been certified in .*, but that could not be read back"):
        await bench.done(task)
    assert bench.record.of(Certification) == []
