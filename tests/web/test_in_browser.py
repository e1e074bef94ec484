# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page as a real browser has it: for eyes and ears, by keyboard, without script, in a frame, behind an ingress."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
import pytest_asyncio
from aiohttp import web
from lsst.ts.comcamcalib.record.events import Alarms
from lsst.ts.comcamcalib.run.recorder import Wait
from support.browser import Browser, running_browser
from support.cameras import LSSTCAM, instrument_of
from support.chart import render_template
from support.ingress import proxied, served
from support.plans import make_plan
from support.seen import heard, pale, stops
from support.shown import OTHER_COLLECTION, show_everything
from support.web import Site, opened
from support.whole_run import facts_of, history_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

PHALANX = Path(__file__).parents[2] / "deploy" / "phalanx"
PATHS = ("/", "/runs", "/board", "/trends", "/trends/PTC/-")
IS_LIVE = "document.getElementById('age-text').textContent.startsWith('updated')"
OPEN_ALL = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    async with running_browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def comcam(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """The page of a camera of nine detectors, with everything on it."""
    async with opened(tmp_path_factory.mktemp("comcam")) as site:
        await show_everything(site)
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lsstcam(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """The page of a camera of 205 detectors, with everything on it."""
    async with opened(tmp_path_factory.mktemp("lsstcam"), instrument_of(*LSSTCAM)) as site:
        await show_everything(site)
        yield site


async def open_page(browser: Browser, url: str, **window: Any) -> None:
    """Open a page, and hear what the browser complains of from then on."""
    browser.complaints.clear()
    await browser.look_at(url, **window)


def in_trouble(site: Site) -> dict[str, Any]:
    """Return what is seen of a run that goes on, with alarms, waits and a problem: all colours that there are."""
    plan = make_plan(site.house.config)
    facts = list(facts_of(plan))
    first = next(number for number, one in enumerate(facts) if getattr(one, "stage_name", "") == "BIAS.VERIFY")
    alarms = Alarms(run_failed=True, verification_failed=True, reason="Detector R22_S11 is bad.")
    waits = {"BIAS.VERIFY": Wait("the job verifyBias", site.house.clock.tai() + 60)}
    history = history_of(plan, *facts[: first + 1])
    unwell = ("CCCamera is in FAULT.",)
    return {"history": history, "alarms": alarms, "waits": waits, "unwell": unwell, "problem": "The disk is full"}


@contextlib.asynccontextmanager
async def showing(site: Site, shown: dict[str, Any]) -> AsyncIterator[None]:
    """Let the page show something else for a while."""
    before, site.shown = site.shown, shown
    await site.page.parts.live.refresh()
    try:
        yield
    finally:
        site.shown = before
        await site.page.parts.live.refresh()


# What is seen


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_and_line_has_contrast(browser: Browser, comcam: Site, lsstcam: Site, scheme: str) -> None:
    for site in (comcam, lsstcam):
        for path in PATHS:
            await open_page(browser, site.url + path, scheme=scheme)
            await browser.value(OPEN_ALL)
            seen, found = await pale(browser)
            assert seen > 20 and not found, (path, found)
    # A test that could not fail would be none.
    for colour in ("--faint", "--bar"):
        await browser.value(f"document.documentElement.style.setProperty('{colour}', 'var(--line)')")
    _, found = await pale(browser)
    assert {"text", "line"} <= {one.split(": ")[1].split()[0] for one in found}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_alarms_and_what_is_out_of_date_have_contrast_and_are_told(
    browser: Browser, comcam: Site, scheme: str
) -> None:
    async with showing(comcam, in_trouble(comcam)):
        await open_page(browser, comcam.url, scheme=scheme)
        await browser.until("document.querySelectorAll('.alarm, .graph .running').length > 1")
        # From now on, each look at the clock is twenty seconds after the one before.
        await browser.value("(() => { let now = 1e6; performance.now = () => (now += 20000); })()")
        await browser.until("!document.getElementById('stale').hidden")
        _, found = await pale(browser)
        assert not found
        assert "This page is out of date:" in " ".join((await heard(browser)).of("StaticText"))
        assert set((await heard(browser)).with_property("live").values()) >= {"polite", "assertive"}


async def test_a_large_camera_is_summed_up(browser: Browser, lsstcam: Site) -> None:
    """Nothing is wider than the window, no table has a column or row for each detector, and the maps have them all."""
    for width in (1280, 390):
        for path in PATHS:
            await open_page(browser, lsstcam.url + path, width=width)
            assert await browser.value("document.documentElement.scrollWidth") <= width, path
            maps = "[...document.querySelectorAll('svg.plane')].map((one) => one.getBoundingClientRect().right)"
            assert all(right <= width for right in await browser.value(maps)), path
            columns = "Math.max(0, ...[...document.querySelectorAll('thead tr')].map((one) => one.cells.length))"
            assert await browser.value(columns) <= 8, path
    await open_page(browser, f"{lsstcam.url}/board")
    assert await browser.value("document.querySelectorAll('svg.plane').length") == 7
    assert await browser.value("document.querySelector('svg.plane').querySelectorAll('rect').length") == len(LSSTCAM)
    text = await browser.value("document.body.innerText")
    assert "5 MISSING: R01_S10, R12_S22, R23_S11, R34_S00, R44_SW0" in text
    assert "175 EXPIRED" in text and "R01 (7 of 9)" in text
    assert OTHER_COLLECTION in text
    await open_page(browser, f"{lsstcam.url}/trends/PTC/-")
    assert await browser.value("document.querySelectorAll('tbody tr').length") == 3 * (1 + 10)
    await browser.value("document.querySelector('a[href$=\"R44_SW1\"]').click()")
    await browser.until(
        "document.querySelector('h1')?.textContent.includes('R44_SW1') && document.readyState === 'complete'"
    )
    assert await browser.value("document.querySelectorAll('tbody tr').length") == 3 * 16


# What is heard, and reached with keys


async def test_a_screen_reader_has_landmarks_headings_and_headers(browser: Browser, comcam: Site) -> None:
    for path in PATHS:
        await open_page(browser, comcam.url + path)
        tree = await heard(browser)
        for landmark in ("banner", "main", "navigation", "contentinfo"):
            assert len(tree.of(landmark)) == 1, (path, landmark)
        levels = [value for name, value in tree.with_property("level").items() if name.startswith("heading")]
        assert levels[0] == 1 and levels.count(1) == 1, path
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels)), (path, levels)
        assert all(tree.of("image")), "each drawing is named"
        assert all(tree.of("region")), "each part of the page is named"
        tables = len(tree.of("table"))
        assert len(tree.of("columnheader")) >= 3 * tables and all(tree.of("columnheader"))
        assert len(tree.of("rowheader")) >= tables, path
    await open_page(browser, comcam.url)
    live = (await heard(browser)).with_property("live")
    assert live["region Alarms"] == "polite"
    assert (
        await browser.value("document.querySelector('h1').closest('[aria-live]').getAttribute('aria-live')") == "polite"
    )
    assert await browser.value("document.getElementById('stale').getAttribute('role')") == "alert"


