# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stand-in for lsst.ts.xml: the SAL interfaces of the components, as data and as classes."""

from __future__ import annotations

from .sal_interfaces import get_sal_interfaces_dir
from .testutils import subsystems

__all__ = ["get_sal_interfaces_dir", "subsystems"]
__version__ = "28.0.1+standin"
