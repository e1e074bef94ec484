# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Put findings together to a judgement: the verdict is the worst of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..enums import Verdict
from ..findings import Finding, Outcome
from .context import RuleContext
from .judgement import Counts, Judgement, one_line
from .sentences import about_frames, sentences

__all__ = ["judge", "strict"]

VERDICTS = {
    Outcome.NOTED: Verdict.PASSED,
    Outcome.FAILURE: Verdict.PASSED_WITH_FAILURES,
    Outcome.UNKNOWN: Verdict.UNKNOWN,
    Outcome.FAILED: Verdict.FAILED,
}


ABOUT_FRAMES = frozenset({"light", "darkness", "detectors", "exposures", "procedure", "gains_of_flats"})
"""Rules whose findings show that the frames are bad, and so everything that is made from them."""


def strict(findings: Iterable[Finding], strictness: str) -> list[Finding]:
    """Return the findings of a rule as strictly as it is configured.

    Parameters
    ----------
    findings
        Of one rule.
    strictness
        ``off``: none. ``note``: they are only named. ``count``: none makes the product FAILED; what is not known stays
        so. ``fail``: as they are.
    """
    if strictness == "off":
        return []
    if strictness == "note":
        return [dataclasses.replace(one, outcome=Outcome.NOTED) for one in findings]
    if strictness == "count":
        return [
            dataclasses.replace(one, outcome=Outcome.FAILURE) if one.outcome is Outcome.FAILED else one
            for one in findings
        ]
    return list(findings)


def judge(findings: Iterable[Finding], context: RuleContext, counts: Counts) -> Judgement:
    """Return the judgement of a product.

    Parameters
    ----------
    findings
        Of all rules, as strict as they are configured.
    context
        What is judged.
    counts
        The numbers behind the verdict.

    Notes
    -----
    On request, a detector that is bad, or of which it is not known whether it is good, is left out instead of making
    the whole product bad. If something is wrong with the whole product, or no good detector is left, that does not
    help.
    """
    found = sorted(_without_those_left_out_before(findings, context), key=lambda one: -one.outcome)
    verdict, left_out = _verdict(found, context)
    reason = one_line(sentences(found, verdict, left_out, context, counts))
    bad_frames = ""
    # A product that differs from its predecessor, or whose values are odd, says nothing about other products.
    if verdict is Verdict.FAILED and any(one.outcome is Outcome.FAILED and one.rule in ABOUT_FRAMES for one in found):
        bad_frames = one_line(about_frames(found, context)) or reason
    return Judgement(
        verdict, reason, tuple(found), left_out, bad_frames, **{one.name: getattr(counts, one.name) for one in FIELDS}
    )


FIELDS = dataclasses.fields(Counts)


def _without_those_left_out_before(findings: Iterable[Finding], context: RuleContext) -> list[Finding]:
    """What is found on a detector that is left out anyway only says what it is like."""
    return [
        dataclasses.replace(one, outcome=Outcome.NOTED) if one.detector in context.left_out_before else one
        for one in findings
    ]


def _verdict(findings: list[Finding], context: RuleContext) -> tuple[Verdict, tuple[int, ...]]:
    """Return the verdict, and the detectors that it leaves out."""
    before = set(context.left_out_before) & set(context.detectors)
    worst = max((one.outcome for one in findings), default=Outcome.NOTED)
    bad = [one for one in findings if one.outcome >= Outcome.UNKNOWN]
    left_out = before | {one.detector for one in bad if one.detector is not None}
    if set(context.detectors) <= left_out and context.detectors:
        return (VERDICTS[worst] if worst >= Outcome.UNKNOWN else Verdict.FAILED), ()
    if not bad:
        with_failures = worst is Outcome.FAILURE or bool(before)
        return (Verdict.PASSED_WITH_FAILURES if with_failures else Verdict.PASSED), tuple(sorted(before))
    if not context.leave_out or any(one.detector is None for one in bad):
        return VERDICTS[worst], ()
    return Verdict.PASSED_WITH_FAILURES, tuple(sorted(left_out))
