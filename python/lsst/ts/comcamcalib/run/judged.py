# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table of judgements in the journal: what became of the products that were measured.

A trend is what good products are like, so that only those runs count of which the product was judged good, or accepted,
and was not decertified afterwards. GAIN is never certified, and a good product may be left uncertified because of
another one; so having been certified is not asked for.

The table holds nothing that the facts do not have. If it is not there, it is made from the facts. These functions
block.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from ..enums import CalibType, Verdict
from ..record.facts import (
    Certified,
    CertifyIntended,
    Decertified,
    DecertifyIntended,
    Entry,
    VerdictAccepted,
    VerdictGiven,
    fact_from_json,
)
from ..record.things import GOOD_VERDICTS

__all__ = ["counting_runs", "make_table", "not_counting", "note_judgements"]

TABLE = """
CREATE TABLE judged (
    calib_type INTEGER NOT NULL, physical_filter TEXT NOT NULL, run_id TEXT NOT NULL, attempt INTEGER NOT NULL,
    verdict INTEGER NOT NULL, withdrawn INTEGER NOT NULL, PRIMARY KEY (calib_type, physical_filter, run_id)
) WITHOUT ROWID
"""

KINDS = ("verdict_given", "verdict_accepted", "certified", "decertified")

GOOD = ", ".join(str(int(one)) for one in sorted(GOOD_VERDICTS))


def make_table(connection: sqlite3.Connection) -> None:
    """Make the table from the facts, unless it is there; the caller has begun a transaction."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'judged'").fetchone():
        return
    connection.execute(TABLE)
    marks = ", ".join("?" * len(KINDS))
    query = f"SELECT run_id, seq, at, body FROM facts WHERE kind IN ({marks}) ORDER BY run_id, seq"
    for run_id, seq, at, body in connection.execute(query, KINDS):
        # A run with a fact that can't be understood can't be read at all, which is said when it is read.
        with contextlib.suppress(ValueError):
            note_judgements(connection, run_id, [Entry(seq, at, fact_from_json(body))])


def note_judgements(connection: sqlite3.Connection, run_id: str, entries: Iterable[Entry]) -> None:
    """Note what the facts say of products, within the transaction in which the facts have just been written."""
    for entry in entries:
        match entry.fact:
            case VerdictGiven() as fact:
                _note_verdict(connection, run_id, fact)
            case VerdictAccepted() as fact:
                connection.execute(
                    "UPDATE judged SET verdict = ? WHERE calib_type = ? AND physical_filter = ? AND run_id = ? "
                    f"AND attempt = ? AND verdict NOT IN ({GOOD})",
                    (
                        *(int(Verdict.ACCEPTED_BY_OPERATOR), int(fact.calib_type)),
                        *(fact.physical_filter, run_id, fact.attempt),
                    ),
                )
            case Certified(lost=()) as fact:
                _note_withdrawn(connection, run_id, [fact.number], withdrawn=False)
            case Decertified() as fact:
                for intent in _intents(connection, run_id, "decertify_intended"):
                    if isinstance(intent, DecertifyIntended) and intent.number == fact.number:
                        _note_withdrawn(connection, run_id, intent.certifications, withdrawn=True)


def _note_verdict(connection: sqlite3.Connection, run_id: str, fact: VerdictGiven) -> None:
    # What an earlier attempt found in other filters stands no more; what somebody has accepted stands until then.
    connection.execute(
        "DELETE FROM judged WHERE calib_type = ? AND run_id = ? AND attempt != ?",
        (int(fact.calib_type), run_id, fact.attempt),
    )
    connection.execute(
        "INSERT INTO judged VALUES (?, ?, ?, ?, ?, 0) ON CONFLICT DO UPDATE SET verdict = excluded.verdict "
        f"WHERE verdict != {int(Verdict.ACCEPTED_BY_OPERATOR)}",
        (int(fact.calib_type), fact.physical_filter, run_id, fact.attempt, int(fact.verdict)),
    )


def _note_withdrawn(connection: sqlite3.Connection, run_id: str, numbers: Sequence[int], *, withdrawn: bool) -> None:
    for intent in _intents(connection, run_id, "certify_intended"):
        if isinstance(intent, CertifyIntended) and intent.number in numbers:
            connection.execute(
                "UPDATE judged SET withdrawn = ? WHERE calib_type = ? AND run_id = ?",
                (withdrawn, int(intent.calib_type), run_id),
            )


def _intents(connection: sqlite3.Connection, run_id: str, kind: str) -> Iterator[object]:
    query = "SELECT body FROM facts WHERE run_id = ? AND kind = ? ORDER BY seq"
    for (body,) in connection.execute(query, (run_id, kind)).fetchall():
        yield fact_from_json(body)


def counting_runs(
    connection: sqlite3.Connection, calib_type: CalibType, physical_filter: str, count: int, without: str = ""
) -> list[str]:
    """Return the latest runs that have values of a good product, the latest first.

    Parameters
    ----------
    connection
        The journal.
    calib_type, physical_filter
        The product.
    count
        Largest number of runs.
    without
        A run that does not count.
    """
    query = (
        "SELECT run_id FROM judged WHERE calib_type = ? AND physical_filter = ? AND run_id != ? "
        f"AND verdict IN ({GOOD}) AND NOT withdrawn AND EXISTS (SELECT 1 FROM measurements "
        "WHERE calib_type = judged.calib_type AND physical_filter = judged.physical_filter AND run_id = judged.run_id) "
        "ORDER BY run_id DESC LIMIT ?"
    )
    rows = connection.execute(query, (int(calib_type), physical_filter, without, count))
    return [str(run_id) for (run_id,) in rows]


def not_counting(
    connection: sqlite3.Connection, calib_type: CalibType, physical_filter: str, runs: Sequence[str]
) -> dict[str, str]:
    """Return those of some runs that do not count for the trend of a product, each with the reason in a word or two."""
    query = (
        "SELECT run_id, verdict, withdrawn FROM judged WHERE calib_type = ? AND physical_filter = ? AND run_id >= ? "
        "AND run_id <= ?"
    )
    if not runs:
        return {}
    rows = connection.execute(query, (int(calib_type), physical_filter, min(runs), max(runs)))
    known = {str(run_id): (int(verdict), bool(withdrawn)) for run_id, verdict, withdrawn in rows}
    found: dict[str, str] = {}
    for run_id in runs:
        verdict, withdrawn = known.get(run_id, (0, False))
        if withdrawn:
            found[run_id] = "decertified"
        elif verdict not in GOOD_VERDICTS:
            found[run_id] = Verdict(verdict).name if verdict else "no verdict"
    return found
