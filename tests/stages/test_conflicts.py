# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What becomes of calibrations that are certified already, as the option on_conflict says."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from lsst.ts.comcamcalib.enums import CalibType, StageState
from lsst.ts.comcamcalib.errors import StageError
from lsst.ts.comcamcalib.record.facts import Certified, CertifyAbsent, CertifyIntended
from lsst.ts.comcamcalib.run.conflicts import check_conflicts
from support.certifying import DAILY, NIGHT, certified_ids, certify_bias, certify_older, make, own_ids
from support.gate import Gate

BIAS = CalibType.BIAS


@pytest.fixture
def make_conflict(make_bench, expose_all) -> Any:
    """Make a run with a good bias and some option on_conflict."""

    async def run(on_conflict: str, **options: object) -> Any:
        bench = make_bench(script_mode="BIAS", on_conflict=on_conflict, **options)
        expose_all(bench)
        await make(bench, BIAS)
        return bench

    return run


@pytest.mark.parametrize("on_conflict", ["replace", "truncate"])
async def test_how_it_makes_room_is_written_down_before(make_conflict: Any, on_conflict: str) -> None:
    bench = await make_conflict(on_conflict)
    old = certify_older(bench, "bias")
    await certify_bias(bench)
    (intent,) = bench.record.of(CertifyIntended)
    assert intent.on_conflict == on_conflict
    assert [one.dataset_id for one in intent.replaces] == old
    assert certified_ids(bench) == own_ids(bench)


async def test_with_fail_nothing_is_begun_if_something_is_there_by_now(make_conflict: Any) -> None:
    bench = await make_conflict("fail")
    old = certify_older(bench, "bias")
    with pytest.raises(StageError) as caught:
        await certify_bias(bench)
    assert str(caught.value) == (
        f"bias of job job-01 could not be certified in {DAILY}: on_conflict is fail, and {DAILY} already has for a "
        "part of this validity: bias of detectors 0, 1, 4 from u/ocps/job-old/run, valid from 2026-11-22T12:00:00 to "
        "2026-11-23T12:00:00 (TAI). Withdraw that with decertify, and resume the run; or start another run with "
        "on_conflict: replace or truncate, or with another calib_collection or validity."
    )
    assert bench.record.of(CertifyIntended) == [] and certified_ids(bench) == sorted(old)


async def test_with_fail_nothing_is_certified_if_it_appears_at_the_last_moment(make_conflict: Any) -> None:
    bench = await make_conflict("fail")
    gate = bench.observatory.repository.gates["certify"] = Gate()
    task = bench.start(certify_bias(bench))
    await gate.until_reached()
    old = certify_older(bench, "bias")
    gate.open()
    with pytest.raises(StageError, match=r"on_conflict is fail.* Withdraw that with decertify"):
        await bench.done(task)
    assert certified_ids(bench) == sorted(old)
    assert [one.number for one in bench.record.of(CertifyAbsent)] == [1]


async def test_what_has_changed_since_it_was_written_down_is_looked_up_and_written_down_again(
    make_conflict: Any,
) -> None:
    """Somebody certifies between the look and the act: what is replaced is still remembered exactly."""
    bench = await make_conflict("replace")
    gate = bench.observatory.repository.gates["certify"] = Gate()
    task = bench.start(certify_bias(bench))
    await gate.until_reached()
    old = certify_older(bench, "bias")
    gate.open()
    await bench.done(task)
    first, second = bench.record.of(CertifyIntended)
    assert (first.replaces, [one.dataset_id for one in second.replaces]) == ((), old)
    assert [one.number for one in bench.record.of(CertifyAbsent)] == [1]
    assert [one.number for one in bench.record.of(Certified)] == [2]
    assert certified_ids(bench) == own_ids(bench)


# Before the run


async def problems(bench: Any, resumed: bool = False) -> list[str]:
    return await check_conflicts(
        bench.context.plan,
        bench.observatory.services,
        bench.record.clock.tai(),
        bench.record.history if resumed else None,
    )


async def test_before_the_run_what_is_there_is_named_with_what_helps(make_conflict: Any) -> None:
    bench = await make_conflict("fail")
    assert await problems(bench) == []
    certify_older(bench, "bias")
    assert await problems(bench) == [
        f"BIAS: on_conflict is fail, and {DAILY} has for a part of the validity from {NIGHT[0]} to {NIGHT[1]} (TAI): "
        f"bias of detectors 0, 1, 4 from u/ocps/job-old/run, valid from {NIGHT[0]} to {NIGHT[1]} (TAI). Give "
        "on_conflict: replace or truncate, another calib_collection or another validity; or withdraw what is there, "
        "with decertify"
    ]
    other = await make_conflict("replace")
    certify_older(other, "bias")
    assert await problems(other) == []


async def test_what_the_run_has_certified_itself_is_in_nobodys_way_when_it_is_resumed(make_conflict: Any) -> None:
    bench = await make_conflict("fail")
    await certify_bias(bench)
    assert await problems(bench) != []
    assert await problems(bench, resumed=True) == []
    bench.record.move("BIAS.CERTIFY", StageState.SUCCEEDED)
    certify_older(bench, "bias")
    assert await problems(bench, resumed=True) == [], "it does not certify that any more"


async def test_a_run_of_yesterday_with_all_its_frames_is_not_in_the_way_of_today(make_conflict: Any) -> None:
    bench = await make_conflict("fail")
    certify_older(bench, "bias", ("2026-11-23T12:00:00", "2026-11-24T12:00:00"))
    now = bench.record.clock.tai()
    looked = bench.context.plan, bench.observatory.services, now + 86_400.0
    frames = {key: dataclasses.replace(one, taken_s=now) for key, one in bench.record.history.frames.items()}
    history = dataclasses.replace(bench.record.history, frames=frames)
    assert await check_conflicts(*looked, history) == []
    (new,) = await check_conflicts(*looked, None)
    assert "valid from 2026-11-23T12:00:00" in new
    del frames[max(frames)]
    assert len(await check_conflicts(*looked, history)) == 1, "the last frame is still to be taken"


async def test_flats_are_compared_in_the_filter_that_the_run_says(make_bench: Any) -> None:
    bench = make_bench(script_mode="BIAS_DARK_FLAT", on_conflict="fail", filter="i_06")
    certify_older(bench, "flat")
    world = bench.observatory.world

    def in_filter(name: str) -> list[Any]:
        return [
            dataclasses.replace(one, dataset=dataclasses.replace(one.dataset, physical_filter=name))
            for one in world.certificates
        ]

    world.certificates = in_filter("r_03")
    assert await problems(bench) == []
    world.certificates = in_filter("i_06")
    (problem,) = await problems(bench)
    assert problem.startswith("FLAT: on_conflict is fail") and "0 in i_06" in problem


async def test_a_repository_that_does_not_answer_is_named(make_conflict: Any) -> None:
    bench = await make_conflict("fail")
    bench.observatory.repository.errors["certified_for_others"] = "Butler could not look: disk I/O error."
    assert await problems(bench) == [
        f"What is certified in {DAILY} could not be looked up: Butler could not look: disk I/O error."
    ]
