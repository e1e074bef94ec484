# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exceptions of the package; every message is a sentence for people.

::

    ComCamCalibError
    ├── BadInputError          what an operator asked for is not possible; nothing moved
    ├── StageError             a stage could not do its work
    └── ServiceError           something outside did not do what was asked of it
        ├── UnreachableError   it did not answer; asking again may help
        ├── NotEnabledError    it refused a command because it is not ENABLED; nothing came of the command
        └── UnknownJobError    the UWS does not know this job (any more)
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "BadInputError",
    "ComCamCalibError",
    "NotEnabledError",
    "ServiceError",
    "StageError",
    "UnknownJobError",
    "UnreachableError",
]


class ComCamCalibError(Exception):
    """Base of all errors that this package raises on purpose."""


class BadInputError(ComCamCalibError):
    """What was asked for is not possible: all the reasons at once.

    Parameters
    ----------
    problems
        One sentence a mistake; at least one.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class StageError(ComCamCalibError):
    """A stage of a run could not do its work."""


class ServiceError(ComCamCalibError):
    """Something outside (camera, OODS, OCPS, UWS, Butler) did not do what was asked of it."""


class UnreachableError(ServiceError):
    """A service did not answer within its limit, or not in a way that can be understood."""


class NotEnabledError(ServiceError):
    """A component refused a command because of its state: nothing came of the command, which may be sent again."""


class UnknownJobError(ServiceError):
    """The UWS does not know this job: it was deleted, or has expired there."""
