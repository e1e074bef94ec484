# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The addresses of the page, and what is at each."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from ..config import CscConfig
from ..report.data import Model
from ..services.worker_threads import WorkerThreads
from . import data
from .board import BoardKeeper
from .guard import STREAM, Guard
from .health import LoopWatch
from .live import Live
from .metrics import Metrics
from .pages import STATIC, page, styles
from .past import REPORT_TYPES, NotFoundError, Past

__all__ = ["Parts", "make_app"]

WRITE_LIMIT_S = 10.0
"""Longest time for a reader to take what is sent to it (seconds)."""

NO_FILTER = "-"
"""Stands in addresses for a product without filters."""

MAKE_LIMIT_S = 30.0
"""Longest wait for a thread that makes a page (seconds)."""

RUN = r"{run_id:\d{8}-\d{3,6}}"
TREND = r"{calib_type:[A-Z]{1,20}}/{physical_filter:[A-Za-z0-9_.~-]{1,40}}"


@dataclasses.dataclass(frozen=True)
class Parts:
    """What the pages are made from."""

    config: CscConfig
    live: Live
    past: Past
    board: BoardKeeper
    loop_watch: LoopWatch
    metrics: Metrics
    guard: Guard
    threads: WorkerThreads
    """In which pages are made."""


def make_app(parts: Parts) -> web.Application:
    """Return the application: every address can be read, and none takes anything but its path."""
    app = web.Application(middlewares=[parts.guard.middleware()], client_max_size=1024)
    pages, programs = _Pages(parts), _Programs(parts)
    routes: Mapping[str, Callable[[web.Request], object]] = {
        "/": pages.now,
        "/runs": pages.runs,
        f"/runs/{RUN}": pages.run,
        rf"/reports/{RUN}.{{suffix:html|json}}": pages.report,
        "/board": pages.board,
        "/trends": pages.trends,
        f"/trends/{TREND}": pages.trend,
        f"/trends/{TREND}/{{detector:[A-Za-z0-9_]{{1,20}}}}": pages.trend,
        "/style.css": pages.style,
        "/page.js": pages.script,
        STREAM: pages.events,
        "/api/openapi.json": programs.openapi,
        "/api/now": programs.now,
        "/api/runs": programs.runs,
        f"/api/runs/{RUN}": programs.run,
        "/api/board": programs.board,
        "/api/promotions": programs.promotions,
        "/api/trends": programs.trends,
        f"/api/trends/{TREND}": programs.trend,
        f"/api/trends/{TREND}/{{detector:[A-Za-z0-9_]{{1,20}}}}": programs.trend,
        "/metrics": programs.metrics,
        "/healthz": programs.health,
        "/readyz": programs.readiness,
    }
    for path, handler in routes.items():
        app.router.add_get(path, handler)  # type: ignore[arg-type]
    return app


