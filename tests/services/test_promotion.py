# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Promotion: an attributed copy of what a run certified, with a real, small repository and a journal."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import json
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy
from lsst.daf.butler import Butler, CollectionType
from lsst.ts.comcamcalib.cli import app
from lsst.ts.comcamcalib.client import CalibrationClient, RefusedError
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.enums import CalibType, RunState, StageKind
from lsst.ts.comcamcalib.errors import BadInputError, ServiceError
from lsst.ts.comcamcalib.promotion import Planned, Promotion, plan_promotion, promote_planned
from lsst.ts.comcamcalib.record.facts import Decertified, DecertifyIntended, RunMoved
from lsst.ts.comcamcalib.run.journal import Journal
from lsst.ts.comcamcalib.run.promotions import promotions_file, read_promotions
from lsst.ts.comcamcalib.services.butler import ButlerService
from lsst.ts.comcamcalib.stages.certify import certify
from support.certifying import ShownTime, in_repository, put_frame, put_product
from support.plans import DAY_OBS, RUN_ID, make_plan
from support.records import MemoryRecord
from support.small_repository import BIASES, CHAIN, DAILY, NEXT_NOON, bias_job, certify_request, found_bias
from typer.testing import CliRunner

TARGET = "LSSTComCam/calib/DM-12345"
WANTED = Promotion(RUN_ID, (), TARGET, "for the campaign of November")


@pytest.fixture
async def record(service: ButlerService, butler: Butler) -> MemoryRecord:
    """A run that has certified the biases of two detectors."""
    record = MemoryRecord(
        make_plan(script_mode="BIAS", n_bias=2, detectors=[0, 1]), ShownTime(datetime.datetime(2026, 11, 22, 22))
    )
    for index, exposure in enumerate(BIASES, start=1):
        put_frame(record, CalibType.BIAS, index, exposure)
    bias_job(butler, "new", [0, 1])
    await put_product(record, service, CalibType.BIAS, "new")
    stage = record.history.plan.stage(CalibType.BIAS, StageKind.CERTIFY)
    assert stage is not None
    await certify(stage, in_repository(service, record))
    record.put(RunMoved(state=RunState.COMPLETED, reason="All stages succeeded"))
    return record


@pytest.fixture
async def journal(record: MemoryRecord, tmp_path: Path) -> Path:
    """The journal of that run, which no process owns any more."""
    await write(record, tmp_path / "journal.sqlite3")
    return tmp_path / "journal.sqlite3"


async def write(record: MemoryRecord, path: Path) -> None:
    journal = Journal(path, Clock(), lambda _: None)
    await journal.open()
    first, *rest = record.entries
    await journal.begin(DAY_OBS, first.at, lambda _run_id: first.fact)  # type: ignore[arg-type,return-value]
    await journal.append(RUN_ID, rest, record.history.state)
    await journal.close()


async def plan(repo: Path, journal: Path, **changes: object) -> Planned:
    wanted = dataclasses.replace(WANTED, **changes)  # type: ignore[arg-type]
    return await asyncio.to_thread(plan_promotion, wanted, journal, str(repo))


async def refusal(repo: Path, journal: Path, **changes: object) -> str:
    with pytest.raises(BadInputError) as caught:
        await plan(repo, journal, **changes)
    return str(caught.value)


def ids(record: MemoryRecord) -> list[str]:
    product = record.history.product(CalibType.BIAS)
    assert product is not None
    return [one.dataset_id for one in sorted(product.datasets, key=lambda one: one.detector or 0)]


async def test_a_dry_run_says_what_would_be_done_and_changes_nothing(
    repo: Path, journal: Path, record: MemoryRecord, service: ButlerService
) -> None:
    planned = await plan(repo, journal)
    assert planned.lines == (
        f"From {DAILY} to {TARGET} (new): for the campaign of November",
        "  2 bias of u/ocps/new/run (PASSED), from 2026-11-22T12:00:00 to 2026-11-23T12:00:00 (TAI)",
    )
    assert await service.missing_collections([TARGET]) == [TARGET]
    assert not planned.log.exists()


