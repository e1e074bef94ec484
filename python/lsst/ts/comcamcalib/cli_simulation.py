# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands ``comcamcalib observatory``, ``scenarios`` and ``demo``: the CSC's world, simulated."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from .driving import run
from .terminal import console

__all__ = ["simulation_app"]

simulation_app = typer.Typer()


class Registry(enum.StrEnum):
    """What a simulated Butler repository can have its registry in."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


@simulation_app.command()
def observatory(
    speed: Annotated[
        float, typer.Option(min=0.1, help="Factor by which exposures and readout are faster than real ones.")
    ] = 10.0,
    scenario: Annotated[list[str] | None, typer.Option(help="Fault to simulate; may be repeated.")] = None,
    repo: Annotated[Path, typer.Option(help="Butler repository; made if there is none.")] = Path("demo-data/repo"),
    registry: Annotated[
        Registry | None,
        typer.Option(
            help="What the repository has its registry in; SQLite for a new one if left out. For postgresql a server "
            "runs beside the repository, which needs the package's extra postgres."
        ),
    ] = None,
    replay: Annotated[
        bool, typer.Option(help="Put recorded products into the repository instead of running pipelines.")
    ] = False,
    certified: Annotated[
        bool,
        typer.Option(
            help="Make a new repository with bias, dark, flat and defects of an earlier day, certified in "
            "LSSTComCam/calib/daily: a run has something to be compared with."
        ),
    ] = False,
    env_file: Annotated[Path | None, typer.Option(help="Where to write the environment that clients need.")] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART",
            help="A part that does not run, so that a real one can take its place; may be given again: CCCamera, "
            "CCHeaderService, CCOODS, OCPS, UWS, broker, registry.",
        ),
    ] = None,
    enable_ocps: Annotated[
        bool, typer.Option(help="Enable the OCPS, which the procedure asks of the operator before a run.")
    ] = True,
) -> None:
    """Run the simulated observatory until Ctrl-C: broker, camera, OODS, OCPS, UWS, pipelines, Butler repository.

    Without its own UWS, broker or registry it uses those that COMCAMCALIB_UWS_URL, LSST_KAFKA_BROKER_ADDR and
    LSST_SCHEMA_REGISTRY_URL name; the broker's topics must exist or be made on demand.
    """
    from .simulation.program import run_observatory

    run(
        run_observatory(
            speed=speed,
            scenarios=scenario or [],
            repo=repo,
            registry=registry or "",
            replay=replay,
            env_file=env_file,
            without=without or [],
            enable_ocps=enable_ocps,
            certified=certified,
        )
    )


@simulation_app.command()
def scenarios() -> None:
    """List the scenarios (faults) of the simulated observatory."""
    from .simulation.scenarios import SCENARIOS

    for name, faults in SCENARIOS.items():
        effects = ", ".join(
            f"{fault.place}: {fault.effect} {fault.value or ''} {dict(fault.match)}".replace("  ", " ")
            for fault in faults
        )
        console.print(f"{name:30}{effects}", markup=False)


@simulation_app.command()
def demo(
    data: Annotated[Path, typer.Option(help="Where everything goes; an earlier demo's is replaced.")] = Path(
        "demo-data"
    ),
    options: Annotated[
        Path | None, typer.Option(help="Run options; the written procedure's example if left out.")
    ] = None,
    speed: Annotated[
        float, typer.Option(min=0.1, help="Factor by which exposures and readout are faster than real ones.")
    ] = 10.0,
    scenario: Annotated[list[str] | None, typer.Option(help="Fault to simulate; may be repeated.")] = None,
    registry: Annotated[
        Registry,
        typer.Option(
            help="What the Butler repository has its registry in; postgresql, as on the summit, needs the package's "
            "extra postgres."
        ),
    ] = Registry.SQLITE,
) -> None:
    """Make calibrations with a simulated observatory, and show the result.

    The exit status is 0 only if everything was certified and can be read.
    """
    from .demo import run_demo

    if not run(run_demo(data, options, speed, scenario or [], console, registry)):
        raise typer.Exit(1)
