# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every request to the status page."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.web import app as app_module
from lsst.ts.comcamcalib.web import connections as connections_module
from lsst.ts.comcamcalib.web import server as server_module
from lsst.ts.comcamcalib.web.guard import MAX_CLIENTS
from support.plans import make_config
from support.web import ADDRESS, Site, opened

PATHS = ("/", "/runs", "/board", "/trends", "/api/now", "/metrics", "/healthz", "/style.css", "/page.js")


# Read only


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
async def test_nothing_but_reading_is_possible(site: Site, method: str) -> None:
    for path in ("/", "/api/now", "/api/runs/20261126-001", "/nowhere", "/events"):
        answer = await site.ask(path, method, data=b"x" * 10)
        assert answer.status == 405, path
        assert answer.headers["Allow"] == "GET, HEAD"
        assert "can only be read" in answer.json["error"]


async def test_head_has_the_headers_and_no_body(site: Site) -> None:
    for path in (*PATHS, "/events"):
        answer = await site.ask(path, "HEAD")
        assert (answer.status, answer.text) == (200, ""), path


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/runs/20261126-001/../../etc/passwd",
        "/runs/%2e%2e%2fjournal.sqlite",
        "/reports/..%2f..%2fetc%2fpasswd.html",
        "/reports/../journal.sqlite",
        "/reports/20261126-001.sqlite",
        "/static/openapi.json",
        "/page.html",
        "/runs/20261126-001%00.html",
        "/trends/BIAS/%2e%2e/R22_S00",
        "/trends/PLAN/-",
        "/trends/BIAS/-/R99_S99",
        "/trends/BIAS/r'; DROP TABLE facts;--",
        "/api/runs/' OR 1=1",
        "//etc/passwd",
    ],
)
async def test_an_address_that_is_none_gets_a_sentence(site: Site, path: str) -> None:
    answer = await site.ask(path)
    assert answer.status == 404
    assert answer.json["error"].endswith(".")
    page = await site.see(path)
    assert page.status == 404
    assert "<h1>404</h1>" in page.text or path.startswith("/api/")


async def test_a_query_changes_nothing(site: Site) -> None:
    plain, asked = await site.ask("/api/runs"), await site.ask("/api/runs?count=1000000&run_id=x")
    assert plain.json["runs"] == asked.json["runs"]


# Headers


async def test_every_answer_forbids_what_is_foreign(site: Site) -> None:
    for path in (*PATHS, "/nowhere"):
        policy = (await site.ask(path)).headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "http:" not in policy
    page = (await site.see("/")).text
    assert "http://" not in page and "https://" not in page.replace("http://www.w3.org", "")
    assert " style=" not in page and "<script>" not in page and "onclick" not in page


async def test_only_configured_sites_may_show_it_in_a_frame(tmp_path: Path) -> None:
    async with opened(tmp_path, frame_ancestors=["self", "https://love.example.org"]) as site:
        answer = await site.ask("/")
        policy = answer.headers["Content-Security-Policy"]
        assert policy.endswith("frame-ancestors 'self' https://love.example.org")
        assert "X-Frame-Options" not in answer.headers


async def test_nothing_of_the_environment_is_shown(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMCAMCALIB_UWS_SECRET", "hunter2:swordfish")
    monkeypatch.setenv("LSST_KAFKA_SECURITY_PASSWORD", "swordfish")
    await site.house.start(script_mode="BIAS")
    await site.house.ended()
    for path in (*PATHS, "/api/runs", f"/api/runs/{site.house.status.run_id}", f"/runs/{site.house.status.run_id}"):
        answer = await site.ask(path)
        assert "swordfish" not in answer.text and "COMCAMCALIB_UWS_SECRET" not in answer.text
        assert "swordfish" not in str(answer.headers)


async def test_what_people_write_stays_text(site: Site) -> None:
    await site.house.start(script_mode="BIAS", note="<script>alert(1)</script>", reason="a & b 'c'")
    await site.house.ended()
    async with site.events() as events:
        part = await events.until("graph", "alert(1)")
    page = (await site.see("/")).text
    for text in (page, part):
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


# Few readers, and none that disturbs


async def test_one_reader_too_many_gets_a_sentence_and_monitoring_is_answered(site: Site) -> None:
    async with contextlib.AsyncExitStack() as stack:
        watching = [await stack.enter_async_context(site.events()) for _ in range(MAX_CLIENTS)]
        refused = await site.ask("/api/now")
        assert refused.status == 503
        assert f"There are {MAX_CLIENTS} readers already" in refused.json["error"]
        assert refused.headers["Retry-After"] == "60"
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await site.ask(path)).status == 200
        assert f"comcamcalib_page_readers {MAX_CLIENTS}.0" in (await site.ask("/metrics")).text
        assert "comcamcalib_page_refused_total 1.0" in (await site.ask("/metrics")).text
        watching[0].response.close()
        async with asyncio.timeout(30):
            while (await site.ask("/api/now")).status == 503:  # noqa: ASYNC110  the server has to notice that one left
                await asyncio.sleep(0.05)


