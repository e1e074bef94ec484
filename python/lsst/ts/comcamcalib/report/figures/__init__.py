# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's figures: each function returns a figure as SVG, which is put into the page as it is.

Text is text, and everything that would be black takes the colour of the page's text, so that one figure fits light,
dark and paper. Colour maps are those that colour-blind people can read, with fixed ranges, so that reports can be
compared.
"""

from .curves import draw_curves
from .drift import draw_drifts
from .focal_plane import draw_map
from .images import draw_defects, draw_images, draw_thumbnail

__all__ = ["draw_curves", "draw_defects", "draw_drifts", "draw_images", "draw_map", "draw_thumbnail"]
