# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A product is certified once more if another is built on it from frames of a later day: `stages/certify.py`."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest
from lsst.ts.comcamcalib.butler_data import CertifyRequest
from lsst.ts.comcamcalib.enums import CalibType, Verdict
from lsst.ts.comcamcalib.errors import ServiceError, StageError
from lsst.ts.comcamcalib.record.events import Certification
from lsst.ts.comcamcalib.record.facts import (
    Certified,
    CertifyAbsent,
    CertifyIntended,
    FrameGivenUp,
    FrameIntended,
    FrameTaken,
)
from lsst.ts.comcamcalib.stages.certify import certify
from support.certifying import expose, judge, killed_after, make, settle
from support.services import Gate

BIAS, DARK = CalibType.BIAS, CalibType.DARK
NOON = datetime.datetime(2026, 11, 23, 12)
ONE_DAY = ("2026-11-22T12:00:00", "2026-11-23T12:00:00")
TWO_DAYS = ("2026-11-22T12:00:00", "2026-11-24T12:00:00")
THREE_DAYS = ("2026-11-22T12:00:00", "2026-11-25T12:00:00")


async def certify_of(bench, calib_type: CalibType) -> str:
    return await certify(bench.stage(f"{calib_type.name}.CERTIFY"), bench.context)


@pytest.fixture
def bias_before(make_bench):
    """Return what makes a bench whose bias is certified an hour before noon, before the darks are taken."""

    async def make_one(darks: datetime.datetime = NOON + datetime.timedelta(hours=1), **options: Any):
        bench = make_bench(script_mode="BIAS_DARK", **options)
        expose(bench, BIAS, NOON - datetime.timedelta(hours=1))
        await make(bench, BIAS)
        await certify_of(bench, BIAS)
        expose(bench, DARK, darks)
        await make(bench, DARK)
        return bench

    return make_one


def published(bench) -> list[tuple[str, tuple[str, str]]]:
    events = bench.record.published(Certification)
    return [(one.dataset_type, (one.validity_begin, one.validity_end)) for one in events]


def intents(bench) -> list[tuple[str, str, tuple[str, str]]]:
    return [
        (one.stage_name, one.dataset_type, (one.validity_begin, one.validity_end))
        for one in bench.record.of(CertifyIntended)
    ]


async def test_product_is_valid_for_later_frames_that_were_calibrated_with_it(bias_before) -> None:
    bench = await bias_before()
    await certify_of(bench, DARK)
    assert intents(bench) == [
        ("BIAS.CERTIFY", "bias", ONE_DAY),
        ("DARK.CERTIFY", "dark", TWO_DAYS),
        ("DARK.CERTIFY", "bias", TWO_DAYS),
    ]
    assert [one.verdict for one in bench.record.of(CertifyIntended)] == [Verdict.PASSED] * 3
    assert published(bench) == [("bias", ONE_DAY), ("dark", TWO_DAYS), ("bias", TWO_DAYS)]
    assert [one.reason for one in bench.record.of(Certified)] == [
        "",
        "",
        "valid for longer now, because DARK, built on it, has later frames",
    ]
    assert set(bench.context.history.exposure_ids(DARK)) <= set(bench.observatory.repository.read_back_for[-1])


async def test_process_that_knows_only_the_history_makes_it_valid_for_longer_too(bias_before) -> None:
    bench = await bias_before()
    again = killed_after(bench, bench.record.history.seq)
    await certify_of(again, DARK)
    assert intents(again)[-1] == ("DARK.CERTIFY", "bias", TWO_DAYS)


async def test_product_that_covers_the_later_frames_is_left_as_it_is(bias_before) -> None:
    bench = await bias_before(NOON - datetime.timedelta(minutes=30))
    await certify_of(bench, DARK)
    assert published(bench) == [("bias", ONE_DAY), ("dark", ONE_DAY)]


async def test_end_that_was_given_is_not_moved(bias_before) -> None:
    bench = await bias_before(NOON - datetime.timedelta(seconds=10), certify_calib_end_date="2026-11-23T12:00:00")
    await certify_of(bench, DARK)
    assert published(bench) == [("bias", ONE_DAY), ("dark", ONE_DAY)]


async def test_product_that_is_not_certified_soundly_is_not_made_valid_for_longer(make_bench) -> None:
    """Its own stage has failed, and a resumed run certifies it for all frames that there are then."""
    bench = make_bench(script_mode="BIAS_DARK")
    expose(bench, BIAS, NOON - datetime.timedelta(hours=1))
    await make(bench, BIAS)
    bench.observatory.repository.errors["read_back"] = "the database is down"
    with pytest.raises(StageError, match="could not be read back"):
        await certify_of(bench, BIAS)
    bench.observatory.repository.errors.clear()
    expose(bench, DARK, NOON + datetime.timedelta(hours=1))
    await make(bench, DARK)
    await certify_of(bench, DARK)
    assert published(bench) == [("bias", ONE_DAY), ("dark", TWO_DAYS)]
    await certify_of(bench, BIAS)
    assert published(bench)[-1] == ("bias", TWO_DAYS)


