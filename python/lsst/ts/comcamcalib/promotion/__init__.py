# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copy what a run has certified into another collection, with who wants that and why.

It is an act of its own, for people who look after collections: the CSC never does it. It works on the repository
directly, and only reads the CSC's journal, because the CSC owns that.
"""

from .act import promote_planned
from .plan import plan_promotion
from .wanted import Planned, Promotion

__all__ = ["Planned", "Promotion", "plan_promotion", "promote_planned"]
