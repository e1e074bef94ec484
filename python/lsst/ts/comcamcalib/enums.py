# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Enumerations of the SAL interface, and the CSC's error codes.

The numbers are those that the component's XML declares; a test compares the two.
"""

from __future__ import annotations

import enum

__all__ = ["CalibType", "CertificationState", "ErrorCode", "RunState", "StageKind", "StageState", "Verdict"]


class RunState(enum.IntEnum):
    """State of a calibration run."""

    ACCEPTED = 1
    RUNNING = 2
    ABORTING = 3
    COMPLETED = 4
    FAILED = 5
    ABORTED = 6
    INTERRUPTED = 7


class StageKind(enum.IntEnum):
    """What a stage of a run does."""

    ACQUIRE = 1
    INGEST = 2
    GENERATE = 3
    VERIFY = 4
    CERTIFY = 5
    REPORT = 6


class StageState(enum.IntEnum):
    """State of one stage of a run."""

    PENDING = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    SKIPPED = 5
    ABORTED = 6


class CalibType(enum.IntEnum):
    """Type of calibration."""

    BIAS = 1
    DARK = 2
    FLAT = 3
    DEFECTS = 4
    PTC = 5
    GAIN = 6


class Verdict(enum.IntEnum):
    """Outcome of the verification of a product."""

    PASSED = 1
    PASSED_WITH_FAILURES = 2
    FAILED = 3
    UNKNOWN = 4
    ACCEPTED_BY_OPERATOR = 5


class CertificationState(enum.IntEnum):
    """Whether datasets were put into a calibration collection or withdrawn from it."""

    CERTIFIED = 1
    DECERTIFIED = 2


class ErrorCode(enum.IntEnum):
    """Reasons for which the CSC itself goes to FAULT.

    A failed run is not one of them: ``runState`` and ``alarms`` report it.
    """

    JOURNAL_UNUSABLE = 1
    PUBLISHING_FAILED = 2
    JOURNAL_LOST = 3
