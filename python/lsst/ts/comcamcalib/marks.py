# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The marks by which a run's jobs are recognised at the UWS.

The OCPS passes no text of ours on to the UWS but the globs of the datasets to copy out. So the last glob of each job is
its mark: it matches no dataset, and names the run, the stage, the label of the job in the plan and the attempt.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Self

__all__ = ["JobMark", "has_mark", "is_of_run", "mark_among"]

PATTERN = re.compile(
    r"(?P<run_id>\d{8}-\d{3,})_(?P<stage_name>[A-Z]+\.[A-Z]+)_(?P<label>[A-Za-z0-9_]+)_(?P<attempt>[1-9]\d*)\*",
    re.ASCII,
)


@dataclasses.dataclass(frozen=True)
class JobMark:
    """What a mark says.

    Parameters
    ----------
    run_id
        The run, such as ``20261122-001``.
    stage_name
        The stage, such as ``BIAS.GENERATE``.
    label
        Label of the job in the plan.
    attempt
        Number of the attempt at that job, from 1.
    """

    run_id: str
    stage_name: str
    label: str
    attempt: int

    @property
    def text(self) -> str:
        """The mark as an output glob."""
        return f"{self.run_id}_{self.stage_name}_{self.label}_{self.attempt}*"

    @classmethod
    def read(cls, globs: str) -> Self | None:
        """Return the mark among a job's output globs, which commas separate; None if the last one is no mark."""
        match = PATTERN.fullmatch(mark_among(globs))
        if match is None:
            return None
        return cls(match["run_id"], match["stage_name"], match["label"], int(match["attempt"]))


def mark_among(globs: str) -> str:
    """Return the text of the mark among a job's output globs: the last one."""
    return globs.rpartition(",")[2].strip()


def has_mark(globs: str, mark: str) -> bool:
    """Return whether a mark is among a job's output globs."""
    return mark in (glob.strip() for glob in globs.split(","))


def is_of_run(globs: str, run_id: str) -> bool:
    """Return whether a mark of a run, which begins with the run's id, is among a job's output globs."""
    return any(glob.strip().startswith(f"{run_id}_") for glob in globs.split(","))
