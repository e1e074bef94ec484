# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Jobs as the UWS describes them, and the parsing of its JSON."""

from __future__ import annotations

import dataclasses
import datetime
import enum
from collections.abc import Mapping
from typing import Any

from .. import marks
from ..clock import tai_of_utc

__all__ = ["NonsenseError", "Phase", "UwsJob", "UwsResult", "parse_job", "parse_jobs"]


class NonsenseError(Exception):
    """An answer has the wrong form; the message says which form was expected."""


class Phase(enum.StrEnum):
    """The phase of a job: the words of the UWS standard, and one for any other word that a server may use."""

    PENDING = "pending"
    QUEUED = "queued"
    EXECUTING = "executing"
    COMPLETED = "completed"
    ERROR = "error"
    ABORTED = "aborted"
    HELD = "held"
    SUSPENDED = "suspended"
    ARCHIVED = "archived"
    UNKNOWN = "unknown"
    UNHEARD_OF = "unheard-of"

    @classmethod
    def of(cls, word: str) -> Phase:
        """Return the phase that a server's word means; upper and lower case are the same."""
        try:
            return cls(word.strip().lower())
        except ValueError:
            return cls.UNHEARD_OF

    @property
    def ended(self) -> bool:
        """Whether the job has certainly ended; with `UNKNOWN` and `UNHEARD_OF` it may still be running."""
        return self in (Phase.COMPLETED, Phase.ERROR, Phase.ABORTED, Phase.ARCHIVED)


@dataclasses.dataclass(frozen=True)
class UwsResult:
    """A file that a job left; ``result_id`` is its position in a listing and moves as files appear."""

    result_id: int
    uri: str


@dataclasses.dataclass(frozen=True)
class UwsJob:
    """A job as the UWS describes it.

    Parameters
    ----------
    job_id
        Its id.
    run_id
        Text from the client that submitted it; the OCPS puts a command number there, which is not unique.
    phase
        Its phase.
    phase_word
        The server's own word for it.
    timestamp_created_s, timestamp_started_s, timestamp_ended_s
        TAI unix seconds; 0: not yet, or not given (a failed job has no end time).
    output_glob
        Globs for the datasets to copy out of the repository; the last one is the mark of the submission.
    results
        The files that it has written so far.
    butler_repo
        Repository that it works on, as the OCPS's configuration names it; "": not given.
    """

    job_id: str
    run_id: str
    phase: Phase
    phase_word: str
    timestamp_created_s: float
    timestamp_started_s: float
    timestamp_ended_s: float
    output_glob: str
    results: tuple[UwsResult, ...]
    butler_repo: str = ""

    def has_mark(self, mark: str) -> bool:
        """Return whether a mark is among the job's output globs."""
        return marks.has_mark(self.output_glob, mark)

    def belongs_to_run(self, run_id: str) -> bool:
        """Return whether a mark of a run, which begins with the run's id, is among the job's output globs."""
        return marks.is_of_run(self.output_glob, run_id)


def parse_jobs(value: Any) -> list[UwsJob]:
    """Turn a JSON list into jobs.

    If one of them can't be understood, the whole list is refused: that one could be the job that is searched for, and a
    list without it would wrongly prove that there is no such job.
    """
    if not isinstance(value, list):
        raise NonsenseError("a list of jobs")
    return [parse_job(item) for item in value]


def parse_job(value: Any) -> UwsJob:
    """Turn a JSON job object into a job; fields that are not needed to follow it may be missing or invalid."""
    if not isinstance(value, Mapping):
        raise NonsenseError("a job object")
    job_id, word = value.get("jobId"), value.get("phase")
    if not isinstance(job_id, str) or not job_id or not isinstance(word, str):
        raise NonsenseError("a job object with jobId and phase")
    run_id = value.get("runId")
    environment = _environment(value)
    return UwsJob(
        job_id=job_id,
        run_id=run_id if isinstance(run_id, str) else "",
        phase=Phase.of(word),
        phase_word=word,
        timestamp_created_s=_tai_of(value.get("creationTime")),
        timestamp_started_s=_tai_of(value.get("startTime")),
        timestamp_ended_s=_tai_of(value.get("endTime")),
        output_glob=environment.get("OUTPUT_GLOB", ""),
        results=tuple(_results(value.get("results"))),
        butler_repo=environment.get("BUTLER_REPO", ""),
    )


def _environment(job: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment that a job was submitted with; Kubernetes shows an empty value as null."""
    parameters = job.get("parameters")
    items = parameters.get("environment") if isinstance(parameters, Mapping) else None
    pairs = [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
    return {str(pair["name"]): str(pair["value"]) for pair in pairs if "name" in pair and pair.get("value") is not None}


def _results(items: Any) -> list[UwsResult]:
    """Return a job's files; the server gives the ids as numbers, but a text of digits is accepted, too."""
    found = []
    for item in items if isinstance(items, list) else []:
        if isinstance(item, Mapping) and isinstance(item.get("uri"), str) and str(item.get("id")).isdecimal():
            found.append(UwsResult(int(item["id"]), item["uri"]))
    return found


def _tai_of(text: Any) -> float:
    """Turn the server's ``2026-11-22 12:00:00+00:00`` (UTC) into TAI unix seconds; 0 if it is none."""
    if not isinstance(text, str):
        return 0.0
    try:
        instant = datetime.datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=datetime.UTC)
    return tai_of_utc(instant.timestamp())
