# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sentences about frames with wrong light, level or noise."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from ..findings import Finding
from .faults import Kind
from .judgement import listed

__all__ = ["frame_sentences"]

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


def frame_sentences(
    findings: Sequence[Finding], detectors: Mapping[int, str], exposures: Sequence[int | None]
) -> Iterator[str]:
    """Yield a sentence for each kind of finding, with the exposures, how many detectors, and by how much.

    Parameters
    ----------
    findings
        Of single frames; those without an amplifier are about detectors as a whole.
    detectors
        Full names of all detectors, by id.
    exposures
        All exposures.
    """
    for kind in Kind:
        if some := [one for one in findings if one.kind == kind.name and one.detector is not None]:
            yield _sentence(kind, some, detectors, exposures)


def _sentence(
    kind: Kind, findings: Sequence[Finding], detectors: Mapping[int, str], exposures: Sequence[int | None]
) -> str:
    whole = [one for one in findings if not one.amplifier]
    counted = whole or findings
    there = {one.exposure for one in counted}
    where = [exposure for exposure in exposures if exposure in there]
    hit = {one.detector for one in counted if one.detector is not None}
    of = f"{len(hit)} of {len(detectors)} detectors"
    if len(hit) <= 2:
        of = " and ".join(detectors[one] for one in sorted(hit))
    if not whole:
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
