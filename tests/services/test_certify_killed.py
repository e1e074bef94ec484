# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Killed before, while and after a real Butler certifies: a resumed run finds it, or does it, once."""

from __future__ import annotations

import asyncio
import datetime
import json
import subprocess
import sys
from pathlib import Path

import pytest
from lsst.daf.butler import Butler
from lsst.ts.comcamcalib.butler_data import CertifiedRange, CertifyRequest
from lsst.ts.comcamcalib.enums import CalibType, StageKind
from lsst.ts.comcamcalib.record.facts import Certified, CertifiedBefore, CertifyAbsent, CertifyIntended
from lsst.ts.comcamcalib.services.butler import ButlerService
from lsst.ts.comcamcalib.stages.certify import certify
from support.certifying import ShownTime, in_repository, put_frame, put_product
from support.plans import make_plan
from support.records import MemoryRecord
from support.small_repository import (
    BIASES,
    DAILY,
    INSTRUMENT,
    NEXT_NOON,
    NOON,
    bias_job,
    certify_request,
    found_bias,
)

BIAS = CalibType.BIAS
DETECTORS = [0, 1]


class Killed(BaseException):
    """The process has ended."""


KILLED_IN_THE_TRANSACTION = """
import json, os, sys
from lsst.daf.butler import Butler
from lsst.ts.comcamcalib.services import butler_certify
from lsst.ts.comcamcalib.butler_data import CertifyRequest

butler = Butler.from_config(sys.argv[1], writeable=True)
really = type(butler.registry).certify

def certify_and_die(*args, **kwargs):
    really(*args, **kwargs)
    os._exit(9)

type(butler.registry).certify = certify_and_die
values = json.loads(sys.argv[3])
butler_certify.certify(butler, sys.argv[2], CertifyRequest(**{**values, "dataset_ids": tuple(values["dataset_ids"])}))
"""


@pytest.fixture
async def record(service: ButlerService, butler: Butler) -> MemoryRecord:
    """The record of a run that has a good bias of two detectors, with an older one in its place."""
    old = bias_job(butler, "old")
    await service.certify(certify_request("old", old, "2026-11-20T12:00:00", ""))
    plan = make_plan(script_mode="BIAS", n_bias=2, detectors=DETECTORS)
    record = MemoryRecord(plan, ShownTime(datetime.datetime(2026, 11, 22, 22)))
    for index, exposure in enumerate(BIASES, start=1):
        put_frame(record, BIAS, index, exposure)
    bias_job(butler, "new", DETECTORS)
    await put_product(record, service, BIAS, "new")
    return record


async def certify_bias(service: ButlerService, record: MemoryRecord) -> str:
    stage = record.history.plan.stage(BIAS, StageKind.CERTIFY)
    assert stage is not None
    return await certify(stage, in_repository(service, record))


def resumed(record: MemoryRecord) -> MemoryRecord:
    """Return the record of a new process; the journal ends with the intent to certify."""
    entries = record.entries
    last = next(number for number, entry in enumerate(entries, 1) if isinstance(entry.fact, CertifyIntended))
    return MemoryRecord(record.history.plan, record.clock, entries[:last])


def own(record: MemoryRecord) -> list[str]:
    product = record.history.product(BIAS)
    assert product is not None
    by_detector = {one.detector: one.dataset_id for one in product.datasets}
    return [by_detector[detector] for detector in DETECTORS]


def the_old(butler: Butler) -> list[str]:
    """Return the UUIDs of the older biases of the run's detectors, in order."""
    by_detector = {one.dataId["detector"]: str(one.id) for one in butler.query_datasets("bias", "u/ocps/old/run")}
    return [by_detector[detector] for detector in DETECTORS]


async def intend(service: ButlerService, record: MemoryRecord, monkeypatch: pytest.MonkeyPatch) -> CertifyRequest:
    """Go as far as the intent, with a Butler that is killed before it begins; return what it was asked for."""
    asked: list[CertifyRequest] = []

    async def never(request: CertifyRequest) -> object:
        asked.append(request)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(service, "certify", never)
        with pytest.raises(Killed):
            await certify_bias(service, record)
    return asked[0]