async def test_it_is_copied_with_who_and_why_and_the_original_stays(
    repo: Path, journal: Path, record: MemoryRecord, butler: Butler
) -> None:
    planned = await plan(repo, journal)
    said = await asyncio.to_thread(promote_planned, planned)
    assert said[0].startswith(f"2 datasets of run {RUN_ID} are certified in {TARGET}, by ")
    butler.registry.refresh()
    for detector, name in enumerate(ids(record)):
        assert found_bias(butler, detector, "22T13:00:00", TARGET) == name
        assert found_bias(butler, detector, "22T13:00:00") == name
        assert found_bias(butler, detector, "23T12:00:00", TARGET) is None
    doc = butler.registry.getCollectionDocumentation(TARGET) or ""
    assert f"bias of run {RUN_ID} from {DAILY}, by " in doc and doc.endswith("for the campaign of November")
    (line,) = map(json.loads, planned.log.read_text().splitlines())
    assert (line["runId"], line["to"], line["reason"]) == (RUN_ID, TARGET, "for the campaign of November")
    assert sorted(line["certified"][0]["datasetIds"]) == sorted(ids(record))
    ((promoted,), strange) = read_promotions(promotions_file(journal))
    assert (promoted.run_id, promoted.source, promoted.collection, strange) == (RUN_ID, DAILY, TARGET, 0)
    assert [(one.dataset_type, len(one.dataset_ids)) for one in promoted.ranges] == [("bias", 2)]


async def test_from_a_notebook_it_is_shown_first_and_done_then(
    repo: Path, journal: Path, record: MemoryRecord, butler: Butler
) -> None:
    async def promote(calib_type: str, **more: bool) -> list[str]:
        return await CalibrationClient.promote(
            RUN_ID, TARGET, "for the campaign", journal=journal, calib_types=[calib_type], repo=str(repo), **more
        )

    shown = await promote("bias")
    assert shown[0] == f"From {DAILY} to {TARGET} (new): for the campaign"
    assert TARGET not in butler.registry.queryCollections()
    done = await promote("bias", yes=True)
    assert done[0].startswith(f"2 datasets of run {RUN_ID} are certified in {TARGET}, by ")
    butler.registry.refresh()
    assert found_bias(butler, 0, "22T13:00:00", TARGET) == ids(record)[0]
    with pytest.raises(RefusedError, match=f"Run {RUN_ID} has not certified DARK"):
        await promote("DARK")
    with pytest.raises(RefusedError, match="BIAX"):
        await promote("BIAX")


async def test_a_notebook_lists_the_runs_of_the_journal(journal: Path) -> None:
    (run,) = await CalibrationClient.runs(journal)
    assert (run.run_id, run.state, run.reason) == (RUN_ID, RunState.COMPLETED, "All stages succeeded")
    with pytest.raises(RefusedError, match=r"There is no journal .*nowhere"):
        await CalibrationClient.runs(journal.with_name("nowhere"))


async def test_what_is_there_already_is_said_and_nothing_is_done(
    repo: Path, journal: Path, record: MemoryRecord, butler: Butler
) -> None:
    await asyncio.to_thread(promote_planned, await plan(repo, journal))
    butler.registry.refresh()
    doc = butler.registry.getCollectionDocumentation(TARGET)
    planned = await plan(repo, journal, calib_types=("bias",), reason="once more")
    assert planned.lines[-1] == "    there already: all of them, with the same dataset UUIDs, for this validity"
    assert not planned.requests
    said = await asyncio.to_thread(promote_planned, planned)
    assert said == [f"Nothing was done: {TARGET} has all of it already."]
    assert len(planned.log.read_text().splitlines()) == 1
    butler.registry.refresh()
    assert butler.registry.getCollectionDocumentation(TARGET) == doc


async def test_an_operator_who_promotes_once_more_is_told_that_nothing_was_done(
    repo: Path, journal: Path, record: MemoryRecord
) -> None:
    config = Path(__file__).parents[2] / "config" / "ComCamCalib" / "v1"
    command = ["promote", RUN_ID, "--to", TARGET, "--reason", "for the campaign", "--repo", str(repo)]
    command += ["--journal", str(journal), "--config-dir", str(config), "--site", "test"]

    async def promote(*more: str) -> list[str]:
        done = await asyncio.to_thread(CliRunner().invoke, app, [*command, *more])
        assert done.exit_code == 0, done.output
        return done.output.splitlines()

    assert (await promote())[-1] == "Nothing was changed. Say --yes to do this."
    assert "2 datasets of run" in "".join(await promote("--yes"))
    for more in ((), ("--yes",)):
        assert (await promote(*more))[-2:] == [
            "    there already: all of them, with the same dataset UUIDs, for this validity",
            f"Nothing was done: {TARGET} has all of it already.",
        ]


async def test_what_is_there_for_longer_needs_no_copy(
    repo: Path, journal: Path, record: MemoryRecord, service: ButlerService
) -> None:
    longer = certify_request("new", ids(record), "2026-11-20T00:00:00", "", collection=TARGET)
    await service.certify(longer)
    planned = await plan(repo, journal)
    assert planned.lines[-1] == "    there already: all of them, with the same dataset UUIDs, for this validity"
    assert not planned.requests


