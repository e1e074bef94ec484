# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the faults of the focal plane make of recorded products, which are those of sound detectors.

The effects are those that the pipelines show on frames with the fault: those on the products' values, not on their
noise. The bootstrap images stay as they were recorded.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .containers import Defects, Exposure, PhotonTransferCurve
from .faults import Fault
from .focal_plane import FocalPlane
from .frame_faults import Fault as DetectorFault
from .frame_faults import hot_column
from .layout import AMPLIFIER_NAMES, DETECTOR_NAMES
from .world import detector_faults

__all__ = ["retouch"]

_RECORDED_LAYOUT = FocalPlane().layout  # `recorder` takes its frames with this focal plane
_GROW = 2  # pixel; cpDark's crGrow
_NOT_A_NUMBER = ("gain", "gainUnc", "noise", "ptcTurnoff", "ptcFitChiSq")


def retouch(dataset_type: str, detector: int | None, product: Any, faults: Iterable[Fault]) -> Any:
    """Return a recorded product as frames with these faults would have given it.

    Parameters
    ----------
    dataset_type
        Name of its type.
    detector
        Its detector; None if it is of all of them.
    product
        The recorded product; not changed.
    faults
        Faults of the focal plane in force.
    """
    all_faults = list(detector_faults(faults))
    own = [fault for fault in all_faults if fault.detector == detector]
    brightness = _brightness(all_faults) if dataset_type == "flat" else 1.0
    if not own and brightness == 1.0:
        return product
    product = copy.deepcopy(product)
    if brightness != 1.0:
        product.image.array = product.image.array / np.float32(brightness)
    for fault in own:
        match dataset_type, product:
            case _, PhotonTransferCurve() if "FLAT" in fault.image_types:
                _retouch_curve(product, fault)
            case "defects", Defects():
                product = _retouch_defects(product, fault)
            case (("bias" | "dark" | "flat"), Exposure()) if dataset_type.upper() in fault.image_types:
                _retouch_image(dataset_type, product, fault)
    return product


def _brightness(faults: Iterable[DetectorFault]) -> float:
    """Return how much brighter the flats seem by the gains that have changed; cpFlat divides all detectors by that.

    It is a geometric mean over the detectors, here over all of them, also if a job has fewer.
    """
    logarithms = [
        -math.log(fault.gain_factor) * len(fault.amplifiers) / len(AMPLIFIER_NAMES)
        for fault in faults
        if "FLAT" in fault.image_types
    ]
    return math.exp(sum(logarithms) / len(DETECTOR_NAMES))


def _retouch_curve(curve: PhotonTransferCurve, fault: DetectorFault) -> None:
    """Scale what was measured in adu with the gain: signals with its inverse, variances with its inverse square."""
    for name in fault.amplifiers:
        if fault.is_dead:
            curve.badAmps.append(name)
            for field in _NOT_A_NUMBER:
                getattr(curve, field)[name] = math.nan
            curve.ptcFitPars[name] = [math.nan] * len(curve.ptcFitPars.get(name, []))
            curve.rawMeans[name] = [0.0] * len(curve.rawMeans[name])
            curve.rawVars[name] = [math.nan] * len(curve.rawVars[name])
            curve.expIdMask[name] = [False] * len(curve.expIdMask[name])
            continue
        factor, noise = fault.gain_factor, fault.read_noise_factor
        curve.gain[name] *= factor
        curve.gainUnc[name] *= factor
        curve.noise[name] *= noise
        curve.gainList[name] = [gain * factor for gain in curve.gainList[name]]
        curve.noiseList[name] = [value * noise / factor for value in curve.noiseList[name]]
        curve.rawMeans[name] = [mean / factor for mean in curve.rawMeans[name]]
        curve.rawVars[name] = [variance / factor**2 for variance in curve.rawVars[name]]
        if name in curve.ptcTurnoff:
            curve.ptcTurnoff[name] /= factor
            # variance = p0 + p1 mean
            curve.ptcFitPars[name] = [
                value / factor ** (2 - power) for power, value in enumerate(curve.ptcFitPars[name])
            ]


def _retouch_defects(defects: Defects, fault: DetectorFault) -> Defects:
    """Add the hot columns, and all of an amplifier without signal."""
    bad = defects.to_mask(_RECORDED_LAYOUT.image_shape)
    for name in fault.amplifiers:
        pixels = bad[_RECORDED_LAYOUT.image_section(name)]
        if fault.is_dead:
            pixels[:] = True
        elif fault.hot_column_rate and "DARK" in fault.image_types:
            pixels[:, hot_column(_RECORDED_LAYOUT)] = True
    return Defects.from_mask(bad, defects.metadata)


def _retouch_image(dataset_type: str, image: Exposure, fault: DetectorFault) -> None:
    array = image.image.array = image.image.array.copy()
    for name in fault.amplifiers:
        section = _RECORDED_LAYOUT.image_section(name)
        if fault.is_dead:
            array[section] = 0.0
        elif dataset_type == "flat":
            array[section] /= np.float32(fault.gain_factor)
        elif dataset_type == "dark" and fault.hot_column_rate:
            # cpDark takes pixels of equal brightness in a row for a cosmic ray, in each of the frames, and widens it.
            rows, columns = section
            hot = columns.start + hot_column(_RECORDED_LAYOUT)
            array[max(rows.start - _GROW, 0) : rows.stop + _GROW, hot - _GROW : hot + _GROW + 1] = np.nan
