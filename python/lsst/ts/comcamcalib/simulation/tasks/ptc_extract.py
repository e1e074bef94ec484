# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures mean signal and variance of pairs of flats of equal exposure time."""

from __future__ import annotations

import itertools
import math
from typing import Any

import lsst.pex.config as pex_config
import lsst.pipe.base as pipe_base
import numpy.typing as npt
from lsst.pipe.base import connectionTypes

from ..containers import PhotonTransferCurve
from ..layout import AMPLIFIER_NAMES, DetectorLayout
from .isr import OVERSCAN_NOISE_KEY, values_by_amplifier
from .statistics import clip_statistics

__all__ = ["PhotonTransferCurveExtractPairTask"]

_TIME_TOLERANCE_S = 5e-3


class PhotonTransferCurveExtractPairConnections(
    pipe_base.PipelineTaskConnections, dimensions=("instrument", "exposure", "detector")
):
    """Two processed flats, and what they say of gain and noise, under the first one's exposure id."""

    inputExp = connectionTypes.Input(
        doc="Processed flats: the quantum's own, and the second one of the pair.",
        name="ptcInputExposurePairs",
        storageClass="SimulatedExposure",
        dimensions=("instrument", "exposure", "detector"),
        multiple=True,
        deferLoad=True,
    )
    outputCovariance = connectionTypes.Output(
        doc="Measurements of the pair.",
        name="ptcCovariance",
        storageClass="SimulatedPhotonTransferCurve",
        dimensions=("instrument", "exposure", "detector"),
        isCalibration=True,
    )

    def adjust_all_quanta(self, adjuster: Any) -> None:
        """Make one quantum of two exposures of equal time that follow each other; drop what has no partner."""
        for detector, quanta in itertools.groupby(
            sorted(adjuster.iter_data_ids(), key=lambda data_id: (data_id["detector"], data_id["exposure"])),
            key=lambda data_id: data_id["detector"],
        ):
            self._pair_up(adjuster, detector, list(quanta))

    def _pair_up(self, adjuster: Any, detector: int, quanta: list[Any]) -> None:
        first, first_time = None, math.nan
        for quantum in quanta:
            record = adjuster.expand_quantum_data_id(quantum).exposure
            is_flat = record.observation_type == "flat"
            if is_flat and first is not None and abs(record.exposure_time - first_time) < _TIME_TOLERANCE_S:
                adjuster.add_input(first, "inputExp", adjuster.get_inputs(quantum)["inputExp"][0])
                adjuster.remove_quantum(quantum)
                first = None
                continue
            if first is not None:
                adjuster.remove_quantum(first)
            first, first_time = (quantum, record.exposure_time) if is_flat else (None, math.nan)
            if not is_flat:
                adjuster.remove_quantum(quantum)
        if first is not None:
            adjuster.remove_quantum(first)


class PhotonTransferCurveExtractPairConfig(
    pipe_base.PipelineTaskConfig, pipelineConnections=PhotonTransferCurveExtractPairConnections
):
    """How to measure."""

    nSigmaClipPtc = pex_config.Field[float](doc="Clipping threshold, standard deviations.", default=5.5)
    nIterSigmaClipPtc = pex_config.Field[int](doc="Clipping iterations.", default=3)
    gainCorrectionType = pex_config.ChoiceField[str](
        doc="What the variance is corrected for before the gain is taken from it.",
        allowed={"NONE": "Nothing.", "SIMPLE": "Read noise."},
        default="SIMPLE",
    )


class PhotonTransferCurveExtractPairTask(pipe_base.PipelineTask):
    """Measures one pair: the variance of the difference has no trace of what both flats have in common."""

    ConfigClass = PhotonTransferCurveExtractPairConfig
    _DefaultName = "cpPtcExtractPair"

    def run(self, inputExp: Any) -> Any:
        """Return the measurements of a pair (adu), and the gain that it gives alone."""
        handles = sorted(inputExp, key=lambda handle: handle.dataId["exposure"])
        ids = [int(handle.dataId["exposure"]) for handle in handles]
        one, two = (handle.get() for handle in handles)
        layout = DetectorLayout.from_header(one.metadata)
        noises = [values_by_amplifier(image.metadata, OVERSCAN_NOISE_KEY) for image in (one, two)]
        pair = PhotonTransferCurve(list(AMPLIFIER_NAMES), "PARTIAL", metadata={"DETNAME": one.metadata["DETNAME"]})
        for name in AMPLIFIER_NAMES:
            section = layout.image_section(name)
            mean, variance, number = self._measure(one.image.array[section], two.image.array[section])
            noise = math.sqrt((noises[0][name] ** 2 + noises[1][name] ** 2) / 2)
            photon_variance = variance - (noise**2 if self.config.gainCorrectionType == "SIMPLE" else 0.0)
            gain = mean / photon_variance if photon_variance > 0 else math.nan
            pair.gain[name], pair.gainList[name] = gain, [gain]
            # The relative uncertainty of a variance of n values is sqrt(2 / n); the gain has the same.
            pair.gainUnc[name] = gain * math.sqrt(2 / number) if number else math.nan
            pair.noise[name], pair.noiseList[name] = gain * noise, [noise]
            pair.rawMeans[name], pair.rawVars[name] = [mean], [variance]
            pair.inputExpIdPairs[name] = [ids]
            pair.rawExpTimes[name] = [float(one.metadata["EXPTIME"])]
            pair.expIdMask[name] = [math.isfinite(gain)]
            if not math.isfinite(gain):
                pair.badAmps.append(name)
        self.log.info("Pair %d, %d of %s measured.", *ids, one.metadata["DETNAME"])
        return pipe_base.Struct(outputCovariance=pair)

    def _measure(self, one: npt.NDArray[Any], two: npt.NDArray[Any]) -> tuple[float, float, int]:
        """Return the mean of both images, the variance of one of them, and the number of pixels.

        Each image is scaled to the common mean before the difference, because the lamp is not the same in both.
        """
        clip = (self.config.nSigmaClipPtc, self.config.nIterSigmaClipPtc)
        means = clip_statistics(one, *clip).mean, clip_statistics(two, *clip).mean
        mean = (means[0] + means[1]) / 2
        if not min(means) > 0:
            return mean, math.nan, 0
        difference = clip_statistics(one * (mean / means[0]) - two * (mean / means[1]), *clip)
        return mean, difference.stdev**2 / 2, difference.number
