# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A certification is written down first, and its outcome is recorded whatever Butler answers, and when."""

from __future__ import annotations

import asyncio
import re

import pytest
from lsst.ts.comcamcalib.enums import CalibType, Verdict
from lsst.ts.comcamcalib.errors import StageError, UnreachableError
from lsst.ts.comcamcalib.record.events import Certification
from lsst.ts.comcamcalib.record.facts import Certified, CertifiedBefore, CertifyAbsent, CertifyIntended, Fact
from lsst.ts.comcamcalib.stages.certify import LOOK_INTERVAL_S, certify
from support.certifying import (
    DAILY,
    IN_DAILY,
    NIGHT,
    certified_ids,
    certify_bias,
    certify_older,
    judge,
    killed_after,
    make,
    own_ids,
    settle,
)
from support.services import Gate

BIAS, DARK = CalibType.BIAS, CalibType.DARK


@pytest.fixture
async def bench(make_bench, expose_all):
    bench = make_bench(script_mode="BIAS")
    expose_all(bench)
    await make(bench, BIAS)
    return bench


# Written down first


async def test_what_is_about_to_be_certified_and_replaced_is_written_down_before_butler_begins(bench) -> None:
    old = certify_older(bench, "bias")
    gate = bench.observatory.repository.gates["certify"] = Gate()
    task = bench.start(certify_bias(bench))
    await gate.until_reached()
    (intent,) = bench.record.of(CertifyIntended)
    product = bench.context.history.product(BIAS)
    assert intent == CertifyIntended(
        number=1,
        stage_name="BIAS.CERTIFY",
        calib_type=BIAS,
        verdict=Verdict.PASSED,
        dataset_type="bias",
        collection=DAILY,
        output_collection="u/ocps/job-01/run",
        validity_begin=NIGHT[0],
        validity_end=NIGHT[1],
        dataset_ids=product.ids,
        replaces=tuple(
            CertifiedBefore(
                dataset_id=one,
                detector=detector,
                physical_filter=None,
                validity_begin=NIGHT[0],
                validity_end=NIGHT[1],
                run_collection="u/ocps/job-old/run",
            )
            for detector, one in zip((0, 1, 4), old, strict=True)
        ),
    )
    assert certified_ids(bench) == sorted(old) and not bench.record.of(Certified)
    gate.open()
    await bench.done(task)
    assert certified_ids(bench) == own_ids(bench)
    assert bench.record.of(Certified) == [
        Certified(
            number=1,
            dataset_count=3,
            reason=f"replaces 3 datasets that were certified before: {', '.join(sorted(old))}",
        )
    ]


async def test_butler_is_not_asked_if_the_intent_can_not_be_written_down(bench) -> None:
    bench.record.refuses = lambda fact: isinstance(fact, CertifyIntended)
    with pytest.raises(StageError, match="It could not be written down, so it was not done: disk full"):
        await certify_bias(bench)
    assert "certify" not in bench.observatory.repository.asked
    assert bench.observatory.world.certificates == []
    (absent,) = bench.record.of(CertifyAbsent)
    assert "disk full" in absent.reason and bench.context.history.open_certifications == []
    assert bench.record.published(Certification) == []
    bench.record.refuses = lambda fact: False
    assert IN_DAILY in await certify_bias(bench)
    assert [one.number for one in bench.record.of(Certified)] == [2]


async def test_butler_is_not_asked_if_the_run_is_stopped_while_the_intent_is_written_down(bench) -> None:
    gate, really = Gate(), bench.record.intend

    async def slow(fact: Fact) -> None:
        await really(fact)
        await gate.pass_through()

    bench.record.intend = slow
    task = bench.start(certify_bias(bench))
    await gate.until_reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bench.done(task)
    assert "certify" not in bench.observatory.repository.asked
    assert [one.reason for one in bench.record.of(CertifyAbsent)] == ["it was stopped before it was begun"]


async def test_nothing_is_certified_if_what_it_replaces_can_not_be_looked_up(bench) -> None:
    bench.observatory.repository.errors["certified_before"] = "the database is down"
    with pytest.raises(StageError, match=r"^bias of job job-01 could not be certified in .*: the database is down"):
        await certify_bias(bench)
    assert bench.record.of(CertifyIntended) == [] and "certify" not in bench.observatory.repository.asked


# Butler's answer


async def test_conflict_fails_the_stage_and_another_attempt_certifies(bench) -> None:
    bench.observatory.repository.errors["certify"] = "ConflictingDefinitionError: somebody certified meanwhile"
    with pytest.raises(
        StageError, match="bias of job job-01 could not be certified in LSSTComCam/calib/daily: Conflicting"
    ):
        await certify_bias(bench)
    (absent,) = bench.record.of(CertifyAbsent)
    assert "somebody certified meanwhile" in absent.reason and bench.context.history.open_certifications == []
    assert bench.record.published(Certification) == []
    bench.observatory.repository.errors.clear()
    await certify_bias(bench)
    assert [one.number for one in bench.record.of(Certified)] == [2] and certified_ids(bench) == own_ids(bench)


