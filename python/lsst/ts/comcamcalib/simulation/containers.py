# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""In-memory types of the simulated datasets.

Attributes and methods that the real types have too (``lsst.afw.image.Exposure``, ``lsst.ip.isr.Defects``,
``lsst.ip.isr.PhotonTransferCurveDataset``) have the same name, unit and shape here, so that a client needs no second
way of reading.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .layout import AMPLIFIER_NAMES, DetectorLayout, Section

__all__ = ["Amplifier", "Box", "Defect", "Defects", "Exposure", "Image", "PhotonTransferCurve"]


@dataclasses.dataclass(eq=False)
class Image:
    """Pixels; NaN where a pixel is bad.

    Attributes
    ----------
    array
        Rows and columns of pixels.
    """

    array: npt.NDArray[Any]


@dataclasses.dataclass(eq=False, repr=False)
class Exposure:
    """An image and its header, raw or processed.

    Attributes
    ----------
    image
        Pixels: ``exposure.image.array`` as in the real type.
    metadata
        Header keywords.
    """

    image: Image
    metadata: dict[str, Any]

    def __repr__(self) -> str:
        rows, columns = self.image.array.shape
        median = float(np.nanmedian(self.image.array))
        return f"Exposure({rows} x {columns} pixels, median {median:.4g}, {len(self.metadata)} header keywords)"

    @classmethod
    def from_array(cls, array: npt.NDArray[Any], metadata: Mapping[str, Any]) -> Exposure:
        """Return an exposure of these pixels."""
        return cls(Image(array), dict(metadata))

    def getMetadata(self) -> dict[str, Any]:
        """Return the header keywords."""
        return self.metadata

    def getDetector(self) -> tuple[Amplifier, ...]:
        """Return the amplifiers, over which the real type's detector iterates too.

        Raises
        ------
        KeyError
            The image is not a raw one.
        """
        layout = DetectorLayout.from_header(self.metadata)
        return tuple(Amplifier(name, layout) for name in AMPLIFIER_NAMES)


@dataclasses.dataclass(frozen=True)
class Amplifier:
    """Where an amplifier is in a raw image.

    Attributes
    ----------
    name
        Its name, as C10.
    layout
        Layout of its detector.
    """

    name: str
    layout: DetectorLayout

    def getName(self) -> str:
        """Return the name."""
        return self.name

    def getRawDataBBox(self) -> Box:
        """Return the imaging part."""
        return Box.of_section(self.layout.raw_section(self.name))

    def getRawHorizontalOverscanBBox(self) -> Box:
        """Return the serial overscan."""
        return Box.of_section(self.layout.overscan_section(self.name))


@dataclasses.dataclass(frozen=True, order=True)
class Box:
    """A rectangle of pixels.

    Attributes
    ----------
    x0, y0
        Column and row of the lower left pixel, from 0.
    width, height
        Size, pixel.
    """

    x0: int
    y0: int
    width: int
    height: int

    @classmethod
    def of_section(cls, section: Section) -> Box:
        """Return the box of a section of an image."""
        rows, columns = section
        return cls(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)

    def getMinX(self) -> int:
        """Return the first column."""
        return self.x0

    def getMinY(self) -> int:
        """Return the first row."""
        return self.y0

    def getMaxX(self) -> int:
        """Return the last column."""
        return self.x0 + self.width - 1

    def getMaxY(self) -> int:
        """Return the last row."""
        return self.y0 + self.height - 1

    def getWidth(self) -> int:
        """Return the number of columns."""
        return self.width

    def getHeight(self) -> int:
        """Return the number of rows."""
        return self.height

    def getArea(self) -> int:
        """Return the number of pixels."""
        return self.width * self.height


@dataclasses.dataclass(frozen=True, order=True)
class Defect:
    """A rectangle of pixels that are not to be used."""

    box: Box

    def getBBox(self) -> Box:
        """Return the rectangle."""
        return self.box


