# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The claim of this process on its journal: opened, or waited for while another process owns it; it may be lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from lsst.ts import utils

from ..clock import Clock
from ..config import CscConfig
from ..errors import ServiceError
from .journal import Journal
from .owner import JournalBusyError, JournalError, JournalOwnedError
from .recorder import Publish
from .runner import Runner

__all__ = ["Claim"]

# Time between two attempts to take over a journal that belongs to another process (seconds).
CLAIM_INTERVAL_S = 1.0


class Claim:
    """The journal of this process, and the runner that works with it.

    Parameters
    ----------
    publish
        Publishes an event.
    clock
        The clock.
    on_open
        Called when there is a runner.
    on_unusable
        Awaited with a sentence if the journal can't be used at all.
    on_lost
        Called with a sentence when another process has taken over the journal, after the runner was stopped.
    """

    def __init__(
        self,
        publish: Publish,
        clock: Clock,
        *,
        on_open: Callable[[Runner], None],
        on_unusable: Callable[[str], Awaitable[None]],
        on_lost: Callable[[str], None],
    ) -> None:
        self._publish = publish
        self._clock = clock
        self._on_open = on_open
        self._on_unusable = on_unusable
        self._on_lost = on_lost
        self._journal: Journal | None = None
        # Waits for the journal of another process.
        self._waiting: asyncio.Task[None] = utils.make_done_future()
        self.runner: Runner | None = None
        """None while the journal is not open."""
        self.problem = ""
        """Why there is no runner yet, in sentences without the last full stop; empty if nothing is waited for."""

    async def open(self, config: CscConfig) -> None:
        """Open the journal, unless that is done; if another process has it, wait in the background for it."""
        if self.runner is not None or not self._waiting.done():
            return
        journal = Journal(Path(config.journal_path), self._clock, self._lose)
        try:
            await self._use(journal, config)
        except (JournalOwnedError, JournalBusyError) as error:
            self.problem = _why_it_waits(error)
            logging.getLogger(__name__).warning("%s. Until then no run can be started or resumed.", self.problem)
            self._waiting = asyncio.create_task(self._wait(journal, config, error), name="wait for the journal")

    async def confirm(self) -> None:
        """See that this process still owns the journal; see `lsst.ts.comcamcalib.services.permission.Permission`.

        Raises
        ------
        ServiceError
            If it does not, or that can't be found out.
        """
        if self._journal is None:
            raise ServiceError(f"Nothing is done, because {self.problem or 'the journal is not open'}.")
        try:
            await self._journal.confirm()
        except JournalError as error:
            raise ServiceError(f"Nothing was done: {error}.") from error

    async def close(self) -> None:
        """Close the journal, or wait for it no longer."""
        if self._waiting is not asyncio.current_task():  # it is, if what it took over can't be used
            self._waiting.cancel()
            await asyncio.gather(self._waiting, return_exceptions=True)
        self.problem = ""
        runner, self.runner = self.runner, None
        journal, self._journal = self._journal, None
        if runner is not None:
            await runner.close()
        if journal is not None:
            await journal.close()

    async def _use(self, journal: Journal, config: CscConfig) -> None:
        """Open a journal and read the latest run; if that is not possible, say so.

        Raises
        ------
        JournalOwnedError
            If another process owns it.
        JournalBusyError
            If another process has its file locked.
        """
        runner = Runner(config, journal, self._publish, self._clock)
        try:
            await journal.open()
            # Commands that come now must not hear of an owner that is gone.
            self.problem = f"The journal {journal.path} is being read; try again in a few seconds"
            await runner.start()
        except JournalOwnedError:
            raise
        except (asyncio.CancelledError, JournalBusyError):
            # Otherwise this process would go on owning the journal, and nobody would use it.
            await runner.close()
            await journal.close()
            raise
        except Exception as error:
            self.problem = ""
            await journal.close()
            sentence = str(error)
            if not isinstance(error, JournalError):
                logging.getLogger(__name__).exception("Bug: the journal could not be read")
                sentence = f"Unforeseen {type(error).__name__} with the journal {journal.path}: {error}"
            await self._on_unusable(sentence)
            return
        self.problem = ""
        self._journal, self.runner = journal, runner
        self._on_open(runner)

    async def _wait(self, journal: Journal, config: CscConfig, reason: JournalError) -> None:
        """Try to open a journal that another process owns, or has locked, until that is possible."""
        owned = isinstance(reason, JournalOwnedError)
        while True:
            await asyncio.sleep(CLAIM_INTERVAL_S)
            try:
                await self._use(journal, config)
            except (JournalOwnedError, JournalBusyError) as error:
                self.problem = _why_it_waits(error)
                owned = owned or isinstance(error, JournalOwnedError)
                continue
            if self.runner is not None:
                over = "was taken over from a process that is gone" if owned else "is not locked any more"
                logging.getLogger(__name__).warning("The journal %s %s.", journal.path, over)
            return

    def _lose(self, sentence: str) -> None:
        """Do nothing more, because another process goes on with the runs."""
        if self.runner is not None:
            self.runner.abandon(sentence)
        self._on_lost(sentence)


def _why_it_waits(error: JournalOwnedError | JournalBusyError) -> str:
    if isinstance(error, JournalOwnedError):
        return str(error)
    return (
        f"{error}. This CSC tries again every second; if that lasts, look for what holds the file (sqlite3, a backup), "
        "and end it"
    )