async def test_keys_reach_all_that_can_be_clicked_and_one_sees_where_one_is(
    browser: Browser, comcam: Site, lsstcam: Site
) -> None:
    for site in (comcam, lsstcam):
        for path in PATHS:
            await open_page(browser, site.url + path)
            found = await stops(browser)
            assert found.reached[0] == "a Skip to the content" and len(found.reached) >= 7, path
            assert not found.not_reached and not found.not_seen, path
    # What was opened with a key stays open, and the focus where it is, when the page is brought up to date.
    await open_page(browser, comcam.url)
    await browser.until(IS_LIVE)
    await browser.value("document.querySelector('details[data-key=stages] summary').focus()")
    await browser.press("Enter")
    async with showing(comcam, in_trouble(comcam)):
        await browser.until("document.querySelectorAll('.graph .running').length")
        assert await browser.value("document.querySelector('details[data-key=stages]').open")
        assert await browser.value("document.activeElement.parentElement.dataset.key") == "stages"


# Without script


async def test_without_script_it_is_plain_tables_that_say_how_old_they_are(browser: Browser, comcam: Site) -> None:
    await browser.use_scripts(False)
    try:
        await open_page(browser, comcam.url)
        text = await browser.value("document.body.innerText")
        assert "as of 20" in text and "UTC" in text and "updated" not in text
        for words in ("BIAS.ACQUIRE", "verifyBias", "PASSED_WITH_FAILURES", "certified", "EXPIRED"):
            assert words in text
        # What is closed opens without script.
        await browser.value("document.querySelector('details[data-key=stages] summary').focus()")
        await browser.press("Enter")
        assert await browser.value("document.querySelector('details[data-key=stages] table').checkVisibility()")
        # It loads itself again; a test has no time for its thirty seconds.
        async with showing(comcam, in_trouble(comcam)), hastened(comcam) as url:
            await browser.look_at(url)
            await browser.until("document.body && document.body.innerText.includes('2 alarms')")
            comcam.shown = {**comcam.shown, "alarms": Alarms(), "state": "FAULT"}
            await browser.until("document.body && document.body.innerText.includes('CSC FAULT')")
        assert not browser.complaints
    finally:
        await browser.use_scripts(True)


@contextlib.asynccontextmanager
async def hastened(site: Site) -> AsyncIterator[str]:
    """Serve the page Now as it is, but so that it is loaded again each second."""

    async def now(_request: web.Request) -> web.Response:
        text = (await site.see("/")).text
        assert text.count('http-equiv="refresh" content="30"') == 1
        return web.Response(text=text.replace('content="30"', 'content="1"'), content_type="text/html")

    async def nothing(_request: web.Request) -> web.Response:
        return web.Response(content_type="text/css")

    app = web.Application()
    app.router.add_get("/", now)
    app.router.add_get("/style.css", nothing)
    async with served(app) as port:
        yield f"http://127.0.0.1:{port}/"


