# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command ``comcamcalib``: drive the CSC from a terminal; other files have the commands that need no CSC."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .cli_config import DEFAULT_SITE, ConfigDir, Override, Repo, Site, find_config
from .cli_decisions import accept, decertify, promote
from .cli_interface import interface_app
from .cli_report import report_app
from .cli_simulation import simulation_app
from .driving import drive
from .enums import RunState, StageState
from .errors import BadInputError
from .terminal import console, fail

__all__ = ["app"]


app = typer.Typer(
    help="Make a camera's calibrations: start, watch and stop runs; or try it with a simulated observatory.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(interface_app, name="interface")
for command in (accept, decertify, promote):
    app.command()(command)
app.add_typer(report_app)
app.add_typer(simulation_app)


@app.command()
def start(
    options: Annotated[
        Path | None, typer.Argument(help="YAML or JSON file with run options; - for standard input.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Reason, for the image headers.")] = "",
    program: Annotated[str, typer.Option(help="Program, for the image headers.")] = "",
    note: Annotated[str, typer.Option(help="Note, for the observing log.")] = "",
    watch: Annotated[bool, typer.Option(help="Watch the run until it has ended.")] = True,
) -> None:
    """Start a calibration run; without a file, with the configured defaults.

    The exit status is 0 only if the run was COMPLETED, or was accepted with --no-watch.
    """
    if not drive(_start(_read(options), reason, program, note, watch)):
        raise typer.Exit(1)


@app.command()
def resume(
    run_id: Annotated[str, typer.Argument(help="Run; the latest that was interrupted or failed if left out.")] = "",
    reason: Annotated[str, typer.Option(help="Why, for the record of the run.")] = "",
    watch: Annotated[bool, typer.Option(help="Watch the run until it has ended.")] = True,
) -> None:
    """Go on with a run that was interrupted, failed, or was aborted (which must be named).

    What has succeeded stays; what failed is done again. The exit status is 0 only if the run was COMPLETED, or goes on
    with --no-watch.
    """
    if not drive(_resume(run_id, reason, watch)):
        raise typer.Exit(1)


async def _resume(run_id: str, reason: str, watch: bool) -> bool:
    from .client import CalibrationClient
    from .watch import Watcher

    async with CalibrationClient() as client:
        watcher = Watcher(client, console)
        run_id, plan = await client.resume(run_id, reason)
        console.print(f"Run {run_id} goes on. {plan}.", markup=False)
        return not watch or await watcher.follow(run_id) is RunState.COMPLETED


def _read(options: Path | None) -> str:
    """Return the text of a file with run options; of standard input for ``-``."""
    from .options import read_options_file

    if options is None:
        return ""
    try:
        return sys.stdin.read() if str(options) == "-" else read_options_file(options)
    except BadInputError as error:
        raise fail(str(error)) from error
    except (OSError, ValueError) as error:
        raise fail(f"The run options can't be read from standard input: {error}") from error


async def _start(text: str, reason: str, program: str, note: str, watch: bool) -> bool:
    from .client import CalibrationClient
    from .watch import Watcher

    async with CalibrationClient() as client:
        watcher = Watcher(client, console)
        run_id = await client.start(text, reason, program, note)
        if not watch:
            console.print(f"Run {run_id} was accepted.")
            return True
        return await watcher.follow(run_id) is RunState.COMPLETED


@app.command()
def plan(
    options: Annotated[
        Path | None, typer.Argument(help="YAML or JSON file with run options; - for standard input.")
    ] = None,
    config_dir: ConfigDir = None,
    site: Site = DEFAULT_SITE,
    override: Override = "",
    repo: Repo = "",
    look: Annotated[bool, typer.Option(help="Look into the repository for what would be replaced.")] = True,
) -> None:
    """Print what a run with these options would do, without starting it and without a CSC.

    It reads the configuration files as the CSC does. The repository is only read. The exit status is 1 if the options
    are wrong; then all mistakes are printed.
    """
    from .show_plan import make_plan, replacements_of, show_plan

    try:
        config = find_config(config_dir, site, override)
        planned = make_plan(_read(options), config)
    except BadInputError as error:
        raise fail(str(error)) from error
    show_plan(planned, replacements_of(planned, repo or config.repo, look), console)


@app.command()
def watch() -> None:
    """Watch the open run until it has ended, or show how the latest one ended; exit status 0 only if COMPLETED."""
    if not drive(_watch()):
        raise typer.Exit(1)


async def _watch() -> bool:
    from .client import ENDED, CalibrationClient
    from .watch import Watcher

    async with CalibrationClient() as client:
        watcher = Watcher(client, console)
        summary = await client.status()
        if summary["runState"] in ENDED:
            _print_summary(summary)
            return bool(summary["runState"] == RunState.COMPLETED)
        return await watcher.follow(summary["runId"]) is RunState.COMPLETED


@app.command()
def status(
    run_id: Annotated[str, typer.Argument(help="Run; the open or latest one if left out.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print the state of a run and of its stages."""
    with contextlib.redirect_stdout(sys.stderr):  # salobj prints warnings to stdout; keep the JSON clean
        summary = drive(_status(run_id))
    if as_json:
        console.print_json(json.dumps(summary))
    else:
        _print_summary(summary)


def _print_summary(summary: dict[str, Any]) -> None:
    from .watch import without

    state = RunState(summary["runState"]).name
    # Each stage has its own sentence below.
    reason = without(summary["reason"], (stage["reason"] for stage in summary["stages"]))
    console.print(f"Run {summary['runId']} is {state}. {reason}".rstrip(), markup=False)
    console.print(f"{summary['imagesTaken']} of {summary['imagesExpected']} images taken.")
    for stage in summary["stages"]:
        job = f"job {stage['jobId']}" if stage["jobId"] else ""
        line = f"  {stage['stageName']:16}{StageState(stage['state']).name:10}{job}  {stage['reason']}"
        console.print(line.rstrip(), markup=False)


async def _status(run_id: str) -> dict[str, Any]:
    from .client import CalibrationClient

    async with CalibrationClient() as client:
        return await client.status(run_id)


@app.command()
def abort() -> None:
    """Stop the open run: no further exposure, its jobs aborted, nothing more certified."""
    drive(_abort())
    console.print("The run is being aborted; `comcamcalib watch` shows how it ends.")


async def _abort() -> None:
    from .client import CalibrationClient

    async with CalibrationClient() as client:
        await client.abort()


@app.command()
def enable(override: Override = "") -> None:
    """Bring the CSC to ENABLED."""
    drive(_enable(override))
    console.print("ComCamCalib is ENABLED.")


async def _enable(override: str) -> None:
    from .client import CalibrationClient

    async with CalibrationClient() as client:
        await client.enable(override)


if __name__ == "__main__":
    app()
