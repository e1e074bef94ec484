# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the values of a product mean for its verdict."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..enums import CalibType, Verdict
from ..findings import Finding, Outcome
from .judgement import DetectorJudgement, Judgement, one_line
from .measured import MeasuredProduct, by_quantity, detector_value
from .rules.defects import defects
from .rules.drift import drift
from .rules.gain import gain
from .rules.limits import limits
from .rules.measured import measured
from .rules.ptc import ptc
from .rules.trend import trend
from .value_sentences import other_sentences, own_sentence

if TYPE_CHECKING:
    from ..config import CscConfig

__all__ = ["add_findings", "judge_values", "plausibility", "value_findings"]

OWN_RULES = {CalibType.DEFECTS: defects, CalibType.PTC: ptc, CalibType.GAIN: gain}
"""The rule of a product that cp_verify does not verify; its verdict follows from its values alone."""

VERDICTS = {
    Outcome.NOTED: Verdict.PASSED,
    Outcome.FAILURE: Verdict.PASSED_WITH_FAILURES,
    Outcome.UNKNOWN: Verdict.UNKNOWN,
    Outcome.FAILED: Verdict.FAILED,
}

WORST_FIRST = (Verdict.FAILED, Verdict.UNKNOWN, Verdict.PASSED_WITH_FAILURES, Verdict.PASSED)


def value_findings(
    product: MeasuredProduct, config: CscConfig, bad_amplifiers: Mapping[int, Mapping[str, str]]
) -> list[Finding]:
    """Apply all rules on values to a product.

    Parameters
    ----------
    product
        What was measured.
    config
        The limits.
    bad_amplifiers
        What is known of bad amplifiers, by detector id and name: what is found of them is told, but does not count.
    """
    name, values = product.calib_type.name, config.values
    within = values.limits.get(name, ()) if values is not None else ()
    changes = values.drift.get(name, ()) if values is not None else ()
    found = plausibility(product, config, any(one.outcome != "note" for one in (*within, *changes)))
    found += limits(product, within)
    found += drift(product, changes)
    found += trend(product, values.trend if values is not None else None)
    return [
        dataclasses.replace(one, outcome=Outcome.NOTED)
        if one.detector is not None and one.amplifier in bad_amplifiers.get(one.detector, {})
        else one
        for one in found
    ]


def plausibility(product: MeasuredProduct, config: CscConfig, needed: bool = True) -> list[Finding]:
    """Apply the rules on whether a product is complete and plausible in itself.

    Parameters
    ----------
    product
        What was measured.
    config
        The limits.
    needed
        Whether the verdict needs the values of a product that cp_verify verifies, too.
    """
    own = OWN_RULES.get(product.calib_type)
    found = measured(product, needed or own is not None)
    return found + own(product, config.plausible) if own is not None else found


def judge_values(product: MeasuredProduct, findings: Sequence[Finding]) -> Judgement:
    """Judge a product by its values alone.

    Parameters
    ----------
    product
        What was measured.
    findings
        Those of all rules on values.

    Returns
    -------
    judgement
        The worst of the findings is the verdict. No exposures are counted, because the product has none.
    """
    name = product.calib_type.name
    if not product.detectors:
        return Judgement.unknown(f"{name} is not complete: there are no detectors.")
    unknown = {one.detector for one in findings if one.outcome is Outcome.UNKNOWN}
    verified = 0 if None in unknown else len(product.detectors) - len(unknown)
    start = Judgement(
        Verdict.PASSED,
        own_sentence(name, findings, product.detectors),
        detectors_expected=len(product.detectors),
        detectors_verified=verified,
        detectors=tuple(
            DetectorJudgement(detector, full_name, noise=_noise(detector, product))
            for detector, full_name in product.detectors.items()
        ),
    )
    return _add(start, findings, other_sentences(findings, product.detectors, own_said=True))


def add_findings(judgement: Judgement, findings: Sequence[Finding], detectors: Mapping[int, str]) -> Judgement:
    """Return a judgement with findings added: they may make its verdict worse, and what they say follows its sentence.

    Parameters
    ----------
    judgement
        The judgement so far.
    findings
        Those of rules on values.
    detectors
        Full names of the detectors, by id.
    """
    return _add(judgement, findings, other_sentences(findings, detectors, own_said=False))


def _add(judgement: Judgement, findings: Sequence[Finding], sentences: Sequence[str]) -> Judgement:
    if not findings:
        return judgement
    worst = VERDICTS[max(one.outcome for one in findings)]
    failures = [one for one in findings if one.outcome in (Outcome.FAILURE, Outcome.FAILED)]
    by_test = collections.Counter(judgement.failures_by_test) + collections.Counter(one.quantity for one in failures)
    return dataclasses.replace(
        judgement,
        verdict=min(judgement.verdict, worst, key=WORST_FIRST.index),
        reason=one_line(" ".join([judgement.reason, *sentences])),
        tests_failed=judgement.tests_failed + len(failures),
        failures_by_test=dict(sorted(by_test.items())),
        detectors=tuple(_with(one, failures) for one in judgement.detectors),
        findings=(*judgement.findings, *findings),
    )


def _with(detector: DetectorJudgement, failures: Sequence[Finding]) -> DetectorJudgement:
    own = [one for one in failures if one.detector == detector.detector]
    by_test = collections.Counter(detector.failures_by_test) + collections.Counter(one.quantity for one in own)
    amplifiers = len({one.amplifier for one in own if one.amplifier})
    return dataclasses.replace(
        detector,
        tests_failed=detector.tests_failed + len(own),
        amplifiers_failed=max(detector.amplifiers_failed, amplifiers),
        failures_by_test=dict(sorted(by_test.items())),
    )


def _noise(detector: int, product: MeasuredProduct) -> float:
    values = product.values.get(detector)
    if values is None or product.calib_type is CalibType.DEFECTS:
        return math.nan
    return detector_value(by_quantity(values.values, "noise"))