# In a frame


async def test_only_an_allowed_site_shows_it_in_a_frame(browser: Browser, tmp_path: Path) -> None:
    shown = ""

    async def dashboard(_request: web.Request) -> web.Response:
        return web.Response(
            text=f'<!DOCTYPE html><link rel="icon" href="data:,"><iframe src="{shown}"></iframe>',
            content_type="text/html",
        )

    app = web.Application()
    app.router.add_get("/", dashboard)
    async with contextlib.AsyncExitStack() as stack:
        port = await stack.enter_async_context(served(app))
        site = await stack.enter_async_context(opened(tmp_path, frame_ancestors=[f"http://127.0.0.1:{port}"]))
        shown = f"{site.url}/"
        await open_page(browser, f"http://127.0.0.1:{port}/")
        tree = (await browser.call("Page.getFrameTree"))["frameTree"]
        (frame,) = (one["frame"] for one in tree["childFrames"])
        assert frame["url"] == shown and not browser.complaints
        # It is live there.
        world = await browser.call("Page.createIsolatedWorld", frameId=frame["id"])
        await browser.until(IS_LIVE, context=world["executionContextId"])
        # The same machine by another name is another site.
        await open_page(browser, f"http://localhost:{port}/")
        async with asyncio.timeout(30):
            while not any("frame-ancestors" in one and "blocked" in one for one in browser.complaints):  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # the browser complains when it likes
        await browser.look_at("about:blank")


# Age


async def test_a_page_that_is_loaded_while_the_csc_can_not_look_at_itself_is_red_at_once(
    browser: Browser, tmp_path: Path
) -> None:
    async with opened(tmp_path) as site:
        await open_page(browser, site.url)
        await browser.until(IS_LIVE)
        assert await browser.value("document.getElementById('stale').hidden")
        live, runner = site.page.parts.live, site.house.runner
        site.house.runner = object()  # type: ignore[assignment]
        async with asyncio.timeout(30):
            while not live._failed:  # noqa: ASYNC110  it looks every second
                await asyncio.sleep(0.05)
        live._seen_at -= 60
        shown = "[document.getElementById('age-text').textContent, document.getElementById('stale').innerText]"
        # One that is open hears it with the next sign of life, and one that is loaded now says it at once.
        for again in (False, True):
            if again:
                await open_page(browser, site.url)
                await browser.until(IS_LIVE, limit_s=2.0)
            await browser.until("!document.getElementById('stale').hidden", limit_s=2.0 if again else 30.0)
            age, why = await browser.value(shown)
            assert age.startswith(("updated 6", "updated 7", "updated 8")) and "the CSC answers, but could not" in why
            assert await browser.value("document.getElementById('age').classList.contains('stale')")
        site.house.runner = runner
        await browser.until("document.getElementById('stale').hidden")
        assert not browser.complaints
        await browser.look_at("about:blank")


# Behind an ingress


async def test_behind_an_ingress_everything_is_below_its_path(browser: Browser, comcam: Site) -> None:
    values = {"comcamcalib": {"enabled": True, "service": {"port": 8080}}, "global": {"host": "h"}}
    values["global"]["controlSystem"] = {"appNamespace": "uws"}
    ingress = render_template((PHALANX / "ingress.yaml").read_text(), values)
    async with proxied(ingress, comcam.url) as host:
        root = f"{host}/comcamcalib/"
        await open_page(browser, root)
        await browser.until(IS_LIVE)
        assert await browser.value("getComputedStyle(document.querySelector('.skip')).position") == "absolute", (
            "no style"
        )
        visited, waiting = set(), [root]
        while waiting:
            url = waiting.pop()
            visited.add(url)
            await open_page(browser, url)
            found = await browser.value(
                "[...document.querySelectorAll('[href], [src]')].map((one) => one.href || one.src)"
                ".filter((one) => !one.startsWith('data:')).map((one) => one.split('#')[0])"
            )
            for one in sorted(set(found)):
                assert one.startswith(root), f"{url} leads to {one}"
                async with comcam.session.get(one) as answer:
                    assert answer.status == 200, f"{url} leads to {one}"
                    is_page = answer.content_type == "text/html" and "/reports/" not in one
                # One of each kind is enough.
                kind = urlsplit(one).path.rstrip("0123456789")
                if is_page and not any(urlsplit(old).path.rstrip("0123456789") == kind for old in (*visited, *waiting)):
                    waiting.append(one)
            assert not browser.complaints, url
        assert len(visited) >= 6
        document = f"{root}api/openapi.json"
        async with comcam.session.get(document) as answer:
            (server,) = (await answer.json())["servers"]
        async with comcam.session.get(urljoin(document, server["url"]).rstrip("/") + "/api/now") as answer:
            assert answer.status == 200
        # A page that is none says so below the path, too.
        await browser.look_at(f"{root}trends/nothing")
        assert await browser.value("document.querySelector('nav a').href") == root
        await browser.look_at("about:blank")
