# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Enumerations that all components share."""

from __future__ import annotations

import enum

__all__ = ["SalRetCode", "State", "as_salRetCode", "as_state"]


class State(enum.IntEnum):
    """Summary state of a CSC."""

    OFFLINE = 4
    STANDBY = 5
    DISABLED = 1
    ENABLED = 2
    FAULT = 3


class SalRetCode(enum.IntEnum):
    """What SAL calls return; the CMD_ codes are those of command acknowledgements."""

    OK = 0
    ERROR = -1
    ERR = -1
    NOT_DEFINED = -4
    TIMEOUT = -5
    CMD_ACK = 300
    CMD_INPROGRESS = 301
    CMD_STALLED = 302
    CMD_COMPLETE = 303
    CMD_NOPERM = -300
    CMD_NOACK = -301
    CMD_FAILED = -302
    CMD_ABORTED = -303
    CMD_TIMEOUT = -304


def as_state(value: int | State) -> State | int:
    """Return the `State` of a number, or the number itself if no state has it."""
    try:
        return State(value)
    except ValueError:
        return value


def as_salRetCode(value: int | SalRetCode) -> SalRetCode | int:
    """Return the `SalRetCode` of a number, or the number itself if no code has it."""
    try:
        return SalRetCode(value)
    except ValueError:
        return value
