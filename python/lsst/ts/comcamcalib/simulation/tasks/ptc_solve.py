# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fits photon transfer curves, and makes the gains of a detector's amplifiers agree with each other."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import lsst.pex.config as pex_config
import lsst.pipe.base as pipe_base
import numpy as np
import numpy.typing as npt
from lsst.pipe.base import connectionTypes

from ..containers import PhotonTransferCurve

__all__ = ["PhotonTransferCurveAdjustGainRatiosTask", "PhotonTransferCurveSolveTask"]

# Beyond the turn-off, neighbouring pixels share their charge and the variance drops; noise alone moves it by far less.
_TURNOFF_DROP = 0.9


class PhotonTransferCurveSolveConnections(pipe_base.PipelineTaskConnections, dimensions=("instrument", "detector")):
    """The pairs of a detector, and their photon transfer curve."""

    inputCovariances = connectionTypes.Input(
        doc="Measurements of the pairs.",
        name="ptcCovariances",
        storageClass="SimulatedPhotonTransferCurve",
        dimensions=("instrument", "exposure", "detector"),
        isCalibration=True,
        multiple=True,
    )
    outputPtcDataset = connectionTypes.Output(
        doc="Photon transfer curve.",
        name="ptcDatasetProposal",
        storageClass="SimulatedPhotonTransferCurve",
        dimensions=("instrument", "detector"),
        isCalibration=True,
    )


class PhotonTransferCurveSolveConfig(
    pipe_base.PipelineTaskConfig, pipelineConnections=PhotonTransferCurveSolveConnections
):
    """Which pairs to fit, and with what."""

    ptcFitType = pex_config.ChoiceField[str](
        doc="What to fit.",
        allowed={"POLYNOMIAL": "Variance as a polynomial of the mean."},
        default="POLYNOMIAL",
    )
    polynomialFitDegree = pex_config.Field[int](
        doc="Degree; the simulated camera has no brighter-fatter effect, so a line is the truth.", default=1
    )
    minMeanSignal = pex_config.DictField(
        keytype=str, itemtype=float, doc="Least mean signal, adu.", default={"ALL_AMPS": 0.0}
    )
    maxMeanSignal = pex_config.DictField(
        keytype=str, itemtype=float, doc="Largest mean signal, adu.", default={"ALL_AMPS": 1e6}
    )


