# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as a real browser shows it: a file, without a network, wide and on a phone, light, dark and printed."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from lsst.ts.comcamcalib.enums import CalibType, Verdict
from lsst.ts.comcamcalib.findings import Finding, Outcome
from lsst.ts.comcamcalib.record import facts
from lsst.ts.comcamcalib.record.facts import Entry
from lsst.ts.comcamcalib.record.fold import fold
from lsst.ts.comcamcalib.report.page import render
from lsst.ts.comcamcalib.report.repository import Readings
from lsst.ts.comcamcalib.report.write import Ending, make_document
from support.browser import Browser, running_browser

WIDE, PHONE, PAPER = 1400, 390, 720
LEAST_LETTERS_PX = 9.0
"""Smallest letters of a figure that people read on a phone (height of the font)."""

COUNTED = {"Findings", "Tests failed", "Exposures failed", "Amplifiers failed", "Number", "Exposure", "Exposure id"}
"""Headings that name what their column counts, or whose numbers are names."""

WIDTHS = "({page: document.documentElement.scrollWidth, window: document.documentElement.clientWidth})"

OPEN_ALL = "document.querySelectorAll('details').forEach(one => { one.open = true })"

# Scrolled to its end and back; a box that scrolls shows by a shadow that there is more.
BOXES = """[...document.querySelectorAll('.scroll')].map(box => ({
    label: box.getAttribute('aria-label') || box.parentElement.className,
    beyond: box.scrollWidth - box.clientWidth,
    reached: (() => { box.scrollLeft = 1e6; const left = box.scrollLeft; box.scrollLeft = 0; return left })(),
    hint: getComputedStyle(box).backgroundImage.split('linear-gradient').length - 1,
    figure: box.querySelector('svg') !== null }))"""

LETTERS = """Math.min(...[...document.querySelectorAll('figure svg text')].map(text => {
    const { a, b } = text.getScreenCTM(); return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(a, b) }))"""

TABLES = """[...document.querySelectorAll('table')].map(table => [...table.rows].map(
    row => [...row.cells].map(cell => cell.innerText.trim())))"""

COLOURS = """(() => { const [text, page] = [getComputedStyle(document.body).color,
    getComputedStyle(document.body).backgroundColor]; return [text, page,
    getComputedStyle(document.querySelector('figure svg text')).fill] })()"""


def of_many_kinds(entries: list[Entry]) -> list[Entry]:
    """Add what the recorded run does not have, so that each table of the report has rows."""
    place: dict[str, Any] = {"quantity": "LEVEL", "detector": 0, "value": 1480.0, "limit": 5000.0, "unit": "electron"}
    findings = [
        *(Finding("light", Outcome.FAILED, exposure=2026112200010 + one, kind="FLAT frame", **place) for one in (1, 2)),
        Finding("drift", Outcome.FAILURE, "response", 4, "C10", None, 1.034, 1.01, "", "x" * 200),
    ]
    verdict = facts.VerdictGiven(
        **{"calib_type": CalibType.FLAT, "physical_filter": "r_03", "attempt": 2, "verdict": Verdict.FAILED},
        **{"job_id": "job-09", "reason": "LEVEL is too low", "findings": tuple(findings)},
    )
    drifts = [(0, 0.4), (1, -1.6), (4, float("nan"))]

    def changes(drift: float) -> dict[str, float]:
        return {"changed_fraction": 0.2, "level": abs(drift)} if math.isfinite(drift) else {}

    measured = facts.Measured(
        calib_type=CalibType.PTC,
        physical_filter="",
        attempt=1,
        values=tuple(
            facts.Measurement(detector=0, amplifier=f"C{row}{column}", quantity="dark_rate", value=value, unit="e/s")
            for row in (0, 1)
            for column, value in enumerate((0.02, 0.021, 0.02, 0.019, 0.02, 0.021, 0.02, 0.9 * row + 0.02))
        ),
        drifts=tuple(
            facts.Drift(detector=one, drift=drift, compared_with="u/ocps/x/run", by_quantity=changes(drift))
            for one, drift in drifts
        ),
    )
    decided = facts.Decision(what="resume", who="op@console", why="the lamp was off")
    last = entries[-1]
    return [
        *entries,
        *(Entry(last.seq + one, last.at + one, fact) for one, fact in enumerate((verdict, measured, decided), start=1)),
    ]


