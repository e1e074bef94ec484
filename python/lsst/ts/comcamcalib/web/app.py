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
from .bodies import Bodies, SharedResponse, json_of, slices
from .guard import STREAM, Guard
from .health import LoopWatch
from .live import STALE_S, Live
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
    bodies: Bodies
    """Answers that were made lately."""
    tables: Bodies
    """The same, of trends; those of a whole LSSTCam are large."""

    async def close(self) -> None:
        """Wait for no answer any more."""
        for one in (self.bodies, self.tables, self.live, self.past):
            await one.close()

    def forget(self) -> None:
        """Read and make everything again."""
        for one in (self.bodies, self.tables, self.past):
            one.forget()


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

    async def now(self, request: web.Request) -> web.StreamResponse:
        text = await self._parts.live.html()

        async def encoded() -> bytes:
            return text.encode()

        body = await self._parts.bodies.get(request.path, encoded, text)
        return SharedResponse(request, body, "text/html")

    async def runs(self, request: web.Request) -> web.StreamResponse:
        return await self._page(request, "runs", runs=await self._parts.past.runs())

    async def run(self, request: web.Request) -> web.StreamResponse:
        run, everything = await _run(request, self._parts), await self._parts.past.promotions()
        mine = [one for one in everything.promotions if one.run_id == run.run_id]
        promotions = everything.model_copy(update={"promotions": tuple(mine)})
        return await self._page(request, "run", of=(run, everything), run=run, promotions=promotions)

    async def report(self, request: web.Request) -> web.StreamResponse:
        run_id, suffix = request.match_info["run_id"], request.match_info["suffix"]
        body = await self._parts.bodies.get(request.path, lambda: self._parts.past.report(run_id, suffix))
        response = SharedResponse(request, body, REPORT_TYPES[suffix])
        response.headers["Content-Security-Policy"] = self._parts.guard.report_policy
        return response

    async def board(self, request: web.Request) -> web.StreamResponse:
        promotions = await self._parts.past.promotions()
        return await self._page(request, "board", board=self._parts.board.board, promotions=promotions)

    async def trends(self, request: web.Request) -> web.StreamResponse:
        return await self._page(request, "trends", trends=await self._parts.past.trend_list())

    async def trend(self, request: web.Request) -> web.StreamResponse:
        detectors = list(self._parts.config.instrument.detector_names.values())

        def made(trend: data.TrendTable) -> bytes:
            return page("trend", _root(request), trend=trend, detectors=detectors).encode()

        return await _trend(request, self._parts, made, "text/html")

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
            while pieces := await reader.next():
                try:
                    async with asyncio.timeout(WRITE_LIMIT_S):
                        for one in (one for piece in pieces for one in slices(piece)):
                            await response.write(one)
                except TimeoutError:
                    self._parts.guard.drop(request)
                    break
                except ConnectionError:
                    break
        return response

    async def _page(
        self, request: web.Request, view: str, of: tuple[Model, ...] = (), **content: Model
    ) -> web.StreamResponse:
        """Make a page; ``of`` is what its content follows from, if that is not the content itself."""
        making = f"make the page {view}"

        def make() -> bytes:
            return page(view, _root(request), **content).encode()

        return await _answer(request, self._parts, making, make, of or tuple(content.values()), "text/html")


class _Programs:
    """JSON for programs, numbers and health for monitoring."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def openapi(self, _request: web.Request) -> web.Response:
        return web.Response(body=(STATIC / "openapi.json").read_bytes(), content_type="application/json")

    async def now(self, request: web.Request) -> web.StreamResponse:
        if (now := self._parts.live.now) is None:
            await self._parts.live.refresh()
            now = self._parts.live.now
            assert now is not None, "Bug: nothing was seen"
        return await self._json(request, now)

    async def runs(self, request: web.Request) -> web.StreamResponse:
        return await self._json(request, await self._parts.past.runs())

    async def run(self, request: web.Request) -> web.StreamResponse:
        return await self._json(request, await _run(request, self._parts))

    async def board(self, request: web.Request) -> web.StreamResponse:
        return await self._json(request, self._parts.board.board)

    async def promotions(self, request: web.Request) -> web.StreamResponse:
        return await self._json(request, await self._parts.past.promotions())

    async def trends(self, request: web.Request) -> web.StreamResponse:
        return await self._json(request, await self._parts.past.trend_list())

    async def trend(self, request: web.Request) -> web.StreamResponse:
        return await _trend(request, self._parts, json_of, "application/json")

    async def metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._parts.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def health(self, _request: web.Request) -> web.Response:
        health = self._parts.loop_watch.health()
        return _json_now(health, 200 if health.healthy else 503)

    async def readiness(self, _request: web.Request) -> web.Response:
        readiness = _readiness(self._parts.live.now, self._parts.live.age_s())
        return _json_now(readiness, 200 if readiness.ready else 503)

    async def _json(self, request: web.Request, model: Model) -> web.StreamResponse:
        return await _answer(request, self._parts, "make JSON", lambda: json_of(model), (model,), "application/json")


def _json_now(model: Model, status: int) -> web.Response:
    return web.Response(text=model.model_dump_json(), content_type="application/json", status=status)


async def _answer(
    request: web.Request, parts: Parts, making: str, make: Callable[[], bytes], of: tuple[Model, ...], content_type: str
) -> web.StreamResponse:
    """Return an answer that is made of documents in a thread, unless that was done already."""

    async def made() -> bytes:
        return await parts.threads.do(making, MAKE_LIMIT_S, make, MAKE_LIMIT_S)

    body = await parts.bodies.get(request.path, made, *of)
    return SharedResponse(request, body, content_type)


def _root(request: web.Request) -> str:
    """Return the way from a page's address to that of Now."""
    return "../" * (request.path.count("/") - 1)


def _readiness(now: data.Now | None, age_s: float) -> data.Readiness:
    if now is None:
        return data.Readiness(ready=False, reason="The CSC was not looked at yet.")
    if age_s > STALE_S:
        reason = (
            f"What is known here of the CSC is {age_s:.0f} s old, because the status page can't be brought up to date. "
            "The CSC's log says why."
        )
        return data.Readiness(ready=False, reason=reason)
    if now.csc.problems:
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


async def _trend(
    request: web.Request, parts: Parts, make: Callable[[data.TrendTable], bytes], content_type: str
) -> web.StreamResponse:
    """Return an answer that is made of a table of trends."""
    physical_filter = request.match_info["physical_filter"]
    if not physical_filter:
        raise NotFoundError("Name the filter, or - for a product without filters.")

    async def made() -> bytes:
        return await parts.past.trend(
            request.match_info["calib_type"],
            "" if physical_filter == NO_FILTER else physical_filter,
            request.match_info.get("detector", ""),
            make,
        )

    return SharedResponse(request, await parts.tables.get(request.path, made), content_type)
