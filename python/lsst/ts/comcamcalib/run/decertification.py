# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator may have withdrawn, and how it is said what was."""

from __future__ import annotations

import asyncio
import dataclasses

from ..enums import CalibType
from ..errors import BadInputError, ServiceError
from ..record.history import History
from ..record.things import Certification, Withdrawal
from ..stages.certifying import look_for_certification, record_look
from ..stages.context import RunContext

__all__ = ["DecertifyRequest", "in_words", "standing"]

SETTLE_LIMIT_S = 2.0
"""Longest look for a certification of which the outcome was not recorded (seconds)."""


@dataclasses.dataclass(frozen=True)
class DecertifyRequest:
    """What an operator sends with decertify; type 0 means all types."""

    run_id: str
    calib_type: int
    reason: str
    who: str


async def standing(wanted: list[CalibType], context: RunContext) -> tuple[int, ...]:
    """Return the numbers of the certifications of a run, of some types, that stand.

    Raises
    ------
    BadInputError
        If there are none, or it can't be found out whether one was done.
    """
    for one in context.history.open_certifications:
        if one.intent.calib_type in wanted:
            await _settle(one, context)
    ours = [one for one in context.history.certifications.values() if one.intent.calib_type in wanted and one.done]
    if numbers := tuple(one.intent.number for one in ours if one.withdrawn is None):
        return numbers
    what = wanted[0].name if len(wanted) == 1 else "anything"
    gone = [f"{one.intent.calib_type.name} was {one.withdrawn.words}" for one in ours if one.withdrawn is not None]
    raise BadInputError(
        [
            f"Run {context.run_id} has not certified {what}, so there is nothing to withdraw."
            if not gone
            else f"There is nothing to withdraw of run {context.run_id}: {'; '.join(dict.fromkeys(gone))}."
        ]
    )


async def _settle(one: Certification, context: RunContext) -> None:
    """Find out what became of a certification whose outcome was not recorded."""
    try:
        async with asyncio.timeout(SETTLE_LIMIT_S):
            there = await look_for_certification(one, context)
    except (ServiceError, TimeoutError) as error:
        why = str(error) or f"Butler did not answer within {SETTLE_LIMIT_S:g} s."
        raise BadInputError(
            [
                f"Whether {one.intent.calib_type.name} was certified in {one.intent.collection} could not be found "
                f"out, so nothing is withdrawn: {why}"
            ]
        ) from error
    await record_look(one, there, (), context)


def in_words(done: Withdrawal, history: History) -> str:
    """Say what was withdrawn, and what else of the run stays certified that is built on it."""
    types = [
        history.certifications[number].intent.calib_type
        for number in done.intent.certifications
        if number in history.certifications
    ]
    left = [
        one.intent.calib_type
        for one in history.certifications.values()
        if one.done and one.withdrawn is None and set(history.bases_of(one.intent.calib_type)) & set(types)
    ]
    names = ", ".join(dict.fromkeys(one.name for one in types))
    rest = ", ".join(dict.fromkeys(one.name for one in left))
    warning = f". {rest}, built on it, stay certified: withdraw them, too, if they are bad" if rest else ""
    outcome = done.outcome
    return f"{names}: {outcome.reason if outcome is not None else ''}{warning}"
