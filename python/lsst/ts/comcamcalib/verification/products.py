# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verdict on products that are judged by their own values, which must be finite and plausible for each detector."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from ..enums import Verdict
from .judgement import DetectorJudgement, Judgement, listed

if TYPE_CHECKING:
    from ..butler_data import DefectsArea
    from ..config import Plausible

__all__ = ["judge_defects", "judge_gain", "judge_ptc"]

Amplifiers = tuple[Mapping[str, float], Mapping[str, float]]
"""Gains (electron/adu) and read noises (electron) of the amplifiers of a detector, by name; NaN: not measured."""


def judge_defects(detectors: Mapping[int, str], areas: Mapping[int, DefectsArea], plausible: Plausible) -> Judgement:
    """Judge defects by their area.

    Parameters
    ----------
    detectors
        Full names of the detectors for which there must be defects, by id.
    areas
        The areas found, by detector id. A detector without any defect has an entry with 0 pixels.
    plausible
        The largest fraction that may be defective.

    Returns
    -------
    judgement
        UNKNOWN if a detector is missing, FAILED if an area is implausible, otherwise PASSED.
    """
    missing = [name for detector, name in detectors.items() if detector not in areas]
    failures: dict[int, list[str]] = {}
    for detector in detectors:
        area = areas.get(detector)
        if area is None:
            continue
        if area.detector_pixels <= 0 or not 0 <= area.pixels <= area.detector_pixels:
            failures[detector] = [f"{area.pixels} of {area.detector_pixels} pixels is not a valid area"]
        elif area.pixels > plausible.defect_fraction_max * area.detector_pixels:
            fraction, limit = area.pixels / area.detector_pixels, plausible.defect_fraction_max
            failures[detector] = [f"{fraction:.1%} of its pixels, at most {limit:.1%} are plausible"]
    return _judgement("DEFECTS", "AREA", detectors, missing, failures, {})


def judge_ptc(
    detectors: Mapping[int, str],
    amplifiers: Mapping[int, int],
    values: Mapping[int, Amplifiers],
    plausible: Plausible,
) -> Judgement:
    """Judge photon transfer curves by the gains and noises of all amplifiers.

    Parameters
    ----------
    detectors
        Full names of the detectors for which there must be a curve, by id.
    amplifiers
        Numbers of amplifiers by detector id.
    values
        The values found, by detector id.
    plausible
        Ranges of gain and noise.

    Returns
    -------
    judgement
        UNKNOWN if a detector or one of its amplifiers is missing or was not measured, FAILED if a value is implausible.
    """
    found = {detector: [one] for detector, one in values.items()}
    return _judge_amplifiers("PTC", detectors, amplifiers, found, [], plausible)


def judge_gain(
    detectors: Mapping[int, str],
    amplifiers: Mapping[int, int],
    values: Mapping[tuple[int, int], Amplifiers],
    pairs: int,
    plausible: Plausible,
) -> Judgement:
    """Judge gains from pairs of flats.

    Parameters
    ----------
    detectors
        Full names of the detectors, by id.
    amplifiers
        Numbers of amplifiers by detector id.
    values
        The values found, by (exposure id of the pair's first flat, detector id).
    pairs
        Number of pairs for which there must be values, for each detector.
    plausible
        Ranges of gain and noise.

    Returns
    -------
    judgement
        As for `judge_ptc`, over all pairs.
    """
    found = {detector: [one for (_, number), one in values.items() if number == detector] for detector in detectors}
    missing = [
        f"{name} ({len(found[detector])} of {pairs} pairs)"
        for detector, name in detectors.items()
        if 0 < len(found[detector]) < pairs
    ]
    if pairs < 1:
        missing.append("pairs of flats")
    return _judge_amplifiers("GAIN", detectors, amplifiers, found, missing, plausible)


def _judge_amplifiers(
    product: str,
    detectors: Mapping[int, str],
    amplifiers: Mapping[int, int],
    found: Mapping[int, list[Amplifiers]],
    missing: list[str],
    plausible: Plausible,
) -> Judgement:
    missing = [*missing, *(name for detector, name in detectors.items() if not found.get(detector))]
    failures: dict[int, list[str]] = {}
    noises: dict[int, float] = {}
    for detector, name in detectors.items():
        for gains, noise in found.get(detector, []):
            missing += [f"{name} {one}" for one in _not_measured(gains, noise, amplifiers[detector])]
            failures.setdefault(detector, []).extend(_implausible(gains, noise, plausible))
        measured = [one for _, noise in found.get(detector, []) for one in noise.values() if math.isfinite(one)]
        noises[detector] = statistics.median(measured) if measured else float("nan")
    return _judgement(product, "PLAUSIBLE", detectors, missing, failures, noises)


def _not_measured(gains: Mapping[str, float], noises: Mapping[str, float], amplifiers: int) -> Iterator[str]:
    """Name the amplifiers of a detector that have no value."""
    for name, values in (("gain", gains), ("noise", noises)):
        if len(values) != amplifiers:
            yield f"({name} of {len(values)} amplifiers instead of {amplifiers})"
        yield from (f"{amplifier} ({name} not measured)" for amplifier, one in values.items() if not math.isfinite(one))


def _implausible(gains: Mapping[str, float], noises: Mapping[str, float], plausible: Plausible) -> Iterator[str]:
    """Name the values that can't be right."""
    for amplifier, gain in gains.items():
        if math.isfinite(gain) and not plausible.gain_min <= gain <= plausible.gain_max:
            yield f"{amplifier} gain {gain:.3g} electron/adu"
    for amplifier, noise in noises.items():
        if math.isfinite(noise) and not plausible.noise_min <= noise <= plausible.noise_max:
            yield f"{amplifier} noise {noise:.3g} electron"


def _judgement(
    product: str,
    test: str,
    detectors: Mapping[int, str],
    missing: list[str],
    failures: Mapping[int, list[str]],
    noises: Mapping[int, float],
) -> Judgement:
    """Put the verdict together; no exposures are counted, because the products have none."""
    judged = tuple(
        DetectorJudgement(
            detector=detector,
            detector_name=name,
            tests_failed=len(failures.get(detector, ())),
            amplifiers_failed=len({one.split(" ")[0] for one in failures.get(detector, ())}) if noises else 0,
            failures_by_test={test: len(failures[detector])} if failures.get(detector) else {},
            noise=noises.get(detector, float("nan")),
        )
        for detector, name in detectors.items()
    )
    total = sum(one.tests_failed for one in judged)
    lacking = f"missing: {listed(missing)}" if missing or detectors else "there are no detectors"
    if total:
        verdict = Verdict.FAILED
        named = (
            f"{name} ({listed(failures[detector])})" for detector, name in detectors.items() if failures.get(detector)
        )
        reason = f"{product} is not plausible: {listed(named)}{'; ' + lacking if missing else ''}."
    elif missing or not detectors:
        verdict, reason = Verdict.UNKNOWN, f"{product} is not complete: {lacking}."
    else:
        verdict, reason = Verdict.PASSED, f"{product} is complete and plausible for {len(detectors)} detectors."
    incomplete = {name for name in detectors.values() if any(one.split(" ")[0] == name for one in missing)}
    return Judgement(
        verdict=verdict,
        reason=reason,
        detectors_expected=len(detectors),
        detectors_verified=len(detectors) - len(incomplete),
        tests_failed=total,
        failures_by_test={test: total} if total else {},
        detectors=judged,
    )
