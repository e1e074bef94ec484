# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sentences about what is missing, can't be read or contradicts itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from ..findings import Finding, Outcome
from .context import RuleContext
from .judgement import listed

__all__ = ["NotKnown", "not_known"]

MAX_CONTRADICTIONS = 3
"""Largest number of contradictions that are named one by one."""


@dataclasses.dataclass(frozen=True)
class NotKnown:
    """What is not known, in words; "" if everything is, and whether statistics contradict each other."""

    text: str
    contradictory: bool


def not_known(findings: Sequence[Finding], context: RuleContext) -> NotKnown:
    """Return in words what the findings with the outcome UNKNOWN say: first the contradictions."""
    unknown = [one for one in findings if one.outcome is Outcome.UNKNOWN]
    contradictions = list(dict.fromkeys(_contradictions([one for one in unknown if one.rule == "agreement"], context)))
    missing = list(dict.fromkeys(_missing([one for one in unknown if one.rule != "agreement"], context)))
    texts = contradictions[:MAX_CONTRADICTIONS]
    if more := len(contradictions) - len(texts):
        texts.append(f"and {more} more contradictions")
    if missing:
        texts.append(f"missing or not usable: {listed(missing)}")
    return NotKnown("; ".join(texts), bool(contradictions))


def _missing(findings: Sequence[Finding], context: RuleContext) -> Iterator[str]:
    """Name what is missing, for a detector that lacks the same in all exposures only once."""
    exposures: dict[tuple[int | None, str], set[int | None]] = {}
    for one in findings:
        exposures.setdefault((one.detector, one.detail), set()).add(one.exposure)
    for one in findings:
        name = context.detectors.get(one.detector, "") if one.detector is not None else ""
        name = f"{name} {one.amplifier}".strip()
        count = len(exposures[one.detector, one.detail])
        if one.exposure is None:
            yield f"{name} ({one.detail})" if name else one.detail
        elif name and count == len(context.exposures) > 1:
            yield f"{name} in all {count} exposures ({one.detail})"
        else:
            where = f"{name} in exposure {one.exposure}" if name else f"exposure {one.exposure}"
            yield f"{where} ({one.detail})"


def _contradictions(findings: Sequence[Finding], context: RuleContext) -> Iterator[str]:
    groups: dict[tuple[int | None, str, str], list[Finding]] = {}
    for one in findings:
        groups.setdefault((one.exposure, one.quantity, one.kind), []).append(one)
    for (exposure, level, kind), some in groups.items():
        names = listed(sorted(context.detectors.get(one.detector or 0, "") for one in some if one.detector is not None))
        has = "the run has" if level == "run" else "its own statistics have"
        it = f"exposure {exposure}" if exposure is not None else context.calib_type.name
        match kind:
            case "success":
                yield f"{has} {it} as a success, but {names} failed"
            case "failure":
                yield f"{has} {it} as a failure, but no detector failed"
            case "detector":
                yield f"{has} {it} with another success of {names} than these have themselves"
            case "tests":
                both = "run and detectors" if level == "run" else "its own statistics and the detectors"
                yield f"{both} disagree in {it} about {listed(sorted(one.detail for one in some))}"
            case _:
                yield f"{it}: {listed(one.detail for one in some)}"
