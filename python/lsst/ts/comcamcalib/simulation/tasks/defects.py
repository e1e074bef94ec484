# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finds defects in combined bootstrap images, and merges those of bias, dark and flat."""

from __future__ import annotations

from typing import Any

import lsst.pex.config as pex_config
import lsst.pipe.base as pipe_base
import numpy as np
import numpy.typing as npt
from lsst.pipe.base import connectionTypes

from ..containers import Defects
from ..layout import AMPLIFIER_NAMES, DetectorLayout
from .statistics import clip_statistics

__all__ = ["MeasureDefectsCombinedTask", "MeasureDefectsCombinedWithFilterTask", "MergeDefectsCombinedTask"]


class MeasureDefectsCombinedConnections(pipe_base.PipelineTaskConnections, dimensions=("instrument", "detector")):
    """A combined bias or dark, and its defects."""

    inputExp = connectionTypes.Input(
        doc="Combined image.",
        name="dark",
        storageClass="SimulatedExposure",
        dimensions=("instrument", "detector"),
        isCalibration=True,
    )
    outputDefects = connectionTypes.Output(
        doc="Defects of the image.",
        name="cpDefectsFromDark",
        storageClass="SimulatedDefects",
        dimensions=("instrument", "detector"),
    )


class MeasureDefectsCombinedTaskConfig(
    pipe_base.PipelineTaskConfig, pipelineConnections=MeasureDefectsCombinedConnections
):
    """What makes a pixel bad. All limits are relative to the amplifier's level."""

    thresholdType = pex_config.ChoiceField[str](
        doc="Kind of limit.",
        allowed={"STDEV": "Standard deviations.", "VALUE": "Values, one for each type of image."},
        default="STDEV",
    )
    nSigmaBright = pex_config.Field[float](doc="Limit above the level, STDEV.", default=4.8)
    nSigmaDark = pex_config.Field[float](doc="Limit below the level, STDEV.", default=-5.0)
    biasThreshold = pex_config.Field[float](doc="Largest distance from the level in a bias, VALUE.", default=1000.0)
    darkCurrentThreshold = pex_config.Field[float](doc="Limit above the level in a dark, per second, VALUE.", default=5)
    fracThresholdFlat = pex_config.Field[float](doc="Least fraction of the level in a flat, VALUE.", default=0.8)


class MeasureDefectsCombinedTask(pipe_base.PipelineTask):
    """Finds pixels that are too bright or too dark."""

    ConfigClass = MeasureDefectsCombinedTaskConfig
    _DefaultName = "cpDefectMeasureCombined"

    def run(self, inputExp: Any) -> Any:
        """Return the defects of a combined image; a pixel without a value is one."""
        array, metadata = inputExp.image.array, inputExp.metadata
        layout = DetectorLayout.from_header(metadata)
        bad = np.zeros(array.shape, bool)
        for name in AMPLIFIER_NAMES:
            section = layout.image_section(name)
            bad[section] = self._find(array[section], metadata["OBSTYPE"])
        self.log.info("%d bad pixels in the %s of %s.", int(bad.sum()), metadata["OBSTYPE"], metadata["DETNAME"])
        return pipe_base.Struct(outputDefects=Defects.from_mask(bad, {"DETNAME": metadata["DETNAME"]}))

    def _find(self, amplifier: npt.NDArray[np.float32], image_type: str) -> npt.NDArray[np.bool_]:
        level = clip_statistics(amplifier)
        if self.config.thresholdType == "STDEV":
            low = level.mean + self.config.nSigmaDark * level.stdev
            high = level.mean + self.config.nSigmaBright * level.stdev
        elif image_type == "flat":
            low, high = level.mean * self.config.fracThresholdFlat, np.inf
        elif image_type == "dark":
            low, high = -np.inf, level.mean + self.config.darkCurrentThreshold
        else:
            low, high = level.mean - self.config.biasThreshold, level.mean + self.config.biasThreshold
        return np.asarray(~((amplifier >= low) & (amplifier <= high)))