async def test_one_connection_too_many_is_refused_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections_module, "MAX_CONNECTIONS", 2)
    _, port = site.page.address or ("", 0)
    idle = [await asyncio.open_connection(ADDRESS, port) for _ in range(2)]
    for _, writer in idle:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    for reader, _ in idle:
        await reader.readline()
    reader, writer = await asyncio.open_connection(ADDRESS, port)
    text = await asyncio.wait_for(reader.read(), 30)
    assert text.startswith(b"HTTP/1.1 503") and b"too many connections" in text
    for one in (*(writer for _, writer in idle), writer):
        one.close()


async def test_a_connection_that_asks_nothing_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections_module, "FIRST_REQUEST_S", 0.2)
    monkeypatch.setattr(connections_module, "SWEEP_S", 0.1)
    async with opened(tmp_path) as site:
        _, port = site.page.address or ("", 0)
        for words in (b"", b"GET / HTTP/1.1\r\nHost: "):
            reader, writer = await asyncio.open_connection(ADDRESS, port)
            writer.write(words)
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 30) == b""
            writer.close()
        assert (await site.ask("/healthz")).status == 200


async def test_a_reader_that_does_not_read_is_dropped_and_others_are_served(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "WRITE_LIMIT_S", 0.3)
    live = site.page.parts.live
    _, port = site.page.address or ("", 0)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(slow, (ADDRESS, port))
    await loop.sock_sendall(slow, b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    async with site.events() as events, asyncio.timeout(60):
        await events.next()
        while live.readers < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        while live.readers > 1:
            for reader in list(live._readers):
                reader.send({"jobs": b'"%s"' % (b"x" * 300_000)})
            await events.next()
    assert "comcamcalib_page_dropped_total 1.0" in (await site.ask("/metrics")).text
    slow.close()


async def test_what_waits_for_a_slow_reader_does_not_grow(site: Site) -> None:
    await site.ask("/api/now")
    with site.page.parts.live.reading() as reader:
        for number in range(1000):
            reader.send({"progress": f'"{number} {"x" * 1000}"'.encode()})
        chunk = b"".join(await reader.next())
    assert b"999 x" in chunk and len(chunk) < 100_000


async def test_a_page_that_fails_gets_a_sentence_and_its_cause_only_the_log(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> None:
        raise RuntimeError("the secret is swordfish")

    monkeypatch.setattr(site.page.parts.past, "runs", broken)
    answer = await site.ask("/api/runs")
    assert answer.status == 500
    assert "The CSC's log says why; runs are not affected." in answer.json["error"]
    assert "swordfish" not in answer.text and "swordfish" in caplog.text


async def test_making_pages_leaves_the_loop_alone(old_site: Site) -> None:
    """While forty readers ask for everything, the loop never works long on one thing.

    Its own processor time is measured, because on a busy machine it waits for others, too.
    """
    worst_s, done = 0.0, asyncio.Event()

    async def measure() -> None:
        nonlocal worst_s
        while not done.is_set():
            begin_s = time.thread_time()
            await asyncio.sleep(0.005)
            worst_s = max(worst_s, time.thread_time() - begin_s)

    measuring = asyncio.create_task(measure())
    paths = ["/", "/runs", "/api/now", "/api/runs", "/board", "/trends", "/runs/" + old_site.house.status.run_id] * 6
    answers = await asyncio.gather(*(old_site.ask(path) for path in paths))
    done.set()
    await measuring
    assert {answer.status for answer in answers} == {200}
    assert worst_s < 0.25  # the heartbeat has a second


# Opening and closing


async def test_without_an_address_there_is_no_page(tmp_path: Path) -> None:
    async with opened(tmp_path, address="") as site:
        assert site.page.address is None


async def test_a_port_that_is_taken_is_a_sentence_in_the_log_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server_module, "RETRY_S", 0.05)
    with socket.socket() as taken:
        taken.bind((ADDRESS, 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with opened(tmp_path, port=port) as site:
            assert site.page.address is None
            assert f"The status page can't be served on {ADDRESS} port {port}" in caplog.text
            assert "Runs are not affected" in caplog.text
            await site.house.start(script_mode="BIAS")
            assert (await site.house.ended()).state.name == "COMPLETED"
            taken.close()
            async with asyncio.timeout(30):
                while site.page.address is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert (await site.ask("/healthz")).status == 200


async def test_a_page_can_be_closed_and_opened_again_and_twice_is_once(site: Site) -> None:
    async with site.events() as events:
        await events.next()
        begin = time.monotonic()
        await site.page.close()
        assert time.monotonic() - begin < 6
        with contextlib.suppress(OSError):
            await asyncio.wait_for(events.response.content.read(), 30)
        assert events.response.content.at_eof()
    await site.page.close()
    assert site.page.address is None
    await site.page.open(site.house.config)
    first = site.page.address
    await site.page.open(make_config())
    assert site.page.address == first
    assert (await site.ask("/healthz")).status == 200


async def test_a_page_whose_look_fails_says_so_in_the_log_and_recovers(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with site.events() as events:
        await events.next()
        runner, site.house.runner = site.house.runner, None  # type: ignore[assignment]
        await events.until("headline", "journal of runs is not open")
        site.house.runner = object()  # type: ignore[assignment]
        async with asyncio.timeout(30):
            while "could not be brought up to date" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        site.house.runner = runner
        await events.until("headline", "There has been no run yet")
