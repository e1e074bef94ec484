# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the rules for single frames share: facts about the frames, and the findings of a rule."""

from __future__ import annotations

import dataclasses
import enum
import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from .judgement import listed

if TYPE_CHECKING:
    from ..config import FrameLimits

__all__ = ["Finding", "FrameFacts", "Kind", "Levels", "describe", "median_of_others", "noise_left", "spoiling"]

Levels = Mapping[tuple[int, int], tuple[Mapping[str, float], Mapping[str, float]]]
"""Signals and noises (electron) of the amplifiers by name, by (exposure id, detector id)."""


class Kind(enum.Enum):
    """What can be wrong with a frame."""

    NO_LIGHT = enum.auto()
    TOO_DARK = enum.auto()
    SATURATED = enum.auto()
    TOO_BRIGHT = enum.auto()
    TOO_SMOOTH = enum.auto()
    LAMP = enum.auto()
    DRIFT = enum.auto()
    DETECTOR_FLUX = enum.auto()
    AMPLIFIER_FLUX = enum.auto()
    OUTLIER = enum.auto()
    QUIET = enum.auto()


TEST_OF = {
    Kind.NO_LIGHT: "LEVEL",
    Kind.TOO_DARK: "LEVEL",
    Kind.SATURATED: "LEVEL",
    Kind.TOO_BRIGHT: "LEVEL",
    Kind.TOO_SMOOTH: "NOISE_LOW",
    Kind.LAMP: "FLUX",
    Kind.DRIFT: "FLUX",
    Kind.DETECTOR_FLUX: "FLUX",
    Kind.AMPLIFIER_FLUX: "FLUX",
    Kind.OUTLIER: "OUTLIER",
    Kind.QUIET: "NOISE_LOW",
}
"""Name of the test that counts each kind, beside cp_verify's own tests."""


LAMP_OFF = "Light: lamp off, no light in {named}. Look at lamp, shutter and filter."
"""The sentence if no detector has any light."""

SENTENCES = {
    Kind.NO_LIGHT: "Light: no light in {named}.",
    Kind.TOO_DARK: "Light: too dark, {named} have {value:.0f} electron where at least {limit:.0f} are needed. Look at "
    "the lamp and the filter, or expose longer.",
    Kind.SATURATED: "Light: saturated, {named} have {value:.0f} electron where at most {limit:.0f} are allowed. "
    "Expose shorter, or dim the lamp.",
    Kind.TOO_BRIGHT: "Light: too bright, {named} have {value:.0f} electron where at most {limit:.0f} are allowed. "
    "Expose shorter, or dim the lamp.",
    Kind.TOO_SMOOTH: "Light: too little noise, {named} have {value:.3g} electron of noise where the light alone makes "
    "at least {limit:.3g}. Saturated pixels look like that.",
    Kind.LAMP: "Light: the lamp differs, {named} got up to {worst:+.1%} compared with the others.",
    Kind.DRIFT: "Light: lamp drifting by {worst:+.1%} during the flats, most of all in {named}.",
    Kind.DETECTOR_FLUX: "Light: the lamp is steady, but a detector differs, {named} saw up to {worst:+.1%} compared "
    "with the other detectors and exposures.",
    Kind.AMPLIFIER_FLUX: "Light: amplifiers differ, {named} saw up to {worst:+.1%} compared with the rest of their "
    "detector and the other exposures.",
    Kind.OUTLIER: "Exposures stand out: {named} differ from the others by up to {worst:+.1f} electron.",
    Kind.QUIET: "Dead amplifiers: {named} have {value:.3g} electron of noise where their electronics make at least "
    "{limit:.3g}.",
}
"""The sentence for each kind, with exposures and detectors, the median value and limit, and the worst value."""


