# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Types of calibration as people name them; `enums` is part of the interface, and has only the numbers."""

from __future__ import annotations

from .enums import CalibType
from .errors import BadInputError

__all__ = ["calib_type_named"]


def calib_type_named(name: str) -> CalibType:
    """Return the type with a name, in upper or lower case.

    Raises
    ------
    BadInputError
        If there is none; a sentence with what there is.
    """
    try:
        return CalibType[name.upper()]
    except KeyError:
        raise BadInputError([f"{name}: no such product; there are {', '.join(CalibType.__members__)}."]) from None
