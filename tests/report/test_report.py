# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of a recorded run: what it says, also when nothing but the journal is left."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.enums import CalibType, RunState, StageState, Verdict
from lsst.ts.comcamcalib.findings import Finding, Outcome
from lsst.ts.comcamcalib.record import facts
from lsst.ts.comcamcalib.record.facts import Entry
from lsst.ts.comcamcalib.record.fold import fold
from lsst.ts.comcamcalib.report import data
from lsst.ts.comcamcalib.report.data import Document
from lsst.ts.comcamcalib.report.finding_groups import grouped
from lsst.ts.comcamcalib.report.page import render
from lsst.ts.comcamcalib.report.repository import Readings
from lsst.ts.comcamcalib.report.write import Ending, ReportError, make_document, make_report
from support.report import NOTHING

EVIL = '<script>alert("x")</script> & <b>bold</b>'
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Checker(HTMLParser):
    """Checks that every element is closed in its turn, and collects what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name == "href" and tag == "a"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def checked(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert not checker.open
    assert "script" not in checker.seen
    for target in checker.links:
        assert not target.startswith("#") or target[1:] in checker.ids, f"{target} leads nowhere"
    return checker


def page_of(entries: list[Entry], readings: Readings, ending: Ending | None = None) -> str:
    history = fold(entries)
    ending = ending or Ending(history.state, history.reason)
    return render(make_document(history, entries, readings, 1, ending), readings)


def added(entries: list[Entry], *more: facts.Fact) -> list[Entry]:
    last = entries[-1]
    return [*entries, *(Entry(last.seq + number, last.at + number, fact) for number, fact in enumerate(more, start=1))]


@pytest.fixture(scope="module")
def page(entries: list[Entry], readings: Readings) -> str:
    """The report of the recorded run; drawing takes a second."""
    return page_of(entries, readings)


def test_report_of_a_recorded_run_is_complete(page: str, entries: list[Entry]) -> None:
    checker = checked(page)
    text = " ".join(" ".join(checker.text).split())
    # Verdict first.
    history = fold(entries)
    assert text.index("COMPLETED") < text.index(history.reason) < text.index("What was run, by whom and why")
    for heading in (
        *("Timeline", "Verdicts and findings", "Focal plane", "Photon transfer curves", "Combined images and defects"),
        *("Drift against what was certified before", "Certifications", "How to use, and how to undo"),
        *("Exposures (", "Jobs (", "Options, configuration and software"),
    ):
        assert heading in text
    assert "op@console" in text
    path = re.findall(r"Critical path: (\S+(?: → \S+)*)\.", text)[0].split(" → ")
    assert path[0] == "BIAS.ACQUIRE" and set(path) <= set(history.stages), "stages, not labels of jobs"
    assert len(path) == len(set(path)) > 1
    for certification in history.certifications.values():
        assert all(one in text for one in certification.intent.dataset_ids)
    # Each figure says what it shows to those who can't see it.
    figures = re.findall(r'<svg role="img" aria-label="([^"]+)"', page)
    assert len(figures) == page.count("<svg") == 6 + 2 + 2 + 1
    assert "Read noise, median 7.5 electron; 32 of 48 amplifiers evaluated. Map and histogram." in figures
    assert "2 of 3 detectors have the combined image (bias); colours from -5 to 5: electron." in figures
    thumbnails = re.findall(r'<img src="data:image/png;base64,[^"]+" alt="([^"]+)"><figcaption>([^<]+)<', page)
    assert [words for _, words in thumbnails] == [
        "R22_S00, median 0 electron",
        "R22_S01, median 0 electron",
        "R22_S01",
    ]
    assert thumbnails[2][0] == "flat of R22_S01; colours from 0.95 to 1.05: response / median of the detector"
    assert re.search(r"Missing in this report", text) is None


def test_a_large_camera_has_mosaics_only(
    entries: list[Entry], readings: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.report.page.MAX_THUMBNAILS", 2)
    page = page_of(entries, readings)
    assert "<img" not in page and "2 of 3 detectors have the combined image (bias)" in page


def test_page_says_how_it_is_written_again_although_it_is_there(page: str, entries: list[Entry]) -> None:
    assert f"comcamcalib report {fold(entries).run_id} --again" in page


def test_page_loads_nothing_and_forbids_it(page: str) -> None:
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert not re.findall(r"<(?:script|link|iframe|object|embed)|@import", page)
    assert {one[:4] for one in re.findall(r'(?:xlink:href|src)="([^#][^"]*)"', page)} <= {"data"}
    assert "prefers-color-scheme: dark" in page and "@media print" in page
    assert "#010203" not in page and "currentColor" in page


def test_without_the_repository_everything_else_is_shown(entries: list[Entry]) -> None:
    nothing = dataclasses.replace(NOTHING, problems=("The repository /repo/x could not be opened: it is locked.",))
    page = page_of(entries, nothing)
    text = " ".join(checked(page).text)
    assert "Missing in this report: The repository /repo/x could not be opened: it is locked." in text
    assert text.count("not measured in this run.") == 6 - 1, "gains from flat pairs are in the journal"
    document = make_document(fold(entries), entries, nothing, 1, Ending(RunState.COMPLETED, ""))
    assert {one.key: one.evaluated for one in document.maps} == {
        **{"noise": 0, "level": 0, "dark_rate": 0, "turnoff": 0, "failures": 0},
        "gain": document.maps[3].evaluated,
    }
    assert {one.expected for one in document.maps} == {48}


def test_text_of_others_stays_text(entries: list[Entry], readings: Readings) -> None:
    verdict = facts.VerdictGiven(
        calib_type=CalibType.BIAS,
        physical_filter="",
        attempt=2,
        verdict=Verdict.FAILED,
        job_id="job-09",
        reason=EVIL,
        findings=(
            Finding("light", Outcome.FAILED, "LEVEL", 4, "C10", 1, 12.5, 5000.0, "electron", EVIL, "SATURATED"),
            Finding("completeness", Outcome.UNKNOWN, "statistics", detail="absent"),
        ),
        findings_dropped=7,
        left_out=(4,),
    )
    accepted = facts.VerdictAccepted(
        calib_type=CalibType.BIAS, physical_filter="", attempt=2, who="op@console", why=EVIL
    )
    decided = facts.Decision(what="abort", who=EVIL, why=EVIL)
    ended = facts.JobEnded(
        label="cpBias", attempt=1, job_id="job-01", phase="error", exit_code=1, message=EVIL, ended_s=1.8e9
    )
    page = page_of(added(entries, verdict, accepted, decided, ended), readings, Ending(RunState.FAILED, EVIL))
    checker = checked(page)
    assert "<b>bold" not in page
    assert sum(EVIL in one for one in checker.text) >= 7
    text = " ".join(checker.text)
    assert "ACCEPTED_BY_OPERATOR" in text and "Accepted by op@console:" in text
    assert "Left out:" in text
    assert "light (SATURATED)" in text
    assert "and 7 more only in the statistics" in text


def test_run_that_is_about_to_end_is_shown_as_ended(entries: list[Entry]) -> None:
    begun = [one for one in entries if one.seq < 40]
    page = page_of(begun, NOTHING, Ending(RunState.ABORTED, "Aborted by op@console. Job job-01 still runs"))
    text = " ".join(" ".join(checked(page).text).split())
    assert "ABORTED" in text[:200] and "Job job-01 still runs" in text
    assert "Not certified by this run." in text or "It was not made." in text


def test_every_beginning_of_a_run_has_a_report(
    entries: list[Entry], readings: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("draw_map", "draw_curves", "draw_images", "draw_defects"):
        monkeypatch.setattr(f"lsst.ts.comcamcalib.report.page.{name}", lambda *_: "<svg></svg>")
    for end in range(1, len(entries), 7):
        checked(page_of(entries[:end], readings))


def test_figure_that_can_not_be_drawn_costs_only_itself(
    entries: list[Entry], readings: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise ZeroDivisionError("the median is <0>")

    for name in ("draw_map", "draw_images", "draw_defects"):
        monkeypatch.setattr(f"lsst.ts.comcamcalib.report.page.{name}", broken)
    page = page_of(entries, readings)
    text = " ".join(checked(page).text)
    assert "This figure could not be drawn: ZeroDivisionError: the median is <0>" in text
    assert page.count("<svg") == 2, "the curves are there"


def test_run_that_failed_names_what_failed_and_what_was_skipped(entries: list[Entry]) -> None:
    begun = entries[:1]
    failed = facts.StageMoved(stage_name="BIAS.GENERATE", attempt=1, state=StageState.FAILED, reason="no disk space")
    skipped = facts.StageMoved(
        stage_name="BIAS.VERIFY", attempt=1, state=StageState.SKIPPED, reason="BIAS.GENERATE, which it needs, is FAILED"
    )
    text = " ".join(checked(page_of(added(begun, failed, skipped), NOTHING)).text)
    assert "no disk space" in text and "BIAS.GENERATE, which it needs, is FAILED" in text


def test_json_is_the_document_with_null_for_what_was_not_measured(
    entries: list[Entry], readings: Readings, tmp_path: Path
) -> None:
    document = make_document(fold(entries), entries, readings, 3, Ending(RunState.COMPLETED, "good"))
    text = document.model_dump_json()
    assert "NaN" not in text and "Infinity" not in text
    assert Document.model_validate_json(text) == document
    read = json.loads(text)
    assert (read["format"], read["version"], read["attempt"]) == ("ComCamCalib report", 1, 3)
    assert read["curves"][1]["gain"]["C13"] is None
    assert read["maps"][0]["values"]["4"]["C10"] is None, "of detector 4 nothing was measured"
    assert read["software"]["pipelines: cp_pipe"] == "g1234"
    assert read["options"]["script_mode"] == "BIAS_DARK_FLAT"


def test_files_are_written_beside_the_journal_and_replaced(entries: list[Entry], tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "reports"
    for attempt in (1, 2):
        files, problems = make_report(entries, directory, attempt=attempt, repo=str(tmp_path / "nowhere"))
    run_id = fold(entries).run_id
    assert [one.name for one in files] == [f"ComCamCalib-{run_id}.html", f"ComCamCalib-{run_id}.json"]
    assert sorted(one.name for one in directory.iterdir()) == sorted(one.name for one in files)
    assert json.loads(files[1].read_text())["attempt"] == 2
    assert len(problems) == 1 and "could not be opened, so there are no pictures" in problems[0]


def test_directory_that_can_not_be_written_is_named(entries: list[Entry], tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(ReportError, match=r"The directory of reports .*reports can't be written \(File exists\)"):
        make_report(entries, tmp_path / "reports")


def test_program_writes_and_says_where(journal: Path, entries: list[Entry], tmp_path: Path) -> None:
    run_id = fold(entries).run_id
    arguments = [run_id, "--journal", str(journal), "--directory", str(tmp_path / "r"), "--repo", str(tmp_path / "no")]
    done = run_program(*arguments, "--state", "ABORTED", "--reason", "Aborted by op")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    document = Document.model_validate_json(Path(answer["files"][1]).read_text())
    assert (document.run.state, document.run.reason) == ("ABORTED", "Aborted by op")
    assert answer["remarks"] == list(document.problems)


@pytest.mark.parametrize(
    ("run_id", "file", "sentence"),
    [
        ("20010101-001", "journal.sqlite", "There is no run 20010101-001 in the journal "),
        ("20010101-001", "nothing.sqlite", "There is no journal"),
        ("20010101-001", "text", "can't be read"),
    ],
)
def test_program_that_finds_no_run_says_so(
    journal: Path, tmp_path: Path, run_id: str, file: str, sentence: str
) -> None:
    (tmp_path / "text").write_text("no database at all, but long enough to be looked at" * 20)
    path = journal if file == journal.name else tmp_path / file
    done = run_program(run_id, "--journal", str(path), "--directory", str(tmp_path / "r"))
    assert done.returncode == 1
    assert sentence in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def run_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lsst.ts.comcamcalib.report", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_findings_of_a_kind_are_one_row() -> None:
    lamp = [
        data.FindingRow(
            **{"rule": "light", "outcome": "FAILED", "quantity": "LEVEL", "unit": "electron", "amplifier": ""},
            **{"detector": f"R22_S0{detector}", "exposure": exposure, "value": 1480.0 + exposure, "limit": 5000.0},
            detail="",
        )
        for detector in range(3)
        for exposure in range(1, 7)
    ]
    absent = lamp[0].model_copy(
        update={"outcome": "UNKNOWN", "exposure": None, "value": None, "limit": None, "detail": "no file"}
    )
    saturated = lamp[0].model_copy(update={"kind": "SATURATED"})
    light, unknown, other = grouped([*lamp, absent, absent, saturated])
    assert (other.count, other.kind, light.kind) == (1, "SATURATED", "")
    assert (light.count, light.where) == (18, "R22_S00, R22_S01, R22_S02; 6 exposures")
    assert (light.values, light.limits) == ((1481.0, 1486.0), (5000.0, 5000.0))
    assert (unknown.count, unknown.values, unknown.details) == (2, None, ("no file",))