async def test_what_is_there_in_part_is_completed(
    repo: Path, journal: Path, record: MemoryRecord, service: ButlerService, butler: Butler
) -> None:
    first, second = ids(record)
    await service.certify(certify_request("new", [first], "2026-11-22T12:00:00", NEXT_NOON, collection=TARGET))
    planned = await plan(repo, journal)
    assert planned.lines[-1] == "    there already: 1 of them, with the same dataset UUIDs, for this validity"
    await asyncio.to_thread(promote_planned, planned)
    butler.registry.refresh()
    assert [found_bias(butler, detector, "22T13:00:00", TARGET) for detector in (0, 1)] == [first, second]


async def test_what_is_there_is_not_replaced_but_may_end(
    repo: Path, journal: Path, record: MemoryRecord, service: ButlerService, butler: Butler
) -> None:
    old = bias_job(butler, "old", [0, 1])
    await service.certify(certify_request("old", old, "2026-11-01T00:00:00", "", collection=TARGET))
    assert await refusal(repo, journal) == (
        f"{TARGET} already has for a part of this validity: bias of detectors 0, 1 from u/ocps/old/run, valid from "
        "2026-11-01T00:00:00 without an end (TAI). Name another collection, or give --on-conflict truncate: that then "
        "ends where this begins."
    )
    planned = await plan(repo, journal, on_conflict="truncate")
    assert "ends then: bias of detectors 0, 1" in planned.lines[-1]
    await asyncio.to_thread(promote_planned, planned)
    butler.registry.refresh()
    assert found_bias(butler, 0, "22T11:59:59", TARGET) == old[0]
    assert found_bias(butler, 0, "22T12:00:00", TARGET) == ids(record)[0]
    assert found_bias(butler, 0, "23T12:00:00", TARGET) is None


async def test_never_into_a_chain_and_a_member_of_one_is_named(
    repo: Path, journal: Path, service: ButlerService, butler: Butler
) -> None:
    assert await refusal(repo, journal, collection=CHAIN) == (
        f"--to: {CHAIN} is a CHAINED collection, through which people find calibrations; nothing is promoted into one. "
        "Name a CALIBRATION collection; whoever looks after the chain can put that into it."
    )
    butler.collections.register(TARGET, CollectionType.CALIBRATION)
    butler.collections.extend_chain(CHAIN, TARGET)
    for job in ("one", "two"):
        butler.collections.register(f"u/ocps/{job}", CollectionType.CHAINED)
        butler.collections.extend_chain(f"u/ocps/{job}", TARGET)
    assert (await plan(repo, journal)).lines[1:3] == (
        f"{TARGET} is in the chain {CHAIN}: whoever uses that sees it at once.",
        "It is also in the chains of 2 jobs (u/ocps/…).",
    )


async def test_what_can_not_be_promoted_is_refused(
    repo: Path, journal: Path, record: MemoryRecord, service: ButlerService, butler: Butler, tmp_path: Path
) -> None:
    unknown = await refusal(repo, journal, run_id="20200101-001")
    assert unknown.startswith(f"There is no run 20200101-001 in the journal {journal}; the latest is 20")
    assert "There is no journal" in await refusal(repo, tmp_path / "none.sqlite3")
    text = await refusal(repo, journal, reason=" ", on_conflict="replace", calib_types=("SKY",))
    assert text.splitlines() == [
        "--reason: say why; it is recorded with your name.",
        "--on-conflict: 'replace' is none of fail and truncate.",
        "SKY: no such product; there are BIAS, DARK, FLAT, DEFECTS, PTC, GAIN.",
    ]
    assert await refusal(repo, journal, calib_types=("BIAS", "DARK")) == f"Run {RUN_ID} has not certified DARK."
    assert "name another collection" in await refusal(repo, journal, collection=DAILY)
    assert "is a RUN collection" in await refusal(repo, journal, collection="u/ocps/new/run")
    assert "is no name of a collection" in await refusal(repo, journal, collection="two words")
    later = bias_job(butler, "later", [0, 1])
    await service.certify(certify_request("later", later, end=NEXT_NOON))
    assert (
        "2 of the 2 datasets of BIAS of run 20261122-001 are not in LSSTComCam/calib/daily any more"
        in await refusal(repo, journal)
    )


