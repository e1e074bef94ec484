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
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..enums import CalibType
from ..findings import Finding, Outcome
from .context import RuleContext
from .judge import judge
from .judgement import Counts, DetectorJudgement, Judgement
from .measured import MeasuredProduct, by_quantity, detector_value
from .rules.defects import defects
from .rules.drift import drift
from .rules.gain import gain
from .rules.limits import limits
from .rules.measured import measured
from .rules.ptc import ptc
from .rules.trend import trend

if TYPE_CHECKING:
    from ..config import CscConfig

__all__ = ["judge_values", "plausibility", "value_findings"]

OF_AMPLIFIERS = {CalibType.PTC: ptc, CalibType.GAIN: gain}
"""The rule on the amplifiers of a product that is not made of pixels."""


def value_findings(product: MeasuredProduct, config: CscConfig, context: RuleContext) -> list[Finding]:
    """Apply all rules on values to a product.

    Parameters
    ----------
    product
        What was measured.
    config
        The limits.
    context
        What is judged. What is found of amplifiers that are known to be bad is told, but does not count.
    """
    name, values = product.calib_type.name, config.values
    within = values.limits.get(name, ()) if values is not None else ()
    changes = values.drift.get(name, ()) if values is not None else ()
    found = plausibility(product, config, context, any(one.outcome != "note" for one in (*within, *changes)))
    more = [
        *limits(product, within),
        *drift(product, changes),
        *trend(product, values.trend if values is not None else None),
    ]
    return [*found, *_without_bad_amplifiers(more, context)]


def plausibility(
    product: MeasuredProduct, config: CscConfig, context: RuleContext, needed: bool = True
) -> list[Finding]:
    """Apply the rules on whether a product is complete and plausible in itself.

    Parameters
    ----------
    product
        What was measured.
    config
        The limits.
    context
        See `value_findings`.
    needed
        Whether the verdict needs the values of a product that cp_verify verifies, too.
    """
    own = OF_AMPLIFIERS.get(product.calib_type)
    of_defects = product.calib_type is CalibType.DEFECTS
    found = measured(product, needed or own is not None or of_defects)
    if own is not None:
        found += own(product, config.plausible, context.bad_amplifiers)
    if of_defects:
        found += defects(product, config.plausible)
    if not product.detectors:
        found.append(Finding("measured", Outcome.UNKNOWN, "", detail="there are no detectors"))
    return _without_bad_amplifiers(found, context)


def _without_bad_amplifiers(findings: Iterable[Finding], context: RuleContext) -> list[Finding]:
    return [
        dataclasses.replace(one, outcome=Outcome.NOTED) if context.is_bad(one.detector, one.amplifier) else one
        for one in findings
    ]


def judge_values(product: MeasuredProduct, findings: Sequence[Finding], context: RuleContext) -> Judgement:
    """Judge a product by its values alone.

    Parameters
    ----------
    product
        What was measured.
    findings
        Those of all rules on values.
    context
        What is judged.

    Returns
    -------
    judgement
        The worst of the findings is the verdict. No exposures are counted, because the product has none.
    """
    return judge([*findings, *_bad_amplifiers(context)], context, _counts(product, findings))


def _bad_amplifiers(context: RuleContext) -> list[Finding]:
    """Name the amplifiers that are known to be bad, as the rule of that name does it for tests of cp_verify."""
    return [
        Finding("bad_amplifiers", Outcome.NOTED, "", detector, name, value=0.0, unit="failures", detail=reason)
        for detector in context.detectors
        for name, reason in context.bad_amplifiers.get(detector, {}).items()
    ]


def _counts(product: MeasuredProduct, findings: Sequence[Finding]) -> Counts:
    failures = [one for one in findings if one.outcome in (Outcome.FAILURE, Outcome.FAILED)]
    unknown = {one.detector for one in findings if one.outcome is Outcome.UNKNOWN}
    return Counts(
        detectors_expected=len(product.detectors),
        detectors_verified=0 if None in unknown else len(product.detectors) - len(unknown),
        tests_failed=len(failures),
        failures_by_test=_by_quantity(failures),
        detectors=tuple(
            _detector(detector, name, product, [one for one in failures if one.detector == detector])
            for detector, name in product.detectors.items()
        ),
    )


def _detector(detector: int, name: str, product: MeasuredProduct, failures: Sequence[Finding]) -> DetectorJudgement:
    values = product.values.get(detector)
    return DetectorJudgement(
        detector,
        name,
        tests_failed=len(failures),
        amplifiers_failed=len({one.amplifier for one in failures if one.amplifier}),
        failures_by_test=_by_quantity(failures),
        noise=math.nan if values is None else detector_value(by_quantity(values.values, "noise")),
    )


def _by_quantity(failures: Sequence[Finding]) -> dict[str, int]:
    return dict(sorted(collections.Counter(one.quantity for one in failures).items()))
