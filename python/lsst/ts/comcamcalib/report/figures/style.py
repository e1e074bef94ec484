# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all figures share: their look, and how they become SVG."""

from __future__ import annotations

import io
import re
from html import escape

import matplotlib

matplotlib.use("Agg")

from matplotlib.figure import Figure

__all__ = ["FAINT", "INK", "new_figure", "to_svg"]

INK = "#010203"
"""Stands for the colour of the page's text, which takes its place in the SVG."""

FAINT = 0.35
"""Opacity of lines that only help to read the others."""

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ComCamCalib",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.color": INK,
    "hatch.linewidth": 0.5,
}


def new_figure(width_in: float, height_in: float) -> Figure:
    """Return an empty figure (inches). Its axes get fixed places: to find them takes matplotlib half of its time."""
    matplotlib.rcParams.update(STYLE)
    return Figure(figsize=(width_in, height_in))


def to_svg(figure: Figure, described: str) -> str:
    """Return a figure as an SVG element.

    Parameters
    ----------
    figure
        The figure.
    described
        What it shows, for those who can't see it.
    """
    buffer = io.StringIO()
    matplotlib.rcParams.update(STYLE)
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    # It would count for the whole page.
    text = re.sub(r"<style[^>]*>.*?</style>\s*", "", text, flags=re.DOTALL)
    # Every figure has a figure_1, and ids must be unique; nothing refers to these.
    text = re.sub(r'<g id="[a-zA-Z_]+_\d+">', "<g>", text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"|(<svg[^>]*?) height="[^"]*" width="[^"]*"', r"\1\2", text)
    text = re.sub(r'(<svg)((?:(?! width=)[^>])*?) width="([^"]*)"', r"\1\2", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    label = escape(described, quote=True)
    text = text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    text = text.replace(INK, "currentColor")
    return re.sub(r"\n\s*", "\n", text).strip()
