# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures flats, and solves for the brightness of each exposure."""

from __future__ import annotations

from typing import Any

import lsst.pex.config as pex_config
import lsst.pipe.base as pipe_base
import numpy as np
import numpy.typing as npt
from lsst.pipe.base import connectionTypes

from ..layout import AMPLIFIER_NAMES, DetectorLayout
from .statistics import clip_statistics

__all__ = ["CpFlatMeasureTask", "CpFlatNormalizationTask"]


class CpFlatMeasureConnections(pipe_base.PipelineTaskConnections, dimensions=("instrument", "exposure", "detector")):
    """A processed flat and its statistics."""

    inputExp = connectionTypes.Input(
        doc="Processed flat.",
        name="postISRCCD",
        storageClass="SimulatedExposure",
        dimensions=("instrument", "exposure", "detector"),
    )
    outputStats = connectionTypes.Output(
        doc="Mean signal of the detector and its amplifiers.",
        name="flatStats",
        storageClass="StructuredDataDict",
        dimensions=("instrument", "exposure", "detector"),
    )


class CpFlatMeasureConfig(pipe_base.PipelineTaskConfig, pipelineConnections=CpFlatMeasureConnections):
    """How to clip."""

    numSigmaClip = pex_config.Field[float](doc="Clipping threshold, standard deviations.", default=3.0)
    clipMaxIter = pex_config.Field[int](doc="Clipping iterations.", default=3)


class CpFlatMeasureTask(pipe_base.PipelineTask):
    """Measures the mean signal."""

    ConfigClass = CpFlatMeasureConfig
    _DefaultName = "cpFlatMeasure"

    def run(self, inputExp: Any) -> Any:
        """Return clipped statistics of the detector and of each amplifier, in the image's unit."""
        layout = DetectorLayout.from_header(inputExp.metadata)
        clip = (self.config.numSigmaClip, self.config.clipMaxIter)
        whole = clip_statistics(inputExp.image.array, *clip)
        statistics: dict[str, Any] = {
            "DETECTOR_MEAN": whole.mean,
            "DETECTOR_SIGMA": whole.stdev,
            "DETECTOR_N": whole.number,
            "AMPLIFIER_MEAN": {
                name: clip_statistics(inputExp.image.array[layout.image_section(name)], *clip).mean
                for name in AMPLIFIER_NAMES
            },
        }
        return pipe_base.Struct(outputStats=statistics)


class CpFlatNormalizationConnections(pipe_base.PipelineTaskConnections, dimensions=("instrument", "physical_filter")):
    """Statistics of all flats in a filter, and the factor of each exposure."""

    inputMDs = connectionTypes.Input(
        doc="Statistics of each exposure and detector.",
        name="cpFlatProc_metadata",
        storageClass="StructuredDataDict",
        dimensions=("instrument", "exposure", "detector"),
        multiple=True,
    )
    outputScales = connectionTypes.Output(
        doc="Factors by exposure, detector and amplifier.",
        name="cpFlatNormScales",
        storageClass="StructuredDataDict",
        dimensions=("instrument", "physical_filter"),
    )


class CpFlatNormalizationConfig(pipe_base.PipelineTaskConfig, pipelineConnections=CpFlatNormalizationConnections):
    """What to make equal."""

    level = pex_config.ChoiceField[str](
        doc="What to normalize.",
        allowed={
            "DETECTOR": "Whole exposures: differences between detectors stay in the flat.",
            "AMP": "Single amplifiers: each is 1 in the flat.",
        },
        default="DETECTOR",
    )
    scaleMaxIter = pex_config.Field[int](doc="Iterations of the solver.", default=10)


class CpFlatNormalizationTask(pipe_base.PipelineTask):
    """Solves for the brightness of each exposure, apart from the sensitivity of each detector."""

    ConfigClass = CpFlatNormalizationConfig
    _DefaultName = "cpFlatNorm"

    def runQuantum(self, butlerQC: Any, inputRefs: Any, outputRefs: Any) -> None:
        """Read, solve, write."""
        keys = [(int(ref.dataId["exposure"]), int(ref.dataId["detector"])) for ref in inputRefs.inputMDs]
        statistics = dict(zip(keys, butlerQC.get(inputRefs.inputMDs), strict=True))
        butlerQC.put(self.run(statistics), outputRefs)

    def run(self, inputMDs: dict[tuple[int, int], Any]) -> Any:
        """Return the factors.

        Parameters
        ----------
        inputMDs
            Statistics by exposure and detector.
        """
        exposures = sorted({exposure for exposure, _ in inputMDs})
        detectors = sorted({detector for _, detector in inputMDs})
        brightness = self._solve(inputMDs, exposures, detectors)
        scales: dict[int, dict[int, dict[str, float]]] = {}
        for (exposure, detector), statistics in sorted(inputMDs.items()):
            factors = {name: brightness[exposure] for name in AMPLIFIER_NAMES}
            if self.config.level == "AMP":
                factors = dict(statistics["AMPLIFIER_MEAN"])
            scales.setdefault(exposure, {})[detector] = factors
        return pipe_base.Struct(outputScales={"expScale": scales})

    def _solve(self, statistics: Any, exposures: list[int], detectors: list[int]) -> dict[int, float]:
        """Solve mean = sensitivity of the detector x brightness of the exposure, in logarithms.

        The sensitivities' mean is one. An exposure that lacks a detector is solved with the others' sensitivities, and
        a detector without signal has none.
        """
        signal: npt.NDArray[np.float64] = np.full((len(exposures), len(detectors)), np.nan)
        for (exposure, detector), of_detector in statistics.items():
            mean = of_detector["DETECTOR_MEAN"]
            if mean > 0:
                signal[exposures.index(exposure), detectors.index(detector)] = np.log(mean)
        sensitivity = np.zeros(len(detectors))
        for _ in range(self.config.scaleMaxIter):
            brightness = np.nanmean(signal - sensitivity, axis=1)
            sensitivity = np.nanmean(signal - brightness[:, np.newaxis], axis=0)
            sensitivity -= np.log(np.nanmean(np.exp(sensitivity)))
        brightness = np.nanmean(signal - sensitivity, axis=1)
        return {exposure: float(np.exp(value)) for exposure, value in zip(exposures, brightness, strict=True)}