@pytest.mark.parametrize("trouble", ["not found", "can't be read back"])
async def test_what_is_not_read_back_is_published_fails_the_stage_and_is_certified_again(bench, trouble: str) -> None:
    repository, lost = bench.observatory.repository, own_ids(bench)[0]
    if trouble == "not found":
        repository.not_found = [lost]
        sentence = f"bias was certified, but is not found again: {lost} is not found."
        remark = f"{lost} is not found."
    else:
        repository.errors["read_back"] = "the database is down"
        sentence = f"bias of job job-01 was certified in {DAILY}, but that could not be read back: the database is down"
        remark = "It could not be read back: the database is down"
    with pytest.raises(StageError) as error:
        await certify_bias(bench)
    assert str(error.value) == sentence
    assert bench.record.of(Certified) == [Certified(number=1, dataset_count=3, reason=remark, lost=(remark,))]
    assert [one.reason for one in bench.record.published(Certification)] == [remark]
    # The run is resumed, and the trouble is over.
    repository.not_found.clear()
    repository.errors.clear()
    assert IN_DAILY in await certify_bias(bench)
    assert repository.asked.count("certify") == 2
    assert bench.record.of(Certified)[1:] == [Certified(number=2, dataset_count=3, reason="")]
    assert certified_ids(bench) == own_ids(bench)


async def test_answer_that_does_not_come_in_time_is_looked_for(bench) -> None:
    """Butler has done it, but the time was over: it is certified, and published with what it replaces."""
    old = certify_older(bench, "bias")
    bench.observatory.repository.unreachable.add("certify")
    assert IN_DAILY in await certify_bias(bench)
    replaced = f"replaces 3 datasets that were certified before: {', '.join(sorted(old))}"
    assert bench.record.of(Certified) == [
        Certified(number=1, dataset_count=3, reason=f"Butler did not answer in time; {replaced}", lost=(), found=True)
    ]


async def test_answer_that_never_comes_leaves_a_may_be_which_a_resumed_run_settles(
    bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.observatory.repository.unreachable |= {"certify", "read_back"}
    task = bench.start(certify_bias(bench))
    await asyncio.sleep(10 * LOOK_INTERVAL_S)
    assert re.search(
        "may have been certified in .* could not be read back: .*certify within .*read_back within", caplog.text
    )
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bench.done(task)
    assert bench.record.of(Certified) == bench.record.of(CertifyAbsent) == []
    assert len(bench.context.history.open_certifications) == 1
    bench.observatory.repository.unreachable.clear()
    again = killed_after(bench, CertifyIntended)
    assert IN_DAILY in await certify_bias(again)
    assert again.record.of(Certified)[0].found and bench.observatory.repository.asked.count("certify") == 1


async def test_request_that_butler_dropped_and_that_was_not_answered_is_absent(bench) -> None:
    async def busy(_request: object) -> object:
        raise UnreachableError("Butler was busy for 300 s")

    bench.observatory.repository.certify = busy
    with pytest.raises(StageError, match=r"could not be certified in .*: Butler was busy for 300 s"):
        await certify_bias(bench)
    assert [one.reason for one in bench.record.of(CertifyAbsent)] == ["Butler was busy for 300 s"]
    assert bench.record.published(Certification) == []


# One after the other


async def test_certifications_of_a_run_wait_for_each_other(make_bench, expose_all) -> None:
    bench = make_bench(script_mode="BIAS_DARK")
    expose_all(bench)
    await make(bench, BIAS)
    await make(bench, DARK)
    repository = bench.observatory.repository
    gate = repository.gates["certify"] = Gate()
    first = bench.start(certify_bias(bench))
    await gate.until_reached()
    second = bench.start(certify(bench.stage("DARK.CERTIFY"), bench.context))
    third = bench.start(certify(bench.stage("DARK.CERTIFY"), bench.context))
    await settle()
    assert [one.calib_type for one in bench.record.of(CertifyIntended)] == [BIAS]
    third.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bench.done(third)
    gate.open()
    await bench.done(first)
    await bench.done(second)
    assert [one.dataset_type for one in bench.record.published(Certification)] == ["bias", "dark"]
    assert [one.number for one in bench.record.of(Certified)] == [1, 2]


async def test_verdict_that_turns_bad_while_another_certification_takes_its_time_counts(make_bench, expose_all) -> None:
    bench = make_bench(script_mode="BIAS_DARK")
    expose_all(bench)
    await make(bench, BIAS)
    await make(bench, DARK)
    gate = bench.observatory.repository.gates["certify"] = Gate()
    first = bench.start(certify_bias(bench))
    await gate.until_reached()
    second = bench.start(certify(bench.stage("DARK.CERTIFY"), bench.context))
    await settle()
    judge(bench.record, DARK, Verdict.FAILED)
    gate.open()
    await bench.done(first)
    with pytest.raises(StageError, match=r"^DARK is not certified, because DARK is FAILED"):
        await bench.done(second)
    assert bench.observatory.world.certified("dark") == []
