# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a journal without owning it: also while the CSC writes it, and from a copy of the file."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ..enums import RunState, Verdict
from ..errors import ServiceError
from ..instrument import Instrument
from ..record.facts import Entry, ReportWritten, RunAccepted, fact_from_json
from .journal_file import SCHEMA_VERSION, no_such_run, read_facts
from .owner import JournalError

__all__ = [
    "CertificationFound",
    "RunFound",
    "RunOverview",
    "certified_lately",
    "latest_instrument",
    "list_runs",
    "open_to_read",
    "read_entries",
    "read_overviews",
    "read_report",
]

BUSY_LIMIT_S = 10.0
"""Longest wait for a writer (seconds)."""


@dataclasses.dataclass(frozen=True)
class RunFound:
    """A run that a journal lists; the state is None if it makes no sense."""

    run_id: str
    state: RunState | None


@dataclasses.dataclass(frozen=True)
class RunOverview:
    """A run in a few words; times are TAI unix seconds, and the state is None if it makes no sense."""

    run_id: str
    state: RunState | None
    accepted_s: float
    last_s: float
    """When its last fact was recorded."""
    requested_by: str
    why: str
    script_mode: str
    calib_collection: str
    reason: str
    """Of its state."""
    has_report: bool
    withdrawn: bool
    """Whether something that it had certified was decertified."""


@dataclasses.dataclass(frozen=True)
class CertificationFound:
    """A certification that a journal names; whether it was done, and still stands, is for the repository to say."""

    run_id: str
    dataset_type: str
    collection: str
    output_collection: str
    """The RUN collection that the datasets are in."""
    verdict: Verdict | None
    """None: it was certified without verification."""
    left_out: tuple[int, ...]
    """Detectors of the run that it is without."""


# Which facts there are is read in the index of kinds, so that no others are read: those of a run can be megabytes.
OVERVIEWS = """
SELECT runs.run_id, runs.state, first.at,
    (SELECT at FROM facts WHERE run_id = runs.run_id ORDER BY seq DESC LIMIT 1),
    json_extract(first.body, '$.requested_by'),
    coalesce(nullif(json_extract(first.body, '$.why'), ''), json_extract(first.body, '$.plan.options.reason')),
    json_extract(first.body, '$.plan.options.script_mode'),
    json_extract(first.body, '$.plan.options.calib_collection'),
    (SELECT json_extract(body, '$.reason') FROM facts WHERE run_id = runs.run_id
        AND seq = (SELECT max(seq) FROM facts WHERE kind = 'run_moved' AND run_id = runs.run_id)),
    EXISTS (SELECT 1 FROM facts WHERE run_id = runs.run_id AND kind = 'report_written'),
    EXISTS (SELECT 1 FROM facts WHERE run_id = runs.run_id AND kind = 'decertified')
FROM runs JOIN facts AS first ON first.run_id = runs.run_id AND first.seq = 1
ORDER BY runs.number DESC LIMIT ?
"""


def read_overviews(path: Path, count: int) -> tuple[list[RunOverview], int]:
    """Return the latest runs of a journal, the latest first, and how many it has.

    Raises
    ------
    JournalError
        If there is no such journal, or it can't be read.
    """
    known = {int(state): state for state in RunState}
    with _opened(path) as connection:
        (total,) = connection.execute("SELECT count(*) FROM runs").fetchone()
        rows = connection.execute(OVERVIEWS, (count,)).fetchall()
    overviews = [
        RunOverview(
            run_id=str(run_id),
            state=known.get(state),
            accepted_s=float(accepted_s),
            last_s=float(last_s),
            requested_by=str(requested_by or ""),
            why=str(why or ""),
            script_mode=str(script_mode or ""),
            calib_collection=str(calib_collection or ""),
            reason=str(reason or ""),
            has_report=bool(has_report),
            withdrawn=bool(withdrawn),
        )
        for (
            run_id,
            state,
            accepted_s,
            last_s,
            requested_by,
            why,
            script_mode,
            calib_collection,
            reason,
            has_report,
            withdrawn,
        ) in (rows)
    ]
    return overviews, int(total)


def read_report(path: Path, run_id: str) -> ReportWritten | None:
    """Return what the journal says of the latest report of a run; None: there is no such run, or no report of it.

    Raises
    ------
    JournalError
        If there is no such journal, or it can't be read.
    """
    latest = "SELECT max(seq) FROM facts WHERE kind = 'report_written' AND run_id = :run_id"
    query = f"SELECT body FROM facts WHERE run_id = :run_id AND seq = ({latest})"
    with _opened(path) as connection:
        row = connection.execute(query, {"run_id": run_id}).fetchone()
    try:
        fact = fact_from_json(row[0]) if row else None
    except ValueError as error:
        raise JournalError(f"What the journal {path} has of the report of run {run_id} can't be understood") from error
    return fact if isinstance(fact, ReportWritten) else None


