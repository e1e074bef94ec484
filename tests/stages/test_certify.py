# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Only good products are certified, exactly their datasets, for the time of the run's frames and as long as needed."""

from __future__ import annotations

import datetime

import pytest
from lsst.ts.comcamcalib.butler_data import CertifyRequest
from lsst.ts.comcamcalib.enums import CalibType, CertificationState, StageState, Verdict
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.record.events import Certification
from lsst.ts.comcamcalib.record.facts import CertifyIntended
from lsst.ts.comcamcalib.stages.certify import certify
from support.certifying import DAILY, NIGHT, make, verdict_of

BIAS, DARK, FLAT = CalibType.BIAS, CalibType.DARK, CalibType.FLAT


@pytest.fixture
async def bench(make_bench, expose_all):
    bench = make_bench(script_mode="BIAS")
    expose_all(bench)
    await make(bench, BIAS)
    return bench


async def certify_of(bench, calib_type: CalibType) -> str:
    return await certify(bench.stage(f"{calib_type.name}.CERTIFY"), bench.context)


async def test_exactly_the_runs_datasets_are_certified_and_published(bench) -> None:
    assert await certify_of(bench, BIAS) == (
        "3 datasets of type bias are in LSSTComCam/calib/daily, "
        "valid from 2026-11-22T12:00:00 to 2026-11-23T12:00:00 (TAI)"
    )
    assert [one.run for one in bench.observatory.world.certified("bias")] == ["u/ocps/job-01/run"] * 3
    assert bench.record.published(Certification) == [
        Certification(
            run_id="20261122-001",
            calib_type=BIAS,
            state=CertificationState.CERTIFIED,
            dataset_type="bias",
            collection=DAILY,
            output_collection="u/ocps/job-01/run",
            validity_begin="2026-11-22T12:00:00",
            validity_end="2026-11-23T12:00:00",
            dataset_count=3,
            reason="",
        )
    ]
    waits = [(wait.for_what, wait.limit_s) for wait in bench.record.waits[-4:]]
    assert waits == [
        ("Butler to look up when the frames were taken", 60),
        (f"Butler to look into {DAILY}", 60),
        (f"Butler to certify in {DAILY}", 300),
        (f"Butler to read back from {DAILY}", 60),
    ]


# Only what is good


@pytest.mark.parametrize("verdict", list(Verdict))
async def test_only_a_good_verdict_leads_to_butler_and_stands_in_the_fact(make_bench, expose_all, verdict) -> None:
    bench = make_bench(script_mode="BIAS")
    expose_all(bench)
    await make(bench, BIAS, verdict)
    if verdict in (Verdict.FAILED, Verdict.UNKNOWN):
        with pytest.raises(StageError, match=f"^BIAS is not certified, because BIAS is {verdict.name}$"):
            await certify_of(bench, BIAS)
        assert bench.record.of(CertifyIntended) == [] and "certify" not in bench.observatory.repository.asked
    else:
        await certify_of(bench, BIAS)
        assert [one.verdict for one in bench.record.of(CertifyIntended)] == [verdict]


async def test_without_a_verdict_nothing_is_certified(make_bench, expose_all) -> None:
    bench = make_bench(script_mode="BIAS")
    expose_all(bench)
    await make(bench, BIAS, None)
    bench.record.move("BIAS.VERIFY", StageState.SUCCEEDED)
    with pytest.raises(StageError, match=r"^BIAS is not certified, because BIAS is not verified$"):
        await certify_of(bench, BIAS)
    assert bench.observatory.world.certificates == []


@pytest.mark.parametrize("state", sorted(set(StageState) - {StageState.SUCCEEDED}))
async def test_while_the_verification_has_not_succeeded_nothing_is_certified(make_bench, expose_all, state) -> None:
    """A verdict may stand although the stage goes on, for flats in another filter, or is done once more."""
    bench = make_bench(script_mode="BIAS")
    expose_all(bench)
    await make(bench, BIAS)
    bench.record.move("BIAS.VERIFY", state)
    with pytest.raises(StageError, match="because the verification of BIAS has not succeeded"):
        await certify_of(bench, BIAS)
    assert bench.observatory.world.certificates == []


