# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""LSSTComCam as the simulated repository and its pipelines know it."""

from __future__ import annotations

from typing import Any

from lsst.pipe.base import Instrument

from .formatters import FitsExposureFormatter
from .layout import DETECTOR_NAMES, INSTRUMENT, PHYSICAL_FILTERS, RAFT

__all__ = ["SimulatedComCam"]


class SimulatedComCam(Instrument):  # type: ignore[misc]
    """The instrument, under its real name."""

    raw_definition = ("raw", ("instrument", "exposure", "detector"), "SimulatedExposure")
    policyName = "comCam"

    @classmethod
    def getName(cls) -> str:
        """Return the name that the Butler knows it by."""
        return INSTRUMENT

    def getRawFormatter(self, dataId: Any) -> type[FitsExposureFormatter]:
        """Return how its raw files are read."""
        return FitsExposureFormatter

    def register(self, registry: Any, *, update: bool = False) -> None:
        """Add instrument, detectors and filters to a repository."""
        with registry.transaction():
            registry.syncDimensionData("instrument", self._instrument_record(), update=update)
            for number, full_name in enumerate(DETECTOR_NAMES):
                record = {
                    "instrument": INSTRUMENT,
                    "id": number,
                    "full_name": full_name,
                    "name_in_raft": full_name.removeprefix(f"{RAFT}_"),
                    "raft": RAFT,
                    "purpose": "SCIENCE",
                }
                registry.syncDimensionData("detector", record, update=update)
            for name, band in PHYSICAL_FILTERS.items():
                record = {"instrument": INSTRUMENT, "name": name, "band": band}
                registry.syncDimensionData("physical_filter", record, update=update)

    def _instrument_record(self) -> dict[str, Any]:
        return {
            "name": INSTRUMENT,
            "detector_max": 999,  # as obs_lsst: three digits follow the exposure id
            "exposure_max": 6050123199999,  # a day_obs of 6050 (controller offsets included) and five digits
            "visit_max": 6050123199999,
            "class_name": f"{type(self).__module__}.{type(self).__name__}",
            "visit_system": None,
        }
