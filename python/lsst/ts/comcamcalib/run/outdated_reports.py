# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of runs that have ended, written anew because somebody has decided about their results since.

What was decided stands whether a report can be written or not. A run that goes on writes its report at its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from lsst.ts import utils

from ..errors import BadInputError, ServiceError
from ..plan.plan import REPORT_STAGE
from ..record.facts import ReportWritten
from ..record.history import History
from ..services.reporter import ReportRequest
from ..stages.report import written
from .journal import Journal
from .owner import JournalError
from .run import Run

if TYPE_CHECKING:
    from .runner import Runner

__all__ = ["OutdatedReports"]

RETRY_INTERVAL_S = 1.0
"""Time between two looks whether a command about runs is still being checked or done (seconds)."""


class OutdatedReports:
    """The reports that are to be written anew, one after the other.

    Parameters
    ----------
    runner
        How runs are found, and what is going on with them.
    journal
        The open journal.
    leave
        Called with a run when its report was recorded.
    """

    def __init__(self, runner: Runner, journal: Journal, leave: Callable[[Run], Awaitable[None]]) -> None:
        self._runner = runner
        self._journal = journal
        self._leave = leave
        self._log = logging.getLogger(__name__)
        self._run_ids: dict[str, None] = {}  # in the order in which they became outdated
        # Held while a report is recorded, because two records of a run would give their facts the same numbers.
        self._recording = asyncio.Lock()
        self.task: asyncio.Task[None] = utils.make_done_future()
        """Writes them while the CSC is ENABLED."""

    async def load(self) -> None:
        """Read which reports an earlier process has left outdated, because somebody had decided about their runs.

        Raises
        ------
        JournalError
            If the journal can't be read.
        """
        self._run_ids |= dict.fromkeys(await self._journal.decided_since_report())

    def look(self, history: History) -> None:
        """Have the report of a run written anew if it is outdated."""
        if _is_outdated(history):
            self._run_ids[history.run_id] = None
            self.begin()

    def begin(self) -> None:
        """Write what is outdated, if the CSC is ENABLED."""
        if self._run_ids and self._runner.is_connected and self.task.done():
            self.task = asyncio.create_task(self._write_all(), name="write reports anew")

    async def recorded(self) -> None:
        """Wait until no report is being recorded, which takes as long as a write to the journal."""
        async with self._recording:
            return

    async def _write_all(self) -> None:
        while self._run_ids:
            run_id = next(iter(self._run_ids))
            del self._run_ids[run_id]
            try:
                await self._write(run_id)
            except asyncio.CancelledError:
                self._run_ids[run_id] = None  # when the CSC is ENABLED again
                raise
            except (ServiceError, BadInputError, JournalError) as error:
                self._log.warning(
                    "The report of run %s does not have what was decided since: %s. Write it with: comcamcalib report "
                    "%s --again",
                    *(run_id, str(error).rstrip("."), run_id),
                )
            except Exception:
                self._log.exception("Bug: the report of run %s could not be written anew", run_id)

    async def _write(self, run_id: str) -> None:
        """Write a report until nothing has happened in its run meanwhile."""
        while _is_outdated(history := (await self._found(run_id)).history):
            attempt = history.stages[REPORT_STAGE].attempt
            request = ReportRequest(run_id, attempt, history.state, history.reason)
            made = await self._runner.connected().reporter.write(request)
            if await self._record(run_id, history.seq, written(made, attempt)):
                self._log.info("The report of run %s was written anew, because somebody decided about it", run_id)
                return

    async def _record(self, run_id: str, seq: int, fact: ReportWritten) -> bool:
        """Record that a report was written; return False if the run has a fact by now that the report does not have."""
        while True:
            async with self._recording:
                if not self._runner.busy:
                    run = await self._found(run_id)
                    if run.history.seq != seq:
                        return False
                    await run.record.note(fact)
                    await self._leave(run)
                    return True
            await asyncio.sleep(RETRY_INTERVAL_S)

    async def _found(self, run_id: str) -> Run:
        run = await self._runner.find(run_id)
        await run.record.flush()  # the program that writes reports reads the journal
        return run


def _is_outdated(history: History) -> bool:
    return history.report_outdated and not history.open and REPORT_STAGE in history.stages