@pytest.fixture(scope="module")
def page(entries: list[Entry], readings: Readings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run, in a folder with blanks in its name."""
    history = fold(entries := of_many_kinds(entries))
    document = make_document(history, entries, readings, 1, Ending(history.state, history.reason))
    file = tmp_path_factory.mktemp("some reports") / "report of a run.html"
    file.write_text(render(document, readings), encoding="utf-8")
    return file


async def test_report_in_a_browser(page: Path, tmp_path: Path) -> None:
    """One browser for all, because it takes longest to start."""
    async with running_browser(tmp_path) as browser:
        await browser.call(
            "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0
        )
        for width in (WIDE, PHONE):
            await shown_without_overflow(browser, page, width)
        await dark_and_light(browser, page)
        tables = await browser.value(TABLES)
        await printed(browser)
        assert browser.complaints == []
        assert {url for url in browser.requests if not url.startswith("data:")} == {page.as_uri()}
    numbers = [problem for table in tables for problem in without_unit(table)]
    assert numbers == []
    assert len(tables) >= 8, "each kind of table is looked at"


async def shown_without_overflow(browser: Browser, page: Path, width: int) -> None:
    await browser.look_at(page.as_uri(), width)
    await browser.value(OPEN_ALL)
    widths = await browser.value(WIDTHS)
    assert widths["page"] <= widths["window"] == width
    boxes = await browser.value(BOXES)
    for box in boxes:
        assert box["beyond"] == pytest.approx(box["reached"], abs=1), box
        assert box["hint"] == 4, "a shadow and its cover at each side"
    scrolling = [box["label"] for box in boxes if box["beyond"] > 0]
    if width == PHONE:
        assert {"map", "panels", "image", "drift", "Exposures", "Jobs"} <= set(scrolling)
        assert await browser.value(LETTERS) >= LEAST_LETTERS_PX
    else:
        assert not [box["label"] for box in boxes if box["figure"] and box["beyond"] > 0]


async def dark_and_light(browser: Browser, page: Path) -> None:
    for scheme, darker in (("light", 0), ("dark", 1)):
        await browser.look_at(page.as_uri(), WIDE, scheme=scheme)
        colours = [sum(map(int, re.findall(r"\d+", one)[:3])) for one in await browser.value(COLOURS)]
        text, background, figure = colours
        assert (text, background)[darker] < 200 < 500 < (background, text)[darker]
        assert figure == text, "figures have the page's colour of text"


async def printed(browser: Browser) -> None:
    await browser.call(
        "Emulation.setDeviceMetricsOverride", width=PAPER, height=1000, deviceScaleFactor=1, mobile=False
    )
    await browser.call("Emulation.setEmulatedMedia", media="print")
    assert await browser.value(WIDTHS) == {"page": PAPER, "window": PAPER}, "nothing is cut off"
    content = await browser.printed()
    assert content.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) > 3
    assert len(content) > 100_000, "the figures are in it"


def without_unit(table: list[list[str]]) -> list[str]:
    """Name the columns with numbers whose heading has no unit; one that says "Unit" must have it in each row."""
    headings, *rows = table
    problems = []
    for column, heading in enumerate(headings):
        found = [row for row in rows if re.fullmatch(r"[-+]?[\d.,]+(e[-+]?\d+)?( to .*)?", row[column])]
        if not found or heading in COUNTED:
            continue
        if "(Unit)" in heading:
            place = headings.index("Unit")
            problems += [f"{heading}: {row}" for row in found if not row[place]]
        elif not re.search(r"\(.+\)$", heading):
            problems.append(f"{heading}: {found[0][column]}")
    return problems


def test_number_without_a_unit_is_found() -> None:
    assert without_unit([["Detector", "Noise"], ["R22_S00", "4.6"]]) == ["Noise: 4.6"]
    assert without_unit([["Value (Unit)", "Unit"], ["1 to 2", "electron"], ["3", ""]]) == ["Value (Unit): ['3', '']"]
    assert not without_unit([["Noise (electron)", "Findings"], ["4.6", "3"], ["not measured", "0"]])