@dataclasses.dataclass(frozen=True)
class FrameFacts:
    """Facts about the frames of a verification, apart from its statistics.

    Parameters
    ----------
    limits
        The configured limits.
    exposure_times
        Seconds, by exposure id.
    in_product
        Whether the verified product was made from the same frames, so that subtracting it removes part of their noise.
    threshold
        How many amplifiers of a detector may be at fault.
    quiet_noise
        Noise below which an amplifier is dead (electron), if its read noise is not known.
    gains, read_noises, turnoffs
        Gain (electron/adu), read noise and turn-off (electron) by detector id and amplifier name, from the ptc that is
        certified; NaN or absent: not known.
    """

    limits: FrameLimits
    exposure_times: Mapping[int, float]
    in_product: bool
    threshold: int
    quiet_noise: float
    gains: Mapping[int, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    read_noises: Mapping[int, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    turnoffs: Mapping[int, Mapping[str, float]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Finding:
    """A fault of a frame.

    Parameters
    ----------
    kind
        What it is.
    exposure, detector
        The frame and the detector.
    amplifier
        Name of the amplifier; "" for the detector as a whole.
    value
        What was measured: electron, or for FLUX the change relative to the other frames.
    limit
        What it was compared with, in the same unit.
    spoils
        Whether one such frame is enough to spoil the product.
    """

    kind: Kind
    exposure: int
    detector: int
    amplifier: str
    value: float
    limit: float
    spoils: bool = False

    @property
    def test(self) -> str:
        """Name of the test that counts it."""
        return TEST_OF[self.kind]


def noise_left(variances: Sequence[float]) -> list[float]:
    """Return the fraction of each frame's noise that is left after a product made from all of them was subtracted.

    With N frames of relative variance v in a plain mean, what is left of the variance of frame i is
    ``(1 - 2/N) v_i + sum(v) / N**2``; in a mean weighted with the inverse variance it is ``v_i - 1 / sum(1/v)``. It
    is not known here which of the two the pipeline uses, so the smaller one is returned.

    Parameters
    ----------
    variances
        Of all frames, in any common unit.

    Returns
    -------
    left
        Factors of the standard deviations, 0 to 1: 0 for a single frame, 0.71 for two alike; 0 if a variance is none.
    """
    number = len(variances)
    if not all(one > 0 for one in variances):
        return [0.0] * number
    total, weights = sum(variances), sum(1 / one for one in variances)
    return [
        math.sqrt(max(min(1 - 2 / number + total / own / number**2, 1 - 1 / own / weights), 0.0)) for own in variances
    ]


def median_of_others(values: Sequence[float]) -> list[float]:
    """Return for each value the median of all others; if that is between two of them, the point nearest to the value.

    With the median of all, a value would be compared with itself, too: of two frames, or of two halves of a set, each
    would seem to be off by half of the difference only.

    Parameters
    ----------
    values
        At least two.
    """
    order = sorted(range(len(values)), key=values.__getitem__)
    ordered = [values[index] for index in order]
    medians = list(values)
    low, high = (len(values) - 2) // 2, (len(values) - 1) // 2  # among the others, of which there is one less
    for rank, index in enumerate(order):
        medians[index] = min(max(values[index], ordered[low + (rank <= low)]), ordered[high + (rank <= high)])
    return medians


def spoiling(findings: Collection[Finding], threshold: int) -> set[Kind]:
    """Return the kinds of findings that spoil the product.

    That is: in any exposure, more amplifiers of a detector than the threshold allows have it, or a detector as a whole.
    """
    counts: dict[tuple[Kind, int, int], int] = {}
    kinds = set()
    for one in findings:
        if one.spoils:
            key = one.kind, one.exposure, one.detector
            counts[key] = counts.get(key, 0) + 1
            if not one.amplifier or counts[key] > threshold:
                kinds.add(one.kind)
    return kinds


def describe(
    findings: Collection[Finding], detectors: Mapping[int, str], exposures: Sequence[int], threshold: int
) -> dict[Kind, str]:
    """Return a sentence for each kind of finding, with the exposures, how many detectors, and by how much.

    Parameters
    ----------
    findings
        What was found.
    detectors
        Full names of all detectors, by id.
    exposures
        All exposures.
    threshold
        How many amplifiers of a detector may be at fault without the detector being so.
    """
    return {
        kind: _sentence(kind, [one for one in findings if one.kind is kind], detectors, exposures, threshold)
        for kind in Kind
        if any(one.kind is kind for one in findings)
    }


def _sentence(
    kind: Kind, findings: Collection[Finding], detectors: Mapping[int, str], exposures: Sequence[int], threshold: int
) -> str:
    whole = _whole(findings, threshold)
    where = [exposure for exposure in exposures if any(exposure == one for one, _ in whole)]
    counted = [one for one in findings if (one.exposure, one.detector) in whole] if whole else list(findings)
    hit = {one.detector for one in counted}
    of = f"{len(hit)} of {len(detectors)} detectors"
    if len(hit) <= 2:
        of = " and ".join(detectors[one] for one in sorted(hit))
    if not whole:
        where = [exposure for exposure in exposures if any(exposure == one.exposure for one in findings)]
        of = f"single amplifiers of {of}: {listed(sorted({one.amplifier for one in findings}))}"
    named = f"{len(where)} of {len(exposures)} exposures ({listed(where)}; {of})"
    if len(where) == len(exposures) > 1:
        named = f"all {len(exposures)} exposures ({of})"
    off = kind is Kind.NO_LIGHT and len(hit) == len(detectors) and bool(whole)
    return (LAMP_OFF if off else SENTENCES[kind]).format(
        named=named,
        value=statistics.median(one.value for one in counted),
        limit=statistics.median(one.limit for one in counted),
        worst=max((one.value for one in counted), key=abs),
    )


def _whole(findings: Collection[Finding], threshold: int) -> set[tuple[int, int]]:
    """Return the (exposure, detector) that have it as a whole, or on more amplifiers than allowed."""
    amplifiers: dict[tuple[int, int], int] = {}
    for one in findings:
        key = one.exposure, one.detector
        amplifiers[key] = amplifiers.get(key, 0) + (1 if one.amplifier else threshold + 1)
    return {key for key, count in amplifiers.items() if count > threshold}
