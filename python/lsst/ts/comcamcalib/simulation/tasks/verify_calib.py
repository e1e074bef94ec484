# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests photon transfer curves, and gains of pairs of flats, as cp_verify does."""

from __future__ import annotations

import math
from typing import Any

import lsst.pex.config as pex_config
import lsst.pipe.base as pipe_base
import numpy as np
import numpy.typing as npt
from lsst.pipe.base import connectionTypes

from ..camera_geometry import Camera
from ..containers import PhotonTransferCurve

__all__ = ["CpVerifyGainTask", "CpVerifyPtcTask"]

# A literal in cp_verify's code.
_INDEPENDENCE_LIMIT = 1.25
_ITL_FLUX_SLOPE = 0.00027  # percent per adu, by which a pair's gain is corrected; of ITL's detectors


class CpVerifyCalibConnections(pipe_base.PipelineTaskConnections, dimensions=("instrument", "detector")):
    """A calibration of a detector, the camera, and what the tests say."""

    exposure = connectionTypes.Input(
        doc="Exposures that tell which calibration is meant.",
        name="raw",
        storageClass="SimulatedExposure",
        dimensions=("instrument", "exposure", "detector"),
        multiple=True,
        deferLoad=True,
    )
    inputCalib = connectionTypes.PrerequisiteInput(
        doc="The calibration.",
        name="calib",
        storageClass="SimulatedPhotonTransferCurve",
        dimensions=("instrument", "detector"),
        isCalibration=True,
    )
    camera = connectionTypes.PrerequisiteInput(
        doc="Nominal gains and read noises.",
        name="camera",
        storageClass="SimulatedCamera",
        dimensions=("instrument",),
        isCalibration=True,
    )
    outputStats = connectionTypes.Output(
        doc="Statistics and test results.",
        name="calibStats",
        storageClass="StructuredDataDict",
        dimensions=("instrument", "detector"),
    )


class CpVerifyCalibConfig(pipe_base.PipelineTaskConfig, pipelineConnections=CpVerifyCalibConnections):
    """Limits of the tests."""

    gainThreshold = pex_config.Field[float](doc="Largest distance from the nominal gain, percent.", default=5.0)
    noiseThreshold = pex_config.Field[float](doc="Largest distance from the nominal read noise, percent.", default=5.0)
    turnoffThreshold = pex_config.Field[float](doc="Least turn-off, electron.", default=90_000.0)


class CpVerifyPtcTask(pipe_base.PipelineTask):
    """Tests a photon transfer curve against the camera's nominal values."""

    ConfigClass = CpVerifyCalibConfig
    _DefaultName = "cpVerifyPtc"

    def runQuantum(self, butlerQC: Any, inputRefs: Any, outputRefs: Any) -> None:
        """Read, test, write."""
        inputs = butlerQC.get(inputRefs)
        detector = int(inputRefs.inputCalib.dataId["detector"])
        butlerQC.put(self.run(inputs["inputCalib"], inputs["camera"], detector), outputRefs)

    def run(self, inputCalib: PhotonTransferCurve, camera: Camera, detector: int) -> Any:
        """Return statistics and test results of one detector, in the shape that cp_verify gives them."""
        amplifiers = {one.getName(): self._measure(inputCalib, one) for one in camera[detector]}
        verify = {name: self._judge(inputCalib, name, values) for name, values in amplifiers.items()}
        statistics = {
            "AMP": amplifiers,
            "DET": {},
            "VERIFY": {"AMP": verify},
            "SUCCESS": all(tests["SUCCESS"] for tests in verify.values()),
        }
        return pipe_base.Struct(outputStats=statistics)

    def _measure(self, curve: PhotonTransferCurve, amplifier: Any) -> dict[str, Any]:
        name = amplifier.getName()
        return {
            "PTC_GAIN": curve.gain[name],
            "AMP_GAIN": amplifier.getGain(),
            "PTC_NOISE": curve.noise[name],
            "AMP_NOISE": amplifier.getReadNoise(),
            "PTC_TURNOFF": curve.ptcTurnoff[name],
            "PTC_FIT_TYPE": curve.ptcFitType,
            "PTC_MAX_RAW_MEANS": max(curve.rawMeans.get(name, ()), default=math.nan),
            "PTC_RAW_MEANS": list(curve.rawMeans.get(name, ())),
            "PTC_RAW_VARIANCE": list(curve.rawVars.get(name, ())),
            "PTC_FINAL_MEANS": curve.finalMeans.get(name, []),
            "PTC_FINAL_VARIANCE": curve.finalVars.get(name, []),
            "PTC_EXP_ID_MASK": list(curve.expIdMask.get(name, ())),
        }

    def _judge(self, curve: PhotonTransferCurve, name: str, values: dict[str, Any]) -> dict[str, bool]:
        limits = self.config
        used = np.array(curve.noiseList.get(name, ()), float)[np.array(curve.expIdMask.get(name, ()), bool)]
        tests = {
            "PTC_GAIN": _percent(values["PTC_GAIN"], values["AMP_GAIN"]) < limits.gainThreshold,
            "PTC_NOISE": _percent(values["PTC_NOISE"], values["AMP_NOISE"]) < limits.noiseThreshold,
            "NOISE_SIGNAL_INDEPENDENCE": _independence(used) < _INDEPENDENCE_LIMIT,
            "PTC_TURNOFF": values["PTC_TURNOFF"] * values["PTC_GAIN"] > limits.turnoffThreshold,
        }
        return {**tests, "SUCCESS": all(tests.values())}


