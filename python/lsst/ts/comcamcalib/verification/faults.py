# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults of frames: what can be wrong with one, and where it is."""

from __future__ import annotations

import dataclasses
import enum

from .arrays import Booleans, Floats

__all__ = ["Faults", "Kind"]


class Kind(enum.Enum):
    """What can be wrong with a frame; the value is the test that counts it, beside cp_verify's own, and the unit."""

    NO_LIGHT = "no light", "LEVEL", "electron"
    TOO_DARK = "too dark", "LEVEL", "electron"
    SATURATED = "saturated", "LEVEL", "electron"
    TOO_BRIGHT = "too bright", "LEVEL", "electron"
    TOO_SMOOTH = "too smooth", "NOISE_LOW", "electron"
    LAMP = "lamp", "FLUX", "fraction"
    DRIFT = "drift", "FLUX", "fraction"
    DETECTOR_FLUX = "detector's flux", "FLUX", "fraction"
    AMPLIFIER_FLUX = "amplifier's flux", "FLUX", "fraction"
    OUTLIER = "outlier", "OUTLIER", "electron"
    QUIET = "quiet", "NOISE_LOW", "electron"

    @property
    def test(self) -> str:
        """Name of the test that counts it."""
        return self.value[1]

    @property
    def unit(self) -> str:
        """Unit of value and limit."""
        return self.value[2]

    @property
    def is_change(self) -> bool:
        """Whether its value is a change, of which the largest says most; otherwise the median does."""
        return self.unit == "fraction" or self is Kind.OUTLIER


@dataclasses.dataclass(frozen=True)
class Faults:
    """Where frames have a kind of fault.

    Parameters
    ----------
    kind
        Which.
    where
        Shape (exposures, detectors, amplifiers + 1); the last of the amplifiers stands for the detector as a whole.
    value, limit
        What was measured, and what it was compared with, in the kind's unit; of a shape that can be broadcast.
    spoils
        Where one such frame is enough to spoil the product, if more amplifiers than the threshold allows have it.
    """

    kind: Kind
    where: Booleans
    value: Floats
    limit: Floats
    spoils: Booleans
