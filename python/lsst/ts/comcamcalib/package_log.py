# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The package's log records, passed on to SAL."""

from __future__ import annotations

import asyncio
import contextlib
import logging

__all__ = ["PackageLog"]


class PackageLog(logging.Handler):
    """Passes the package's log records, from any thread, to the handlers of the CSC's own logger, and so to SAL.

    Parameters
    ----------
    log
        The CSC's logger.
    """

    def __init__(self, log: logging.Logger) -> None:
        super().__init__()
        self._log = log
        self._loop = asyncio.get_running_loop()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on a record; after the event loop is closed, nothing can be published any more."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._pass_on, record)

    def _pass_on(self, record: logging.LogRecord) -> None:
        # Not through the logger itself, because the root logger has already handled the record.
        if self._log.isEnabledFor(record.levelno):
            for handler in self._log.handlers:
                handler.handle(record)
