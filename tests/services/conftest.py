# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures for the tests of the services."""

from __future__ import annotations

import pytest
from lsst.ts.comcamcalib.config import Limits


@pytest.fixture
def limits() -> Limits:
    """Limits that a passing test never reaches."""
    return Limits(**dict.fromkeys(Limits.model_fields, 20.0))
