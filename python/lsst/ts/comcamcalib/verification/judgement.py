# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result of a verification."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Self

from ..enums import Verdict
from ..findings import Finding

__all__ = ["MAX_LISTED", "Counts", "DetectorJudgement", "Judgement", "listed", "one_line"]

MAX_SENTENCE = 2000
"""Longest sentence (characters), because names in damaged statistics may have any length."""

MAX_LISTED = 5
"""Largest number of things of a kind that a sentence names one by one."""


@dataclasses.dataclass(frozen=True)
class DetectorJudgement:
    """The result for one detector.

    Parameters
    ----------
    detector, detector_name
        Its id and full name.
    tests_failed
        How often a test that counts failed, over amplifiers and exposures.
    exposures_failed
        In how many exposures more amplifiers than allowed failed the same test, or a test of the whole detector failed.
    amplifiers_failed
        How many amplifiers failed a test in any exposure.
    failures_by_test
        How often each test failed; tests that never did are not there.
    signal, noise
        Medians over amplifiers and exposures (electron); NaN: not known.
    """

    detector: int
    detector_name: str
    tests_failed: int = 0
    exposures_failed: int = 0
    amplifiers_failed: int = 0
    failures_by_test: Mapping[str, int] = dataclasses.field(default_factory=dict)
    signal: float = float("nan")
    noise: float = float("nan")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counts:
    """The numbers behind a verdict.

    Parameters
    ----------
    exposures_expected, exposures_verified
        Number of exposures that should have statistics, and of those whose statistics are complete for all detectors.
    detectors_expected, detectors_verified
        Likewise for detectors, complete for all exposures.
    tests_failed
        How often a test that counts failed, over amplifiers, detectors and exposures.
    exposures_failed, exposures_failed_threshold, tests_failed_threshold
        The written procedure's own rule, for comparison: exposures with at least ``tests_failed_threshold`` failures of
        the same test fail, and it would not certify if at least ``exposures_failed_threshold`` exposures do.
    failures_by_test
        How often each test failed; tests that never did are not there.
    detectors
        The same for each detector.
    """

    exposures_expected: int = 0
    exposures_verified: int = 0
    detectors_expected: int = 0
    detectors_verified: int = 0
    tests_failed: int = 0
    exposures_failed: int = 0
    exposures_failed_threshold: int = 0
    tests_failed_threshold: int = 0
    failures_by_test: dict[str, int] = dataclasses.field(default_factory=dict)
    detectors: tuple[DetectorJudgement, ...] = ()


@dataclasses.dataclass(frozen=True)
class Judgement(Counts):
    """A verdict, its reason, and what it rests on.

    Parameters
    ----------
    verdict
        Never ACCEPTED_BY_OPERATOR, which only an operator can give.
    reason
        What failed or is missing, in sentences.
    findings
        What was found, the worst first.
    left_out
        Detectors that are bad, and that a good verdict does not cover.
    bad_frames
        Why no product made from the same frames can be good; "" if the frames are not bad.
    """

    verdict: Verdict
    reason: str
    findings: tuple[Finding, ...] = ()
    left_out: tuple[int, ...] = ()
    bad_frames: str = ""

    @classmethod
    def unknown(cls, reason: str) -> Self:
        """Return the judgement UNKNOWN, with one reason, for a product that could not be verified."""
        return cls(Verdict.UNKNOWN, reason)


def one_line(sentence: str) -> str:
    """Return a sentence without anything that can't be printed, such as the line breaks in broken statistics."""
    printable = "".join(character if character.isprintable() else " " for character in sentence)
    return printable if len(printable) <= MAX_SENTENCE else f"{printable[:MAX_SENTENCE]}…"


def listed(things: Iterable[object]) -> str:
    """Return things as a list for a sentence; if there are many, the first ones and the number of the others."""
    texts = [str(thing) for thing in things]
    more = len(texts[MAX_LISTED:])
    return ", ".join(texts[:MAX_LISTED]) + (f" and {more} more" if more else "")