async def test_product_whose_verdict_turned_bad_is_not_made_valid_for_longer(bias_before) -> None:
    bench = await bias_before()
    judge(bench.record, BIAS, Verdict.FAILED)
    with pytest.raises(StageError, match="its later frames: BIAS is not certified, because BIAS is FAILED"):
        await certify_of(bench, DARK)
    assert published(bench) == [("bias", ONE_DAY), ("dark", TWO_DAYS)]


async def test_product_that_can_not_be_made_valid_for_longer_fails_the_stage_and_a_resumed_run_does_only_that(
    bias_before,
) -> None:
    bench = await bias_before()
    real = bench.observatory.repository.certify

    async def locked(request: CertifyRequest) -> object:
        if request.dataset_type == "bias":
            raise ServiceError("the collection is locked")
        return await real(request)

    bench.observatory.repository.certify = locked
    with pytest.raises(
        StageError,
        match=r"^DARK is certified, but BIAS, which it is built on, could not be made valid for its later frames: "
        r"bias of job job-01 could not be certified in .*: the collection is locked",
    ):
        await certify_of(bench, DARK)
    assert published(bench) == [("bias", ONE_DAY), ("dark", TWO_DAYS)]
    assert len(bench.record.of(CertifyAbsent)) == 1
    bench.observatory.repository.certify = real
    assert "datasets of type dark" in await certify_of(bench, DARK)
    assert published(bench)[2:] == [("bias", TWO_DAYS)]


# Killed


async def test_killed_at_any_fact_each_product_is_certified_once_for_the_right_time(bias_before) -> None:
    bench = await bias_before()
    begun = bench.record.history.seq
    await certify_of(bench, DARK)
    world = bench.observatory.world
    for last in range(begun, bench.record.history.seq + 1):
        again = killed_after(bench, last)
        bench.observatory.repository.asked.clear()
        await certify_of(again, DARK)
        outcomes = [
            (one.intent.dataset_type, one.intent.validity_end)
            for one in again.record.history.certifications.values()
            if one.sound
        ]
        assert outcomes == [("bias", ONE_DAY[1]), ("dark", TWO_DAYS[1]), ("bias", TWO_DAYS[1])], last
        # What has been intended is found, because Butler has done all of it.
        intended = len(
            [one for one in bench.record.entries if one.seq <= last and isinstance(one.fact, CertifyIntended)]
        )
        assert bench.observatory.repository.asked.count("certify") == 3 - intended
    assert len(world.certified("dark")) == 3 and len({one.dataset_id for one in world.certified("bias")}) == 3


async def test_killed_while_it_is_made_valid_for_longer_and_resumed_with_still_later_frames(
    bias_before,
) -> None:
    """The open certification has another range than the one that is needed now; nothing stays open."""
    bench = await bias_before()
    await certify_of(bench, DARK)
    again = killed_after(bench, CertifyIntended)
    bench.observatory.world.now = NOON + datetime.timedelta(hours=25)
    (lost, *_) = bench.context.history.exposure_ids(DARK)
    late = bench.observatory.world.expose("DARK", 30.0, "20261122-001-DARK")
    again.record.put(FrameGivenUp(calib_type=DARK, index=1, reason=f"{lost} was lost"))
    again.record.put(FrameIntended(calib_type=DARK, index=3, exposure_time_s=30.0, replaces=1))
    again.record.put(
        FrameTaken(calib_type=DARK, index=3, exposure_id=late.exposure_id, obs_id=late.obs_id, taken_s=1.8e9)
    )
    await certify_of(again, DARK)
    assert again.context.history.open_certifications == []
    by_type = [
        (one.intent.dataset_type, one.intent.validity_end, one.sound)
        for one in again.record.history.certifications.values()
    ]
    assert by_type[2:] == [
        ("bias", TWO_DAYS[1], True),
        ("dark", THREE_DAYS[1], True),
        ("bias", THREE_DAYS[1], True),
    ]


# Cancelled


async def test_run_that_is_stopped_before_is_not_done_and_does_it_when_it_is_resumed(bias_before) -> None:
    bench = await bias_before()
    gate = bench.observatory.repository.gates["read_back"] = Gate()
    task = bench.start(certify_of(bench, DARK))
    await gate.until_reached()
    task.cancel()
    await settle()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await bench.done(task)
    assert published(bench) == [("bias", ONE_DAY), ("dark", TWO_DAYS)], "what Butler had begun, and nothing more"
    assert "datasets of type dark" in await certify_of(bench, DARK)
    assert published(bench)[2:] == [("bias", TWO_DAYS)]


async def test_run_that_is_stopped_while_butler_does_it_records_it(bias_before) -> None:
    bench = await bias_before()
    task = bench.start(certify_of(bench, DARK))
    await bench.record.until(lambda history: any(one.done for one in list(history.certifications.values())[1:]))
    gate = bench.observatory.repository.gates["certify"] = Gate()
    await gate.until_reached()
    task.cancel()
    await settle()
    assert not task.done()
    gate.open()
    assert "datasets of type dark" in await bench.done(task)
    assert published(bench) == [("bias", ONE_DAY), ("dark", TWO_DAYS), ("bias", TWO_DAYS)]
