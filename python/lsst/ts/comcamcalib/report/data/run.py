# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The run itself, its stages, jobs and exposures."""

from __future__ import annotations

from typing import Literal

from .base import Model, Number

__all__ = ["DecisionRow", "ExposureRow", "JobRow", "RunSection", "StageRow"]


class DecisionRow(Model):
    """What somebody decided."""

    at: str
    what: str
    who: str
    why: str


class RunSection(Model):
    """The run as a whole; durations in seconds."""

    run_id: str
    state: str
    reason: str
    day_obs: int
    script_mode: str
    instrument: str
    detectors: dict[int, str]
    """Names by id."""
    requested_by: str
    why: str
    program: str
    test_case: str
    note: str
    accepted: str
    started: str
    ended: str
    duration_s: Number
    estimated_duration_s: Number
    repo: str
    calib_collection: str
    notices: tuple[str, ...]
    decisions: tuple[DecisionRow, ...]


class StageRow(Model):
    """A stage; begin and end in seconds from the beginning of the run."""

    name: str
    kind: str
    state: str
    attempt: int
    reason: str
    begin_s: Number
    end_s: Number
    critical: bool
    """Whether the run would have ended earlier if it, or one of its jobs, had."""


class JobRow(Model):
    """An attempt at a job; begin and end in seconds from the beginning of the run."""

    label: str
    attempt: int
    stage_name: str
    job_id: str
    phase: str
    exit_code: int
    message: str
    """The line of its log that says why it failed."""
    problem: str
    """Why there is no such job, or why its output was not used; empty if neither holds."""
    submitted: str
    begin_s: Number
    end_s: Number
    duration_s: Number
    """From its submission to its end; of a job that runs, until now (seconds)."""
    critical: bool
    exposures: tuple[int, ...]
    output_collection: str
    results_url: str
    log_path: str


class ExposureRow(Model):
    """A frame, and what became of it."""

    calib_type: str
    index: int
    exposure_id: int | None
    obs_id: str
    exposure_time_s: Number
    taken: str
    fate: Literal["used", "discarded", "given up", "not taken", "unknown", "one too many"]
    reason: str
    files: int | None
    files_expected: int
    missing: tuple[str, ...]
