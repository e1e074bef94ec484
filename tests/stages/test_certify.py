# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is certified is known and told, whatever happens meanwhile; and nothing is certified after an abort."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime

import pytest
from lsst.ts.comcamcalib.enums import CalibType, CertificationState
from lsst.ts.comcamcalib.errors import ServiceError, StageError
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
    assert reason == (
        "3 datasets of type bias are in LSSTComCam/calib/daily, "
        "valid from 2026-11-22T12:00:00 to 2026-11-23T12:00:00 (TAI)"
    )
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
    assert [wait.limit_s for wait in bench.record.waits[-3:]] == [60, 300, 60]


async def test_what_is_about_to_be_certified_is_written_down_before_butler_begins(bench) -> None:
    gate = bench.observatory.repository.gates["certify"] = Gate()
    task = bench.start(certify(bench.stage("BIAS.CERTIFY"), bench.context))
    await gate.until_reached()
    (intent,) = bench.record.intents
    product = bench.context.products[bench.stage("BIAS.CERTIFY").calib_type]
    assert intent.dataset_ids == tuple(product.ids) and len(product.ids) == 3
    assert (intent.collection, intent.output_collection) == ("LSSTComCam/calib/daily", "u/ocps/job-01/run")
    gate.open()
    await bench.done(task)
    (told,) = bench.record.of(Certification)
    assert (told.validity_begin, told.validity_end) == (intent.validity_begin, intent.validity_end)


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
    """Butler is busy with another certification, so this one stands in the queue."""
    repository = bench.observatory.repository
    gate = repository.gates["read_back"] = Gate()
    busy = asyncio.create_task(repository.read_back("dark", "c", "", "", []))
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


async def test_abort_while_the_frames_are_looked_up_certifies_nothing(bench) -> None:
    gate = bench.observatory.repository.gates["exposures"] = Gate()
    task = bench.start(certify(bench.stage("BIAS.CERTIFY"), bench.context))
    await gate.until_reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bench.done(task)
    assert "certify" not in bench.observatory.repository.asked


async def test_abort_while_butler_certifies_tells_what_was_done(bench) -> None:
    gate = bench.observatory.repository.gates["certify"] = Gate()
    task = bench.start(certify(bench.stage("BIAS.CERTIFY"), bench.context))
    await gate.until_reached()
    task.cancel()
    await settle()
    assert not task.done(), "what Butler has begun has an outcome, and that has to be known"
    gate.open()
    assert "3 datasets of type bias are in LSSTComCam/calib/daily" in await bench.done(task)
    assert len(bench.observatory.world.certified("bias")) == 3
    (told,) = bench.record.of(Certification)
    assert told.dataset_count == 3
    assert told.reason == "the run was stopped meanwhile, so it is not known what this replaces"


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
    assert "3 datasets of type bias are in LSSTComCam/calib/daily" in await bench.done(task)
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


# For when


async def made(make_bench, expose_all, first: datetime.datetime, **options):
    """Return a bench with all frames, taken from a moment on (TAI), and the bias made."""
    bench = make_bench(**options)
    bench.observatory.world.now = first
    expose_all(bench)
    await generate(bench.stage("BIAS.GENERATE"), bench.context)
    return bench


NOON = datetime.datetime(2026, 11, 23, 12)


async def test_the_validity_follows_frames_over_noon(make_bench, expose_all) -> None:
    """Accepted 24 s before noon TAI: three biases before noon, then one dark of 30 s over noon, one after it."""
    first = NOON - datetime.timedelta(seconds=24)
    bench = await made(make_bench, expose_all, first, script_mode="BIAS_DARK", n_bias=3)
    await generate(bench.stage("DARK.GENERATE"), bench.context)
    days = [exposure.day_obs for exposure in bench.observatory.world.exposures.values()]
    assert days == [20261122] * 4 + [20261123]
    reason = await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    assert "valid from 2026-11-22T12:00:00 to 2026-11-24T12:00:00 (TAI)" in reason
    await certify(bench.stage("DARK.CERTIFY"), bench.context)
    ranges = [(one.validity_begin, one.validity_end) for one in bench.record.of(Certification)]
    assert ranges == [("2026-11-22T12:00:00", "2026-11-24T12:00:00")] * 2
    assert bench.observatory.repository.read_back_for == [tuple(bench.observatory.world.exposures)] * 2


