# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The shipped configuration files, as ts_config_ocs tests them."""

from __future__ import annotations

import unittest
from pathlib import Path

from lsst.ts import salobj


class ConfigTestCase(salobj.BaseConfigTestCase, unittest.TestCase):
    """Checks every combination of _init.yaml, a site's file and an override."""

    def test_shipped_configuration(self) -> None:
        self.check_standard_config_files(
            module_name="lsst.ts.comcamcalib",
            sal_name="ComCamCalib",
            config_package_root=Path(__file__).parents[1] / "config",
        )
