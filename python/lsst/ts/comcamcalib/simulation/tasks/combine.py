# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Combines processed exposures to a master calibration."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import lsst.pex.config as pex_config
import lsst.pipe.base as pipe_base
import numpy as np
import numpy.typing as npt
from lsst.pipe.base import connectionTypes

from ..containers import Exposure
from ..layout import AMPLIFIER_NAMES, DetectorLayout
from .isr import OVERSCAN_NOISE_KEY, READ_NOISE_KEY, values_by_amplifier

__all__ = ["CalibCombineByFilterTask", "CalibCombineTask"]

# Of a value that was rounded to 1; also a dead detector has it.
_ROUNDING_VARIANCE = 1 / 12

_EXPOSURE_DIMENSIONS = ("instrument", "exposure", "detector")


class CalibCombineConnections(pipe_base.PipelineTaskConnections, dimensions=("instrument", "detector")):
    """Processed exposures of a detector, one master."""

    inputExpHandles = connectionTypes.Input(
        doc="Processed exposures.",
        name="cpInputs",
        storageClass="SimulatedExposure",
        dimensions=_EXPOSURE_DIMENSIONS,
        multiple=True,
        deferLoad=True,
    )
    inputScales = connectionTypes.Input(
        doc="Factor of each exposure.",
        name="cpScales",
        storageClass="StructuredDataDict",
        dimensions=("instrument",),
    )
    outputData = connectionTypes.Output(
        doc="Master calibration.",
        name="cpProposal",
        storageClass="SimulatedExposure",
        dimensions=("instrument", "detector"),
        isCalibration=True,
    )

    def __init__(self, *, config: Any = None) -> None:
        if config.exposureScaling != "InputList":
            del self.inputScales


class CalibCombineConfig(pipe_base.PipelineTaskConfig, pipelineConnections=CalibCombineConnections):
    """How to scale and combine."""

    calibrationType = pex_config.Field[str](doc="Type of the calibration, for its header.", default="calibration")
    exposureScaling = pex_config.ChoiceField[str](
        doc="What each exposure is divided by.",
        allowed={
            "Unity": "Nothing.",
            "ExposureTime": "Exposure time.",
            "DarkTime": "Dark time.",
            "InputList": "The factors of inputScales.",
        },
        default="Unity",
    )
    scalingLevel = pex_config.ChoiceField[str](
        doc="What the factors of inputScales are for.",
        allowed={"DETECTOR": "Whole exposures.", "AMP": "Single amplifiers."},
        default="DETECTOR",
    )
    combine = pex_config.ChoiceField[str](
        doc="Statistic of the scaled values of a pixel.",
        allowed={
            "MEANCLIP": "Mean of the values that are not clipped, weighted with the inverse variance.",
            "MEAN": "Mean, weighted with the inverse variance.",
            "MEDIAN": "Median.",
        },
        default="MEANCLIP",
    )
    clip = pex_config.Field[float](doc="Clipping threshold, standard deviations.", default=3.0)


