# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sentences about what rules on values have found, for the reason of a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..findings import Finding, Outcome
from .context import RuleContext
from .judgement import listed

__all__ = ["VALUE_RULES", "implausible_values", "value_sentences"]

OWN_RULES = frozenset({"defects", "ptc", "gain"})
"""Rules on whether values are plausible in themselves."""

VALUE_RULES = frozenset({*OWN_RULES, "measured", "limits", "drift", "trend"})

WORDS = {
    "limits": "beyond its limit",
    "drift": "changed against what is certified",
    "trend": "stands out from earlier runs",
}


def implausible_values(findings: Sequence[Finding], context: RuleContext) -> str:
    """Name the values that can't be right, by detector; "" if there are none."""
    by_detector: dict[str, list[str]] = {}
    for one in findings:
        if one.rule in OWN_RULES and one.outcome is Outcome.FAILED:
            by_detector.setdefault(_detector(one, context), []).append(_implausible(one))
    named = listed(f"{name} ({listed(values)})" for name, values in by_detector.items())
    return f"{context.calib_type.name} is not plausible: {named}" if named else ""


def _implausible(finding: Finding) -> str:
    if finding.quantity == "defect_fraction":
        return f"{finding.value:.1%} of its pixels, at most {finding.limit:.1%} are plausible"
    return " ".join(one for one in (finding.amplifier, finding.quantity, f"{finding.value:.3g}", finding.unit) if one)


def value_sentences(findings: Sequence[Finding], context: RuleContext) -> list[str]:
    """Say what limits, drift and trend have found, a sentence for each quantity.

    What is not known or can't be right belongs into the first sentence of the verdict, and is not said here.

    Parameters
    ----------
    findings
        The worst first.
    context
        What is judged.
    """
    groups: dict[tuple[Outcome, str, str], list[Finding]] = {}
    for one in findings:
        compared = one.rule in WORDS and one.outcome is not Outcome.UNKNOWN
        told = one.rule in (*OWN_RULES, "measured") and one.outcome is Outcome.NOTED
        # That there are not enough runs for a trend is nothing that an operator needs to read in each verdict.
        if (compared or told) and (one.rule != "trend" or one.quantity):
            quantity = "" if one.rule == "drift" and math.isnan(one.value) else one.quantity
            groups.setdefault((one.outcome, one.rule, quantity), []).append(one)
    return [_sentence(*key, some, context) for key, some in groups.items()]


def _sentence(outcome: Outcome, rule: str, quantity: str, findings: Sequence[Finding], context: RuleContext) -> str:
    if not quantity:
        return _not_compared(rule, findings, context)
    if rule in OWN_RULES:
        named = listed(f"{_place(one, context)} ({one.detail or _implausible(one)})" for one in findings)
        return f"Not counted, because the amplifier is known to be bad: {named}."
    worst_first = sorted(findings, key=_excess, reverse=True)
    named = listed(f"{_place(one, context)} {_number(one)}" for one in worst_first)
    noted = "Noted: " if outcome is Outcome.NOTED else ""
    text = f"{noted}{quantity.replace('_', ' ')} {WORDS[rule]}: {named}."
    return text[0].upper() + text[1:]


def _not_compared(rule: str, findings: Sequence[Finding], context: RuleContext) -> str:
    """Say why there is nothing to compare, for detectors with the same reason once."""
    by_detail: dict[str, list[str]] = {}
    for one in findings:
        by_detail.setdefault(one.detail.removesuffix("."), []).append(_place(one, context))
    what = "Not compared with what is certified" if rule == "drift" else "Not measured"
    return f"{what}: {'; '.join(f'{listed(places)} ({detail})' for detail, places in by_detail.items())}."


def _place(finding: Finding, context: RuleContext) -> str:
    return " ".join(one for one in (_detector(finding, context), finding.amplifier) if one)


def _detector(finding: Finding, context: RuleContext) -> str:
    return context.detectors.get(finding.detector, "") if finding.detector is not None else ""


def _number(finding: Finding) -> str:
    unit = f" {finding.unit}" if finding.unit else ""
    return f"{finding.value:.3g}{unit} (limit {finding.limit:.3g}{unit})"


def _excess(finding: Finding) -> float:
    """Return how far a value is beyond its limit, for the order in a sentence."""
    return abs(finding.value - finding.limit) / (abs(finding.limit) or 1.0)
