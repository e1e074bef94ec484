# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The list of all components, which other programs go through.

As in the original it is written down here a second time: an entry in SALSubsystems.xml alone does not add to it.
"""

from __future__ import annotations

__all__ = ["subsystems"]

subsystems = [
    "CCCamera",
    "CCHeaderService",
    "CCOODS",
    "OCPS",
    "Test",
]
