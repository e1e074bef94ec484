# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How commands that need no CSC find its configuration, and with it journal and repository."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import BadInputError

if TYPE_CHECKING:
    from .config import CscConfig

__all__ = ["DEFAULT_SITE", "ConfigDir", "JournalFile", "Override", "Repo", "Site", "find_config"]

DEFAULT_SITE = "summit"

ConfigDir = Annotated[
    Path | None,
    typer.Option(help="Directory with the CSC's configuration files; ComCamCalib/v1 in TS_CONFIG_OCS_DIR if left out."),
]
Site = Annotated[str, typer.Option(envvar="LSST_SITE", help="Site whose configuration counts.")]
Override = Annotated[str, typer.Option(help="Configuration override file.")]
JournalFile = Annotated[
    Path | None,
    typer.Option(help="The CSC's journal, or a copy of it; the configured file if left out. It is only read."),
]
Repo = Annotated[
    str, typer.Option(help="Where this machine finds the Butler repository; the configured place if left out.")
]


def find_config(directory: Path | None, site: str, override: str = "") -> CscConfig:
    """Read the configuration that the CSC would have.

    Parameters
    ----------
    directory
        Directory with the configuration files; None: where the configuration package of the CSC has them.
    site
        Name of the site, such as ``summit``.
    override
        Name of a configuration override file; "": there is none.

    Raises
    ------
    BadInputError
        If it can't be found or is wrong; one sentence for each mistake.
    """
    from .config import find_directory, read_config

    try:
        directory = find_directory(directory, "--config-dir")
        return read_config(directory, site, override)
    except BadInputError as error:
        if directory is not None and os.path.isfile(directory / f"_{site}.yaml"):
            raise
        raise BadInputError(
            [*error.problems, f"The site is {site}; name yours with --site, or set the environment variable LSST_SITE."]
        ) from error