def _percent(value: float, nominal: float) -> float:
    return abs(value - nominal) / nominal * 100


def _independence(noises: npt.NDArray[np.float64]) -> float:
    """Return what cp_verify takes for a reduced chi square of the pairs' noises (adu) about their mean.

    It divides by the standard deviation, not by its square, so that the result is just that standard deviation, and
    not a number if all are the same.
    """
    spread = float(noises.std()) if noises.size else math.nan
    return spread if spread > 0 else math.nan


class CpVerifyGainConnections(CpVerifyCalibConnections, dimensions=("instrument", "detector")):
    """The gain of a pair of flats: of one pair only, though a run has several."""

    inputCalib = connectionTypes.Input(
        doc="Gain and noise of a pair.",
        name="calib",
        storageClass="SimulatedPhotonTransferCurve",
        dimensions=("instrument", "exposure", "detector"),
        isCalibration=True,
    )


class CpVerifyGainConfig(CpVerifyCalibConfig, pipelineConnections=CpVerifyGainConnections):
    """Limits of the tests."""


class CpVerifyGainTask(CpVerifyPtcTask):
    """Tests gain and noise that a pair of flats gives. All detectors are taken for ITL's."""

    ConfigClass = CpVerifyGainConfig
    _DefaultName = "cpVerifyGain"

    def run(self, inputCalib: PhotonTransferCurve, camera: Camera, detector: int) -> Any:
        """Return statistics and test results; as in cp_verify, the results are only the names of failed tests."""
        amplifiers = {}
        failed = {}
        for amplifier in camera[detector]:
            name = amplifier.getName()
            mean = inputCalib.rawMeans[name][0]
            correction = 1 - _ITL_FLUX_SLOPE * mean / 100
            amplifiers[name] = {
                "MEAN_FLUX_FLAT_PAIR": mean,
                "GAIN_FROM_FLAT_PAIR": inputCalib.gain[name],
                "GAIN_CORRECTION_FACTOR": correction,
                "AMP_GAIN": amplifier.getGain(),
                "ISR_NOISE": inputCalib.noise[name],
                "AMP_NOISE": amplifier.getReadNoise(),
            }
            gain, noise = correction * inputCalib.gain[name], inputCalib.noise[name]
            if not _percent(gain, amplifier.getGain()) < self.config.gainThreshold:
                failed["GAIN_FROM_FLAT_PAIR"] = False
            if not _percent(noise, amplifier.getReadNoise()) < self.config.noiseThreshold:
                failed["ISR_NOISE"] = False
        statistics = {"AMP": amplifiers, "DET": {}, "VERIFY": failed, "SUCCESS": not failed}
        return pipe_base.Struct(outputStats=statistics)