async def test_what_is_not_made_is_not_certified(make_bench, expose_all) -> None:
    bench = make_bench(script_mode="BIAS")
    expose_all(bench)
    with pytest.raises(StageError, match=r"^BIAS is not certified, because BIAS is not made$"):
        await certify_of(bench, BIAS)


async def test_flats_are_certified_only_if_they_are_good_in_each_filter(make_bench, expose_all) -> None:
    bench = make_bench()
    expose_all(bench)
    flats = [one.exposure_id for one in bench.observatory.world.of_kind("FLAT")]
    bench.observatory.world.filters |= dict.fromkeys(flats[:2], "i_06")
    for calib_type in (BIAS, DARK):
        await make(bench, calib_type)
    await make(bench, FLAT, None)
    bench.record.move("FLAT.VERIFY", StageState.SUCCEEDED)
    bench.record.put(verdict_of(FLAT, Verdict.PASSED, "r_03"))
    with pytest.raises(StageError, match=r"^FLAT is not certified, because FLAT is not verified in i_06$"):
        await certify_of(bench, FLAT)
    bench.record.put(verdict_of(FLAT, Verdict.FAILED, "i_06"))
    with pytest.raises(StageError, match=r"^FLAT is not certified, because FLAT is FAILED$"):
        await certify_of(bench, FLAT)
    assert bench.observatory.world.certificates == []
    bench.record.put(verdict_of(FLAT, Verdict.PASSED_WITH_FAILURES, "i_06"))
    await certify_of(bench, FLAT)
    assert [one.verdict for one in bench.record.of(CertifyIntended)] == [Verdict.PASSED_WITH_FAILURES], "the worst"
    assert {one.physical_filter for one in bench.observatory.world.certified("flat")} == {"i_06", "r_03"}


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.UNKNOWN])
def test_request_to_butler_with_a_bad_verdict_can_not_be_made(verdict: Verdict) -> None:
    with pytest.raises(ValueError, match=f"bias of u/ocps/job-01/run is {verdict.name}, and not certified"):
        CertifyRequest("u/ocps/job-01/run", "bias", ("id",), DAILY, *NIGHT, verdict)


async def test_certification_without_verification_has_no_verdict_in_the_fact_and_says_so(
    make_bench, expose_all
) -> None:
    bench = make_bench(script_mode="BIAS", do_verify=False, certify_unverified=True)
    expose_all(bench)
    await make(bench, BIAS, None)
    await certify_of(bench, BIAS)
    assert [one.verdict for one in bench.record.of(CertifyIntended)] == [None]
    (published,) = bench.record.published(Certification)
    assert published.reason == "certified without verification, as certify_unverified asks"


async def test_what_is_known_to_be_bad_is_not_certified_without_verification_either(make_bench, expose_all) -> None:
    """A first look at the frames gave a verdict, though nobody wants a verification."""
    bench = make_bench(script_mode="BIAS", do_verify=False, certify_unverified=True)
    expose_all(bench)
    await make(bench, BIAS, None)
    bench.record.put(verdict_of(BIAS, Verdict.FAILED))
    with pytest.raises(StageError, match=r"^BIAS is not certified, because BIAS is FAILED$"):
        await certify_of(bench, BIAS)


# For when


async def made(make_bench, expose_all, first: datetime.datetime, **options):
    """Return a bench with all frames, taken from a moment on (TAI), and the bias made and good."""
    bench = make_bench(**options)
    bench.observatory.world.now = first
    expose_all(bench)
    await make(bench, BIAS)
    return bench


NOON = datetime.datetime(2026, 11, 23, 12)