async def test_a_product_of_the_next_day_is_valid_for_the_frames_of_the_day_before(make_bench, expose_all) -> None:
    """Biases before noon, the darks all after it: they are one set."""
    first = NOON - datetime.timedelta(seconds=6)
    bench = await made(make_bench, expose_all, first, script_mode="BIAS_DARK", n_bias=3)
    await generate(bench.stage("DARK.GENERATE"), bench.context)
    for name in ("BIAS.CERTIFY", "DARK.CERTIFY"):
        await certify(bench.stage(name), bench.context)
    ranges = [(one.validity_begin, one.validity_end) for one in bench.record.of(Certification)]
    assert ranges == [("2026-11-22T12:00:00", "2026-11-24T12:00:00")] * 2


def take_darks(bench, begin: datetime.datetime) -> None:
    """Take the darks of a run, two of 30 s."""
    bench.observatory.world.now = begin
    sequence = bench.context.plan.sequences[CalibType.DARK]
    for frame in sequence.frames:
        one = bench.observatory.world.expose("DARK", frame.exposure_time_s, sequence.group_id)
        like = bench.context.frames[CalibType.BIAS].taken[0]
        bench.context.frames[CalibType.DARK].taken.append(
            dataclasses.replace(
                like, image_type=CalibType.DARK, exposure_id=one.exposure_id, exposure_time=frame.exposure_time_s
            )
        )


async def bias_certified_before_the_darks(make_bench, expose_all, darks: datetime.datetime, **options):
    bench = await made(make_bench, expose_all, NOON - datetime.timedelta(hours=1), script_mode="BIAS_DARK", **options)
    bench.context.frames[CalibType.DARK].taken.clear()
    await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    take_darks(bench, darks)
    await generate(bench.stage("DARK.GENERATE"), bench.context)
    return bench


async def test_a_product_is_valid_for_later_frames_that_were_calibrated_with_it(make_bench, expose_all) -> None:
    """The bias is certified an hour before noon; the darks that are built on it are taken after noon."""
    bench = await bias_certified_before_the_darks(make_bench, expose_all, NOON + datetime.timedelta(hours=1))
    await certify(bench.stage("DARK.CERTIFY"), bench.context)
    told = [
        (one.dataset_type, one.validity_begin, one.validity_end, one.reason) for one in bench.record.of(Certification)
    ]
    assert told == [
        ("bias", "2026-11-22T12:00:00", "2026-11-23T12:00:00", ""),
        ("dark", "2026-11-22T12:00:00", "2026-11-24T12:00:00", ""),
        (
            "bias",
            "2026-11-22T12:00:00",
            "2026-11-24T12:00:00",
            "valid for longer now, because DARK, built on it, has later frames",
        ),
    ]
    darks = set(bench.context.exposure_ids(CalibType.DARK))
    assert darks <= set(bench.observatory.repository.read_back_for[-1])


async def test_a_product_that_can_not_be_made_valid_for_longer_fails_the_stage_that_needs_it(
    make_bench, expose_all
) -> None:
    bench = await bias_certified_before_the_darks(make_bench, expose_all, NOON + datetime.timedelta(hours=1))
    certified = bench.observatory.repository.certify

    async def once(run_collection: str, dataset_type: str, *args: object) -> object:
        if dataset_type == "bias":
            raise ServiceError("the collection is locked")
        return await certified(run_collection, dataset_type, *args)

    bench.observatory.repository.certify = once
    with pytest.raises(
        StageError,
        match=r"^DARK is certified, but BIAS, which it is built on, could not be made valid for its later frames: "
        r"bias of job job-01 could not be certified in .*: the collection is locked",
    ):
        await certify(bench.stage("DARK.CERTIFY"), bench.context)
    assert [one.dataset_type for one in bench.record.of(Certification)] == ["bias", "dark"]


