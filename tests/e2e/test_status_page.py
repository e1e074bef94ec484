# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole run is watched on the status page, in a real browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from lsst.ts import salobj
from lsst.ts.comcamcalib.csc import ComCamCalibCsc
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from support.browser import Browser, running_browser
from support.observatory import WITH_REPORTS, running_csc
from support.operator import Operator
from support.run import Site

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

STAGES = "document.querySelectorAll('#graph g.node.{}').length"


@pytest_asyncio.fixture(loop_scope="session")
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    async with running_browser(tmp_path) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def csc_with_page(observatory: Observatory, operator: Operator) -> AsyncIterator[ComCamCalibCsc]:
    """An ENABLED CSC that serves its page on any free port, and writes reports."""
    folder = Path(observatory.environment["TS_CONFIG_OCS_DIR"]) / "ComCamCalib" / "v1"
    report = yaml.safe_load((folder / WITH_REPORTS).read_text())
    page = {"address": "127.0.0.1", "port": 0, "frame_ancestors": []}
    (folder / "with_page.yaml").write_text(yaml.safe_dump({**report, "page": page}))
    async with running_csc(initial_state=salobj.State.ENABLED, override="with_page.yaml") as csc:
        assert csc.summary_state is salobj.State.ENABLED
        yield csc


async def test_a_run_is_watched_from_its_beginning_to_its_report(
    observatory: Observatory, operator: Operator, csc_with_page: ComCamCalibCsc, browser: Browser, tmp_path: Path
) -> None:
    assert csc_with_page.status_page.address is not None
    url = "http://{}:{}".format(*csc_with_page.status_page.address)
    await browser.look_at(url)
    await browser.until("document.body.innerText.includes('There has been no run yet')")
    site = Site(observatory, operator, csc_with_page)
    run = await site.start(
        script_mode="BIAS_DARK_FLAT",
        **{"n_bias": 3, "n_dark": 2, "exp_times_dark": 20, "n_flat": 4, "exp_times_flat": [2, 2, 4, 4]},
        **{"do_defects": True, "do_ptc": True, "reason": "watched"},
    )
    # It proceeds before the eyes of who watches, without being loaded again.
    await browser.value("window.sameDocument = true")
    await browser.until(f"document.querySelector('h1').textContent.includes('{run.run_id}')")
    await browser.until(f"{STAGES.format('running')} > 0 && {STAGES.format('pending')} > 0")
    await browser.value("document.querySelector('details[data-key=stages]').open = true")
    await browser.screenshot(tmp_path / "running.png")
    await run.ended(RunState.COMPLETED, limit_s=120.0)
    await browser.until("document.querySelector('h1').textContent.includes('COMPLETED')")
    assert await browser.value(f"{STAGES.format('succeeded')}") == len(run.stages)
    assert await browser.value("window.sameDocument && document.querySelector('details[data-key=stages]').open")
    assert "COMPLETED" in await browser.value("document.title")
    for part, words in (("verdicts", "PASSED"), ("jobs", "cpDefects"), ("certifications", "certified")):
        assert words in await browser.value(f"document.getElementById('{part}').textContent"), part
    assert (await browser.value("document.getElementById('age-text').textContent")).startswith("updated ")
    assert await browser.value("document.getElementById('stale').hidden")
    for width in (1280, 390):
        for scheme in ("light", "dark"):
            await browser.look_at(url, width, scheme=scheme)
            await browser.until("document.getElementById('age-text').textContent.startsWith('updated')")
            assert await browser.value("document.documentElement.scrollWidth") <= width, "nothing is cut off"
            assert len(await browser.screenshot(tmp_path / f"completed-{width}-{scheme}.png")) > 20_000
    # What was, by links that a keyboard reaches.
    await browser.look_at(f"{url}/runs")
    await browser.press("Tab")
    assert await browser.value("document.activeElement.textContent") == "Skip to the content"
    await browser.value(f"document.querySelector('a[href=\"runs/{run.run_id}\"]').click()")
    await browser.until(
        "document.querySelector('h1') && document.querySelector('h1').textContent.includes('COMPLETED')"
    )
    await browser.value("document.querySelector('a[href$=\".html\"]').click()")
    await browser.until("document.body && document.body.innerText.includes('report of a run')")
    await browser.look_at(f"{url}/trends/PTC/-")
    assert await browser.value("document.querySelectorAll('svg.spark').length") > 9
    await browser.screenshot(tmp_path / "trends.png")
    await browser.look_at(f"{url}/board")
    await browser.screenshot(tmp_path / "board.png")
    assert await browser.value("document.querySelectorAll('table.board tbody tr').length") >= 5
    # Without script everything is there, and is loaded again now and then.
    await browser.use_scripts(False)
    await browser.look_at(url)
    await browser.screenshot(tmp_path / "without-script.png")
    await browser.use_scripts(True)
    assert not browser.complaints
    # When the CSC is gone, the page says so.
    await browser.look_at(url)
    await browser.until("document.getElementById('age-text').textContent.startsWith('updated')")
    await operator.bring(disable=salobj.State.DISABLED)
    await browser.until("document.querySelector('h1').textContent.includes('DISABLED')")
    await operator.bring(standby=salobj.State.STANDBY)
    await browser.until("!document.getElementById('stale').hidden", limit_s=40.0)
    assert await browser.value("document.getElementById('age').classList.contains('stale')")
    await browser.screenshot(tmp_path / "stale.png")
