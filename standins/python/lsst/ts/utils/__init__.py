# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stand-in for lsst.ts.utils: time conversions, index generators and small aids for tests."""

from .environ import modify_environ
from .misc import index_generator, make_done_future
from .tai import astropy_time_from_tai_unix, current_tai, tai_from_utc, tai_from_utc_unix, utc_from_tai_unix

__all__ = [
    "astropy_time_from_tai_unix",
    "current_tai",
    "index_generator",
    "make_done_future",
    "modify_environ",
    "tai_from_utc",
    "tai_from_utc_unix",
    "utc_from_tai_unix",
]
__version__ = "1.3.0+standin"