async def test_after_an_abort_no_product_becomes_valid_for_longer(make_bench, expose_all) -> None:
    bench = await bias_certified_before_the_darks(make_bench, expose_all, NOON + datetime.timedelta(hours=1))
    gate = bench.observatory.repository.gates["read_back"] = Gate()
    task = bench.start(certify(bench.stage("DARK.CERTIFY"), bench.context))
    await gate.until_reached()
    task.cancel()
    await settle()
    gate.open()
    assert "datasets of type dark" in await bench.done(task)
    assert [one.dataset_type for one in bench.record.of(Certification)] == ["bias", "dark"]


async def test_a_product_that_covers_the_later_frames_is_left_as_it_is(make_bench, expose_all) -> None:
    bench = await bias_certified_before_the_darks(make_bench, expose_all, NOON - datetime.timedelta(minutes=30))
    await certify(bench.stage("DARK.CERTIFY"), bench.context)
    assert [one.dataset_type for one in bench.record.of(Certification)] == ["bias", "dark"]


async def test_an_end_that_was_given_is_not_moved(make_bench, expose_all) -> None:
    bench = await bias_certified_before_the_darks(
        make_bench, expose_all, NOON - datetime.timedelta(seconds=10), certify_calib_end_date="2026-11-23T12:00:00"
    )
    await certify(bench.stage("DARK.CERTIFY"), bench.context)
    assert [one.validity_end for one in bench.record.of(Certification)] == ["2026-11-23T12:00:00"] * 2


@pytest.mark.parametrize(
    ("options", "begin", "end"),
    [
        ({}, "2026-11-22T12:00:00", "2026-11-23T12:00:00"),
        ({"certify_calib_end_date": "open"}, "2026-11-22T12:00:00", ""),
        ({"certify_calib_begin_date": "2026-11-22"}, "2026-11-22T00:00:00", "2026-11-23T12:00:00"),
        ({"certify_calib_end_date": "2026-12-24"}, "2026-11-22T12:00:00", "2026-12-24T00:00:00"),
        ({"certify_calib_begin_date": "1970-01-01", "certify_calib_end_date": "open"}, "", ""),
        ({"certify_calib_begin_date": "1970-01-01T00:00:01"}, "1970-01-01T00:00:01", "2026-11-23T12:00:00"),
    ],
)
async def test_what_is_given_stands_and_the_rest_follows_the_frames(
    make_bench, expose_all, options, begin, end
) -> None:
    bench = await made(make_bench, expose_all, NOON - datetime.timedelta(hours=8), script_mode="BIAS", **options)
    await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    (told,) = bench.record.of(Certification)
    assert (told.validity_begin, told.validity_end, told.reason) == (begin, end, "")
    assert bench.observatory.world.certificates[0].validity == (begin, end)


@pytest.mark.parametrize(
    ("now", "options", "over"),
    [
        ("2026-11-23T11:59:59", {}, False),
        ("2026-11-23T12:00:00", {}, True),
        ("2026-11-23T12:30:00", {"certify_calib_begin_date": "2026-11-22"}, True),
        ("2026-11-23T12:30:00", {"certify_calib_end_date": "2026-11-23T12:00:00"}, False),  # it is meant to be so
        ("2026-11-23T12:30:00", {"certify_calib_end_date": "open"}, False),
    ],
)
async def test_what_is_certified_after_the_noon_that_ends_its_validity_says_so(
    make_bench, expose_all, caplog, monkeypatch: pytest.MonkeyPatch, now: str, options: dict[str, str], over: bool
) -> None:
    bench = make_bench(script_mode="BIAS", **options)
    expose_all(bench)
    await generate(bench.stage("BIAS.GENERATE"), bench.context)
    now_s = (datetime.datetime.fromisoformat(now) - datetime.datetime(1970, 1, 1)).total_seconds()
    monkeypatch.setattr("lsst.ts.comcamcalib.stages.certify.current_tai", lambda: now_s)
    await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    (event,) = bench.record.of(Certification)
    sentence = (
        "WARNING: the validity ended at 2026-11-23T12:00:00 TAI, with the day of the last frame, so that the coming "
        "night does not find this; for that, start another run"
    )
    assert event.reason == (sentence if over else "")
    assert (sentence in caplog.text) is over


