# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What follows from the facts about products and their verdicts."""

from __future__ import annotations

import dataclasses

from ...enums import Verdict
from .. import facts
from ..history import History
from ..things import GOOD_VERDICTS, Product
from .dispatch import after, with_item


@after.register
def _(fact: facts.ProductMade, history: History, _at: float) -> History:
    product = Product(fact.label, fact.calib_type, fact.dataset_type, fact.job_id, fact.run_collection, fact.datasets)
    return dataclasses.replace(history, made=with_item(history.made, fact.label, product))


@after.register
def _(fact: facts.GainsMeasured, history: History, _at: float) -> History:
    return dataclasses.replace(history, gains=with_item(history.gains, (fact.exposure_id, fact.detector), fact))


@after.register
def _(fact: facts.VerdictGiven, history: History, _at: float) -> History:
    # A new attempt judges the product anew, perhaps in other filters, so what an earlier one found stands no more.
    standing = {
        key: one
        for key, one in history.verdicts.items()
        # A verdict without a job is that of a first look, which the verification overrides.
        if one.calib_type is not fact.calib_type or (one.attempt == fact.attempt and one.job_id)
    }
    accepted = {key: one for key, one in history.accepted_verdicts.items() if key in standing}
    key = (fact.calib_type, fact.physical_filter)
    if key in accepted:  # what somebody has accepted stands until the next attempt
        fact = _accepted(fact, accepted[key])
    return dataclasses.replace(history, verdicts=with_item(standing, key, fact), accepted_verdicts=accepted)


def _accepted(verdict: facts.VerdictGiven, acceptance: facts.VerdictAccepted) -> facts.VerdictGiven:
    """Return a verdict as it stands after somebody has accepted it."""
    reason = f"Accepted by {acceptance.who}: {acceptance.why}. It was {verdict.verdict.name}: {verdict.reason}"
    return verdict.model_copy(update={"verdict": Verdict.ACCEPTED_BY_OPERATOR, "reason": reason})


@after.register
def _(fact: facts.VerdictAccepted, history: History, _at: float) -> History:
    key = (fact.calib_type, fact.physical_filter)
    verdict = history.verdicts.get(key)
    if verdict is None or verdict.attempt != fact.attempt or verdict.verdict in GOOD_VERDICTS:
        return history  # another verdict stands by now
    return dataclasses.replace(
        history,
        verdicts=with_item(history.verdicts, key, _accepted(verdict, fact)),
        accepted_verdicts=with_item(history.accepted_verdicts, key, fact),
        report_outdated=True,
    )


@after.register
def _(fact: facts.Measured, history: History, _at: float) -> History:
    return dataclasses.replace(
        history, measured=with_item(history.measured, (fact.calib_type, fact.physical_filter), fact)
    )
