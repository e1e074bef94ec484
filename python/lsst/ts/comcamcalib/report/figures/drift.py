# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much the products differ from those that were certified before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import data
from .style import FAINT, INK, new_figure, to_svg

__all__ = ["draw_drifts"]

MARKERS = "osD^vP"
COLOURS = ("#440154", "#31688e", "#21908c", "#35b779", "#b5a318", "#b5367a")


def draw_drifts(drifts: Sequence[data.DriftRow], names: Mapping[int, str]) -> str:
    """Return the drift of each detector and product, in units of its limit; "" if there is none to draw."""
    rows = [row for row in drifts if row.drift is not None]
    if not rows:
        return ""
    places = {detector: place for place, detector in enumerate(names)}
    products = list(dict.fromkeys(f"{row.calib_type} {row.physical_filter}".strip() for row in rows))
    figure = new_figure(11.6, 3.2)
    axes = figure.add_axes((0.06, 0.2, 0.93, 0.68))
    for number, product in enumerate(products):
        own = [row for row in rows if f"{row.calib_type} {row.physical_filter}".strip() == product]
        axes.scatter(
            [places[row.detector] + 0.08 * (number - len(products) / 2) for row in own if row.detector in places],
            [row.drift or 0.0 for row in own if row.detector in places],
            marker=MARKERS[number % len(MARKERS)],
            color=COLOURS[number % len(COLOURS)],
            edgecolors=INK,
            linewidths=0.4,
            label=product,
            zorder=3,
        )
    for limit in (-1.0, 1.0):
        axes.axhline(limit, color=INK, linestyle="--", linewidth=0.8)
    axes.axhline(0.0, color=INK, alpha=FAINT, linewidth=0.6)
    axes.set_xticks(range(len(names)), list(names.values()), rotation=30 if len(names) < 30 else 90)
    axes.set_ylabel("largest change / its limit")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=6)
    beyond = sum(1 for row in rows if abs(row.drift or 0.0) > 1.0)
    return to_svg(figure, f"Change against what was certified before: {beyond} of {len(rows)} are beyond their limit.")
