# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of a run: what was intended, what happened, and who decided; a run is nothing but the sequence of them.

Facts are private to this package, and they are stored: a field may be added with a default, but none may be renamed,
removed or given another meaning, so that every release reads the journals of all earlier ones. What other programs see
is made from the history (see `lsst.ts.comcamcalib.record.views`) and may change freely.

Times are TAI unix seconds. When a fact happened is not part of it; it stands beside it in the journal (see `Entry`).
"""

from __future__ import annotations

import dataclasses
from typing import Annotated

import pydantic

from .certifications import (
    Certified,
    CertifiedBefore,
    CertifyAbsent,
    CertifyIntended,
    Decertified,
    DecertifyAbsent,
    DecertifyIntended,
    RangeChange,
)
from .frames import FrameAbsent, FrameGivenUp, FrameIntended, FramesBlamed, FrameSettled, FrameStray, FrameTaken
from .jobs import JobAbsent, JobDistrusted, JobEnded, JobFound, JobIntended, JobMoved, JobStray
from .products import (
    MAX_FINDINGS,
    Dataset,
    DetectorVerdict,
    Drift,
    GainsMeasured,
    Measured,
    Measurement,
    ProductMade,
    VerdictAccepted,
    VerdictGiven,
)
from .report import ReportFile, ReportWritten
from .run import Decision, RunAccepted, RunMoved, StageMoved

__all__ = [
    "MAX_FINDINGS",
    "Certified",
    "CertifiedBefore",
    "CertifyAbsent",
    "CertifyIntended",
    "Dataset",
    "Decertified",
    "DecertifyAbsent",
    "DecertifyIntended",
    "Decision",
    "DetectorVerdict",
    "Drift",
    "Entry",
    "Fact",
    "FrameAbsent",
    "FrameGivenUp",
    "FrameIntended",
    "FrameSettled",
    "FrameStray",
    "FrameTaken",
    "FramesBlamed",
    "GainsMeasured",
    "JobAbsent",
    "JobDistrusted",
    "JobEnded",
    "JobFound",
    "JobIntended",
    "JobMoved",
    "JobStray",
    "Measured",
    "Measurement",
    "ProductMade",
    "RangeChange",
    "ReportFile",
    "ReportWritten",
    "RunAccepted",
    "RunMoved",
    "StageMoved",
    "VerdictAccepted",
    "VerdictGiven",
    "fact_from_json",
    "fact_to_json",
]

Fact = (
    RunAccepted
    | RunMoved
    | StageMoved
    | Decision
    | FrameIntended
    | FrameTaken
    | FrameAbsent
    | FrameSettled
    | FrameGivenUp
    | FrameStray
    | FramesBlamed
    | JobIntended
    | JobFound
    | JobMoved
    | JobEnded
    | JobAbsent
    | JobDistrusted
    | JobStray
    | ProductMade
    | GainsMeasured
    | VerdictGiven
    | VerdictAccepted
    | Measured
    | CertifyIntended
    | Certified
    | CertifyAbsent
    | DecertifyIntended
    | Decertified
    | DecertifyAbsent
    | ReportWritten
)

_ADAPTER: pydantic.TypeAdapter[Fact] = pydantic.TypeAdapter(Annotated[Fact, pydantic.Field(discriminator="kind")])


@dataclasses.dataclass(frozen=True)
class Entry:
    """A fact in its place: its number in the run, from 1, and when it was recorded (TAI unix seconds)."""

    seq: int
    at: float
    fact: Fact


def fact_to_json(fact: Fact) -> str:
    """Return a fact as JSON."""
    return fact.model_dump_json()


def fact_from_json(text: str) -> Fact:
    """Return the fact that JSON text stands for.

    Raises
    ------
    ValueError
        If it is no fact of this release or an earlier one.
    """
    return _ADAPTER.validate_json(text)
