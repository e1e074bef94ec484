# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removes cosmic rays from processed darks."""

from __future__ import annotations

from typing import Any

import lsst.pex.config as pex_config
import lsst.pipe.base as pipe_base
import numpy as np
from lsst.pipe.base import connectionTypes

from ..containers import Exposure
from .isr import READ_NOISE_KEY, values_by_amplifier
from .statistics import clip_statistics, find_cosmic_rays

__all__ = ["CpDarkTask"]


class CpDarkConnections(pipe_base.PipelineTaskConnections, dimensions=("instrument", "exposure", "detector")):
    """A processed dark, without and with its cosmic rays."""

    inputExp = connectionTypes.Input(
        doc="Processed dark.",
        name="cpDarkISR",
        storageClass="SimulatedExposure",
        dimensions=("instrument", "exposure", "detector"),
    )
    outputExp = connectionTypes.Output(
        doc="The same with NaN where a cosmic ray was.",
        name="cpDarkProc",
        storageClass="SimulatedExposure",
        dimensions=("instrument", "exposure", "detector"),
    )


class CpDarkConfig(pipe_base.PipelineTaskConfig, pipelineConnections=CpDarkConnections):
    """How to find cosmic rays."""

    crGrow = pex_config.Field[int](doc="By how many pixels to widen a cosmic ray.", default=2)


class CpDarkTask(pipe_base.PipelineTask):
    """Finds cosmic rays and takes their pixels out."""

    ConfigClass = CpDarkConfig
    _DefaultName = "cpDark"

    def run(self, inputExp: Any) -> Any:
        """Return the exposure with NaN in place of cosmic rays; hot pixels stay."""
        array = inputExp.image.array.copy()
        noise = np.mean(list(values_by_amplifier(inputExp.metadata, READ_NOISE_KEY).values()))
        level = clip_statistics(array).mean
        # Twice the photon noise of the level is nothing next to a cosmic ray's charge, and keeps warm corners.
        mask = find_cosmic_rays(array, level, float(np.hypot(noise, 2 * np.sqrt(max(level, 0.0)))), self.config.crGrow)
        array[mask] = np.nan
        self.log.info("Removed %d pixels of cosmic rays.", int(mask.sum()))
        return pipe_base.Struct(outputExp=Exposure.from_array(array, inputExp.metadata))