async def test_a_validity_that_leaves_frames_out_is_done_and_says_so(make_bench, expose_all, caplog) -> None:
    """The second bias and the dark are taken after the end that was given."""
    end = (NOON - datetime.timedelta(hours=1) + datetime.timedelta(seconds=1)).isoformat()
    bench = await made(
        make_bench, expose_all, NOON - datetime.timedelta(hours=1), script_mode="BIAS", certify_calib_end_date=end
    )
    first, second = bench.observatory.world.exposures
    await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    (told,) = bench.record.of(Certification)
    assert told.reason == (
        f"WARNING: the validity that was given does not cover exposure {second} from which this product is made; "
        "Butler does not find it for these"
    )
    assert f"does not cover exposure {second}" in caplog.text
    assert bench.observatory.repository.read_back_for == [(first,)]


async def test_a_validity_that_would_be_empty_certifies_nothing(make_bench, expose_all) -> None:
    bench = await made(
        make_bench,
        expose_all,
        NOON - datetime.timedelta(hours=1),
        script_mode="BIAS",
        certify_calib_begin_date="2026-11-23T12:00:00",
    )
    with pytest.raises(StageError, match="the validity would be empty: certify_calib_begin_date, 2026-11-23T12:00:00"):
        await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    assert bench.observatory.world.certificates == []


async def test_frames_that_the_repository_does_not_know_have_no_validity(bench) -> None:
    lost = next(iter(bench.observatory.world.filters))
    del bench.observatory.world.filters[lost]
    with pytest.raises(StageError, match=f"does not know exposure {lost}, so its validity can't be determined"):
        await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    assert bench.observatory.world.certificates == []


async def test_frames_that_were_not_used_do_not_count(make_bench, expose_all) -> None:
    """A discarded bias of the day before."""
    bench = await made(
        make_bench, expose_all, NOON - datetime.timedelta(seconds=1), script_mode="BIAS", n_discard_bias=1
    )
    assert [one.day_obs for one in bench.observatory.world.exposures.values()] == [20261122, 20261123, 20261123]
    await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    assert bench.record.of(Certification)[0].validity_begin == NOON.isoformat()


# Slow


async def test_an_answer_that_comes_too_late_is_looked_for(bench) -> None:
    """Butler has done it, but the time was over: it is certified, and published as such."""
    bench.observatory.repository.unreachable.add("certify")
    assert "3 datasets of type bias" in await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    (told,) = bench.record.of(Certification)
    assert (told.dataset_count, told.reason) == (
        3,
        "Butler did not answer in time, so it is not known what this replaces",
    )


async def test_an_answer_that_never_comes_leaves_a_may_be(bench) -> None:
    bench.observatory.repository.unreachable |= {"certify", "read_back"}
    with pytest.raises(
        StageError, match=r"may have been certified in .* could not be read back: .*certify within .*read_back within"
    ):
        await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    assert bench.record.of(Certification) == []


async def test_a_dataset_that_is_replaced_in_two_ranges_is_one_dataset(bench) -> None:
    await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    world = bench.observatory.world
    world.certificates += list(world.certificates)
    old = sorted({one.dataset_id for one in world.certified("bias")})
    await generate(bench.stage("BIAS.GENERATE"), bench.context)
    await certify(bench.stage("BIAS.CERTIFY"), bench.context)
    reason = bench.record.of(Certification)[-1].reason
    assert reason == f"replaces 3 datasets that were certified before: {', '.join(old)}"
