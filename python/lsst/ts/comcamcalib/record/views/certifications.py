# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was certified and what was withdrawn, as events."""

from __future__ import annotations

from collections.abc import Iterator

from ...enums import CertificationState
from .. import events, facts
from ..events import Event
from ..history import History
from ..things import Certification
from .dispatch import published
from .run import run_status

__all__ = ["certification"]


def certification(one: Certification, history: History) -> events.Certification:
    """Return the event about a certification that was done, withdrawn since or not."""
    intent = one.intent
    assert isinstance(one.outcome, facts.Certified), "only done certifications are published"
    withdrawn = one.withdrawn
    if withdrawn is None:
        refused = [
            f"it should be {other.words}, but was not: {other.outcome.reason}"
            for other in history.withdrawals.values()
            if isinstance(other.outcome, facts.DecertifyAbsent) and intent.number in other.intent.certifications
        ]
        reason = "; ".join(filter(None, [one.outcome.reason, *refused[-1:]]))
    else:
        assert isinstance(withdrawn.outcome, facts.Decertified), "only done withdrawals are noted"
        reason = "; ".join(filter(None, [withdrawn.words, withdrawn.outcome.reason]))
    return events.Certification(
        run_id=history.run_id,
        calib_type=intent.calib_type,
        state=CertificationState.CERTIFIED if withdrawn is None else CertificationState.DECERTIFIED,
        dataset_type=intent.dataset_type,
        collection=intent.collection,
        output_collection=intent.output_collection,
        validity_begin=intent.validity_begin,
        validity_end=intent.validity_end,
        dataset_count=one.outcome.dataset_count,
        reason=reason,
    )


@published.register
def _(fact: facts.Certified, history: History) -> Iterator[Event]:
    if (one := history.certifications.get(fact.number)) is not None:
        yield certification(one, history)


@published.register
def _(fact: facts.Decertified, history: History) -> Iterator[Event]:
    yield run_status(history)  # its reason tells
    yield from _withdrawn(fact.number, history)


@published.register
def _(fact: facts.DecertifyAbsent, history: History) -> Iterator[Event]:
    if not fact.again:  # nobody need hear of it while it is still going on
        yield from _withdrawn(fact.number, history)


def _withdrawn(number: int, history: History) -> Iterator[Event]:
    numbers = history.withdrawals[number].intent.certifications if number in history.withdrawals else ()
    for one in numbers:
        if one in history.certifications and history.certifications[one].done:
            yield certification(history.certifications[one], history)
