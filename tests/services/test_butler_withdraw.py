# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Undoing certifications, and what becomes of what they replace, in a real, small repository."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from lsst.daf.butler import Butler
from lsst.ts.comcamcalib.butler_data import CertifyRequest, ReplacedDataset, UndoneCertification, Withdrawal
from lsst.ts.comcamcalib.errors import ChangedError, ConflictError, ServiceError
from lsst.ts.comcamcalib.services.butler import ButlerService
from support.small_repository import BIASES, DAILY, INSTRUMENT, NEXT_NOON, NOON, bias_job, certify_request, found_bias

LATER_NOON = "2026-11-24T12:00:00"
TIMES = ("19T13:00:00", "22T11:59:59", "22T12:00:00", "22T23:00:00", "23T11:59:59", "23T12:00:00", "25T00:00:00")


async def certify(service: ButlerService, request: CertifyRequest) -> UndoneCertification:
    """Certify as a run does, and return what it remembers of that."""
    before = tuple(await service.certified_before(request))
    await service.certify(dataclasses.replace(request, expects=before))
    truncated = request.on_conflict == "truncate"
    return UndoneCertification(
        request.dataset_type, request.dataset_ids, request.begin_iso_tai, request.end_iso_tai, truncated, before
    )


async def undo(service: ButlerService, *done: UndoneCertification) -> Withdrawal:
    planned = await service.look_withdrawal(Withdrawal(DAILY, done))
    await service.withdraw(planned)
    assert await service.read_back_withdrawal(planned, BIASES) == []
    return planned


def answers(butler: Butler, detectors: Sequence[int] = (0, 1)) -> list[str | None]:
    """What a user's look-ups find."""
    butler.registry.refresh()
    return [found_bias(butler, detector, when) for detector in detectors for when in TIMES]


def rows(butler: Butler) -> set[tuple[str, str]]:
    """All ranges of the collection."""
    butler.registry.refresh()
    there = butler.registry.queryDatasetAssociations("bias", collections=DAILY)
    return {(str(one.ref.id), str(one.timespan)) for one in there}


async def test_what_was_replaced_is_back_with_its_range(service: ButlerService, butler: Butler) -> None:
    old, new = bias_job(butler, "old", [0, 1]), bias_job(butler, "new", [0, 1])
    await service.certify(certify_request("old", old, "2026-11-20T12:00:00.5", ""))
    before, ranges = answers(butler), rows(butler)
    done = await certify(service, certify_request("new", new))
    assert answers(butler) != before
    planned = await undo(service, done)
    assert answers(butler) == before and rows(butler) == ranges
    assert {one.dataset_id for one in planned.out if one.begin_iso_tai == NOON} == set(new)
    assert {(one.dataset_id, one.begin_iso_tai, one.end_iso_tai) for one in planned.back} == {
        (name, "2026-11-20T12:00:00.5", "") for name in old
    }


async def test_a_run_over_several_ranges_that_grew_is_undone_as_a_whole(service: ButlerService, butler: Butler) -> None:
    """It took over parts of three ranges of two older ones, and was certified a second time for a longer range."""
    first, second, mine = (bias_job(butler, name, [0]) for name in ("first", "second", "mine"))
    await service.certify(certify_request("first", first, "2026-11-01T00:00:00", ""))
    await service.certify(certify_request("second", second, "2026-11-22T22:00:00", "2026-11-23T02:00:00"))
    before, ranges = answers(butler, [0]), rows(butler)
    done = [
        await certify(service, certify_request("mine", mine)),
        await certify(service, certify_request("mine", mine, NOON, LATER_NOON)),
    ]
    assert len(done[0].replaced) == 3 and len(done[1].replaced) == 1
    await undo(service, *done)
    assert answers(butler, [0]) == before and rows(butler) == ranges


async def test_where_a_later_run_stands_nothing_is_undone_and_it_is_named(
    service: ButlerService, butler: Butler
) -> None:
    old, mine, later = (bias_job(butler, name, [0, 1]) for name in ("old", "mine", "later"))
    await service.certify(certify_request("old", old, "", ""))
    done = await certify(service, certify_request("mine", mine))
    last = await certify(service, certify_request("later", later[1:], "2026-11-23T00:00:00", LATER_NOON))
    ranges = rows(butler)
    with pytest.raises(ConflictError) as caught:
        await undo(service, done)
    assert str(caught.value) == (
        "Something else is certified there by now: bias of detector 1 from u/ocps/later/run, valid from "
        "2026-11-23T00:00:00 to 2026-11-24T12:00:00 (TAI). Withdraw that first."
    )
    assert rows(butler) == ranges
    await undo(service, last)
    await undo(service, done)
    assert rows(butler) == {(name, "(-∞, ∞)") for name in old}


async def test_undone_twice_nothing_must_go_out(service: ButlerService, butler: Butler) -> None:
    mine = bias_job(butler, "mine", [0])
    done = await certify(service, certify_request("mine", mine))
    await undo(service, done)
    assert await service.look_withdrawal(Withdrawal(DAILY, (done,))) == Withdrawal(DAILY, (done,))
    assert answers(butler, [0]) == [None] * len(TIMES)


async def test_nothing_is_undone_if_the_collection_has_changed_since_the_look(
    service: ButlerService, butler: Butler
) -> None:
    mine, later = bias_job(butler, "mine", [0]), bias_job(butler, "later", [0])
    done = await certify(service, certify_request("mine", mine))
    planned = await service.look_withdrawal(Withdrawal(DAILY, (done,)))
    await service.certify(certify_request("mine", mine, NOON, LATER_NOON))
    with pytest.raises(ChangedError, match="has changed since it was looked up, so nothing was withdrawn"):
        await service.withdraw(planned)
    await service.certify(certify_request("later", later))
    with pytest.raises(ConflictError):
        await service.withdraw(planned)


