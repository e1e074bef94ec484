# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands ``comcamcalib interface``: make salobj know the component, or forget it."""

from __future__ import annotations

import sys

import typer

from .terminal import console, fail

__all__ = ["interface_app"]

interface_app = typer.Typer(help="Make salobj know the component ComCamCalib.", no_args_is_help=True)


@interface_app.command("install")
def interface_install() -> None:
    """Add the component to the installed lsst.ts.xml: harmless if it is there."""
    from .sal_interfaces.install import install_interface

    try:
        if install_interface():
            console.print(
                "The interface of ComCamCalib was added to lsst.ts.xml. "
                "Programs that run already, such as LOVE's commander, see it after a restart."
            )
    except (RuntimeError, OSError) as error:
        raise fail(f"The interface could not be added: {error}") from error


@interface_app.command("remove")
def interface_remove() -> None:
    """Take the component out of the installed lsst.ts.xml again, byte for byte."""
    from .sal_interfaces.install import remove_interface

    try:
        console.print("Removed." if remove_interface() else "There was nothing to remove.")
    except (RuntimeError, OSError) as error:
        raise fail(f"The interface could not be removed: {error}") from error


@interface_app.command("check")
def interface_check() -> None:
    """Say how the installed lsst.ts.xml differs from one with this package's component; exit status 1 if it does."""
    from .sal_interfaces.install import check_interface

    differences = check_interface()
    for difference in differences:
        console.print(difference, markup=False)
    if differences:
        raise typer.Exit(1)
    console.print("The installed interface is this package's.")


@interface_app.command("document")
def interface_document() -> None:
    """Print the page about the interface, in reStructuredText."""
    from .sal_interfaces.document import document_interface

    sys.stdout.write(document_interface())
