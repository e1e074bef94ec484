# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exposures for the tasks, without a Butler."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from lsst.ts.comcamcalib.simulation.containers import Exposure
from lsst.ts.comcamcalib.simulation.layout import AMPLIFIER_NAMES, DetectorLayout

LAYOUT = DetectorLayout(16, 8, 4)


@dataclasses.dataclass
class Handle:
    """What a task gets for a deferred dataset."""

    exposure: Exposure
    exposure_id: int

    @property
    def dataId(self) -> dict[str, int]:
        return {"exposure": self.exposure_id}

    def get(self) -> Exposure:
        return self.exposure


@pytest.fixture
def layout() -> DetectorLayout:
    return LAYOUT


@pytest.fixture
def make_handle() -> Callable[..., Handle]:
    """Make a processed exposure of a level and noise (electron), with what ISR writes into its header."""

    def make(exposure_id: int, level: float = 0.0, noise: float = 5.0, seconds: float = 1.0, **header: Any) -> Handle:
        rng = np.random.default_rng(exposure_id)
        metadata: dict[str, Any] = {
            "DETNAME": "R22_S00",
            "DETNUM": 0,
            "EXPTIME": seconds,
            "DARKTIME": seconds,
            "FILTER": "r_03",
            "LSST ISR UNITS": "electron",
            **LAYOUT.to_header(),
        }
        for name in AMPLIFIER_NAMES:
            metadata[f"LSST ISR GAIN {name}"] = 2.0
            metadata[f"LSST ISR READNOISE {name}"] = 5.0
            metadata[f"LSST ISR OVERSCAN RESIDUAL SERIAL STDEV {name}"] = 2.5
        array = rng.normal(level, noise, LAYOUT.image_shape).astype(np.float32)
        return Handle(Exposure.from_array(array, {**metadata, **header}), exposure_id)

    return make
