# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The demonstration: a whole run on the simulated observatory, from nothing to certified calibrations.

Observatory and CSC are processes of their own, as in reality; this one is the operator.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from lsst.ts import salobj
from rich.console import Console
from rich.table import Table

from .client import CalibrationClient
from .enums import RunState
from .options import read_options_file
from .simulation.ocps import OCPS_INDEX
from .watch import Watcher

__all__ = ["run_demo"]

START_LIMIT_S = 120.0
STOP_LIMIT_S = 20.0
ENABLE_LIMIT_S = 30.0

MARKER = "This folder was made by `comcamcalib demo`, and is replaced by the next one.\n"

EXAMPLE = Path(__file__).parents[4] / "config" / "examples" / "procedure.yaml"

OBSERVATORY_PROGRAM = "from lsst.ts.comcamcalib.cli import app; app()"
CSC_PROGRAM = "from lsst.ts.comcamcalib.csc import run_comcamcalib; run_comcamcalib()"

# In the order of the procedure's look-ups.
PRODUCTS = {"BIAS": "bias", "DARK": "dark", "FLAT": "flat", "DEFECTS": "defects", "PTC": "ptc"}


async def run_demo(
    data: Path,
    options: Path | None,
    speed: float,
    scenarios: Sequence[str],
    console: Console,
    registry: str = "sqlite",
) -> bool:
    """Run the demonstration.

    Parameters
    ----------
    data
        Folder for everything that is made; that of an earlier demonstration is replaced.
    options
        File with the run options; None for the written procedure's example.
    speed
        How much faster than real exposures and readout are.
    scenarios
        Names of what is to go wrong.
    console
        Where to print.
    registry
        What the repository has its registry in, "sqlite" or "postgresql".

    Returns
    -------
    good
        Whether the run was COMPLETED and all products can be read from the collection.

    Raises
    ------
    BadInputError
        If the options can't be read.
    RuntimeError
        If a process does not start, or the folder can't be made or was not made by a demonstration.
    """
    # SIGTERM ends the other processes in order, too; without this they would go on for ever.
    operator = asyncio.current_task()
    assert operator is not None, "Bug: not in a task"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, operator.cancel)
    text = read_options_file(options or EXAMPLE)
    data = data.absolute()
    try:
        _prepare(data)
    except OSError as error:
        raise RuntimeError(f"{data} can't be used ({error.strerror}); name another folder with --data") from error
    environment_file = data / "environment.sh"
    arguments = ["observatory", "--speed", f"{speed:g}", "--repo", str(data / "repo")]
    arguments += ["--env-file", str(environment_file), "--no-enable-ocps", "--registry", registry]
    for name in scenarios:
        arguments += ["--scenario", name]
    console.print(f"Starting the simulated observatory; its data go to {data} …", markup=False)
    async with _process(OBSERVATORY_PROGRAM, arguments, data / "observatory.log") as observatory:
        os.environ.update(await _environment(environment_file, observatory, data / "observatory.log"))
        console.print("The observatory is ready. Enabling the OCPS, as the procedure says …")
        await _enable_ocps()
        console.print("Starting the CSC …")
        async with _process(CSC_PROGRAM, [], data / "csc.log") as csc:
            outcome = await _operate(text, csc, data / "csc.log", console)
        console.print()
        # A registry on PostgreSQL can be read only as long as its server runs, which the observatory ends.
        complete = await asyncio.to_thread(_show_results, data / "repo", outcome, console)
    _say_what_next(data, outcome.run_id, registry, console)
    console.print(f"The report of the run: {outcome.report or 'there is none; csc.log says why'}", markup=False)
    return complete and bool(outcome.report) and outcome.state is RunState.COMPLETED


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How the run ended, what it was to certify for which detectors where, and where its report is."""

    state: RunState
    run_id: str
    collection: str
    detectors: tuple[int, ...]
    products: tuple[str, ...]
    report: str
    """Where the page of its report is; "" if there is none."""


async def _enable_ocps() -> None:
    """Bring the OCPS to ENABLED; it starts in STANDBY."""
    async with (
        salobj.Domain() as domain,
        salobj.Remote(domain, "OCPS", index=OCPS_INDEX, include=["summaryState"]) as ocps,
    ):
        await salobj.set_summary_state(ocps, salobj.State.ENABLED, timeout=ENABLE_LIMIT_S)


async def _operate(text: str, csc: asyncio.subprocess.Process, log: Path, console: Console) -> Outcome:
    """Do what an operator does: enable the CSC, start the run, watch it."""
    async with CalibrationClient() as client:
        enabling = asyncio.create_task(client.enable(), name="enable the CSC")
        ended = asyncio.create_task(csc.wait(), name="the CSC's process")
        await asyncio.wait([enabling, ended], return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            enabling.cancel()
            await asyncio.gather(enabling, return_exceptions=True)
            raise RuntimeError(f"The CSC ended at once; {log} says:\n{_tail(log)}")
        ended.cancel()
        await enabling
        console.print("ComCamCalib is ENABLED. Starting a run with these options:")
        console.print(text.rstrip(), style="dim", markup=False)
        watcher = Watcher(client, console)
        run_id = await client.start(text, reason="demonstration", program="ComCamCalib")
        state = await watcher.follow(run_id)
        stages = [stage["stageName"].partition(".") for stage in (await client.status(run_id))["stages"]]
        options = json.loads(client.remote.evt_runConfiguration.get().config)
        return Outcome(
            state=state,
            run_id=run_id,
            collection=options["calib_collection"],
            detectors=tuple(options["detectors"]),
            products=tuple(PRODUCTS[kind] for kind, _, work in stages if work == "CERTIFY"),
            report=await client.report(run_id),
        )


def _prepare(data: Path) -> None:
    """Make an empty folder for the demonstration."""
    marker = data / "README"
    if data.exists() and any(data.iterdir()):
        if not marker.exists() or marker.read_text() != MARKER:
            raise RuntimeError(f"{data} was not made by a demonstration; name another folder with --data")
        shutil.rmtree(data)
    data.mkdir(parents=True, exist_ok=True)
    marker.write_text(MARKER)


@contextlib.asynccontextmanager
async def _process(program: str, arguments: list[str], log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program in this Python, with its output in a file; stop it at the end."""
    with log.open("wb") as stream:
        # In a session of its own, so that Ctrl-C reaches only this process, which then stops the others in order.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, *arguments, stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            try:
                async with asyncio.timeout(STOP_LIMIT_S):
                    await process.wait()
            except TimeoutError:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


