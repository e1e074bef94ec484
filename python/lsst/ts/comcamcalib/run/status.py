# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command status shows of a run, of this process or of an earlier one."""

from __future__ import annotations

from ..errors import BadInputError
from ..record.views import all_events, snapshot
from .journal import Journal
from .recorder import Publish
from .resumption import find_history
from .run import Run

__all__ = ["publish_run"]


async def publish_run(run_id: str, current: Run | None, journal: Journal, publish: Publish) -> dict[str, object]:
    """Publish the latest event of each thing of a run again.

    Parameters
    ----------
    run_id
        The run; "" for the current one.
    current
        The open run, otherwise the latest; None if there never was one.
    journal
        The journal, which has all others.
    publish
        Publishes an event.

    Returns
    -------
    snapshot
        A summary, ready for JSON.

    Raises
    ------
    BadInputError
        If there is no such run.
    """
    if current is None and not run_id:
        raise BadInputError(["There has been no run yet."])
    if current is not None and run_id in ("", current.history.run_id):
        history = current.history
    else:
        history = await find_history(journal, run_id)
        for event in all_events(history):
            await publish(event)
    if current is not None:
        # A client that joins late gets the last sample of each topic, which must belong to the current run.
        await current.record.publish_all()
    return snapshot(history)
