# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Log records as SAL events."""

from __future__ import annotations

import asyncio
import collections
import logging
import sys
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .controller import Controller

__all__ = ["SalLogHandler"]

MAX_RECORDS_BEFORE_START = 10


class SalLogHandler(logging.Handler):
    """Writes each record as an event logMessage of a controller.

    Records may come from any thread; they are written in order by a task of the controller's event loop. Up to 10 that
    come before the controller has started are kept.

    Parameters
    ----------
    controller : `Controller`
        Its evt_logMessage is written. It must be made in the event loop's thread.
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._loop = asyncio.get_running_loop()
        self._records: collections.deque[dict[str, Any]] = collections.deque(maxlen=MAX_RECORDS_BEFORE_START)
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Publish a record. A failure is printed on stderr, because to log it would lead here again."""
        try:
            fields = self._fields_of(record)
            self._loop.call_soon_threadsafe(self._keep, fields)
        except RuntimeError:
            pass  # the event loop is closed: nothing can be written any more
        except Exception:
            print(f"SalLogHandler.emit failed for a record of {record.name}:", file=sys.stderr)
            traceback.print_exc(file=sys.stderr)

    def start(self) -> None:
        """Begin to write."""
        self._records = collections.deque(self._records)  # no limit any more
        self._task = asyncio.create_task(self._write_loop(), name=f"{self._controller.salinfo} log messages")

    async def stop(self) -> None:
        """Write what has come, and end."""
        if self._task is None:
            return
        await asyncio.sleep(0)  # what is on its way from `emit`
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        while self._records and self._controller.salinfo.running:
            await self._write(self._records.popleft())

    def _keep(self, fields: dict[str, Any]) -> None:
        self._records.append(fields)
        self._arrived.set()

    async def _write_loop(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._records:
                await self._write(self._records.popleft())

    async def _write(self, fields: dict[str, Any]) -> None:
        try:
            await self._controller.evt_logMessage.set_write(**fields, force_output=True)  # type: ignore[attr-defined]
        except Exception as error:
            print(f"A log message could not be written to SAL ({error!r}): {fields['message']}", file=sys.stderr)

    def _fields_of(self, record: logging.LogRecord) -> dict[str, Any]:
        traceback_text = ""
        if record.exc_info and record.exc_info[0] is not None:
            traceback_text = "".join(traceback.format_exception(*record.exc_info))
        return {
            "name": record.name,
            "level": record.levelno,
            "message": record.getMessage(),
            "traceback": traceback_text,
            "filePath": record.pathname,
            "functionName": record.funcName or "",
            "lineNumber": record.lineno,
            "process": record.process or 0,
        }
