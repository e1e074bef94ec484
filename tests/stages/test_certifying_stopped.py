# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A certification is done exactly once though its process is killed, or cancelled: `stages/certifying.py`."""

from __future__ import annotations

import asyncio
import re

import pytest
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.record.events import Certification
from lsst.ts.comcamcalib.record.facts import Certified, CertifyAbsent, CertifyIntended
from lsst.ts.comcamcalib.stages.certify import LOOK_INTERVAL_S
from support.certifying import (
    DAILY,
    IN_DAILY,
    NIGHT,
    certified_ids,
    certify_bias,
    certify_older,
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


# Killed


async def test_killed_at_any_fact_it_is_certified_once_and_read_back(bench) -> None:
    old = certify_older(bench, "bias")
    before, begun = list(bench.observatory.world.certificates), bench.context.history.seq
    await certify_bias(bench)
    after = list(bench.observatory.world.certificates)
    intended, certified = (bench.record.entries[begun].seq, bench.record.entries[begun + 1].seq)
    for last, done in ((begun, False), (intended, False), (intended, True), (certified, True)):
        again = killed_after(bench, last)
        bench.observatory.world.certificates = list(after if done else before)
        repository = bench.observatory.repository
        repository.asked.clear()
        assert IN_DAILY in await certify_bias(again)
        assert certified_ids(bench) == own_ids(bench), (last, done)
        assert repository.asked.count("certify") == (0 if done else 1), (last, done)
        assert ("read_back" in repository.asked) is (last != certified), "what is known is not looked for again"
        (recorded,) = again.record.of(Certified)
        assert ", ".join(sorted(old)) in recorded.reason, "what it replaced is known from the intent"
        assert recorded.found is (last == intended and done)
        assert [one.number for one in again.record.of(CertifyAbsent)] == ([1] if last == intended and not done else [])


async def test_what_is_found_after_a_kill_but_not_as_it_should_be_is_certified_again(bench) -> None:
    await certify_bias(bench)
    again = killed_after(bench, CertifyIntended)
    repository = bench.observatory.repository
    repository.asked.clear()
    repository.not_found = [own_ids(bench)[0]]
    with pytest.raises(StageError, match="is not found again"):
        await certify_bias(again)
    first, second = again.record.of(Certified)
    assert (first.number, first.found, len(first.lost)) == (1, True, 1)
    assert (second.number, second.found, len(second.lost)) == (2, False, 1)


@pytest.mark.parametrize("method", ["certified_ranges", "read_back"])
async def test_nothing_is_certified_while_it_is_not_certain_whether_it_was(
    bench, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    await certify_bias(bench)
    again = killed_after(bench, CertifyIntended)
    bench.observatory.repository.asked.clear()
    bench.observatory.repository.errors[method] = "the database is down"
    task = bench.start(certify_bias(again))
    await asyncio.sleep(10 * LOOK_INTERVAL_S)
    assert not task.done() and bench.observatory.repository.asked.count(method) >= 9, "it looks again and again"
    assert "certify" not in bench.observatory.repository.asked
    assert len(again.context.history.open_certifications) == 1
    assert re.search(
        r"BIAS.CERTIFY: Whether bias of job job-01 was certified in .* could not be found out: the database is down. "
        "Check the repository; the CSC looks again",
        caplog.text,
    )
    bench.observatory.repository.errors.clear()
    assert IN_DAILY in await bench.done(task)
    assert again.record.of(Certified)[0].found


@pytest.mark.parametrize("done", [True, False])
async def test_open_certification_with_another_validity_is_settled_first(bench, done: bool) -> None:
    """It was intended when the run had fewer frames."""
    await certify_bias(bench)
    short = killed_after(bench, CertifyIntended)
    (intent,) = short.record.of(CertifyIntended)
    shorter = (NIGHT[0], "2026-11-22T20:00:00")
    bench.observatory.world.certificates.clear()
    if done:
        bench.observatory.world.certify("u/ocps/job-01/run", "bias", DAILY, shorter, own_ids(bench))
    again = killed_after(bench, intent_seq(bench) - 1)
    again.record.put(intent.model_copy(update={"validity_end": shorter[1]}))
    assert IN_DAILY in await certify_bias(again)
    first, second = again.record.history.certifications.values()
    assert isinstance(first.outcome, Certified if done else CertifyAbsent)
    assert second.sound and (second.intent.validity_begin, second.intent.validity_end) == NIGHT
    assert again.context.history.open_certifications == []
    assert {one.validity for one in bench.observatory.world.certificates} >= {NIGHT}


def intent_seq(bench) -> int:
    return next(entry.seq for entry in bench.record.entries if isinstance(entry.fact, CertifyIntended))


async def test_open_certification_that_can_not_be_settled_is_a_sentence(
    bench, caplog: pytest.LogCaptureFixture
) -> None:
    await certify_bias(bench)
    again = killed_after(bench, intent_seq(bench) - 1)
    (intent,) = bench.record.of(CertifyIntended)
    again.record.put(intent.model_copy(update={"validity_end": "2026-11-22T20:00:00"}))
    bench.observatory.repository.asked.clear()
    bench.observatory.repository.errors["certified_ranges"] = "the database is down"
    task = bench.start(certify_bias(again))
    await asyncio.sleep(10 * LOOK_INTERVAL_S)
    assert "certify" not in bench.observatory.repository.asked and not task.done()
    assert re.search(
        r"Whether BIAS was certified in .* before the run was interrupted could not be found out: the database is down",
        caplog.text,
    )
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bench.done(task)


# Cancelled


async def test_cancelled_before_butler_has_begun_certifies_nothing(bench) -> None:
    """Butler is busy with another certification, so this one stands in the queue."""
    repository = bench.observatory.repository
    gate = repository.gates["read_back"] = Gate()
    busy = asyncio.create_task(repository.read_back("dark", "c", "", "", []))
    await gate.until_reached()
    task = bench.start(certify_bias(bench))
    await settle()
    assert len(bench.record.of(CertifyIntended)) == 1
    task.cancel()
    await settle()
    gate.open()
    await busy
    with pytest.raises(asyncio.CancelledError):
        await bench.done(task)
    assert "certify" not in repository.asked and bench.observatory.world.certificates == []
    assert [one.reason for one in bench.record.of(CertifyAbsent)] == ["the run was stopped meanwhile"]
    assert bench.record.published(Certification) == []


@pytest.mark.parametrize("method", ["exposures", "certified_before"])
async def test_cancelled_while_it_looks_certifies_nothing(bench, method: str) -> None:
    gate = bench.observatory.repository.gates[method] = Gate()
    task = bench.start(certify_bias(bench))
    await gate.until_reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bench.done(task)
    assert "certify" not in bench.observatory.repository.asked and bench.record.of(CertifyIntended) == []


async def test_cancelled_while_butler_certifies_records_what_was_done(bench) -> None:
    old = certify_older(bench, "bias")
    gate = bench.observatory.repository.gates["certify"] = Gate()
    task = bench.start(certify_bias(bench))
    await gate.until_reached()
    task.cancel()
    await settle()
    assert not task.done(), "what Butler has begun has an outcome, and that has to be known"
    gate.open()
    assert IN_DAILY in await bench.done(task)
    replaced = f"replaces 3 datasets that were certified before: {', '.join(sorted(old))}"
    assert bench.record.of(Certified) == [
        Certified(number=1, dataset_count=3, reason=f"the run was stopped meanwhile; {replaced}", found=True)
    ]
    assert certified_ids(bench) == own_ids(bench)


async def test_cancelled_while_a_certification_fails_is_a_cancelling(bench) -> None:
    gate = bench.observatory.repository.gates["certify"] = Gate()
    bench.observatory.repository.errors["certify"] = "conflict"
    task = bench.start(certify_bias(bench))
    await gate.until_reached()
    task.cancel()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await bench.done(task)
    assert bench.record.of(Certified) == [] and len(bench.record.of(CertifyAbsent)) == 1


async def test_cancelled_again_and_again_during_the_reading_back_hides_nothing(bench) -> None:
    gate = bench.observatory.repository.gates["read_back"] = Gate()
    task = bench.start(certify_bias(bench))
    await gate.until_reached()
    for _ in range(3):
        task.cancel()
        await settle()
    gate.open()
    assert IN_DAILY in await bench.done(task)
    assert [(one.dataset_count, one.lost) for one in bench.record.of(Certified)] == [(3, ())]


async def test_cancelled_while_butler_hangs_ends_within_5_s_and_stays_open(bench) -> None:
    """Whoever stops the run must answer; that the outcome is unknown is said, and is looked for later."""
    gate = bench.observatory.repository.gates["certify"] = Gate()
    task = bench.start(certify_bias(bench))
    await gate.until_reached()
    begin = asyncio.get_running_loop().time()
    task.cancel()
    with pytest.raises(StageError, match=r"may have been certified in .*read back: Butler did not answer within 5 s"):
        await bench.done(task)
    assert asyncio.get_running_loop().time() - begin == pytest.approx(5.0, abs=0.5)
    assert len(bench.context.history.open_certifications) == 1 and bench.record.of(Certified) == []
    gate.open()
    await settle()
    again = killed_after(bench, CertifyIntended)
    assert IN_DAILY in await certify_bias(again)
    assert [one.found for one in again.record.of(Certified)] == [True]


async def test_what_a_stopped_process_certifies_after_it_was_looked_for_in_vain_keeps_what_it_replaced(bench) -> None:
    """Its transaction was open while it was stopped, so that the process that took over did not see it."""
    old = certify_older(bench, "bias")
    before = list(bench.observatory.world.certificates)
    await certify_bias(bench)
    after = list(bench.observatory.world.certificates)
    again = killed_after(bench, CertifyIntended)
    bench.observatory.world.certificates = before
    repository = bench.observatory.repository
    look = repository.certified_ranges

    async def look_before_the_commit(*arguments: object) -> object:
        found = await look(*arguments)
        bench.observatory.world.certificates = list(after)
        return found

    repository.certified_ranges = look_before_the_commit
    await certify_bias(again)
    assert certified_ids(bench) == own_ids(bench)
    assert [one.number for one in again.record.of(CertifyAbsent)] == [1]
    first, second = again.record.of(CertifyIntended)
    assert {one.dataset_id for one in second.replaces} == set(old), "so that decertify can put it back"
    assert second.replaces == first.replaces
    (told,) = again.record.of(Certified)
    assert ", ".join(sorted(old)) in told.reason
