# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""One look at the CSC, in the event loop: what the page is made of, as it is at this moment."""

from __future__ import annotations

from ..clock import Clock
from ..run.claim import Claim
from .now import NO_JOURNAL, Seen

__all__ = ["look_at"]


def look_at(state: str, claim: Claim, clock: Clock, fault: str = "") -> Seen:
    """Return what is to be seen of the CSC.

    Parameters
    ----------
    state
        Name of its summary state.
    claim
        Its claim on the journal, with the runs.
    clock
        The clock.
    fault
        Why it is in FAULT; empty if it is not.
    """
    runner = claim.runner
    if runner is None:
        # A journal that can't be used has led to FAULT.
        problem = fault.rstrip(".") or claim.problem or NO_JOURNAL
        return Seen(clock.tai(), state, journal_owned=False, connected=False, problem=problem)
    run = runner.run
    record = run.record if run is not None else None
    return Seen(
        at_s=clock.tai(),
        state=state,
        journal_owned=record is None or not record.lost,
        connected=runner.is_connected,
        problem=runner.journal_problem,
        history=record.history if record is not None else None,
        progress=runner.progress(),
        waits=dict(record.waits) if record is not None else {},
        unwell=tuple(str(one) for one in record.unwell) if record is not None else (),
        alarms=runner.alarms,
    )
