# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verdict on a product that cp_verify has verified."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..butler_data import VerificationStatistics
from ..enums import CalibType
from ..findings import Finding
from .arrays import Booleans, Floats
from .context import RuleContext
from .counted import Counted, counted
from .frames import with_faults
from .judge import judge, strict
from .judgement import Counts, DetectorJudgement, Judgement
from .reader import read_table
from .rules.agreement import agreement
from .rules.bad_amplifiers import bad_amplifiers
from .rules.completeness import completeness
from .rules.darkness import darkness, darkness_faults
from .rules.detectors import detectors
from .rules.exposures import exposures
from .rules.light import light, light_faults
from .rules.not_counted import not_counted
from .rules.procedure import procedure, procedure_counts
from .table import ABSENT, StatisticsTable

__all__ = ["judge_statistics", "table_of"]

Rule = Callable[[StatisticsTable, RuleContext], list[Finding]]


def judge_statistics(
    statistics: VerificationStatistics, context: RuleContext, more: Sequence[Finding] = ()
) -> Judgement:
    """Give a verdict on the statistics of a verification.

    A detector fails if, in the majority of the exposures, more of its amplifiers than the threshold allows fail the
    same test, or a test of the whole detector fails; or, where cp_verify tests the product itself, if they do so there.
    Our own tests of the frames (LEVEL, NOISE_LOW, FLUX, OUTLIER) are counted in the same way as cp_verify's.

    Parameters
    ----------
    statistics
        As they were read, whatever is in them.
    context
        What should be there, and how it is judged.
    more
        Findings about the same product from elsewhere.

    Returns
    -------
    judgement
        The verdict with its findings and sentences, and the numbers by the written procedure's rule.
    """
    table = table_of(statistics, context)
    with np.errstate(all="ignore"):
        findings = [*more, *_findings(table, context)]
        return judge(findings, context, _counts(table, context))


def table_of(statistics: VerificationStatistics, context: RuleContext) -> StatisticsTable:
    """Return the statistics of a verification as a table, with the faults of the frames."""
    table = read_table(statistics, context)
    if context.frames is None or context.rules.frames == "off":
        return table
    find = light_faults if context.calib_type is CalibType.FLAT else darkness_faults
    with np.errstate(all="ignore"):  # NaN stands for what was not measured
        return with_faults(find(table, context), table)


def _findings(table: StatisticsTable, context: RuleContext) -> list[Finding]:
    """Apply the rules, each as strictly as it is configured."""
    rules, frames = context.rules, light if context.calib_type is CalibType.FLAT else darkness
    applied: list[tuple[Rule, str]] = [
        (completeness, "fail"),
        (agreement, "fail"),
        (frames, rules.frames),
        (detectors, rules.detectors),
        (exposures, rules.exposures),
        (procedure, rules.procedure),
        (bad_amplifiers, "note"),
        (not_counted, "note"),
    ]
    return [
        finding
        for rule, strictness in applied
        if strictness != "off"
        for finding in strict(rule(table, context), strictness)
    ]


def _counts(table: StatisticsTable, context: RuleContext) -> Counts:
    """Return the numbers behind the verdict."""
    failures = counted(table, context)
    of_procedure = procedure_counts(table, context)
    by_test = failures.by_test(failures.failed)
    in_run = table.run.success != ABSENT if table.run is not None else np.zeros(len(table.exposures), bool)
    return Counts(
        exposures_expected=context.exposures_expected,
        exposures_verified=int((in_run & table.readable.all(axis=1)).sum()) if context.exposures_expected else 0,
        detectors_expected=len(table.detectors),
        detectors_verified=int(table.readable.all(axis=0).sum()),
        tests_failed=sum(by_test.values()),
        exposures_failed=of_procedure.exposures_failed,
        exposures_failed_threshold=of_procedure.exposures_needed,
        tests_failed_threshold=of_procedure.failures_needed,
        failures_by_test=by_test,
        detectors=tuple(_detectors(table, failures, context)),
    )


def _detectors(table: StatisticsTable, failures: Counted, context: RuleContext) -> list[DetectorJudgement]:
    assert context.recipe is not None
    exposures = failures.by_detector(context.threshold).sum(axis=0).max(axis=1, initial=0)
    exposures *= bool(context.exposures_expected)
    amplifiers = failures.failed[:, :, :-1].any(axis=(0, 3)).sum(axis=1)
    signals = _medians(table.values_of(context.recipe.signal_statistic), table.readable)
    noises = _medians(table.values_of(context.recipe.noise_statistic), table.readable)
    judged = []
    for index, detector in enumerate(table.detectors):
        by_test = failures.by_test(failures.failed[:, index])
        judged.append(
            DetectorJudgement(
                detector=detector,
                detector_name=table.names[index],
                tests_failed=sum(by_test.values()),
                exposures_failed=int(exposures[index]),
                amplifiers_failed=int(amplifiers[index]),
                failures_by_test=by_test,
                signal=float(signals[index]),
                noise=float(noises[index]),
            )
        )
    return judged


def _medians(values: Floats, readable: Booleans) -> Floats:
    """Return the median of each detector's values over exposures and amplifiers; NaN if there are none."""
    medians = np.full(values.shape[1], np.nan)
    for index in range(values.shape[1]):
        known = values[:, index][readable[:, index]]
        if (known := known[~np.isnan(known)]).size:
            medians[index] = np.median(known)
    return medians
