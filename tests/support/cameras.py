# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cameras of other sizes than the shipped one."""

from __future__ import annotations

from typing import Any

from support.plans import make_config

__all__ = ["LSSTCAM", "instrument_of"]

CORNERS = ("R00", "R04", "R40", "R44")
RAFTS = [name for name in (f"R{row}{column}" for row in range(5) for column in range(5)) if name not in CORNERS]

LSSTCAM = (
    *(f"{raft}_S{row}{column}" for raft in RAFTS for row in range(3) for column in range(3)),
    *(f"{raft}_{sensor}" for raft in CORNERS for sensor in ("SG0", "SG1", "SW0", "SW1")),
)
"""All 205 detectors of LSSTCam: 21 rafts of nine, and two guiders and two wavefront sensors in each corner."""


def instrument_of(*names: str) -> dict[str, Any]:
    """Return the shipped instrument as the configuration has it, with other detectors."""
    detectors = [{"id": number, "name": name, "amplifiers": 16} for number, name in enumerate(names)]
    return {**make_config().instrument.model_dump(), "detectors": detectors}
