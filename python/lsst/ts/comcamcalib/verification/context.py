# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the rules know of a product and its frames, apart from what was measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..enums import CalibType

if TYPE_CHECKING:
    from ..config import FrameLimits, ProductRules, VerificationRecipe

__all__ = ["NO_EXPOSURE", "FrameFacts", "RuleContext"]

NO_EXPOSURE = (None,)
"""Stands for the exposures of statistics that are of the product itself, such as those of photon transfer curves."""


@dataclasses.dataclass(frozen=True)
class FrameFacts:
    """Facts about the frames of a verification, apart from its statistics.

    Parameters
    ----------
    limits
        The configured limits.
    exposure_times
        Seconds, by exposure id.
    in_product
        Whether the verified product was made from the same frames, so that subtracting it removes part of their noise.
    threshold
        How many amplifiers of a detector may be at fault.
    quiet_noise
        Noise below which an amplifier is dead (electron), if its read noise is not known.
    gains, read_noises, turnoffs
        Gain (electron/adu), read noise and turn-off (electron) by detector id and amplifier name, from the ptc that is
        certified; NaN or absent: not known.
    ptc_unread
        Why the ptc that is certified could not be read; "" if it could, or there is none.
    """

    limits: FrameLimits
    exposure_times: Mapping[int, float]
    in_product: bool
    threshold: int
    quiet_noise: float
    gains: Mapping[int, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    read_noises: Mapping[int, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    turnoffs: Mapping[int, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    ptc_unread: str = ""

    def time_of(self, exposure: int | None) -> float:
        """Return an exposure time (seconds); 0 if it is not known."""
        return self.exposure_times.get(exposure, 0.0) if exposure is not None else 0.0


@dataclasses.dataclass(frozen=True)
class RuleContext:
    """What is judged, and by which rules.

    Parameters
    ----------
    calib_type, physical_filter
        The product, and its filter; "" if it has none.
    detectors
        Full names of the detectors by id.
    amplifiers
        Numbers of amplifiers by detector id.
    rules
        How strictly it is judged.
    exposures
        Ids of the exposures, in the order in which they were taken; none if the product is judged by its own values;
        `NO_EXPOSURE` if cp_verify tests the product itself, and not each of its frames.
    threshold
        How many amplifiers of a detector may fail the same test in an exposure.
    amplifier_names
        Names that amplifiers may have; empty: any.
    bad_amplifiers
        What is known of bad amplifiers, by detector id and name: they are named, but do not count.
    leave_out
        Whether a detector that fails is left out, so that the others can be certified.
    left_out_before
        Detectors that are left out of what the product is made from, each with the reason. They do not count.
    recipe
        How cp_verify verified it; None: the product is judged by its own values.
    frames
        Facts about the frames apart from the statistics; None: the frames themselves are not judged.
    """

    calib_type: CalibType
    physical_filter: str
    detectors: Mapping[int, str]
    amplifiers: Mapping[int, int]
    rules: ProductRules
    exposures: tuple[int | None, ...] = ()
    threshold: int = 0
    amplifier_names: tuple[str, ...] = ()
    bad_amplifiers: Mapping[int, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    leave_out: bool = False
    left_out_before: Mapping[int, str] = dataclasses.field(default_factory=dict)
    recipe: VerificationRecipe | None = None
    frames: FrameFacts | None = None

    @property
    def exposures_expected(self) -> int:
        """Number of exposures that must have statistics."""
        return 0 if self.exposures == NO_EXPOSURE else len(self.exposures)

    def is_bad(self, detector: int | None, amplifier: str) -> bool:
        """Return whether an amplifier is known to be bad."""
        return detector is not None and amplifier in self.bad_amplifiers.get(detector, {})
