# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of jobs; a job is identified by its label in the plan and its attempt."""

from __future__ import annotations

from typing import Literal

from ...enums import CalibType
from .base import FactModel

__all__ = [
    "JobAbsent",
    "JobDistrusted",
    "JobEnded",
    "JobFound",
    "JobIntended",
    "JobMoved",
    "JobStray",
]


class JobIntended(FactModel):
    """A job is about to be submitted to the OCPS."""

    kind: Literal["job_intended"] = "job_intended"
    label: str
    attempt: int
    stage_name: str
    stage_attempt: int
    calib_type: CalibType
    mark: str
    """Output glob that matches no dataset, by which the job is found at the UWS."""
    exposures: tuple[int, ...]
    inputs: tuple[str, ...]
    """Ids of the run's own jobs whose outputs it builds on."""
    pipeline: str
    data_query: str
    config: str
    output_dataset_types: str


class JobFound(FactModel):
    """The id of an intended job is known."""

    kind: Literal["job_found"] = "job_found"
    label: str
    attempt: int
    job_id: str
    submitted_s: float
    found: bool = False
    """Whether it was found at the UWS by its mark, because the answer to its submission did not arrive."""


class JobMoved(FactModel):
    """A job went to another phase (in the UWS's words)."""

    kind: Literal["job_moved"] = "job_moved"
    label: str
    attempt: int
    job_id: str
    phase: str


class JobEnded(FactModel):
    """A job has ended, or counts as ended because nothing more is heard of it."""

    kind: Literal["job_ended"] = "job_ended"
    label: str
    attempt: int
    job_id: str
    phase: str
    exit_code: int
    message: str
    ended_s: float


class JobAbsent(FactModel):
    """An intended job was looked for, and there is none."""

    kind: Literal["job_absent"] = "job_absent"
    label: str
    attempt: int
    reason: str


class JobDistrusted(FactModel):
    """A job completed, but its output can't be used, so that it must be done again."""

    kind: Literal["job_distrusted"] = "job_distrusted"
    label: str
    attempt: int
    reason: str


class JobStray(FactModel):
    """A job with a mark of the run is one too many; it is aborted and never used. Its latest state."""

    kind: Literal["job_stray"] = "job_stray"
    job_id: str
    stage_name: str
    calib_type: CalibType
    phase: str
    exit_code: int
    message: str
    submitted_s: float
    ended_s: float