async def test_nothing_is_undone_if_what_should_come_back_does_not_exist_any_more(
    service: ButlerService, butler: Butler
) -> None:
    old, mine = bias_job(butler, "old", [0]), bias_job(butler, "mine", [0])
    await service.certify(certify_request("old", old, "", ""))
    done = await certify(service, certify_request("mine", mine))
    butler.removeRuns(["u/ocps/old/run"], unlink_from_chains=True)
    with pytest.raises(ServiceError) as caught:
        await undo(service, done)
    assert "can't be put back, because it is not in the repository any more: bias of detector 0" in str(caught.value)
    butler.registry.refresh()
    assert found_bias(butler, 0, "22T13:00:00") == mine[0]


async def test_what_is_not_as_planned_is_read_back(service: ButlerService, butler: Butler) -> None:
    old, mine = bias_job(butler, "old", [0]), bias_job(butler, "mine", [0])
    await service.certify(certify_request("old", old, "", ""))
    done = await certify(service, certify_request("mine", mine))
    planned = await service.look_withdrawal(Withdrawal(DAILY, (done,)))
    problems = await service.read_back_withdrawal(planned, BIASES)
    assert mine[0] in problems[0] and f"is still certified in {DAILY}" in problems[0]
    assert any("is not back in" in one for one in problems) and any("finds dataset" in one for one in problems)


KILLED_WHILE_UNDOING = """
import os, pickle, sys
from lsst.daf.butler import Butler
from lsst.ts.comcamcalib.services import butler_withdraw

butler = Butler.from_config(sys.argv[1], writeable=True)
type(butler.registry).certify = lambda *args, **kwargs: os._exit(9)
butler_withdraw.withdraw(butler, sys.argv[2], pickle.loads(bytes.fromhex(sys.argv[3])))
"""


async def test_killed_when_the_new_is_out_and_the_old_not_yet_back_nothing_has_changed(
    service: ButlerService, butler: Butler, repo: Path
) -> None:
    old, mine = bias_job(butler, "old", [0]), bias_job(butler, "mine", [0])
    await service.certify(certify_request("old", old, "", ""))
    done = await certify(service, certify_request("mine", mine))
    ranges = rows(butler)
    planned = await service.look_withdrawal(Withdrawal(DAILY, (done,)))
    arguments = [sys.executable, "-c", KILLED_WHILE_UNDOING, str(repo), INSTRUMENT, pickle.dumps(planned).hex()]
    ended = await asyncio.to_thread(subprocess.run, arguments, check=False, timeout=60)
    assert ended.returncode == 9
    assert rows(butler) == ranges
    await undo(service, done)
    assert rows(butler) == {(old[0], "(-∞, ∞)")}


# What becomes of what is there (on_conflict)


async def test_truncate_ends_what_is_there_where_the_new_one_begins(service: ButlerService, butler: Butler) -> None:
    old, inside, new = (bias_job(butler, name, [0, 1]) for name in ("old", "inside", "new"))
    await service.certify(certify_request("old", old, "2026-11-01T00:00:00", ""))
    await service.certify(certify_request("inside", inside[:1], "2026-11-23T00:00:00", LATER_NOON))
    before, ranges = answers(butler), rows(butler)
    request = dataclasses.replace(certify_request("new", new), on_conflict="truncate")
    done = await certify(service, request)
    butler.registry.refresh()
    for detector in (0, 1):
        assert found_bias(butler, detector, "22T11:59:59") == old[detector]
        assert found_bias(butler, detector, "22T12:00:00") == new[detector]
        assert found_bias(butler, detector, "23T12:00:00") is None, "what began later is gone altogether"
    # Of detector 0 the old one has another range, which does not overlap the new one.
    assert found_bias(butler, 0, "25T00:00:00") == old[0] and found_bias(butler, 1, "25T00:00:00") is None
    assert await service.read_back("bias", DAILY, NOON, NEXT_NOON, new) == []
    await undo(service, done)
    assert answers(butler) == before and rows(butler) == ranges


async def test_fail_certifies_nothing_and_names_what_is_there(service: ButlerService, butler: Butler) -> None:
    old, new = bias_job(butler, "old", [0, 1]), bias_job(butler, "new", [0, 1])
    await service.certify(certify_request("old", old, "2026-11-01T00:00:00", ""))
    ranges = rows(butler)
    request = dataclasses.replace(certify_request("new", new), on_conflict="fail")
    with pytest.raises(ConflictError) as caught:
        await service.certify(request)
    assert str(caught.value) == (
        f"on_conflict is fail, and {DAILY} already has for a part of this validity: bias of detectors 0, 1 from "
        "u/ocps/old/run, valid from 2026-11-01T00:00:00 without an end (TAI)."
    )
    assert rows(butler) == ranges
    # Its own datasets are in nobody's way.
    other = dataclasses.replace(certify_request("old", old), on_conflict="fail")
    await service.certify(other)


async def test_nothing_is_certified_if_what_would_be_replaced_is_not_what_was_remembered(
    service: ButlerService, butler: Butler
) -> None:
    old, new = bias_job(butler, "old", [0]), bias_job(butler, "new", [0])
    request = certify_request("new", new)
    remembered: tuple[ReplacedDataset, ...] = tuple(await service.certified_before(request))
    await service.certify(certify_request("old", old))
    with pytest.raises(ChangedError, match="has changed since it was looked up: now it has bias of detector 0 from"):
        await service.certify(dataclasses.replace(request, expects=remembered))
    butler.registry.refresh()
    assert found_bias(butler, 0, "22T13:00:00") == old[0]
