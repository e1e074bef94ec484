# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values of photon transfer curves by amplifier, and of what single pairs of flats give.

The curves have the attributes of ``lsst.ip.isr.PhotonTransferCurveDataset``.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

from ..butler_data import ProductValue

__all__ = ["curve_values", "pair_values", "turnoff_adu"]

NAN = float("nan")


def turnoff_adu(curve: Any, name: str) -> float:
    """Return the turn-off of an amplifier (adu); NaN if the curve did not reach it.

    If no flat is beyond the turn-off, the curve has the level of its brightest flat there, which is not a turn-off.
    """
    turnoff = _number(curve.ptcTurnoff, name)
    means = [float(one) for one in curve.rawMeans.get(name, [])]
    return turnoff if not means or any(one > turnoff for one in means) else NAN


def curve_values(curve: Any) -> Iterator[ProductValue]:
    """Yield gain, read noise, turn-off and quality of the fit of each amplifier; NaN where not measured.

    ``fit_residual`` is the largest deviation of a variance from its model, as a fraction of the model, among the pairs
    that the fit used; ``fit_chi_square`` is the curve's own reduced chi square.
    """
    for name in curve.ampNames:
        gain = _number(curve.gain, name)
        yield ProductValue(name, "gain", gain, "electron/adu")
        yield ProductValue(name, "noise", _number(curve.noise, name), "electron")
        yield ProductValue(name, "turnoff", turnoff_adu(curve, name) * gain, "electron")
        yield ProductValue(name, "fit_residual", _fit_residual(curve, name), "")
        yield ProductValue(name, "fit_chi_square", _number(curve.ptcFitChiSq, name), "")


def pair_values(pairs: Sequence[Any]) -> Iterator[ProductValue]:
    """Yield gain and read noise of each amplifier from pairs of flats: medians, ranges and numbers of values.

    Parameters
    ----------
    pairs
        What cp_pipe measured in each pair, of one detector.
    """
    for name in dict.fromkeys(name for pair in pairs for name in pair.ampNames):
        for quantity, unit in (("gain", "electron/adu"), ("noise", "electron")):
            values = [_number(getattr(pair, quantity), name) for pair in pairs]
            finite = [one for one in values if math.isfinite(one)]
            yield ProductValue(name, quantity, statistics.median(finite) if finite else NAN, unit)
            yield ProductValue(name, f"{quantity}_min", min(finite, default=NAN), unit)
            yield ProductValue(name, f"{quantity}_max", max(finite, default=NAN), unit)
            yield ProductValue(name, f"{quantity}_pairs", float(len(finite)), "")


def _fit_residual(curve: Any, name: str) -> float:
    residuals = [
        abs(variance / model - 1)
        for variance, model in _fitted(curve, name)
        if math.isfinite(variance) and math.isfinite(model) and model > 0
    ]
    return max(residuals, default=NAN)


def _fitted(curve: Any, name: str) -> list[tuple[float, float]]:
    """Return variance and model of the pairs that the fit used."""
    # cp_pipe writes the model beside the variances, whatever it fitted. A polynomial can be evaluated without that.
    models = getattr(curve, "finalModelVars", {}).get(name, [])
    if len(models):
        variances = curve.finalVars.get(name, [])
        return [(float(one), float(model)) for one, model in zip(variances, models, strict=False)]
    parameters = [float(one) for one in curve.ptcFitPars.get(name, [])]
    if curve.ptcFitType != "POLYNOMIAL" or not parameters:
        return []
    pairs = zip(curve.rawMeans.get(name, []), curve.rawVars.get(name, []), curve.expIdMask.get(name, []), strict=False)
    return [
        (float(variance), sum(one * float(mean) ** power for power, one in enumerate(parameters)))
        for mean, variance, used in pairs
        if used
    ]


def _number(values: Any, name: str) -> float:
    return float(values.get(name, NAN))
