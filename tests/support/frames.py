# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the simulated focal plane, the pipelines' tasks and cp_verify's tests make of frames, without any pipetask."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from lsst.ts.comcamcalib.butler_data import VerificationStatistics
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.simulation.containers import Exposure, PhotonTransferCurve
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane, Light
from lsst.ts.comcamcalib.simulation.layout import AMPLIFIER_NAMES
from lsst.ts.comcamcalib.simulation.tasks.combine import CalibCombineTask
from lsst.ts.comcamcalib.simulation.tasks.flat import CpFlatMeasureTask, CpFlatNormalizationTask
from lsst.ts.comcamcalib.simulation.tasks.isr import IsrTaskLSST
from lsst.ts.comcamcalib.simulation.tasks.verify import CpVerifyBiasTask, CpVerifyDarkTask, CpVerifyFlatTask
from lsst.ts.comcamcalib.simulation.tasks.verify_merge import CpVerifyExpMergeTask as ExpMergeTask
from lsst.ts.comcamcalib.simulation.tasks.verify_merge import CpVerifyFlatExpMergeTask, CpVerifyRunMergeTask
from lsst.ts.comcamcalib.verification import FrameFacts, Judgement, RuleContext, judge_statistics

from support.plans import make_config

__all__ = ["NAMES", "Frame", "judge_frames"]

PLANE = FocalPlane(seed=3, amplifier_shape=(64, 32), overscan_columns=32)
NAMES = {0: "R22_S00", 1: "R22_S01", 4: "R22_S11"}
FIRST = 2026112200001
VERIFY = {CalibType.BIAS: CpVerifyBiasTask, CalibType.DARK: CpVerifyDarkTask, CalibType.FLAT: CpVerifyFlatTask}


@dataclasses.dataclass(frozen=True)
class Frame:
    """One exposure, its light, and the noise that its readout picked up."""

    seconds: float = 0.0
    lamp: float = 1.0
    leak_electrons: float = 0.0
    pickup_electrons: float = 0.0


@dataclasses.dataclass(frozen=True)
class _Handle:
    exposure: Exposure
    exposure_id: int

    @property
    def dataId(self) -> dict[str, int]:
        return {"exposure": self.exposure_id}

    def get(self) -> Exposure:
        return Exposure.from_array(self.exposure.image.array.copy(), self.exposure.metadata)


class _Detector:
    """A detector's frames and what the pipelines have for it."""

    def __init__(self, plane: FocalPlane, calib_type: CalibType, detector: int, frames: Sequence[Frame]) -> None:
        truth = plane.truth(detector)
        self.ptc = PhotonTransferCurve(
            ampNames=list(AMPLIFIER_NAMES),
            ptcFitType="POLYNOMIAL",
            gain=dict(truth.gain),
            noise={name: 1.02 * noise for name, noise in truth.read_noise.items()},
            ptcTurnoff={name: truth.full_well[name] / truth.gain[name] for name in AMPLIFIER_NAMES},
        )
        self.raws = {}
        for number, frame in enumerate(frames):
            light = Light(frame.lamp, frame.leak_electrons)
            array, header = dataclasses.replace(plane, light=light, pickup_electrons=frame.pickup_electrons).expose(
                calib_type.name, frame.seconds, FIRST + number, "r_03", detector
            )
            self.raws[FIRST + number] = Exposure.from_array(array, header)
        bias = truth.bias_pattern.copy()
        for name in AMPLIFIER_NAMES:
            bias[plane.layout.image_section(name)] *= truth.gain[name]
        self.known: dict[str, Exposure] = {}
        if calib_type is not CalibType.BIAS:
            self.known["bias"] = Exposure.from_array(bias, {})
        if calib_type is CalibType.FLAT:
            self.known["dark"] = Exposure.from_array(truth.dark_rate, {})

    def processed(self, **products: Exposure) -> dict[int, Exposure]:
        task = IsrTaskLSST(config=IsrTaskLSST.ConfigClass())
        with np.errstate(all="ignore"):
            return {
                exposure: task.run(raw, ptc=self.ptc, **self.known, **products).outputExposure
                for exposure, raw in self.raws.items()
            }


def judge_frames(
    calib_type: CalibType, frames: Sequence[Frame], plane: FocalPlane = PLANE, threshold: int = 8
) -> Judgement:
    """Expose, combine, verify and judge frames, as a run does."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        run, by_exposure, statistics, detectors = _verify(calib_type, frames, plane)
    recipe = make_config().recipes[calib_type.name].verification
    assert recipe is not None
    facts = FrameFacts(
        limits=make_config().frames,
        exposure_times={FIRST + number: frame.seconds for number, frame in enumerate(frames)},
        in_product=True,
        threshold=threshold,
        quiet_noise=make_config().plausible.noise_min,
        read_noises={detector: one.ptc.noise for detector, one in detectors.items()},
        turnoffs={
            detector: {name: one.ptc.ptcTurnoff[name] * one.ptc.gain[name] for name in AMPLIFIER_NAMES}
            for detector, one in detectors.items()
        },
    )
    context = RuleContext(
        calib_type=calib_type,
        physical_filter="r_03" if calib_type is CalibType.FLAT else "",
        exposures=tuple(FIRST + number for number in range(len(frames))),
        detectors=NAMES,
        amplifiers=dict.fromkeys(NAMES, len(AMPLIFIER_NAMES)),
        rules=make_config().rules(calib_type),
        recipe=recipe,
        threshold=threshold,
        frames=facts,
    )
    return judge_statistics(VerificationStatistics(run, statistics, by_exposure), context)


def _verify(
    calib_type: CalibType, frames: Sequence[Frame], plane: FocalPlane
) -> tuple[Any, Any, Any, dict[int, _Detector]]:
    detectors = {detector: _Detector(plane, calib_type, detector, frames) for detector in NAMES}
    processed = {detector: one.processed() for detector, one in detectors.items()}
    scales = None
    if calib_type is CalibType.FLAT:
        measure = CpFlatMeasureTask(config=CpFlatMeasureTask.ConfigClass())
        inputs = {
            (exposure, detector): measure.run(image).outputStats
            for detector, images in processed.items()
            for exposure, image in images.items()
        }
        normalize = CpFlatNormalizationTask(config=CpFlatNormalizationTask.ConfigClass())
        scales = normalize.run(inputs).outputScales
    config = CalibCombineTask.ConfigClass()
    scaling = {CalibType.BIAS: "Unity", CalibType.DARK: "DarkTime", CalibType.FLAT: "InputList"}[calib_type]
    config.update(calibrationType=calib_type.name.lower(), exposureScaling=scaling)
    statistics: dict[tuple[int, int], Any] = {}
    verify = VERIFY[calib_type](config=VERIFY[calib_type].ConfigClass())
    for detector, one in detectors.items():
        handles = [_Handle(image, exposure) for exposure, image in processed[detector].items()]
        master = CalibCombineTask(config=config).run(handles, scales).outputData
        for exposure, image in one.processed(**{calib_type.name.lower(): master}).items():
            statistics[exposure, detector] = verify.run(image).outputStats
    merge_type = CpVerifyFlatExpMergeTask if calib_type is CalibType.FLAT else ExpMergeTask
    merge = merge_type(config=merge_type.ConfigClass())
    by_exposure = {
        exposure: merge.run({detector: statistics[exposure, detector] for detector in NAMES}).outputStats
        for exposure in dict.fromkeys(exposure for exposure, _ in statistics)
    }
    whole = CpVerifyRunMergeTask(config=CpVerifyRunMergeTask.ConfigClass())
    return whole.run(by_exposure).outputStats, by_exposure, statistics, detectors
