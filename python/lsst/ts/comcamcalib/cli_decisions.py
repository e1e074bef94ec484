# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands ``comcamcalib accept``, ``decertify`` and ``promote``: what people decide about results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .calib_types import calib_type_named
from .cli_config import DEFAULT_SITE, ConfigDir, JournalFile, Override, Repo, Site, find_config
from .driving import drive
from .errors import BadInputError
from .terminal import console, fail

__all__ = ["accept", "decertify", "promote"]


def accept(
    run_id: Annotated[str, typer.Argument(help="Run, such as 20261122-001.")],
    calib_type: Annotated[str, typer.Argument(metavar="TYPE", help="Product: BIAS, DARK, FLAT, DEFECTS, PTC or GAIN.")],
    reason: Annotated[str, typer.Option(help="Why it is good enough; it is recorded and published.")],
    physical_filter: Annotated[str, typer.Option("--filter", help="Only flats in this filter; all if left out.")] = "",
    attempt: Annotated[
        int,
        typer.Option(
            min=0, help="Attempt of the verdict that you have seen; it is refused if another one stands by now."
        ),
    ] = 0,
) -> None:
    """Accept a FAILED or UNKNOWN verdict: the run goes on, and certifies the product."""
    _check(reason, calib_type)
    console.print(drive(_accept(run_id, calib_type, reason, physical_filter, attempt)), markup=False)


async def _accept(run_id: str, calib_type: str, reason: str, physical_filter: str, attempt: int) -> str:
    from .client import CalibrationClient

    async with CalibrationClient() as client:
        plan = await client.accept(run_id, calib_type, reason, physical_filter, attempt)
        return f"Run {run_id}: {plan}."


def decertify(
    run_id: Annotated[str, typer.Argument(help="Run, such as 20261122-001.")],
    reason: Annotated[str, typer.Option(help="Why; it is recorded and published.")],
    calib_type: Annotated[
        str, typer.Argument(metavar="TYPE", help="Product; all that the run certified if left out.")
    ] = "",
) -> None:
    """Withdraw what a run has certified, and put back what that had replaced: all or nothing."""
    _check(reason, *filter(None, [calib_type]))
    console.print(drive(_decertify(run_id, calib_type, reason)), markup=False)


async def _decertify(run_id: str, calib_type: str, reason: str) -> str:
    from .client import CalibrationClient

    async with CalibrationClient() as client:
        return f"Run {run_id}: {await client.decertify(run_id, calib_type or None, reason)}."


def _check(reason: str, *calib_types: str) -> None:
    """Check what a person has typed, before the CSC is looked for."""
    if not reason.strip():
        raise fail("--reason: say why; it is recorded with your name.")
    try:
        for name in calib_types:
            calib_type_named(name)
    except BadInputError as error:
        raise fail(str(error)) from error


def promote(
    run_id: Annotated[str, typer.Argument(help="Run, such as 20261122-001.")],
    to: Annotated[str, typer.Option(help="CALIBRATION collection to copy into; made if there is none.")],
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")],
    calib_types: Annotated[
        list[str] | None, typer.Argument(metavar="TYPE", help="Products; all that the run certified if left out.")
    ] = None,
    on_conflict: Annotated[
        str,
        typer.Option(help="What becomes of calibrations that are there: fail, or truncate (end where these begin)."),
    ] = "fail",
    by: Annotated[
        str, typer.Option(help="Who wants it, for the record; user and host of this process if left out.")
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do it; otherwise it is only shown what would be done.")] = False,
    config_dir: ConfigDir = None,
    site: Site = DEFAULT_SITE,
    override: Override = "",
    journal: JournalFile = None,
    repo: Repo = "",
) -> None:
    """Copy what a run has certified into another collection, with your name and reason.

    Without --yes nothing is changed. It needs no CSC, only the repository and the journal. In a container, where all
    have the same user, say who you are with --by.
    """
    from .errors import ServiceError
    from .promotion import Promotion, plan_promotion, promote_planned

    try:
        config = find_config(config_dir, site, override)
        wanted = Promotion(run_id, tuple(calib_types or ()), to, reason, on_conflict, by)
        planned = plan_promotion(wanted, journal or Path(config.journal_path), repo or config.repo)
        for line in planned.lines:
            console.print(line, markup=False)
        if planned.requests and not yes:
            console.print("Nothing was changed. Say --yes to do this.")
            return
        for line in promote_planned(planned):
            console.print(line, markup=False)
    except (BadInputError, ServiceError, OSError) as error:
        raise fail(str(error)) from error
