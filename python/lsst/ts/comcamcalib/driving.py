# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a command of the terminal runs: a failure is a sentence and an exit status, not a traceback."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any, TypeVar

import typer

from .errors import BadInputError
from .terminal import fail

__all__ = ["drive", "run"]

T = TypeVar("T")


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that needs the CSC; see `run`."""
    if not os.environ.get("LSST_TOPIC_SUBNAME"):
        coroutine.close()
        raise fail(
            "The CSC can't be found: the environment variable LSST_TOPIC_SUBNAME is not set. Source the "
            "environment file of your observatory; `comcamcalib observatory` writes that of a simulated one."
        )
    return run(coroutine)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; a refusal or missing connection ends the program with a sentence, not a traceback."""
    from .client import RefusedError

    try:
        return asyncio.run(coroutine)
    except (BadInputError, RefusedError, RuntimeError, OSError, ValueError) as error:
        raise fail(str(error)) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(130) from error
    except asyncio.CancelledError as error:  # SIGTERM, where it is handled
        raise typer.Exit(143) from error
