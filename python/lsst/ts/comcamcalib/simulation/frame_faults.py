# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can be wrong with the simulated detectors, and with the light and the readout of one exposure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from .layout import AMPLIFIER_NAMES, DetectorLayout

__all__ = ["IMAGE_TYPES", "Fault", "Light", "add_hot_columns", "hot_column", "pickup_pattern"]

IMAGE_TYPES = ("BIAS", "DARK", "FLAT")

_PICKUP_PERIOD = 7.3  # pixel; no whole number, so that neighbouring rows differ


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something wrong with a detector.

    Attributes
    ----------
    detector
        Number of the detector.
    read_noise_factor
        What the true read noise is multiplied by.
    amplifiers
        Names of the amplifiers; all of them by default.
    image_types
        In which exposures: any of BIAS, DARK, FLAT; all of them by default.
    gain_factor
        What the true gain is multiplied by.
    hot_column_rate
        Dark current (electron/s) of one more column of each of the amplifiers.
    is_dead
        The amplifiers have neither signal nor noise: each pixel has the amplifier's bias level.
    """

    detector: int
    read_noise_factor: float = 1.0
    amplifiers: tuple[str, ...] = AMPLIFIER_NAMES
    image_types: tuple[str, ...] = IMAGE_TYPES
    gain_factor: float = 1.0
    hot_column_rate: float = 0.0
    is_dead: bool = False

    def concerns(self, detector: int, amplifier: str, image_type: str) -> bool:
        """Return whether images of this type have the fault in this amplifier."""
        return self.detector == detector and amplifier in self.amplifiers and image_type in self.image_types


@dataclasses.dataclass(frozen=True)
class Light:
    """The light of one exposure, relative to what it should be.

    Attributes
    ----------
    lamp
        Brightness of the flat lamp, relative to its normal one; 0 is off.
    leak_electrons
        Charge of a pixel in the middle of the focal plane from light that should not be there, electron.
    """

    lamp: float = 1.0
    leak_electrons: float = 0.0


def hot_column(layout: DetectorLayout) -> int:
    """Return the column of an amplifier, from its left edge, that `Fault.hot_column_rate` makes hot."""
    return layout.amplifier_columns // 3


def add_hot_columns(
    dark_rate: npt.NDArray[np.float32], layout: DetectorLayout, faults: Iterable[tuple[str, Fault]]
) -> npt.NDArray[np.float32]:
    """Return the dark current (electron/s) with the hot columns of the faults, each with its amplifier's name."""
    hot = dark_rate.copy()
    for amplifier, fault in faults:
        hot[layout.image_section(amplifier)][:, hot_column(layout)] += np.float32(fault.hot_column_rate)
    return hot


def pickup_pattern(shape: tuple[int, ...], electrons: float, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Return what a segment's readout picks up from a source nearby: a wave in time, so rows have it out of step.

    Parameters
    ----------
    shape
        Rows and columns of the segment with its overscan.
    electrons
        Standard deviation of the wave, electron.
    rng
        Draws its phase.
    """
    time = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    wave = np.sin(2 * np.pi * time / _PICKUP_PERIOD + rng.uniform(0, 2 * np.pi))
    return np.asarray(np.sqrt(2) * electrons * wave, np.float32)
