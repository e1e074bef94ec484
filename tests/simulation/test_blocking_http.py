# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests as a CSC makes them that blocks its event loop: one at a time, everything else waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import requests
from lsst.ts.comcamcalib.simulation.blocking_http import BlockingSession
from support.held_server import HeldServer

LIMIT_S = 10.0


@pytest.fixture
async def server() -> AsyncIterator[HeldServer]:
    async with HeldServer() as server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[BlockingSession]:
    session = BlockingSession()
    yield session
    session.close()


async def test_everything_waits_for_the_request_that_is_on_its_way(
    server: HeldServer, session: BlockingSession
) -> None:
    first = asyncio.create_task(session.request("PUT", f"{server.url}/job", {"run_id": "1"}))
    async with asyncio.timeout(LIMIT_S):
        await server.arrived.wait()
    second = asyncio.create_task(session.request("GET", f"{server.url}/job/2"))
    heartbeat = asyncio.create_task(session.end_of_standstill())
    done, _ = await asyncio.wait([first, second, heartbeat], timeout=0.3)
    assert not done
    assert server.asked == ['PUT /job {"run_id": "1"}']
    server.released.set()
    async with asyncio.timeout(LIMIT_S):
        assert (await first).json() == {"phase": "pending"}
        assert (await second).status_code == 200
        await heartbeat
    assert server.asked[1:] == ["GET /job/2"]


async def test_nothing_waits_without_a_request(session: BlockingSession) -> None:
    async with asyncio.timeout(LIMIT_S):
        await session.end_of_standstill()


@pytest.mark.parametrize(("method", "path", "second"), [("PUT", "found", "GET /job"), ("DELETE", "found", "GET /job")])
async def test_redirected_request_becomes_a_get_without_its_body(
    server: HeldServer, session: BlockingSession, method: str, path: str, second: str
) -> None:
    server.released.set()
    reply = await session.request(method, f"{server.url}/{path}", {"command": "x"})
    assert reply.status_code == 200
    assert server.asked == [f'{method} /{path} {{"command": "x"}}', second]


async def test_temporary_redirection_keeps_method_and_body(server: HeldServer, session: BlockingSession) -> None:
    server.released.set()
    await session.request("PUT", f"{server.url}/moved", {"command": "x"})
    assert server.asked[-1] == 'PUT /job {"command": "x"}'


async def test_server_that_is_away_raises_what_requests_raises(session: BlockingSession) -> None:
    async with HeldServer() as gone:
        url = gone.url
    with pytest.raises(requests.ConnectionError, match="Max retries exceeded with url: /job"):
        await session.request("GET", f"{url}/job")


async def test_cancelled_request_lets_the_next_one_go(server: HeldServer, session: BlockingSession) -> None:
    waiting = asyncio.create_task(session.request("GET", f"{server.url}/job/1"))
    async with asyncio.timeout(LIMIT_S):
        await server.arrived.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    server.released.set()
    assert (await session.request("GET", f"{server.url}/job/2")).status_code == 200