class _Pages:
    """Pages for people."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def now(self, _request: web.Request) -> web.Response:
        return web.Response(text=await self._parts.live.html(), content_type="text/html")

    async def runs(self, _request: web.Request) -> web.Response:
        return await self._page("runs", runs=await self._parts.past.runs())

    async def run(self, request: web.Request) -> web.Response:
        run, promotions = await _run(request, self._parts), await self._parts.past.promotions()
        mine = [one for one in promotions.promotions if one.run_id == run.run_id]
        promotions = promotions.model_copy(update={"promotions": tuple(mine)})
        return await self._page("run", "../", run=run, promotions=promotions)

    async def report(self, request: web.Request) -> web.StreamResponse:
        run_id, suffix = request.match_info["run_id"], request.match_info["suffix"]
        path = await self._parts.past.report(run_id, suffix)
        headers = {"Content-Security-Policy": self._parts.guard.report_policy, "Content-Type": REPORT_TYPES[suffix]}
        return web.FileResponse(path, headers=headers)

    async def board(self, _request: web.Request) -> web.Response:
        promotions = await self._parts.past.promotions()
        return await self._page("board", board=self._parts.board.board, promotions=promotions)

    async def trends(self, _request: web.Request) -> web.Response:
        return await self._page("trends", trends=await self._parts.past.trend_list())

    async def trend(self, request: web.Request) -> web.Response:
        trend = await _trend(request, self._parts)
        root = "../" * (request.path.count("/") - 1)
        detectors = list(self._parts.config.instrument.detector_names.values())
        return await self._page("trend", root, trend=trend, detectors=detectors)

    async def style(self, _request: web.Request) -> web.Response:
        return web.Response(text=styles(), content_type="text/css")

    async def script(self, _request: web.Request) -> web.Response:
        text = (STATIC / "page.js").read_text(encoding="utf-8")
        return web.Response(text=text, content_type="text/javascript")

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Send what happens until the reader goes, is too slow, or the page ends."""
        headers = {**self._parts.guard.headers, "X-Accel-Buffering": "no", "Content-Type": "text/event-stream"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        with self._parts.live.reading() as reader:
            while chunk := await reader.next():
                try:
                    async with asyncio.timeout(WRITE_LIMIT_S):
                        await response.write(chunk)
                except TimeoutError:
                    self._parts.guard.drop(request)
                    break
                except ConnectionError:
                    break
        return response

    async def _page(self, view: str, root: str = "", **content: object) -> web.Response:
        text = await self._parts.threads.do(
            f"make the page {view}", MAKE_LIMIT_S, lambda: page(view, root, **content), MAKE_LIMIT_S
        )
        return web.Response(text=text, content_type="text/html")


class _Programs:
    """JSON for programs, numbers and health for monitoring."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def openapi(self, _request: web.Request) -> web.Response:
        return web.Response(body=(STATIC / "openapi.json").read_bytes(), content_type="application/json")

    async def now(self, _request: web.Request) -> web.Response:
        if (now := self._parts.live.now) is None:
            await self._parts.live.refresh()
            now = self._parts.live.now
            assert now is not None, "Bug: nothing was seen"
        return await self._json(now)

    async def runs(self, _request: web.Request) -> web.Response:
        return await self._json(await self._parts.past.runs())

    async def run(self, request: web.Request) -> web.Response:
        return await self._json(await _run(request, self._parts))

    async def board(self, _request: web.Request) -> web.Response:
        return await self._json(self._parts.board.board)

    async def promotions(self, _request: web.Request) -> web.Response:
        return await self._json(await self._parts.past.promotions())

    async def trends(self, _request: web.Request) -> web.Response:
        return await self._json(await self._parts.past.trend_list())

    async def trend(self, request: web.Request) -> web.Response:
        return await self._json(await _trend(request, self._parts))

    async def metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._parts.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def health(self, _request: web.Request) -> web.Response:
        health = self._parts.loop_watch.health()
        return _json_now(health, 200 if health.healthy else 503)

    async def readiness(self, _request: web.Request) -> web.Response:
        readiness = _readiness(self._parts.live.now)
        return _json_now(readiness, 200 if readiness.ready else 503)

    async def _json(self, model: Model) -> web.Response:
        text = await self._parts.threads.do("make JSON", MAKE_LIMIT_S, model.model_dump_json, MAKE_LIMIT_S)
        return web.Response(text=text, content_type="application/json")


def _json_now(model: Model, status: int) -> web.Response:
    return web.Response(text=model.model_dump_json(), content_type="application/json", status=status)


def _readiness(now: data.Now | None) -> data.Readiness:
    if now is None:
        return data.Readiness(ready=False, reason="The CSC was not looked at yet.")
    if not now.csc.journal_owned:
        return data.Readiness(ready=False, reason=" ".join(f"{one.rstrip('.')}." for one in now.csc.problems))
    if not now.csc.connected:
        reason = f"The CSC is {now.csc.state}, and connected to the observatory only while it is ENABLED."
        return data.Readiness(ready=False, reason=reason)
    return data.Readiness(ready=True, reason="The CSC can begin a run, unless one is open.")


async def _run(request: web.Request, parts: Parts) -> data.RunDocument:
    """Return a run: the one that the CSC has is newer than what the journal may have."""
    run_id = request.match_info["run_id"]
    now = parts.live.now
    if now is not None and now.run is not None and now.run.run_id == run_id:
        return now.run
    return await parts.past.run(run_id)


async def _trend(request: web.Request, parts: Parts) -> data.TrendTable:
    physical_filter = request.match_info["physical_filter"]
    if not physical_filter:
        raise NotFoundError("Name the filter, or - for a product without filters.")
    return await parts.past.trend(
        request.match_info["calib_type"],
        "" if physical_filter == NO_FILTER else physical_filter,
        request.match_info.get("detector", ""),
    )
