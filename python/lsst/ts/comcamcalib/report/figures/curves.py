# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The photon transfer curves of a detector: a panel for each amplifier, with the fit and its residuals.

All panels are drawn in one pair of axes with the same scales, because sixteen pairs of axes take ten times as long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from .. import data
from ..places import amplifier_boxes
from .style import FAINT, INK, new_figure, to_svg

__all__ = ["draw_curves"]

COLUMNS = 8
# Parts of a panel, in units of its height.
CURVE = (0.40, 0.90)
RESIDUALS = (0.08, 0.32)
SIDES = (0.03, 0.97)
RESIDUAL_MAX = 0.1
"""Residuals are shown to this fraction of the fit; larger ones stand at the edge."""

USED, UNUSED = "#21908c", "#b5367a"

Point = tuple[float, float]


def draw_curves(curve: data.Curve) -> str:
    """Return the curves of a detector."""
    names = _as_in_the_detector(list(curve.means))
    rows = -(-len(names) // COLUMNS) or 1
    figure = new_figure(11.6, 1.75 * rows + 0.2)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    panels = _Panels(curve, names, rows)
    panels.draw(axes)
    axes.set_xlim(-0.17, COLUMNS)
    axes.set_ylim(-0.08, rows)
    axes.set_axis_off()
    measured = sum(1 for value in curve.gain.values() if value is not None)
    described = f"Photon transfer curves of {curve.name}: {measured} of {len(names)} amplifiers have a gain."
    return to_svg(figure, described)


def _as_in_the_detector(names: Sequence[str]) -> list[str]:
    """Return the amplifiers from left to right, the upper row first."""
    boxes = amplifier_boxes(names)
    return sorted(names, key=lambda name: (-boxes[name][1], boxes[name][0]))


class _Panels:
    """The panels' common scales, and what is drawn in them."""

    def __init__(self, curve: data.Curve, names: Sequence[str], rows: int) -> None:
        self._curve = curve
        self._names = names
        self._rows = rows
        means = [value for own in curve.means.values() for value in own if value is not None and value > 0]
        variances = [value for own in curve.variances.values() for value in own if value is not None and value > 0]
        self._x = _range(means)
        self._y = _range(variances)

    def draw(self, axes: Axes) -> None:
        used, unused, fits, helpers = list[Point](), list[Point](), list[list[Point]](), list[list[Point]]()
        for number, name in enumerate(self._names):
            left, bottom = number % COLUMNS, self._rows - 1 - number // COLUMNS
            self._draw_points(name, left, bottom, used, unused, fits)
            helpers += self._frame(left, bottom)
            self._label(axes, name, left, bottom)
        axes.add_collection(LineCollection(helpers, colors=INK, linewidths=0.4, alpha=FAINT))
        axes.add_collection(LineCollection(fits, colors=INK, linewidths=0.8))
        for points, colour, filled in ((used, USED, True), (unused, UNUSED, False)):
            axes.scatter(
                [x for x, _ in points],
                [y for _, y in points],
                s=9,
                marker="o" if filled else "s",
                facecolors=colour if filled else "none",
                edgecolors=colour,
                linewidths=0.7,
                zorder=3,
            )
        self._scales(axes)

    def _draw_points(
        self, name: str, left: int, bottom: int, used: list[Point], unused: list[Point], fits: list[list[Point]]
    ) -> None:
        curve = self._curve
        model: Sequence[float | None] = curve.model[name] or (None,) * len(curve.means[name])
        fit = []
        for mean, variance, expected, good in zip(
            curve.means[name], curve.variances[name], model, curve.used[name], strict=False
        ):
            if mean is None or mean <= 0:
                continue
            x = left + _between(math.log10(mean), self._x, SIDES)
            points = used if good else unused
            if variance is not None and variance > 0:
                points.append((x, bottom + _between(math.log10(variance), self._y, CURVE)))
            if expected is not None and expected > 0:
                fit.append((x, bottom + _between(math.log10(expected), self._y, CURVE)))
                if variance is not None:
                    deviation = max(-RESIDUAL_MAX, min(variance / expected - 1, RESIDUAL_MAX))
                    y = bottom + _between(deviation, (-RESIDUAL_MAX, RESIDUAL_MAX), RESIDUALS)
                    points.append((x, y))
        if fit:
            fits.append(sorted(fit))

    def _frame(self, left: int, bottom: int) -> list[list[Point]]:
        low, high = left + SIDES[0], left + SIDES[1]
        lines = []
        for begin, end in (CURVE, RESIDUALS):
            y0, y1 = bottom + begin, bottom + end
            lines.append([(low, y0), (high, y0), (high, y1), (low, y1), (low, y0)])
        middle = bottom + sum(RESIDUALS) / 2
        lines.append([(low, middle), (high, middle)])
        for decade in _decades(self._x):
            x = left + _between(decade, self._x, SIDES)
            lines += [[(x, bottom + begin), (x, bottom + end)] for begin, end in (CURVE, RESIDUALS)]
        lines += [
            [(low, bottom + y), (high, bottom + y)]
            for y in (_between(decade, self._y, CURVE) for decade in _decades(self._y))
        ]
        return lines

    def _label(self, axes: Axes, name: str, left: int, bottom: int) -> None:
        gain, noise = self._curve.gain.get(name), self._curve.noise.get(name)
        numbers = "not measured" if gain is None else f"{gain:.3f} e/adu"
        numbers += f", {noise:.1f} e" if noise is not None and gain is not None else ""
        axes.text(left + SIDES[0], bottom + CURVE[1] + 0.015, name, fontsize=8, weight="bold", va="bottom")
        axes.text(left + SIDES[1], bottom + CURVE[1] + 0.015, numbers, fontsize=7, va="bottom", ha="right")

    def _scales(self, axes: Axes) -> None:
        for decade in _decades(self._y):
            for row in range(self._rows):
                y = row + _between(decade, self._y, CURVE)
                axes.text(0.01, y, f"$10^{decade}$", fontsize=7, ha="right", va="center")
        for decade in _decades(self._x):
            for column in range(COLUMNS):
                x = column + _between(decade, self._x, SIDES)
                axes.text(x, 0.055, f"$10^{decade}$", fontsize=7, ha="center", va="top")


def _range(values: Sequence[float]) -> Point:
    """Return the decimal logarithms of the bounds of a scale, with room at both ends."""
    if not values:
        return 0.0, 1.0
    low, high = math.log10(min(values)), math.log10(max(values))
    room = 0.06 * (high - low) or 0.5
    return low - room, high + room


def _decades(scale: Point) -> range:
    return range(math.ceil(scale[0]), math.floor(scale[1]) + 1)


def _between(value: float, scale: Point, part: Point) -> float:
    """Return where a value of a scale is in a part of a panel."""
    return part[0] + (value - scale[0]) / (scale[1] - scale[0]) * (part[1] - part[0])
