# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the amplifiers of the simulated detectors are, and that the CSC is told."""

from __future__ import annotations

from pathlib import Path

from lsst.ts.comcamcalib.services.frame_values import regions
from lsst.ts.comcamcalib.simulation.configuration import csc_settings
from lsst.ts.comcamcalib.simulation.layout import AMPLIFIER_NAMES, DetectorLayout


def test_the_csc_of_the_observatory_knows_where_the_amplifiers_are() -> None:
    settings = csc_settings(uws_url="http://localhost/api/v1", repo=Path("repo"), work_directory=Path(), speed=1.0)
    layout = DetectorLayout(16, 8, 4)
    places = regions(layout.image_shape, settings["instrument"]["amplifier_rows"])
    assert places == {name: layout.image_section(name) for name in AMPLIFIER_NAMES}
