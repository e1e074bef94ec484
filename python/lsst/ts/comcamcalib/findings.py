# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a verification finds: one finding is one thing that is not as it should be, or that people want to know."""

from __future__ import annotations

import dataclasses
import enum

__all__ = ["Finding", "Outcome"]


class Outcome(enum.IntEnum):
    """What a finding means for the product, from the least to the worst."""

    NOTED = 1
    """People want to know it; it does not count."""
    FAILURE = 2
    """A test failed, but not so often that the product is bad."""
    UNKNOWN = 3
    """Something is missing or can't be read, so that nobody knows whether the product is good."""
    FAILED = 4
    """The product, or the product of this detector, is bad."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One finding of a rule.

    Parameters
    ----------
    rule
        Name of the rule, such as ``completeness`` or ``drift``.
    outcome
        What it means.
    quantity
        The test or the measured quantity, such as ``NOISE`` or ``gain``.
    detector, amplifier, exposure
        Where it was found; None, or "" for the amplifier: in all of them, or in none in particular.
    value, limit
        What was measured, and what it was compared with; NaN: there is none.
    unit
        Of both.
    detail
        What value and limit can't say, such as why statistics could not be read.
    kind
        Which of the faults that a rule knows, such as ``SATURATED``; "" if it knows only one.
    """

    rule: str
    outcome: Outcome
    quantity: str
    detector: int | None = None
    amplifier: str = ""
    exposure: int | None = None
    value: float = float("nan")
    limit: float = float("nan")
    unit: str = ""
    detail: str = ""
    kind: str = ""
