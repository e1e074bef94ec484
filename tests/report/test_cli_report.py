# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands ``comcamcalib runs`` and ``comcamcalib report``, on a recorded journal."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
import typer
from lsst.ts.comcamcalib.cli import app
from lsst.ts.comcamcalib.record.facts import Entry, ReportFile, ReportWritten, fact_to_json
from lsst.ts.comcamcalib.record.fold import fold
from lsst.ts.comcamcalib.terminal import console
from typer.testing import CliRunner, Result

JOURNALS = Path(__file__).parents[1] / "data" / "journals"
CONFIG = Path(__file__).parents[2] / "config" / "ComCamCalib" / "v1"


def comcamcalib(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(app, [str(one) for one in arguments], env={"TS_CONFIG_OCS_DIR": ""})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tables be as wide as these tests expect, not as the terminal is that runs them."""
    monkeypatch.setattr(console, "_width", 250)


@pytest.fixture
def run_id(entries: list[Entry]) -> str:
    return fold(entries).run_id


def test_runs_are_listed_with_state_verdicts_and_report(journal: Path, run_id: str) -> None:
    result = comcamcalib("runs", "--journal", journal)
    assert result.exit_code == 0
    line = next(line for line in result.output.splitlines() if line.startswith(run_id))
    assert "COMPLETED" in line and "BIAS_DARK_FLAT" in line and "BIAS PASSED" in line


def test_damaged_run_is_named_and_the_others_are_listed(journal: Path, run_id: str, tmp_path: Path) -> None:
    copy = tmp_path / "journal.sqlite"
    shutil.copyfile(journal, copy)
    with sqlite3.connect(copy) as connection:
        connection.execute("INSERT INTO runs (run_id, state) VALUES ('20261123-001', 5)")
        connection.execute("INSERT INTO facts VALUES ('20261123-001', 1, 1.8e9, 'run_accepted', '{}')")
        connection.execute("INSERT INTO runs (run_id, state) VALUES ('20261123-002', 99)")
    connection.close()
    output = comcamcalib("runs", "--journal", copy).output
    assert "20261123-001  FAILED" in output and "can't be understood" in output
    assert "20261123-002  ?" in output
    assert "BIAS PASSED" in next(line for line in output.splitlines() if line.startswith(run_id))
    assert (
        "2 earlier runs are not shown; --last 3 shows all."
        in comcamcalib("runs", "--journal", copy, "--last", "1").output
    )


def test_each_run_has_one_line_in_a_narrow_terminal(
    journal: Path, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = comcamcalib("runs", "--journal", journal).output
    monkeypatch.setattr(console, "_width", 40)
    narrow = comcamcalib("runs", "--journal", journal).output
    assert [line.split() for line in narrow.splitlines()] == [line.split() for line in wide.splitlines()]
    assert run_id in wide


def test_product_that_was_withdrawn_is_marked(tmp_path: Path) -> None:
    journal = tmp_path / "journal.sqlite"
    with sqlite3.connect(journal) as connection:
        connection.executescript((JOURNALS / "decisions.sql").read_text())
    connection.close()
    lines = comcamcalib("runs", "--journal", journal).output.splitlines()
    withdrawn = [line.split()[0] for line in lines if "(withdrawn)" in line]
    assert withdrawn == ["20261126-002"]


def test_journal_without_runs_is_said(journal: Path, tmp_path: Path) -> None:
    copy = tmp_path / "journal.sqlite"
    shutil.copyfile(journal, copy)
    with sqlite3.connect(copy) as connection:
        connection.execute("DELETE FROM facts")
        connection.execute("DELETE FROM runs")
    connection.close()
    assert comcamcalib("runs", "--journal", copy).output.strip() == f"The journal {copy} has no run."


def test_report_of_an_open_run_is_left_to_the_csc(journal: Path, run_id: str, tmp_path: Path) -> None:
    copy = tmp_path / "journal.sqlite"
    shutil.copyfile(journal, copy)
    with sqlite3.connect(copy) as connection:
        (end,) = connection.execute("SELECT max(seq) FROM facts WHERE kind = 'run_moved'").fetchone()
        connection.execute("DELETE FROM facts WHERE seq >= ?", (end,))
    connection.close()
    result = comcamcalib("report", "--again", "--journal", copy, "--config-dir", CONFIG, "--site", "test")
    assert result.exit_code == 1
    assert f"Run {run_id} is RUNNING, and the CSC writes its report when it has ended" in result.output
    comcamcalib("report", "--journal", copy, "--directory", tmp_path, "--repo", tmp_path / "nowhere")
    assert json.loads((tmp_path / f"ComCamCalib-{run_id}.json").read_text())["run"]["state"] == "RUNNING"


def test_report_is_written_from_a_copy_of_the_journal(journal: Path, run_id: str, tmp_path: Path) -> None:
    places = ("--journal", journal, "--directory", tmp_path, "--repo", tmp_path / "nowhere")
    result = comcamcalib("report", *places)
    page = tmp_path / f"ComCamCalib-{run_id}.html"
    assert result.exit_code == 0
    assert result.stdout.strip().splitlines()[-1] == page.as_uri()
    assert "could not be opened, so there are no pictures" in result.output
    assert json.loads(page.with_suffix(".json").read_text())["run"]["state"] == "COMPLETED"


def test_report_opens_in_a_browser(journal: Path, run_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(typer, "launch", opened.append)
    comcamcalib("report", run_id, "--open", "--journal", journal, "--directory", tmp_path, "--repo", tmp_path / "no")
    assert opened == [(tmp_path / f"ComCamCalib-{run_id}.html").as_uri()]


def test_override_file_says_where_journal_and_reports_are(journal: Path, run_id: str, tmp_path: Path) -> None:
    for name in ("_init.yaml", "_test.yaml"):
        shutil.copyfile(CONFIG / name, tmp_path / name)
    places = {"journal_path": str(journal), "report": {"directory": str(tmp_path / "r"), "s3_instance": ""}}
    (tmp_path / "mine.yaml").write_text(json.dumps(places))
    config = ("--config-dir", tmp_path, "--site", "test", "--override", "mine.yaml")
    assert run_id in comcamcalib("runs", *config).output
    result = comcamcalib("report", "--repo", tmp_path / "nowhere", *config)
    assert result.stdout.strip().splitlines()[-1] == (tmp_path / "r" / f"ComCamCalib-{run_id}.html").as_uri()


def test_report_that_is_there_is_named_and_not_written_again(journal: Path, run_id: str, tmp_path: Path) -> None:
    page = tmp_path / "reports of 100 %" / f"ComCamCalib-{run_id}.html"
    copy = tmp_path / "journal.sqlite"
    shutil.copyfile(journal, copy)
    file = ReportFile(url=page.as_uri(), mime_type="text/html", byte_size=1, checksum="")
    with sqlite3.connect(copy) as connection:
        (seq,) = connection.execute("SELECT max(seq) FROM facts WHERE run_id = ?", (run_id,)).fetchone()
        body = fact_to_json(ReportWritten(attempt=1, files=(file,)))
        connection.execute("INSERT INTO facts VALUES (?, ?, 1.8e9, 'report_written', ?)", (run_id, seq + 1, body))
    connection.close()
    page.parent.mkdir()
    page.write_text("here")
    result = comcamcalib("report", run_id, "--journal", copy)
    assert (result.exit_code, result.output.strip()) == (0, page.as_uri())
    assert page.read_text() == "here"
    page.unlink()
    assert "Or name the place with --directory." in comcamcalib("report", run_id, "--journal", copy).output


def test_what_is_missing_is_said(journal: Path, run_id: str, tmp_path: Path) -> None:
    for arguments, sentence in (
        (
            ("report", "20010101-001", "--journal", journal),
            f"There is no run 20010101-001 in the journal {journal}; the latest is {run_id}, and",
        ),
        (("report", "--journal", tmp_path / "none"), "There is no journal"),
        (("runs", "--journal", tmp_path / "none"), "There is no journal"),
        (("runs",), "name its directory with --config-dir"),
        (("runs",), "Or name the place with --journal."),
        (("report", run_id, "--journal", journal), "Or name the place with --directory."),
        (
            ("report", run_id, "--journal", journal, "--config-dir", CONFIG, "--site", "test"),
            "report.directory is empty",
        ),
    ):
        result = comcamcalib(*arguments)
        assert result.exit_code == 1
        assert sentence in " ".join(result.output.split()), arguments
