# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Combined images and defects: as mosaics of the focal plane, and one by one."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.image import imsave

from ...enums import CalibType
from ...services.butler_pictures import BinnedImage, DefectsFound
from ..places import DETECTOR_SIZE, PITCH, detector_corners
from ..words import number
from .style import new_figure, to_svg

__all__ = ["draw_defects", "draw_images", "draw_thumbnail"]

Pixels = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Fixed range of an image's colours; relative: each detector is divided by its median first."""

    low: float
    high: float
    scale: str
    relative: bool = False

    def scaled(self, pixels: Pixels, median: float) -> Pixels:
        """Return pixels in the unit of the range."""
        return pixels / np.float32(median) if self.relative else pixels


STRETCHES: Mapping[CalibType, Stretch] = {
    CalibType.BIAS: Stretch(-5.0, 5.0, "electron"),
    # The range of eo_pipe's maps of the dark current.
    CalibType.DARK: Stretch(0.0, 0.3, "electron/second"),
    CalibType.FLAT: Stretch(0.95, 1.05, "response / median of the detector", relative=True),
}

COLOURS = "cividis"

LEAST_SHOWN = 0.6
"""A block with any defect at all looks at least like one of which this fraction is defects."""


def draw_images(
    calib_type: CalibType, physical_filter: str, images: Mapping[int, BinnedImage], names: Mapping[int, str]
) -> str:
    """Return the combined images of a type, all detectors in their places.

    Parameters
    ----------
    calib_type, physical_filter
        What they are; the filter is "" if there is none.
    images
        By detector; those that are missing are named.
    names
        Names of all detectors by id.
    """
    stretch = STRETCHES[calib_type]
    pixels = {one: stretch.scaled(image.pixels, image.median) for one, image in images.items()}
    what = f"{calib_type.name.lower()} {physical_filter}".strip()
    return _draw(what, pixels, names, stretch.low, stretch.high, stretch.scale, "the combined image")


def draw_thumbnail(calib_type: CalibType, image: BinnedImage, name: str) -> str:
    """Return the combined image of one detector as a figure of HTML, with the colours of the mosaic.

    Parameters
    ----------
    calib_type
        What it is.
    image
        The image; where no pixel is good, the page is seen.
    name
        Name of the detector.
    """
    stretch, buffer = STRETCHES[calib_type], io.BytesIO()
    imsave(
        buffer,
        stretch.scaled(image.fine, image.median),
        format="png",
        vmin=stretch.low,
        vmax=stretch.high,
        cmap=COLOURS,
        origin="lower",
    )
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
    # A flat has no unit.
    median = "" if stretch.relative else f", median {number(image.median)} {stretch.scale}"
    element = (
        '<figure><img src="{}" alt="{} of {}; colours from {:g} to {:g}: {}"><figcaption>{}{}</figcaption></figure>'
    )
    return Markup(element).format(
        *(source, calib_type.name.lower(), name, stretch.low, stretch.high, stretch.scale, name, median)
    )


def draw_defects(defects: Mapping[int, DefectsFound], names: Mapping[int, str]) -> str:
    """Return where the defects are, all detectors in their places."""
    pixels = {
        one: np.where(found.fraction > 0, np.maximum(found.fraction, LEAST_SHOWN), 0.0).astype(np.float32)
        for one, found in defects.items()
    }
    return _draw("defects", pixels, names, 0.0, 1.0, "fraction of a block of pixels", "a map of the defects")


def _draw(
    what: str,
    pixels: Mapping[int, Pixels],
    names: Mapping[int, str],
    low: float,
    high: float,
    scale: str,
    kind: str,
) -> str:
    corners = detector_corners(names)
    figure = new_figure(5.6, 4.9)
    axes = figure.add_axes((0.0, 0.02, 0.84, 0.96))
    drawn = None
    for detector, (left, bottom) in corners.items():
        name = names[detector]
        axes.text(left + DETECTOR_SIZE / 2, bottom + DETECTOR_SIZE + 0.15, name, ha="center", va="bottom", fontsize=9)
        if detector not in pixels:
            middle = DETECTOR_SIZE / 2
            axes.text(left + middle, bottom + middle, "missing", ha="center", va="center", fontsize=9)
            continue
        drawn = axes.imshow(
            pixels[detector],
            # Each detector fills its place, as in the maps, also one that is not square.
            extent=(left, left + DETECTOR_SIZE, bottom, bottom + DETECTOR_SIZE),
            origin="lower",
            vmin=low,
            vmax=high,
            cmap=colormaps[COLOURS],
            interpolation="none",
        )
    axes.set_xlim(-0.5, max(left for left, _ in corners.values()) + DETECTOR_SIZE + 0.5)
    axes.set_ylim(-0.5, max(bottom for _, bottom in corners.values()) + PITCH)
    axes.set_aspect("equal")
    axes.set_axis_off()
    if drawn is not None:
        bar = figure.colorbar(drawn, cax=figure.add_axes((0.855, 0.15, 0.02, 0.68)), extend="both")
        bar.set_label(scale)
    described = (
        f"{len(pixels)} of {len(names)} detectors have {kind} ({what}); colours from {low:g} to {high:g}: {scale}."
    )
    return to_svg(figure, described)
