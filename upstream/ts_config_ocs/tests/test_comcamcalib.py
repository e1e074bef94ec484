# This file is part of ts_config_ocs.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration files of ComCamCalib: each site's, with and without each override, fits the schema of the CSC."""

import pathlib
import unittest

from lsst.ts import salobj


class ComCamCalibConfigTestCase(salobj.BaseConfigTestCase, unittest.TestCase):
    """Check what is in the folder ComCamCalib of this repository."""

    def test_ComCamCalib(self) -> None:
        """Every site's configuration is valid."""
        self.check_standard_config_files(
            sal_name="ComCamCalib",
            module_name="lsst.ts.comcamcalib",
            schema_name="CONFIG_SCHEMA",
            config_package_root=pathlib.Path(__file__).parents[1],
        )
