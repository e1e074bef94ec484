# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands ``comcamcalib runs``, ``report`` and ``trend``: what the journal has, without a CSC."""

from __future__ import annotations

import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from .cli_config import DEFAULT_SITE, ConfigDir, JournalFile, Override, Site, find_config
from .enums import StageKind
from .errors import BadInputError, ServiceError
from .terminal import console, fail, problems

if TYPE_CHECKING:
    from .config import CscConfig
    from .record.history import History

__all__ = ["report_app"]

report_app = typer.Typer()


@report_app.command()
def runs(
    last: Annotated[int, typer.Option(min=1, help="How many runs, the latest first.")] = 20,
    journal: JournalFile = None,
    config_dir: ConfigDir = None,
    site: Site = DEFAULT_SITE,
    override: Override = "",
) -> None:
    """List the runs in the journal: how they ended, the verdicts, and where the reports are.

    The journal is only read, also while the CSC writes it.
    """
    from .run.owner import JournalError
    from .run.reading import list_runs

    path = journal or Path(_config(config_dir, site, override, "--journal").journal_path)
    try:
        found = list_runs(path)
    except JournalError as error:
        raise fail(f"{error}.") from error
    if not found:
        console.print(f"The journal {path} has no run.", markup=False)
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("run", "state", "mode", "began (UTC)", "verdicts", "report"):
        table.add_column(heading)
    for one in found[:last]:
        try:
            table.add_row(one.run_id, *_row(_history(path, one.run_id)))
        except (JournalError, ValueError) as error:
            table.add_row(one.run_id, one.state.name if one.state is not None else "?", "", "", str(error), "")
    # One line for each run, however narrow the terminal is: an address in pieces can be neither copied nor opened.
    needed = console.measure(table, options=console.options.update(width=10_000)).maximum
    Console(width=max(console.width, needed), highlight=False).print(table)
    if len(found) > last:
        console.print(f"{len(found) - last} earlier runs are not shown; --last {len(found)} shows all.")


def _row(history: History) -> tuple[str, ...]:
    from .clock import iso_utc

    verdicts = [
        f"{one.calib_type.name} {one.verdict.name}{' (withdrawn)' if history.withdrawn(one.calib_type) else ''}"
        for one in history.verdicts.values()
    ]
    return (
        history.state.name,
        history.plan.options.script_mode.value,
        iso_utc(history.started_s or history.accepted_s),
        ", ".join(verdicts) or "none",
        _page(history) or _no_report(history),
    )


def _page(history: History) -> str:
    """Return where the page of a run's report is; "" if none is written."""
    files = history.report.files if history.report is not None else ()
    return next((one.url for one in files if one.mime_type == "text/html"), "")


def _no_report(history: History) -> str:
    stage = next((one for one in history.stages.values() if one.kind is StageKind.REPORT), None)
    return "none" if stage is None else f"none: {stage.state.name} {stage.reason}".rstrip()


@report_app.command()
def report(
    run_id: Annotated[str, typer.Argument(help="Run; the latest in the journal if left out.")] = "",
    again: Annotated[bool, typer.Option(help="Write it, also if there is one.")] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    directory: Annotated[
        Path | None, typer.Option(help="Where to write it; the configured directory of reports if left out.")
    ] = None,
    repo: Annotated[
        str, typer.Option(help="Where this machine finds the Butler repository; the run's own place if left out.")
    ] = "",
    journal: JournalFile = None,
    config_dir: ConfigDir = None,
    site: Site = DEFAULT_SITE,
    override: Override = "",
) -> None:
    """Print where the report of a run is, and write it if there is none.

    Journal and repository are only read. With --journal and --directory no configuration is needed, so that a report
    can be made anywhere from a copy of the journal; without the repository it has no pictures.
    """
    from .run.owner import JournalError
    from .run.reading import list_runs

    path = journal or Path(_config(config_dir, site, override, "--journal").journal_path)
    try:
        run_id = run_id or next((one.run_id for one in list_runs(path)), "")
        if not run_id:
            raise fail(f"The journal {path} has no run.")
        history = _history(path, run_id)
    except (JournalError, ValueError) as error:
        raise fail(f"{error}.") from error
    url = "" if again or directory is not None else _existing(history)
    if not url and history.open and directory is None:  # it would be in the way of the CSC's own
        raise fail(
            f"Run {run_id} is {history.state.name}, and the CSC writes its report when it has ended; "
            "--directory names another place for a report of what there is so far."
        )
    if not url:
        url = _write(path, run_id, directory or _directory(config_dir, site, override), repo)
    console.print(url, markup=False)
    if show:
        typer.launch(url)


def _existing(history: History) -> str:
    """Return where a report is that was written before; "" if its file is not there."""
    url = _page(history)
    parts = urllib.parse.urlsplit(url)
    gone = parts.scheme == "file" and not Path(urllib.parse.unquote(parts.path)).is_file()
    return "" if gone else url


def _write(journal: Path, run_id: str, directory: Path, repo: str) -> str:
    from .report.write import ReportError, make_report
    from .run.owner import JournalError
    from .run.reading import read_entries

    problems.print(f"Writing the report of run {run_id} …", markup=False)
    try:
        files, missing = make_report(read_entries(journal, run_id), directory, repo=repo)
    except (ReportError, JournalError) as error:
        raise fail(f"{error}.") from error
    for sentence in missing:
        problems.print(sentence, markup=False, style="yellow")
    return files[0].absolute().as_uri()


def _history(path: Path, run_id: str) -> History:
    from .record.fold import fold
    from .run.reading import read_entries

    return fold(read_entries(path, run_id))


@report_app.command()
def trend(
    product: Annotated[
        str, typer.Argument(metavar="TYPE", help="BIAS, DARK, FLAT, DEFECTS, PTC or GAIN; what there is if left out.")
    ] = "",
    quantity: Annotated[str, typer.Argument(help="Measured quantity, such as gain; all if left out.")] = "",
    detector: Annotated[
        str,
        typer.Option(
            help="Name or id of a detector, of which each amplifier is shown; all detectors if left out. Needs TYPE."
        ),
    ] = "",
    runs: Annotated[int, typer.Option(min=1, max=1000, help="Number of runs, the latest first.")] = 30,
    journal: JournalFile = None,
    config_dir: ConfigDir = None,
    site: Site = DEFAULT_SITE,
    override: Override = "",
) -> None:
    """Print what the latest runs measured: latest value, median and robust spread.

    It reads the CSC's journal, also while the CSC writes it, and so must run where that file is. With --journal no
    configuration is needed.
    """
    from .show_trend import show_trend

    path = journal or Path(_config(config_dir, site, override, "--journal").journal_path)
    try:
        show_trend(path, product, quantity, detector, runs, console)
    except (BadInputError, ServiceError) as error:
        raise fail(str(error)) from error


def _directory(config_dir: Path | None, site: str, override: str) -> Path:
    directory = _config(config_dir, site, override, "--directory").report.directory
    if not directory:
        raise fail("The configuration has no place for reports (report.directory is empty); name one with --directory.")
    return Path(directory)


def _config(config_dir: Path | None, site: str, override: str, instead: str) -> CscConfig:
    try:
        return find_config(config_dir, site, override)
    except BadInputError as error:
        raise fail(f"{error}\nOr name the place with {instead}.") from error