class MeasureDefectsCombinedWithFilterConnections(
    MeasureDefectsCombinedConnections, dimensions=("instrument", "detector", "physical_filter")
):
    """A combined flat, and its defects."""

    inputExp = connectionTypes.Input(
        doc="Combined image.",
        name="flat",
        storageClass="SimulatedExposure",
        dimensions=("instrument", "detector", "physical_filter"),
        isCalibration=True,
    )
    outputDefects = connectionTypes.Output(
        doc="Defects of the image.",
        name="cpDefectsFromFlat",
        storageClass="SimulatedDefects",
        dimensions=("instrument", "detector", "physical_filter"),
    )


class MeasureDefectsCombinedWithFilterTaskConfig(
    MeasureDefectsCombinedTaskConfig, pipelineConnections=MeasureDefectsCombinedWithFilterConnections
):
    """What makes a pixel bad."""


class MeasureDefectsCombinedWithFilterTask(MeasureDefectsCombinedTask):
    """Finds pixels of a flat that are too bright or too dark."""

    ConfigClass = MeasureDefectsCombinedWithFilterTaskConfig
    _DefaultName = "cpDefectMeasureWithFilterCombined"


class MergeDefectsCombinedConnections(pipe_base.PipelineTaskConnections, dimensions=("instrument", "detector")):
    """Defects of bias, dark and flats, and the merged ones."""

    inputBiasDefects = connectionTypes.Input(
        doc="Defects of the bias.",
        name="cpDefectsFromBias",
        storageClass="SimulatedDefects",
        dimensions=("instrument", "detector"),
    )
    inputDarkDefects = connectionTypes.Input(
        doc="Defects of the dark.",
        name="cpDefectsFromDark",
        storageClass="SimulatedDefects",
        dimensions=("instrument", "detector"),
    )
    inputFlatDefects = connectionTypes.Input(
        doc="Defects of the flat in each filter.",
        name="cpDefectsFromFlat",
        storageClass="SimulatedDefects",
        dimensions=("instrument", "detector", "physical_filter"),
        multiple=True,
    )
    mergedDefects = connectionTypes.Output(
        doc="All defects.",
        name="defects",
        storageClass="SimulatedDefects",
        dimensions=("instrument", "detector"),
        isCalibration=True,
    )


class MergeDefectsCombinedTaskConfig(pipe_base.PipelineTaskConfig, pipelineConnections=MergeDefectsCombinedConnections):
    """When a pixel is bad."""

    combinationMode = pex_config.ChoiceField[str](
        doc="How many of the images must say so.",
        allowed={"AND": "All.", "OR": "One.", "FRACTION": "More than combinationFraction of them."},
        default="FRACTION",
    )
    combinationFraction = pex_config.RangeField[float](doc="See combinationMode.", default=0.7, min=0.0, max=1.0)


class MergeDefectsCombinedTask(pipe_base.PipelineTask):
    """Merges the defects of bias, dark and flats."""

    ConfigClass = MergeDefectsCombinedTaskConfig
    _DefaultName = "cpDefectMergeCombined"

    def run(self, inputBiasDefects: Any, inputDarkDefects: Any, inputFlatDefects: Any) -> Any:
        """Return the merged defects."""
        measured = [inputBiasDefects, inputDarkDefects, *inputFlatDefects]
        boxes = [defect.getBBox() for defects in measured for defect in defects]
        shape = (
            max((box.getMaxY() for box in boxes), default=0) + 1,
            max((box.getMaxX() for box in boxes), default=0) + 1,
        )
        votes = np.sum([defects.to_mask(shape) for defects in measured], axis=0)
        needed = {
            "AND": len(measured),
            "OR": 1,
            "FRACTION": int(np.floor(self.config.combinationFraction * len(measured))) + 1,
        }[self.config.combinationMode]
        merged = Defects.from_mask(votes >= needed, {**inputDarkDefects.metadata, "OBSTYPE": "defects"})
        self.log.info("%d defects.", len(merged))
        return pipe_base.Struct(mergedDefects=merged)
