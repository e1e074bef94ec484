# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Environment variables for the time of a test."""

from __future__ import annotations

import contextlib
import os
import unittest.mock
from collections.abc import Iterator
from typing import Any

__all__ = ["modify_environ"]


@contextlib.contextmanager
def modify_environ(**kwargs: Any) -> Iterator[None]:
    """Set environment variables, and put all of them back at the end.

    ``os.environ`` is replaced meanwhile, so that a process that inherits its environment does not see the change: pass
    it a copy of ``os.environ``.

    Parameters
    ----------
    **kwargs
        Name = value. `None` deletes the variable.

    Raises
    ------
    RuntimeError
        If a value is neither a string nor `None`.
    """
    bad = {name: value for name, value in kwargs.items() if not (value is None or isinstance(value, str))}
    if bad:
        raise RuntimeError(f"The values of environment variables must be strings or None; these are not: {bad}")
    environ = {name: value for name, value in os.environ.items() if name not in kwargs}
    environ |= {name: value for name, value in kwargs.items() if value is not None}
    with unittest.mock.patch.object(os, "environ", environ):
        yield