class PhotonTransferCurveSolveTask(pipe_base.PipelineTask):
    """Fits the variance of a pixel as a function of the mean signal.

    The slope is 1 / gain, the intercept the square of the read noise (adu).
    """

    ConfigClass = PhotonTransferCurveSolveConfig
    _DefaultName = "cpPhotonTransferCurveSolve"

    def run(self, inputCovariances: Any) -> Any:
        """Return the photon transfer curve of all pairs."""
        pairs = sorted(inputCovariances, key=lambda pair: pair.rawMeans[pair.ampNames[0]][0])
        curve = PhotonTransferCurve(list(pairs[0].ampNames), self.config.ptcFitType, metadata=dict(pairs[0].metadata))
        for field in ("inputExpIdPairs", "rawExpTimes", "rawMeans", "rawVars", "gainList", "noiseList"):
            for name in curve.ampNames:
                getattr(curve, field)[name] = [getattr(pair, field)[name][0] for pair in pairs]
        for name in curve.ampNames:
            self._fit(curve, name)
        if curve.badAmps:
            self.log.warning("No gain for amplifiers %s of %s.", ", ".join(curve.badAmps), curve.metadata["DETNAME"])
        return pipe_base.Struct(outputPtcDataset=curve)

    def _fit(self, curve: PhotonTransferCurve, name: str) -> None:
        means, variances = np.array(curve.rawMeans[name]), np.array(curve.rawVars[name])
        used = self._usable(name, means, variances)
        curve.expIdMask[name] = [bool(value) for value in used]
        noise = float(np.sqrt(np.mean(np.square(curve.noiseList[name]))))
        degree = self.config.polynomialFitDegree
        if used.sum() < degree or not noise > 0:
            curve.badAmps.append(name)
            for field in (curve.gain, curve.gainUnc, curve.noise, curve.ptcTurnoff, curve.ptcFitChiSq):
                field[name] = math.nan
            curve.ptcFitPars[name] = [math.nan] * (degree + 1)
            return
        # The overscan is a pair without light: it ties down the intercept, which flats of thousands of electrons can't.
        x = np.append(means[used], 0.0)
        y = np.append(variances[used], noise**2)
        coefficients = np.polyfit(x, y, degree, w=1 / y)[::-1]
        gain = 1 / float(coefficients[1])
        relative = np.polyval(coefficients[::-1], x) / y - 1
        curve.gain[name] = gain
        curve.noise[name] = gain * math.sqrt(max(float(coefficients[0]), 0.0))
        curve.gainUnc[name] = gain * float(np.std(relative)) / math.sqrt(used.sum())
        curve.ptcTurnoff[name] = float(means[used].max())
        curve.ptcFitPars[name] = [float(value) for value in coefficients]
        curve.ptcFitChiSq[name] = float(np.sum(relative**2)) / max(len(x) - degree - 1, 1)

    def _usable(self, name: str, means: npt.NDArray[Any], variances: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return which pairs have a finite variance, a signal within limits, and lie below the turn-off."""
        finite = np.isfinite(means) & np.isfinite(variances)
        low, high = (
            limits.get(name, limits.get("ALL_AMPS"))
            for limits in (dict(self.config.minMeanSignal), dict(self.config.maxMeanSignal))
        )
        usable: npt.NDArray[np.bool_] = finite & (means >= low) & (means <= high)
        if usable.any():
            peak = int(np.argmax(np.where(usable, variances, -np.inf)))
            usable &= ~((means > means[peak]) & (variances < _TURNOFF_DROP * variances[peak]))
        return usable


class PhotonTransferCurveAdjustGainRatiosConnections(
    pipe_base.PipelineTaskConnections, dimensions=("instrument", "detector")
):
    """A photon transfer curve before and after."""

    input_ptc = connectionTypes.Input(
        doc="Photon transfer curve; it has the mean signal of each flat.",
        name="ptcUnadjusted",
        storageClass="SimulatedPhotonTransferCurve",
        dimensions=("instrument", "detector"),
        isCalibration=True,
    )
    output_ptc = connectionTypes.Output(
        doc="Photon transfer curve with adjusted gains.",
        name="ptc",
        storageClass="SimulatedPhotonTransferCurve",
        dimensions=("instrument", "detector"),
        isCalibration=True,
    )


class PhotonTransferCurveAdjustGainRatiosConfig(
    pipe_base.PipelineTaskConfig, pipelineConnections=PhotonTransferCurveAdjustGainRatiosConnections
):
    """Which flats to use."""

    min_adu = pex_config.Field[float](doc="Least mean signal, adu.", default=500.0)
    max_adu = pex_config.Field[float](doc="Largest mean signal, adu.", default=60_000.0)


class PhotonTransferCurveAdjustGainRatiosTask(pipe_base.PipelineTask):
    """Adjusts the ratios of gains.

    In electrons, the light on a detector varies smoothly from amplifier to amplifier. A mean signal is known far better
    than a variance, so what remains after a smooth surface (bilinear, with curvature along the rows of amplifiers) is
    taken out of the gains; their overall level stays.
    """

    ConfigClass = PhotonTransferCurveAdjustGainRatiosConfig
    _DefaultName = "cpPtcAdjustGainRatios"

    def run(self, input_ptc: PhotonTransferCurve) -> Any:
        """Return the curve with adjusted gains; bad amplifiers, and a detector with few good ones, stay as they are."""
        good = [name for name in input_ptc.ampNames if name not in input_ptc.badAmps]
        column = np.array([int(name[2]) / 3.5 - 1 for name in good])
        row = np.array([2.0 * int(name[1]) - 1 for name in good])
        surface = np.stack([np.ones(len(good)), column, row, column**2, column * row], axis=1)
        curve = dataclasses.replace(input_ptc, gain=dict(input_ptc.gain), noise=dict(input_ptc.noise))
        means, used = self._usable(input_ptc, good)
        if len(good) <= surface.shape[1] or not used.any():
            self.log.warning("Gain ratios of %s not adjusted: too few usable flats.", curve.metadata["DETNAME"])
            return pipe_base.Struct(output_ptc=curve)
        gains = np.array([input_ptc.gain[name] for name in good])
        signal = gains * np.mean(means[:, used] / means[:, used].mean(axis=0), axis=1)
        smooth = surface @ np.linalg.lstsq(surface, signal, rcond=None)[0]
        for name, factor in zip(good, smooth / signal, strict=True):
            curve.gain[name] *= float(factor)
            curve.noise[name] *= float(factor)
        return pipe_base.Struct(output_ptc=curve)

    def _usable(
        self, curve: PhotonTransferCurve, good: list[str]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Return the mean signals of the good amplifiers, and which pairs can be used for all of them."""
        pairs = len(next(iter(curve.rawMeans.values())))
        means = np.array([curve.rawMeans[name] for name in good], float).reshape(len(good), pairs)
        used = np.array([curve.expIdMask[name] for name in good], bool).reshape(len(good), pairs).all(axis=0)
        with np.errstate(invalid="ignore"):
            used &= means.min(axis=0, initial=np.inf) >= self.config.min_adu
            used &= means.max(axis=0, initial=-np.inf) <= self.config.max_adu
        return means, used