class CalibCombineTask(pipe_base.PipelineTask):
    """Makes a master from exposures.

    Exposures of unequal signal or time are weighted with their inverse variance (cp_pipe weights them equally): with
    the few frames of a simulated run the short ones would otherwise dominate the master's noise.
    """

    ConfigClass = CalibCombineConfig
    _DefaultName = "cpCombine"

    def run(self, inputExpHandles: Any, inputScales: Any = None) -> Any:
        """Combine the exposures of one detector.

        Raises
        ------
        ValueError
            An exposure's scale is not positive.
        """
        handles = sorted(inputExpHandles, key=lambda handle: handle.dataId["exposure"])
        exposures = [handle.get() for handle in handles]
        ids = [int(handle.dataId["exposure"]) for handle in handles]
        scales = [self._scale(exposure, number, inputScales) for exposure, number in zip(exposures, ids, strict=True)]
        stack = np.stack([exposure.image.array for exposure in exposures])
        variances = np.array([_variance(exposure) for exposure in exposures])
        for image, scale in zip(stack, scales, strict=True):
            image /= scale
        mean_scales = np.array([float(np.mean(scale)) for scale in scales])
        master = self._combine(stack, mean_scales, variances)
        metadata = self._header(exposures, ids, mean_scales)
        self.log.info("Combined %d exposures to a %s.", len(ids), self.config.calibrationType)
        return pipe_base.Struct(outputData=Exposure.from_array(master, metadata))

    def _scale(self, exposure: Any, exposure_id: int, scales: Any) -> npt.NDArray[np.float32] | np.float32:
        metadata = exposure.metadata
        scaling = self.config.exposureScaling
        if scaling == "InputList":
            factors: Mapping[str, float] = scales["expScale"][exposure_id][int(metadata["DETNUM"])]
            return _spread(factors, DetectorLayout.from_header(metadata))
        scale = {"Unity": 1.0, "ExposureTime": metadata["EXPTIME"], "DarkTime": metadata["DARKTIME"]}[scaling]
        if scale <= 0:
            raise ValueError(
                f"exposure {exposure_id} can't be scaled by its {scaling}, {scale} s; leave it out of the query"
            )
        return np.float32(scale)

    def _combine(
        self, stack: npt.NDArray[np.float32], scales: npt.NDArray[Any], variances: npt.NDArray[Any]
    ) -> npt.NDArray[np.float32]:
        """Combine scaled images; a pixel that is NaN or clipped in all of them becomes NaN."""
        bad = ~np.isfinite(stack)
        if self.config.combine == "MEDIAN":
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
                return np.asarray(np.nanmedian(np.where(bad, np.nan, stack), axis=0), np.float32)
        if self.config.combine == "MEANCLIP":
            bad |= self._clipped(stack, bad, scales, variances)
        weights = (scales**2 / variances).astype(np.float32)[:, np.newaxis, np.newaxis] * ~bad
        total = weights.sum(axis=0)
        with np.errstate(invalid="ignore"):
            return np.asarray((weights * np.where(bad, np.float32(0), stack)).sum(axis=0) / total, np.float32)

    def _clipped(
        self,
        stack: npt.NDArray[np.float32],
        bad: npt.NDArray[np.bool_],
        scales: npt.NDArray[Any],
        variances: npt.NDArray[Any],
    ) -> npt.NDArray[np.bool_]:
        """Find values too far from the lower median, which a cosmic ray in one of two images does not move.

        What is too far follows from the exposure's own noise and, for the median, from the typical exposure's; a
        pixel's own signal (a hot pixel's) adds its photon noise.
        """
        ordered = np.sort(np.where(bad, np.inf, stack), axis=0)
        middle = np.maximum((~bad).sum(axis=0) - 1, 0) // 2
        centre = np.take_along_axis(ordered, middle[np.newaxis], axis=0)[0]
        signal = np.where(np.isfinite(centre), np.maximum(centre, 0), 0)
        sigma = np.sqrt(variances) / scales
        typical = np.median(sigma)
        clipped = np.zeros(stack.shape, bool)
        for index, (scale, own) in enumerate(zip(scales, sigma, strict=True)):
            limit = self.config.clip * (own + typical + np.sqrt(signal / scale))
            with np.errstate(invalid="ignore"):
                clipped[index] = np.abs(stack[index] - centre) > limit
        return clipped

    def _header(self, exposures: list[Any], ids: list[int], scales: npt.NDArray[Any]) -> dict[str, Any]:
        first = exposures[0].metadata
        header = {
            "OBSTYPE": self.config.calibrationType,
            "DETNAME": first["DETNAME"],
            "DETNUM": first["DETNUM"],
            "UNITS": first["LSST ISR UNITS"],
            "NCOMB": len(ids),
            **DetectorLayout.from_header(first).to_header(),
        }
        for index, (exposure_id, scale) in enumerate(zip(ids, scales, strict=True)):
            header[f"CPP_INPUT_{index}"] = exposure_id
            header[f"CPP_INPUT_SCALE_{index}"] = float(scale)
        for key, value in first.items():  # the calibrations that all of the exposures were corrected with
            if key.startswith("LSST CALIB") and all(other.metadata.get(key) == value for other in exposures):
                header[key] = value
        return header


def _spread(factors: Mapping[str, float], layout: DetectorLayout) -> npt.NDArray[np.float32]:
    image = np.empty(layout.image_shape, np.float32)
    for name in AMPLIFIER_NAMES:
        image[layout.image_section(name)] = factors[name]
    return image


def _variance(exposure: Any) -> float:
    """Return the variance of a typical pixel: read noise and photon noise, in the square of the image's unit.

    In adu (bootstrap images) the photon noise comes out too large by the gain; the weights hardly change.
    """
    for keyword in (READ_NOISE_KEY, OVERSCAN_NOISE_KEY):
        noise = values_by_amplifier(exposure.metadata, keyword)
        if noise:
            break
    photons = max(float(np.nanmedian(exposure.image.array)), 0.0)
    return float(np.mean(list(noise.values()))) ** 2 + photons + _ROUNDING_VARIANCE


class CalibCombineByFilterConnections(
    CalibCombineConnections, dimensions=("instrument", "detector", "physical_filter")
):
    """Processed exposures of a detector in a filter, one master."""

    inputScales = connectionTypes.Input(
        doc="Factor of each exposure.",
        name="cpFilterScales",
        storageClass="StructuredDataDict",
        dimensions=("instrument", "physical_filter"),
    )
    outputData = connectionTypes.Output(
        doc="Master calibration.",
        name="cpFilterProposal",
        storageClass="SimulatedExposure",
        dimensions=("instrument", "detector", "physical_filter"),
        isCalibration=True,
    )


class CalibCombineByFilterConfig(CalibCombineConfig, pipelineConnections=CalibCombineByFilterConnections):
    """How to scale and combine."""

    flatSource = pex_config.ChoiceField[str](
        doc="Where the light came from, for the header.",
        allowed={"DOME": "Screen.", "TWILIGHT": "Sky.", "PSEUDO": "Made by hand."},
        default="DOME",
    )


class CalibCombineByFilterTask(CalibCombineTask):
    """Makes a master flat from the exposures in one filter."""

    ConfigClass = CalibCombineByFilterConfig
    _DefaultName = "cpFilterCombine"

    def _header(self, exposures: list[Any], ids: list[int], scales: npt.NDArray[Any]) -> dict[str, Any]:
        header = super()._header(exposures, ids, scales)
        return {**header, "FILTER": exposures[0].metadata["FILTER"], "FLATSRC": self.config.flatSource}
