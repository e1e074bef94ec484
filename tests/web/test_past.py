# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was: runs, their reports and trends, as the page and programs see them."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import math
import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.enums import CalibType, Verdict
from lsst.ts.comcamcalib.record.facts import Measured, Measurement, ReportFile, ReportWritten, VerdictGiven
from lsst.ts.comcamcalib.run.promotions import Promoted, PromotedRange, note_promotion, promotions_file
from lsst.ts.comcamcalib.web.memory import Memory
from lsst.ts.comcamcalib.web.past import LISTS_REMEMBERED_S
from support.web import Site, opened

JOURNALS = Path(__file__).parents[1] / "data" / "journals"
Facts = Measured | ReportWritten | VerdictGiven


async def with_facts(site: Site, *facts: Facts) -> str:
    """Make a run, add facts to it, and return its id."""
    run_id = await site.house.start(script_mode="BIAS")
    await site.house.ended()
    await note(site, *facts)
    return run_id


async def note(site: Site, *facts: Facts) -> None:
    """Add facts to the latest run."""
    run = site.house.runner.run
    assert run is not None
    for fact in facts:
        await run.record.note(fact)
    await run.record.flush()


def written(folder: Path, run_id: str) -> ReportWritten:
    """Say that a report was written."""
    files = [
        ((folder / f"ComCamCalib-{run_id}.html").as_uri(), "text/html"),
        # As the store of large files names what was uploaded.
        (
            f"https://s3.example.org/rubinobs-lfa-cp/ComCamCalib/report/2026/11/22/ComCamCalib_report_{run_id}.json",
            "application/json",
        ),
    ]
    return ReportWritten(
        attempt=1,
        files=tuple(ReportFile(url=url, mime_type=mime, byte_size=1, checksum="0" * 32) for url, mime in files),
    )


@pytest.fixture
async def reported(tmp_path: Path) -> AsyncIterator[tuple[Site, str, Path]]:
    """A page, a run with a report, and the folder of reports."""
    folder = tmp_path / "reports"
    folder.mkdir()
    async with opened(tmp_path) as site:
        run_id = await with_facts(site)
        await note(site, written(folder, run_id))
        (folder / f"ComCamCalib-{run_id}.html").write_text("<html>of the run</html>")
        (folder / f"ComCamCalib-{run_id}.json").write_text('{"format": "ComCamCalib report"}')
        yield site, run_id, folder


# Runs


async def test_runs_are_listed_the_latest_first(old_site: Site) -> None:
    await old_site.house.start(script_mode="BIAS", reason="a second one")
    await old_site.house.ended()
    found = (await old_site.ask("/api/runs")).json
    assert found["total"] == 2 and not found["problem"]
    latest, first = found["runs"]
    assert (latest["state"], latest["script_mode"], latest["why"]) == ("COMPLETED", "BIAS", "a second one")
    assert first["script_mode"] == "BIAS_DARK_FLAT" and first["reason"].startswith("All stages succeeded")
    page = (await old_site.see("/runs")).text
    assert page.index(latest["run_id"]) < page.index(first["run_id"])


