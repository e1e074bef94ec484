# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command about runs while it is checked: what must be so before it is done, and how it is called off until then."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from ..config import Limits
from ..enums import RunState
from ..errors import BadInputError
from .journal import WRITE_LIMIT_S
from .run import Run

__all__ = ["Checking", "StartRequest", "refuse_beside", "write_end"]

T = TypeVar("T")

ANSWER_LIMIT_S = 9.5
"""A command has its answer within this time (seconds), because LOVE gives up after 10 s."""

LEAST_WAIT_S = 0.1
LEAST_CHECK_S = 0.5
"""If the journal has taken all the time, the checks are tried for so long (seconds)."""


@dataclasses.dataclass(frozen=True)
class StartRequest:
    """What an operator sends with startCalibrationRun."""

    config: str
    reason: str
    program: str
    note: str
    requested_by: str


class Checking:
    """A start, a resumption or a decision that is being checked; it can be called off until it is done."""

    def __init__(self) -> None:
        self._answer_at = asyncio.get_running_loop().time() + ANSWER_LIMIT_S
        self.called_off = ""
        """Why it was called off, in a sentence; empty if it was not."""
        self.aborted_by = ""
        """Who called it off by abort."""
        self._wake = asyncio.Event()

    @property
    def left_s(self) -> float:
        """How much time is left until the answer is due (seconds); always some, so that what is quick is done."""
        return max(self._answer_at - asyncio.get_running_loop().time(), LEAST_WAIT_S)

    def check_limit_s(self, limits: Limits) -> float:
        """Return how long the checks may take (seconds), so that the journal can be written before the answer."""
        return min(limits.preflight, max(round(self.left_s - WRITE_LIMIT_S, 1), LEAST_CHECK_S))

    def abort(self, who: str) -> None:
        """Call it off, because an operator aborts it."""
        self.aborted_by = who
        self.call_off(f"Aborted by {who} while it was being checked; no run was begun.")

    def call_off(self, reason: str) -> None:
        """Call it off; the first reason counts."""
        self.called_off = self.called_off or reason
        self._wake.set()

    async def unless_called_off(self, work: Coroutine[Any, Any, T]) -> T:
        """Await something, unless it is called off.

        Raises
        ------
        BadInputError
            If it was called off.
        """
        tasks = [asyncio.create_task(work), asyncio.create_task(self._wake.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self.refuse_if_called_off()
            return cast("T", tasks[0].result())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def refuse_if_called_off(self) -> None:
        """Raise BadInputError if it was called off."""
        if self.called_off:
            raise BadInputError([self.called_off])


def refuse_beside(run: Run | None, resumes: str | None) -> None:
    """Refuse to start or resume a run while another one is open.

    Parameters
    ----------
    run
        The open run; None if there is none.
    resumes
        The run that is to be resumed ("": the latest, which is none that was aborted); None if a new one is to be
        started.

    Raises
    ------
    BadInputError
        If the open run is another one; the message says what can be done.
    """
    if run is None:
        return
    aborted = run.history.abort is not None
    if run.state is RunState.INTERRUPTED and (resumes == run.history.run_id or (resumes == "" and not aborted)):
        return
    way_out = "Wait for its end, or stop it with abort."
    if run.state is RunState.INTERRUPTED and aborted:
        way_out = (
            "Its abort was not finished: abort it once more, or name it in resumeCalibrationRun if it is to go on "
            "after all."
        )
    elif run.state is RunState.INTERRUPTED:
        way_out = "Go on with it by resumeCalibrationRun, or end it with abort."
    elif run.state is RunState.ABORTING:
        way_out = "Wait for its end; progress says what it waits for."
    raise BadInputError([f"Run {run.history.run_id} is open ({run.state.name}); there can be only one. {way_out}"])


async def write_end(run: Run) -> None:
    """Write the facts of a run that are not in the journal yet, because another one is about to begin.

    Raises
    ------
    BadInputError
        If that is not possible.
    """
    record = run.record
    await record.flush()
    if record.unwritten:
        raise BadInputError(
            [
                f"The end of run {record.history.run_id} is not in the journal yet, so no run is begun. "
                f"{record.journal_problem}. Repair that; the CSC keeps trying to write it."
            ]
        )
