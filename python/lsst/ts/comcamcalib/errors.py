# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exceptions of the package; every message is a sentence for the operator.

::

    ComCamCalibError
    ├── BadInputError          an operator's request is not possible; nothing moved
    ├── StageError             a stage failed
    └── ServiceError           an external service failed or refused
        ├── UnreachableError   it did not answer; trying again may help
        ├── ConflictError      what is certified already keeps it from being done; nothing was done
        ├── ChangedError       what is certified has changed since it was looked up; nothing was done
        ├── NotEnabledError    it refused a command because it is not ENABLED, and did nothing
        └── UnknownJobError    the UWS does not know this job (any more)
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "BadInputError",
    "ChangedError",
    "ComCamCalibError",
    "ConflictError",
    "NotEnabledError",
    "ServiceError",
    "StageError",
    "UnknownJobError",
    "UnreachableError",
]


class ComCamCalibError(Exception):
    """Base of all errors that this package raises on purpose."""


class BadInputError(ComCamCalibError):
    """A request is not possible; the message has all reasons.

    Parameters
    ----------
    problems
        One sentence for each mistake; at least one.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class StageError(ComCamCalibError):
    """A stage of a run failed."""


class ServiceError(ComCamCalibError):
    """An external service (camera, OODS, OCPS, UWS, Butler) failed or refused."""


class UnreachableError(ServiceError):
    """A service did not answer within its limit, or its answer can't be understood."""


class ConflictError(ServiceError):
    """Butler was not asked to certify or withdraw, because something else is certified there; nothing was done."""


class ChangedError(ServiceError):
    """What is certified is not as it was when it was looked up; nothing was done, and it must be looked up again."""


class NotEnabledError(ServiceError):
    """A component refused a command because of its state and did nothing; the command may be sent again."""


class UnknownJobError(ServiceError):
    """The UWS does not know this job: it was deleted, or has expired there."""
