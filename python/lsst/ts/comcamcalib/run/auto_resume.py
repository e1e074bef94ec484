# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""With ``auto_resume``, an interrupted run goes on by itself as soon as all that it needs is there.

One that was interrupted while it was being aborted does not go on: its abort is finished.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from lsst.ts import utils

from ..enums import RunState
from ..errors import BadInputError
from .owner import JournalError
from .run import Run

__all__ = ["AutoResume"]

AUTO_RESUME = "the CSC itself (auto_resume)"

# Time between two attempts to resume a run by itself (seconds).
AUTO_RESUME_INTERVAL_S = 10.0


class AutoResume:
    """Resumes an interrupted run, or finishes its abort.

    Parameters
    ----------
    resume
        Resumes the run with an identifier, for somebody; see `Runner.resume`.
    abort
        Aborts the open run for somebody, and why; see `Runner.abort`.
    """

    def __init__(
        self,
        resume: Callable[[str, str], Awaitable[Mapping[str, str]]],
        abort: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self._resume = resume
        self._abort = abort
        self._task: asyncio.Task[None] = utils.make_done_future()

    def begin(self, run: Run) -> None:
        """Resume a run if it is INTERRUPTED, or finish its abort, now or when that becomes possible."""
        if run.state is RunState.INTERRUPTED:
            self._task = asyncio.create_task(self._try(run), name=f"auto_resume of run {run.history.run_id}")

    def cancel(self) -> None:
        """Try no more."""
        self._task.cancel()

    async def close(self) -> None:
        """Try no more, and wait until that is so."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _try(self, run: Run) -> None:
        log = logging.getLogger(__name__)
        shown = ""
        while run.state is RunState.INTERRUPTED:
            try:
                await self._go_on(run)
                return
            except (BadInputError, JournalError) as error:
                if str(error) != shown:
                    if run.history.abort is None:
                        sentence = "Run %s can't be resumed yet, and is tried again: %s"
                    else:
                        sentence = "Run %s can't end its abort yet, and is tried again: %s"
                    log.warning(sentence, run.history.run_id, error)
                    shown = str(error)
                await asyncio.sleep(AUTO_RESUME_INTERVAL_S)

    async def _go_on(self, run: Run) -> None:
        log, run_id, aborted = logging.getLogger(__name__), run.history.run_id, run.history.abort
        if aborted is not None:
            # It is the operator's abort still, whoever finishes it.
            await self._abort(aborted.who, f"{AUTO_RESUME} finishes that")
            log.warning("Run %s: its abort is finished by %s.", run_id, AUTO_RESUME)
        else:
            result = await self._resume(run_id, AUTO_RESUME)
            log.warning("Run %s was resumed by itself: %s", run_id, result["plan"])