async def test_a_run_of_which_something_was_decertified_does_not_look_as_if_it_stood(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.executescript((JOURNALS / "decisions.sql").read_text(encoding="utf-8"))
    connection.close()
    async with opened(tmp_path) as site:
        latest, first = (await site.ask("/api/runs")).json["runs"]
        assert (latest["withdrawn"], first["withdrawn"]) == (True, False)
        assert (await site.see("/runs")).text.count("Something of it was decertified.") == 1


async def test_who_has_just_started_a_run_finds_it_in_the_list(old_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len((await old_site.ask("/api/runs")).json["runs"]) == 1
    run_id = await old_site.house.start(script_mode="BIAS")
    await old_site.house.ended()
    loop = asyncio.get_running_loop()
    now_s = loop.time
    monkeypatch.setattr(loop, "time", lambda: now_s() + LISTS_REMEMBERED_S)
    assert (await old_site.ask("/api/runs")).json["runs"][0]["run_id"] == run_id


async def test_where_and_how_runs_have_certified_is_known_the_latest_first(site: Site) -> None:
    past, mine, other = site.page.parts.past, "LSSTComCam/calib/u/me/test", "LSSTComCam/calib/u/me/other"
    assert await past.certified_lately() == []
    unverified = {"do_verify": False, "certify_unverified": True}
    runs = []
    for collection, options in ((other, {}), (mine, unverified)):
        runs.append(await site.house.start(script_mode="BIAS", calib_collection=collection, **options))
        await site.house.ended()
    found = await past.certified_lately()
    assert [(one.run_id, one.collection, one.dataset_type) for one in found] == [
        (runs[1], mine, "bias"),
        (runs[0], other, "bias"),
    ]
    assert [one.verdict for one in found] == [None, Verdict.PASSED]
    assert [one.left_out for one in found] == [(), ()]
    # As if what the earlier run made had been accepted and certified after all that.
    with sqlite3.connect(site.folder / "journal.sqlite") as connection:
        connection.execute(
            "UPDATE facts SET at = (SELECT max(at) FROM facts) + 1 WHERE run_id = ? AND kind = 'certify_intended'",
            (runs[0],),
        )
    connection.close()
    assert [one.run_id for one in await past.certified_lately()] == [runs[0], runs[1]]
    for file in site.folder.glob("journal.sqlite*"):
        file.unlink()
    assert await past.certified_lately() == []


async def test_what_an_operator_accepted_is_known_from_a_journal_of_an_older_release(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        connection.executescript((JOURNALS / "decisions.sql").read_text(encoding="utf-8"))
    connection.close()
    async with opened(tmp_path) as site:
        found = await site.page.parts.past.certified_lately()
        assert Verdict.ACCEPTED_BY_OPERATOR in {one.verdict for one in found}
        assert {one.left_out for one in found} == {()}


async def test_without_a_journal_there_is_a_sentence(site: Site) -> None:
    for file in site.folder.glob("journal.sqlite*"):
        file.unlink()
    found = (await site.ask("/api/runs")).json
    assert found["runs"] == []
    assert found["problem"].startswith(f"There is no journal {site.folder / 'journal.sqlite'}; ")
    assert "There is no journal" in (await site.see("/runs")).text
    assert "There is no journal" in (await site.ask("/api/trends")).json["problem"]


async def test_a_run_of_the_past_is_shown_with_everything(old_site: Site) -> None:
    (first,) = (await old_site.ask("/api/runs")).json["runs"]
    await old_site.house.start(script_mode="BIAS")
    await old_site.house.ended()
    run = (await old_site.ask(f"/api/runs/{first['run_id']}")).json
    assert len(run["jobs"]) >= 13 and len(run["certifications"]) >= 5
    assert {one["verdict"] for one in run["verdicts"]} <= {"PASSED", "PASSED_WITH_FAILURES"}
    assert any(one["critical"] for one in run["stages"])
    page = (await old_site.see(f"/runs/{first['run_id']}")).text
    assert 'href="../runs"' in page and 'src="../page.js"' not in page


async def test_a_run_that_is_none_is_named_with_the_latest(old_site: Site) -> None:
    answer = await old_site.ask("/api/runs/20200101-001")
    assert answer.status == 404
    assert "There is no run 20200101-001" in answer.json["error"] and "; the latest is 2026" in answer.json["error"]


async def test_a_damaged_run_is_a_sentence_and_others_are_shown(old_site: Site) -> None:
    connection = old_site.house.journal._file.connection
    assert connection is not None
    (first,) = (await old_site.ask("/api/runs")).json["runs"]
    await old_site.house.start(script_mode="BIAS")
    await old_site.house.ended()
    async with old_site.events() as events:  # the page does not show it as the latest one any more
        await events.until("headline", old_site.house.status.run_id)
    connection.execute("UPDATE facts SET body = '{}' WHERE run_id = ? AND seq = 3", (first["run_id"],))
    answer = await old_site.ask(f"/api/runs/{first['run_id']}")
    assert answer.status == 404 and "can't be understood" in answer.json["error"]
    assert (await old_site.ask(f"/api/runs/{old_site.house.status.run_id}")).status == 200


# Reports


async def test_a_report_is_served_as_it_is(reported: tuple[Site, str, Path]) -> None:
    site, run_id, _ = reported
    answer = await site.ask(f"/reports/{run_id}.html")
    assert (answer.status, answer.text) == (200, "<html>of the run</html>")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src" not in policy
    answer = await site.ask(f"/reports/{run_id}.json")
    assert answer.json["format"] == "ComCamCalib report"
    assert f'href="reports/{run_id}.html"' in (await site.see("/runs")).text


async def test_a_file_that_the_journal_does_not_name_is_not_served(reported: tuple[Site, str, Path]) -> None:
    site, run_id, folder = reported
    (folder / "ComCamCalib-20250101-002.html").write_text("of nobody")
    answer = await site.ask("/reports/20250101-002.html")
    assert (answer.status, answer.json["error"]) == (404, "The journal has no report of run 20250101-002.")
    (folder / f"ComCamCalib-{run_id}.html").unlink()
    answer = await site.ask(f"/reports/{run_id}.html")
    assert answer.status == 404 and f"comcamcalib report {run_id}" in answer.json["error"]


async def test_a_report_that_cannot_be_read_is_told_as_that(
    reported: tuple[Site, str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    site, run_id, _ = reported

    def broken(_path: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "read_bytes", broken)
    answer = await site.ask(f"/reports/{run_id}.json")
    assert answer.status == 503 and "can't be read (Input/output error)" in answer.json["error"]


@pytest.mark.parametrize("there", ["a link", "a folder"])
async def test_nothing_outside_the_folder_of_reports_is_served(
    reported: tuple[Site, str, Path], tmp_path: Path, there: str
) -> None:
    site, run_id, folder = reported
    (tmp_path / "secret.html").write_text("swordfish")
    place = folder / f"ComCamCalib-{run_id}.html"
    place.unlink()
    if there == "a link":
        os.symlink(tmp_path / "secret.html", place)
    else:
        place.mkdir()
    answer = await site.ask(f"/reports/{run_id}.html")
    assert answer.status == 404 and "swordfish" not in answer.text


# Promotions


async def test_who_promoted_what_is_on_the_board_and_with_the_run(old_site: Site) -> None:
    (run,) = (await old_site.ask("/api/runs")).json["runs"]
    assert (await old_site.ask("/api/promotions")).json["promotions"] == []
    assert "<h2>Promotions</h2>" not in (await old_site.see(f"/runs/{run['run_id']}")).text
    promoted = Promoted(
        *("2026-11-27T09:00:00", "<jdoe>@base", run["run_id"], run["calib_collection"], "LSSTComCam/calib/DM-1"),
        *(
            "for the campaign",
            "fail",
            (PromotedRange("bias", ("a", "b"), "", ""), PromotedRange("dark", ("c",), "", "")),
        ),
    )
    file = promotions_file(old_site.folder / "journal.sqlite")
    for one in (promoted, dataclasses.replace(promoted, run_id="20200101-001")):
        note_promotion(file, one)
    old_site.page.parts.forget()
    other, mine = (await old_site.ask("/api/promotions")).json["promotions"]
    assert (mine["who"], mine["why"], mine["at"]) == ("<jdoe>@base", "for the campaign", "2026-11-27T09:00:00")
    assert (mine["dataset_types"], mine["collection"]) == ({"bias": 2, "dark": 1}, "LSSTComCam/calib/DM-1")
    board = (await old_site.see("/board")).text
    assert f'<a href="runs/{run["run_id"]}">' in board and 'href="runs/20200101-001"' in board
    assert "2 bias, 1 dark" in board and "&lt;jdoe&gt;@base" in board and "2026-11-27 09:00:00" in board
    page = (await old_site.see(f"/runs/{run['run_id']}")).text
    assert "LSSTComCam/calib/DM-1" in page and other["run_id"] not in page


async def test_promotions_that_can_not_be_read_are_not_none(site: Site) -> None:
    file = promotions_file(site.folder / "journal.sqlite")
    file.write_text('{"half a line')
    assert f"{file} has 1 line that can" in (await site.ask("/api/promotions")).json["problem"]
    file.unlink()
    file.mkdir()
    site.page.parts.forget()
    board = (await site.see("/board")).text
    assert "Promotions are not known: " in board and "None." not in board


# Trends


def measured(*values: float) -> Measured:
    """Say that the gains of two amplifiers of a detector were measured, and the noise of one."""
    rows = [("C10", "gain", values[0]), ("C11", "gain", values[1]), ("C10", "noise", values[2])]
    return Measured(
        calib_type=CalibType.PTC,
        physical_filter="",
        attempt=1,
        values=tuple(
            Measurement(detector=4, amplifier=name, quantity=quantity, value=value, unit="electron")
            for name, quantity, value in rows
        ),
    )


def judged(verdict: Verdict) -> VerdictGiven:
    """Say what the verdict on the curves was."""
    return VerdictGiven(
        calib_type=CalibType.PTC, physical_filter="", attempt=1, verdict=verdict, job_id="", reason="", findings=()
    )


async def test_trends_by_detector_and_by_amplifier(site: Site) -> None:
    assert (await site.ask("/api/trends/PTC/-")).json["error"] == "No run has measured PTC yet."
    first = await with_facts(site, measured(1.5, 1.7, 6.0), judged(Verdict.PASSED))
    second = await with_facts(site, measured(1.6, math.nan, 6.5), judged(Verdict.FAILED))
    site.page.parts.forget()
    (product,) = [one for one in (await site.ask("/api/trends")).json["products"] if one["calib_type"] == "PTC"]
    assert (product["runs"], product["quantities"]) == (2, ["gain", "noise"])
    table = (await site.ask("/api/trends/PTC/-")).json
    gain = next(one for one in table["rows"] if one["quantity"] == "gain")
    assert gain["of"] == "R22_S11"
    assert [(one["run_id"], one["value"]) for one in gain["points"]] == [(second, 1.6), (first, 1.6)]
    table = (await site.ask("/api/trends/PTC/-/R22_S11")).json
    dead = next(one for one in table["rows"] if (one["quantity"], one["of"]) == ("gain", "C11"))
    assert [one["value"] for one in dead["points"]] == [None, 1.7]
    assert dead["latest"] is None and dead["median"] == 1.7
    page = (await site.see("/trends/PTC/-/R22_S11")).text
    assert "not measured" in page and page.count("<svg") == 3
    assert table["not_counting"] == {second: "FAILED"}
    assert f'<a href="../../../runs/{second}">{second}</a> (FAILED).' in page
    assert 'href="../../../style.css"' in page


# Remembering


async def test_who_asks_for_the_same_at_once_waits_for_one_answer() -> None:
    memory: Memory[int] = Memory(2, 60.0)
    asked: list[str] = []

    async def read(key: str) -> int:
        asked.append(key)
        await asyncio.sleep(0.01)
        if key == "bad":
            raise ValueError(key)
        return len(asked)

    assert await asyncio.gather(*(memory.get("a", lambda: read("a")) for _ in range(20))) == [1] * 20
    assert await memory.get("a", lambda: read("a")) == 1
    for _ in range(2):  # an error is not remembered
        with pytest.raises(ValueError, match="bad"):
            await memory.get("bad", lambda: read("bad"))
    assert asked == ["a", "bad", "bad"]
    await memory.get("b", lambda: read("b"))
    await memory.get("c", lambda: read("c"))
    assert len(memory) == 2
    await memory.get("a", lambda: read("a"))
    assert asked[-1] == "a", "the oldest was forgotten"
    await memory.close()


async def test_what_is_old_is_read_again() -> None:
    memory: Memory[int] = Memory(2, 0.0)
    numbers = iter(range(5))

    async def read() -> int:
        return next(numbers)

    assert [await memory.get("a", read) for _ in range(3)] == [0, 1, 2]
