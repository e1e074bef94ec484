# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names that a component may have, for programs that are given one."""

from __future__ import annotations

from . import subsystems

__all__ = ["VALID_COMPONENT_NAMES"]

VALID_COMPONENT_NAMES = set(subsystems)
"""Names of all components, as the list was when this module was first imported."""