async def test_the_validity_follows_frames_over_noon(make_bench, expose_all) -> None:
    """Accepted 24 s before noon TAI: three biases before noon, then one dark of 30 s over noon, one after it."""
    first = NOON - datetime.timedelta(seconds=24)
    bench = await made(make_bench, expose_all, first, script_mode="BIAS_DARK", n_bias=3)
    await make(bench, DARK)
    days = [exposure.day_obs for exposure in bench.observatory.world.exposures.values()]
    assert days == [20261122] * 4 + [20261123]
    reason = await certify_of(bench, BIAS)
    assert "valid from 2026-11-22T12:00:00 to 2026-11-24T12:00:00 (TAI)" in reason
    await certify_of(bench, DARK)
    ranges = [(one.validity_begin, one.validity_end) for one in bench.record.published(Certification)]
    assert ranges == [("2026-11-22T12:00:00", "2026-11-24T12:00:00")] * 2
    assert bench.observatory.repository.read_back_for == [tuple(bench.observatory.world.exposures)] * 2


async def test_a_product_of_the_next_day_is_valid_for_the_frames_of_the_day_before(make_bench, expose_all) -> None:
    """Biases before noon, the darks all after it: they are one set."""
    first = NOON - datetime.timedelta(seconds=6)
    bench = await made(make_bench, expose_all, first, script_mode="BIAS_DARK", n_bias=3)
    await make(bench, DARK)
    for calib_type in (BIAS, DARK):
        await certify_of(bench, calib_type)
    ranges = [(one.validity_begin, one.validity_end) for one in bench.record.published(Certification)]
    assert ranges == [("2026-11-22T12:00:00", "2026-11-24T12:00:00")] * 2


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
    await certify_of(bench, BIAS)
    (published,) = bench.record.published(Certification)
    assert (published.validity_begin, published.validity_end, published.reason) == (begin, end, "")
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
    await make(bench, BIAS)
    now_s = (datetime.datetime.fromisoformat(now) - datetime.datetime(1970, 1, 1)).total_seconds()
    monkeypatch.setattr(bench.context.clock, "tai", lambda: now_s)
    await certify_of(bench, BIAS)
    (published,) = bench.record.published(Certification)
    sentence = (
        "WARNING: the validity ended at 2026-11-23T12:00:00 TAI, with the day of the last frame, so that the coming "
        "night does not find this; for that, start another run"
    )
    assert published.reason == (sentence if over else "")
    assert (sentence in caplog.text) is over


async def test_a_validity_that_leaves_frames_out_is_done_and_says_so(make_bench, expose_all, caplog) -> None:
    """The second bias is taken after the end that was given."""
    end = (NOON - datetime.timedelta(hours=1) + datetime.timedelta(seconds=1)).isoformat()
    bench = await made(
        make_bench, expose_all, NOON - datetime.timedelta(hours=1), script_mode="BIAS", certify_calib_end_date=end
    )
    first, second = bench.observatory.world.exposures
    await certify_of(bench, BIAS)
    (published,) = bench.record.published(Certification)
    assert published.reason == (
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
        await certify_of(bench, BIAS)
    assert bench.observatory.world.certificates == []


async def test_frames_that_the_repository_does_not_know_have_no_validity(bench) -> None:
    lost = next(iter(bench.observatory.world.filters))
    del bench.observatory.world.filters[lost]
    with pytest.raises(StageError, match=f"does not know exposure {lost}, so its validity can't be determined"):
        await certify_of(bench, BIAS)
    assert bench.observatory.world.certificates == []


async def test_frames_that_were_not_used_do_not_count(make_bench, expose_all) -> None:
    """A discarded bias of the day before."""
    bench = await made(
        make_bench, expose_all, NOON - datetime.timedelta(seconds=1), script_mode="BIAS", n_discard_bias=1
    )
    assert [one.day_obs for one in bench.observatory.world.exposures.values()] == [20261122, 20261123, 20261123]
    await certify_of(bench, BIAS)
    assert bench.record.published(Certification)[0].validity_begin == NOON.isoformat()
