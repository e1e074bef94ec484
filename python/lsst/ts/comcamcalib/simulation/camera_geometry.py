# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The camera's geometry with nominal gains and read noises, as the Butler gives it.

Methods that the real types have too (``lsst.afw.cameraGeom``) have the same name and unit here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from .layout import DETECTOR_NAMES

__all__ = ["Camera", "CameraAmplifier", "CameraDetector"]


@dataclasses.dataclass(frozen=True)
class CameraAmplifier:
    """An amplifier.

    Attributes
    ----------
    name
        Its name, as C10.
    gain
        Nominal gain, electron/adu.
    read_noise
        Nominal read noise, electron.
    """

    name: str
    gain: float
    read_noise: float

    def getName(self) -> str:
        """Return the name."""
        return self.name

    def getGain(self) -> float:
        """Return the nominal gain, electron/adu."""
        return self.gain

    def getReadNoise(self) -> float:
        """Return the nominal read noise, electron."""
        return self.read_noise


@dataclasses.dataclass(frozen=True)
class CameraDetector:
    """A detector: its amplifiers in readout order."""

    name: str
    amplifiers: tuple[CameraAmplifier, ...]

    def getName(self) -> str:
        """Return the full name."""
        return self.name

    def __iter__(self) -> Iterator[CameraAmplifier]:
        return iter(self.amplifiers)


@dataclasses.dataclass(frozen=True)
class Camera:
    """All detectors, by number."""

    detectors: tuple[CameraDetector, ...]

    def __getitem__(self, detector: int) -> CameraDetector:
        return self.detectors[detector]

    def __len__(self) -> int:
        return len(self.detectors)

    @classmethod
    def of_values(cls, values: list[Mapping[str, tuple[float, float]]]) -> Camera:
        """Return a camera whose detectors have these gains and read noises, by amplifier."""
        return cls(
            tuple(
                CameraDetector(name, tuple(CameraAmplifier(amplifier, *one) for amplifier, one in of_detector.items()))
                for name, of_detector in zip(DETECTOR_NAMES, values, strict=True)
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads."""
        return {
            detector.name: {amplifier.name: (amplifier.gain, amplifier.read_noise) for amplifier in detector}
            for detector in self.detectors
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Camera:
        """Return the camera that `to_dict` wrote."""
        return cls.of_values([content[name] for name in DETECTOR_NAMES])