async def test_what_a_later_run_has_replaced_in_part_is_not_promoted(
    repo: Path, journal: Path, record: MemoryRecord, service: ButlerService, butler: Butler
) -> None:
    later = bias_job(butler, "later", [0])
    await service.certify(certify_request("later", later, end=NEXT_NOON))
    assert await refusal(repo, journal) == (
        f"1 of the 2 datasets of BIAS of run {RUN_ID} are not in {DAILY} any more: a later run has replaced them, or "
        "somebody has withdrawn them. Nothing is promoted in part; promote the later run."
    )


async def test_a_user_without_a_name_is_recorded_by_number(
    repo: Path, journal: Path, record: MemoryRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container, where a user need not have a name."""

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 73006")

    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.setattr("os.getuid", lambda: 73006)
    said = await asyncio.to_thread(promote_planned, await plan(repo, journal))
    assert "by uid73006@" in said[0]


async def test_in_a_container_people_say_who_they_are(repo: Path, journal: Path, record: MemoryRecord) -> None:
    planned = await plan(repo, journal, by="jdoe")
    assert (await asyncio.to_thread(promote_planned, planned))[0].endswith(f" are certified in {TARGET}, by jdoe.")
    assert json.loads(planned.log.read_text())["who"] == "jdoe"


async def test_repository_that_can_only_be_read_is_a_sentence(
    repo: Path, journal: Path, record: MemoryRecord, service: ButlerService
) -> None:
    planned = await plan(repo, journal)

    def read_only(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA query_only = ON")  # as on such a disk; a superuser may write to any file

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", read_only)
    try:
        with pytest.raises(ServiceError) as caught:
            await asyncio.to_thread(promote_planned, planned)
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "connect", read_only)
    assert str(caught.value) == (
        f"The repository {repo} can't be opened: the registry's database can only be read (attempt to write a readonly "
        "database). Check that the repository's address names the primary server, and that its disk can be written to."
    )
    assert await service.missing_collections([TARGET]) == [TARGET] and not planned.log.exists()


async def test_disk_that_is_full_is_a_sentence(
    repo: Path, journal: Path, record: MemoryRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = await plan(repo, journal)

    def full(*_: object, **__: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorname = "SQLITE_FULL"
        raise error

    monkeypatch.setattr("lsst.ts.comcamcalib.services.butler_certify.certify", full)
    with pytest.raises(ServiceError) as caught:
        await asyncio.to_thread(promote_planned, planned)
    assert str(caught.value) == (
        "Nothing was changed: there is no room for the registry's database (database or disk is full). Make room on "
        "the disk of the database."
    )
    assert not planned.log.exists()


async def test_lost_connection_leaves_it_open_whether_it_was_copied(
    repo: Path, journal: Path, record: MemoryRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = await plan(repo, journal)

    def lost(*_: object, **__: object) -> None:
        raise ConnectionResetError("Connection reset by peer")

    monkeypatch.setattr("lsst.ts.comcamcalib.services.butler_certify.certify", lost)
    with pytest.raises(ServiceError, match=f"^Whether it was copied to {TARGET} is not known: the connection to the"):
        await asyncio.to_thread(promote_planned, planned)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionResetError("Connection reset by peer"), "looked up: Connection reset by peer. "),
        (ServiceError("The repository can't be opened."), "looked up: The repository can't be opened. "),
    ],
)
async def test_what_was_copied_is_written_down_though_it_cannot_be_looked_at_afterwards(
    repo: Path, journal: Path, record: MemoryRecord, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    planned = await plan(repo, journal)

    def lost(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("lsst.ts.comcamcalib.services.butler_read_back.read_back", lost)
    with pytest.raises(ServiceError, match=r"^It was copied, but whether it is found again could not be ") as caught:
        await asyncio.to_thread(promote_planned, planned)
    assert words in str(caught.value) and f"{planned.log} and the documentation" in str(caught.value)
    ((promoted,), _) = read_promotions(planned.log)
    assert promoted.collection == TARGET and not (await plan(repo, journal)).requests


async def test_what_was_withdrawn_is_not_promoted(repo: Path, record: MemoryRecord, tmp_path: Path) -> None:
    intent = DecertifyIntended(
        number=1, certifications=(1,), collection=DAILY, out=(), back=(), who="op@console", why="a crack"
    )
    record.put(intent)
    record.put(Decertified(number=1, reason=""))
    await write(record, tmp_path / "other.sqlite3")
    assert await refusal(repo, tmp_path / "other.sqlite3") == (
        f"Run {RUN_ID} has not certified anything; BIAS was withdrawn by op@console: a crack."
    )
