# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sentences of a verdict, made of its findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..enums import Verdict
from ..findings import Finding, Outcome
from .context import RuleContext
from .frame_sentences import frame_sentences
from .judgement import MAX_LISTED, Counts, DetectorJudgement, listed
from .rules.exposures import NOISY
from .unknown_sentences import not_known
from .value_sentences import VALUE_RULES, implausible_values, value_sentences

__all__ = ["about_frames", "in_words", "sentences"]

FRAME_RULES = frozenset({"light", "darkness"})

MAX_LEFT_OUT = 20
"""Largest number of detectors that are left out and named one by one; they are not in the product, so all count."""


def sentences(
    findings: Sequence[Finding],
    verdict: Verdict,
    left_out: Sequence[int],
    context: RuleContext,
    counts: Counts,
) -> str:
    """Return the reason of a verdict: first what is wrong with frames, then the worst, then what else is to be known.

    Parameters
    ----------
    findings
        The worst first.
    verdict, left_out
        What follows from them.
    context
        What is judged.
    counts
        The numbers behind the verdict.
    """
    rest = [one for one in findings if one.detector not in left_out]
    of_rest = [one for one in counts.detectors if one.detector not in left_out]
    parts = [
        *dict.fromkeys(one.detail for one in rest if one.rule == "gains_of_flats"),
        about_frames(rest, context),
        _left_out(findings, left_out, context, counts),
        _main(rest, verdict, of_rest, len(left_out), context),
        _exposures(rest, context),
        _noisy_exposures(rest),
        _bad_amplifiers(findings, context),
        *value_sentences(rest, context),
    ]
    if verdict in (Verdict.PASSED, Verdict.PASSED_WITH_FAILURES):
        parts += [_procedure(rest), _not_counted(rest)]
    return " ".join(part for part in parts if part)


def about_frames(findings: Sequence[Finding], context: RuleContext) -> str:
    """Return the sentences about frames with wrong light, level or noise; "" if there are none."""
    about = [one for one in findings if one.rule in FRAME_RULES and one.detector is not None]
    return " ".join(frame_sentences(about, context.detectors, context.exposures))


def _main(
    findings: Sequence[Finding],
    verdict: Verdict,
    detectors: Sequence[DetectorJudgement],
    left_out: int,
    context: RuleContext,
) -> str:
    """Return the sentence about what decides the verdict."""
    failed = [one for one in findings if one.outcome is Outcome.FAILED]
    unknown = not_known(findings, context)
    if any(one.rule in FRAME_RULES for one in failed):
        # A product of such frames often has no values, which says nothing new.
        unknown = not_known([one for one in findings if one.rule not in ("measured", "drift", "trend")], context)
        also = f" The statistics are not complete, or do not fit together: {unknown.text}." if unknown.text else ""
        return f"No good {context.calib_type.name} can be made from these frames.{also}"
    bad = {one.detector for one in failed if one.rule == "detectors"}
    others = [one for one in failed if one.rule not in ("detectors", "gains_of_flats", *VALUE_RULES)]
    implausible = implausible_values(failed, context)
    if bad or others or implausible:
        parts = [_failed_detectors([one for one in detectors if one.detector in bad], context)] if bad else []
        parts += [f"{_rule(others)}: {listed(in_words(one, context) for one in others)}"] if others else []
        parts += [implausible] if implausible else []
        return "; ".join([*parts, *([unknown.text] if unknown.text else [])]) + "."
    if unknown.text:
        if unknown.contradictory:
            return f"The statistics do not fit together: {unknown.text}."
        return f"The verification is not complete: {unknown.text}."
    if verdict is Verdict.FAILED:
        return "" if failed else "No good detector is left."
    checked = f"{len(context.detectors) - left_out} detectors"
    if context.exposures_expected:
        checked += f" in {context.exposures_expected} exposures"
    by_test: dict[str, int] = {}
    for one in detectors:
        for test, count in one.failures_by_test.items():
            by_test[test] = by_test.get(test, 0) + count
    if by_test and context.exposures:
        counted = _counted(dict(sorted(by_test.items())))
        return f"Of {checked} none failed, but single tests did: {counted}{_where(findings, context)}."
    if context.recipe is None:
        return f"{context.calib_type.name} is complete and plausible for {checked}."
    plausible = "" if context.exposures_expected else f", and {context.calib_type.name} is plausible"
    return f"All tests of {checked} passed{plausible}."


def _where(findings: Sequence[Finding], context: RuleContext) -> str:
    """Name the amplifiers in which single tests failed; "" if they are too many to be named."""
    failures = [one for one in findings if one.rule == "detectors" and one.outcome is Outcome.FAILURE]
    places = sorted({(one.detector, one.amplifier) for one in failures if one.detector is not None})
    named = [f"{context.detectors[detector]} {amplifier}".rstrip() for detector, amplifier in places]
    return f", in {', '.join(named)}" if 0 < len(named) <= MAX_LISTED else ""


def _rule(findings: Sequence[Finding]) -> str:
    return " and ".join(dict.fromkeys(f"the rule {one.rule}" for one in findings)).capitalize() + " failed"