def certified_lately(path: Path, count: int) -> list[CertificationFound]:
    """Return the latest certifications of a journal, the latest first.

    Parameters
    ----------
    path
        The journal.
    count
        Number of certifications to look at.

    Raises
    ------
    JournalError
        If there is no such journal, or it can't be read.
    """
    # By time, because an older run may certify once more. Not the whole fact, which names every dataset: those of a
    # large camera are megabytes.
    query = (
        "SELECT run_id, json_extract(body, '$.dataset_type'), json_extract(body, '$.collection'), "
        "json_extract(body, '$.output_collection'), json_extract(body, '$.verdict'), json_extract(body, '$.left_out') "
        "FROM facts JOIN (SELECT run_id, seq FROM facts WHERE kind = 'certify_intended' "
        "ORDER BY at DESC, run_id DESC, seq DESC LIMIT ?) USING (run_id, seq) ORDER BY at DESC, run_id DESC, seq DESC"
    )
    with _opened(path) as connection:
        rows = connection.execute(query, (count,)).fetchall()
    return [
        CertificationFound(
            *(run_id, dataset_type, collection, output_collection),
            verdict=Verdict(verdict) if verdict is not None else None,
            # A journal of an older release has no such list.
            left_out=tuple(json.loads(left_out or "[]")),
        )
        for run_id, dataset_type, collection, output_collection, verdict, left_out in rows
    ]


def list_runs(path: Path) -> list[RunFound]:
    """Return all runs of a journal, the latest first.

    Raises
    ------
    JournalError
        If there is no such journal, or it can't be read.
    """
    known = {int(state): state for state in RunState}
    with _opened(path) as connection:
        rows = connection.execute("SELECT run_id, state FROM runs ORDER BY number DESC").fetchall()
    return [RunFound(str(run_id), known.get(state)) for run_id, state in rows]


def read_entries(path: Path, run_id: str) -> list[Entry]:
    """Return the facts of a run in order.

    Raises
    ------
    JournalError
        If there is no such journal or run, or it can't be read.
    """
    with _opened(path) as connection:
        entries = read_facts(connection, path, run_id)
        if entries:
            return entries
        last = connection.execute("SELECT run_id FROM runs ORDER BY number DESC LIMIT 1").fetchone()
    raise JournalError(no_such_run(run_id, str(last[0]) if last else "", f" in the journal {path}"))


def latest_instrument(connection: sqlite3.Connection) -> Instrument:
    """Return the camera of the latest run in a journal that can be understood.

    Raises
    ------
    ServiceError
        If there is none.
    """
    query = "SELECT body FROM facts JOIN runs USING (run_id) WHERE seq = 1 ORDER BY number DESC"
    for (body,) in connection.execute(query):
        with contextlib.suppress(ValueError):
            fact = fact_from_json(body)
            if isinstance(fact, RunAccepted):
                return fact.plan.config.instrument
    raise ServiceError("The journal has no run that this program can understand.")


@contextlib.contextmanager
def open_to_read(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a journal that has measurements for reading only, also while a CSC owns it.

    Raises
    ------
    ServiceError
        If there is none, or it has no measurements, or it can't be read; a sentence.
    """
    try:
        with _opened(path) as connection:
            tables = "SELECT count(*) FROM sqlite_master WHERE name IN ('measurements', 'judged')"
            if connection.execute(tables).fetchone()[0] < 2:
                raise ServiceError(
                    f"The journal {path} has no measurements: no CSC of this release has opened it yet. Enable one."
                )
            yield connection
    except JournalError as error:
        raise ServiceError(f"{error}.") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    # Not pathlib's, which raises an error where the permission to look is missing.
    if not os.path.isfile(path):
        but = ": this is a directory" if os.path.isdir(path) else ""
        raise JournalError(f"There is no journal {path}{but}; journal_path in the CSC's configuration says where it is")
    try:
        # A journal on a disk that is read-only can't have the file by which readers and writers find each other.
        connection = _connect(path, "mode=ro") or _connect(path, "mode=ro&immutable=1")
        if connection is None:
            raise JournalError(f"The journal {path} can't be opened; look at its permissions")
        with contextlib.closing(connection):
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != SCHEMA_VERSION:
                raise JournalError(
                    f"The journal {path} is of version {version}, this program knows {SCHEMA_VERSION}: it is one of "
                    "another release, or no journal"
                )
            yield connection
    except sqlite3.Error as error:
        raise JournalError(f"The journal {path} can't be read: {error}") from error


def _connect(path: Path, how: str) -> sqlite3.Connection | None:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=BUSY_LIMIT_S)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        return None
    return connection
