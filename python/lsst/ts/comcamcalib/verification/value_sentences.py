# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sentences about what rules on values have found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..findings import Finding, Outcome
from .judgement import listed

__all__ = ["other_sentences", "own_sentence"]

OF_THE_PRODUCT = frozenset({"measured", "defects", "ptc", "gain"})
"""Rules on whether a product is complete and plausible in itself."""


def own_sentence(product: str, findings: Sequence[Finding], detectors: Mapping[int, str]) -> str:
    """Say whether a product is complete and plausible.

    Parameters
    ----------
    product
        Name of the product.
    findings
        The findings of all rules.
    detectors
        Full names of the detectors, by id.
    """
    wrong, missing = (_of_the_product(findings, outcome) for outcome in (Outcome.FAILED, Outcome.UNKNOWN))
    lacking = f"missing: {_missing(missing, detectors)}" if missing else ""
    if wrong:
        return f"{product} is not plausible: {_by_detector(wrong, detectors)}{'; ' if lacking else ''}{lacking}."
    if missing:
        return f"{product} is not complete: {lacking}."
    return f"{product} is complete and plausible for {len(detectors)} detectors."


def _of_the_product(findings: Sequence[Finding], outcome: Outcome) -> list[Finding]:
    """Return findings about whether the product is complete and plausible, which its first sentence names."""
    return [one for one in findings if one.outcome is outcome and one.rule in OF_THE_PRODUCT]


def _by_detector(findings: Sequence[Finding], detectors: Mapping[int, str]) -> str:
    """Name values that can't be right, by detector."""
    grouped: dict[int | None, list[str]] = {}
    for one in findings:
        grouped.setdefault(one.detector, []).append(_value(one))
    return listed(
        f"{detectors.get(number, '')} ({listed(some)})" for number, some in grouped.items() if number is not None
    )


def _value(finding: Finding) -> str:
    if finding.quantity == "defect_fraction":
        return f"{finding.value:.1%} of its pixels, at most {finding.limit:.1%} are plausible"
    return " ".join(one for one in (finding.amplifier, finding.quantity, f"{finding.value:.3g}", finding.unit) if one)


def _missing(findings: Sequence[Finding], detectors: Mapping[int, str]) -> str:
    return listed(
        dict.fromkeys(
            " ".join(part for part in (_place(one, detectors), f"({one.detail})") if part) for one in findings
        )
    )


def _place(finding: Finding, detectors: Mapping[int, str]) -> str:
    name = detectors.get(finding.detector, "") if finding.detector is not None else ""
    return " ".join(one for one in (name, finding.amplifier) if one)


def other_sentences(findings: Sequence[Finding], detectors: Mapping[int, str], own_said: bool) -> list[str]:
    """Say what limits, drift and trend have found, a sentence for each quantity, the worst first.

    Parameters
    ----------
    findings
        The findings.
    detectors
        Full names of the detectors, by id.
    own_said
        Whether `own_sentence` has said already what is missing or can't be right.
    """
    groups: dict[tuple[Outcome, str, str], list[Finding]] = {}
    for one in findings:
        known_bad = one.rule in OF_THE_PRODUCT and one.outcome is Outcome.NOTED
        # That there are not enough runs for a trend is nothing that an operator needs to read in each verdict.
        if known_bad or ((one.rule not in OF_THE_PRODUCT or not own_said) and (one.rule != "trend" or one.quantity)):
            groups.setdefault((one.outcome, one.rule, one.quantity), []).append(one)
    return [
        _sentence(rule, quantity, outcome, some, detectors)
        for (outcome, rule, quantity), some in sorted(groups.items(), key=lambda item: -item[0][0])
    ]


WORDS = {
    "limits": "beyond its limit",
    "drift": "changed against what is certified",
    "trend": "stands out from earlier runs",
}


def _sentence(
    rule: str, quantity: str, outcome: Outcome, findings: Sequence[Finding], detectors: Mapping[int, str]
) -> str:
    if outcome is Outcome.UNKNOWN and quantity:
        return f"Not known, but needed: {quantity} of {_missing(findings, detectors)}."
    if rule in OF_THE_PRODUCT and quantity:
        named = listed(f"{_place(one, detectors)} ({one.detail or _number(one)})" for one in findings)
        return f"Not counted, because it is known to be bad: {named}."
    if not quantity:
        return _told(rule, findings, detectors)
    words = quantity.replace("_", " ")
    named = listed(f"{_place(one, detectors)} {_number(one)}" for one in sorted(findings, key=_excess, reverse=True))
    noted = "Noted: " if outcome is Outcome.NOTED else ""
    text = f"{noted}{words} {WORDS[rule]}: {named}."
    return text[0].upper() + text[1:]


def _told(rule: str, findings: Sequence[Finding], detectors: Mapping[int, str]) -> str:
    """Say why there is nothing to compare with."""
    by_detail: dict[str, list[str]] = {}
    for one in findings:
        by_detail.setdefault(one.detail.removesuffix("."), []).append(_place(one, detectors))
    what = {"drift": "Not compared with what is certified", "measured": "Not measured"}[rule]
    texts = [f"{listed(places)} ({detail})" if any(places) else detail for detail, places in by_detail.items()]
    return f"{what}: {'; '.join(texts)}."


def _number(finding: Finding) -> str:
    unit = f" {finding.unit}" if finding.unit else ""
    return f"{finding.value:.3g}{unit} (limit {finding.limit:.3g}{unit})"


def _excess(finding: Finding) -> float:
    """Return how far a value is beyond its limit, for the order in a sentence."""
    return abs(finding.value / finding.limit) if finding.limit else math.inf
