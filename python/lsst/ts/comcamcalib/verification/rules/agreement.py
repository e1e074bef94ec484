# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The statistics of the run, of the exposures and of the detectors must not contradict each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...enums import CalibType
from ...findings import Finding, Outcome
from ..context import RuleContext
from ..reader.values import FAILS_ALWAYS
from ..table import ABSENT, FAILED, PASSED, StatisticsTable, Summary

__all__ = ["agreement"]


def agreement(table: StatisticsTable, context: RuleContext) -> list[Finding]:
    """Return where the levels contradict each other.

    Returns
    -------
    findings
        UNKNOWN, with the exposure and, if the contradiction is about a single detector, with the detector. ``quantity``
        is the level that differs from the detectors' own: ``run`` or ``exposure``; ``kind`` is what about.
    """
    findings: list[Finding] = []
    if table.run is not None:
        findings += _compare("run", table.run, table, context)
    if table.of_exposures is not None:
        findings += _compare("exposure", table.of_exposures, table, context)
    if table.run is not None and table.of_exposures is not None:
        run, exposures = table.run.success, table.of_exposures.success
        for (index,) in table.places((run != exposures) & (run != ABSENT) & (exposures != ABSENT)):
            detail = f"the run has it as a {_word(run[index])}, its own statistics as a {_word(exposures[index])}"
            findings.append(_of_exposure("run", table.exposures[index], "levels", detail))
    return findings


def _word(success: int) -> str:
    return "success" if success == PASSED else "failure"


def _compare(level: str, summary: Summary, table: StatisticsTable, context: RuleContext) -> Iterator[Finding]:
    """Compare a summary with the statistics of the detectors, exposure by exposure, as far as these can be read."""
    # Of flats the run names the tests of whole exposures; it does not repeat those of the detectors.
    hides = level == "run" and context.calib_type is CalibType.FLAT
    named = np.asarray(summary.failed.any(axis=(1, 2, 3)))
    for index, exposure in enumerate(table.exposures):
        if summary.success[index] == ABSENT:
            continue  # it is already named as missing
        readable = table.readable[index]
        failed = np.flatnonzero(table.success[index] == FAILED)
        said = summary.detector_success[index]
        odd = np.flatnonzero(readable & (said != ABSENT) & (said != table.success[index]))
        whole, others = summary.whole.get(exposure, ()), summary.others.get(exposure, ())
        if len(odd):
            yield from (_of_detector(level, exposure, table, int(one), "detector") for one in odd)
        elif summary.success[index] == PASSED and len(failed):
            yield from (_of_detector(level, exposure, table, int(one), "success") for one in failed)
        elif summary.success[index] == FAILED and not len(failed) and not whole and readable.all():
            yield _of_exposure(level, exposure, "failure")
        elif not hides or named[index] or others:
            yield from _different_failures(level, summary, index, table, context)


def _of_exposure(level: str, exposure: int | None, kind: str, detail: str = "") -> Finding:
    return Finding("agreement", Outcome.UNKNOWN, level, exposure=exposure, detail=detail, kind=kind)


def _of_detector(
    level: str, exposure: int | None, table: StatisticsTable, detector: int, kind: str, detail: str = ""
) -> Finding:
    return Finding(
        "agreement",
        Outcome.UNKNOWN,
        level,
        detector=table.detectors[detector],
        exposure=exposure,
        detail=detail,
        kind=kind,
    )


def _different_failures(
    level: str, summary: Summary, index: int, table: StatisticsTable, context: RuleContext
) -> Iterator[Finding]:
    """Compare the failures of the tests that count, of the detectors whose statistics can be read."""
    assert context.recipe is not None
    exposure = table.exposures[index]
    counting = (*context.recipe.tests, FAILS_ALWAYS)
    readable = table.readable[index]
    unread = {name for name, one in zip(table.names, readable, strict=True) if not one}
    for text in summary.others.get(exposure, ()):
        words = text.split(" ")
        if words[-1] in counting and words[0] not in unread:
            yield _of_exposure(level, exposure, "tests", text)
    counts = np.array([test in counting for test in table.tests], bool)
    different = (summary.failed[index] != (table.results[index] == FAILED)) & counts & readable[:, None, None]
    for detector, amplifier, test in table.places(different):
        name = (*table.amplifiers, "")[amplifier]
        text = " ".join(word for word in (table.names[detector], name, table.tests[test]) if word)
        yield _of_detector(level, exposure, table, detector, "tests", text)
