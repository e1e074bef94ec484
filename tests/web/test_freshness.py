# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is old is nowhere shown as fresh, and a CSC that can't work is not ready."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.run import journal as journal_module
from lsst.ts.comcamcalib.web import live as live_module
from lsst.ts.comcamcalib.web.live import STALE_S
from support.web import Site, opened

AGE = re.compile(r'class="age(?P<stale> stale)?" data-age="(?P<age>[0-9.]+)" data-stale="(?P<limit>[0-9.]+)"')
OUT_OF_DATE = re.compile(r'<p id="stale" role="alert"(?P<hidden> hidden)?>This page is out of date: the CSC answers')


async def look_fails(site: Site, since_s: float) -> None:
    """Let each look at the CSC fail from now on, and the latest that has succeeded be of some seconds ago."""
    live = site.page.parts.live
    await live.refresh()
    site.house.runner = object()  # type: ignore[assignment]
    async with asyncio.timeout(30):
        while not live._failed:  # noqa: ASYNC110  it looks every second
            await asyncio.sleep(0.05)
    live._seen_at -= since_s


async def age_in_metrics(site: Site) -> float:
    (line,) = [
        one for one in (await site.ask("/metrics")).text.splitlines() if one.startswith("comcamcalib_data_age_seconds")
    ]
    return float(line.split()[1])


# Age


async def test_what_is_fresh_says_so(site: Site) -> None:
    async with site.events() as events:
        await events.next()
        assert events.age_s is not None and 0 <= events.age_s < STALE_S
        text = (await site.see("/")).text
        found = AGE.search(text)
        assert found is not None and not found["stale"] and float(found["age"]) < STALE_S
        assert float(found["limit"]) == STALE_S
        warned = OUT_OF_DATE.search(text)
        assert warned is not None and warned["hidden"]
        assert await age_in_metrics(site) < STALE_S
        assert (await site.ask("/readyz")).status == 200


async def test_what_is_old_says_so_to_everybody_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "TICK_S", 0.1)
    runner = site.house.runner
    async with site.events() as events:
        await look_fails(site, since_s=60.0)
        kind, _ = await events.next()
        while kind != "tick" or events.age_s is None or events.age_s < 60:
            kind, _ = await events.next()
        async with site.events() as later:
            kind, parts = await later.next()
            assert kind == "parts" and "headline" in parts and later.age_s is not None and later.age_s >= 60
        for _ in range(2):  # a page that is remembered does not get younger
            text = (await site.see("/")).text
            found, warned = AGE.search(text), OUT_OF_DATE.search(text)
            assert found is not None and found["stale"] and float(found["age"]) >= 60
            assert warned is not None and not warned["hidden"]
        assert await age_in_metrics(site) >= 60
        answer = await site.ask("/readyz")
        assert answer.status == 503 and not answer.json["ready"]
        assert re.match(
            r"What is known here of the CSC is 6\d s old, because .* log says why\.$", answer.json["reason"]
        )
        # The process itself is well.
        assert (await site.ask("/healthz")).status == 200
        site.house.runner = runner
        async with asyncio.timeout(30):
            while events.age_s >= STALE_S:
                await events.next()
    assert (await site.ask("/readyz")).status == 200
    assert await age_in_metrics(site) < STALE_S


async def test_before_anything_was_seen_nothing_has_an_age(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "TICK_S", 0.1)
    runner, site.house.runner = site.house.runner, object()  # type: ignore[assignment]
    await site.page.close()
    await site.page.open(site.house.config)
    async with site.events() as events:
        assert await events.next() == ("tick", {})
        assert events.age_s is None
        assert await age_in_metrics(site) == float("inf")
        answer = await site.ask("/readyz")
        assert (answer.status, answer.json["reason"]) == (503, "The CSC was not looked at yet.")
        site.house.runner = runner
        await events.until("headline", "There has been no run yet")
        assert events.age_s is not None


async def test_a_look_that_hangs_does_not_silence_the_stream(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "TICK_S", 0.1)
    live = site.page.parts.live
    released = asyncio.Event()

    async def hang(*_arguments: object) -> None:
        await released.wait()
        raise RuntimeError("it was of no use")

    async with site.events() as events:
        await events.next()
        monkeypatch.setattr(live._threads, "do", hang)
        ages = []
        while len(ages) < 5 or ages[-1] <= ages[0] + 1.0:
            await events.next()
            ages.append(events.age_s or 0.0)
        monkeypatch.undo()
        released.set()


# Readiness


async def test_a_run_that_can_not_be_written_down_is_not_ready_to_be_followed_by_another(site: Site) -> None:
    jobs = site.house.observatory.jobs
    gate = jobs.hold("cpBias")
    await site.house.start(script_mode="BIAS")
    await jobs.until_executing("cpBias")
    site.house.make_read_only()
    gate.set()
    async with site.events() as events:
        await events.until("headline", "attempt to write a readonly database")
        answer = await site.ask("/readyz")
        assert answer.status == 503 and "attempt to write a readonly database." in answer.json["reason"]
        site.house.make_writable()
        await events.until("headline", "COMPLETED")
        async with asyncio.timeout(30):
            while (await site.ask("/readyz")).status != 200:
                await events.next()


async def test_an_idle_process_that_can_not_write_its_journal_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RENEW_INTERVAL_S", 0.05)
    async with opened(tmp_path) as site, site.events() as events:
        site.house.make_read_only()
        await events.until("headline", "Could not renew the ownership of the journal")
        answer = await site.ask("/readyz")
        assert answer.status == 503 and "attempt to write a readonly database." in answer.json["reason"]
        site.house.make_writable()
        async with asyncio.timeout(30):
            while (await site.ask("/readyz")).status != 200:  # noqa: ASYNC110  it is renewed again in a moment
                await asyncio.sleep(0.05)
