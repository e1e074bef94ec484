# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A stand-in for lsst.ts.observatory.control, as far as a calibration CSC, its simulators and tests use it.

What it has: groups of remotes, and ComCam's class with the ordinary image types. What it leaves out: every other camera
and telescope, the stuttered exposures, the checks of software versions and simulation modes, and the mocks.
"""

from .base_camera import BaseCamera, CameraExposure
from .remote_group import RemoteGroup, Usages, UsagesResources

__all__ = ["BaseCamera", "CameraExposure", "RemoteGroup", "Usages", "UsagesResources"]
