# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the programs of this package print."""

from __future__ import annotations

import typer
from rich.console import Console

__all__ = ["console", "fail", "problems"]

console = Console(highlight=False, soft_wrap=True)
problems = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(sentence: str) -> typer.Exit:
    """Print a sentence about the failure, and return the exception that ends the program."""
    problems.print(sentence, markup=False, style="red")
    return typer.Exit(1)