async def check_outcome(service: ButlerService, butler: Butler, record: MemoryRecord) -> None:
    butler.registry.refresh()
    old, new = the_old(butler), own(record)
    for detector in DETECTORS:
        assert found_bias(butler, detector, "22T12:00:00") == found_bias(butler, detector, "23T11:59:59")
        assert found_bias(butler, detector, "22T13:00:00") == new[detector]
        assert found_bias(butler, detector, "22T11:59:59") == found_bias(butler, detector, "23T12:00:00")
        assert found_bias(butler, detector, "23T12:00:00") == old[detector]
    ranges = await service.certified_ranges("bias", DAILY, new)
    assert sorted(ranges, key=str) == sorted((CertifiedRange(one, NOON, NEXT_NOON) for one in new), key=str)


def words_of_what_it_replaced(butler: Butler) -> str:
    return f"replaces 2 datasets that were certified before: {', '.join(sorted(the_old(butler)))}"


async def test_what_is_replaced_is_in_the_intent_with_its_ranges(
    service: ButlerService, butler: Butler, record: MemoryRecord
) -> None:
    await certify_bias(service, record)
    (intent,) = record.of(CertifyIntended)
    assert sorted(intent.dataset_ids) == sorted(own(record))
    assert sorted(intent.replaces, key=str) == sorted(
        (
            CertifiedBefore(
                dataset_id=one,
                detector=detector,
                physical_filter=None,
                validity_begin="2026-11-20T12:00:00",
                validity_end="",
                run_collection="u/ocps/old/run",
            )
            for detector, one in enumerate(the_old(butler))
        ),
        key=str,
    )
    (certified,) = record.of(Certified)
    assert (certified.reason, certified.found, certified.lost) == (words_of_what_it_replaced(butler), False, ())
    await check_outcome(service, butler, record)


async def test_killed_before_butler_has_begun(
    service: ButlerService, butler: Butler, record: MemoryRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    await intend(service, record, monkeypatch)
    again = resumed(record)
    await certify_bias(service, again)
    assert [one.number for one in again.of(CertifyAbsent)] == [1]
    assert [(one.number, one.found) for one in again.of(Certified)] == [(2, False)]
    await check_outcome(service, butler, again)


async def test_killed_in_the_middle_of_the_transaction(
    service: ButlerService, butler: Butler, record: MemoryRecord, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies when the old ones are withdrawn and the new ones are written, but nothing is committed."""
    request = await intend(service, record, monkeypatch)
    values = json.dumps({**request.__dict__, "verdict": None, "expects": None})
    arguments = [sys.executable, "-c", KILLED_IN_THE_TRANSACTION, str(repo), INSTRUMENT, values]
    ended = await asyncio.to_thread(subprocess.run, arguments, check=False, timeout=60)
    assert ended.returncode == 9
    assert await service.certified_ranges("bias", DAILY, own(record)) == []
    again = resumed(record)
    await certify_bias(service, again)
    assert [one.number for one in again.of(CertifyAbsent)] == [1]
    (certified,) = again.of(Certified)
    assert (certified.number, certified.reason) == (2, words_of_what_it_replaced(butler))
    await check_outcome(service, butler, again)


async def test_killed_after_butler_has_done_it(
    service: ButlerService, butler: Butler, record: MemoryRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.certify(await intend(service, record, monkeypatch))
    again = resumed(record)

    async def never(_request: CertifyRequest) -> object:
        raise AssertionError("Butler has done it")

    with monkeypatch.context() as patch:
        patch.setattr(service, "certify", never)
        await certify_bias(service, again)
    (certified,) = again.of(Certified)
    assert (certified.number, certified.dataset_count, certified.found, certified.lost) == (1, 2, True, ())
    assert certified.reason == f"found in the collection afterwards; {words_of_what_it_replaced(butler)}"
    await check_outcome(service, butler, again)


async def test_found_after_a_kill_but_replaced_by_somebody_meanwhile_for_some_detector(
    service: ButlerService, butler: Butler, record: MemoryRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not all of it is in the collection: that is said, it is done again, and what somebody certified makes room."""
    await service.certify(await intend(service, record, monkeypatch))
    theirs = bias_job(butler, "theirs", [1])
    await service.certify(certify_request("theirs", theirs, "2026-11-22T20:00:00", NEXT_NOON))
    again = resumed(record)
    await certify_bias(service, again)
    first, second = again.of(CertifyIntended)
    found = again.history.certifications[1]
    assert found.done and not found.sound, "a part of it is there"
    assert first.number == 1 and [(one.dataset_id, one.detector) for one in second.replaces] == [(theirs[0], 1)]
    await check_outcome(service, butler, again)