def _failed_detectors(bad: Sequence[DetectorJudgement], context: RuleContext) -> str:
    worst = sorted(bad, key=lambda one: -one.tests_failed)
    named = listed(f"{one.detector_name} ({_counted(one.failures_by_test)})" for one in worst)
    often = f" in the majority of {context.exposures_expected} exposures" if context.exposures_expected else ""
    return (
        f"{len(bad)} of {len(context.detectors)} detectors failed a test{often}, as a whole or with more than "
        f"{context.threshold} amplifiers: {named}"
    )


def _left_out(findings: Sequence[Finding], left_out: Sequence[int], context: RuleContext, counts: Counts) -> str:
    """Name the detectors that the verdict leaves out, and why."""
    if not left_out:
        return ""
    named = []
    for detector in left_out:
        why = context.left_out_before.get(detector, "")
        if not why:
            own = [one for one in findings if one.detector == detector and one.outcome >= Outcome.UNKNOWN]
            why = _why(own, next((one for one in counts.detectors if one.detector == detector), None), context)
        named.append(f"{context.detectors[detector]} ({why})")
    more = len(named) - MAX_LEFT_OUT
    text = ", ".join(named[:MAX_LEFT_OUT]) + (f" and {more} more" if more > 0 else "")
    return f"Left out, and not certified: {text}."


def _why(findings: Sequence[Finding], counted: DetectorJudgement | None, context: RuleContext) -> str:
    """Say why a detector is left out."""
    if any(one.rule == "detectors" and one.outcome is Outcome.FAILED for one in findings) and counted is not None:
        return _counted(counted.failures_by_test)
    of_frames = [one for one in findings if one.rule in FRAME_RULES]
    if of_frames:
        return " ".join(frame_sentences(of_frames, context.detectors, context.exposures)).removesuffix(".")
    if unknown := not_known(findings, context).text:
        return unknown
    return listed(dict.fromkeys(in_words(one, context) for one in findings))


def _exposures(findings: Sequence[Finding], context: RuleContext) -> str:
    """Name the exposures in which a test of cp_verify failed for detectors as a whole."""
    by_exposure: dict[int, list[str]] = {}
    for one in findings:
        if one.rule == "exposures" and one.kind != NOISY and one.exposure is not None:
            by_exposure.setdefault(one.exposure, []).append(f"{one.quantity} on {one.value:.0f}")
    if not by_exposure:
        return ""
    of = f"of {len(context.detectors)} detectors"
    named = (f"{exposure} ({', '.join(tests)} {of})" for exposure, tests in sorted(by_exposure.items()))
    return f"Exposures that failed as a whole: {listed(named)}."


def _noisy_exposures(findings: Sequence[Finding]) -> str:
    """Name the exposures with more noise than the others."""
    noisy = sorted((one for one in findings if one.kind == NOISY), key=lambda one: -one.value)
    named = (f"{one.exposure} ({one.value:.3g} times as much {one.detail})" for one in noisy)
    return f"Exposures with more noise than the others: {listed(named)}." if noisy else ""


def _bad_amplifiers(findings: Sequence[Finding], context: RuleContext) -> str:
    """Name the amplifiers that are known to be bad, with what they failed."""
    by_amplifier: dict[tuple[int, str, str], dict[str, int]] = {}
    for one in findings:
        if one.rule == "bad_amplifiers" and one.detector is not None:
            failures = by_amplifier.setdefault((one.detector, one.amplifier, one.detail), {})
            if one.value:
                failures[one.quantity] = int(one.value)
    if not by_amplifier:
        return ""
    named = (
        f"{context.detectors[detector]} {amplifier} ({reason}{_failed(failures, context)})"
        for (detector, amplifier, reason), failures in sorted(by_amplifier.items())
    )
    return f"Known to be bad, and not counted: {listed(named)}."


def _failed(failures: Mapping[str, int], context: RuleContext) -> str:
    """Say what an amplifier failed; nothing if there were no tests, because the product is judged by its values."""
    return f"; {_counted(failures) or 'failed no test'}" if failures or context.recipe is not None else ""


def _procedure(findings: Sequence[Finding]) -> str:
    for one in findings:
        if one.rule == "procedure":
            return (
                f"The written procedure's rule would not certify it: {one.value:.0f} exposures have {one.detail}, and "
                f"{one.limit:.0f} are enough for that."
            )
    return ""


def _not_counted(findings: Sequence[Finding]) -> str:
    """Name failed tests that do not count."""
    by_test: dict[str, int] = {}
    for one in findings:
        if one.rule == "not_counted":
            by_test[one.quantity] = by_test.get(one.quantity, 0) + int(one.value)
    return f"Not counted, as configured: {_counted(dict(sorted(by_test.items())))}." if by_test else ""


def _counted(by_test: Mapping[str, int]) -> str:
    return ", ".join(f"{test} {count} x" for test, count in by_test.items())


def in_words(finding: Finding, context: RuleContext) -> str:
    """Return any finding in words: where, what, how much, and what it was compared with."""
    name = context.detectors.get(finding.detector, "") if finding.detector is not None else ""
    exposure = f"exposure {finding.exposure}" if finding.exposure is not None else ""
    words = " ".join(word for word in (name, finding.amplifier, exposure, finding.quantity) if word)
    if finding.value == finding.value:
        words += f" {finding.value:.4g} {finding.unit}".rstrip()
        if finding.limit == finding.limit:
            words += f" (limit {finding.limit:.4g})"
    return f"{words}: {finding.detail}" if finding.detail else words