class Defects:
    """The bad pixels of a detector.

    Parameters
    ----------
    defects
        Rectangles of bad pixels.
    metadata
        Header keywords.
    """

    def __init__(self, defects: Iterable[Defect] = (), metadata: Mapping[str, Any] | None = None) -> None:
        self._defects = tuple(defects)
        self.metadata = dict(metadata or {})

    def __iter__(self) -> Iterator[Defect]:
        return iter(self._defects)

    def __repr__(self) -> str:
        return f"Defects({len(self)} regions, {sum(defect.getBBox().getArea() for defect in self)} pixels)"

    def __len__(self) -> int:
        return len(self._defects)

    def __getitem__(self, index: int) -> Defect:
        return self._defects[index]

    def getMetadata(self) -> dict[str, Any]:
        """Return the header keywords."""
        return self.metadata

    @classmethod
    def from_mask(cls, mask: npt.NDArray[np.bool_], metadata: Mapping[str, Any] | None = None) -> Defects:
        """Return the defects that cover the True pixels: one for each run of them in a row."""
        edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        rows, starts = np.nonzero(edges == 1)
        _, ends = np.nonzero(edges == -1)
        runs = zip(starts.tolist(), rows.tolist(), ends.tolist(), strict=True)
        return cls((Defect(Box(x, y, end - x, 1)) for x, y, end in runs), metadata)

    def to_mask(self, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Return an image of this shape that is True where a pixel is bad."""
        mask = np.zeros(shape, bool)
        for defect in self:
            box = defect.box
            mask[box.y0 : box.y0 + box.height, box.x0 : box.x0 + box.width] = True
        return mask

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads."""
        return {"defects": [dataclasses.astuple(defect.box) for defect in self], "metadata": self.metadata}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Defects:
        """Return the defects that `to_dict` wrote."""
        return cls((Defect(Box(*box)) for box in content["defects"]), content["metadata"])


@dataclasses.dataclass(repr=False)
class PhotonTransferCurve:
    """Gain and read noise of a detector's amplifiers, and the flat pairs that they were measured with.

    One object holds either one pair (``cpPtcPartial``: lists of one element) or all pairs of a run. All dictionaries
    are by amplifier.

    Attributes
    ----------
    ampNames
        Amplifiers in readout order.
    ptcFitType
        PARTIAL for one pair, POLYNOMIAL for a fit.
    gain, gainUnc
        Gain and its uncertainty, electron/adu.
    noise
        Read noise, electron.
    ptcTurnoff
        Mean signal of the brightest pair below the turn-off, adu.
    ptcFitPars, ptcFitChiSq
        Parameters of variance = sum of p[i] * mean**i (adu), and the reduced chi square.
    inputExpIdPairs
        Exposure ids of the pairs.
    rawExpTimes
        Exposure time of each pair, second.
    rawMeans, rawVars
        Mean signal (adu) and variance of one image (adu**2) of each pair.
    gainList
        Gain that each pair alone gives, electron/adu.
    noiseList
        Overscan noise of each pair, adu.
    expIdMask
        Which pairs the fit used.
    badAmps
        Amplifiers without a usable result.
    metadata
        Header keywords.
    """

    ampNames: list[str]
    ptcFitType: str
    gain: dict[str, float] = dataclasses.field(default_factory=dict)
    gainUnc: dict[str, float] = dataclasses.field(default_factory=dict)
    noise: dict[str, float] = dataclasses.field(default_factory=dict)
    ptcTurnoff: dict[str, float] = dataclasses.field(default_factory=dict)
    ptcFitPars: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    ptcFitChiSq: dict[str, float] = dataclasses.field(default_factory=dict)
    inputExpIdPairs: dict[str, list[list[int]]] = dataclasses.field(default_factory=dict)
    rawExpTimes: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    rawMeans: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    rawVars: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    gainList: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    noiseList: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    expIdMask: dict[str, list[bool]] = dataclasses.field(default_factory=dict)
    badAmps: list[str] = dataclasses.field(default_factory=list)
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        ranges = [
            f"{name} {min(values.values()):.3f} to {max(values.values()):.3f} {unit}"
            for name, values, unit in (("gain", self.gain, "electron/adu"), ("noise", self.noise, "electron"))
            if values
        ]
        return f"PhotonTransferCurve({', '.join([f'{len(self.ampNames)} amplifiers', *ranges])})"

    @property
    def finalMeans(self) -> dict[str, list[float]]:
        """Mean signals (adu) of the pairs that the fit used, filled up with NaN to the number of all pairs."""
        return {name: self._used(name, values) for name, values in self.rawMeans.items()}

    @property
    def finalVars(self) -> dict[str, list[float]]:
        """Variances (adu**2) of the same pairs."""
        return {name: self._used(name, values) for name, values in self.rawVars.items()}

    @property
    def finalModelVars(self) -> dict[str, list[float]]:
        """Variances (adu**2) that the fit gives for the same pairs."""
        return {
            name: np.polyval(self.ptcFitPars[name][::-1], means).tolist() for name, means in self.finalMeans.items()
        }

    def _used(self, name: str, values: list[float]) -> list[float]:
        used = [value for value, is_used in zip(values, self.expIdMask[name], strict=True) if is_used]
        return used + [math.nan] * (len(values) - len(used))

    def getMetadata(self) -> dict[str, Any]:
        """Return the header keywords."""
        return self.metadata

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` reads."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> PhotonTransferCurve:
        """Return the curve that `to_dict` wrote."""
        return cls(**content)