async def _environment(file: Path, observatory: asyncio.subprocess.Process, log: Path) -> dict[str, str]:
    """Wait until the observatory has written what clients need, and read it."""
    for _ in range(int(START_LIMIT_S / 0.1)):
        if file.exists():
            lines = [
                line.removeprefix("export ").partition("=") for line in file.read_text().splitlines() if "=" in line
            ]
            return {name: value.strip("'\"") for name, _, value in lines}
        if observatory.returncode is not None:
            raise RuntimeError(f"The observatory ended at once; {log} says:\n{_tail(log)}")
        await asyncio.sleep(0.1)
    raise RuntimeError(f"The observatory was not ready within {START_LIMIT_S:g} s; {log} says:\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def _show_results(repo: Path, outcome: Outcome, console: Console) -> bool:
    """Print what is certified, and what the procedure's look-ups return; return whether all of it is there."""
    from lsst.daf.butler import Butler

    butler = Butler.from_config(str(repo), writeable=False)
    certified: dict[tuple[str, str], set[int]] = {}
    for product in outcome.products:
        try:
            associations = list(butler.registry.queryDatasetAssociations(product, collections=outcome.collection))
        except Exception as error:
            console.print(f"{product}: {error}", markup=False, style="red")
            continue
        for one in associations:
            key = (product, str(one.timespan))
            certified.setdefault(key, set()).add(int(one.ref.dataId["detector"]))
    table = Table(title=f"Certified in {outcome.collection}", title_justify="left")
    for heading in ("type", "detectors", "validity (TAI)"):
        table.add_column(heading)
    for (product, validity), ids in certified.items():
        table.add_row(product, " ".join(str(detector) for detector in sorted(ids)), validity)
    console.print(table)
    complete = {product for (product, _), ids in certified.items() if ids >= set(outcome.detectors)}
    missing = [product for product in outcome.products if product not in complete]
    if missing:
        console.print(f"Not certified for all detectors: {', '.join(missing)}", style="red")
    exposures = _exposures(butler)
    detector = outcome.detectors[0]
    console.print(f"What the procedure's look-ups return for detector {detector}:")
    read = [_look_up(butler, product, detector, exposures, outcome, console) for product in outcome.products]
    return bool(outcome.products) and not missing and all(read)


def _exposures(butler: Any) -> dict[str, int]:
    """Return the last exposure of each type that the repository has."""
    records = butler.registry.queryDimensionRecords("exposure", instrument="LSSTComCam")
    return {record.observation_type: record.id for record in sorted(records, key=lambda record: record.id)}


def _look_up(
    butler: Any, product: str, detector: int, exposures: dict[str, int], outcome: Outcome, console: Console
) -> bool:
    # A flat is looked up by the filter of its exposure, so a bias exposure won't do for it.
    exposure = exposures.get("flat" if product == "flat" else "bias", max(exposures.values(), default=0))
    call = f"butler.get({product!r}, detector={detector}, exposure={exposure}, instrument='LSSTComCam')"
    try:
        found = butler.get(
            product, detector=detector, exposure=exposure, instrument="LSSTComCam", collections=outcome.collection
        )
    except Exception as error:
        console.print(f"  {call}\n    {type(error).__name__}: {error}", markup=False, style="red")
        return False
    console.print(f"  {call}\n    {found!r}", markup=False)
    return True


def _say_what_next(data: Path, run_id: str, registry: str, console: Console) -> None:
    today = datetime.date.today().isoformat()
    on_server = registry == "postgresql"
    inspect = f"butler query-collections {data / 'repo'}"
    when = "while the observatory runs, after source environment.sh" if on_server else "try"
    more = f"\n  postgresql/        the repository's registry; {data / 'postgresql' / 'pgpass'} has its password"
    console.print(
        f"""
What was made stays in {data} ({today}):
  repo/              the Butler repository; {when}: {inspect}{more if on_server else ""}
  csc.log            what the CSC logged; observatory.log: the simulated observatory
  uws/               the jobs, each with its ocps.log
  journal.sqlite3    the CSC's journal, with run {run_id}
To go on with this repository: comcamcalib observatory --repo {data / "repo"}
then, in another terminal: source {data / "environment.sh"}; run_comcamcalib --state enabled
and in a third: source {data / "environment.sh"}; comcamcalib start config/examples/procedure.yaml
All commands are in .venv/bin; each has --help.""",
        markup=False,
    )
