# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""An observatory with an operator and an ENABLED CSC, as good as new for each test."""

from __future__ import annotations

import pytest
from lsst.ts.comcamcalib.csc import ComCamCalibCsc
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from support.operator import Operator
from support.run import Site


@pytest.fixture
def site(observatory: Observatory, operator: Operator, enabled_csc: ComCamCalibCsc) -> Site:
    return Site(observatory, operator, enabled_csc)
