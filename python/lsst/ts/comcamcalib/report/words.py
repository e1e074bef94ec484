# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""How words, numbers and durations look in the report and on the status page."""

from __future__ import annotations

import math
from collections.abc import Mapping

from markupsafe import Markup

from ..enums import StageState, Verdict

__all__ = ["SIGNS", "badge", "duration", "number"]

# Symbol and class of each word: colour is never the only sign.
SIGNS: Mapping[str, tuple[str, str]] = {
    Verdict.PASSED.name: ("✔", "good"),
    Verdict.PASSED_WITH_FAILURES.name: ("▲", "fair"),
    Verdict.FAILED.name: ("✖", "bad"),
    Verdict.UNKNOWN.name: ("?", "unknown"),
    Verdict.ACCEPTED_BY_OPERATOR.name: ("●", "fair"),
    StageState.SUCCEEDED.name: ("✔", "good"),
    StageState.SKIPPED.name: ("–", "unknown"),
    StageState.ABORTED.name: ("■", "unknown"),
    StageState.PENDING.name: ("○", "unknown"),
    StageState.RUNNING.name: ("▶", "unknown"),
    "COMPLETED": ("✔", "good"),
    "INTERRUPTED": ("‖", "unknown"),
    "ABORTING": ("■", "unknown"),
    "ACCEPTED": ("○", "unknown"),
    "certified": ("✔", "good"),
    "not certified": ("–", "unknown"),
    "unknown": ("?", "unknown"),
    "withdrawn": ("↶", "fair"),
    "used": ("✔", "good"),
    "discarded": ("–", "unknown"),
    "given up": ("✖", "bad"),
    "not taken": ("✖", "bad"),
    "one too many": ("✖", "bad"),
    "FAILURE": ("▲", "fair"),
    "NOTED": ("i", "unknown"),
    "NOT MADE": ("–", "unknown"),
    "NOT VERIFIED": ("?", "unknown"),
    "OK": ("✔", "good"),
    "EXPIRING": ("▲", "fair"),
    "EXPIRED": ("✖", "bad"),
    "MISSING": ("✖", "bad"),
    "completed": ("✔", "good"),
    "error": ("✖", "bad"),
    "executing": ("▶", "unknown"),
}


def badge(word: str) -> Markup:
    """Return a word with its sign."""
    sign, kind = SIGNS.get(word, ("?", "unknown"))
    return Markup('<span class="badge {}"><span aria-hidden="true">{}</span> {}</span>').format(kind, sign, word)


def number(value: float | None, digits: int = 4) -> str:
    """Return a measured number with some digits."""
    if value is None or not math.isfinite(value):
        return "not measured"
    text = f"{value:.{digits}g}"
    # Whole numbers are written out: 260, not 2.6e+02.
    return f"{float(text):,.0f}" if min(10**digits, 1000) <= abs(float(text)) < 1e9 else text


def duration(seconds: float | None) -> str:
    """Return a duration in words."""
    if seconds is None:
        return "–"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
