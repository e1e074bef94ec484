# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read all that cp_verify wrote into one table. What can't be read becomes a problem, never an exception."""

from .read import read_table

__all__ = ["read_table"]
