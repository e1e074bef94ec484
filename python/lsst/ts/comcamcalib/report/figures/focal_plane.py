# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""A quantity over the focal plane, an amplifier a box, and its histogram."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from .. import data
from ..places import DETECTOR_SIZE, amplifier_boxes, detector_corners
from .style import FAINT, INK, new_figure, to_svg

__all__ = ["SCALES", "Scale", "draw_map"]


@dataclasses.dataclass(frozen=True)
class Scale:
    """Fixed range of a map's colours; relative: the values are divided by their median first."""

    low: float
    high: float
    colours: str = "viridis"
    relative: bool = False


SCALES: Mapping[str, Scale] = {
    # The ranges of eo_pipe's focal-plane maps, where it has the quantity.
    "noise": Scale(0.0, 20.0),
    "dark_rate": Scale(0.0, 0.3),
    "turnoff": Scale(5e4, 2e5),
    # SITCOMTN-148 calls gains outside 1.2 to 2.0 suspicious.
    "gain": Scale(1.0, 2.0),
    # A level by itself says how bright the lamp was; flat fields differ by some per cent over the focal plane.
    "level": Scale(0.9, 1.1, "cividis", relative=True),
    "failures": Scale(0.0, 10.0, "cividis"),
}

BINS = 50

LEAST_RANGE = 0.01
"""Least range of a histogram, in parts of the greatest value."""

LARGE = 1e4
"""Above this, the numbers beside the colours are shortened, as 100 k."""

# Places of the axes: left, bottom, width and height, in parts of the figure.
PLANE = (0.0, 0.02, 0.51, 0.93)
COLOURS = (0.53, 0.12, 0.018, 0.72)
HISTOGRAM = (0.70, 0.14, 0.27, 0.76)


def draw_map(one: data.AmplifierMap, names: Mapping[int, str]) -> str:
    """Return the map of a quantity and its histogram.

    Parameters
    ----------
    one
        The quantity.
    names
        Names of the detectors by id.
    """
    scale = SCALES[one.key]
    divisor = (one.median or 1.0) if scale.relative else 1.0
    figure = new_figure(7.4, 3.7)
    _draw_plane(figure, figure.add_axes(PLANE), one, names, scale, divisor)
    _draw_histogram(figure.add_axes(HISTOGRAM), one)
    about = f"median {one.median:.4g} {one.unit}" if one.median is not None else "not measured"
    what = f"{one.title}, {about}; {one.evaluated} of {one.expected} amplifiers evaluated. Map and histogram."
    return to_svg(figure, what)


def _draw_plane(
    figure: Figure, axes: Axes, one: data.AmplifierMap, names: Mapping[int, str], scale: Scale, divisor: float
) -> None:
    corners = detector_corners(names)
    boxes, values, missing = [], [], []
    for detector, (left, bottom) in corners.items():
        own = one.values.get(detector, {})
        for amplifier, (x, y, width, height) in amplifier_boxes(list(own)).items():
            box = _corners(left + x, bottom + y, width, height)
            value = own[amplifier]
            if value is None:
                missing.append(box)
                continue
            boxes.append(box)
            values.append(value / divisor)
            if one.key == "failures" and value > 0:
                _cross(axes, left + x + width / 2, bottom + y + height / 2, on_dark=value < scale.high / 2)
        if not own:
            missing.append(_corners(left, bottom, DETECTOR_SIZE, DETECTOR_SIZE))
        name = names.get(detector, str(detector))
        axes.text(left + DETECTOR_SIZE / 2, bottom + DETECTOR_SIZE + 0.15, name, ha="center", va="bottom", fontsize=8)
    colours = ScalarMappable(Normalize(scale.low, scale.high), colormaps[scale.colours])
    axes.add_collection(
        PolyCollection(boxes, facecolors=colours.to_rgba(np.array(values)), edgecolors=INK, linewidths=0.3)
    )
    axes.add_collection(PolyCollection(missing, facecolors="none", edgecolors=INK, hatch="////", linewidths=0.5))
    axes.set_xlim(-0.5, max(left for left, _ in corners.values()) + DETECTOR_SIZE + 0.5)
    axes.set_ylim(-0.5, max(bottom for _, bottom in corners.values()) + DETECTOR_SIZE + 1.6)
    axes.set_aspect("equal")
    axes.set_axis_off()
    bar = figure.colorbar(colours, cax=figure.add_axes(COLOURS), extend=_beyond(values, scale))
    bar.set_label("level / median of all" if scale.relative else one.unit)
    bar.outline.set_linewidth(0.5)
    if scale.high > LARGE:
        bar.ax.yaxis.set_major_formatter(EngFormatter(sep=" "))
    if missing:
        axes.set_title("hatched: not measured", fontsize=8.5, loc="left")


def _cross(axes: Axes, x: float, y: float, on_dark: bool) -> None:
    """Mark an amplifier; whatever the colours of the page are, the mark stands on that of the amplifier."""
    axes.text(x, y, "×", ha="center", va="center", fontsize=9, color="w" if on_dark else "k")


def _corners(left: float, bottom: float, width: float, height: float) -> list[tuple[float, float]]:
    return [(left, bottom), (left + width, bottom), (left + width, bottom + height), (left, bottom + height)]


def _beyond(values: list[float], scale: Scale) -> str:
    """Say on which sides of the scale there are values."""
    below, above = any(value < scale.low for value in values), any(value > scale.high for value in values)
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[below, above]


def _range(values: list[float]) -> tuple[float, float]:
    """Return the range of a histogram; values that are all the same have one, too."""
    low, high = min(values), max(values)
    room = max(LEAST_RANGE * max(abs(low), abs(high)) - (high - low), 0.0) / 2
    return low - room, high + room


def _draw_histogram(axes: Axes, one: data.AmplifierMap) -> None:
    values = [value for own in one.values.values() for value in own.values() if value is not None]
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{one.evaluated} of {one.expected} amplifiers evaluated", fontsize=9)
    axes.set_xlabel(one.unit if one.key == "failures" else f"{one.title} ({one.unit})")
    axes.set_ylabel("amplifiers")
    if not values:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", fontsize=11)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    if one.key == "failures":
        counts = sorted({int(value) for value in values})
        axes.bar(counts, [sum(1 for value in values if value == count) for count in counts], color="#31688e")
    else:
        axes.hist(
            values,
            bins=BINS,
            range=_range(values),
            histtype="stepfilled",
            color="#31688e",
            edgecolor=INK,
            linewidth=0.4,
        )
        axes.ticklabel_format(axis="x", useOffset=False)
        axes.locator_params(axis="x", nbins=5)
    if one.median is not None:
        axes.axvline(one.median, color=INK, linewidth=1.0, linestyle="--")
    axes.grid(axis="y", color=INK, alpha=FAINT / 2, linewidth=0.4)
