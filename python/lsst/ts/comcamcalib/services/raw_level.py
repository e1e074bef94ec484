# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A first look at frames before any pipeline: their levels, and the amplifiers' values in the certified ptc.

These functions block and must run in one of Butler's threads.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .butler_queries import exposure_records, missing_collections
from .curve_values import turnoff_adu

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

__all__ = ["KnownAmplifiers", "certified_ptc", "raw_levels"]

PIXELS_LOOKED_AT = 1000
"""Approximate number of pixels of an amplifier that are used. They give its median to a 25th of a pixel's noise."""


@dataclasses.dataclass(frozen=True)
class KnownAmplifiers:
    """Values of a detector in a photon transfer curve, by amplifier name; NaN if there is none.

    Parameters
    ----------
    gain
        electron/adu.
    noise
        Read noise (electron).
    turnoff
        Level above which the amplifier is no longer linear (electron).
    """

    gain: Mapping[str, float]
    noise: Mapping[str, float]
    turnoff: Mapping[str, float]


def certified_ptc(
    butler: Butler, instrument: str, collections: Sequence[str], exposure_id: int, detectors: Collection[int]
) -> dict[int, KnownAmplifiers]:
    """Return the values of the ptc that is valid for an exposure, by detector; detectors without a ptc are left out.

    Parameters
    ----------
    butler
        The repository.
    instrument
        Butler's name of the instrument.
    collections
        Collections to search, in order; those that do not exist are skipped.
    exposure_id
        The exposure.
    detectors
        Ids of the detectors.
    """
    missing = missing_collections(butler, collections)
    there = [name for name in collections if name not in missing]
    records = exposure_records(butler, instrument, [exposure_id])
    if not there or not records:
        return {}
    known = {}
    for detector in detectors:
        try:
            ref = butler.find_dataset(
                "ptc", instrument=instrument, detector=detector, collections=there, timespan=records[0].timespan
            )
        except LookupError:  # there is none, or several
            continue
        if ref is not None:
            known[detector] = _known(butler.get(ref))
    return known


def _known(curve: Any) -> KnownAmplifiers:
    gain = {name: float(curve.gain.get(name, math.nan)) for name in curve.ampNames}
    return KnownAmplifiers(
        gain=gain,
        noise={name: float(curve.noise.get(name, math.nan)) for name in curve.ampNames},
        turnoff={name: turnoff_adu(curve, name) * gain[name] for name in curve.ampNames},
    )


def raw_levels(butler: Butler, instrument: str, collection: str, exposure_id: int, detector: int) -> dict[str, float]:
    """Return the level (adu) above its overscan of each amplifier of a raw, by name.

    The raw is an untrimmed ``lsst.afw.image.Exposure``, whose detector knows where the amplifiers are in it.
    """
    exposure = butler.get("raw", instrument=instrument, exposure=exposure_id, detector=detector, collections=collection)
    array = exposure.image.array
    return {
        amplifier.getName(): _median(array, amplifier.getRawDataBBox())
        - _median(array, amplifier.getRawHorizontalOverscanBBox())
        for amplifier in exposure.getDetector()
    }


def _median(array: Any, box: Any) -> float:
    """Return the median of some pixels of a box, evenly spread."""
    part = array[box.getMinY() : box.getMaxY() + 1, box.getMinX() : box.getMaxX() + 1]
    step = max(1, math.isqrt(part.size // PIXELS_LOOKED_AT))
    return float(statistics.median(float(one) for one in part[::step, ::step].ravel().tolist()))
