# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check what the CSC's program is started with, because salobj ends in a traceback where something is missing."""

from __future__ import annotations

import os
from pathlib import Path

from .broker import registry_problem
from .config import find_directory
from .errors import BadInputError

__all__ = ["check_environment"]

NEEDED = {
    "LSST_TOPIC_SUBNAME": "the names of Kafka's topics",
    "LSST_SITE": "the site whose configuration counts",
}


def check_environment(config_dir: Path | None) -> None:
    """Check that everything is there without which the CSC can't be made.

    Parameters
    ----------
    config_dir
        The directory with the configuration files that the command line names; None if it names none.

    Raises
    ------
    BadInputError
        If something is missing; a sentence for each thing, and what to do.
    """
    problems = [
        f"The environment variable {name} is not set: the CSC needs it for {what}."
        for name, what in NEEDED.items()
        if not os.environ.get(name)
    ]
    if problems:
        problems.append(
            "Source the environment file of your observatory; `comcamcalib observatory` writes that of a simulated one."
        )
    problems += filter(None, [registry_problem()])
    try:
        find_directory(config_dir, "--configdir")
    except BadInputError as error:
        problems += error.problems
    if problems:
        raise BadInputError(problems)
