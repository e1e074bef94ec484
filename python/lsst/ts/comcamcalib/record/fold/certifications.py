# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from the facts about certifications."""

from __future__ import annotations

import dataclasses

from .. import facts
from ..history import History
from ..things import Certification, Withdrawal
from .dispatch import after, with_item


@after.register
def _(fact: facts.CertifyIntended, history: History, at: float) -> History:
    certification = Certification(fact, at)
    return dataclasses.replace(history, certifications=with_item(history.certifications, fact.number, certification))


def _concluded(fact: facts.Certified | facts.CertifyAbsent, history: History) -> History:
    known = history.certifications.get(fact.number)
    if known is None:
        return history  # nothing says what it is about
    new = dataclasses.replace(known, outcome=fact)
    return dataclasses.replace(history, certifications=with_item(history.certifications, fact.number, new))


@after.register
def _(fact: facts.Certified, history: History, _at: float) -> History:
    return _concluded(fact, history)


@after.register
def _(fact: facts.CertifyAbsent, history: History, _at: float) -> History:
    return _concluded(fact, history)


@after.register
def _(fact: facts.DecertifyIntended, history: History, at: float) -> History:
    return dataclasses.replace(history, withdrawals=with_item(history.withdrawals, fact.number, Withdrawal(fact, at)))


@after.register
def _(fact: facts.Decertified, history: History, _at: float) -> History:
    known = history.withdrawals.get(fact.number)
    if known is None:
        return history  # nothing says what it is about
    new = dataclasses.replace(known, outcome=fact)
    undone = set(known.intent.certifications)
    certifications = {
        number: dataclasses.replace(one, withdrawn=new) if number in undone else one
        for number, one in history.certifications.items()
    }
    types = dict.fromkeys(
        one.intent.calib_type.name for number, one in history.certifications.items() if number in undone
    )
    return dataclasses.replace(
        history,
        withdrawals=with_item(history.withdrawals, fact.number, new),
        certifications=certifications,
        report_outdated=True,
        reason=f"{history.reason.rstrip('.')}. {', '.join(types) or 'What it certified'} was {new.words}",
    )


@after.register
def _(fact: facts.DecertifyAbsent, history: History, _at: float) -> History:
    known = history.withdrawals.get(fact.number)
    if known is None:
        return history
    new = dataclasses.replace(known, outcome=fact)
    return dataclasses.replace(history, withdrawals=with_item(history.withdrawals, fact.number, new))
