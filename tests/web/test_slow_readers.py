# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Readers that are slow or dead cost a run nothing: neither the event loop's time nor memory."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.web import app as app_module
from lsst.ts.comcamcalib.web import data
from lsst.ts.comcamcalib.web import guard as guard_module
from lsst.ts.comcamcalib.web.guard import MAX_CLIENTS
from support.cameras import LSSTCAM
from support.web import ADDRESS, Site

HEARTBEAT_S = 1.0
"""Time between two heartbeats of the CSC."""

RUNS = 90
QUANTITIES = 25
BUFFERS_BYTES = 3 * 2**20
"""What may be on its way to a reader: the connection's own buffer, and what is handed to it at a time."""


def memory_bytes() -> int:
    """Return the memory of this process that is in use."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmRSS:")))


class Loop:
    """How long the event loop was kept from its work: by its own callbacks, or by threads that do not give way."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self.turns = 0

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Watch it for a while."""
        watching = asyncio.create_task(self._watch(), name="watch the loop")
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            # Time of the processor, of all threads of this process: others that are busy on this machine do not count.
            began = time.process_time()
            await asyncio.sleep(0.01)
            self.worst_s = max(self.worst_s, time.process_time() - began)
            self.turns += 1


async def dead_reader(site: Site, path: str) -> socket.socket:
    """Ask for something, and read nothing of it."""
    _, port = site.page.address or ("", 0)
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(reader, (ADDRESS, port))
    await loop.sock_sendall(reader, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return reader


def whole_camera() -> data.TrendTable:
    """Return trends that are larger than those of a whole LSSTCam: 25 MB of JSON."""
    run_ids = [f"{20260801 + number}-001" for number in range(RUNS)]
    rows = tuple(
        data.TrendRow(
            quantity=f"quantity {number}",
            of=detector,
            unit="electron",
            median=1.0,
            spread=0.1,
            latest=1.1,
            points=tuple(data.TrendPoint(run_id, 1 / (1 + place + number)) for place, run_id in enumerate(run_ids)),
        )
        for number in range(QUANTITIES)
        for detector in LSSTCAM
    )
    return data.TrendTable(written="", calib_type="PTC", physical_filter="", detector="", rows=rows, not_counting={})


async def test_fifty_streams_of_which_half_are_dead_cost_a_run_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "WRITE_LIMIT_S", 600.0)  # none is dropped, which would be a help
    live, jobs, loop = site.page.parts.live, site.house.observatory.jobs, Loop()
    gate = jobs.hold("cpBias")
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(MAX_CLIENTS // 2):
            stack.enter_context(await dead_reader(site, "/events"))
        watching = [await stack.enter_async_context(site.events()) for _ in range(MAX_CLIENTS // 2)]
        async with asyncio.timeout(30):
            while live.readers < MAX_CLIENTS:  # noqa: ASYNC110  the server has to notice them
                await asyncio.sleep(0.01)
        before = memory_bytes()
        async with loop.watched():
            run_id = await site.house.start(script_mode="BIAS")
            await jobs.until_executing("cpBias")
            # More happens than the dead could ever take: each time all readers are sent a large part.
            for number in range(200):
                part = b'"%d %s"' % (number, b"x" * 1_000_000)
                for reader in list(live._readers)[: MAX_CLIENTS // 2]:
                    reader.send({"jobs": part})
                await asyncio.sleep(0.01)
            gate.set()
            assert (await site.house.ended()).state is RunState.COMPLETED
            await asyncio.gather(*(one.until("headline", f"{run_id} ") for one in watching[:3]))
        assert live.readers == MAX_CLIENTS, "the dead are still there"
        assert memory_bytes() - before < MAX_CLIENTS * BUFFERS_BYTES
    assert loop.turns > 3 and loop.worst_s < HEARTBEAT_S


async def test_fifty_dead_readers_of_large_trends_cost_a_run_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = whole_camera()
    read = 0

    def whole(*_arguments: object) -> data.TrendTable:
        nonlocal read
        read += 1
        return table

    monkeypatch.setattr(site.page.parts.past, "_read", whole)
    monkeypatch.setattr(guard_module, "SEND_LIMIT_S", 600.0)
    jobs, loop = site.house.observatory.jobs, Loop()
    gate = jobs.hold("cpBias")
    size = len((await site.ask("/api/trends/PTC/-")).text)
    assert size > 25e6
    before = memory_bytes()
    with contextlib.ExitStack() as stack:
        async with loop.watched():
            await site.house.start(script_mode="BIAS")
            await jobs.until_executing("cpBias")
            site.page.parts.tables.forget()
            for _ in range(MAX_CLIENTS):
                stack.enter_context(await dead_reader(site, "/api/trends/PTC/-"))
            async with asyncio.timeout(60):
                while site.page.parts.guard._clients < MAX_CLIENTS:  # noqa: ASYNC110  the server has to notice them
                    await asyncio.sleep(0.01)
                while not site.page.parts.tables.total:  # noqa: ASYNC110  it is made in a thread
                    await asyncio.sleep(0.01)
            assert (await site.ask("/api/now")).status == 503
            gate.set()
            assert (await site.house.ended()).state is RunState.COMPLETED
        assert site.page.parts.tables.total < 2 * size and read == 2
        assert memory_bytes() - before < 3 * size + MAX_CLIENTS * BUFFERS_BYTES
        assert (await site.ask("/readyz")).status == 200
    assert loop.turns > 3 and loop.worst_s < HEARTBEAT_S
